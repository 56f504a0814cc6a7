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
use std::{env, thread};

/// Within so many seeds each must be caught.
const SEEDS_MAX: u64 = 20_000;

fn number(name: &str, otherwise: u64) -> u64 {
    let text = env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn every_planted_bug_is_caught_by_a_named_property() {
    let measure = Measure {
        bugs: bank::for_events(),
        ranges: number("SIM_BANK_RANGES", 1),
        seeds_max: number("SIM_BANK_SEEDS", SEEDS_MAX),
        first: 0,
        jobs: thread::available_parallelism().map_or(1, usize::from),
    };
    eprintln!("{}", bank::HEAD);
    let rows = bank::measure(&measure, |row| eprintln!("{}", row.line()));
    eprintln!("{}", bank::summary(&rows));
    let missed: Vec<&str> = rows
        .iter()
        .filter(|row| !row.is_caught())
        .map(|row: &Row| row.bug.name())
        .collect();
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
