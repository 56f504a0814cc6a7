//! What customers and operators want, and what the leader does about it.
//!
//! Owns the table of wishes (contract, section 1). A wish is written by the API alone; here it is
//! acted upon at once when it is learnt, and `wish_seen` rides with whatever is written for it.

use super::term::{Step, Term};
use crate::{
    batch::{Actor, AuditDetails},
    fleet::{Presence, WorkerDesired},
    ids::{WishRevision, WorkerId, WorkloadId},
    probes::{mark, planted},
    snapshot::WorkerRow,
    workload::{Cause, Desired, Move, Over, Status},
};
use alloc::vec::Vec;

impl Term {
    /// A newer wish was learnt for a workload in memory.
    pub(super) fn take_wish(&mut self, id: WorkloadId, desired: Desired, revision: WishRevision) {
        if let Some(workload) = self.workloads.get_mut(&id) {
            workload.row.desired = desired;
            workload.row.wish_revision = revision;
        }
        self.act_on_wish(id);
    }

    /// Does what the recorded wish calls for, and notes that it was seen.
    pub(super) fn act_on_wish(&mut self, id: WorkloadId) {
        let Some(workload) = self.workloads.get(&id) else {
            return;
        };
        let (status, desired) = (workload.status(), workload.row.desired);
        let stopping = workload.stopping();
        let step = |by| Some(Step::new(by, Actor::Coordinator));
        match (status, desired) {
            (Status::Pending, Desired::Pause) => self.change(id, step(Move::Pause), |_| {}),
            (Status::Pending | Status::Paused, Desired::Cancel) => {
                self.change(id, step(Move::Cancel), |_| {});
            }
            (Status::Paused, Desired::Run) => {
                let now = self.wall();
                self.change(id, step(Move::Resume), |leader| {
                    leader.eligible_at = leader.eligible_at.max(now);
                });
            }
            (Status::Scheduled | Status::Running | Status::Redistributing, Desired::Cancel)
                if planted!(CancelledWhenSent) =>
            {
                self.change(id, step(Move::Cancel), |_| {});
            }
            (Status::Scheduled | Status::Running | Status::Redistributing, Desired::Pause)
                if planted!(PausedAtOnce) =>
            {
                self.change(id, step(Move::Pause), |_| {});
            }
            (Status::Scheduled | Status::Running | Status::Redistributing, Desired::Cancel) => {
                if status == Status::Scheduled {
                    mark!(CancelMetAssignment);
                }
                if stopping == Some(Cause::Paused) {
                    mark!(CancelOvertookPause);
                }
                let stays = planted!(PauseBeatsCancel) && stopping == Some(Cause::Paused);
                let cause = if stays {
                    Cause::Paused
                } else {
                    Cause::Cancelled
                };
                self.change(id, None, |leader| leader.stopping = Some(cause));
            }
            (Status::Scheduled | Status::Running | Status::Redistributing, Desired::Pause) => {
                let cause = stopping.unwrap_or(Cause::Paused);
                self.change(id, None, |leader| leader.stopping = Some(cause));
            }
            (Status::Pending, Desired::Run)
            | (Status::Scheduled | Status::Running | Status::Redistributing, Desired::Run)
            | (Status::Paused, Desired::Pause)
            | (Status::Completed | Status::Failed | Status::Cancelled, _) => {
                self.change(id, None, |_| {});
            }
        }
    }

    /// Orders an attempt to stop; `moves` when it is to go on elsewhere.
    pub(super) fn begin_stop(&mut self, id: WorkloadId, cause: Cause, moves: bool) {
        let Some(workload) = self.workloads.get(&id) else {
            return;
        };
        let Some(open) = &workload.open else {
            return;
        };
        let worker = open.worker.clone();
        let moves = moves && workload.status() != Status::Redistributing;
        if workload.stopping().is_some() && !moves {
            return;
        }
        let step = moves.then(|| {
            let details = AuditDetails::Stopped { cause, worker };
            Step::with(Move::Redistribute, Actor::Coordinator, details)
        });
        self.change(id, step, |leader| {
            leader.stopping.get_or_insert(cause);
        });
        if planted!(SlotFreedAtStop) {
            self.scheduler.vacate(id);
        }
        if planted!(MovedWithoutProof) && moves {
            self.close(id, Over::Stopped(cause), Actor::System);
        }
    }

    /// Takes in rows of workers whose wish the leader may not have seen.
    pub(super) fn absorb_workers(&mut self, rows: Vec<WorkerRow>) {
        for row in rows {
            let id = row.record.worker.clone();
            let Some(worker) = self.fleet.get_mut(&id) else {
                continue;
            };
            if row.wish_revision <= worker.wish_revision || self.room() == 0 {
                continue;
            }
            let Some(worker) = self.fleet.get_mut(&id) else {
                continue;
            };
            worker.desired = row.desired;
            worker.wish_revision = row.wish_revision;
            worker.drain_deadline = row.drain_deadline;
            self.act_on_worker_wish(&id);
        }
    }

    fn act_on_worker_wish(&mut self, id: &WorkerId) {
        let Some(worker) = self.fleet.get(id) else {
            return;
        };
        match worker.desired {
            WorkerDesired::Run if planted!(UndrainForgotten) => {}
            WorkerDesired::Run | WorkerDesired::Drain => self.put_worker(id),
            WorkerDesired::Remove => self.remove_worker(id),
        }
        self.set_drain(id);
    }

    /// Sets the timer of a drain's deadline by the wish.
    pub(super) fn set_drain(&mut self, id: &WorkerId) {
        let deadline = self
            .fleet
            .get(id)
            .filter(|worker| worker.desired == WorkerDesired::Drain && !worker.is_dead())
            .and_then(|worker| worker.drain_deadline);
        match deadline {
            Some(at) => self.fleet.drains.set(id.clone(), self.clock.when(at)),
            None => self.fleet.drains.remove(id),
        }
    }

    /// Drains whose deadline has come: what still runs is moved.
    pub(super) fn on_drains_due(&mut self) {
        while let Some(id) = self.fleet.drains.pop_due(self.now) {
            let is_committed = self.fleet.get(&id).is_some_and(|worker| {
                self.is_committed(worker.written) && worker.status_due() == worker.record.status
            });
            let ids = self.open_on(&id);
            let is_done = is_committed && ids.into_iter().all(|id| self.move_away(id));
            if !is_done {
                let again = self.now.plus(crate::time::Duration::from_secs(1));
                self.fleet.drains.set(id, again);
            }
        }
    }

    /// True when the attempt is being moved; false when there is no room to order it.
    fn move_away(&mut self, id: WorkloadId) -> bool {
        if self.room() == 0 {
            return false;
        }
        mark!(MovedAtDrainDeadline);
        self.begin_stop(id, Cause::Drained, true);
        true
    }

    /// The operator ends the incarnation: its work is redistributed, its row goes with the last.
    fn remove_worker(&mut self, id: &WorkerId) {
        self.end_incarnation(id);
        let worker = self.fleet.get(id);
        if worker.is_some_and(|worker| worker.presence == Presence::Lapsed) {
            // Its lease had ended before, and nobody listens for it any more: what outlived the
            // lease does not outlive the incarnation.
            self.call_over(id, Over::Lost, |_| true);
        }
        for workload in self.open_on(id) {
            if self.room() == 0 {
                // The silence of an incarnation that may not speak any more takes the rest.
                break;
            }
            mark!(RemovedWithWork);
            self.begin_stop(workload, Cause::Drained, true);
        }
        self.drop_row_if_done(id);
    }
}
