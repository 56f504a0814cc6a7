//! One term of leadership, from its snapshot to its end: the value that is dropped whole.
//!
//! Owns everything that a leader knows and has decided, and the one way a workload's row changes
//! ([`Term::change`]). The files beside it hold what each kind of event does. Keeps: an attempt's
//! timers, its slot in the scheduler and its place in the lists follow its status and nothing else.

use super::loads::Loads;
use super::quarantine::Quarantine;
use super::reports::Endings;
use crate::{
    Config, Effect, Reply, ReplyStatus, Request, WorkerMessage,
    batch::{Actor, AuditDetails, AuditStep, Batch, LeaderHalf},
    fleet::{Fleet, Worker},
    ids::{Attempt, BatchNumber, Generation, RequestId, WorkerId, WorkloadId},
    persist::{Change, Commits, PendingReply, Source, Stamp},
    probes::planted,
    scheduling::{Occupant, Scheduler, SortKey, Waiting, WaitsFor},
    snapshot::CustomerRow,
    status::TermStatus,
    time::{DatabaseClock, Duration, Timestamp, WallTime},
    timer::{Agenda, Deadline, Timer},
    workload::{Move, Open, Over, Status, Workload, target},
};
use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    vec::Vec,
};

#[derive(Debug, Clone)]
pub(crate) struct Term {
    pub(super) config: Arc<Config>,
    pub(super) generation: Generation,
    pub(super) now: Timestamp,
    pub(super) clock: DatabaseClock,
    pub(super) fleet: Fleet,
    pub(super) workloads: BTreeMap<WorkloadId, Workload>,
    /// The open attempts of each worker id, whichever incarnation has them.
    pub(super) by_worker: BTreeMap<WorkerId, BTreeSet<WorkloadId>>,
    pub(super) scheduler: Scheduler,
    pub(super) commits: Commits,
    pub(super) loads: Loads,
    pub(super) endings: Endings,
    pub(super) attempts: Agenda<WorkloadId>,
    /// Attempts proven to be over, that wait for room in a batch.
    pub(super) over: VecDeque<(WorkloadId, Attempt, Over)>,
    pub(super) pace: Pace,
    pub(super) quarantine: Quarantine,
    /// Set when the term must end; the coordinator drops it before it does anything else.
    pub(super) end: Option<End>,
}

/// When the periodic things of a term are due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(super) sweep_at: Timestamp,
    pub(super) record_at: Timestamp,
    pub(super) announce: Option<(Timestamp, Duration)>,
    pub(super) eligible_at: Option<Timestamp>,
    /// The scheduler has more to do than one step took.
    pub(super) plan_more: bool,
    /// Memory is looked through for idle workloads when it holds so many.
    pub(super) prune_at: usize,
    /// No tick is judged again before this moment, so that a late listener does not spin.
    pub(super) judge_at: Timestamp,
}

/// Why a term ends.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// It cannot be known what is in the database: build anew under a higher generation.
    Doubt,
    /// Another term commits.
    Fenced(Generation),
    /// The database refuses something of this batch.
    Refused(Arc<Batch>, BTreeSet<Source>),
}

/// One step of a workload's status.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) by: Move,
    pub(super) actor: Actor,
    pub(super) details: AuditDetails,
}

impl Step {
    pub(super) const fn new(by: Move, actor: Actor) -> Self {
        Self {
            by,
            actor,
            details: AuditDetails::None,
        }
    }

    pub(super) const fn with(by: Move, actor: Actor, details: AuditDetails) -> Self {
        Self { by, actor, details }
    }
}

impl Term {
    /// The database's time now, or a little earlier.
    pub(super) fn wall(&self) -> WallTime {
        self.clock.at(self.now)
    }

    /// A statement read the database's clock. The latest moment is the best guess, unless the clock
    /// was set back.
    pub(super) fn note_clock(&mut self, reading: WallTime) {
        let fresh = DatabaseClock::new(reading, self.now);
        let (new, old) = (fresh.at(self.now), self.clock.at(self.now));
        if new >= old || old.since(new) > CLOCK_LAG_MAX {
            self.clock = fresh;
        }
    }

