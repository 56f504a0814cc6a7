//! One attempt as its worker runs it.

use super::{Deed, Finish, Standing, Worker, requests::Unanswered};
use crate::decision::{Choice, Decider, Occasion, Who};
use niyanta_core::{
    Content, StopOrder, WorkerMessage,
    ids::{Attempt, MessageSequence, WorkloadId},
    snapshot::WorkloadRow,
    time::{Duration, Timestamp},
    workload::{Cause, ErrorType, OnLeaseLoss},
};
use sim_probes::{Bug, is_planted};

/// An attempt from receipt of its assignment until its last report is answered.
#[derive(Debug, Clone)]
pub struct Run {
    /// Which attempt.
    pub attempt: Attempt,
    /// Where it is.
    pub phase: Phase,
    /// Goes on when the lease ends.
    pub outlives_lease: bool,
    checkpoints: u64,
}

/// Where an attempt is.
#[derive(Debug, Clone)]
pub enum Phase {
    /// Runs.
    Executing {
        /// When it comes to its own end.
        ends_at: Timestamp,
        /// Which end.
        end: End,
        /// When it has run too long.
        times_out_at: Timestamp,
        /// When it writes its next checkpoint.
        next_checkpoint: Timestamp,
    },
    /// Still runs, and is being stopped.
    Stopping {
        /// Why.
        cause: Cause,
        /// When it has ended.
        ends_at: Timestamp,
    },
    /// Runs no more; its last report is not answered.
    Reporting,
}

/// How an attempt will end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It completes.
    Completes,
    /// It fails, and may be tried again or not.
    Fails(ErrorType),
}

impl Run {
    /// It truly runs.
    #[must_use]
    pub const fn is_executing(&self) -> bool {
        !matches!(self.phase, Phase::Reporting)
    }

    pub(super) const fn ends_with_lease(&self) -> bool {
        self.is_executing() && !self.outlives_lease
    }
}

/// Begins an attempt: how it will go is chosen here.
fn begin(now: Timestamp, row: &WorkloadRow, attempt: Attempt, decider: &mut Decider) -> Run {
    let point = decider.occasion(Occasion::Run, Who::submission(row.id));
    let end = decider.pick(point, Choice::RunEnd, |rng| match rng.below(20) {
        0 => 2,
        1..=3 => 1,
        _ => 0,
    });
    let end = match end {
        0 => End::Completes,
        1 => End::Fails(ErrorType::Transient),
        _ => End::Fails(ErrorType::Permanent),
    };
    let shortest = Duration::from_millis(20);
    let length = decider.delay(point, Choice::RunLength, shortest, |rng| {
        let longest = match rng.below(20) {
            0..=13 => 1_500,
            14..=17 => 12_000,
            _ => RUN_LONGEST_MS,
        };
        rng.duration(shortest, Duration::from_millis(longest))
    });
    let (early, late) = (Duration::from_millis(500), Duration::from_secs(3));
    let checkpoint = decider.delay_up_to(point, Choice::RunCheckpoint, early, late);
    Run {
        attempt,
        phase: Phase::Executing {
            ends_at: now.plus(length),
            end,
            times_out_at: now.plus(row.timeout),
            next_checkpoint: now.plus(checkpoint),
        },
        outlives_lease: row.on_lease_loss == OnLeaseLoss::Continue,
        checkpoints: 0,
    }
}

impl Worker {
    pub(super) fn on_assign(
        &mut self,
        now: Timestamp,
        row: &WorkloadRow,
        attempt: Attempt,
        heartbeat: MessageSequence,
        decider: &mut Decider,
    ) {
        if self.standing == Standing::SaidGoodbye {
            // It has said that everything of it has ended: nothing may begin.
            return;
        }
        if !self.lease.covers(now, heartbeat) {
            if !is_planted(Bug::AssignmentStartsLease) || self.lease.length().is_zero() {
                return;
            }
            self.lease.stretch(now);
        }
        if self.known.get(&row.id).is_some_and(|last| *last >= attempt) {
            return;
        }
        self.known.insert(row.id, attempt);
        if self.standing == Standing::Registering {
            self.standing = Standing::Registered;
            self.schedule_beat(now);
        }
        let executing = self.runs.values().filter(|run| run.is_executing()).count();
        let full = executing >= usize::try_from(self.profile.capacity).unwrap_or(usize::MAX);
        let capable = self.profile.capabilities.contains(&row.workload_type);
        // An older attempt whose last report is not answered runs no more: it gives way.
        let taken = self.runs.get(&row.id).is_some_and(Run::is_executing);
        if full || !capable || taken || self.standing == Standing::Leaving {
            self.report_stopped(now, row.id, attempt, Cause::Refused);
            return;
        }
        let run = begin(now, row, attempt, decider);
        self.runs.insert(row.id, run);
        self.deeds.push(Deed::Began(row.id, attempt));
        let workload = row.id;
        self.ask(now, WorkerMessage::Started { workload, attempt }, None);
    }

