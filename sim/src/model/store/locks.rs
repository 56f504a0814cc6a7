//! Row locks: who holds which row, and who waits for it, in order.
//!
//! One kind of lock is enough: every statement of ours that locks a row conflicts with every other
//! that does. Whoever inserts a key holds it like a row, so that another inserter of the same key
//! waits for the outcome. A lock is had until its statement commits or is undone, then it passes to
//! the first who waits.

use super::session::SessionId;
use niyanta_core::ids::{CustomerId, WorkerId, WorkloadId};
use std::{collections::VecDeque, fmt};

/// A row that can be locked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RowKey {
    /// The lease row.
    Lease,
    /// The fence row.
    Fence,
    /// A workload's row, and all that is written under its lock.
    Workload(WorkloadId),
    /// A worker's row.
    Worker(WorkerId),
    /// What operators want of a worker id.
    WorkerWish(WorkerId),
    /// A customer's counter that submissions write.
    Submitted(CustomerId),
    /// A customer's counters that the leader writes.
    Moved(CustomerId),
    /// An idempotency record.
    Key(CustomerId, u64),
    /// The number of the last admin audit event.
    AdminAudit,
}

impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lease => f.write_str("the lease row"),
            Self::Fence => f.write_str("the fence row"),
            Self::Workload(id) => write!(f, "workload {id}"),
            Self::Worker(id) => write!(f, "worker {id}"),
            Self::WorkerWish(id) => write!(f, "the wish for {id}"),
            Self::Submitted(id) => write!(f, "the submissions of {id}"),
            Self::Moved(id) => write!(f, "the counters of {id}"),
            Self::Key(id, key) => write!(f, "key {key} of {id}"),
            Self::AdminAudit => f.write_str("the admin audit"),
        }
    }
}

/// A lock that is held.
#[derive(Debug)]
struct Lock {
    key: RowKey,
    holder: SessionId,
    waiting: VecDeque<SessionId>,
}

/// All locks of statements that did not begin and end at one instant.
#[derive(Debug, Default)]
pub(super) struct Locks {
    held: Vec<Lock>,
}

impl Locks {
    pub(super) const fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Who holds a row.
    pub(super) fn holder(&self, key: &RowKey) -> Option<SessionId> {
        let lock = self.held.iter().find(|lock| lock.key == *key)?;
        Some(lock.holder)
    }

    /// Notes that a free row is held from now on.
    pub(super) fn hold(&mut self, key: RowKey, holder: SessionId) {
        debug_assert!(self.holder(&key).is_none(), "{key} is held already");
        self.held.push(Lock {
            key,
            holder,
            waiting: VecDeque::new(),
        });
    }

    /// Waits behind everybody who waits for a row already.
    pub(super) fn wait(&mut self, key: &RowKey, session: SessionId) {
        if let Some(lock) = self.held.iter_mut().find(|lock| lock.key == *key) {
            lock.waiting.push_back(session);
        }
    }

    /// Waits for it no more.
    pub(super) fn leave(&mut self, session: SessionId) {
        for lock in &mut self.held {
            lock.waiting.retain(|other| *other != session);
        }
    }

    /// Gives up everything that a session holds; each row passes to the first who waits for it.
    pub(super) fn release(&mut self, session: SessionId, mut granted: impl FnMut(SessionId)) {
        self.held.retain_mut(|lock| {
            if lock.holder != session {
                return true;
            }
            match lock.waiting.pop_front() {
                Some(next) => {
                    lock.holder = next;
                    granted(next);
                    true
                }
                None => false,
            }
        });
    }
}
