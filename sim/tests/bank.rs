//! A simulator that stays silent over a planted bug is broken: each bug of the bank must be caught,
//! by a property that is named for it.
#![expect(
    clippy::print_stderr,
    reason = "the table of seeds to catch is for people"
)]

use sim::explore::{Search, explore};
use sim_probes::Bug;
use std::thread;

/// Within so many seeds each must be caught.
const SEEDS_MAX: u64 = 4_000;

/// The bugs that are planted by now.
const PLANTED: [Bug; 25] = [
    Bug::FenceIgnored,
    Bug::FenceIgnoresTerm,
    Bug::CommitRepeatedBlindly,
    Bug::ShortCountIgnored,
    Bug::RenewalMatchesAnybody,
    Bug::TakeoverIgnoresExpiry,
    Bug::ResignationDeletesRow,
    Bug::SnapshotInTakeover,
    Bug::WishSkipsVersion,
    Bug::ResumeUndoesCancel,
    Bug::AcknowledgedUnwritten,
    Bug::UnknownIsFailure,
    Bug::QuotaIgnored,
    Bug::KeyIgnored,
    Bug::StaleReads,
    Bug::WorkerIgnoresGeneration,
    Bug::WorkerLeaseFromAnswer,
    Bug::WorkerOutlivesLease,
    Bug::AssignmentStartsLease,
    Bug::WorkerReportsUnfinished,
    Bug::TimerOutlivesTerm,
    Bug::UnknownIsApplied,
    Bug::AssignedBeforeCommit,
    Bug::OverflowReadAsSilence,
    Bug::UnreadIsHeard,
];

#[test]
fn every_planted_bug_is_caught_by_a_named_property() {
    let mut missed = Vec::new();
    for bug in PLANTED {
        let search = Search {
            bug: Some(bug),
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
        eprintln!("{} {}: {line}", bug.number(), bug.name());
        if !caught.is_some_and(|(_, found)| bug.is_caught_by(found.property)) {
            missed.push((bug, caught.cloned()));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
