//! What workers report of attempts: `VERB WORKER WORKLOAD ... [attempt=N] [content=...]`.

use super::{Outcome, Words};
use crate::rig::World;
use niyanta_core::{Content, WorkerMessage, ids::Attempt, workload::ErrorType};

pub(super) fn report(world: &mut World, verb: &str, words: &mut Words<'_>) -> Outcome<bool> {
    if !["started", "checkpoint", "completes", "fails", "stopped"].contains(&verb) {
        return Ok(false);
    }
    let name = words.next()?;
    let workload = words.workload()?;
    let attempt = Attempt(words.option("attempt", world.attempt(workload).0)?);
    let content = match words.options.remove("content") {
        Some("refused") => Content::Refused,
        Some("not_open") => Content::NotOpen,
        Some("stored") => Content::Stored,
        None => Content::Absent,
        Some(other) => return Err(format!("no such content: {other}")),
    };
    let is_last = !matches!(verb, "started" | "checkpoint");
    let body = match verb {
        "started" => WorkerMessage::Started { workload, attempt },
        "checkpoint" => WorkerMessage::Checkpoint {
            workload,
            attempt,
            checkpoint_sequence: words.parse()?,
            content,
        },
        "completes" => WorkerMessage::Completed {
            workload,
            attempt,
            content,
        },
        "fails" => {
            let error_type: ErrorType = words.parse()?;
            WorkerMessage::Failed {
                workload,
                attempt,
                error_type,
                content,
            }
        }
        _ => WorkerMessage::Stopped {
            workload,
            attempt,
            cause: words.parse()?,
        },
    };
    if is_last {
        let running = &mut world.agent(name).running;
        running.retain(|known| *known != (workload, attempt));
    }
    world.ask(name, body);
    Ok(true)
}
