//! `hash`: what runs were, as numbers, so that another process or another build can be compared.

use clap::Args;
use sim::explore;
use std::process::ExitCode;

/// Which runs.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How many.
    #[arg(long, default_value_t = 10)]
    seeds: u64,
    /// The hash after each event too.
    #[arg(long)]
    events: bool,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    for seed in arguments.first..arguments.first + arguments.seeds {
        let outcome = explore::run(seed, None, arguments.events);
        println!("{seed} {:032x}", outcome.hash);
        for (step, hash) in outcome.trace.hashes().iter().enumerate() {
            println!("  {} {hash:016x}", step + 1);
        }
    }
    ExitCode::SUCCESS
}
