//! What truly runs where, whoever believes what.

use super::Observation;
use crate::{
    clock::{Clock, Moment},
    worker::{Deed, Finish},
};
use niyanta_core::{
    ids::{Attempt, Incarnation, WorkloadId},
    time::Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};

/// What truly runs.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    running: BTreeMap<(WorkloadId, usize), Running>,
    finished: BTreeSet<(WorkloadId, Attempt, bool)>,
    leases: BTreeMap<usize, (Clock, Timestamp)>,
}

/// An attempt that runs.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    /// Where.
    pub(crate) place: usize,
    /// Which start of its worker.
    pub(crate) incarnation: Incarnation,
    /// Which attempt.
    pub(crate) attempt: Attempt,
}

impl Truth {
    /// Who runs this workload.
    pub(crate) fn running(&self, workload: WorkloadId) -> impl Iterator<Item = &Running> {
        self.running
            .range((workload, 0)..=(workload, usize::MAX))
            .map(|(_, running)| running)
    }

    /// What runs at a place.
    pub(crate) fn running_at(&self, place: usize) -> impl Iterator<Item = WorkloadId> {
        self.running
            .keys()
            .filter(move |(_, at)| *at == place)
            .map(|(workload, _)| *workload)
    }

    /// Whether the worker at a place may run anything, by its own clock.
    pub(crate) fn holds_lease(&self, place: usize, now: Moment) -> bool {
        self.leases
            .get(&place)
            .is_some_and(|(clock, until)| clock.read(now) < *until)
    }

    /// Whether an attempt came to this end of its own.
    pub(crate) fn has_finished(
        &self,
        workload: WorkloadId,
        attempt: Attempt,
        finish: Finish,
    ) -> bool {
        let completed = finish == Finish::Completed;
        self.finished.contains(&(workload, attempt, completed))
    }

    pub(super) fn observe(&mut self, observation: &Observation<'_>) {
        match observation {
            Observation::Worker {
                place,
                incarnation,
                clock,
                lease_until,
                deed,
            } => {
                self.leases.insert(*place, (*clock, *lease_until));
                self.note(*place, incarnation, deed);
            }
            Observation::WorkerStands {
                place,
                clock,
                lease_until,
            } => {
                self.leases.insert(*place, (*clock, *lease_until));
            }
            Observation::WorkerGone { place, .. } => {
                self.running.retain(|(_, at), _| at != place);
                self.leases.remove(place);
            }
            _ => {}
        }
    }

    fn note(&mut self, place: usize, incarnation: &Incarnation, deed: &Deed) {
        match deed {
            Deed::Began(workload, attempt) => {
                let running = Running {
                    place,
                    incarnation: incarnation.clone(),
                    attempt: *attempt,
                };
                self.running.insert((*workload, place), running);
            }
            Deed::Finished(workload, attempt, finish) => {
                let completed = *finish == Finish::Completed;
                self.finished.insert((*workload, *attempt, completed));
            }
            Deed::Ended(workload, _) => {
                self.running.remove(&(*workload, place));
            }
            Deed::Send(_) | Deed::Obeyed { .. } | Deed::Exit { .. } => {}
        }
    }
}