    /// How many workloads may still change in the gathering batch. In careful mode each batch holds
    /// one change.
    pub(super) fn room(&self) -> usize {
        if self.end.is_some() {
            return 0;
        }
        match (self.quarantine.is_careful(), self.commits.is_idle()) {
            (false, _) => self.commits.room(),
            (true, true) => 1,
            (true, false) => 0,
        }
    }

    /// Changes a workload's row: the only way. `edit` fills in what the step does not imply.
    pub(super) fn change(
        &mut self,
        id: WorkloadId,
        step: Option<Step>,
        edit: impl FnOnce(&mut LeaderHalf),
    ) {
        let Some(workload) = self.workloads.get_mut(&id) else {
            return;
        };
        let before = workload.row.leader.clone();
        let leader = &mut workload.row.leader;
        if let Some(step) = &step {
            let to = target(before.status, step.by);
            assert!(to.is_some(), "P6: {} does not {:?}", before.status, step.by);
            leader.status = to.unwrap_or(before.status);
        }
        edit(leader);
        leader.wish_seen = workload.row.wish_revision;
        let priority = if planted!(PriorityForgotten) && leader.attempt.0 > 0 {
            0
        } else {
            workload.row.priority
        };
        leader.sort_key = SortKey::new(leader.eligible_at, priority).0;
        if !leader.status.has_open_attempt() {
            leader.worker = None;
            leader.stopping = None;
        }
        let (after, customer) = (leader.clone(), workload.row.customer);
        let is_doubled = planted!(DoubledCompletionCounts)
            && step.is_none()
            && before.status == Status::Completed;
        let stamp = step.as_ref().and_then(|step| stamp(step.by, after.status));
        let written = self.commits.change(Change {
            id,
            customer,
            from: (before.status, before.attempt),
            step: step.map(|step| AuditStep {
                kind: step.by.audit_kind(),
                actor: step.actor,
                attempt: if planted!(AuditOfWrongAttempt) {
                    before.attempt
                } else {
                    after.attempt
                },
                details: step.details,
            }),
            stamp,
            left_queue: leaves_queue(&before, &after),
            running: i64::from(after.status.has_open_attempt())
                - i64::from(before.status.has_open_attempt())
                - i64::from(is_doubled),
            to: after.clone(),
        });
        workload.written = written;
        self.follow(id, &before, &after);
    }

    /// Makes memory beside the row agree with it.
    fn follow(&mut self, id: WorkloadId, before: &LeaderHalf, after: &LeaderHalf) {
        let opens = after.attempt != before.attempt;
        if let Some((worker, _)) = &before.worker
            && (opens || after.worker.is_none())
        {
            let is_cancelled_unstarted =
                before.status == Status::Scheduled && after.status == Status::Cancelled;
            if !(planted!(CancelLeaksCapacity) && is_cancelled_unstarted) {
                self.scheduler.vacate(id);
            }
            self.detach(id, &worker.clone());
        }
        if let (true, Some((worker, incarnation))) = (opens, &after.worker) {
            let (worker, incarnation) = (worker.clone(), incarnation.clone());
            self.by_worker.entry(worker.clone()).or_default().insert(id);
            if let Some(workload) = self.workloads.get_mut(&id) {
                let open = Open::new(worker, incarnation, workload.written);
                workload.open = Some(open);
            }
        }
        let Some(workload) = self.workloads.get_mut(&id) else {
            return;
        };
        if let (Some(open), true) = (&mut workload.open, after.stopping != before.stopping) {
            open.stop_in = workload.written;
            open.next_send = None;
            open.interval = Open::FIRST_INTERVAL;
        }
        if before.status == Status::Scheduled
            && after.status == Status::Running
            && after.stopping.is_none()
        {
            workload.row.started_at = Some(self.clock.at(self.now));
            if let Some(open) = &mut workload.open {
                open.next_send = None;
            }
        }
        self.reconsider(id);
        self.set_due(id);
    }

