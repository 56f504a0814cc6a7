//! What the worker runs, or has not been answered about.
//!
//! Owns an attempt from the receipt of its assignment until its last report is answered: its stop,
//! and what is reported of its end.

use super::{
    Action, Known, Machine,
    lease::Lease,
    reports::{Checkpoints, Progress},
    requests::About,
};
use crate::probes::{mark, planted};
use crate::protocol::{
    Answer, AnswerStatus, Assignment, ERROR_MESSAGE_BYTES_MAX, RESULT_BYTES_MAX, of, wire,
};
use niyanta_core::{
    ids::{Attempt, WorkloadId},
    time::{Duration, Timestamp},
    workload::{Cause, ErrorType, OnLeaseLoss},
};
use serde_json::Value;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Done, with a result if it has one.
    Completed(Option<Value>),
    /// It failed.
    Failed {
        /// Whether another attempt may succeed.
        error_type: ErrorType,
        /// What went wrong.
        message: String,
    },
    /// It stopped because it was asked to.
    Stopped,
    /// It was ended from outside, half-way.
    Killed,
}

/// One attempt.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) attempt: Attempt,
    pub(super) stage: Stage,
    pub(super) stop: Option<Stop>,
    /// The leader said that it is no longer ours: nothing of it is reported or listed.
    pub(super) is_forgotten: bool,
    on_lease_loss: OnLeaseLoss,
    timeout_at: Timestamp,
    pub(super) checkpoints: Checkpoints,
    pub(super) progress: Progress,
}

/// Where it is.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    /// It runs.
    Running,
    /// It has ended; its last checkpoint is not answered, and is waited for no longer than this.
    Closing(Outcome, Timestamp),
    /// Its last report is not answered.
    Reported,
}

/// It was asked to stop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stop {
    pub(super) cause: Cause,
    /// Then it is killed.
    pub(super) deadline: Timestamp,
    pub(super) is_killed: bool,
}

impl Held {
    pub(super) fn new(now: Timestamp, assignment: &Assignment) -> Self {
        Self {
            attempt: assignment.attempt,
            stage: Stage::Running,
            stop: None,
            is_forgotten: false,
            on_lease_loss: assignment.on_lease_loss,
            timeout_at: now.plus(assignment.timeout),
            checkpoints: Checkpoints::default(),
            progress: Progress::default(),
        }
    }

    pub(super) const fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running)
    }

    const fn dies_with_lease(&self) -> bool {
        matches!(self.on_lease_loss, OnLeaseLoss::Stop)
    }

    /// When something is due of it.
    pub(super) fn deadline(&self, lease: &Lease) -> Option<Timestamp> {
        match &self.stage {
            Stage::Reported => None,
            Stage::Closing(_, until) => Some(*until),
            Stage::Running => {
                let stop = match self.stop {
                    Some(stop) if stop.is_killed => return None,
                    Some(stop) if self.dies_with_lease() && !planted!(WorkerOutlivesLease) => {
                        stop.deadline.min(lease.kill_at())
                    }
                    Some(stop) => stop.deadline,
                    None if self.dies_with_lease() && !planted!(WorkerOutlivesLease) => {
                        self.timeout_at.min(lease.stop_at())
                    }
                    None => self.timeout_at,
                };
                let progress = self.progress.latest.is_some();
                let progress = progress.then_some(self.progress.not_before);
                Some(progress.map_or(stop, |at| at.min(stop)))
            }
        }
    }
}

impl Machine {
    /// Kills what the lease no longer covers. Comes before everything else, so that a process that
    /// slept through its lease does nothing on waking but this.
    pub(super) fn enforce_lease(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let (stop_at, kill_at) = (self.lease.stop_at(), self.lease.kill_at());
        if now < stop_at || planted!(WorkerOutlivesLease) {
            return;
        }
        let dying: Vec<_> = self
            .held
            .iter()
            .filter(|(_, held)| held.is_running() && held.dies_with_lease())
            .map(|(workload, held)| (*workload, held.attempt))
            .collect();
        for (workload, attempt) in dying {
            self.begin_stop(workload, Cause::LeaseLost, kill_at, actions);
            if now >= kill_at {
                mark!(WorkerWokeAfterLease);
                self.kill(workload, attempt, actions);
            }
        }
    }

    /// Time-outs, and stops that took too long.
    pub(super) fn stop_what_is_overdue(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let running: Vec<_> = self
            .held
            .iter()
            .filter(|(_, held)| held.is_running())
            .map(|(workload, held)| (*workload, held.attempt, held.timeout_at))
            .collect();
        for (workload, attempt, timeout_at) in running {
            if now >= timeout_at {
                let deadline = timeout_at.plus(TIMEOUT_GRACE);
                self.begin_stop(workload, Cause::TimedOut, deadline, actions);
            }
            let stop = self.held.get(&workload).and_then(|held| held.stop);
            if stop.is_some_and(|stop| now >= stop.deadline) {
                self.kill(workload, attempt, actions);
            }
        }
    }

