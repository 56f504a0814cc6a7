//! What runs came to, in numbers and words.

use crate::{ports::checker::Counts, properties::Violation, trace::Line};
use niyanta_core::time::Duration;
use std::fmt;

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// How many coordinators there were.
    pub coordinators: usize,
    /// The first property that did not hold.
    pub violation: Option<Violation>,
    /// How much happened.
    pub counts: Counts,
    /// Faults that struck.
    pub faults: u64,
    /// How long after healing everything had settled.
    pub settled_after: Duration,
    /// Simulated time.
    pub length: Duration,
    /// The chained hash of what was seen.
    pub hash: u128,
    /// What happened, when it was asked for.
    pub story: Vec<Line>,
}

/// What many runs came to.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Which engine ran them: its command replays them.
    pub engine: &'static str,
    /// How many seeds ran.
    pub seeds: u64,
    /// Coordinators in all of them.
    pub coordinators: u64,
    /// Changes of leader in all of them.
    pub leader_changes: u64,
    /// Faults that struck.
    pub faults: u64,
    /// Attempts that workers truly began.
    pub attempts: u64,
    /// Calls that were answered, and that were not.
    pub calls: (u64, u64),
    /// Simulated time.
    pub length: Duration,
    /// The longest that a run took to settle after healing.
    pub settled_after: Duration,
    /// Those that failed.
    pub failures: Vec<Outcome>,
}

impl Report {
    /// Nothing yet.
    #[must_use]
    pub fn of(engine: &'static str) -> Self {
        Self {
            engine,
            ..Self::default()
        }
    }

    /// Counts a run.
    pub fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.coordinators += outcome.coordinators as u64;
        self.leader_changes += outcome.counts.leader_changes;
        self.faults += outcome.faults;
        self.attempts += outcome.counts.attempts;
        self.calls.0 += outcome.counts.calls;
        self.calls.1 += outcome.counts.unknown_calls;
        self.length += outcome.length;
        self.settled_after = self.settled_after.max(outcome.settled_after);
        if outcome.violation.is_some() {
            self.failures.push(outcome.clone());
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} seeds, {} coordinators, {} leader changes, {} faults, {} attempts, \
             {} calls answered, {} not; {} s simulated; settled within {:.1} s of healing",
            self.engine,
            self.seeds,
            self.coordinators,
            self.leader_changes,
            self.faults,
            self.attempts,
            self.calls.0,
            self.calls.1,
            self.length.as_secs(),
            self.settled_after.as_secs_f64(),
        )?;
        for failure in &self.failures {
            if let Some(violation) = &failure.violation {
                let (engine, seed) = (self.engine, failure.seed);
                write!(
                    f,
                    "\nseed {seed}: {violation}\n  replay: cargo run -p sim -- {engine} {seed}"
                )?;
            }
        }
        Ok(())
    }
}
