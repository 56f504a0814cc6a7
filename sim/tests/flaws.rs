//! A simulator that stays silent over a planted bug is broken: each wrong variant of the models and
//! of the driver must be caught, by a property that is named for it.
#![expect(
    clippy::print_stderr,
    reason = "the table of seeds to catch is for people"
)]

use sim::{
    Flaw,
    explore::{Search, explore},
};
use std::thread;

/// Within so many seeds each must be caught.
const SEEDS_MAX: u64 = 4_000;

#[test]
fn every_planted_bug_is_caught_by_a_named_property() {
    let mut missed = Vec::new();
    for flaw in Flaw::ALL.iter().copied() {
        let search = Search {
            flaw: Some(flaw),
            jobs: thread::available_parallelism().map_or(1, usize::from),
            recheck_every: 0,
            ..Search::new(0, SEEDS_MAX)
        };
        let report = explore(search, |_| {});
        let caught = report.failures.first();
        let line = caught.map_or_else(
            || "not caught".to_owned(),
            |(_, violation)| format!("{} after {} seeds", violation.property, report.seeds),
        );
        eprintln!("{flaw:?}: {line}");
        let named = caught.is_some_and(|(_, found)| flaw.caught_by().contains(&found.property));
        if !named {
            missed.push((flaw, caught.cloned()));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
