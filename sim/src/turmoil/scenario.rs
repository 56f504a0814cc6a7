//! What a seed means here: who is there, how they are configured, and what goes wrong when.

use crate::{
    clock::{Clock, Moment},
    decision::{Rng, Streams},
    parties::{Setting, at, broker_rates, clock, secs},
};
use niyanta_core::time::Duration;

/// One run, from its seed.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Who is there.
    pub setting: Setting,
    /// The longest that a message between hosts takes.
    pub latency: Duration,
    /// Questions to the store whose answer is lost, of a thousand; and so on.
    pub store_rates: StoreRates,
    /// Words that the broker loses, doubles and delays, of a thousand.
    pub broker_rates: [u64; 3],
    /// Great faults, by time.
    pub faults: Vec<(Moment, Fault)>,
    /// Hosts run in another order at each step.
    pub random_order: bool,
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
        let dead_threshold = heartbeat_timeout + secs(rng.between(1, 2));
        let latency = Duration::from_millis(rng.between(10, 40));
        let setting = Setting {
            seed,
            engine: ENGINE,
            coordinators,
            workers,
            clients: 2,
            ttl,
            heartbeat_timeout,
            dead_threshold,
            statement_within: secs(2),
            clocks,
            has_operators: rng.per_mille(600),
            heal_at,
        };
        let mut scenario = Self {
            setting,
            latency,
            store_rates: StoreRates::default(),
            broker_rates: [0; 3],
            faults: Vec::new(),
            random_order: rng.per_mille(500),
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
        let setting = Setting {
            seed,
            engine: ENGINE,
            coordinators: 3,
            workers: 5,
            clients: 1,
            ttl: secs(3),
            heartbeat_timeout: secs(4),
            dead_threshold: secs(5),
            statement_within: secs(2),
            clocks: vec![still; 8],
            has_operators: false,
            heal_at: at(28_000),
        };
        Self {
            setting,
            latency: Duration::from_millis(10),
            store_rates: StoreRates::default(),
            broker_rates: [0; 3],
            faults: vec![(at(10_000), Fault::Crash(Host::Leader, secs(4)))],
            random_order: false,
        }
    }

    /// At least one fault makes the leader change; the others strike anywhere.
    fn draw_faults(&self, rng: &mut Rng) -> Vec<(Moment, Fault)> {
        let long = self.setting.ttl * 2 + secs(1);
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
        let end = self.setting.heal_at.since(Moment::default()).as_millis();
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
            4..=6 => Host::Coordinator(rng.index(self.setting.coordinators)),
            _ => Host::Worker(rng.index(self.setting.workers)),
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

/// Whose draws these are.
pub(super) const ENGINE: &str = "turmoil";
