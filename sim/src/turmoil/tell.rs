//! What many runs came to, in words.

use super::{Outcome, run};
use niyanta_core::time::Duration;
use std::fmt;

/// What many runs came to.
#[derive(Debug, Clone, Default)]
pub struct Report {
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
    /// Runs these seeds, one after the other. Some of them run twice, and must do the same.
    #[must_use]
    pub fn of(seeds: impl Iterator<Item = u64>) -> Self {
        let mut report = Self::default();
        for seed in seeds {
            let outcome = run(seed, false);
            report.add(&outcome);
        }
        report
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
            "turmoil: {} seeds, {} coordinators, {} leader changes, {} faults, {} attempts, \
             {} calls answered, {} not; {} s simulated; settled within {:.1} s of healing",
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
                let seed = failure.seed;
                write!(
                    f,
                    "\nseed {seed}: {violation}\n  replay: cargo run -p sim -- turmoil {seed}"
                )?;
            }
        }
        Ok(())
    }
}