    fn detach(&mut self, id: WorkloadId, worker: &WorkerId) {
        self.attempts.remove(&id);
        if let Some(held) = self.by_worker.get_mut(worker) {
            held.remove(&id);
            if held.is_empty() {
                self.by_worker.remove(worker);
            }
        }
        if let Some(workload) = self.workloads.get_mut(&id) {
            workload.open = None;
            workload.row.started_at = None;
        }
    }

    /// Offers a workload to the scheduler when it waits, withdraws it when it does not.
    pub(super) fn reconsider(&mut self, id: WorkloadId) {
        let Some(workload) = self.workloads.get(&id) else {
            return;
        };
        if !workload.waits() || self.quarantine.has_workload(id, self.now) {
            self.scheduler.withdraw(id);
            return;
        }
        let row = &workload.row;
        let waits_for = if row.leader.backoff_until.is_some() {
            WaitsFor::RetryBackoff
        } else {
            WaitsFor::RunAfter
        };
        self.scheduler.offer(Waiting {
            id,
            customer: row.customer,
            class: row.class,
            key: SortKey(row.leader.sort_key),
            eligible_at: row.leader.eligible_at,
            waits_for,
            workload_type: row.workload_type.clone(),
            affinity: Arc::clone(&row.affinity),
        });
    }

    /// Tells the scheduler of an attempt that an earlier term opened.
    pub(super) fn occupy(&mut self, id: WorkloadId, worker: &WorkerId) {
        let Some(workload) = self.workloads.get(&id) else {
            return;
        };
        let occupant = Occupant {
            id,
            customer: workload.row.customer,
            workload_type: workload.row.workload_type.clone(),
            affinity: Arc::clone(&workload.row.affinity),
        };
        self.scheduler.occupy(occupant, worker);
        self.by_worker.entry(worker.clone()).or_default().insert(id);
    }

    /// Sets the timer of a workload's open attempt by its state.
    pub(super) fn set_due(&mut self, id: WorkloadId) {
        let due = self
            .workloads
            .get(&id)
            .and_then(|workload| workload.due(&self.config, self.clock));
        match due {
            Some(at) => self.attempts.set(id, at),
            None => self.attempts.remove(&id),
        }
    }

    pub(super) fn set_customers(&mut self, rows: &[CustomerRow]) {
        for row in rows {
            let policy = crate::scheduling::CustomerPolicy {
                weight: row.weight,
                max_running: row.max_running,
            };
            self.scheduler.set_customer(row.id, policy);
        }
    }

    /// The batch is certainly in the database.
    pub(super) fn is_committed(&self, number: BatchNumber) -> bool {
        number <= self.commits.applied()
    }

    /// Answers once everything decided by now is committed.
    pub(super) fn reply_after(
        &mut self,
        request: &Request,
        status: ReplyStatus,
        effects: &mut Vec<Effect>,
    ) {
        let pending = PendingReply {
            to: request.reply_to,
            worker: request.worker.clone(),
            registers: matches!(request.body, WorkerMessage::Register { .. })
                .then(|| request.incarnation.clone()),
            status,
        };
        if let Some(pending) = self.commits.reply_after(pending) {
            self.reply_now(pending, effects);
        }
    }

    pub(super) fn reply_now(&self, pending: PendingReply, effects: &mut Vec<Effect>) {
        let lease = self
            .fleet
            .get(&pending.worker)
            .map_or(self.config.heartbeat_timeout, |w| {
                w.lease_to_tell(&self.config)
            });
        // Another took its place before its registration was committed: it never will be.
        let is_replaced = pending.status == ReplyStatus::Ok
            && pending.registers.is_some_and(|incarnation| {
                let holder = self.fleet.get(&pending.worker);
                !holder.is_some_and(|worker| worker.is_current(&incarnation))
            });
        let reply = Reply {
            status: if is_replaced {
                ReplyStatus::IncarnationEnded
            } else {
                pending.status
            },
            lease,
            heartbeat: lease / 4,
            stop: Vec::new(),
        };
        effects.push(Effect::Reply {
            to: pending.to,
            generation: self.generation,
            reply,
        });
    }

