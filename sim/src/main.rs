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
#[cfg(not(madsim))]
use commands::turmoil;
use commands::{bank, bench, corpus, explore, hash, replay, report, shrink};
use std::process::ExitCode;

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
    #[cfg(not(madsim))]
    Turmoil(turmoil::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Explore(arguments) => Ok(explore::run(&arguments)),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Shrink(arguments) => shrink::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Bank(arguments) => Ok(bank::run(&arguments)),
        Command::Corpus(arguments) => corpus::run(&arguments),
        Command::Hash(arguments) => Ok(hash::run(&arguments)),
        Command::Bench(arguments) => Ok(bench::run(&arguments)),
        #[cfg(not(madsim))]
        Command::Turmoil(arguments) => Ok(turmoil::run(&arguments)),
    };
    done.unwrap_or_else(|error| {
        eprintln!("sim: {error:#}");
        ExitCode::from(2)
    })
}
