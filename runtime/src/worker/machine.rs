//! The worker's side of the protocol as a value: words, clock and outcomes go in, actions come out.
//!
//! Owns registration, the lease, what is held and what still has to be answered. Does no I/O, reads
//! no clock and draws nothing from the system: the shell and the simulator drive the same code.
//!
//! Every [`Machine::handle`] begins with the lease. A process that was paused beyond it therefore
//! kills what it ran before it obeys, or reports, anything else.
//!
//! A message id is the incarnation and a number that grows, so the machine needs no entropy for
//! ids. Repeats keep their bytes.

mod attempts;
mod commands;
mod lease;
mod logs;
mod reports;
mod requests;

#[cfg(test)]
mod tests;

pub use attempts::Outcome;

use crate::probes::mark;
use crate::protocol::{AnswerStatus, Assignment, WorkerOrigin, wire};
use attempts::Held;
use bytes::Bytes;
use lease::Lease;
use logs::Logs;
use niyanta_core::{
    ids::{Attempt, Generation, Incarnation, WorkerId, WorkloadId, WorkloadType},
    time::{Duration, Timestamp, WallTime},
    workload::Cause,
};
use requests::{About, Pending};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What a worker is, for the life of its process.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its id.
    pub worker: WorkerId,
    /// Random, for this start of the process; later incarnations of it are numbered from it.
    pub incarnation: Incarnation,
    /// What it can run.
    pub capabilities: BTreeSet<WorkloadType>,
    /// How many attempts at once, 1 to 1,000.
    pub capacity: u32,
    /// Its labels.
    pub tags: BTreeMap<String, String>,
    /// Of its software.
    pub version: String,
    /// An incarnation that is known to have ended with all its children.
    pub replaces: Option<Incarnation>,
    /// Feeds every jitter.
    pub seed: u64,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// The deadline has come, or the shell woke for another reason.
    Tick,
    /// The broker can be reached (again).
    Connected,
    /// Bytes arrived: an answer, a command or a broadcast.
    Heard(Bytes),
    /// An attempt has ended, with all its children.
    Ended {
        /// Which workload.
        workload: WorkloadId,
        /// Which attempt.
        attempt: Attempt,
        /// How.
        outcome: Outcome,
    },
    /// An attempt says how far it is.
    Progress {
        /// Which workload.
        workload: WorkloadId,
        /// Which attempt.
        attempt: Attempt,
        /// 0 to 100.
        percent: f64,
        /// In words.
        message: Option<String>,
    },
    /// An attempt says where it would go on.
    Checkpoint {
        /// Which workload.
        workload: WorkloadId,
        /// Which attempt.
        attempt: Attempt,
        /// The bytes it would be given again.
        data: Vec<u8>,
    },
    /// An attempt says something.
    Log {
        /// Which workload.
        workload: WorkloadId,
        /// Which attempt.
        attempt: Attempt,
        /// `debug`, `info`, `warn` or `error`.
        level: &'static str,
        /// What.
        message: String,
    },
    /// The process is asked to stop within this time.
    ShutdownRequested(Duration),
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Send these bytes on the events subject, or on that of the logs; an answer goes to the inbox.
    Send {
        /// To `coordinator.logs`.
        is_log: bool,
        /// Whether an answer is awaited.
        wants_answer: bool,
        /// The message.
        bytes: Bytes,
    },
    /// Start an attempt.
    Start(Box<Assignment>),
    /// Ask an attempt to stop. Answered by [`Event::Ended`].
    Stop {
        /// Which workload.
        workload: WorkloadId,
        /// Which attempt.
        attempt: Attempt,
        /// Why.
        cause: Cause,
    },
    /// End an attempt with all its children, now. Answered by [`Event::Ended`].
    Kill {
        /// Which workload.
        workload: WorkloadId,
        /// Which attempt.
        attempt: Attempt,
    },
    /// What dies with the lease must have ended by this moment, even if nobody says so again.
    LeaseExtended(Timestamp),
    /// The process may end.
    Exit {
        /// Why it must; nothing when it was asked to.
        refused: Option<String>,
    },
}

