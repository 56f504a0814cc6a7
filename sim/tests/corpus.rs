//! Minimal schedules are kept for ever: each still shows what it was kept for.
//!
//! One with a planted bug violates the property it names, and is clean without the bug; one without
//! violates nothing.
#![expect(clippy::print_stderr, reason = "the count is for people")]

use sim::schedule::Schedule;
use std::{fs, path::Path};

#[test]
fn every_schedule_still_shows_what_it_was_kept_for() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("the corpus is there")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "the corpus is empty");
    let mut wrong = Vec::new();
    for path in &files {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut schedule = match Schedule::read(path) {
            Ok(schedule) => schedule,
            Err(problem) => {
                wrong.push(format!("{name}: {problem}"));
                continue;
            }
        };
        let outcome = schedule.run(false);
        let found = outcome
            .violation
            .as_ref()
            .map(|violation| violation.property);
        if found != schedule.violates.as_deref() {
            let mismatch = outcome.mismatch.map(|mismatch| mismatch.to_string());
            let (expected, violation) = (&schedule.violates, outcome.violation);
            wrong.push(format!(
                "{name}: expected {expected:?}, found {violation:?} ({mismatch:?})"
            ));
        }
        if schedule.bug.is_some() {
            schedule.plant(None);
            if let Some(violation) = schedule.run(false).violation {
                wrong.push(format!("{name} without its bug: {violation}"));
            }
        }
    }
    eprintln!("corpus: {} schedules", files.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
