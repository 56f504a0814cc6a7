//! `corpus`: one minimal schedule for every planted bug, and what it took.

use super::{
    shrink::{RUNS_MAX, shrink_aloud},
    subject::{Stopwatch, Subject},
};
use anyhow::Context;
use clap::Args;
use sim::{bank, explore};
use sim_probes::Bug;
use std::{fs, path::PathBuf, process::ExitCode};

/// Which bugs, and where to.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Write the schedules into this folder.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Only these bugs, by number or name.
    bugs: Vec<Bug>,
    /// Look for a failing seed among so many.
    #[arg(long, default_value_t = 20_000)]
    seeds: u64,
    /// Try at most so many runs for each.
    #[arg(long, default_value_t = RUNS_MAX)]
    runs: u64,
}

struct Row {
    events: usize,
    faults: usize,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    println!("| bug | property | seed | events | faults | nodes | runs | seconds |");
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    let mut rows = Vec::new();
    let mut missed = false;
    let wanted = |bug: &Bug| arguments.bugs.is_empty() || arguments.bugs.contains(bug);
    for bug in bank::for_events().into_iter().filter(wanted) {
        match shrink_one(bug, arguments)? {
            Some(row) => rows.push(row),
            None => missed = true,
        }
    }
    let middle = |mut numbers: Vec<usize>| {
        numbers.sort_unstable();
        numbers.get(numbers.len() / 2).copied().unwrap_or(0)
    };
    println!(
        "{} bugs: median {} events and {} faults",
        rows.len(),
        middle(rows.iter().map(|row| row.events).collect()),
        middle(rows.iter().map(|row| row.faults).collect()),
    );
    Ok(if missed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn shrink_one(bug: Bug, arguments: &Arguments) -> anyhow::Result<Option<Row>> {
    let fails = |seed: &u64| {
        let violation = explore::run(*seed, Some(bug), false).violation;
        violation.is_some_and(|violation| bug.is_caught_by(violation.property))
    };
    let Some(seed) = (1..=arguments.seeds).find(fails) else {
        println!("| {} | not caught | | | | | | |", bug.name());
        return Ok(None);
    };
    let schedule = Subject::Seed(seed).schedule(Some(bug))?;
    let clock = Stopwatch::start();
    let Some(shrunk) = shrink_aloud(schedule, arguments.runs) else {
        println!(
            "| {} | fails once and not again | {seed} | | | | | |",
            bug.name()
        );
        return Ok(None);
    };
    let size = shrunk.schedule.size();
    println!(
        "| {} | {} | {seed} | {} | {} | {} | {} | {:.1} |",
        bug.name(),
        shrunk.violation.property,
        size.events,
        size.faults,
        size.nodes,
        shrunk.runs,
        clock.seconds(),
    );
    if let Some(folder) = &arguments.out {
        let path = folder.join(format!("{:02}-{}.toml", bug.number(), kebab(bug.name())));
        fs::write(&path, shrunk.schedule.print()?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(Some(Row {
        events: size.events,
        faults: size.faults,
    }))
}

/// `FenceIgnored` as `fence-ignored`.
fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.extend(letter.to_lowercase());
    }
    kebab
}