    /// Carries out a stop, or answers that there is nothing to stop.
    pub(super) fn stop(&mut self, now: Timestamp, order: StopOrder, decider: &mut Decider) {
        let known = self.known.get(&order.workload).copied();
        let Some(run) = self.runs.get_mut(&order.workload) else {
            self.answer_stop_of_nothing(now, order, known);
            return;
        };
        if run.attempt != order.attempt {
            self.answer_stop_of_nothing(now, order, known);
            return;
        }
        let kill_at = now.plus(order.deadline);
        match &mut run.phase {
            Phase::Executing { .. } => {
                let point = decider.occasion(Occasion::Stop, Who::submission(order.workload));
                let (shortest, longest) = (Duration::from_millis(1), Duration::from_millis(1_500));
                let takes = decider.delay_up_to(point, Choice::StopLength, shortest, longest);
                run.phase = Phase::Stopping {
                    cause: order.cause,
                    ends_at: now.plus(takes).min(kill_at),
                };
                if matches!(order.cause, Cause::Paused | Cause::Drained) {
                    self.checkpoint(now, order.workload);
                }
            }
            Phase::Stopping { ends_at, .. } => *ends_at = (*ends_at).min(kill_at),
            Phase::Reporting => {}
        }
    }

    fn answer_stop_of_nothing(&mut self, now: Timestamp, order: StopOrder, known: Option<Attempt>) {
        let reporting = self
            .unanswered
            .values()
            .any(|asked| asked.last_of() == Some((order.workload, order.attempt)));
        if reporting {
            return;
        }
        self.known
            .insert(order.workload, known.unwrap_or_default().max(order.attempt));
        self.report_stopped(now, order.workload, order.attempt, order.cause);
    }

    fn report_stopped(
        &mut self,
        now: Timestamp,
        workload: WorkloadId,
        attempt: Attempt,
        cause: Cause,
    ) {
        let body = WorkerMessage::Stopped {
            workload,
            attempt,
            cause,
        };
        self.ask(now, body, Some((workload, attempt)));
    }

    fn checkpoint(&mut self, now: Timestamp, workload: WorkloadId) {
        let Some(run) = self.runs.get_mut(&workload) else {
            return;
        };
        run.checkpoints += 1;
        let body = WorkerMessage::Checkpoint {
            workload,
            attempt: run.attempt,
            checkpoint_sequence: run.checkpoints,
            content: Content::Absent,
        };
        self.ask(now, body, None);
    }

    /// Ends everything that the lease does not cover any more.
    pub(super) fn end_what_must(&mut self, now: Timestamp) {
        if is_planted(Bug::WorkerOutlivesLease) || now < self.lease.kill_at() {
            return;
        }
        let lost: Vec<_> = self
            .runs
            .iter()
            .filter(|(_, run)| run.ends_with_lease())
            .map(|(workload, run)| (*workload, run.attempt))
            .collect();
        for (workload, attempt) in lost {
            self.end_run(workload, attempt);
            self.report_stopped(now, workload, attempt, Cause::LeaseLost);
        }
    }

    /// The incarnation is over: everything ends at once and nothing is reported.
    pub(super) fn end_everything(&mut self) {
        for (workload, run) in std::mem::take(&mut self.runs) {
            if run.is_executing() {
                self.deeds.push(Deed::Ended(workload, run.attempt));
            }
        }
        self.unanswered.clear();
    }

    fn end_run(&mut self, workload: WorkloadId, attempt: Attempt) {
        if let Some(run) = self.runs.get_mut(&workload) {
            run.phase = Phase::Reporting;
            self.deeds.push(Deed::Ended(workload, attempt));
        }
    }