/// The machine.
#[derive(Debug, Clone)]
pub struct Machine {
    settings: Settings,
    incarnation: Incarnation,
    incarnations: u32,
    /// An incarnation that this one replaces.
    replaces: Option<Incarnation>,
    sequence: u64,
    /// The number of the last registration.
    registration: u64,
    generation: Generation,
    phase: Phase,
    lease: Lease,
    held: BTreeMap<WorkloadId, Held>,
    known: BTreeMap<WorkloadId, Known>,
    requests: BTreeMap<u64, Pending>,
    logs: Logs,
    /// When a stopping worker gives up waiting for its work and for answers.
    shutdown: Option<Timestamp>,
    /// It is stopping, its time was up, and what still ran is being killed.
    is_killing: bool,
    random: u64,
    wall: WallTime,
}

/// Where the worker stands with the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Its registration is not answered.
    Registering,
    /// Another process holds its id: runs nothing, and registers again then.
    Waiting(Timestamp),
    /// Registered; the next heartbeat is due then.
    Registered(Timestamp),
    /// Its incarnation has ended: stops everything, then begins a new one.
    Ending,
    /// Everything is over; waits for the answer to its deregistration, no longer than this.
    Leaving(Timestamp),
    /// Done.
    Gone,
}

/// The highest attempt known of a workload.
#[derive(Debug, Clone, Copy)]
struct Known {
    attempt: Attempt,
    /// No assignment of it can be valid after this moment: set when its end was answered.
    forget_after: Option<Timestamp>,
}

