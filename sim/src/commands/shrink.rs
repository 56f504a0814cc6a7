//! `shrink`: from a failing seed to a minimal schedule file.

use super::subject::{Subject, bar};
use anyhow::{Context, bail};
use clap::Args;
use sim::{
    schedule::Schedule,
    shrink::{Shrunk, shrink},
};
use sim_probes::Bug;
use std::{fs, path::PathBuf, process::ExitCode, time::Instant};

/// What to shrink.
#[derive(Args)]
pub(crate) struct Arguments {
    /// A seed, or a schedule file.
    subject: Subject,
    /// Plant this bug, by number or name.
    #[arg(long)]
    bug: Option<Bug>,
    /// Where to write what is left; `schedule-SEED.toml` when it is not said.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Try at most so many runs.
    #[arg(long, default_value_t = RUNS_MAX)]
    runs: u64,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let subject = &arguments.subject;
    let schedule = subject.schedule(arguments.bug)?;
    let before = schedule.size();
    let began = Instant::now();
    let Some(shrunk) = shrink_aloud(schedule, arguments.runs) else {
        bail!("{subject} violates nothing: there is nothing to shrink");
    };
    let after = shrunk.schedule.size();
    println!(
        "{subject}: {} events, {} faults and {} nodes are {} events, {} faults and {} nodes after \
         {} runs in {:.1} s",
        before.events,
        before.faults,
        before.nodes,
        after.events,
        after.faults,
        after.nodes,
        shrunk.runs,
        began.elapsed().as_secs_f64(),
    );
    println!("violates {}", shrunk.violation);
    let path = arguments.out.clone().unwrap_or_else(|| match subject {
        Subject::Seed(seed) => PathBuf::from(format!("schedule-{seed}.toml")),
        Subject::File(path) => path.with_extension("small.toml"),
    });
    fs::write(&path, shrunk.schedule.print()?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("  {}", Subject::File(path).replay_command(None));
    Ok(ExitCode::SUCCESS)
}

/// Shrinks, and shows how far it is.
pub(crate) fn shrink_aloud(schedule: Schedule, runs_max: u64) -> Option<Shrunk> {
    let bar = bar(runs_max, "{spinner} {human_pos} runs: {msg}");
    let shrunk = shrink(schedule, runs_max, &mut |progress| {
        bar.set_position(progress.runs);
        let size = progress.size;
        bar.set_message(format!(
            "{} events, {} faults, {} nodes; leaving out {}",
            size.events, size.faults, size.nodes, progress.step
        ));
    });
    bar.finish_and_clear();
    shrunk
}

/// Some seconds for most.
pub(crate) const RUNS_MAX: u64 = 20_000;
