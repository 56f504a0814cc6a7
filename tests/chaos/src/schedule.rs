//! What strikes when, drawn from a seed before the run begins.
//!
//! Owns the kinds of faults and how often each is drawn. Whom `the leader` means is found out when
//! the strike comes. The same seed and length give the same schedule.

use std::fmt;
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// One fault.
#[derive(Debug, Clone, PartialEq)]
pub struct Strike {
    /// When, from the run's start.
    pub at: Duration,
    /// How long it lasts, where it lasts.
    pub lasts: Duration,
    /// What.
    pub nemesis: Nemesis,
}

/// Which coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The one that leads when the strike comes.
    Leader,
    /// Another one.
    Follower,
}

/// Which line of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// To Postgres.
    Postgres,
    /// To NATS.
    Nats,
    /// Both.
    Both,
}

/// What is done to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// What the process says is lost.
    CutUp,
    /// What it is told is lost.
    CutDown,
    /// Both are lost.
    CutBoth,
    /// Everything waits, and arrives afterwards.
    Held,
    /// Everything is late and little at a time.
    Slow,
    /// All connections are reset.
    Reset,
}

/// How a server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// As an operator would stop it.
    Fast,
    /// Without ending anything properly: it recovers when it starts.
    Immediate,
    /// `kill -9` of the server process.
    Kill,
}

/// What can be done to the system.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Nemesis {
    /// `kill -9`, and later a new start.
    KillCoordinator(Who),
    /// SIGSTOP for so many TTLs.
    PauseCoordinator(Who, f64),
    /// SIGTERM, and a new start once it has ended.
    StopCoordinator(Who),
    /// SIGTERM and a new start for each coordinator, one after the other.
    RollingRestart,
    /// A coordinator's lines.
    CoordinatorLine(Who, Line, Wrong),
    /// `kill -9` of a worker, and a new start under the same id (or under a new one).
    KillWorker(usize, bool),
    /// SIGSTOP for so many leases.
    PauseWorker(usize, f64),
    /// SIGTERM, and a new start once it has ended.
    StopWorker(usize),
    /// An operator drains it, and ends the drain.
    DrainWorker(usize),
    /// A worker's line to NATS.
    WorkerLine(usize, Wrong),
    /// Postgres stops and starts again.
    RestartPostgres(Stop),
    /// Postgres lets nobody new in, and everybody connected is thrown out.
    RefusePostgres,
    /// Everything of Postgres stands still.
    FreezePostgres,
    /// Strangers take all connections there are.
    TakeConnections,
    /// A stranger locks rows or tables that everybody needs.
    LockTable(usize),
    /// NATS is killed and starts again.
    RestartNats,
    /// NATS stands still.
    FreezeNats,
}

/// What a stranger locks, one statement each.
pub const LOCKS: [&str; 4] = [
    "select * from lease for update",
    "select * from fence for update",
    "lock table workloads in share mode",
    "select * from customer_submitted for update",
];

/// How often each kind of fault is drawn, of so many.
const WEIGHTS: [(u32, Kind); 17] = [
    (16, Kind::KillCoordinator),
    (16, Kind::PauseCoordinator),
    (6, Kind::StopCoordinator),
    (2, Kind::RollingRestart),
    (18, Kind::CoordinatorLine),
    (8, Kind::KillWorker),
    (7, Kind::PauseWorker),
    (3, Kind::StopWorker),
    (2, Kind::DrainWorker),
    (8, Kind::WorkerLine),
    (14, Kind::RestartPostgres),
    (3, Kind::RefusePostgres),
    (3, Kind::FreezePostgres),
    (2, Kind::TakeConnections),
    (4, Kind::LockTable),
    (13, Kind::RestartNats),
    (3, Kind::FreezeNats),
];

#[derive(Debug, Clone, Copy)]
enum Kind {
    KillCoordinator,
    PauseCoordinator,
    StopCoordinator,
    RollingRestart,
    CoordinatorLine,
    KillWorker,
    PauseWorker,
    StopWorker,
    DrainWorker,
    WorkerLine,
    RestartPostgres,
    RefusePostgres,
    FreezePostgres,
    TakeConnections,
    LockTable,
    RestartNats,
    FreezeNats,
}

/// The faults of a run of this length over so many workers.
#[must_use]
pub fn schedule(seed: u64, length: Duration, workers: usize) -> Vec<Strike> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut strikes = Vec::new();
    let mut at = Duration::from_secs(2);
    while at < length {
        let lasts = Duration::from_millis(rng.random_range(300..6_000));
        let strike = Strike {
            at,
            lasts,
            nemesis: draw(&mut rng, workers),
        };
        strikes.push(strike);
        // Now and then several at once.
        let gap = if rng.random_range(0..4) == 0 {
            0..500
        } else {
            1_500..9_000
        };
        at += Duration::from_millis(rng.random_range(gap));
    }
    strikes
}

