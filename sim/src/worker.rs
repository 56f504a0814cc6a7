//! A worker that keeps the contract: one process of it, as a machine without I/O.
//!
//! It counts its lease from the sending of the last answered heartbeat, ends everything that it runs
//! before the lease's end, compares generations, repeats its requests, and after a pause does
//! nothing before it has stopped what is no longer its own. The world carries its messages and reads
//! its clock. What truly runs is told as [`Deed`]s.

mod lease;
mod requests;
mod run;

pub use run::{Phase, RUN_LONGEST_MS, Run};

use crate::{
    decision::{Decider, Rng, Streams},
    message::{Answered, Command, Message, Order, WorkerRequest},
};
use lease::Lease;
use niyanta_core::{
    ReplyStatus, StopOrder, WorkerMessage,
    fleet::ReportedStatus,
    ids::{Attempt, Generation, Incarnation, MessageSequence, WorkerId, WorkloadId, WorkloadType},
    scheduling::Tags,
    time::{Duration, Timestamp},
    workload::Cause,
};
use requests::Unanswered;
use serde::{Deserialize, Serialize};
use sim_probes::{Bug, is_planted};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What a deployment says of a worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Profile {
    /// Its id; two processes may have the same by mistake.
    #[serde(with = "crate::schedule::text")]
    pub worker: WorkerId,
    /// What it can run.
    #[serde(with = "crate::schedule::text::list")]
    pub capabilities: BTreeSet<WorkloadType>,
    /// How many at once.
    pub capacity: u32,
    /// Its labels.
    pub tags: Tags,
}

/// What a worker truly did.
#[derive(Debug, Clone, Hash)]
pub enum Deed {
    /// Sends this to the coordinators.
    Send(Arc<WorkerRequest>),
    /// Obeyed a command or an answer of this term, having seen a higher one or not.
    Obeyed {
        /// The term that spoke.
        generation: Generation,
        /// The highest seen before.
        seen: Generation,
    },
    /// Began to run an attempt.
    Began(WorkloadId, Attempt),
    /// An attempt came to its own end; it is reported from now on.
    Finished(WorkloadId, Attempt, Finish),
    /// An attempt runs no more.
    Ended(WorkloadId, Attempt),
    /// The process ends; `deregistered` when it said goodbye and was answered.
    Exit {
        /// It left on purpose.
        deregistered: bool,
    },
}

/// How an attempt ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Finish {
    /// It did its work.
    Completed,
    /// It failed.
    Failed,
}

/// One process of a worker.
#[derive(Debug)]
pub struct Worker {
    place: usize,
    profile: Profile,
    incarnation: Incarnation,
    replaces: Option<Incarnation>,
    rng: Rng,
    seen: Generation,
    sequence: MessageSequence,
    next_message: u64,
    standing: Standing,
    lease: Lease,
    next_beat: Timestamp,
    runs: BTreeMap<WorkloadId, Run>,
    known: BTreeMap<WorkloadId, Attempt>,
    unanswered: BTreeMap<u64, Unanswered>,
    deeds: Vec<Deed>,
}

/// Where it stands with the coordinators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Has asked to be registered.
    Registering,
    /// Was told to ask again at this moment.
    Waiting(Timestamp),
    /// Is registered.
    Registered,
    /// Is stopping itself.
    Leaving,
    /// Has said goodbye.
    SaidGoodbye,
    /// Is over: the process exits.
    Over,
}

impl Worker {
    /// A process that starts now.
    #[must_use]
    pub fn start(
        now: Timestamp,
        place: usize,
        profile: Profile,
        incarnation: Incarnation,
        replaces: Option<Incarnation>,
        seed: u64,
    ) -> Self {
        let mut worker = Self {
            place,
            profile,
            incarnation,
            replaces,
            rng: Streams::new(seed).stream("jitter", 0),
            seen: Generation::ZERO,
            sequence: MessageSequence::ZERO,
            next_message: 0,
            standing: Standing::Registering,
            lease: Lease::default(),
            next_beat: Timestamp::MAX,
            runs: BTreeMap::new(),
            known: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            deeds: Vec::new(),
        };
        worker.register(now);
        worker
    }

