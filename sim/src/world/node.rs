//! A coordinator's process as the simulator keeps it.

use super::{
    Call,
    operations::{OperationId, Reply},
};
use crate::{
    clock::{Clock, Moment},
    message::{Inbox, Message},
    plan::{CoordinatorPlan, Plan},
};
use niyanta_core::{
    Config, Coordinator, Effect, Event,
    ids::{Generation, Incarnation, MessageSequence, RequestId},
    time::{Duration, Timestamp, WallTime},
};
use sim_probes::{Bug, is_planted};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A place where a coordinator runs, and the process that runs there, if one does.
pub struct Node {
    /// How it is deployed.
    pub plan: CoordinatorPlan,
    /// Counts the processes that ran here.
    pub epoch: u32,
    /// The process.
    pub process: Option<Process>,
    /// For how long it stood still, all pauses together.
    pub suspended: Duration,
    /// How far its wall clock was set back.
    set_back: Duration,
    /// Renewals that were answered here.
    renewals: u32,
}

/// One process of a coordinator.
pub struct Process {
    /// The production core.
    pub core: Coordinator,
    /// This start of it.
    pub incarnation: Incarnation,
    /// Not scheduled until then.
    pub paused_until: Option<Moment>,
    /// Until then it reads the answers that it found when it was scheduled again before its timers
    /// fire.
    pub answers_first_until: Moment,
    /// Its messages are not read until then.
    pub overloaded_until: Moment,
    /// What reached it and was not read, with the moment.
    pub inbox: VecDeque<(Moment, Inbound)>,
    /// Effects that it had not carried out when it was paused.
    pub held: VecDeque<Effect>,
    /// The last assignment: a wrong driver sends it again when its term is over.
    pub leftover: Option<Effect>,
    /// Requests that wait for an answer.
    pub requests: BTreeMap<RequestId, Asker>,
    /// The last handle given to a request.
    pub last_request: RequestId,
    /// Requests that were read and wait for their content to be written, by when they arrived.
    pub writing: BTreeMap<u64, Moment>,
    /// The moment it will be woken.
    pub wake_at: Option<Moment>,
    /// When it was woken last, and how often at that moment.
    pub woken_at: Moment,
    /// How often it was woken at that moment.
    pub wakes_now: u32,
    /// How many events its core has handled.
    pub handled: u64,
    /// When it was last paused.
    pub paused_at: Moment,
    /// Resignations that were sent and not answered.
    pub resigning: BTreeSet<Generation>,
    /// Announcements that wait for them.
    pub announcing: BTreeSet<Generation>,
    /// The last reading of the database's clock.
    pub database_time: WallTime,
    /// Calls that are being served.
    pub calls: BTreeMap<u64, Call>,
}

/// Who asked, and is to be answered.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Where the answer goes.
    pub inbox: Inbox,
    /// What it correlates with.
    pub correlation: Option<String>,
    /// Which start of the worker asks.
    pub incarnation: Incarnation,
    /// The number of its message.
    pub sequence: MessageSequence,
    /// The answer lists what to stop.
    pub is_heartbeat: bool,
    /// What is wrong with it, if it counts all the same.
    pub detail: Option<String>,
}

/// What reaches a coordinator's process.
#[derive(Debug)]
pub enum Inbound {
    /// A message from the broker.
    Message(Message),
    /// What a statement came to.
    Reply {
        /// Whose.
        id: OperationId,
        /// Which sending of it.
        sending: u32,
        /// What.
        reply: Box<Reply>,
    },
    /// The broker's connection was lost, or regained.
    Interrupted {
        /// A wrong driver says nothing of it.
        hidden: bool,
    },
    /// Something else that happened.
    Event(Box<Event>),
    /// A call, and who hears its answer.
    Call(Box<Call>),
}

impl Inbound {
    /// It is what a statement came to.
    pub(super) const fn is_answer(&self) -> bool {
        matches!(self, Self::Reply { .. })
    }
}

impl Node {
    /// All places of a plan, with nothing running.
    #[must_use]
    pub fn all(plan: &Plan) -> Vec<Self> {
        plan.coordinators
            .iter()
            .map(|plan| Self {
                plan: plan.clone(),
                epoch: 0,
                process: None,
                suspended: Duration::ZERO,
                set_back: Duration::ZERO,
                renewals: 0,
            })
            .collect()
    }

    /// Its clock, as its driver reads it.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let mut clock = self.plan.clock;
        let behind = if is_planted(Bug::LeaseStandsStill) {
            self.suspended
        } else if is_planted(Bug::LeaseInWallClock) {
            self.set_back
        } else {
            Duration::ZERO
        };
        let behind = u64::try_from(behind.as_nanos()).unwrap_or(u64::MAX);
        clock.origin = clock.origin.saturating_sub(behind);
        clock
    }

    /// Somebody corrects its wall clock after some of its renewals. Nothing reads that clock but a
    /// driver with a bug.
    pub fn correct_wall_clock(&mut self) {
        self.renewals += 1;
        if self.renewals.is_multiple_of(4) {
            self.set_back += Duration::from_secs(30);
        }
    }

    /// The configuration of its next process.
    #[must_use]
    pub fn config(&self, enable_ha: bool, incarnation: Incarnation, seed: u64) -> Config {
        let mut config = Config::new(incarnation, seed);
        config.enable_ha = enable_ha;
        config.leader_lease_ttl = self.plan.ttl;
        config.scheduler_interval = self.plan.interval;
        config.batch_size = self.plan.batch_size;
        config.heartbeat_timeout = self.heartbeat_timeout();
        config.worker_dead_threshold = self.plan.dead_threshold;
        config.retry_backoff_cap = self.plan.backoff_cap;
        config.worker_loss_limit = self.plan.loss_limit;
        config.window_per_class = self.plan.window;
        config.load_limit = self.plan.load_limit;
        config
    }

    /// What it tells workers whom core does not answer: lease and heartbeat.
    #[must_use]
    pub fn lease_told(&self) -> (Duration, Duration) {
        let lease = self.heartbeat_timeout();
        (lease, lease / 4)
    }

    fn heartbeat_timeout(&self) -> Duration {
        if self.epoch > 1 {
            self.plan.later_heartbeat_timeout
        } else {
            self.plan.heartbeat_timeout
        }
    }

    /// The process, if one runs and is scheduled.
    pub fn awake(&mut self) -> Option<&mut Process> {
        self.process
            .as_mut()
            .filter(|process| process.paused_until.is_none())
    }
}

impl Process {
    /// Up to when everything that reached it was handed over.
    #[must_use]
    pub fn heard_until(&self, clock: Clock, now: Moment) -> Timestamp {
        let unread = self
            .inbox
            .iter()
            .find(|(_, inbound)| matches!(inbound, Inbound::Message(Message::FromWorker(_))))
            .map(|(at, _)| *at);
        let writing = self.writing.values().copied().min();
        let until = unread.into_iter().chain(writing).min().unwrap_or(now);
        clock.read(until.min(now))
    }
}
