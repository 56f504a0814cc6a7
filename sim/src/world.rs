//! One run: everybody, and one queue of timed events.
//!
//! Owns true time, the queue and who is alive. Each step takes the earliest event, hands it to
//! whom it concerns, carries out what follows, and shows it to the properties. There is no async, no
//! thread and no entropy here: a run is a function of its plan.

mod answers;
mod api;
mod children;
mod clients;
mod database;
mod driver;
mod faults;
mod healing;
mod hearing;
mod messages;
mod network;
mod node;
mod operations;
mod upon;
mod workers;

pub use api::{ApiAnswer, ApiAsk, Call, Caller};
pub use node::{Inbound, Node};
pub use operations::{OperationId, Reply};

use crate::{
    clock::Moment,
    clock::WallClock,
    decision::{Decider, Mismatch, Pick, Streams},
    message::{Address, Message},
    model::{
        broker::{Broker, Direction},
        store::{CounterRow, SessionId, Store},
    },
    plan::{Operation, Plan, Strike},
    properties::{Observation, Properties, Violation},
    recovery::Recovery,
    trace::Trace,
};
use clients::Client;
use database::{Alarm, Backend};
use niyanta_core::{
    ids::{Attempt, WorkloadId},
    snapshot::CustomerRow,
    time::Duration,
};
use operations::{Operation as Asked, Pool, Sent, Transit};
use sim_probes::Marks;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque},
};
use workers::Host;

/// One run of one plan.
pub struct World {
    plan: Plan,
    decider: Decider,
    now: Moment,
    queue: BinaryHeap<Reverse<Entry>>,
    next_entry: u64,
    store: Store,
    broker: Broker,
    nodes: Vec<Node>,
    hosts: Vec<Host>,
    clients: Vec<Client>,
    operations: BTreeMap<OperationId, Asked>,
    next_operation: u64,
    pools: Vec<[Pool; 3]>,
    deadlines: Vec<Option<Moment>>,
    transit: Vec<Transit>,
    backends: Vec<Backend>,
    orphans: Vec<SessionId>,
    last_turn: u64,
    bad_contents: BTreeMap<(WorkloadId, Attempt), bool>,
    next_call: u64,
    next_message: u64,
    store_stalled_until: Moment,
    store_down_until: Moment,
    store_cuts: Vec<[u32; 2]>,
    strikes: VecDeque<Strike>,
    armed: Vec<Strike>,
    is_healed: bool,
    progress_bound: Duration,
    /// Assignments that were not confirmed when it was last looked, since when.
    unconfirmed: BTreeMap<(WorkloadId, Attempt), Moment>,
    led_after: Option<Duration>,
    struck: BTreeSet<&'static str>,
    is_finished: bool,
    properties: Properties,
    trace: Trace,
    counts: Counts,
}

/// What a run went through.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Steps taken.
    pub events: u64,
    /// Coordinators in the plan.
    pub coordinators: u64,
    /// Takeovers.
    pub terms: u64,
    /// Takeovers by another process than the one before.
    pub leader_changes: u64,
    /// Great faults that struck, and statements that failed or went astray.
    pub faults: u64,
    /// Workloads submitted.
    pub workloads: u64,
    /// Workloads that ended.
    pub ended: u64,
    /// Batches committed.
    pub batches: u64,
    /// Statements that waited for a row.
    pub waits: u64,
    /// Statements that waited for each other in a circle.
    pub deadlocks: u64,
    /// Simulated time.
    pub simulated: Duration,
    /// From healing to the last thing settled.
    pub settled_after: Duration,
}

impl Counts {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.coordinators += other.coordinators;
        self.terms += other.terms;
        self.leader_changes += other.leader_changes;
        self.faults += other.faults;
        self.workloads += other.workloads;
        self.ended += other.ended;
        self.batches += other.batches;
        self.waits += other.waits;
        self.deadlocks += other.deadlocks;
        self.simulated += other.simulated;
        self.settled_after = self.settled_after.max(other.settled_after);
    }
}

