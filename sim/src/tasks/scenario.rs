//! What a seed means here: who is there, how they are configured, and what goes wrong when.

use crate::{
    clock::Moment,
    decision::{Rng, Streams},
    model::broker::Direction,
    parties::{Setting, at, broker_rates, clock, secs},
};
use niyanta_core::time::Duration;

/// One run, from its seed.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Who is there.
    pub setting: Setting,
    /// What becomes of questions to the store.
    pub store_rates: StoreRates,
    /// Words that the broker loses, doubles and delays, of a thousand.
    pub broker_rates: [u64; 3],
    /// Words that a coordinator's connection is slow to take, of a thousand.
    pub slow_publishes: u64,
    /// Calls that their client gives up half-way, of a thousand.
    pub hang_ups: u64,
    /// Great faults, by time.
    pub strikes: Vec<(Moment, Strike)>,
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
    /// It is executed, and no answer ever comes.
    pub silent: u64,
    /// The adapter panics, before or after.
    pub panics: u64,
}

/// A node, by what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// Whoever leads when it strikes.
    Leader,
    /// A coordinator.
    Coordinator(usize),
    /// A worker.
    Worker(usize),
}

/// A great fault, and how long it lasts.
#[derive(Debug, Clone, Copy)]
pub enum Strike {
    /// A process dies, and another one starts in its place.
    Kill(Host, Duration),
    /// A process is not scheduled.
    Pause(Host, Duration),
    /// A coordinator is asked to stop.
    Stop(Host, Duration),
    /// The store hangs for one coordinator, or for all: questions are executed afterwards.
    Hang {
        /// For whom.
        of: Option<Host>,
        /// For how long.
        length: Duration,
        /// Their answers never come.
        silent: bool,
    },
    /// Words to or from a party are lost, and it does not know.
    Cut(Host, Direction, Duration),
    /// A party's connection to the broker is away, and it knows.
    Disconnect(Host, Duration),
    /// Words to a party come late.
    Congest(Host, Duration, Duration),
    /// The connection of a coordinator takes no words.
    Stall(Host, Duration),
    /// So many words reach every coordinator while the one that leads is starved: it waits so
    /// long between its turns.
    Burst(usize, Duration),
}

impl Scenario {
    /// What this seed means.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let streams = Streams::new(seed);
        let mut rng = streams.stream("tasks.plan", 0);
        let ttl = secs(rng.between(2, 4));
        let heartbeat_timeout = secs(rng.between(3, 5));
        let workers = usize::try_from(rng.between(1, 3)).unwrap_or(1);
        let coordinators = if rng.per_mille(150) { 4 } else { 3 };
        let setting = Setting {
            seed,
            engine: ENGINE,
            coordinators,
            workers,
            clients: 2,
            ttl,
            heartbeat_timeout,
            dead_threshold: heartbeat_timeout + secs(rng.between(1, 2)),
            // No deadline is the store's: those of the production code must do.
            statement_within: secs(10),
            clocks: (0..coordinators + workers)
                .map(|_| clock(&mut rng))
                .collect(),
            has_operators: rng.per_mille(600),
            heal_at: at(1_000 * rng.between(16, 24)),
        };
        let mut scenario = Self {
            store_rates: store_rates(&mut setting.stream("store_rates", 0)),
            broker_rates: broker_rates(&mut setting.stream("broker_rates", 0)),
            slow_publishes: if rng.per_mille(500) {
                rng.below(100)
            } else {
                0
            },
            hang_ups: if rng.per_mille(700) {
                rng.below(300)
            } else {
                0
            },
            strikes: Vec::new(),
            setting,
        };
        scenario.strikes = scenario.draw_strikes(&mut streams.stream("tasks.strikes", 0));
        scenario
    }

    /// At least one fault makes the leader change; the others strike anywhere.
    fn draw_strikes(&self, rng: &mut Rng) -> Vec<(Moment, Strike)> {
        let Setting { ttl, heal_at, .. } = self.setting;
        let long = ttl * 2 + secs(1);
        let mut strikes = vec![(
            at(rng.between(5_000, 9_000)),
            match rng.below(6) {
                0 => Strike::Kill(Host::Leader, secs(2)),
                1..=2 => Strike::Pause(Host::Leader, long),
                3 => Strike::Stop(Host::Leader, secs(2)),
                4 => Strike::Hang {
                    of: Some(Host::Leader),
                    length: ttl * 3,
                    silent: rng.per_mille(500),
                },
                _ => Strike::Hang {
                    of: None,
                    length: ttl * 3,
                    silent: rng.per_mille(500),
                },
            },
        )];
        let end = heal_at.since(Moment::default()).as_millis();
        let end = u64::try_from(end).unwrap_or(u64::MAX);
        for _ in 0..rng.between(1, 6) {
            let when = at(rng.between(2_000, end.saturating_sub(1_000)));
            let length = Duration::from_millis(rng.between(300, 7_000));
            strikes.push((when, self.draw_strike(rng, length)));
        }
        strikes.sort_by_key(|(when, _)| *when);
        strikes
    }

    fn draw_strike(&self, rng: &mut Rng, length: Duration) -> Strike {
        let coordinator = if rng.per_mille(600) {
            Host::Leader
        } else {
            Host::Coordinator(rng.index(self.setting.coordinators))
        };
        let anybody = if rng.per_mille(650) {
            coordinator
        } else {
            Host::Worker(rng.index(self.setting.workers))
        };
        match rng.below(16) {
            0..=1 => Strike::Kill(anybody, length),
            2..=4 => Strike::Pause(anybody, length),
            5 => Strike::Stop(coordinator, length),
            6 => Strike::Hang {
                of: Some(coordinator),
                length: length * 2,
                silent: rng.per_mille(500),
            },
            7 => Strike::Hang {
                of: None,
                length,
                silent: rng.per_mille(500),
            },
            8..=9 => Strike::Cut(anybody, Direction::ALL[rng.index(3)], length),
            10 => Strike::Disconnect(anybody, length),
            11 => Strike::Congest(
                anybody,
                Duration::from_millis(rng.between(50, 3_000)),
                length,
            ),
            12 => Strike::Stall(coordinator, length),
            13 if rng.per_mille(50) => Strike::Burst(OVERFLOW, Duration::from_millis(20)),
            _ => {
                let starved = Duration::from_millis(rng.between(150, 470));
                let words = usize::try_from(rng.between(500, 8_000)).unwrap_or(500);
                Strike::Burst(words, starved)
            }
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
        silent: rate(5),
        panics: rate(12),
    }
}

/// More words than a subscription holds.
const OVERFLOW: usize = runtime::broker::embedded::SUBSCRIPTION_CAPACITY + 500;

/// Whose draws these are.
pub(super) const ENGINE: &str = "tasks";
