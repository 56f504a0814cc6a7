//! What becomes of a workload when its attempt is over, or ended in an outcome.
//!
//! Owns retries, the loss limit and where each proof leads under each wish. Keeps P9: everything
//! here is called with a proof in hand, and nothing else closes an attempt.

use super::term::{Step, Term};
use crate::{
    batch::{Actor, AuditDetails},
    ids::WorkloadId,
    probes::{mark, planted},
    time::{Duration, WallTime},
    workload::{Cause, Desired, ErrorType, Move, Over, Status, backoff},
};

impl Term {
    /// Closes attempts that are proven to be over, while there is room.
    pub(super) fn close_over(&mut self) {
        while self.room() > 0 {
            let Some((id, attempt, over)) = self.over.pop_front() else {
                return;
            };
            let is_open = self
                .workloads
                .get(&id)
                .is_some_and(|w| w.attempt() == attempt && w.open.is_some());
            if is_open {
                self.close(id, over, Actor::System);
            }
        }
    }

    /// The open attempt is over without an outcome.
    pub(super) fn close(&mut self, id: WorkloadId, over: Over, actor: Actor) {
        let Some(workload) = self.workloads.get(&id) else {
            return;
        };
        let (status, mut desired) = (workload.status(), workload.row.desired);
        let stopping = workload.stopping();
        if planted!(PauseBeatsCancel)
            && stopping == Some(Cause::Paused)
            && desired == Desired::Cancel
        {
            desired = Desired::Pause;
        }
        let Some(worker) = workload.open.as_ref().map(|open| open.worker.clone()) else {
            return;
        };
        let timed_out = stopping == Some(Cause::TimedOut) || over == Over::Stopped(Cause::TimedOut);
        if timed_out && desired != Desired::Cancel {
            self.fail(id, ErrorType::Timeout, actor);
        } else {
            let was_lost = over == Over::Lost && status == Status::Running && stopping.is_none();
            let cause = match over {
                Over::Stopped(cause) => cause,
                Over::Lost => Cause::LeaseLost,
                Over::Left => Cause::Drained,
            };
            let losses = workload.row.leader.loss_count + u32::from(was_lost);
            let details = AuditDetails::Stopped {
                cause,
                worker: worker.clone(),
            };
            let limit = self.config.worker_loss_limit;
            match desired {
                Desired::Cancel => {
                    let step = Step::with(Move::Cancel, actor, details);
                    self.change(id, Some(step), |leader| leader.loss_count = losses);
                }
                Desired::Run | Desired::Pause
                    if was_lost && losses >= limit && !planted!(LossesUnlimited) =>
                {
                    mark!(WorkerLostTooOften);
                    self.give_up(id, ErrorType::WorkerLost, actor, losses);
                }
                Desired::Pause => {
                    if over == Over::Lost {
                        mark!(PauseProvenBySilence);
                    }
                    let step = Step::with(Move::Pause, actor, details);
                    self.change(id, Some(step), |leader| leader.loss_count = losses);
                }
                Desired::Run => self.requeue(id, details, actor, losses),
            }
        }
        self.drop_row_if_done(&worker);
    }

    /// Back to the queue, at its old place, by way of REDISTRIBUTING.
    fn requeue(&mut self, id: WorkloadId, details: AuditDetails, actor: Actor, losses: u32) {
        let Some(workload) = self.workloads.get(&id) else {
            return;
        };
        let was_refused = matches!(
            details,
            AuditDetails::Stopped {
                cause: Cause::Refused,
                ..
            }
        );
        if workload.status() != Status::Redistributing {
            let step = Step::with(Move::Redistribute, actor.clone(), details);
            self.change(id, Some(step), |_| {});
        }
        let not_before = was_refused.then(|| self.wall().plus(REFUSED_PAUSE));
        let step = Step::new(Move::Requeue, actor);
        self.change(id, Some(step), |leader| {
            if planted!(LossCountsAsRetry) {
                leader.retry_count += losses.saturating_sub(leader.loss_count);
            }
            leader.loss_count = losses;
            wait_until(leader, not_before);
        });
    }

    /// The attempt ended in a failure that may be tried again, or in a time-out.
    pub(super) fn fail(&mut self, id: WorkloadId, error_type: ErrorType, actor: Actor) {
        let Some(workload) = self.workloads.get(&id) else {
            return;
        };
        let row = &workload.row;
        let (attempt, retry) = (workload.attempt(), row.leader.retry_count + 1);
        if row.desired == Desired::Cancel && error_type != ErrorType::Permanent {
            mark!(CancelMetFailure);
            return self.change(id, Some(Step::new(Move::Cancel, actor)), |leader| {
                leader.error_type = Some(error_type);
            });
        }
        let retry = if planted!(RetryCountForgotten) {
            1
        } else {
            retry
        };
        let is_spent = retry > row.max_retries && !planted!(RetriesUnlimited);
        if error_type == ErrorType::Permanent || is_spent {
            if is_spent {
                mark!(RetriesSpent);
            }
            let losses = row.leader.loss_count;
            return self.give_up(id, error_type, actor, losses);
        }
        let (by, wait) = match row.desired {
            Desired::Pause => (Move::Pause, backoff(&self.config, id, attempt, retry)),
            Desired::Run | Desired::Cancel => {
                (Move::Retry, backoff(&self.config, id, attempt, retry))
            }
        };
        let until = self.wall().plus(wait);
        let details = AuditDetails::Retrying {
            error_type,
            retry,
            backoff: wait,
        };
        self.change(id, Some(Step::with(by, actor, details)), |leader| {
            leader.retry_count = retry;
            leader.error_type = Some(error_type);
            wait_until(leader, Some(until));
        });
    }

    /// Fails a workload for good.
    pub(super) fn give_up(
        &mut self,
        id: WorkloadId,
        error_type: ErrorType,
        actor: Actor,
        losses: u32,
    ) {
        let details = AuditDetails::Failed { error_type };
        let step = Step::with(Move::Fail, actor, details);
        self.change(id, Some(step), |leader| {
            leader.error_type = Some(error_type);
            leader.loss_count = losses;
        });
    }
}

fn wait_until(leader: &mut crate::batch::LeaderHalf, until: Option<WallTime>) {
    if let Some(until) = until {
        leader.eligible_at = until;
        leader.backoff_until = Some(until);
    }
}

/// A workload that a worker could not run waits this long, so that the two do not spin.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
