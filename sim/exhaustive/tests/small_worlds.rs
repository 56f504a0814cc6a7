//! Small worlds are clean to their end, and the search finds what is wrong on purpose.
#![allow(
    clippy::print_stdout,
    reason = "how large a world is, is worth reading"
)]

use sim_exhaustive::{Report, Scope, search, story};
use sim_probes::{Bug, Layer};

const THREADS: usize = 2;

/// No world of these tests is larger.
const STATES_MAX: usize = 100_000;

fn scope(name: &str) -> Scope {
    match Scope::named(name) {
        Some(scope) => scope,
        None => panic!("no world is called {name}"),
    }
}

fn told(scope: &Scope, bug: Option<Bug>, report: &Report) -> String {
    report
        .found
        .as_ref()
        .map_or_else(String::new, |found| story::tell(scope, bug, &found.story))
}

fn is_clean_to_its_end(name: &str) {
    let scope = scope(name);
    let report = search(&scope, None, STATES_MAX, THREADS);
    println!(
        "{name}: {} states, {} steps, depth {}",
        report.states, report.steps, report.depth
    );
    assert!(report.found.is_none(), "{}", told(&scope, None, &report));
    assert!(report.complete, "{name} has more than {STATES_MAX} states");
    assert!(
        report.states > 1_000,
        "hardly anything can happen in {name}"
    );
}

#[test]
fn the_faithful_world_is_clean_to_its_end() {
    is_clean_to_its_end("faithful");
}

#[test]
fn the_world_of_wishes_is_clean_to_its_end() {
    is_clean_to_its_end("pause");
}

#[test]
fn the_world_of_unknown_outcomes_is_clean_to_its_end() {
    is_clean_to_its_end("unknown");
}

/// Each bug that the search has shown, and in which world.
const CAUGHT: [(Bug, &str); 9] = [
    (Bug::WorkOutlivesLease, "lapses"),
    (Bug::AssignedBeforeCommit, "unknown"),
    (Bug::DrainedWorkerGetsWork, "drain"),
    (Bug::PauseBeatsCancel, "pause"),
    (Bug::DoubledCompletionCounts, "unknown"),
    (Bug::CancelledWhenSent, "cancel"),
    (Bug::SecondProcessTakesOver, "second"),
    (Bug::UnlistedMeansEnded, "lapses"),
    (Bug::ResumeUndoesCancel, "pause"),
];

#[test]
fn planted_bugs_are_found_by_a_property_of_theirs() {
    for (bug, world) in CAUGHT {
        assert!(bug.is_for(Layer::Exhaustive), "{bug:?}");
        let scope = scope(world);
        let report = search(&scope, Some(bug), STATES_MAX, THREADS);
        let Some(found) = &report.found else {
            panic!(
                "{bug:?} is not found among {} states of {world}",
                report.states
            );
        };
        println!(
            "{bug:?}: {} after {} steps, {} states",
            found.violation.property,
            found.story.len(),
            report.states
        );
        let text = told(&scope, Some(bug), &report);
        assert!(text.contains("VIOLATED"), "the story shows it:\n{text}");
        assert!(
            bug.is_caught_by(found.violation.property),
            "{bug:?}:\n{text}"
        );
    }
}