impl Machine {
    /// A worker that has not said anything yet. The first `handle` registers it.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            incarnation: settings.incarnation.clone(),
            incarnations: 0,
            replaces: settings.replaces.clone(),
            sequence: 0,
            registration: 0,
            generation: Generation::ZERO,
            phase: Phase::Waiting(Timestamp::ZERO),
            lease: Lease::default(),
            held: BTreeMap::new(),
            known: BTreeMap::new(),
            requests: BTreeMap::new(),
            logs: Logs::default(),
            shutdown: None,
            is_killing: false,
            random: settings.seed,
            wall: WallTime(0),
            settings,
        }
    }

    /// Takes in what happened, and appends what to do.
    pub fn handle(
        &mut self,
        now: Timestamp,
        wall: WallTime,
        event: Event,
        actions: &mut Vec<Action>,
    ) {
        self.wall = wall;
        self.enforce_lease(now, actions);
        match event {
            Event::Tick => {}
            Event::Connected => self.speak_soon(now, RECONNECT_SPREAD),
            Event::Heard(bytes) => self.on_heard(now, &bytes, actions),
            Event::Ended {
                workload,
                attempt,
                outcome,
            } => self.on_ended(now, workload, attempt, outcome, actions),
            Event::Progress {
                workload,
                attempt,
                percent,
                message,
            } => self.on_progress(workload, attempt, percent, message),
            Event::Checkpoint {
                workload,
                attempt,
                data,
            } => self.on_checkpoint(now, workload, attempt, data, actions),
            Event::Log {
                workload,
                attempt,
                level,
                message,
            } => self
                .logs
                .push(now, (workload, attempt), wall, level, &message),
            Event::ShutdownRequested(grace) => self.on_shutdown(now, grace, actions),
        }
        self.advance(now, actions);
    }

    /// When to call `handle` with a tick at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let (phase, shutdown) = match self.phase {
            Phase::Waiting(at) => (self.held.is_empty().then_some(at), self.shutdown),
            Phase::Registered(at) => (Some(at), self.shutdown),
            Phase::Registering => (None, self.shutdown),
            Phase::Leaving(at) => (Some(at), None),
            Phase::Ending => (None, None),
            Phase::Gone => return None,
        };
        let repeats = self.requests.values().map(|pending| pending.next_at);
        let lease = self.lease.clone();
        let held = self.held.values().filter_map(|held| held.deadline(&lease));
        repeats
            .chain(held)
            .chain(phase)
            .chain(shutdown)
            .chain(self.logs.next_deadline())
            .min()
    }

    /// What it runs, or has not been answered about.
    pub fn running(&self) -> impl Iterator<Item = (WorkloadId, Attempt)> + '_ {
        self.held
            .iter()
            .filter(|(_, held)| !held.is_forgotten)
            .map(|(workload, held)| (*workload, held.attempt))
    }

    /// This start of the worker, as the leader knows it.
    #[must_use]
    pub const fn incarnation(&self) -> &Incarnation {
        &self.incarnation
    }

    /// Whether the leader has answered the registration.
    #[must_use]
    pub const fn is_registered(&self) -> bool {
        matches!(self.phase, Phase::Registered(_))
    }

    /// Everything that is due.
    fn advance(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        self.stop_what_is_overdue(now, actions);
        self.send_what_attempts_say(now, actions);
        match self.phase {
            Phase::Waiting(at) if now >= at && self.held.is_empty() => self.register(now, actions),
            Phase::Registered(at) if now >= at => self.heartbeat(now, actions),
            Phase::Ending if self.held.is_empty() => self.begin_anew(now, actions),
            Phase::Leaving(at) if now >= at => self.leave(actions),
            Phase::Waiting(_)
            | Phase::Registered(_)
            | Phase::Registering
            | Phase::Ending
            | Phase::Leaving(_)
            | Phase::Gone => {}
        }
        self.leave_when_empty(now, actions);
        self.repeat_requests(now, actions);
    }

    fn register(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        self.phase = Phase::Registering;
        let body = wire::Register {
            capabilities: self
                .settings
                .capabilities
                .iter()
                .map(ToString::to_string)
                .collect(),
            capacity_total: self.settings.capacity,
            tags: self.settings.tags.clone(),
            version: self.settings.version.clone(),
            replaces: self.replaces.as_ref().map(ToString::to_string),
        };
        let sequence = self.request(now, About::Register, "worker.register", body, actions);
        self.registration = sequence;
        self.lease.sent(sequence, now);
    }

    fn heartbeat(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let running = self.running().map(|(workload, attempt)| wire::AttemptRef {
            workload_id: workload.to_string(),
            attempt: attempt.0,
        });
        let status = if self.shutdown.is_some() {
            "DRAINING"
        } else {
            "HEALTHY"
        };
        let body = wire::Heartbeat {
            status: status.to_owned(),
            running: running.collect(),
        };
        let (sequence, bytes) = self.encode("worker.heartbeat", body);
        self.lease.sent(sequence, now);
        actions.push(Action::Send {
            is_log: false,
            wants_answer: true,
            bytes,
        });
        let wait = self.jittered(self.lease.heartbeat);
        self.phase = Phase::Registered(now.plus(wait));
        self.known
            .retain(|_, known| known.forget_after.is_none_or(|moment| now < moment));
    }

    /// What an answer says of this worker as a whole. False when it says nothing more. What was
    /// answered before the last registration was sent says nothing of this worker's standing since.
    fn on_standing(
        &mut self,
        now: Timestamp,
        sequence: u64,
        status: AnswerStatus,
        actions: &mut Vec<Action>,
    ) -> bool {
        let is_outdated = sequence < self.registration;
        match status {
            AnswerStatus::Ok | AnswerStatus::Stale | AnswerStatus::Rejected => return true,
            AnswerStatus::UnknownWorker | AnswerStatus::IdInUse { .. } if is_outdated => {}
            AnswerStatus::UnknownWorker => {
                if let Phase::Registered(_) = self.phase {
                    self.register(now, actions);
                }
            }
            AnswerStatus::IdInUse { retry_after } => {
                mark!(WorkerWaitsForItsId);
                tracing::warn!(worker = %self.settings.worker, ?retry_after, "another process holds this worker id");
                self.abandon_all(actions);
                self.phase = Phase::Waiting(now.plus(retry_after));
            }
            AnswerStatus::IncarnationEnded => {
                mark!(WorkerBeginsAnew);
                tracing::warn!(worker = %self.settings.worker, incarnation = %self.incarnation, "this incarnation has ended: stopping everything");
                self.abandon_all(actions);
                self.phase = Phase::Ending;
            }
        }
        false
    }

    /// The old incarnation ended with all its children: go on as a new one.
    fn begin_anew(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        if self.shutdown.is_some() {
            self.leave(actions);
            return;
        }
        self.incarnations += 1;
        let name = format!("{}.{}", self.settings.incarnation, self.incarnations);
        let next = name
            .parse()
            .unwrap_or_else(|_| self.settings.incarnation.clone());
        self.replaces = Some(std::mem::replace(&mut self.incarnation, next));
        self.lease = Lease::default();
        self.known.clear();
        self.requests.clear();
        self.logs = Logs::default();
        self.register(now, actions);
    }

    fn on_shutdown(&mut self, now: Timestamp, grace: Duration, actions: &mut Vec<Action>) {
        if self.shutdown.is_some() {
            return;
        }
        self.shutdown = Some(now.plus(grace));
        // What remains of the time is for the killing and for the answers.
        let deadline = now.plus(grace - grace / 5);
        let running: Vec<_> = self.held.keys().copied().collect();
        for workload in running {
            self.begin_stop(workload, Cause::Drained, deadline, actions);
        }
        if let Phase::Registered(_) = self.phase {
            self.heartbeat(now, actions);
        }
    }

    /// Deregisters once a stopping worker holds nothing and has said everything, or its time is up and
    /// what it still ran is dead.
    fn leave_when_empty(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let Some(until) = self.shutdown else {
            return;
        };
        let said_all = self.held.is_empty() && self.requests.is_empty() && self.logs.is_empty();
        match self.phase {
            Phase::Registered(_) if said_all || now >= until || self.is_killing => {
                if self.has_killed_all(now, until, actions) {
                    self.requests
                        .retain(|_, pending| pending.about.is_last_report());
                    self.say_farewell(now, actions);
                }
            }
            // The leader may have taken the registration in, and only its answer is missing.
            Phase::Registering if self.held.is_empty() || now >= until || self.is_killing => {
                if self.has_killed_all(now, until, actions) {
                    self.requests.clear();
                    self.say_farewell(now, actions);
                }
            }
            Phase::Waiting(_) if self.held.is_empty() || now >= until => self.leave(actions),
            Phase::Registered(_)
            | Phase::Registering
            | Phase::Waiting(_)
            | Phase::Ending
            | Phase::Leaving(_)
            | Phase::Gone => {}
        }
    }

    /// The goodbye says that nothing runs any more: what is killed must be gone before. What does not
    /// even die is left to the end of the lease, and the worker goes without a word.
    fn has_killed_all(
        &mut self,
        now: Timestamp,
        until: Timestamp,
        actions: &mut Vec<Action>,
    ) -> bool {
        let alive: Vec<_> = self.alive().collect();
        if alive.is_empty() {
            return true;
        }
        for (workload, attempt) in alive {
            self.kill(workload, attempt, actions);
        }
        if !self.is_killing {
            self.is_killing = true;
            self.shutdown = Some(now.plus(FAREWELL));
        } else if now >= until {
            self.leave(actions);
        }
        false
    }

    fn say_farewell(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        self.phase = Phase::Leaving(now.plus(FAREWELL));
        let nothing = wire::Nothing {};
        self.request(
            now,
            About::Deregister,
            "worker.deregister",
            nothing,
            actions,
        );
    }

    fn leave(&mut self, actions: &mut Vec<Action>) {
        self.exit(None, actions);
    }

    fn exit(&mut self, refused: Option<String>, actions: &mut Vec<Action>) {
        let alive: Vec<_> = self.alive().collect();
        for (workload, attempt) in alive {
            self.kill(workload, attempt, actions);
        }
        self.requests.clear();
        self.phase = Phase::Gone;
        actions.push(Action::Exit { refused });
    }

    /// A leader may be new, or the broker back: say soon what would be said later, at a random
    /// moment, so that a fleet does not speak at once.
    fn speak_soon(&mut self, now: Timestamp, spread: Duration) {
        let at = now.plus(self.random_below(spread));
        if let Phase::Registered(next) = &mut self.phase {
            *next = (*next).min(at);
        }
        for pending in self.requests.values_mut() {
            pending.next_at = pending.next_at.min(at);
        }
    }

    fn encode<B: Serialize>(&mut self, kind: &str, body: B) -> (u64, Bytes) {
        self.sequence += 1;
        let origin = WorkerOrigin {
            worker: &self.settings.worker,
            incarnation: &self.incarnation,
            generation_seen: self.generation,
            sequence: self.sequence,
            now: self.wall,
        };
        (self.sequence, origin.encode(kind, body))
    }

    /// `duration`, give or take a tenth.
    fn jittered(&mut self, duration: Duration) -> Duration {
        duration - duration / 10 + self.random_below(duration / 5)
    }

    fn random_below(&mut self, ceiling: Duration) -> Duration {
        // SplitMix64: good enough to spread a fleet, and the same everywhere.
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        let nanos = u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(if nanos == 0 { 0 } else { mixed % nanos })
    }
}

/// After `leader.elected` workers speak within this.
const ELECTION_SPREAD: Duration = Duration::from_millis(200);
/// After a lost connection they speak within this.
const RECONNECT_SPREAD: Duration = Duration::from_millis(500);
/// How long a leaving worker waits for answers.
const FAREWELL: Duration = Duration::from_secs(5);
