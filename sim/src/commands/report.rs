//! `report`: a run as one page.

use super::subject::Subject;
use anyhow::Context;
use clap::Args;
use sim::report;
use sim_probes::Bug;
use std::{fs, path::PathBuf, process::ExitCode};

/// What to show, and where to write it.
#[derive(Args)]
pub(crate) struct Arguments {
    /// A seed, or a schedule file.
    subject: Subject,
    /// Plant this bug, by number or name.
    #[arg(long)]
    bug: Option<Bug>,
    /// The page.
    #[arg(long, default_value = "report.html")]
    out: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let subject = &arguments.subject;
    let run = subject.run(arguments.bug, true)?;
    let title = subject.to_string();
    let command = subject.replay_command(arguments.bug);
    let page = report::page(&title, &command, &run.plan, &run.outcome)?;
    fs::write(&arguments.out, page)
        .with_context(|| format!("cannot write {}", arguments.out.display()))?;
    println!("{}", arguments.out.display());
    Ok(ExitCode::SUCCESS)
}
