//! Draws a plan from a seed.

use super::{
    Blow, CoordinatorPlan, CustomerPlan, FOR_GOOD, InFlight, Operation, Plan, Rates, Strike,
    Target, WorkerPlan,
};
use crate::{
    clock::{Clock, Moment},
    decision::{Rng, Streams},
    model::broker::Direction,
    worker::Profile,
};
use niyanta_core::{
    ids::{CustomerId, WorkerId, WorkloadType},
    time::Duration,
};
use sim_probes::Bug;
use std::sync::Arc;

impl Plan {
    /// The plan of a seed, with something done wrong on purpose or not.
    #[must_use]
    pub fn draw(seed: u64, bug: Option<Bug>) -> Self {
        let streams = Streams::new(seed);
        let mut rng = streams.stream("plan", 0);
        let mut size = streams.stream("plan.size", 0);
        let count = match rng.below(20) {
            0..=1 => 1,
            2..=10 => 2,
            _ if size.per_mille(80) => usize::try_from(size.between(4, 7)).unwrap_or(4),
            _ => 3,
        };
        let crowd = size.per_mille(15).then(|| size.between(9, 50));
        let enable_ha = count > 1 || rng.per_mille(300);
        let heal_at = Moment::default().plus(secs(rng.between(20, 60)));
        let workers = workers(&mut streams.stream("plan.workers", 0), heal_at, crowd);
        let coordinators = coordinators(&mut streams.stream("plan.coordinators", 0), count);
        let customers = customers(&mut streams.stream("plan.customers", 0));
        let shape = Shape {
            coordinators: count,
            workers: workers.len(),
            heal_at,
            ttl: coordinators.iter().map(|c| c.ttl).max().unwrap_or_default(),
            lease: coordinators
                .iter()
                .map(|c| c.heartbeat_timeout)
                .max()
                .unwrap_or_default(),
        };
        Self {
            seed,
            bug,
            enable_ha,
            errands: shape.errands(&mut streams.stream("plan.errands", 0), customers.len()),
            operations: shape
                .operations(&mut streams.stream("plan.operations", 0), customers.len()),
            customers,
            types: types(),
            rates: rates(&mut streams.stream("plan.rates", 0)),
            strikes: shape.all_strikes(&streams),
            database_drift_ppm: drift(&mut rng),
            heal_at,
            workers,
            coordinators,
        }
    }
}

pub(super) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn drift(rng: &mut Rng) -> i64 {
    i64::try_from(rng.below(16_001)).unwrap_or(0) - 8_000
}

fn clock(rng: &mut Rng) -> Clock {
    Clock {
        origin: rng.between(1, 1_000_000) * 1_000_000_000,
        drift_ppm: drift(rng),
    }
}

pub(super) fn types() -> Vec<WorkloadType> {
    ["hash", "train", "render"]
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect()
}

fn coordinators(rng: &mut Rng, count: usize) -> Vec<CoordinatorPlan> {
    let ttl = secs(*rng.pick(&[2, 3, 5, 10]).unwrap_or(&3));
    let heartbeat_timeout = secs(*rng.pick(&[4, 6, 10, 20]).unwrap_or(&6));
    let mixed = rng.per_mille(150);
    let rolling = rng.per_mille(200);
    let shorter = rng.per_mille(500);
    let window = *rng.pick(&[1, 2, 8, 256]).unwrap_or(&8);
    let load_limit = window.max(*rng.pick(&[2, 8, 1_000]).unwrap_or(&8));
    let batch_size = *rng.pick(&[1, 4, 100]).unwrap_or(&4);
    let interval = secs(rng.between(1, 4));
    let backoff_cap = secs(rng.between(1, 6));
    let loss_limit = u32::try_from(rng.between(1, 5)).unwrap_or(5);
    (0..count)
        .map(|_| {
            let scale = if mixed {
                u32::try_from(rng.between(1, 2)).unwrap_or(1)
            } else {
                1
            };
            let lease = heartbeat_timeout * scale;
            CoordinatorPlan {
                absent: false,
                clock: clock(rng),
                ttl: ttl * scale,
                heartbeat_timeout: lease,
                later_heartbeat_timeout: match (rolling, shorter) {
                    (false, _) => lease,
                    (true, true) => lease / 2,
                    (true, false) => lease * 2,
                },
                dead_threshold: if rolling {
                    lease * 5 / 2
                } else {
                    lease * 3 / 2
                },
                interval,
                batch_size,
                window,
                load_limit,
                backoff_cap,
                loss_limit,
                lag: if rng.per_mille(100) {
                    Duration::from_millis(rng.between(5, 120))
                } else {
                    Duration::ZERO
                },
                speaks_newer: rng.per_mille(150),
            }
        })
        .collect()
}