/// What a run showed.
#[derive(Debug)]
pub struct Outcome {
    /// The first property that did not hold.
    pub violation: Option<Violation>,
    /// What was picked and is not the benign pick.
    pub picks: Vec<Pick>,
    /// What a script said and the run could not do.
    pub mismatch: Option<Mismatch>,
    /// The chained hash of the run.
    pub hash: u128,
    /// What it went through.
    pub counts: Counts,
    /// The situations that it got into.
    pub reached: Marks,
    /// How it recovered, if it did.
    pub recovery: Option<Recovery>,
    /// The run itself, for whoever wants its story.
    pub trace: Trace,
}

/// Something that will happen.
#[derive(Debug)]
enum Occurrence {
    /// A coordinator starts.
    StartCoordinator(usize),
    /// A coordinator's deadline comes.
    WakeCoordinator { place: usize, epoch: u32 },
    /// A coordinator reads the next thing it has not read.
    ReadInbox { place: usize, epoch: u32 },
    /// A pause ends.
    ResumeCoordinator { place: usize, epoch: u32 },
    /// Something reaches a coordinator that does not come through the broker.
    Inbound {
        place: usize,
        epoch: u32,
        inbound: Inbound,
    },
    /// A coordinator's time to stop is over.
    KillCoordinator { place: usize, epoch: u32 },
    /// A worker starts.
    StartWorker(usize),
    /// A worker's deadline comes.
    WakeWorker { place: usize, epoch: u32 },
    /// A pause ends.
    ResumeWorker { place: usize, epoch: u32 },
    /// Something of a child may be due.
    MoveChild {
        place: usize,
        epoch: u32,
        key: children::Key,
    },
    /// The guards of a paused worker's children kill what dies with the lease.
    GuardChildren { place: usize, epoch: u32 },
    /// A worker's connection to the broker is back.
    ReconnectWorker(usize),
    /// A message arrives.
    Message { to: Address, message: Message },
    /// A statement reaches the database.
    Execute(Box<Sent>),
    /// A statement in the database is looked at again.
    Backend {
        session: SessionId,
        turn: u64,
        alarm: Alarm,
    },
    /// A statement comes back to its sender.
    Replied {
        id: OperationId,
        sending: u32,
        reply: Box<Reply>,
    },
    /// Somebody at a place has waited for the database long enough.
    Deadlines { place: usize, epoch: u32 },
    /// The time of a client's errand has come.
    Errand(usize),
    /// A call reaches a coordinator.
    CallArrives { place: usize, call: Box<Call> },
    /// An answer reaches a client.
    CallAnswered {
        client: usize,
        call: u64,
        answer: Option<ApiAnswer>,
    },
    /// A client gives a call up.
    CallGivenUp { client: usize, call: u64 },
    /// A coordinator sends a call's statement again.
    Retry { place: usize, epoch: u32, call: u64 },
    /// The next strike's time has come.
    Strike,
    /// A cut begins.
    CutBroker { who: Address, direction: Direction },
    /// What is sent to it is slow no more.
    Decongest { who: Address },
    /// A cut ends.
    MendBroker { who: Address, direction: Direction },
    /// A cut between two ends.
    MendPair { from: Address, to: Address },
    /// What is sent to it is slow.
    Congest { who: Address, lag: Duration },
    /// A coordinator dies once more.
    CrashAgain { place: usize, down: Duration },
    /// The database takes connections again.
    FreeConnections,
    /// A cut ends.
    MendStore { place: usize, direction: Direction },
    /// An operator does something.
    Operate(Operation),
    /// Everything heals.
    Heal,
    /// Whether everything has settled is looked at.
    LookWhetherSettled,
}

