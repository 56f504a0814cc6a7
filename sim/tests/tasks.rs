//! The production driver, API and worker as tasks in an order drawn from the seed: failovers in
//! numbers. They need a build of their own, which the simulator makes when it is asked for them.
//!
//! `SIM_TASKS_SEEDS` says how many seeds run, `SIM_TASKS_FROM` where they begin.
#![cfg(not(madsim))]

use std::{env, io::Write as _, process::Command};

fn number(name: &str, default: u64) -> u64 {
    let text = env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A few minutes for two processes on two cores at rest, after the second build.
const SEEDS: u64 = 2_000;

/// Runs the simulator with these arguments in a fresh process; says whether nothing was violated, and
/// what it told.
fn tasks(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sim"))
        .arg("tasks")
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("the simulator does not start: {error}"));
    let mut told = String::from_utf8_lossy(&output.stdout).into_owned();
    told.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.success(), told)
}

/// Half of the seeds: two processes run side by side on two cores.
fn half(second: u64) {
    let (from, seeds) = (
        number("SIM_TASKS_FROM", 0),
        number("SIM_TASKS_SEEDS", SEEDS),
    );
    let first_half = seeds.div_ceil(2);
    let (from, seeds) = match second {
        0 => (from, first_half),
        _ => (from + first_half, seeds - first_half),
    };
    let (is_clean, told) = tasks(&[&from.to_string(), "--seeds", &seeds.to_string()]);
    // Seen also when the test passes.
    assert!(std::io::stderr().write_all(told.as_bytes()).is_ok());
    assert!(is_clean, "{told}");
    assert!(told.contains(&format!("tasks: {seeds} seeds")), "{told}");
}

#[test]
fn the_first_seeds_fail_over_cleanly() {
    half(0);
}

#[test]
fn the_other_seeds_fail_over_cleanly() {
    half(1);
}

/// The first line of two stories that is not the same.
fn difference(first: &str, second: &str) -> Option<String> {
    let longest = first.lines().count().max(second.lines().count());
    let mut lines = first.lines().map(Some).chain(std::iter::repeat(None));
    let mut others = second.lines().map(Some).chain(std::iter::repeat(None));
    (1..=longest).find_map(|number| {
        let (one, other) = (lines.next().flatten(), others.next().flatten());
        (one != other).then(|| format!("event {number} differs first: {one:?} and {other:?}"))
    })
}

#[test]
fn a_seed_does_the_same_in_every_process() {
    for seed in ["3", "7", "12"] {
        let (_, first) = tasks(&[seed]);
        assert!(first.contains("hash "), "{first}");
        let differs = difference(&first, &tasks(&[seed]).1);
        assert!(
            differs.is_none(),
            "seed {seed}: {}",
            differs.unwrap_or_default()
        );
    }
}

#[test]
fn a_difference_is_found_at_its_first_event() {
    let said = difference("a\nb\nc", "a\nx\nc");
    assert_eq!(
        said.as_deref(),
        Some("event 2 differs first: Some(\"b\") and Some(\"x\")")
    );
    assert!(difference("a\nb", "a").is_some_and(|said| said.starts_with("event 2")));
    assert_eq!(difference("a", "a"), None);
}