fn workers(rng: &mut Rng, heal_at: Moment, crowd: Option<u64>) -> Vec<WorkerPlan> {
    let count = crowd.unwrap_or_else(|| rng.below(9));
    let mut plans: Vec<WorkerPlan> = Vec::new();
    for place in 0..count {
        let doubled = !plans.is_empty() && rng.per_mille(60);
        let profile = match plans.last().filter(|_| doubled) {
            Some(other) => other.profile.clone(),
            None => profile(rng, place),
        };
        let late = rng.per_mille(200) || doubled;
        let starts_at = if late {
            rng.below(heal_at.0 / 2)
        } else {
            rng.below(2_000_000_000)
        };
        plans.push(WorkerPlan {
            absent: false,
            profile,
            clock: clock(rng),
            starts_at: Moment(starts_at),
            remembers: rng.per_mille(600) && !doubled,
            speaks_newer: rng.per_mille(150),
        });
    }
    plans
}

fn profile(rng: &mut Rng, place: u64) -> Profile {
    let worker: WorkerId = match format!("worker-{place}").parse() {
        Ok(worker) => worker,
        Err(invalid) => unreachable!("{invalid}"),
    };
    let mut capabilities: std::collections::BTreeSet<_> =
        types().into_iter().filter(|_| rng.per_mille(700)).collect();
    if capabilities.is_empty() {
        capabilities.extend(types().into_iter().take(1));
    }
    let zone = if rng.per_mille(500) { "east" } else { "west" };
    Profile {
        worker,
        capabilities,
        capacity: u32::try_from(rng.between(1, 4)).unwrap_or(1),
        tags: [(Arc::from("zone"), Arc::from(zone))].into_iter().collect(),
    }
}

fn customers(rng: &mut Rng) -> Vec<CustomerPlan> {
    let count = rng.between(1, 3);
    (0..count)
        .map(|index| CustomerPlan {
            id: CustomerId(u128::from(index) + 1),
            weight: *rng.pick(&[1, 10, 50, 100]).unwrap_or(&1),
            max_running: u32::try_from(rng.between(1, 12)).unwrap_or(1),
            max_queued: rng.between(3, 30),
        })
        .collect()
}

fn rates(rng: &mut Rng) -> Rates {
    let mut rate = |on: u64, most: u64| {
        if rng.per_mille(on) {
            rng.between(1, most)
        } else {
            0
        }
    };
    let slow_up_to_ms = 300 + rate(500, 6_000);
    Rates {
        slow_up_to_ms,
        loss: rate(400, 200),
        doubled: rate(400, 200),
        slow: rate(400, 350),
        not_executed: rate(350, 60),
        answer_lost: rate(450, 80),
        orphaned: rate(350, 60),
        slow_statement: rate(350, 100),
        halting: rate(350, 60),
        torn: rate(250, 10),
        bad: rate(100, 30),
        call_lost: rate(300, 100),
    }
}

/// What strikes are aimed at.
pub(super) struct Shape {
    pub(super) coordinators: usize,
    pub(super) workers: usize,
    pub(super) heal_at: Moment,
    ttl: Duration,
    lease: Duration,
}

impl Shape {
    fn all_strikes(&self, streams: &Streams) -> Vec<Strike> {
        let mut strikes = self.strikes(&mut streams.stream("plan.strikes", 0));
        self.add_rare_ones(&mut streams.stream("plan.rare-strikes", 0), &mut strikes);
        self.add_faithless_databases(&mut streams.stream("plan.database", 0), &mut strikes);
        self.add_sleepy_candidates(&mut streams.stream("plan.candidates", 0), &mut strikes);
        strikes.sort_by_key(|strike| strike.at);
        strikes
    }

