//! The simulator's commands: `explore` many seeds, `replay` one.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_types,
    reason = "a command-line program talks to its terminal, and measures itself in real time"
)]

use clap::{Parser, Subcommand};
use sim::{
    Outcome,
    bank::{self, Measure},
    explore::{Search, explore, run},
    trace::Line,
};
use sim_probes::Bug;
use std::{process::ExitCode, time::Instant};

/// Runs the production core through seeded failovers.
#[derive(Parser)]
#[command(name = "sim", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run many seeds.
    Explore {
        /// How many.
        #[arg(long, default_value_t = 1_000)]
        seeds: u64,
        /// The first.
        #[arg(long, default_value_t = 0)]
        first: u64,
        /// Threads.
        #[arg(long, default_value_t = 1)]
        jobs: usize,
        /// Stop after so many failures.
        #[arg(long, default_value_t = 1)]
        failures: usize,
        /// Plant this bug, by number or name.
        #[arg(long)]
        bug: Option<Bug>,
    },
    /// Plant each bug of the bank, and count the seeds until it is caught.
    Bank {
        /// Only this one, by number or name; may be given again.
        #[arg(long)]
        bug: Vec<Bug>,
        /// Disjoint ranges of seeds.
        #[arg(long, default_value_t = 20)]
        ranges: u64,
        /// Seeds in each.
        #[arg(long, default_value_t = 20_000)]
        seeds_max: u64,
        /// Where the first range begins.
        #[arg(long, default_value_t = 1_000_000)]
        first: u64,
        /// Threads.
        #[arg(long, default_value_t = 1)]
        jobs: usize,
        /// Say what bugs there are, and plant none.
        #[arg(long)]
        list: bool,
    },
    /// Run one seed and tell its story.
    Replay {
        /// Which.
        seed: u64,
        /// Plant this bug, by number or name.
        #[arg(long)]
        bug: Option<Bug>,
        /// Stop the story after this step.
        #[arg(long)]
        until: Option<u64>,
        /// Only what this one does: `c0`, `w1`, `store`, `fault`.
        #[arg(long)]
        node: Option<String>,
        /// Only lines that say this.
        #[arg(long)]
        about: Option<String>,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Explore {
            seeds,
            first,
            jobs,
            failures,
            bug,
        } => explore_seeds(Search {
            jobs,
            failures_max: failures,
            bug,
            ..Search::new(first, seeds)
        }),
        Command::Bank { list: true, .. } => list_bugs(),
        Command::Bank {
            bug,
            ranges,
            seeds_max,
            first,
            jobs,
            list: false,
        } => measure_bank(&Measure {
            bugs: if bug.is_empty() {
                bank::for_events()
            } else {
                bug
            },
            ranges,
            seeds_max,
            first,
            jobs,
        }),
        Command::Replay {
            seed,
            bug,
            until,
            node,
            about,
        } => replay(run(seed, bug, true), seed, until, |line| {
            let is_wanted = node.as_ref().is_none_or(|node| line.who == *node);
            is_wanted
                && about
                    .as_ref()
                    .is_none_or(|about| line.text.contains(about.as_str()))
        }),
    }
}

fn list_bugs() -> ExitCode {
    for bug in Bug::ALL.iter().copied() {
        println!(
            "{:>3} {} ({:?}, {:?}): {}",
            bug.number(),
            bug.name(),
            bug.home(),
            bug.layers(),
            bug.properties().join(" ")
        );
    }
    ExitCode::SUCCESS
}

fn measure_bank(measure: &Measure) -> ExitCode {
    println!("{}", bank::HEAD);
    let rows = bank::measure(measure, |row| println!("{}", row.line()));
    println!("\n{}", bank::summary(&rows));
    if rows.iter().all(bank::Row::is_caught) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn explore_seeds(search: Search) -> ExitCode {
    let began = Instant::now();
    let report = explore(search, |done| {
        if done % 1_000 == 0 {
            eprintln!("{done} seeds, {:.0} a second", rate(done, began));
        }
    });
    let counts = report.counts;
    println!(
        "{} seeds in {:.1} s ({:.0} a second): {} coordinators, {} terms, {} changes of leader, \
         {} faults, {} batches, {} of {} workloads ended, {} events ({:.0} a second), \
         {:.0} times real time, settled at most {:.1} s after healing",
        report.seeds,
        began.elapsed().as_secs_f64(),
        rate(report.seeds, began),
        counts.coordinators,
        counts.terms,
        counts.leader_changes,
        counts.faults,
        counts.batches,
        counts.ended,
        counts.workloads,
        counts.events,
        rate(counts.events, began),
        counts.simulated.as_secs_f64() / began.elapsed().as_secs_f64(),
        counts.settled_after.as_secs_f64(),
    );
    for mark in report.never_reached() {
        println!("never reached: {} ({})", mark.words(), mark.name());
    }
    for seed in &report.unstable {
        println!("seed {seed} gave another hash the second time");
    }
    for (seed, violation) in &report.failures {
        println!("seed {seed}: {violation}");
        println!("  cargo run --release -p sim -- replay {seed}");
    }
    if report.failures.is_empty() && report.unstable.is_empty() {
        println!(
            "{} seeds clean: P(failure per seed of this generator) < 3/{} at 95 %",
            report.seeds, report.seeds
        );
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(count: u64, began: Instant) -> f64 {
    count as f64 / began.elapsed().as_secs_f64().max(1e-9)
}

fn replay(
    outcome: Outcome,
    seed: u64,
    until: Option<u64>,
    is_wanted: impl Fn(&Line) -> bool,
) -> ExitCode {
    for line in outcome.trace.story() {
        let in_time = until.is_none_or(|until| line.step <= until);
        if in_time && is_wanted(line) {
            println!(
                "{:>7} {} {:>8}  {}",
                line.step, line.at, line.who, line.text
            );
        }
    }
    println!(
        "hash {:032x}, {} events",
        outcome.hash, outcome.counts.events
    );
    match outcome.violation {
        Some(violation) => {
            println!("seed {seed}: {violation}");
            ExitCode::FAILURE
        }
        None => {
            println!("seed {seed}: every property held");
            ExitCode::SUCCESS
        }
    }
}
