//! Hints from this process's API to whoever leads: to the own driver when it does, else to the other
//! coordinators. Nothing here waits, and anything may be lost.

use super::{
    Leadership,
    outbox::{Outbox, Outgoing},
};
use crate::{
    hints::{Changes, Hints},
    protocol::{PeerWord, Subjects},
    store::KeyId,
};
use niyanta_core::{
    Event,
    ids::{CustomerId, WorkloadId},
};
use std::sync::{Arc, OnceLock};
use tokio::sync::{mpsc, watch};
use tracing::debug;

/// A hint on its way to the own driver.
#[derive(Debug)]
pub(super) enum LocalHint {
    Workloads(Vec<WorkloadId>),
    Workers,
    Customers(Vec<CustomerId>),
}

impl From<LocalHint> for Event {
    fn from(hint: LocalHint) -> Self {
        match hint {
            LocalHint::Workloads(ids) => Self::WorkloadsHinted(ids),
            LocalHint::Workers => Self::WorkersHinted,
            LocalHint::Customers(ids) => Self::CustomersHinted(ids),
        }
    }
}

/// Where the API's hints go once a driver runs; before, nowhere.
#[derive(Clone)]
pub struct DriverHints {
    changes: Arc<Changes>,
    way: Arc<OnceLock<Way>>,
}

struct Way {
    driver: mpsc::Sender<LocalHint>,
    outbox: Outbox,
    subjects: Subjects,
    leadership: watch::Receiver<Leadership>,
}

impl DriverHints {
    /// Hints that go nowhere until a driver is started with them.
    #[must_use]
    pub fn new(changes: Arc<Changes>) -> Self {
        Self {
            changes,
            way: Arc::default(),
        }
    }

    /// Long-polls of this process wait on these.
    #[must_use]
    pub fn changes(&self) -> Arc<Changes> {
        Arc::clone(&self.changes)
    }

    pub(super) fn attach(
        &self,
        driver: mpsc::Sender<LocalHint>,
        outbox: Outbox,
        subjects: Subjects,
        leadership: watch::Receiver<Leadership>,
    ) {
        let way = Way {
            driver,
            outbox,
            subjects,
            leadership,
        };
        if self.way.set(way).is_err() {
            debug!("hints have a driver already");
        }
    }

    fn send(&self, hint: LocalHint, word: &PeerWord) {
        let Some(way) = self.way.get() else { return };
        if way.leadership.borrow().is_leader {
            if way.driver.try_send(hint).is_err() {
                debug!("dropped a hint: the driver has many");
            }
        } else {
            way.tell_peers(word);
        }
    }
}

impl Way {
    fn tell_peers(&self, word: &PeerWord) {
        self.outbox.send(Outgoing {
            term: None,
            subject: self.subjects.peers(),
            payload: word.encode(),
        });
    }
}

impl Hints for DriverHints {
    fn workloads(&self, changed: &[WorkloadId]) {
        for id in changed {
            self.changes.workload(*id);
        }
        self.send(
            LocalHint::Workloads(changed.to_vec()),
            &PeerWord::WorkloadsHinted(changed.to_vec()),
        );
    }

    fn workers(&self) {
        self.send(LocalHint::Workers, &PeerWord::WorkersHinted);
    }

    fn customers(&self, changed: &[CustomerId]) {
        self.send(
            LocalHint::Customers(changed.to_vec()),
            &PeerWord::CustomersHinted(changed.to_vec()),
        );
    }

    fn key_revoked(&self, key: KeyId) {
        // Every coordinator remembers keys, whoever leads.
        if let Some(way) = self.way.get() {
            way.tell_peers(&PeerWord::KeyRevoked(key));
        }
    }
}