    /// Some databases break a promise: their clock is set, or they go on from a copy that misses
    /// commits. Fewer properties hold then, so few seeds have it, and hardly any has both.
    fn add_faithless_databases(&self, rng: &mut Rng, strikes: &mut Vec<Strike>) {
        let (steps, fails_over) = (rng.per_mille(50), rng.per_mille(60));
        let drawn = |rng: &mut Rng, during: Option<InFlight>, blow| {
            let at = Moment(rng.below(self.heal_at.0 * 9 / 10));
            let some = rng.per_mille(600);
            let during = during.or_else(|| rng.pick(InFlight::ALL).copied().filter(|_| some));
            Strike { at, during, blow }
        };
        if steps {
            for _ in 0..rng.between(1, 3) {
                let longest = if rng.per_mille(300) { 60_000 } else { 8_000 };
                let length = i32::try_from(rng.between(1, longest)).unwrap_or(1);
                let millis = if rng.per_mille(500) { length } else { -length };
                let taken = rng.per_mille(300).then_some(InFlight::LeaseTaken);
                strikes.push(drawn(rng, taken, Blow::StepDatabaseClock { millis }));
            }
            // A candidate sleeps over its takeover, whose lease the clock ends at once, and wakes when
            // somebody else has led for a while.
            if self.coordinators > 1 && rng.per_mille(400) {
                let ttl = u64::try_from(self.ttl.as_millis()).unwrap_or(3_000);
                let millis = i32::try_from(rng.between(ttl, 3 * ttl)).unwrap_or(10_000);
                let step = Blow::StepDatabaseClock { millis };
                let step = drawn(rng, Some(InFlight::LeaseTaken), step);
                let at = step.at;
                strikes.push(step);
                let who = Target::Leader;
                let length = rng.duration(self.ttl / 4, self.ttl);
                let (during, blow) = (
                    Some(InFlight::LeaseTaking),
                    Blow::PauseCoordinator { who, length },
                );
                strikes.push(Strike { at, during, blow });
                let down = rng.duration(Duration::from_millis(10), secs(5));
                let at = at.plus(Duration::from_millis(1));
                let (during, blow) = (None, Blow::CrashCoordinator { who, down });
                strikes.push(Strike { at, during, blow });
            }
        }
        if fails_over {
            for _ in 0..rng.between(1, 2) {
                let most = if rng.per_mille(500) { 3 } else { 40 };
                let commits = usize::try_from(rng.between(1, most)).unwrap_or(1);
                let down = rng.duration(Duration::from_millis(10), secs(5));
                strikes.push(drawn(rng, None, Blow::FailOver { commits, down }));
            }
            // A new leader's takeover is lost with its first batch under way, and whoever starts then
            // knows nothing of it.
            if rng.per_mille(700) {
                let commits = usize::try_from(rng.between(1, 6)).unwrap_or(1);
                let down = rng.duration(Duration::from_millis(1), Duration::from_millis(500));
                let lost = Blow::FailOver { commits, down };
                let lost = drawn(rng, Some(InFlight::BatchSent), lost);
                let at = Moment(lost.at.0.saturating_sub(1_000_000));
                strikes.push(lost);
                let down = rng.duration(self.ttl / 2, self.ttl * 2);
                let who = Target::Leader;
                let blow = Blow::CrashCoordinator { who, down };
                strikes.push(Strike {
                    at,
                    during: None,
                    blow,
                });
            }
        }
    }

    /// A candidate sleeps while its takeover is answered, and wakes to a lease that may be over.
    fn add_sleepy_candidates(&self, rng: &mut Rng, strikes: &mut Vec<Strike>) {
        if self.coordinators < 2 || !rng.per_mille(120) {
            return;
        }
        for _ in 0..rng.between(1, 3) {
            let at = Moment(rng.below(self.heal_at.0 * 9 / 10));
            let length = rng.duration(self.ttl / 2, self.ttl * 2);
            let who = Target::Leader;
            let during = Some(
                *rng.pick(&[InFlight::LeaseTaken, InFlight::LeaseTaking])
                    .unwrap_or(&InFlight::LeaseTaken),
            );
            let blow = Blow::PauseCoordinator { who, length };
            strikes.push(Strike { at, during, blow });
            // Somebody must want the lease.
            let down = rng.duration(Duration::from_millis(10), secs(5));
            let blow = Blow::CrashCoordinator { who, down };
            let at = at.plus(Duration::from_millis(1));
            strikes.push(Strike {
                at,
                during: None,
                blow,
            });
        }
    }

