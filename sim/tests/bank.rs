//! A simulator that stays silent over a planted bug is broken: each bug of the bank must be caught,
//! by a property that is named for it.
//!
//! One range of seeds; `SIM_BANK_RANGES` and `SIM_BANK_SEEDS` scale it. The whole table is
//! `cargo run --release -p sim -- bank`, and stands in `docs/bug-bank.md`.
#![expect(
    clippy::print_stderr,
    reason = "the table of seeds to catch is for people"
)]

use sim::bank::{self, Measure, Row};
use sim_probes::Bug;
use std::{env, thread};

/// Within so many seeds each must be caught.
const SEEDS_MAX: u64 = 3_000;

/// Bugs that are not caught by now, and why.
const NOT_CAUGHT: &[(Bug, &str)] = &[];

fn number(name: &str, otherwise: u64) -> u64 {
    let text = env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn every_planted_bug_is_caught_by_a_named_property() {
    let is_open = |bug: Bug| NOT_CAUGHT.iter().any(|(open, _)| *open == bug);
    let measure = Measure {
        bugs: bank::for_events()
            .into_iter()
            .filter(|bug| !is_open(*bug))
            .collect(),
        ranges: number("SIM_BANK_RANGES", 1),
        seeds_max: number("SIM_BANK_SEEDS", SEEDS_MAX),
        first: 0,
        jobs: thread::available_parallelism().map_or(1, usize::from),
    };
    eprintln!("{}", bank::HEAD);
    let rows = bank::measure(&measure, |row| eprintln!("{}", row.line()));
    eprintln!("{}", bank::summary(&rows));
    for (bug, why) in NOT_CAUGHT {
        eprintln!("not caught yet: {} {}: {why}", bug.number(), bug.name());
    }
    let missed: Vec<&str> = rows
        .iter()
        .filter(|row| !row.is_caught())
        .map(|row: &Row| row.bug.name())
        .collect();
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
