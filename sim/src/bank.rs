//! How many seeds it takes to catch each planted bug.
//!
//! Owns the measurement: a bug is planted in many disjoint ranges of seeds, and in each the seeds
//! are counted until a property that is named for it does not hold. A violation of anything else (a
//! panic, a process that spins, another property) is not a catch: the search goes on.

use crate::explore::run;
use sim_probes::{Bug, Home, Layer};
use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// What to measure.
#[derive(Debug, Clone)]
pub struct Measure {
    /// Which bugs.
    pub bugs: Vec<Bug>,
    /// In how many ranges of seeds.
    pub ranges: u64,
    /// How many seeds each range has.
    pub seeds_max: u64,
    /// Where the first range begins.
    pub first: u64,
    /// Threads.
    pub jobs: usize,
}

/// What one bug took.
#[derive(Debug, Clone)]
pub struct Row {
    /// Which.
    pub bug: Bug,
    /// For each range the seeds until it was caught; nothing where it was not.
    pub caught: Vec<Option<u64>>,
    /// Which properties caught it, and how often.
    pub properties: BTreeMap<&'static str, u64>,
    /// What else did not hold before it was caught, and how often.
    pub others: BTreeMap<&'static str, u64>,
    /// Time of all ranges together.
    pub took: Duration,
}

/// The bugs that the event simulation must catch.
#[must_use]
pub fn for_events() -> Vec<Bug> {
    let all = Bug::ALL.iter().copied();
    all.filter(|bug| bug.is_for(Layer::Events) && bug.home() != Home::Nowhere)
        .collect()
}

/// Measures, and tells each row as soon as it is complete.
#[expect(
    clippy::disallowed_types,
    reason = "seconds to catch are of people's time"
)]
pub fn measure(measure: &Measure, done: impl Fn(&Row) + Sync) -> Vec<Row> {
    let ranges = usize::try_from(measure.ranges).unwrap_or(usize::MAX);
    let next = AtomicUsize::new(0);
    let blank = |bug| Row {
        bug,
        caught: Vec::new(),
        properties: BTreeMap::new(),
        others: BTreeMap::new(),
        took: Duration::ZERO,
    };
    let rows = Mutex::new(measure.bugs.iter().copied().map(blank).collect::<Vec<_>>());
    thread::scope(|scope| {
        for _ in 0..measure.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let (which, range) = (index / ranges.max(1), index % ranges.max(1));
                    let Some(bug) = measure.bugs.get(which).copied() else {
                        break;
                    };
                    let began = std::time::Instant::now();
                    let range = u64::try_from(range).unwrap_or(u64::MAX);
                    let first = measure.first + range * measure.seeds_max;
                    let (caught, others) = hunt(bug, first, measure.seeds_max);
                    let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
                    let Some(row) = rows.get_mut(which) else {
                        break;
                    };
                    row.caught.push(caught.map(|(seeds, _)| seeds));
                    if let Some((_, property)) = caught {
                        *row.properties.entry(property).or_default() += 1;
                    }
                    for (property, count) in others {
                        *row.others.entry(property).or_default() += count;
                    }
                    row.took += began.elapsed();
                    if row.caught.len() == ranges {
                        done(row);
                    }
                }
            });
        }
    });
    rows.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The seeds until a named property catches the bug, and what else failed before.
fn hunt(
    bug: Bug,
    first: u64,
    seeds_max: u64,
) -> (Option<(u64, &'static str)>, BTreeMap<&'static str, u64>) {
    let mut others = BTreeMap::new();
    for count in 1..=seeds_max {
        let Some(violation) = run(first + count - 1, Some(bug), false).violation else {
            continue;
        };
        if bug.is_caught_by(violation.property) {
            return (Some((count, violation.property)), others);
        }
        *others.entry(violation.property).or_default() += 1;
    }
    (None, others)
}

impl Row {
    /// Whether every range caught it.
    #[must_use]
    pub fn is_caught(&self) -> bool {
        self.caught.iter().all(Option::is_some)
    }

    /// The seeds that half of the ranges needed at most; a range that missed counts as the most.
    #[must_use]
    pub fn median(&self) -> Option<u64> {
        let mut counts: Vec<u64> = self.caught.iter().map(|c| c.unwrap_or(u64::MAX)).collect();
        counts.sort_unstable();
        let middle = counts.get(counts.len().saturating_sub(1) / 2).copied();
        middle.filter(|count| *count < u64::MAX)
    }

    /// The most that a range needed; nothing when one missed.
    #[must_use]
    pub fn worst(&self) -> Option<u64> {
        let counts: Option<Vec<u64>> = self.caught.iter().copied().collect();
        counts?.into_iter().max()
    }

    /// One line of the table, as Markdown.
    #[must_use]
    pub fn line(&self) -> String {
        let number =
            |count: Option<u64>| count.map_or_else(|| "missed".to_owned(), |c| c.to_string());
        let names = |counts: &BTreeMap<&'static str, u64>| {
            let mut text = String::new();
            for (name, count) in counts {
                let _ = write!(
                    text,
                    "{}{name} ({count})",
                    if text.is_empty() { "" } else { ", " }
                );
            }
            text
        };
        format!(
            "| {} | {} | {} | {} | {} | {} | {:.1} | {} |",
            self.bug.number(),
            self.bug.name(),
            place(self.bug.home()),
            names(&self.properties),
            number(self.median()),
            number(self.worst()),
            self.took.as_secs_f64(),
            names(&self.others),
        )
    }
}

/// The head of the table.
pub const HEAD: &str = "| # | bug | planted in | caught by (ranges) | median | worst | seconds | \
                        also (seeds) |\n| --- | --- | --- | --- | --- | --- | --- | --- |";

const fn place(home: Home) -> &'static str {
    match home {
        Home::Core => "core",
        Home::Driver => "driver",
        Home::Http => "API",
        Home::Worker => "worker",
        Home::Model => "model",
        Home::Nowhere => "nowhere",
    }
}

/// What all rows say together: our code and the models apart.
#[must_use]
pub fn summary(rows: &[Row]) -> String {
    let mut text = String::new();
    for (what, is_model) in [("bugs of our code", false), ("wrong models", true)] {
        let those: Vec<&Row> = rows
            .iter()
            .filter(|row| (row.bug.home() == Home::Model) == is_model)
            .collect();
        let caught = those.iter().filter(|row| row.is_caught()).count();
        let quick = those
            .iter()
            .filter(|row| row.median().is_some_and(|median| median <= 200))
            .count();
        let _ = writeln!(
            text,
            "{what}: {caught} of {} caught in every range, {quick} with a median of at most 200 seeds",
            those.len()
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_missed_shows() {
        let row = |caught: &[Option<u64>]| Row {
            bug: Bug::FenceIgnored,
            caught: caught.to_vec(),
            properties: BTreeMap::new(),
            others: BTreeMap::new(),
            took: Duration::ZERO,
        };
        let whole = row(&[Some(3), Some(1), Some(9)]);
        assert_eq!((whole.median(), whole.worst()), (Some(3), Some(9)));
        let missed = row(&[Some(3), None, Some(9)]);
        assert_eq!((missed.median(), missed.worst()), (Some(9), None));
        assert!(!missed.is_caught());
        assert_eq!(row(&[None, None, Some(1)]).median(), None);
    }
}