    /// Asks an attempt to stop. Of several asks the first gives the cause, and the earliest deadline
    /// counts.
    pub(super) fn begin_stop(
        &mut self,
        workload: WorkloadId,
        cause: Cause,
        deadline: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let Some(held) = self.held.get_mut(&workload) else {
            return;
        };
        if !held.is_running() {
            return;
        }
        if let Some(stop) = &mut held.stop {
            stop.deadline = stop.deadline.min(deadline);
            return;
        }
        held.stop = Some(Stop {
            cause,
            deadline,
            is_killed: false,
        });
        let attempt = held.attempt;
        actions.push(Action::Stop {
            workload,
            attempt,
            cause,
        });
        if planted!(StoppedBeforeItEnds) {
            self.report_stopped(deadline, workload, attempt, cause, actions);
        }
    }

    pub(super) fn kill(
        &mut self,
        workload: WorkloadId,
        attempt: Attempt,
        actions: &mut Vec<Action>,
    ) {
        let Some(held) = self.held.get_mut(&workload) else {
            return;
        };
        let stop = held.stop.get_or_insert(Stop {
            cause: Cause::Superseded,
            deadline: Timestamp::ZERO,
            is_killed: false,
        });
        if held.attempt == attempt && !stop.is_killed && matches!(held.stage, Stage::Running) {
            stop.is_killed = true;
            actions.push(Action::Kill { workload, attempt });
        }
    }