struct Entry {
    at: Moment,
    order: u64,
    what: Occurrence,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl World {
    /// A run that has not begun, on this thread. It tells its story when `told` is set.
    #[must_use]
    pub fn new(plan: Plan, decider: Decider, told: bool) -> Self {
        sim_probes::plant(plan.bug);
        let clock = WallClock::at_speed(plan.database_drift_ppm);
        let mut store = Store::new(clock);
        if plan.loses_commits() {
            store.keep_copies();
        }
        for customer in &plan.customers {
            let limits = CustomerRow {
                id: customer.id,
                weight: customer.weight,
                max_running: customer.max_running,
            };
            store.add_customer(CounterRow::new(limits, customer.max_queued));
        }
        let mut world = Self {
            decider,
            now: Moment::default(),
            queue: BinaryHeap::new(),
            next_entry: 0,
            store,
            broker: Broker::default(),
            nodes: Node::all(&plan),
            hosts: Host::all(&plan),
            clients: Client::all(&plan),
            operations: BTreeMap::new(),
            next_operation: 0,
            pools: plan
                .coordinators
                .iter()
                .map(|_| Default::default())
                .collect(),
            deadlines: vec![None; plan.coordinators.len()],
            transit: Vec::new(),
            backends: Vec::new(),
            orphans: Vec::new(),
            last_turn: 0,
            bad_contents: BTreeMap::new(),
            next_call: 0,
            next_message: 0,
            store_stalled_until: Moment::default(),
            store_down_until: Moment::default(),
            store_cuts: vec![[0, 0]; plan.coordinators.len()],
            strikes: plan.strikes.iter().cloned().collect(),
            armed: Vec::new(),
            is_healed: false,
            progress_bound: Duration::ZERO,
            unconfirmed: BTreeMap::new(),
            led_after: None,
            struck: BTreeSet::new(),
            is_finished: false,
            properties: Properties::new(&plan),
            trace: Trace::new(told),
            counts: Counts::default(),
            plan,
        };
        world.counts.coordinators = u64::try_from(world.nodes.len()).unwrap_or(0);
        world.set_the_stage();
        world
    }

    /// Runs to the end: everything settled, a property violated, or the bound passed.
    pub fn run(&mut self) {
        while let Some(Reverse(entry)) = self.queue.pop() {
            self.now = entry.at;
            self.counts.events += 1;
            self.trace.step(self.now);
            self.step(entry.what);
            if self.counts.events > EVENTS_MAX {
                self.observe(&Observation::Stuck {
                    why: "too much happens: a livelock",
                    bound: self.now.since(self.plan.heal_at),
                });
            }
            if self.is_finished || self.properties.violation().is_some() {
                break;
            }
        }
    }

    /// What the run showed, with what it panicked of if it did.
    #[must_use]
    pub fn finish(mut self, panicked: Option<String>) -> Outcome {
        sim_probes::plant(None);
        self.counts.simulated = self.now.since(Moment::default());
        let (at, step) = (self.now, self.trace.steps());
        self.trace.draw(|picture| picture.end(at));
        let panicked = panicked.map(|what| Violation {
            property: "panic",
            at,
            step,
            what,
        });
        Outcome {
            mismatch: self.decider.mismatch(),
            picks: self.decider.into_picks(),
            violation: self.properties.into_violation().or(panicked),
            hash: self.trace.hash(),
            counts: self.counts,
            reached: sim_probes::take_reached(),
            recovery: self
                .led_after
                .filter(|_| self.is_finished)
                .map(|led| Recovery {
                    faults: self.struck,
                    led,
                    settled: self.counts.settled_after,
                }),
            trace: self.trace,
        }
    }

    fn set_the_stage(&mut self) {
        self.broker.loss = self.plan.rates.loss;
        self.broker.doubled = self.plan.rates.doubled;
        self.broker.slow = self.plan.rates.slow;
        self.broker.slow_up_to = Duration::from_millis(self.plan.rates.slow_up_to_ms);
        for place in 0..self.nodes.len() {
            let lag = self.plan.coordinators[place].lag;
            self.broker.slow_down(Address::Coordinator(place), lag);
            let start = Duration::from_millis(u64::try_from(place).unwrap_or(0) * 40);
            self.after(start, Occurrence::StartCoordinator(place));
        }
        for place in 0..self.hosts.len() {
            let at = self.plan.workers[place].starts_at;
            self.at(at, Occurrence::StartWorker(place));
        }
        for index in 0..self.plan.errands.len() {
            let at = self.plan.errands[index].at;
            self.at(at, Occurrence::Errand(index));
        }
        for (at, operation) in self.plan.operations.clone() {
            self.at(at, Occurrence::Operate(operation));
        }
        for strike in self.plan.strikes.clone() {
            self.at(strike.at, Occurrence::Strike);
        }
        self.at(self.plan.heal_at, Occurrence::Heal);
    }

    fn step(&mut self, what: Occurrence) {
        match what {
            Occurrence::StartCoordinator(place) => self.start_coordinator(place),
            Occurrence::WakeCoordinator { place, epoch } => self.wake_coordinator(place, epoch),
            Occurrence::ReadInbox { place, epoch } => self.read_inbox(place, epoch),
            Occurrence::ResumeCoordinator { place, epoch } => self.resume_coordinator(place, epoch),
            Occurrence::Inbound {
                place,
                epoch,
                inbound,
            } => self.reach_node(place, epoch, inbound),
            Occurrence::KillCoordinator { place, epoch } => self.kill_coordinator(place, epoch),
            Occurrence::StartWorker(place) => self.start_worker(place),
            Occurrence::WakeWorker { place, epoch } => self.wake_worker(place, epoch),
            Occurrence::ResumeWorker { place, epoch } => self.resume_worker(place, epoch),
            Occurrence::MoveChild { place, epoch, key } => self.move_child(place, epoch, key),
            Occurrence::GuardChildren { place, epoch } => self.guard_children(place, epoch),
            Occurrence::ReconnectWorker(place) => self.reconnect_worker(place),
            Occurrence::Message { to, message } => self.deliver(to, message),
            Occurrence::Execute(sent) => self.execute_statement(sent),
            Occurrence::Backend {
                session,
                turn,
                alarm,
            } => self.wake_backend(session, turn, alarm),
            Occurrence::Replied { id, sending, reply } => self.reach_with_reply(id, sending, reply),
            Occurrence::Deadlines { place, epoch } => self.keep_deadlines(place, epoch),
            Occurrence::Errand(index) => self.begin_errand(index),
            Occurrence::CallArrives { place, call } => self.receive_call(place, *call),
            Occurrence::CallAnswered {
                client,
                call,
                answer,
            } => self.answer_client(client, call, answer),
            Occurrence::CallGivenUp { client, call } => self.answer_client(client, call, None),
            Occurrence::Retry { place, epoch, call } => self.retry_call(place, epoch, call),
            Occurrence::Strike => self.arm_strike(),
            Occurrence::CutBroker { who, direction } => self.broker.cut(who, direction),
            Occurrence::Decongest { who } => self.broker.congest(who, Duration::ZERO),
            Occurrence::MendBroker { who, direction } => self.mend_broker(who, direction),
            Occurrence::MendPair { from, to } => self.broker.mend_pair(from, to),
            Occurrence::Congest { who, lag } => self.broker.congest(who, lag),
            Occurrence::CrashAgain { place, down } => self.crash_again(place, down),
            Occurrence::FreeConnections => self.store.limit_connections(usize::MAX),
            Occurrence::MendStore { place, direction } => self.mend_store(place, direction),
            Occurrence::Operate(operation) => self.operate(operation),
            Occurrence::Heal => self.heal(),
            Occurrence::LookWhetherSettled => self.look_whether_settled(),
        }
    }

    fn at(&mut self, at: Moment, what: Occurrence) {
        let at = at.max(self.now);
        self.next_entry += 1;
        self.queue.push(Reverse(Entry {
            at,
            order: self.next_entry,
            what,
        }));
    }

    fn after(&mut self, delay: Duration, what: Occurrence) {
        self.at(self.now.plus(delay), what);
    }

    fn observe(&mut self, observation: &Observation<'_>) {
        let now = self.now;
        self.properties
            .observe(now, &self.store, observation, &mut self.trace);
        let properties = &self.properties;
        self.trace.draw(|picture| {
            picture.observe(now, observation, |place| properties.lease_until(place));
        });
    }
}

/// The term that a core leads by its clock, if it does.
fn node_term(
    core: &niyanta_core::Coordinator,
    local: niyanta_core::time::Timestamp,
) -> Option<niyanta_core::ids::Generation> {
    crate::machine::term(core, local)
}

/// Seeds what a process draws for itself.
fn process_seed(seed: u64, kind: &str, place: usize, epoch: u32) -> u64 {
    let label = u64::try_from(place).unwrap_or(0) << 32 | u64::from(epoch);
    Streams::new(seed).stream(kind, label).bits()
}

/// No run comes near it; one that passes it goes round in circles.
const EVENTS_MAX: u64 = 400_000;
