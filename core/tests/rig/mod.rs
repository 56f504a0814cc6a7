//! A small world around one coordinator: an honest in-memory store, obedient workers, virtual time.
//!
//! Owns the checks made at every step: the invariants of core, and that nothing is told before it
//! is in the store. Faults are switched on by the test that needs them.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::wildcard_enum_match_arm,
    clippy::manual_let_else,
    clippy::unwrap_used,
    reason = "shared by several test binaries, and a test may panic"
)]

pub mod store;

use niyanta_core::{
    Config, Content, Coordinator, Effect, Event, PersistOutcome, Reply, ReplyStatus, Request,
    WorkerMessage,
    fleet::ReportedStatus,
    ids::{
        Attempt, BatchNumber, Generation, Incarnation, MessageSequence, RequestId, WorkerId,
        WorkloadId,
    },
    invariants,
    time::{Duration, Timestamp},
    workload::{Cause, Desired, ErrorType, Status},
};
use std::collections::{BTreeMap, VecDeque};
use store::Store;

pub const SECOND: Duration = Duration::from_secs(1);

/// One turn of the machine, as scenarios show it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub at: Timestamp,
    pub event: Event,
    pub effects: Vec<Effect>,
}

/// What goes wrong with a kind of question to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not carried out, and its failure is answered.
    Fails,
    /// It is carried out, and its failure is answered.
    LosesAnswer,
    /// It is never answered.
    Hangs,
}

/// A worker process that does as it is told, while it is not silent.
#[derive(Debug, Clone)]
pub struct Agent {
    pub id: WorkerId,
    pub incarnation: Incarnation,
    pub sequence: u64,
    pub running: Vec<(WorkloadId, Attempt)>,
    /// It neither hears nor speaks.
    pub is_silent: bool,
    /// It confirms assignments and obeys stops by itself.
    pub obeys: bool,
    pub next_heartbeat: Timestamp,
}

pub struct World {
    pub core: Coordinator,
    pub now: Timestamp,
    pub store: Store,
    pub agents: BTreeMap<String, Agent>,
    /// Everything that left core for workers, in order.
    pub told: Vec<Effect>,
    pub replies: BTreeMap<RequestId, Reply>,
    pub forgotten: Vec<RequestId>,
    /// Batches are kept unanswered.
    pub holds_batches: bool,
    pub held: Vec<std::sync::Arc<niyanta_core::batch::Batch>>,
    /// What the next batches are answered instead of being applied, in order.
    pub outcomes: VecDeque<(PersistOutcome, bool)>,
    pub holds_loads: bool,
    pub held_loads: Vec<Event>,
    /// Renewals are never answered.
    pub store_is_deaf: bool,
    pub generations: Vec<Generation>,
    pub exits: usize,
    /// Kinds of questions that go wrong.
    pub faults: BTreeMap<&'static str, Fault>,
    /// Probes do not come back.
    pub broker_is_deaf: bool,
    /// Every turn is kept in `seen`.
    pub records: bool,
    pub seen: Vec<Seen>,
    /// The last request of each worker id, to be repeated.
    pub last: BTreeMap<String, Event>,
    next_request: u64,
}

pub fn config() -> Config {
    Config {
        enable_ha: true,
        ..Config::new("leader-1".parse().unwrap(), 42)
    }
}

impl World {
    /// An elected leader on an empty store.
    pub fn new() -> Self {
        Self::with(config(), Store::new())
    }

    pub fn with(config: Config, store: Store) -> Self {
        let mut world = Self::asleep(config, store, Timestamp(1_000_000_000_000));
        world.advance(Duration::from_millis(1));
        world
    }

    /// A coordinator that has not been woken yet.
    pub fn asleep(config: Config, mut store: Store, now: Timestamp) -> Self {
        store.asker = config.incarnation.clone();
        Self {
            core: Coordinator::new(config, now),
            now,
            store,
            agents: BTreeMap::new(),
            told: Vec::new(),
            replies: BTreeMap::new(),
            forgotten: Vec::new(),
            holds_batches: false,
            held: Vec::new(),
            outcomes: VecDeque::new(),
            holds_loads: false,
            held_loads: Vec::new(),
            store_is_deaf: false,
            generations: Vec::new(),
            exits: 0,
            faults: BTreeMap::new(),
            broker_is_deaf: false,
            records: false,
            seen: Vec::new(),
            last: BTreeMap::new(),
            next_request: 0,
        }
    }

