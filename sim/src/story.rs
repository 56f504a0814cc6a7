//! Words for what happens, so that a person can follow a run.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what needs no words of its own is told as it is"
)]

use crate::{
    message::{Message, Order},
    model::store::{Answer, Statement},
};
use niyanta_core::{
    Effect, Event, Request, WorkerMessage,
    batch::{Batch, WorkerWrite},
};

/// An event of a core.
#[must_use]
pub fn event(event: &Event) -> String {
    match event {
        Event::Request(request) => self::request(request),
        Event::SnapshotLoaded {
            generation,
            snapshot,
            ..
        } => format!(
            "snapshot for term {generation}: {} workers, {} open, {} waiting",
            snapshot.workers.len(),
            snapshot.open.len(),
            snapshot.waiting.len()
        ),
        Event::Loaded { load, rows, .. } => match rows {
            Some(rows) => format!(
                "load {load}: {} workloads, {} workers, {} customers",
                rows.workloads.len(),
                rows.workers.len(),
                rows.customers.len()
            ),
            None => format!("load {load} failed"),
        },
        other => format!("{other:?}"),
    }
}

/// A worker's request.
#[must_use]
pub fn request(request: &Request) -> String {
    let what = match &request.body {
        WorkerMessage::Register {
            capacity, replaces, ..
        } => format!("register (capacity {capacity}, replaces {replaces:?})"),
        WorkerMessage::Heartbeat { status, running } => {
            let running: Vec<String> = running
                .iter()
                .map(|(workload, attempt)| format!("{workload}/{attempt}"))
                .collect();
            format!("heartbeat {status} running [{}]", running.join(", "))
        }
        WorkerMessage::Started { workload, attempt } => format!("started {workload}/{attempt}"),
        WorkerMessage::Checkpoint {
            workload,
            attempt,
            checkpoint_sequence,
            content,
        } => format!("checkpoint {checkpoint_sequence} of {workload}/{attempt} ({content:?})"),
        WorkerMessage::Completed {
            workload,
            attempt,
            content,
        } => format!("completed {workload}/{attempt} ({content:?})"),
        WorkerMessage::Failed {
            workload,
            attempt,
            error_type,
            content,
        } => format!("failed {workload}/{attempt} {error_type} ({content:?})"),
        WorkerMessage::Stopped {
            workload,
            attempt,
            cause,
        } => format!("stopped {workload}/{attempt} {cause}"),
        WorkerMessage::Deregister => "deregister".to_owned(),
    };
    format!(
        "{} ({}) #{}: {what}",
        request.worker, request.incarnation, request.sequence
    )
}

/// An effect of a core.
#[must_use]
pub fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Persist(batch) => format!("persist {}", self::batch(batch)),
        Effect::Reply { to, reply, .. } => format!("reply to {to}: {:?}", reply.status),
        other => format!("{other:?}"),
    }
}

/// A batch.
#[must_use]
pub fn batch(batch: &Batch) -> String {
    let workloads = batch.workloads.iter().map(|write| {
        let kinds: Vec<&str> = write.steps.iter().map(|step| step.kind.as_str()).collect();
        let worker = write
            .to
            .worker
            .as_ref()
            .map(|(worker, _)| worker.to_string());
        format!(
            "{} {}/{} → {}/{} {:?} [{}] wish {} stopping {:?}",
            write.id,
            write.from_status,
            write.from_attempt,
            write.to.status,
            write.to.attempt,
            worker,
            kinds.join(" "),
            write.to.wish_seen,
            write.to.stopping,
        )
    });
    let workers = batch.workers.iter().map(|write| match write {
        WorkerWrite::Put(record) => format!(
            "{} {} {} lease {:?} wish {}",
            record.worker,
            record.incarnation,
            record.status,
            record.longest_lease,
            record.wish_seen
        ),
        WorkerWrite::Remove { worker } => format!("{worker} removed"),
    });
    let counters = batch.counters.iter().map(|write| {
        format!(
            "{} left +{} running {:+}",
            write.customer, write.left_queue, write.running
        )
    });
    let all: Vec<String> = workloads.chain(workers).chain(counters).collect();
    format!(
        "batch {} of term {}: {}",
        batch.number,
        batch.generation,
        all.join("; ")
    )
}

/// A statement.
#[must_use]
pub fn statement(statement: &Statement) -> String {
    match statement {
        Statement::Persist(batch) => {
            format!("persist {} of term {}", batch.number, batch.generation)
        }
        Statement::Submit(submission) => {
            format!("submit {} key {:?}", submission.row.id, submission.key)
        }
        other => format!("{other:?}"),
    }
}

/// An answer.
#[must_use]
pub fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Snapshot { .. } => "snapshot".to_owned(),
        Answer::Loaded { rows, .. } => format!("{} workloads", rows.workloads.len()),
        other => format!("{other:?}"),
    }
}

/// A message, as a worker hears it.
#[must_use]
pub fn message(message: &Message) -> String {
    match message {
        Message::Command(command) => {
            let what = match &command.order {
                Order::Assign {
                    workload,
                    attempt,
                    heartbeat_sequence,
                } => format!(
                    "assign {}/{attempt} after heartbeat #{heartbeat_sequence}",
                    workload.id
                ),
                Order::Stop(order) => format!(
                    "stop {}/{} {} within {:?}",
                    order.workload, order.attempt, order.cause, order.deadline
                ),
                Order::Drain { deadline } => format!("drain {deadline:?}"),
            };
            format!(
                "term {} to {}: {what}",
                command.generation, command.incarnation
            )
        }
        Message::Reply(answer) => format!(
            "term {} answers message {}: {:?}, lease {:?}, stop {:?}",
            answer.generation,
            answer.message_id,
            answer.reply.status,
            answer.reply.lease,
            answer.reply.stop
        ),
        other => format!("{other:?}"),
    }
}