    /// What has a process.
    pub(super) fn alive(&self) -> impl Iterator<Item = (WorkloadId, Attempt)> + '_ {
        self.held
            .iter()
            .filter(|(_, held)| held.is_running())
            .map(|(workload, held)| (*workload, held.attempt))
    }

    /// Nothing that is held is ours any more: kill it, and report none of it.
    pub(super) fn abandon_all(&mut self, actions: &mut Vec<Action>) {
        self.requests.clear();
        self.logs = super::Logs::default();
        self.held.retain(|_, held| held.is_running());
        let alive: Vec<_> = self.alive().collect();
        for (workload, attempt) in alive {
            if let Some(held) = self.held.get_mut(&workload) {
                held.is_forgotten = true;
            }
            self.kill(workload, attempt, actions);
        }
    }

    /// That attempt is not ours any more: kill it, and report nothing of it.
    pub(super) fn forget(
        &mut self,
        now: Timestamp,
        workload: WorkloadId,
        attempt: Attempt,
        actions: &mut Vec<Action>,
    ) {
        self.requests
            .retain(|_, pending| !pending.about.is_of(workload, attempt));
        self.expect_no_more_of(now, workload, attempt);
        let Some(held) = self.held.get_mut(&workload) else {
            return;
        };
        if held.attempt != attempt {
            return;
        }
        if held.is_running() {
            mark!(WorkerForgetsAttempt);
            held.is_forgotten = true;
            self.kill(workload, attempt, actions);
        } else {
            self.held.remove(&workload);
        }
    }

    pub(super) fn on_ended(
        &mut self,
        now: Timestamp,
        workload: WorkloadId,
        attempt: Attempt,
        outcome: Outcome,
        actions: &mut Vec<Action>,
    ) {
        let Some(held) = self.held.get_mut(&workload) else {
            return;
        };
        if held.attempt != attempt || !held.is_running() {
            return;
        }
        if held.is_forgotten {
            self.held.remove(&workload);
            return;
        }
        let outcome = match held.stop {
            // It may have ended just before, but what is killed counts as killed.
            Some(stop) if stop.is_killed => Outcome::Killed,
            Some(_) | None => outcome,
        };
        let goes_on_elsewhere = !matches!(outcome, Outcome::Completed(_));
        let has_checkpoint_in_flight = held.checkpoints.in_flight.is_some();
        if goes_on_elsewhere && has_checkpoint_in_flight {
            let patience = now.plus(CLOSING_PATIENCE);
            held.stage = Stage::Closing(outcome, patience);
        } else {
            self.report_end(now, workload, outcome, actions);
        }
    }

    /// Sends the last report.
    pub(super) fn report_end(
        &mut self,
        now: Timestamp,
        workload: WorkloadId,
        outcome: Outcome,
        actions: &mut Vec<Action>,
    ) {
        let Some(held) = self.held.get_mut(&workload) else {
            return;
        };
        held.stage = Stage::Reported;
        let attempt = held.attempt;
        let cause = held.stop.map(|stop| stop.cause);
        let checkpoint_sequence = held.checkpoints.answered;
        self.requests
            .retain(|_, pending| !pending.about.is_of(workload, attempt));
        let about = About::LastReport(workload, attempt);
        let failed = |error_type: ErrorType, message: String| wire::Failed {
            of: of(workload, attempt),
            error_message: clipped(&message),
            error_type: error_type.to_string(),
            result_data: None,
        };
        let (kind, body) = match (outcome, cause) {
            (_, Some(Cause::TimedOut)) => {
                let message = "it ran longer than its timeout_seconds".to_owned();
                return self.send_failed(now, about, failed(ErrorType::Timeout, message), actions);
            }
            (Outcome::Completed(result_data), _) => {
                let bytes = result_data
                    .as_ref()
                    .map_or(0, |data| data.to_string().len());
                if bytes > RESULT_BYTES_MAX {
                    let message = format!(
                        "result_data has {bytes} bytes, at most {RESULT_BYTES_MAX} are allowed"
                    );
                    let body = failed(ErrorType::Permanent, message);
                    return self.send_failed(now, about, body, actions);
                }
                let body = wire::Completed {
                    of: of(workload, attempt),
                    result_data,
                };
                self.request(now, about, "workload.completed", body, actions);
                return;
            }
            (
                Outcome::Failed {
                    error_type,
                    message,
                },
                None,
            ) => {
                return self.send_failed(now, about, failed(error_type, message), actions);
            }
            (Outcome::Stopped | Outcome::Killed, None) => {
                let message = "it stopped without being asked to".to_owned();
                let body = failed(ErrorType::Transient, message);
                return self.send_failed(now, about, body, actions);
            }
            // What fails while it is being stopped fails of the stop.
            (Outcome::Stopped | Outcome::Killed | Outcome::Failed { .. }, Some(cause)) => {
                let body = wire::Stopped {
                    of: of(workload, attempt),
                    cause: cause.to_string(),
                    checkpoint_sequence,
                };
                ("workload.stopped", body)
            }
        };
        self.request(now, about, kind, body, actions);
    }

    fn send_failed(
        &mut self,
        now: Timestamp,
        about: About,
        body: wire::Failed,
        actions: &mut Vec<Action>,
    ) {
        self.request(now, about, "workload.failed", body, actions);
    }

    pub(super) fn on_last_report_answered(
        &mut self,
        now: Timestamp,
        (workload, attempt): (WorkloadId, Attempt),
        answer: &Answer,
    ) {
        if let AnswerStatus::Rejected = answer.status {
            tracing::warn!(%workload, %attempt, reason = ?answer.reason, "a last report was refused");
        }
        if self
            .held
            .get(&workload)
            .is_some_and(|held| held.attempt == attempt)
        {
            self.held.remove(&workload);
        }
        self.expect_no_more_of(now, workload, attempt);
    }

    /// The leader knows that it is over: an assignment of it that is still on its way rests on a
    /// heartbeat that will be too old in a lease's time.
    fn expect_no_more_of(&mut self, now: Timestamp, workload: WorkloadId, attempt: Attempt) {
        let forget_after = now.plus(self.lease.length());
        if let Some(known) = self.known.get_mut(&workload)
            && known.attempt == attempt
        {
            known.forget_after = Some(forget_after);
        }
    }

    /// Remembers the highest attempt of a workload.
    pub(super) fn remember(&mut self, workload: WorkloadId, attempt: Attempt) {
        let known = self.known.entry(workload).or_insert(Known {
            attempt,
            forget_after: None,
        });
        if attempt > known.attempt {
            *known = Known {
                attempt,
                forget_after: None,
            };
        }
    }

    pub(super) fn on_started_answered(
        &mut self,
        now: Timestamp,
        workload: WorkloadId,
        attempt: Attempt,
        status: AnswerStatus,
        actions: &mut Vec<Action>,
    ) {
        if let AnswerStatus::Stale = status {
            self.forget(now, workload, attempt, actions);
        }
    }
}

/// A text that the protocol carries: without U+0000, and not too long.
pub(super) fn clipped(text: &str) -> String {
    let text = text.replace('\0', "\u{fffd}");
    let end = text.floor_char_boundary(ERROR_MESSAGE_BYTES_MAX);
    text[..end].to_owned()
}

/// What timed out has this long to stop before it is killed.
const TIMEOUT_GRACE: Duration = Duration::from_secs(10);
/// An ended attempt waits this long for the answer to its last checkpoint.
const CLOSING_PATIENCE: Duration = Duration::from_secs(20);