fn draw(rng: &mut StdRng, workers: usize) -> Nemesis {
    let sum: u32 = WEIGHTS.iter().map(|(weight, _)| weight).sum();
    let mut pick = rng.random_range(0..sum);
    let kind = WEIGHTS.iter().find(|(weight, _)| {
        let is_it = pick < *weight;
        pick = pick.saturating_sub(*weight);
        is_it
    });
    let (_, kind) = kind.expect("the pick is below the sum");
    let who = match rng.random_range(0..4) {
        0 => Who::Follower,
        _ => Who::Leader,
    };
    let worker = rng.random_range(0..workers);
    let length = [0.5, 1.2, 3.0][rng.random_range(0..3)];
    let wrong = [
        Wrong::CutUp,
        Wrong::CutDown,
        Wrong::CutBoth,
        Wrong::Held,
        Wrong::Slow,
        Wrong::Reset,
    ][rng.random_range(0..6)];
    let line = [Line::Postgres, Line::Nats, Line::Both][rng.random_range(0..3)];
    let stop = [Stop::Fast, Stop::Immediate, Stop::Kill][rng.random_range(0..3)];
    let is_other = rng.random_range(0..3) == 0;
    let lock = rng.random_range(0..LOCKS.len());
    match kind {
        Kind::KillCoordinator => Nemesis::KillCoordinator(who),
        Kind::PauseCoordinator => Nemesis::PauseCoordinator(who, length),
        Kind::StopCoordinator => Nemesis::StopCoordinator(who),
        Kind::RollingRestart => Nemesis::RollingRestart,
        Kind::CoordinatorLine => Nemesis::CoordinatorLine(who, line, wrong),
        Kind::KillWorker => Nemesis::KillWorker(worker, is_other),
        Kind::PauseWorker => Nemesis::PauseWorker(worker, length),
        Kind::StopWorker => Nemesis::StopWorker(worker),
        Kind::DrainWorker => Nemesis::DrainWorker(worker),
        Kind::WorkerLine => Nemesis::WorkerLine(worker, wrong),
        Kind::RestartPostgres => Nemesis::RestartPostgres(stop),
        Kind::RefusePostgres => Nemesis::RefusePostgres,
        Kind::FreezePostgres => Nemesis::FreezePostgres,
        Kind::TakeConnections => Nemesis::TakeConnections,
        Kind::LockTable => Nemesis::LockTable(lock),
        Kind::RestartNats => Nemesis::RestartNats,
        Kind::FreezeNats => Nemesis::FreezeNats,
    }
}

impl Nemesis {
    /// The name under which it is counted.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::KillCoordinator(_) => "kill coordinator",
            Self::PauseCoordinator(_, ttls) if *ttls > 1.0 => "pause coordinator beyond its TTL",
            Self::PauseCoordinator(..) => "pause coordinator within its TTL",
            Self::StopCoordinator(_) => "stop coordinator",
            Self::RollingRestart => "rolling restart",
            Self::CoordinatorLine(..) => "coordinator's line",
            Self::KillWorker(..) => "kill worker",
            Self::PauseWorker(_, leases) if *leases > 1.0 => "pause worker beyond its lease",
            Self::PauseWorker(..) => "pause worker within its lease",
            Self::StopWorker(_) => "stop worker",
            Self::DrainWorker(_) => "drain worker",
            Self::WorkerLine(..) => "worker's line",
            Self::RestartPostgres(_) => "restart postgres",
            Self::RefusePostgres => "postgres refuses",
            Self::FreezePostgres => "freeze postgres",
            Self::TakeConnections => "connection limit",
            Self::LockTable(_) => "stranger's lock",
            Self::RestartNats => "restart nats",
            Self::FreezeNats => "freeze nats",
        }
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, lasts) = (self.at.as_secs_f64(), self.lasts.as_secs_f64());
        write!(f, "{at:8.2} s, {lasts:4.1} s long: {:?}", self.nemesis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF_AN_HOUR: Duration = Duration::from_secs(1_800);

    #[test]
    fn the_same_seed_is_the_same_schedule_and_another_is_another() {
        let first = schedule(7, HALF_AN_HOUR, 4);
        assert_eq!(first, schedule(7, HALF_AN_HOUR, 4));
        assert_ne!(first, schedule(8, HALF_AN_HOUR, 4));
    }

    #[test]
    fn half_an_hour_strikes_often_enough_with_each_kind() {
        for seed in 1..20 {
            let strikes = schedule(seed, HALF_AN_HOUR, 4);
            let count = |kind: &str| {
                let matching = strikes.iter().filter(|it| it.nemesis.kind() == kind);
                matching.count()
            };
            assert!(count("restart postgres") >= 30, "seed {seed}");
            assert!(count("restart nats") >= 28, "seed {seed}");
            assert!(
                count("pause coordinator beyond its TTL") >= 20,
                "seed {seed}"
            );
            assert!(count("connection limit") > 0, "seed {seed}");
        }
    }
}
