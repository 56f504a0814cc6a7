//! The same seed gives the same run: in a fresh process, and as the thousandth run of one.
//!
//! `scripts/determinism` compares a debug and a release build in the same way.

use sim::{Outcome, explore::run};
use std::process::Command;

const SAMPLE: u64 = 6;

/// What differs first, in words.
fn difference(seed: u64, other: &[u64]) -> String {
    let told: Outcome = run(seed, None, true);
    let hashes = told.trace.hashes();
    let same = hashes.iter().zip(other).take_while(|(a, b)| a == b).count();
    let step = u64::try_from(same).unwrap_or(u64::MAX) + 1;
    let lines = told.trace.story().iter().filter(|line| line.step == step);
    let words: Vec<String> = lines
        .map(|line| format!("{}: {}", line.who, line.text))
        .collect();
    format!(
        "seed {seed}: event {step} differs first (of {} and {}); here it was: {}",
        hashes.len(),
        other.len(),
        words.join("; ")
    )
}

fn hash_in_a_fresh_process(seed: u64, events: bool) -> (String, Vec<u64>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
    command.args(["hash", "--seeds", "1", "--first", &seed.to_string()]);
    if events {
        command.arg("--events");
    }
    let output = command.output().expect("the simulator runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let mut lines = text.lines();
    let first = lines.next().expect("a hash");
    let hash = first.split_once(' ').expect("seed and hash").1.to_owned();
    let events = lines.filter_map(|line| line.trim().split_once(' '));
    let hashes = events.map(|(_, hash)| u64::from_str_radix(hash, 16).expect("a hash"));
    (hash, hashes.collect())
}

#[test]
fn a_fresh_process_runs_a_seed_as_this_one_does() {
    for seed in 0..SAMPLE {
        let here = format!("{:032x}", run(seed, None, false).hash);
        let (there, _) = hash_in_a_fresh_process(seed, false);
        assert!(
            here == there,
            "{}",
            difference(seed, &hash_in_a_fresh_process(seed, true).1)
        );
    }
}

#[test]
fn the_thousandth_run_of_a_process_is_as_its_first() {
    let first: Vec<u128> = (0..SAMPLE)
        .map(|seed| run(seed, None, false).hash)
        .collect();
    for seed in SAMPLE..1_000 {
        drop(run(seed, None, false));
    }
    for (seed, hash) in (0..).zip(first) {
        assert!(
            run(seed, None, false).hash == hash,
            "{}",
            difference(seed, &hash_in_a_fresh_process(seed, true).1)
        );
    }
}

#[test]
fn a_difference_is_found_at_its_first_event() {
    let (_, mut other) = hash_in_a_fresh_process(3, true);
    assert!(other.len() > 40, "a run has events");
    other[36] ^= 1;
    let said = difference(3, &other);
    assert!(said.contains("event 37 differs first"), "{said}");
}