    /// What it did since the last call.
    pub fn take_deeds(&mut self) -> Vec<Deed> {
        std::mem::take(&mut self.deeds)
    }

    /// A message came. The lease is looked at first: whoever wakes late does nothing but stop.
    pub fn hear(&mut self, now: Timestamp, message: &Message, decider: &mut Decider) {
        self.end_what_must(now);
        match message {
            Message::Reply(answer) => self.on_answer(now, answer, decider),
            Message::Command(command) => self.on_command(now, command, decider),
            Message::LeaderElected(generation) => self.on_elected(now, *generation),
            Message::Request(_)
            | Message::LeaderResigned(_)
            | Message::WorkloadsHinted(_)
            | Message::WorkersHinted
            | Message::CustomersHinted(_)
            | Message::Probe { .. } => {}
        }
    }

    /// Time passed.
    pub fn wake(&mut self, now: Timestamp) {
        self.end_what_must(now);
        if let Standing::Waiting(until) = self.standing
            && until <= now
        {
            self.register(now);
        }
        self.advance_runs(now);
        if self.next_beat <= now && self.is_registered() {
            self.beat(now);
        }
        self.repeat_requests(now);
        if self.standing == Standing::Leaving && self.runs.is_empty() {
            self.standing = Standing::SaidGoodbye;
            self.ask(now, WorkerMessage::Deregister, None);
        }
    }

    /// When it must be woken next.
    #[must_use]
    pub fn next_wake(&self) -> Timestamp {
        let mut next = self.next_run_step();
        if self.is_registered() {
            next = next.min(self.next_beat);
        }
        if let Standing::Waiting(until) = self.standing {
            next = next.min(until);
        }
        let outlives = is_planted(Bug::WorkerOutlivesLease);
        if !outlives && self.runs.values().any(Run::ends_with_lease) {
            next = next.min(self.lease.kill_at());
        }
        let repeat = self.unanswered.values().filter_map(Unanswered::next_send);
        repeat.fold(next, Timestamp::min)
    }

    /// It is asked to stop (SIGTERM).
    pub fn leave(&mut self, now: Timestamp, decider: &mut Decider) {
        if self.standing != Standing::Registered {
            return;
        }
        self.standing = Standing::Leaving;
        let running: Vec<_> = self
            .runs
            .iter()
            .map(|(id, run)| (*id, run.attempt))
            .collect();
        for (workload, attempt) in running {
            self.stop(
                now,
                StopOrder {
                    workload,
                    attempt,
                    cause: Cause::Drained,
                    deadline: Duration::from_secs(5),
                },
                decider,
            );
        }
        self.beat(now);
    }

    /// This start of the process.
    #[must_use]
    pub const fn incarnation(&self) -> &Incarnation {
        &self.incarnation
    }

    /// What the deployment says of it.
    #[must_use]
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Until when, by its own clock, it may run attempts.
    #[must_use]
    pub const fn lease_until(&self) -> Timestamp {
        self.lease.until()
    }

    /// What it runs or has not been answered about.
    #[must_use]
    pub const fn runs(&self) -> &BTreeMap<WorkloadId, Run> {
        &self.runs
    }

    /// The highest term it has seen.
    #[must_use]
    pub const fn seen(&self) -> Generation {
        self.seen
    }

    fn is_registered(&self) -> bool {
        matches!(self.standing, Standing::Registered | Standing::Leaving)
    }

    /// True when the word of this term counts; remembers the highest.
    fn obeys(&mut self, generation: Generation) -> bool {
        if generation < self.seen && !is_planted(Bug::WorkerIgnoresGeneration) {
            return false;
        }
        self.deeds.push(Deed::Obeyed {
            generation,
            seen: self.seen,
        });
        self.seen = self.seen.max(generation);
        true
    }

    fn on_elected(&mut self, now: Timestamp, generation: Generation) {
        if !self.obeys(generation) {
            return;
        }
        if self.is_registered() {
            let soon = self
                .rng
                .duration(Duration::ZERO, Duration::from_millis(200));
            self.next_beat = self.next_beat.min(now.plus(soon));
        }
    }

