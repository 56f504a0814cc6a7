//! How long runs took to recover, by what had struck them.
//!
//! A run counts for every class of fault that struck it: what is slow to recover from stands out in
//! its class and is diluted in the others.

use niyanta_core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

/// How one run recovered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The classes of great faults that struck it.
    pub faults: BTreeSet<&'static str>,
    /// From healing until there was one leader again.
    pub led: Duration,
    /// From healing until everything was settled.
    pub settled: Duration,
}

/// How many runs recovered.
#[derive(Debug, Clone, Default)]
pub struct Recoveries {
    classes: BTreeMap<&'static str, Vec<(Duration, Duration)>>,
}

/// One class of faults, summed up. Each triple is the median, the 99th of a hundred and the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Which faults.
    pub class: &'static str,
    /// How many runs they struck.
    pub runs: usize,
    /// Until there was one leader.
    pub led: [Duration; 3],
    /// Until everything was settled.
    pub settled: [Duration; 3],
}

impl Recoveries {
    /// Counts a run.
    pub fn add(&mut self, recovery: &Recovery) {
        let times = (recovery.led, recovery.settled);
        let no_fault = recovery.faults.is_empty().then_some("no great fault");
        for class in recovery.faults.iter().copied().chain(no_fault) {
            self.classes.entry(class).or_default().push(times);
        }
    }

    /// Sums them up, by class.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let row = |(class, times): (&&'static str, &Vec<(Duration, Duration)>)| Row {
            class,
            runs: times.len(),
            led: spread(times.iter().map(|(led, _)| *led)),
            settled: spread(times.iter().map(|(_, settled)| *settled)),
        };
        self.classes.iter().map(row).collect()
    }
}

fn spread(times: impl Iterator<Item = Duration>) -> [Duration; 3] {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    let at = |hundredths: usize| {
        let rank = (times.len() * hundredths).div_ceil(100).max(1) - 1;
        times.get(rank).copied().unwrap_or_default()
    };
    [at(50), at(99), at(100)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_counts_for_each_class_that_struck_it() {
        let mut recoveries = Recoveries::default();
        for seconds in 1..=100 {
            recoveries.add(&Recovery {
                faults: ["crash", "pause"].into_iter().collect(),
                led: Duration::from_millis(seconds),
                settled: Duration::from_secs(seconds),
            });
        }
        recoveries.add(&Recovery::default());
        let rows = recoveries.rows();
        let classes: Vec<_> = rows.iter().map(|row| (row.class, row.runs)).collect();
        assert_eq!(
            classes,
            [("crash", 100), ("no great fault", 1), ("pause", 100)]
        );
        assert_eq!(rows[0].settled, [50, 99, 100].map(Duration::from_secs));
        assert_eq!(rows[0].led, [50, 99, 100].map(Duration::from_millis));
    }
}
