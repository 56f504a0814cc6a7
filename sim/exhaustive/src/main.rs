//! Searches small worlds from the command line.
#![allow(clippy::print_stdout, reason = "this is what the command is for")]
#![allow(
    clippy::disallowed_types,
    reason = "it prints how long a search took for real"
)]

use clap::Parser;
use sim_exhaustive::{Scope, search, story};
use sim_probes::Bug;
use std::time::Instant;

/// Search every course that small worlds of the production core can take.
#[derive(Debug, Parser)]
struct Arguments {
    /// Which world; all when none is named.
    #[arg(long)]
    world: Option<String>,
    /// Plant this bug of the bank, by number or name.
    #[arg(long)]
    bug: Option<Bug>,
    /// Give up after so many states.
    #[arg(long, default_value_t = 20_000_000)]
    states: usize,
    /// How many threads.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let scopes: Vec<Scope> = match &arguments.world {
        None => Scope::ALL.to_vec(),
        Some(name) => vec![Scope::named(name).ok_or_else(|| {
            let names: Vec<_> = Scope::ALL.iter().map(|scope| scope.name).collect();
            anyhow::anyhow!(
                "no world is called {name:?}: there are {}",
                names.join(", ")
            )
        })?],
    };
    let mut is_clean = true;
    for scope in scopes {
        let began = Instant::now();
        let report = search(&scope, arguments.bug, arguments.states, arguments.jobs);
        let spent = began.elapsed().as_secs_f64();
        let end = if report.complete {
            "to the end"
        } else {
            "not to the end"
        };
        println!(
            "{:<10} {:>9} states, {:>10} steps, depth {:>3}, {spent:>7.1} s, {end}",
            scope.name, report.states, report.steps, report.depth
        );
        if let Some(found) = report.found {
            is_clean = false;
            println!("{}", story::tell(&scope, arguments.bug, &found.story));
            println!(
                "{} is violated after {} steps: {}",
                found.violation.property,
                found.story.len(),
                found.violation.detail
            );
        }
    }
    anyhow::ensure!(is_clean, "a property was violated");
    Ok(())
}