    /// The same store and time under a new process: the old one is gone.
    pub fn succeed(mut self, incarnation: &str) -> Self {
        self.store.resign();
        self.replace(incarnation)
    }

    /// The same, of a process that could not say goodbye.
    pub fn replace(self, incarnation: &str) -> Self {
        let config = Config {
            incarnation: incarnation.parse().unwrap(),
            ..config()
        };
        let mut next = Self::asleep(config, self.store, self.now);
        next.agents = self.agents;
        next.records = self.records;
        next.seen = self.seen;
        next.next_request = self.next_request;
        next.advance(Duration::from_millis(1));
        next
    }

    /// Hands over an event and carries out what comes of it, until nothing does.
    pub fn happen(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        let mut steps = 0;
        while let Some(event) = events.pop_front() {
            steps += 1;
            assert!(steps < 100_000, "a livelock: {event:?}");
            let mut effects = Vec::new();
            let kept = self.records.then(|| event.clone());
            self.core.handle(self.now, event, &mut effects);
            self.seen.extend(kept.map(|event| Seen {
                at: self.now,
                event,
                effects: effects.clone(),
            }));
            let violations = invariants::check(&self.core);
            assert!(violations.is_empty(), "{violations:?}");
            for effect in effects {
                self.carry_out(effect, &mut events);
            }
        }
    }

    fn carry_out(&mut self, effect: Effect, events: &mut VecDeque<Event>) {
        match effect {
            Effect::Persist(batch) if self.holds_batches => self.held.push(batch),
            Effect::Persist(batch) => {
                let (generation, number) = (batch.generation, batch.number);
                let outcome = match self.outcomes.pop_front() {
                    Some((outcome, applies)) => {
                        if applies {
                            self.store.persist(&batch, self.now);
                        }
                        outcome
                    }
                    None => self.store.persist(&batch, self.now),
                };
                events.push_back(Event::PersistAnswered {
                    generation,
                    number,
                    outcome,
                });
            }
            Effect::Load { .. } if self.holds_loads => {
                self.held_loads.extend(self.store.answer(&effect, self.now));
            }
            Effect::Reply { to, reply, .. } => {
                self.replies.insert(to, reply);
            }
            Effect::Forget { to } => self.forgotten.push(to),
            Effect::Exit { .. } => self.exits += 1,
            Effect::AnnounceLeader { generation } => self.generations.push(generation),
            Effect::ProbeBroker { .. } if self.broker_is_deaf => {}
            Effect::ProbeBroker { nonce } => events.push_back(Event::ProbeHeard { nonce }),
            Effect::Assign { .. } | Effect::Stop { .. } | Effect::DrainWorker { .. } => {
                self.store.check_told(&effect);
                self.told.push(effect.clone());
                self.obey(&effect, events);
            }
            Effect::TakeLease { .. }
            | Effect::ReadLease { .. }
            | Effect::RenewLease { .. }
            | Effect::ResignLease { .. }
            | Effect::LoadSnapshot { .. }
            | Effect::ReadFence { .. }
            | Effect::Load { .. } => {
                events.extend(self.question(&effect));
            }
            Effect::AnnounceResignation { .. }
            | Effect::RecordPendingReasons { .. }
            | Effect::RecordHeartbeats { .. } => {}
        }
    }

    /// What comes back of a question to the store.
    fn question(&mut self, effect: &Effect) -> Option<Event> {
        if self.store_is_deaf {
            return None;
        }
        let fault = self.faults.get(effect.kind());
        if fault.is_none_or(|fault| *fault == Fault::LosesAnswer) {
            let answer = self.store.answer(effect, self.now);
            if fault.is_none() {
                return answer;
            }
        }
        fault
            .filter(|fault| **fault != Fault::Hangs)
            .and_then(|_| effect.unanswered(store::wall(self.now)))
    }

