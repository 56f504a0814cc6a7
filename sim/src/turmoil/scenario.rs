//! What a seed means here: who is there, how they are configured, and what goes wrong when.

use crate::{
    clock::{Clock, Moment},
    decision::{Rng, Streams},
    plan::{CoordinatorPlan, CustomerPlan, Plan},
};
use niyanta_core::{ids::CustomerId, time::Duration};

/// One run, from its seed.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Where it comes from.
    pub seed: u64,
    /// How many coordinators; at least three.
    pub coordinators: usize,
    /// How many worker hosts.
    pub workers: usize,
    /// How many customers, one client each.
    pub clients: usize,
    /// `leader_lease_ttl`.
    pub ttl: Duration,
    /// `heartbeat_timeout`.
    pub heartbeat_timeout: Duration,
    /// `worker_dead_threshold`.
    pub dead_threshold: Duration,
    /// No statement is waited for longer.
    pub statement_within: Duration,
    /// The longest that a message between hosts takes.
    pub latency: Duration,
    /// One for each coordinator, then one for each worker.
    pub clocks: Vec<Clock>,
    /// Questions to the store whose answer is lost, of a thousand; and so on.
    pub store_rates: StoreRates,
    /// Words that the broker loses, doubles and delays, of a thousand.
    pub broker_rates: [u64; 3],
    /// Great faults, by time.
    pub faults: Vec<(Moment, Fault)>,
    /// Operators are at work.
    pub has_operators: bool,
    /// Hosts run in another order at each step.
    pub random_order: bool,
    /// When everything heals.
    pub heal_at: Moment,
}

/// What becomes of questions to the store, each of a thousand.
#[derive(Debug, Clone, Copy, Default)]
pub struct StoreRates {
    /// Executed, and the connection breaks before the answer.
    pub answer_lost: u64,
    /// The connection breaks, and it is executed later.
    pub orphaned: u64,
    /// The connection breaks.
    pub broken: u64,
    /// A row is not had in time.
    pub locked: u64,
    /// It takes long.
    pub slow: u64,
}

/// A host, by what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// Whoever leads when it strikes.
    Leader,
    /// A coordinator.
    Coordinator(usize),
    /// A worker.
    Worker(usize),
    /// The store's.
    Store,
    /// The broker's.
    Broker,
}

/// A great fault, and how long it lasts.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// No bytes between two hosts.
    Cut(Host, Host, Duration),
    /// No bytes from the first to the second.
    CutOneWay(Host, Host, Duration),
    /// A host is cut off from store and broker.
    Isolate(Host, Duration),
    /// Bytes between two hosts wait.
    Hold(Host, Host, Duration),
    /// A host dies, and its sockets close politely.
    Crash(Host, Duration),
    /// A host is cut off from everybody and then dies, so that its sockets stay silent.
    PowerCut(Host, Duration),
    /// A coordinator is asked to stop.
    Stop(Host, Duration),
}

