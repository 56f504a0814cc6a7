//! `bank`: how soon each planted bug is caught.

use clap::Args;
use sim::bank::{self, Measure};
use sim_probes::Bug;
use std::process::ExitCode;

/// Which bugs, and how many seeds.
#[derive(Args)]
pub(crate) struct Arguments {
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
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    if arguments.list {
        list();
        return ExitCode::SUCCESS;
    }
    let measure = Measure {
        bugs: if arguments.bug.is_empty() {
            bank::for_events()
        } else {
            arguments.bug.clone()
        },
        ranges: arguments.ranges,
        seeds_max: arguments.seeds_max,
        first: arguments.first,
        jobs: arguments.jobs,
    };
    println!("{}", bank::HEAD);
    let rows = bank::measure(&measure, |row| println!("{}", row.line()));
    println!("\n{}", bank::summary(&rows));
    if rows.iter().all(bank::Row::is_caught) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn list() {
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
}