    /// Workers act on what they are told.
    fn obey(&mut self, effect: &Effect, events: &mut VecDeque<Event>) {
        let (worker, incarnation) = match effect {
            Effect::Assign {
                worker,
                incarnation,
                ..
            }
            | Effect::Stop {
                worker,
                incarnation,
                ..
            } => (worker, incarnation),
            _ => return,
        };
        let Some(agent) = self.agents.get_mut(worker.as_str()) else {
            return;
        };
        if agent.is_silent || agent.incarnation != *incarnation || !agent.obeys {
            return;
        }
        let name = worker.to_string();
        let body = match effect {
            Effect::Assign {
                workload, attempt, ..
            } => {
                if agent.running.contains(&(*workload, *attempt)) {
                    return;
                }
                agent.running.push((*workload, *attempt));
                WorkerMessage::Started {
                    workload: *workload,
                    attempt: *attempt,
                }
            }
            Effect::Stop { order, .. } => {
                agent
                    .running
                    .retain(|r| *r != (order.workload, order.attempt));
                WorkerMessage::Stopped {
                    workload: order.workload,
                    attempt: order.attempt,
                    cause: order.cause,
                }
            }
            _ => return,
        };
        let (_, event) = self.request(&name, body);
        events.push_back(event);
    }

    /// Lets time pass: ticks at each deadline, heartbeats of those who speak.
    pub fn advance(&mut self, span: Duration) {
        let end = self.now.plus(span);
        let mut turns = 0;
        loop {
            turns += 1;
            assert!(turns < 1_000_000, "time stands still");
            let deadline = self.core.next_deadline().map(|deadline| deadline.at);
            let heartbeat = self
                .agents
                .values()
                .filter(|agent| !agent.is_silent)
                .map(|agent| agent.next_heartbeat)
                .min();
            let next = deadline.into_iter().chain(heartbeat).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            // A driver that is late by a little sees several deadlines at once.
            self.now = self.now.max(next);
            self.beat();
            self.tick();
            if self.core.next_deadline().is_some_and(|d| d.at <= self.now) {
                self.now = self.now.plus(Duration::from_millis(1));
            }
        }
        self.now = self.now.max(end);
        self.beat();
        self.tick();
    }

    /// Time passes without anybody being scheduled.
    pub fn freeze(&mut self, span: Duration) {
        self.now = self.now.plus(span);
    }

    pub fn tick(&mut self) {
        self.happen(Event::Tick {
            heard_until: self.now,
        });
    }

    fn beat(&mut self) {
        let due: Vec<String> = self
            .agents
            .values()
            .filter(|agent| !agent.is_silent && agent.next_heartbeat <= self.now)
            .map(|agent| agent.id.to_string())
            .collect();
        for name in due {
            self.heartbeat(&name);
        }
    }

    /// A request of an agent, as an event.
    pub fn request(&mut self, name: &str, body: WorkerMessage) -> (RequestId, Event) {
        self.next_request += 1;
        let reply_to = RequestId(self.next_request);
        let agent = self.agents.get_mut(name).unwrap();
        agent.sequence += 1;
        let request = Request {
            reply_to,
            worker: agent.id.clone(),
            incarnation: agent.incarnation.clone(),
            generation_seen: Generation::ZERO,
            sequence: MessageSequence(agent.sequence),
            body,
        };
        let event = Event::Request(request);
        self.last.insert(name.into(), event.clone());
        (reply_to, event)
    }

    /// Sends a request and gives the answer, if there is one by now.
    pub fn ask(&mut self, name: &str, body: WorkerMessage) -> Option<ReplyStatus> {
        let (to, event) = self.request(name, body);
        self.happen(event);
        self.replies.get(&to).map(|reply| reply.status.clone())
    }

    pub fn agent(&mut self, name: &str) -> &mut Agent {
        self.agents.get_mut(name).unwrap()
    }

    /// A process that has not spoken yet.
    pub fn spawn(&mut self, name: &str, incarnation: &str) {
        let agent = Agent {
            id: name.parse().unwrap(),
            incarnation: incarnation.parse().unwrap(),
            sequence: 0,
            running: Vec::new(),
            is_silent: false,
            obeys: true,
            next_heartbeat: self.now.plus(10 * SECOND),
        };
        self.agents.insert(name.into(), agent);
    }

    pub fn register(&mut self, name: &str) -> Option<ReplyStatus> {
        self.register_as(name, 2, None)
    }