impl Scenario {
    /// What this seed means.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let streams = Streams::new(seed);
        let mut rng = streams.stream("turmoil.plan", 0);
        let ttl = secs(rng.between(2, 3));
        let heartbeat_timeout = secs(rng.between(3, 5));
        let heal_at = Moment::default().plus(secs(rng.between(16, 24)));
        let workers = usize::try_from(rng.between(1, 3)).unwrap_or(1);
        let coordinators = if rng.per_mille(150) { 4 } else { 3 };
        let clocks = (0..coordinators + workers)
            .map(|_| clock(&mut rng))
            .collect();
        let mut scenario = Self {
            seed,
            coordinators,
            workers,
            clients: 2,
            ttl,
            heartbeat_timeout,
            dead_threshold: heartbeat_timeout + secs(rng.between(1, 2)),
            statement_within: secs(2),
            latency: Duration::from_millis(rng.between(10, 40)),
            clocks,
            store_rates: StoreRates::default(),
            broker_rates: [0; 3],
            faults: Vec::new(),
            has_operators: rng.per_mille(600),
            random_order: rng.per_mille(500),
            heal_at,
        };
        scenario.store_rates = store_rates(&mut streams.stream("turmoil.store_rates", 0));
        scenario.broker_rates = broker_rates(&mut streams.stream("turmoil.broker_rates", 0));
        scenario.faults = scenario.draw_faults(&mut streams.stream("turmoil.faults", 0));
        scenario
    }

    /// The scenario that engines are compared on: three coordinators, five workers, 30 s, one crash
    /// of the leader, and nothing else.
    #[must_use]
    pub fn fixed(seed: u64) -> Self {
        let still = Clock {
            origin: 1_000_000_000,
            drift_ppm: 0,
        };
        Self {
            seed,
            coordinators: 3,
            workers: 5,
            clients: 1,
            ttl: secs(3),
            heartbeat_timeout: secs(4),
            dead_threshold: secs(5),
            statement_within: secs(2),
            latency: Duration::from_millis(10),
            clocks: vec![still; 8],
            store_rates: StoreRates::default(),
            broker_rates: [0; 3],
            faults: vec![(at(10_000), Fault::Crash(Host::Leader, secs(4)))],
            has_operators: false,
            random_order: false,
            heal_at: at(28_000),
        }
    }

    /// At least one fault makes the leader change; the others strike anywhere.
    fn draw_faults(&self, rng: &mut Rng) -> Vec<(Moment, Fault)> {
        let long = self.ttl * 2 + secs(1);
        let mut faults = vec![(
            at(rng.between(5_000, 9_000)),
            match rng.below(6) {
                0 => Fault::Crash(Host::Leader, secs(2)),
                1 => Fault::PowerCut(Host::Leader, long),
                2 => Fault::Cut(Host::Leader, Host::Store, long),
                3 => Fault::Stop(Host::Leader, secs(2)),
                4 => Fault::Isolate(Host::Leader, long),
                _ => Fault::Hold(Host::Leader, Host::Store, long),
            },
        )];
        let end = self.heal_at.since(Moment::default()).as_millis();
        let end = u64::try_from(end).unwrap_or(u64::MAX);
        for _ in 0..rng.between(1, 6) {
            let when = at(rng.between(2_000, end.saturating_sub(1_000)));
            let length = Duration::from_millis(rng.between(300, 7_000));
            faults.push((when, self.draw_fault(rng, length)));
        }
        faults.sort_by_key(|(when, _)| *when);
        faults
    }

    fn draw_fault(&self, rng: &mut Rng, length: Duration) -> Fault {
        let party = match rng.below(10) {
            0..=3 => Host::Leader,
            4..=6 => Host::Coordinator(rng.index(self.coordinators)),
            _ => Host::Worker(rng.index(self.workers)),
        };
        let is_worker = matches!(party, Host::Worker(_));
        let server = if is_worker || rng.per_mille(500) {
            Host::Broker
        } else {
            Host::Store
        };
        let (from, to) = if rng.per_mille(500) {
            (party, server)
        } else {
            (server, party)
        };
        match rng.below(14) {
            0..=2 => Fault::Cut(party, server, length),
            3..=5 => Fault::CutOneWay(from, to, length),
            6 => Fault::Isolate(party, length),
            7..=8 => Fault::Hold(party, server, length),
            9 => Fault::Crash(party, length),
            10 => Fault::PowerCut(party, length),
            11 if !is_worker => Fault::Stop(party, length),
            11 => Fault::Crash(party, length),
            12 => Fault::Crash(Host::Broker, length / 2),
            _ => Fault::Crash(Host::Store, length / 3),
        }
    }

    /// What properties may know of it.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let mut plan = Plan::draw(self.seed, None);
        let drawn = plan.coordinators.first().cloned();
        let coordinators = self.clocks.iter().take(self.coordinators);
        plan.coordinators = coordinators
            .filter_map(|clock| {
                Some(CoordinatorPlan {
                    clock: *clock,
                    ttl: self.ttl,
                    heartbeat_timeout: self.heartbeat_timeout,
                    later_heartbeat_timeout: self.heartbeat_timeout,
                    dead_threshold: self.dead_threshold,
                    interval: SCHEDULER_INTERVAL,
                    backoff_cap: BACKOFF_CAP,
                    loss_limit: LOSS_LIMIT,
                    ..drawn.clone()?
                })
            })
            .collect();
        let customer = plan.customers.first().cloned();
        plan.customers = (0..self.clients)
            .filter_map(|index| {
                Some(CustomerPlan {
                    id: customer_id(index),
                    max_running: MAX_RUNNING,
                    max_queued: u64::from(MAX_QUEUED),
                    ..customer.clone()?
                })
            })
            .collect();
        plan.heal_at = self.heal_at;
        plan
    }

    /// The clock of a worker.
    #[must_use]
    pub fn worker_clock(&self, place: usize) -> Clock {
        self.clocks[self.coordinators + place]
    }
}

/// The customer of a client.
#[must_use]
pub(super) fn customer_id(index: usize) -> CustomerId {
    CustomerId(100 + index as u128)
}

fn store_rates(rng: &mut Rng) -> StoreRates {
    let mut rate = |most| {
        if rng.per_mille(500) {
            rng.below(most)
        } else {
            0
        }
    };
    StoreRates {
        answer_lost: rate(30),
        orphaned: rate(20),
        broken: rate(20),
        locked: rate(20),
        slow: rate(60),
    }
}

fn broker_rates(rng: &mut Rng) -> [u64; 3] {
    let mut rate = |most| {
        if rng.per_mille(500) {
            rng.below(most)
        } else {
            0
        }
    };
    [rate(60), rate(60), rate(60)]
}

fn clock(rng: &mut Rng) -> Clock {
    Clock {
        origin: rng.between(1, 1_000_000) * 1_000_000_000,
        drift_ppm: i64::try_from(rng.below(10_001)).unwrap_or(0) - 5_000,
    }
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(millis: u64) -> Moment {
    Moment::default().plus(Duration::from_millis(millis))
}

/// `scheduler_interval`.
pub(super) const SCHEDULER_INTERVAL: Duration = Duration::from_secs(1);
/// `retry_backoff_cap`.
pub(super) const BACKOFF_CAP: Duration = Duration::from_secs(1);
/// `worker_loss_limit`.
pub(super) const LOSS_LIMIT: u32 = 5;
/// Most open attempts of a customer.
pub(super) const MAX_RUNNING: u32 = 5;
/// Most workloads in a customer's queue.
pub(super) const MAX_QUEUED: u32 = 12;
/// The longest that an attempt works.
pub(super) const RUN_LONGEST: Duration = Duration::from_millis(3_000);