    /// What is rarer in the world than a crash: each seed has at most a few kinds of it.
    fn add_rare_ones(&self, rng: &mut Rng, strikes: &mut Vec<Strike>) {
        let kinds: Vec<u64> = (0..5).filter(|_| rng.per_mille(100)).collect();
        for kind in kinds {
            for _ in 0..rng.between(1, 3) {
                let at = Moment(rng.below(self.heal_at.0 * 9 / 10));
                let during = rng.per_mille(400);
                let during = during.then(|| rng.pick(InFlight::ALL).copied()).flatten();
                let Some(blow) = self.rare_blow(rng, kind) else {
                    continue;
                };
                strikes.push(Strike { at, during, blow });
            }
        }
    }

    fn rare_blow(&self, rng: &mut Rng, kind: u64) -> Option<Blow> {
        let who = if rng.per_mille(700) {
            Target::Leader
        } else {
            Target::Place(rng.index(self.coordinators))
        };
        let down = rng.duration(Duration::from_millis(10), secs(5));
        let length = self.length(rng);
        Some(match kind {
            0 => Blow::RestartBroker { down },
            1 if self.workers > 0 => Blow::CutFromWorker {
                who,
                place: rng.index(self.workers),
                direction: rng.pick(Direction::ALL).copied()?,
                length,
            },
            1 => return None,
            2 => Blow::Swizzle {
                order: u32::try_from(rng.below(1 << 32)).unwrap_or(0),
                length,
            },
            3 => Blow::CrashTwice {
                who,
                down,
                lives: rng.duration(Duration::from_millis(1), secs(3)),
            },
            _ => Blow::LimitConnections {
                limit: usize::try_from(rng.below(8)).unwrap_or(0),
                length,
            },
        })
    }

    fn strikes(&self, rng: &mut Rng) -> Vec<Strike> {
        let families: Vec<u64> = (0..13).filter(|_| rng.per_mille(450)).collect();
        let count = rng.between(0, 10);
        let mut strikes: Vec<Strike> = (0..count)
            .filter_map(|_| {
                let family = *rng.pick(&families)?;
                let at = Moment(rng.below(self.heal_at.0 * 9 / 10));
                let blow = self.blow(rng, family)?;
                let aimed = (family < 5 || family == 11) && rng.per_mille(600);
                let during = aimed.then(|| rng.pick(InFlight::ALL).copied()).flatten();
                Some(Strike { at, during, blow })
            })
            .collect();
        self.add_deaf_elections(rng, &mut strikes);
        self.add_what_never_heals(rng, &mut strikes);
        strikes
    }

    /// Some leaders fall while workers cannot be heard: their successors know them from rows alone.
    fn add_deaf_elections(&self, rng: &mut Rng, strikes: &mut Vec<Strike>) {
        if self.workers == 0 || !rng.per_mille(250) {
            return;
        }
        let at = Moment(rng.below(self.heal_at.0 * 8 / 10));
        let who = Target::Leader;
        let blow = if rng.per_mille(700) {
            let down = rng.duration(Duration::from_millis(10), secs(5));
            Blow::CrashCoordinator { who, down }
        } else {
            let length = rng.duration(self.ttl, self.ttl * 3);
            Blow::PauseCoordinator { who, length }
        };
        let strike = |at, blow| Strike {
            at,
            during: None,
            blow,
        };
        strikes.push(strike(at, blow));
        for place in 0..self.workers {
            if rng.per_mille(600) {
                let before = rng.duration(Duration::ZERO, self.lease / 8);
                let at = Moment(at.0.saturating_sub(Moment::default().plus(before).0));
                let direction = *rng
                    .pick(&[Direction::Outward, Direction::Outward, Direction::Both])
                    .unwrap_or(&Direction::Both);
                let length = rng.duration(self.lease / 2, self.lease * 2 + self.ttl * 2);
                let cut = Blow::CutWorker {
                    place,
                    direction,
                    length,
                };
                strikes.push(strike(at, cut));
            }
        }
    }