    pub fn register_as(
        &mut self,
        name: &str,
        capacity: u32,
        replaces: Option<&str>,
    ) -> Option<ReplyStatus> {
        let body = WorkerMessage::Register {
            capabilities: ["sleep".parse().unwrap()].into(),
            capacity,
            tags: BTreeMap::new(),
            version: "1".into(),
            replaces: replaces.map(|text| text.parse().unwrap()),
        };
        self.ask(name, body)
    }

    /// Spawns and registers.
    pub fn join(&mut self, name: &str) {
        self.spawn(name, &format!("{name}-1"));
        assert_eq!(self.register(name), Some(ReplyStatus::Ok));
    }

    pub fn heartbeat(&mut self, name: &str) -> Option<Reply> {
        self.heartbeat_as(name, ReportedStatus::Healthy)
    }

    pub fn heartbeat_as(&mut self, name: &str, status: ReportedStatus) -> Option<Reply> {
        let now = self.now;
        let agent = self.agent(name);
        agent.next_heartbeat = now.plus(10 * SECOND);
        let running = agent.running.clone();
        let (to, event) = self.request(name, WorkerMessage::Heartbeat { status, running });
        self.happen(event);
        self.replies.get(&to).cloned()
    }

    /// Submits a workload and hints it.
    pub fn submit(&mut self, number: u128) -> WorkloadId {
        let id = self.store.submit(number, self.now);
        self.happen(Event::WorkloadsHinted(vec![id]));
        id
    }

    /// Records a wish and hints it.
    pub fn wish(&mut self, id: WorkloadId, desired: Desired) {
        self.store.wish(id, desired);
        self.happen(Event::WorkloadsHinted(vec![id]));
    }

    pub fn status(&self, id: WorkloadId) -> Status {
        self.store.row(id).leader.status
    }

    pub fn attempt(&self, id: WorkloadId) -> Attempt {
        self.store.row(id).leader.attempt
    }

    pub fn complete(&mut self, name: &str, id: WorkloadId) -> Option<ReplyStatus> {
        let attempt = self.attempt(id);
        self.agent(name).running.retain(|r| r.0 != id);
        self.ask(
            name,
            WorkerMessage::Completed {
                workload: id,
                attempt,
                content: Content::Absent,
            },
        )
    }

    pub fn fail(
        &mut self,
        name: &str,
        id: WorkloadId,
        error_type: ErrorType,
    ) -> Option<ReplyStatus> {
        let attempt = self.attempt(id);
        self.agent(name).running.retain(|r| r.0 != id);
        self.ask(
            name,
            WorkerMessage::Failed {
                workload: id,
                attempt,
                error_type,
                content: Content::Absent,
            },
        )
    }

    pub fn stopped(&mut self, name: &str, id: WorkloadId, cause: Cause) -> Option<ReplyStatus> {
        let attempt = self.attempt(id);
        self.agent(name).running.retain(|r| r.0 != id);
        self.ask(
            name,
            WorkerMessage::Stopped {
                workload: id,
                attempt,
                cause,
            },
        )
    }

    /// Applies what was held, and answers it.
    pub fn release(&mut self) {
        self.holds_batches = false;
        for batch in std::mem::take(&mut self.held) {
            let outcome = self.store.persist(&batch, self.now);
            self.answer(batch.generation, batch.number, outcome);
        }
    }

    /// Applies the first batch that was held, and answers it; the next ones are held as well.
    pub fn release_one(&mut self) {
        let batch = self.held.remove(0);
        let outcome = self.store.persist(&batch, self.now);
        self.answer(batch.generation, batch.number, outcome);
    }

    pub fn answer(&mut self, generation: Generation, number: BatchNumber, outcome: PersistOutcome) {
        self.happen(Event::PersistAnswered {
            generation,
            number,
            outcome,
        });
    }

    pub fn told_stop(&self, id: WorkloadId) -> Option<Cause> {
        self.told.iter().rev().find_map(|effect| match effect {
            Effect::Stop { order, .. } if order.workload == id => Some(order.cause),
            _ => None,
        })
    }

    pub fn assignments(&self, id: WorkloadId) -> usize {
        let assigns =
            |effect: &&Effect| matches!(effect, Effect::Assign { workload, .. } if *workload == id);
        self.told.iter().filter(assigns).count()
    }
}
