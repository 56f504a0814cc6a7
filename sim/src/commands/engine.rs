//! `turmoil` and `tasks`: the production driver, API and worker on simulated time, one seed with its
//! story or many without.

use clap::Args;
use sim::parties::{Outcome, Report};
use sim_probes::{Bug, plant};
use std::{ops::Range, process::ExitCode, time::Instant};

/// What runs seeds.
pub(crate) struct Engine {
    /// One seed, with its story if it is asked for.
    pub(crate) run: fn(u64, bool) -> Outcome,
    /// Many, without.
    pub(crate) run_all: fn(Range<u64>) -> Report,
}

/// What to run.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Which seed.
    seed: u64,
    /// Run so many seeds from there on, without their stories; with a bug planted, until a property
    /// catches it that is named for it.
    #[arg(long)]
    seeds: Option<u64>,
    /// Plant this bug, by number or name.
    #[arg(long)]
    bug: Option<Bug>,
    /// Only lines that say this.
    #[arg(long)]
    about: Option<String>,
}

/// Runs them.
pub(crate) fn run(arguments: &Arguments, engine: &Engine) -> ExitCode {
    plant(arguments.bug);
    let is_clean = match (arguments.seeds, arguments.bug) {
        (Some(seeds), Some(bug)) => hunt(engine, bug, arguments.seed..arguments.seed + seeds),
        (Some(seeds), None) => run_many(engine, arguments.seed, seeds),
        (None, _) => replay(engine, arguments.seed, arguments.about.as_deref()),
    };
    if is_clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Whether the bug is caught in these seeds, by a property that may say so.
fn hunt(engine: &Engine, bug: Bug, seeds: Range<u64>) -> bool {
    let began = Instant::now();
    let mut others = 0;
    for (count, seed) in (1..).zip(seeds) {
        let Some(violation) = (engine.run)(seed, false).violation else {
            continue;
        };
        if bug.is_caught_by(violation.property) {
            println!(
                "{} is caught at seed {seed}, after {count} seeds and {:.1} s: {violation}",
                bug.name(),
                began.elapsed().as_secs_f64()
            );
            return true;
        }
        others += 1;
        println!("seed {seed}: {violation}, which is not named for it");
    }
    println!(
        "{} is not caught; {others} seeds violate something else",
        bug.name()
    );
    false
}

fn run_many(engine: &Engine, from: u64, seeds: u64) -> bool {
    let began = Instant::now();
    let report = (engine.run_all)(from..from + seeds);
    println!("{report}");
    println!("in {:.1} s", began.elapsed().as_secs_f64());
    report.failures.is_empty()
}

fn replay(engine: &Engine, seed: u64, about: Option<&str>) -> bool {
    let outcome = (engine.run)(seed, true);
    for line in &outcome.story {
        if about.is_none_or(|about| line.text.contains(about)) {
            println!("{} {:>8}  {}", line.at, line.who, line.text);
        }
    }
    println!(
        "{:?}, {} faults, hash {:032x}",
        outcome.counts, outcome.faults, outcome.hash
    );
    match &outcome.violation {
        Some(violation) => println!("seed {seed}: {violation}"),
        None => println!("seed {seed}: every property held"),
    }
    outcome.violation.is_none()
}