    /// One of several coordinators never hears of the broker again, or a worker never comes back:
    /// the others go on without it.
    fn add_what_never_heals(&self, rng: &mut Rng, strikes: &mut Vec<Strike>) {
        let mut strike = |at: u64, blow| {
            strikes.push(Strike {
                at: Moment(at),
                during: None,
                blow,
            });
        };
        if self.coordinators > 1 && rng.per_mille(120) {
            let at = rng.below(self.heal_at.0 * 9 / 10);
            let direction = rng.pick(Direction::ALL).copied();
            let who = Target::Leader;
            if let Some(direction) = direction {
                let length = FOR_GOOD;
                let cut = Blow::CutFromBroker {
                    who,
                    direction,
                    length,
                };
                strike(at, cut);
            }
        }
        if self.workers > 1 && rng.per_mille(120) {
            let at = rng.below(self.heal_at.0 * 9 / 10);
            let place = rng.index(self.workers);
            let down = FOR_GOOD;
            strike(at, Blow::CrashWorker { place, down });
        }
    }

    fn blow(&self, rng: &mut Rng, family: u64) -> Option<Blow> {
        let who = if rng.per_mille(700) {
            Target::Leader
        } else {
            Target::Place(rng.index(self.coordinators))
        };
        let place = rng.index(self.workers.max(1));
        let down = rng.duration(Duration::from_millis(10), secs(5));
        let length = self.length(rng);
        let direction = rng.pick(Direction::ALL).copied()?;
        let blow = match family {
            0 => Blow::CrashCoordinator { who, down },
            1 => Blow::PauseCoordinator { who, length },
            2 => Blow::CutFromBroker {
                who,
                direction,
                length,
            },
            3 => Blow::CutFromStore {
                who,
                direction,
                length,
            },
            4 => Blow::ShutDownCoordinator { who, down },
            5 => Blow::StallStore { length },
            6 => Blow::CrashWorker { place, down },
            7 => Blow::PauseWorker {
                place,
                length,
                alone: rng.per_mille(400),
            },
            8 => Blow::CutWorker {
                place,
                direction,
                length,
            },
            9 => Blow::ShutDownWorker { place, down },
            10 => Blow::FadeWorker {
                place,
                lag: rng.duration(secs(1), self.lease / 3 + secs(1)),
                length: self.lease * 3,
            },
            11 => Blow::RestartStore { down },
            // Beyond the end of the workers' leases: what they said lies unread all the while.
            _ => Blow::Overload {
                who,
                length: length.max(rng.duration(Duration::ZERO, self.lease * 3)),
            },
        };
        let needs_worker = (6..11).contains(&family);
        (!needs_worker || self.workers > 0).then_some(blow)
    }

    /// Short, about the leader's lease, or about the workers'.
    fn length(&self, rng: &mut Rng) -> Duration {
        match rng.below(4) {
            0 => rng.duration(Duration::from_millis(5), Duration::from_millis(900)),
            1 | 2 => rng.duration(self.ttl / 2, self.ttl * 3),
            _ => rng.duration(self.lease / 2, self.lease * 2),
        }
    }

    fn operations(&self, rng: &mut Rng, customers: usize) -> Vec<(Moment, Operation)> {
        if self.workers == 0 || rng.per_mille(400) {
            return Vec::new();
        }
        let count = rng.between(1, 6);
        let mut operations: Vec<_> = (0..count)
            .map(|_| {
                let at = Moment(rng.below(self.heal_at.0));
                let place = rng.index(self.workers);
                let customer = rng.index(customers);
                let operation = match rng.below(8) {
                    0 | 1 => Operation::Drain {
                        place,
                        deadline: rng
                            .per_mille(600)
                            .then(|| rng.duration(Duration::ZERO, secs(5))),
                    },
                    2 | 3 => Operation::Undrain { place },
                    4 | 5 => Operation::Remove { place },
                    6 => Operation::ChangeLimits {
                        customer,
                        max_running: u32::try_from(rng.between(1, 12)).unwrap_or(1),
                        max_queued: rng.between(3, 30),
                    },
                    _ => Operation::CancelAll { customer },
                };
                (at, operation)
            })
            .collect();
        operations.sort_by_key(|(at, _)| *at);
        operations
    }
}
