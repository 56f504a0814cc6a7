//! The production driver, API and worker over simulated TCP: failovers in numbers.
//!
//! `SIM_TURMOIL_SEEDS` says how many seeds run, `SIM_TURMOIL_FROM` where they begin.
#![cfg(not(madsim))]

use sim::turmoil::run_all;
use std::{env, io::Write as _, process::Command};

fn number(name: &str, default: u64) -> u64 {
    let text = env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Half of the seeds: two tests run side by side on two cores.
fn half(odd: u64) {
    let (from, seeds) = (
        number("SIM_TURMOIL_FROM", 0),
        number("SIM_TURMOIL_SEEDS", 500),
    );
    let report = run_all((from..from + seeds).filter(|seed| seed % 2 == odd));
    // Seen also when the test passes.
    let told = writeln!(std::io::stderr(), "{report}");
    assert!(told.is_ok());
    assert!(report.failures.is_empty(), "{report}");
    assert!(report.seeds == 0 || report.leader_changes >= report.seeds);
}

#[test]
fn even_seeds_fail_over_cleanly() {
    half(0);
}

#[test]
fn odd_seeds_fail_over_cleanly() {
    half(1);
}

/// A fresh process, because what a process carries over must not matter.
fn hash_in_a_fresh_process(seed: u64) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_sim"))
        .args(["turmoil", &seed.to_string(), "--about", "nothing says this"])
        .output();
    let output = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let told = output.unwrap_or_else(|error| panic!("the simulator does not start: {error}"));
    assert!(told.contains("hash "), "{told}");
    told
}

/// Fresh processes only: in one that ran other seeds before, or runs them beside it, some seeds take
/// another course, and it is not known yet what they share.
#[test]
fn a_seed_does_the_same_in_every_process() {
    for seed in [7, 12] {
        let told = hash_in_a_fresh_process(seed);
        assert_eq!(told, hash_in_a_fresh_process(seed));
    }
}
