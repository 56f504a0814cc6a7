//! `replay`: a run as a story.

use super::subject::Subject;
use clap::Args;
use sim::story;
use sim_probes::Bug;
use std::process::ExitCode;

/// What to replay, and how much of it to tell.
#[derive(Args)]
pub(crate) struct Arguments {
    /// A seed, or a schedule file.
    subject: Subject,
    /// Plant this bug, by number or name.
    #[arg(long)]
    bug: Option<Bug>,
    /// Stop the story after this event.
    #[arg(long)]
    until: Option<u64>,
    /// Only what this one does: `c0`, `w1`, `store`, `customer0`, `fault`.
    #[arg(long)]
    node: Option<String>,
    /// Only lines that say this.
    #[arg(long)]
    about: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let subject = &arguments.subject;
    let run = subject.run(arguments.bug, true)?;
    let outcome = &run.outcome;
    print!("{}", story::cast(&run.plan));
    for line in outcome.trace.story() {
        let in_time = arguments.until.is_none_or(|until| line.step <= until);
        let is_node = arguments.node.as_ref().is_none_or(|node| line.who == *node);
        let about = arguments.about.as_ref();
        let is_about = about.is_none_or(|about| line.text.contains(about.as_str()));
        if in_time && is_node && is_about {
            println!(
                "{:>7} {} {:>9}  {}",
                line.step, line.at, line.who, line.text
            );
        }
    }
    println!();
    println!(
        "hash {:032x}, {} events",
        outcome.hash, outcome.counts.events
    );
    if let Some(mismatch) = &outcome.mismatch {
        println!("the schedule does not fit any more: {mismatch}");
    }
    let found = outcome.violation.as_ref();
    if let Some(violation) = found {
        print!("{}", story::violation(violation));
    } else {
        println!("{subject}: every property held");
    }
    let property = found.map(|violation| violation.property);
    Ok(match (property, run.expected.as_deref()) {
        (None, None) => ExitCode::SUCCESS,
        (Some(found), Some(expected)) if found == expected => {
            println!("as the file says");
            ExitCode::SUCCESS
        }
        (_, Some(expected)) => {
            println!("the file says that {expected} is violated");
            ExitCode::FAILURE
        }
        (Some(_), None) => ExitCode::FAILURE,
    })
}
