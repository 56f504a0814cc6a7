//! Words for what happens, so that a person can follow a run.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what needs no words of its own is told as it is"
)]

use crate::{
    Plan,
    message::{Message, Order},
    model::store::{Answer, SqlError, Statement},
    properties::Violation,
    schedule::text::print_span,
};
use niyanta_core::{
    Effect, Event, Request, WorkerMessage,
    batch::{Batch, WorkerWrite},
};
use std::fmt::Write;

/// Who is there, in the words of a playbill.
#[must_use]
pub fn cast(plan: &Plan) -> String {
    let mut cast = String::from("Cast\n");
    let mut add = |name: String, what: String| {
        // Writing into a string cannot fail.
        let _infallible = writeln!(cast, "  {name:<10} {what}");
    };
    for (place, node) in plan
        .coordinators
        .iter()
        .enumerate()
        .filter(|(_, n)| !n.absent)
    {
        let (ttl, beat) = (print_span(node.ttl), print_span(node.heartbeat_timeout));
        add(
            format!("c{place}"),
            format!("a coordinator; leads for {ttl} at a time, gives workers a lease of {beat}"),
        );
    }
    for (place, node) in plan.workers.iter().enumerate().filter(|(_, n)| !n.absent) {
        let profile = &node.profile;
        let kinds: Vec<String> = profile
            .capabilities
            .iter()
            .map(ToString::to_string)
            .collect();
        let (worker, room, kinds) = (&profile.worker, profile.capacity, kinds.join(", "));
        let what = format!("a worker process under the id {worker}, with room for {room}: {kinds}");
        add(format!("w{place}"), what);
    }
    for (place, customer) in plan.customers.iter().enumerate() {
        let errands = plan
            .errands
            .iter()
            .filter(|errand| errand.customer == place);
        let (count, id) = (errands.count(), customer.id);
        let what = format!("the client of customer {id}, with {count} errands");
        add(format!("customer{place}"), what);
    }
    add(
        "store".to_owned(),
        "the database, which alone makes things true".to_owned(),
    );
    add("fault".to_owned(), "what goes wrong on purpose".to_owned());
    if let Some(bug) = plan.bug {
        add(
            "planted".to_owned(),
            format!("bug {} ({})", bug.number(), bug.name()),
        );
    }
    cast + "\n"
}

/// The violated property in the design's words, and what contradicted it.
#[must_use]
pub fn violation(violation: &Violation) -> String {
    let Violation {
        property,
        at,
        step,
        what,
    } = violation;
    let law = law(property);
    format!("{property} is violated at {at}, event {step}.\n  It says: {law}.\n  But: {what}\n")
}

/// What a property says, in one sentence.
#[must_use]
pub fn law(property: &str) -> &'static str {
    let found = LAWS.iter().find(|(name, _)| *name == property);
    found.map_or("something that is not in the list of laws", |(_, law)| law)
}

/// The properties of the design, and what the simulator itself holds to.
pub const LAWS: &[(&str, &str)] = &[
    (
        "P1",
        "batches are committed in the order of their terms, none of a term after one of a later \
      term, and each lands once, with the content that core gave it",
    ),
    (
        "P2",
        "a pair of term and incarnation is unique, and terms only grow",
    ),
    (
        "P3",
        "a node acts as leader only before its own deadline, and nobody takes the lease over \
      before it ends",
    ),
    (
        "P4",
        "nobody obeys a leader of an older term than the newest that they have seen",
    ),
    (
        "P5",
        "no decision is told to a worker or a client before it is committed",
    ),
    (
        "P6",
        "a workload's status only makes legal moves, and a final one never changes",
    ),
    (
        "P7",
        "a workload has at most one open attempt, and a report counts only for that attempt and \
      that start of its worker",
    ),
    (
        "P8",
        "no two workers hold, each by its own clock, a valid lease for the same workload, and a \
      process that wakes after its lease does nothing but stop",
    ),
    (
        "P9",
        "a workload gets no final status, no pause and no new attempt while an attempt is not \
      over",
    ),
    (
        "P10",
        "every acknowledged submission and wish is there afterwards, and every refused one is \
      not",
    ),
    (
        "P11",
        "there is one workload for each customer and idempotency key",
    ),
    (
        "P12",
        "a worker is given no more attempts than it has room for",
    ),
    (
        "P13",
        "no customer's limits are exceeded by an acknowledged submission or an assignment",
    ),
    (
        "P14",
        "nothing is assigned to a worker whose committed status is not HEALTHY",
    ),
    (
        "P15",
        "nothing is taken from a worker for a silence that the leader did not listen through",
    ),
    (
        "P16",
        "a workload's audit trail is exactly its committed changes, numbered without a gap",
    ),
    ("P17", "nothing of an ended term has an effect afterwards"),
    ("P18", "no customer sees or moves another's data"),
    (
        "P19",
        "a client never sees a workload go back to an older version, and sees what it was told \
      is written",
    ),
    ("P20", "the same events give the same effects"),
    (
        "P21",
        "every assignment satisfies type, affinity, `run_after`, back-off and limits when it is \
      committed",
    ),
    (
        "P22",
        "failures, losses and back-offs stay within their limits",
    ),
    (
        "P23",
        "whatever can be placed is considered within a bounded wait, first come first served \
      among equals",
    ),
    (
        "progress",
        "after everything has healed, all work comes to rest within a bound that the \
      configuration gives",
    ),
    (
        "invariants",
        "what a coordinator holds in memory is consistent in itself",
    ),
    (
        "spin",
        "no process asks to be woken at the same moment again and again",
    ),
    ("panic", "nothing panics"),
];

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

/// What a statement came to.
#[must_use]
pub fn reply(reply: &Result<Answer, SqlError>) -> String {
    match reply {
        Ok(Answer::Snapshot { .. }) => "snapshot".to_owned(),
        Ok(Answer::Loaded { rows, .. }) => format!("{} workloads", rows.workloads.len()),
        Ok(other) => format!("{other:?}"),
        Err(error) => format!("undone: {error:?}"),
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