    pub(crate) fn all_workloads(&self) -> impl Iterator<Item = (&WorkloadId, &Workload)> {
        self.workloads.iter()
    }

    pub(crate) fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.fleet.values()
    }

    pub(crate) fn check_scheduler(&self) -> Result<(), &'static str> {
        self.scheduler.check_consistency()
    }

    pub(crate) fn gathering_room(&self) -> usize {
        self.commits.room()
    }

    /// Open attempts as the lists of workers count them, and as the scheduler's slots do.
    pub(crate) fn counts_by_worker(&self) -> (usize, usize) {
        let used = |worker| usize::try_from(self.scheduler.used(worker)).unwrap_or(usize::MAX);
        let slots = self.by_worker.keys().map(used).sum();
        (self.attempts_open(), slots)
    }

    /// What is cheap to count.
    pub(crate) fn counts(&self) -> TermStatus {
        TermStatus {
            open_attempts: self.attempts_open(),
            waiting: self.scheduler.held(),
            held: self.workloads.len(),
            batch_in_flight: self.commits.in_flight(),
            applied: self.commits.applied(),
            replies_waiting: self.commits.waiting_replies(),
            requests_parked: self.loads.parked_len(),
            loads_in_flight: self.loads.in_flight(),
            ..TermStatus::default()
        }
    }

    /// The end of everything that belongs to the term; gives the requests that nobody answers.
    pub(super) fn into_unanswered(self) -> Vec<RequestId> {
        let parked = self.loads.into_parked();
        parked.chain(self.commits.into_unanswered()).collect()
    }

    pub(super) fn next_deadline(&self) -> Option<Deadline> {
        let deadline = |at: Option<Timestamp>, timer| at.map(|at| Deadline { at, timer });
        let silence = self.fleet.silences.next();
        let retry = self.loads.retry_at();
        let pace = &self.pace;
        [
            deadline(self.commits.next_deadline(), Timer::Commit),
            deadline(silence.map(|at| at.max(pace.judge_at)), Timer::Silence),
            deadline(self.attempts.next(), Timer::Attempt),
            deadline(self.fleet.drains.next(), Timer::Drain),
            deadline(pace.eligible_at, Timer::Eligible),
            deadline(pace.plan_more.then_some(self.now), Timer::Eligible),
            deadline(retry, Timer::Load),
            deadline(Some(pace.sweep_at), Timer::Sweep),
            deadline(pace.announce.map(|(at, _)| at), Timer::Announce),
            deadline(Some(pace.record_at), Timer::Record),
            deadline(Some(self.now.plus(LISTEN_INTERVAL)), Timer::Listen),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

const fn stamp(by: Move, to: Status) -> Option<Stamp> {
    match by {
        Move::Assign => Some(Stamp::Scheduled),
        Move::Start => Some(Stamp::Started),
        Move::Complete
        | Move::Fail
        | Move::Retry
        | Move::Redistribute
        | Move::Requeue
        | Move::Pause
        | Move::Resume
        | Move::Cancel => {
            if to.is_terminal() {
                Some(Stamp::Completed)
            } else {
                None
            }
        }
    }
}

/// It leaves the queue for the first time: assigned once, or ended before.
fn leaves_queue(before: &LeaderHalf, after: &LeaderHalf) -> bool {
    let ends = after.status.is_terminal() && !before.status.is_terminal();
    if planted!(QueueEndNotCounted) {
        return before.attempt.0 == 0 && after.attempt.0 == 1;
    }
    before.attempt.0 == 0 && (after.attempt.0 == 1 || ends)
}

/// A leader that is scheduled less often has hardly listened: half of the lag allowed.
const LISTEN_INTERVAL: Duration = Duration::from_millis(500);

/// An older reading of the database's clock is dropped for one that is this much behind it.
const CLOCK_LAG_MAX: Duration = Duration::from_secs(10);
