//! What workers truly run, as their handlers tell.

use super::Checker;
use crate::{
    clock::Clock,
    properties::Observation,
    worker::{Deed, Finish},
};
use niyanta_core::{
    ids::{Attempt, Generation, Incarnation, WorkerId, WorkloadId},
    time::Timestamp,
};
use std::fmt;

/// An attempt that truly runs, until this is dropped.
pub struct Running {
    checker: Checker,
    place: usize,
    incarnation: Incarnation,
    clock: Clock,
    workload: WorkloadId,
    attempt: Attempt,
    lease_until: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("place", &self.place)
            .field("workload", &self.workload)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

impl Running {
    /// The worker at a place begins to run an attempt that this term assigned.
    pub fn begin(
        checker: &Checker,
        (place, clock): (usize, Clock),
        (workload, attempt, generation): (WorkloadId, Attempt, Generation),
        lease_until: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        let running = Self {
            checker: checker.clone(),
            place,
            incarnation: checker.incarnation_at(place),
            clock,
            workload,
            attempt,
            lease_until: Box::new(lease_until),
        };
        checker.seen().counts.attempts += 1;
        running.show(&Deed::Began(workload, attempt));
        checker.tell("worker", &format!("w{place} obeys term {generation}"));
        running
    }

    /// It comes to its own end.
    pub fn finished(&self, completed: bool) {
        let finish = if completed {
            Finish::Completed
        } else {
            Finish::Failed
        };
        self.show(&Deed::Finished(self.workload, self.attempt, finish));
    }

    /// It still runs, and its worker has had time to stop it if it had to.
    pub fn stands(&self) {
        self.checker.observe(&Observation::WorkerStands {
            place: self.place,
            clock: self.clock,
            lease_until: (self.lease_until)(),
        });
    }

    fn show(&self, deed: &Deed) {
        self.checker.observe(&Observation::Worker {
            place: self.place,
            incarnation: &self.incarnation,
            clock: self.clock,
            lease_until: (self.lease_until)(),
            deed,
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.show(&Deed::Ended(self.workload, self.attempt));
    }
}

impl Checker {
    /// A worker's process starts at a place.
    pub fn worker_started(&self, place: usize, worker: &WorkerId) {
        self.seen().worker_places.insert(worker.clone(), place);
        self.tell("worker", &format!("w{place} starts"));
    }

    /// The worker at a place is gone, with all its children.
    pub fn worker_gone(&self, place: usize) {
        let gone = self.seen().workers.remove(&place);
        if let Some(incarnation) = gone {
            let incarnation = &incarnation;
            self.observe(&Observation::WorkerGone { place, incarnation });
        }
    }

    /// A worker's machine took a step: it may have begun a new incarnation by it.
    pub(super) fn worker_stepped(&self, worker: &WorkerId, incarnation: &Incarnation) {
        let mut seen = self.seen();
        let Some(place) = seen.worker_places.get(worker).copied() else {
            return;
        };
        if seen.workers.get(&place) != Some(incarnation) {
            seen.workers.insert(place, incarnation.clone());
        }
    }

    fn incarnation_at(&self, place: usize) -> Incarnation {
        let known = self.seen().workers.get(&place).cloned();
        known.unwrap_or_else(|| match "unknown".parse() {
            Ok(nobody) => nobody,
            Err(_) => unreachable!("a valid incarnation"),
        })
    }
}
