//! Plays the corpus of every fuzz target, and what the fuzzer found before.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use sim_fuzz::TARGETS;
use std::{fs, path::Path};

#[test]
fn every_input_that_is_kept_is_played_and_breaks_nothing() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for target in TARGETS {
        let folder = corpora.join(target.name);
        let mut played = 0;
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            // The name of the input is what a failure is found by.
            let bytes = fs::read(&path).unwrap();
            let outcome = std::panic::catch_unwind(|| (target.run)(&bytes));
            assert!(outcome.is_ok(), "{} breaks {}", path.display(), target.name);
            played += 1;
        }
        assert!(played > 0, "{} has no corpus", target.name);
    }
    let folders = fs::read_dir(&corpora).unwrap().count();
    assert_eq!(folders, TARGETS.len(), "a corpus without a target");
}
