//! The workers: who is here, until when, and what each may be trusted to have stopped.
//!
//! Owns presence, silences and the memory of ended incarnations. Does not own attempts: what follows
//! from a silence or an end is the coordinator's. Keeps: silence counts only from a moment since
//! which this leader listened without a gap (P15), and with the longest lease ever told (P8).

mod state;
mod worker;

pub use state::{ReportedStatus, WorkerDesired, WorkerStatus};
pub(crate) use worker::{Committed, Presence, Silence, Worker};

use crate::{
    Config,
    ids::{Incarnation, WorkerId},
    probes::planted,
    time::{Duration, Timestamp},
    timer::Agenda,
};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

/// The workers of a term.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    workers: BTreeMap<WorkerId, Worker>,
    /// When each worker's silence is looked at next.
    pub(crate) silences: Agenda<WorkerId>,
    /// When each drain reaches its deadline.
    pub(crate) drains: Agenda<WorkerId>,
    /// The longest leader TTL: what a silence that began under another leader is lengthened by.
    longest_ttl: Duration,
    ended: EndedIncarnations,
}

impl Fleet {
    pub(crate) const fn new(longest_ttl: Duration) -> Self {
        Self {
            workers: BTreeMap::new(),
            silences: Agenda::new(),
            drains: Agenda::new(),
            longest_ttl,
            ended: EndedIncarnations::new(),
        }
    }

    pub(crate) fn insert(&mut self, config: &Config, mut worker: Worker) {
        if planted!(GraceFromOwnSetting) {
            worker.record.longest_lease = config.heartbeat_timeout;
        }
        let id = worker.record.worker.clone();
        self.workers.insert(id.clone(), worker);
        self.schedule(config, &id);
    }

    pub(crate) fn remove(&mut self, id: &WorkerId) {
        self.silences.remove(id);
        self.drains.remove(id);
        if let Some(worker) = self.workers.remove(id) {
            self.ended.insert(id, worker.record.incarnation);
        }
    }

    /// The incarnation is over for good.
    pub(crate) fn note_ended(&mut self, id: &WorkerId, incarnation: Incarnation) {
        self.ended.insert(id, incarnation);
    }

    pub(crate) fn has_ended(&self, id: &WorkerId, incarnation: &Incarnation) -> bool {
        self.ended.contains(id, incarnation)
    }

    /// Words may have been missed: every silence begins anew.
    pub(crate) fn restart_silences(&mut self, config: &Config, now: Timestamp) {
        for worker in self.workers.values_mut() {
            worker.silent_since = worker.silent_since.max(now);
        }
        let ids: BTreeSet<WorkerId> = self.workers.keys().cloned().collect();
        for id in ids {
            self.schedule(config, &id);
        }
    }

    /// Looks at a worker's silence again when something may have come of it.
    pub(crate) fn schedule(&mut self, config: &Config, id: &WorkerId) {
        match self
            .workers
            .get(id)
            .and_then(|w| w.next_look(config, self.longest_ttl))
        {
            Some(at) => self.silences.set(id.clone(), at),
            None => self.silences.remove(id),
        }
    }

    /// What a worker's silence has come to by `heard_until`.
    pub(crate) fn judge(&self, config: &Config, id: &WorkerId, heard_until: Timestamp) -> Silence {
        let Some(worker) = self.workers.get(id) else {
            return Silence::Short;
        };
        worker.silence(config, self.longest_ttl, heard_until)
    }

    /// When the lease of a worker's incarnation has certainly ended, if it is not heard again.
    pub(crate) fn lease_end(&self, worker: &Worker) -> Timestamp {
        worker.lease_end(self.longest_ttl)
    }

    pub(crate) fn get(&self, id: &WorkerId) -> Option<&Worker> {
        self.workers.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: &WorkerId) -> Option<&mut Worker> {
        self.workers.get_mut(id)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Worker> {
        self.workers.values()
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        self.workers.values_mut()
    }

    /// Known workers that have not ended and were not heard in this term.
    pub(crate) fn has_unheard(&self) -> bool {
        self.workers.values().any(Worker::is_unheard)
    }
}

/// Incarnations that are over, the oldest forgotten first. The row of a DEAD worker remembers its
/// own for ever; this is for those whose row is gone, or another's.
#[derive(Debug, Clone)]
struct EndedIncarnations {
    known: BTreeSet<(WorkerId, Incarnation)>,
    order: VecDeque<(WorkerId, Incarnation)>,
}

impl EndedIncarnations {
    /// Remembered at once: more than any deployment restarts within a term.
    const MAX: usize = 16_384;

    const fn new() -> Self {
        Self {
            known: BTreeSet::new(),
            order: VecDeque::new(),
        }
    }

    fn insert(&mut self, id: &WorkerId, incarnation: Incarnation) {
        let entry = (id.clone(), incarnation);
        if !self.known.insert(entry.clone()) {
            return;
        }
        self.order.push_back(entry);
        if self.order.len() > Self::MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    fn contains(&self, id: &WorkerId, incarnation: &Incarnation) -> bool {
        self.known.contains(&(id.clone(), incarnation.clone()))
    }
}
