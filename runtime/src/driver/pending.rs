//! Workers' requests that wait for an answer: where it goes, and to which message.

use niyanta_core::ids::RequestId;
use std::collections::BTreeMap;

/// Requests that may wait at once. A worker repeats what is not answered, so the oldest is dropped.
const WAITING_MAX: usize = 65_536;

/// Where an answer goes.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    /// None: the worker awaits no answer.
    pub(super) subject: Option<String>,
    pub(super) correlation_id: Option<String>,
    /// The message's `type`.
    pub(super) kind: &'static str,
    pub(super) is_heartbeat: bool,
    /// What is wrong with it, when it ends its attempt all the same.
    pub(super) detail: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Pending {
    last: RequestId,
    waiting: BTreeMap<RequestId, Waiting>,
}

impl Pending {
    pub(super) fn add(&mut self, waiting: Waiting) -> RequestId {
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_first();
        }
        self.last = self.last.next();
        self.waiting.insert(self.last, waiting);
        self.last
    }

    pub(super) fn take(&mut self, request: RequestId) -> Option<Waiting> {
        self.waiting.remove(&request)
    }

    pub(super) fn forget(&mut self, request: RequestId) {
        self.waiting.remove(&request);
    }

    /// Forgets all, and says how many there were.
    pub(super) fn clear(&mut self) -> usize {
        let forgotten = self.waiting.len();
        self.waiting.clear();
        forgotten
    }
}
