//! Seeded failovers of the production core: every property holds, and every seed is itself twice.
//!
//! `SIM_SEEDS` scales how many seeds run, `SIM_FIRST` says from where.
#![expect(
    clippy::print_stderr,
    clippy::disallowed_types,
    reason = "each engine says what it ran, and how long it took in real time"
)]

use sim::{
    Plan,
    decision::Decider,
    explore::{Search, explore, run, run_plan},
};
use std::{env, thread, time::Instant};

/// A few minutes in the test profile on two cores at rest.
const SEEDS: u64 = 20_000;
/// So many seeds get into every situation that has a name.
const SEEDS_FOR_ALL_MARKS: u64 = 20_000;

fn number(name: &str, otherwise: u64) -> u64 {
    env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

#[test]
fn every_property_holds_through_seeded_failovers() {
    let began = Instant::now();
    let search = Search {
        jobs: thread::available_parallelism().map_or(1, usize::from),
        ..Search::new(number("SIM_FIRST", 0), number("SIM_SEEDS", SEEDS))
    };
    let report = explore(search, |_| {});
    let counts = report.counts;
    let seconds = began.elapsed().as_secs_f64();
    eprintln!(
        "event simulation: {} seeds in {seconds:.1} s, {} coordinators, {} terms, {} changes of \
         leader, {} faults, {} of {} workloads ended, {} events, {} events a second",
        report.seeds,
        counts.coordinators,
        counts.terms,
        counts.leader_changes,
        counts.faults,
        counts.ended,
        counts.workloads,
        counts.events,
        u128::from(counts.events) * 1_000 / began.elapsed().as_millis().max(1),
    );
    for (seed, violation) in &report.failures {
        eprintln!("seed {seed}: {violation}");
        eprintln!("  cargo run --release -p sim -- replay {seed}");
    }
    assert!(report.failures.is_empty(), "a property did not hold");
    assert!(
        report.unstable.is_empty(),
        "other hashes the second time: seeds {:?}",
        report.unstable
    );
    let missed = report.never_reached();
    for mark in &missed {
        eprintln!("never reached: {} ({})", mark.words(), mark.name());
    }
    assert!(
        report.seeds < SEEDS_FOR_ALL_MARKS || missed.is_empty(),
        "no seed got into a situation that matters: the generator or the mark is wrong"
    );
    assert!(
        report.seeds < 200 || counts.leader_changes > report.seeds,
        "leaders hardly changed: the faults do not strike"
    );
}

#[test]
fn a_seed_gives_the_same_hash_whatever_ran_before_and_whether_it_is_told() {
    for seed in 0..20 {
        let first = run(seed, None, false);
        assert_eq!(first.hash, run(seed, None, true).hash, "seed {seed}, told");
        assert_eq!(
            first.hash,
            run(seed, None, false).hash,
            "seed {seed}, again"
        );
    }
}

#[test]
fn the_plan_and_the_picks_that_are_not_benign_are_the_whole_run() {
    for seed in 0..20 {
        let drawn = run(seed, None, false);
        let script = Decider::scripted(drawn.picks.iter().copied());
        let again = run_plan(Plan::draw(seed, None), script, false);
        assert_eq!(again.mismatch, None, "seed {seed}");
        assert_eq!(again.hash, drawn.hash, "seed {seed}");
        assert_eq!(again.picks, drawn.picks, "seed {seed}");
    }
}
