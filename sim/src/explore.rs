//! Many seeds at once.

use crate::{
    Counts, Outcome, Plan, World, decision::Decider, properties::Violation, recovery::Recoveries,
};
use sim_probes::{Bug, Mark};
use std::{
    collections::BTreeMap,
    panic::{self, AssertUnwindSafe},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

/// What many seeds showed.
#[derive(Debug, Default)]
pub struct Report {
    /// Seeds that were run.
    pub seeds: u64,
    /// What they went through.
    pub counts: Counts,
    /// The situations that they got into, and how many of them did.
    pub reached: BTreeMap<Mark, u64>,
    /// How they recovered, by what had struck them.
    pub recoveries: Recoveries,
    /// The failing ones, in order, as far as they were run.
    pub failures: Vec<(u64, Violation)>,
    /// Seeds that were run twice and gave another hash the second time.
    pub unstable: Vec<u64>,
}

impl Report {
    /// The situations that no seed got into.
    #[must_use]
    pub fn never_reached(&self) -> Vec<Mark> {
        let all = Mark::ALL.iter().copied();
        all.filter(|mark| !self.reached.contains_key(mark))
            .collect()
    }
}

/// How to explore.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    /// The first seed.
    pub first: u64,
    /// How many.
    pub seeds: u64,
    /// Threads.
    pub jobs: usize,
    /// The bug that is planted.
    pub bug: Option<Bug>,
    /// Stop after so many failures.
    pub failures_max: usize,
    /// Run every so many-th seed twice, and compare.
    pub recheck_every: u64,
}

impl Search {
    /// Everything right, on one thread, to the first failure.
    #[must_use]
    pub const fn new(first: u64, seeds: u64) -> Self {
        Self {
            first,
            seeds,
            jobs: 1,
            bug: None,
            failures_max: 1,
            recheck_every: 50,
        }
    }
}

/// Runs one seed.
#[must_use]
pub fn run(seed: u64, bug: Option<Bug>, told: bool) -> Outcome {
    run_plan(Plan::draw(seed, bug), Decider::drawing(seed), told)
}

/// Runs a plan. A panic of what is tested is a violation like any other.
#[must_use]
pub fn run_plan(plan: Plan, decider: Decider, told: bool) -> Outcome {
    let mut world = World::new(plan, decider, told);
    let ran = panic::catch_unwind(AssertUnwindSafe(|| world.run()));
    let panicked = ran.err().map(|reason| {
        let text = reason.downcast_ref::<String>().cloned();
        text.or_else(|| reason.downcast_ref::<&str>().map(ToString::to_string))
            .unwrap_or_else(|| "a panic without words".to_owned())
    });
    world.finish(panicked)
}

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    /// Seeds.
    pub seeds: u64,
    /// Events of all of them.
    pub events: u64,
}

/// Runs many seeds; `progress` hears how much is done.
pub fn explore(search: Search, progress: impl Fn(Done) + Sync) -> Report {
    let next = AtomicU64::new(0);
    let enough = AtomicBool::new(false);
    let report = Mutex::new(Report::default());
    thread::scope(|scope| {
        for _ in 0..search.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= search.seeds || enough.load(Ordering::Relaxed) {
                        break;
                    }
                    let seed = search.first + index;
                    let outcome = run(seed, search.bug, false);
                    let recheck = index.is_multiple_of(search.recheck_every);
                    let stable = !recheck || run(seed, search.bug, false).hash == outcome.hash;
                    let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
                    report.seeds += 1;
                    report.counts.add(&outcome.counts);
                    for mark in outcome.reached.iter() {
                        *report.reached.entry(mark).or_default() += 1;
                    }
                    if let Some(recovery) = &outcome.recovery {
                        report.recoveries.add(recovery);
                    }
                    if !stable {
                        report.unstable.push(seed);
                    }
                    if let Some(violation) = outcome.violation {
                        report.failures.push((seed, violation));
                        if report.failures.len() >= search.failures_max {
                            enough.store(true, Ordering::Relaxed);
                        }
                    }
                    let done = Done {
                        seeds: report.seeds,
                        events: report.counts.events,
                    };
                    drop(report);
                    progress(done);
                }
            });
        }
    });
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.failures.sort_by_key(|(seed, _)| *seed);
    report
}