    fn on_command(&mut self, now: Timestamp, command: &Command, decider: &mut Decider) {
        if self.standing == Standing::Over
            || command.incarnation != self.incarnation
            || !self.obeys(command.generation)
        {
            return;
        }
        match &command.order {
            Order::Assign {
                workload,
                attempt,
                heartbeat_sequence,
            } => self.on_assign(now, workload, *attempt, *heartbeat_sequence, decider),
            Order::Stop(order) => self.stop(now, *order, decider),
            Order::Drain { .. } => {}
        }
    }

    fn on_answer(&mut self, now: Timestamp, answer: &Answered, decider: &mut Decider) {
        if answer.incarnation != self.incarnation || self.standing == Standing::Over {
            return;
        }
        let Some(asked) = self.unanswered.get(&answer.message_id).cloned() else {
            return;
        };
        if !self.obeys(answer.generation) {
            return;
        }
        self.unanswered.remove(&answer.message_id);
        match &answer.reply.status {
            ReplyStatus::Ok | ReplyStatus::OkContentRefused => {
                self.on_ok(now, &asked, answer, decider)
            }
            ReplyStatus::Stale => self.on_stale(&asked),
            ReplyStatus::UnknownWorker => self.on_unknown(now, &asked),
            ReplyStatus::IdInUse { retry_after } => {
                self.end_everything();
                self.standing = Standing::Waiting(now.plus(*retry_after));
            }
            ReplyStatus::IncarnationEnded => {
                self.end_everything();
                self.exit(false);
            }
            ReplyStatus::Refused => self.forget_reported(&asked),
        }
    }

    fn on_ok(
        &mut self,
        now: Timestamp,
        asked: &Unanswered,
        answer: &Answered,
        decider: &mut Decider,
    ) {
        match &asked.request().request.body {
            WorkerMessage::Register { .. } => {
                if self.standing == Standing::Registering {
                    self.standing = Standing::Registered;
                }
                self.on_renewed(now, asked, answer);
                self.schedule_beat(now);
            }
            WorkerMessage::Heartbeat { .. } => {
                self.on_renewed(now, asked, answer);
                for order in &answer.reply.stop {
                    self.stop(now, *order, decider);
                }
            }
            WorkerMessage::Deregister => self.exit(true),
            WorkerMessage::Started { .. } | WorkerMessage::Checkpoint { .. } => {}
            WorkerMessage::Completed { .. }
            | WorkerMessage::Failed { .. }
            | WorkerMessage::Stopped { .. } => self.forget_reported(asked),
        }
    }

    fn on_renewed(&mut self, now: Timestamp, asked: &Unanswered, answer: &Answered) {
        let from = if is_planted(Bug::WorkerLeaseFromAnswer) {
            now
        } else {
            asked.first_sent()
        };
        let sequence = asked.request().request.sequence;
        self.lease.renew(sequence, from, answer.reply.lease);
        self.lease.beat_every = answer.reply.heartbeat;
    }

    fn on_unknown(&mut self, now: Timestamp, asked: &Unanswered) {
        // The report is repeated once the registration is answered.
        if !matches!(
            asked.request().request.body,
            WorkerMessage::Heartbeat { .. } | WorkerMessage::Register { .. }
        ) {
            self.unanswered
                .insert(asked.request().message_id, asked.clone().delayed(now));
        }
        let registering = self
            .unanswered
            .values()
            .any(|other| matches!(other.request().request.body, WorkerMessage::Register { .. }));
        if !registering {
            self.register(now);
        }
    }

    fn exit(&mut self, deregistered: bool) {
        self.standing = Standing::Over;
        self.unanswered.clear();
        self.deeds.push(Deed::Exit { deregistered });
    }

    fn reported_status(&self) -> ReportedStatus {
        if self.standing == Standing::Leaving {
            ReportedStatus::Draining
        } else {
            ReportedStatus::Healthy
        }
    }
}
