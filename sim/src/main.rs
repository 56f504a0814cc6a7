//! The simulator's commands: `explore` many seeds, `replay` one, `shrink` what fails, `report` it as
//! a page, and measure with `bench`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_types,
    reason = "a command-line program talks to its terminal, and measures itself in real time"
)]

mod commands;

use clap::{Parser, Subcommand};
use commands::engine::{self, Engine};
#[cfg(not(madsim))]
use commands::{bank, bench, corpus, explore, hash, replay, report, shrink, tasks};
use std::process::ExitCode;

/// Runs the production core through seeded failovers.
#[derive(Parser)]
#[command(name = "sim", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[cfg(not(madsim))]
#[derive(Subcommand)]
enum Command {
    /// Run many seeds.
    Explore(explore::Arguments),
    /// Run a seed or a schedule file, and tell its story.
    Replay(replay::Arguments),
    /// Reduce a failing seed to a minimal schedule file.
    Shrink(shrink::Arguments),
    /// Write a run as one HTML page that needs nothing else.
    Report(report::Arguments),
    /// Plant each bug of the bank, and count the seeds until it is caught.
    Bank(bank::Arguments),
    /// Shrink one failing seed for every planted bug, and print a table.
    Corpus(corpus::Arguments),
    /// Print the hashes of seeds, to compare processes and builds.
    Hash(hash::Arguments),
    /// Measure the simulator on its fixed scenario.
    Bench(bench::Arguments),
    /// Run the production driver, API and worker over simulated TCP.
    Turmoil(engine::Arguments),
    /// Run them as tasks in an order drawn from the seed, in a build of its own.
    Tasks(engine::Arguments),
}

/// What there is in a build with `--cfg madsim`.
#[cfg(madsim)]
#[derive(Subcommand)]
enum Command {
    /// Run the production driver, API and worker as tasks in an order drawn from the seed.
    Tasks(engine::Arguments),
}

#[cfg(not(madsim))]
fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Explore(arguments) => Ok(explore::run(&arguments)),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Shrink(arguments) => shrink::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Bank(arguments) => Ok(bank::run(&arguments)),
        Command::Corpus(arguments) => corpus::run(&arguments),
        Command::Hash(arguments) => Ok(hash::run(&arguments)),
        Command::Bench(arguments) => Ok(bench::run(&arguments)),
        Command::Turmoil(arguments) => {
            let engine = Engine {
                run: sim::turmoil::run,
                run_all: sim::turmoil::run_all,
            };
            Ok(engine::run(&arguments, &engine))
        }
        Command::Tasks(_) => tasks::hand_over(),
    }
}

#[cfg(madsim)]
#[expect(clippy::unnecessary_wraps, reason = "as in the other build")]
fn run(command: Command) -> anyhow::Result<ExitCode> {
    let Command::Tasks(arguments) = command;
    let engine = Engine {
        run: sim::tasks::run,
        run_all: sim::tasks::run_all,
    };
    Ok(engine::run(&arguments, &engine))
}

fn main() -> ExitCode {
    run(Arguments::parse().command).unwrap_or_else(|error| {
        eprintln!("sim: {error:#}");
        ExitCode::from(2)
    })
}