    pub(super) fn next_run_step(&self) -> Timestamp {
        let steps = self.runs.values().map(|run| match &run.phase {
            Phase::Executing {
                ends_at,
                times_out_at,
                next_checkpoint,
                ..
            } => (*ends_at).min(*times_out_at).min(*next_checkpoint),
            Phase::Stopping { ends_at, .. } => *ends_at,
            Phase::Reporting => Timestamp::MAX,
        });
        steps.fold(Timestamp::MAX, Timestamp::min)
    }

    pub(super) fn advance_runs(&mut self, now: Timestamp) {
        let ids: Vec<_> = self.runs.keys().copied().collect();
        for workload in ids {
            self.advance_run(now, workload);
        }
    }

    fn advance_run(&mut self, now: Timestamp, workload: WorkloadId) {
        let early = is_planted(Bug::WorkerReportsUnfinished);
        let Some(run) = self.runs.get_mut(&workload) else {
            return;
        };
        let attempt = run.attempt;
        match &mut run.phase {
            Phase::Executing {
                ends_at,
                end,
                times_out_at,
                next_checkpoint,
            } => {
                let end = *end;
                if *ends_at <= now {
                    self.finish(now, workload, attempt, end);
                } else if *times_out_at <= now {
                    let end = End::Fails(ErrorType::Timeout);
                    self.finish(now, workload, attempt, end);
                } else if *next_checkpoint <= now {
                    *next_checkpoint = now.plus(Duration::from_secs(2));
                    if early {
                        self.report_end(now, workload, attempt, End::Completes);
                    }
                    self.checkpoint(now, workload);
                }
            }
            Phase::Stopping { cause, ends_at } if *ends_at <= now => {
                let cause = *cause;
                self.end_run(workload, attempt);
                self.report_stopped(now, workload, attempt, cause);
            }
            Phase::Stopping { .. } | Phase::Reporting => {}
        }
    }

    fn finish(&mut self, now: Timestamp, workload: WorkloadId, attempt: Attempt, end: End) {
        let finish = match end {
            End::Completes => Finish::Completed,
            End::Fails(_) => Finish::Failed,
        };
        self.end_run(workload, attempt);
        self.deeds.push(Deed::Finished(workload, attempt, finish));
        self.report_end(now, workload, attempt, end);
    }

    fn report_end(&mut self, now: Timestamp, workload: WorkloadId, attempt: Attempt, end: End) {
        let body = match end {
            End::Completes => WorkerMessage::Completed {
                workload,
                attempt,
                content: Content::Absent,
            },
            End::Fails(error_type) => WorkerMessage::Failed {
                workload,
                attempt,
                error_type,
                content: Content::Absent,
            },
        };
        self.ask(now, body, Some((workload, attempt)));
    }

    /// The last report of an attempt was answered: it is forgotten.
    pub(super) fn forget_reported(&mut self, asked: &Unanswered) {
        let Some((workload, attempt)) = asked.last_of() else {
            return;
        };
        let over = self
            .runs
            .get(&workload)
            .is_some_and(|run| run.attempt == attempt && !run.is_executing());
        if over {
            self.runs.remove(&workload);
        }
    }

    /// That attempt is not ours any more.
    pub(super) fn on_stale(&mut self, asked: &Unanswered) {
        let about = match &asked.request().request.body {
            WorkerMessage::Started { workload, attempt }
            | WorkerMessage::Checkpoint {
                workload, attempt, ..
            }
            | WorkerMessage::Completed {
                workload, attempt, ..
            }
            | WorkerMessage::Failed {
                workload, attempt, ..
            }
            | WorkerMessage::Stopped {
                workload, attempt, ..
            } => (*workload, *attempt),
            WorkerMessage::Register { .. }
            | WorkerMessage::Heartbeat { .. }
            | WorkerMessage::Deregister => return,
        };
        let (workload, attempt) = about;
        let Some(run) = self.runs.get(&workload) else {
            return;
        };
        if run.attempt != attempt {
            return;
        }
        if run.is_executing() {
            self.deeds.push(Deed::Ended(workload, attempt));
        }
        self.runs.remove(&workload);
    }
}

/// No run takes longer.
pub const RUN_LONGEST_MS: u64 = 40_000;
