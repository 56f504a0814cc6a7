//! What each event, effect, statement and message is called.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what needs no words of its own is told as it is"
)]

use super::plain;
use crate::{
    message::{Message, Order, Said},
    model::store::{Answer, SqlError, Statement},
    plan::Blow,
    worker::Deed,
    world::{ApiAnswer, ApiAsk},
};
use niyanta_core::{
    Effect, Event, PersistOutcome, Reply, Request, WorkerMessage,
    batch::{Batch, WorkerWrite},
    ids::WorkloadId,
    snapshot::{LeaseRow, Load},
};
use runtime::protocol::Body;

/// An event of a core.
#[must_use]
pub fn event(event: &Event) -> String {
    match event {
        Event::Tick { .. } => "wakes up".to_owned(),
        Event::LeaseTaken { generation, .. } => {
            format!("the lease is taken: it leads term {generation} from now on")
        }
        Event::LeaseRefused { row, .. } => format!("the lease is not to be had: {}", lease(row)),
        Event::LeaseUnknown { .. } => "nobody knows whether it took the lease".to_owned(),
        Event::LeaseRead { row, .. } => lease(row),
        Event::LeaseRenewed { generation, .. } => {
            format!("the lease of term {generation} is renewed")
        }
        Event::LeaseLost { generation, .. } => format!("the lease of term {generation} is lost"),
        Event::LeaseUnanswered { .. } => "no answer about the lease".to_owned(),
        Event::LeaseResigned { generation } => format!("term {generation} is given back"),
        Event::SnapshotLoaded {
            generation,
            snapshot,
            ..
        } => format!(
            "everything for term {generation} is read: {} workers, {} open attempts, {} waiting",
            snapshot.workers.len(),
            snapshot.open.len(),
            snapshot.waiting.len()
        ),
        Event::SnapshotFailed { generation } => format!("reading for term {generation} failed"),
        Event::PersistAnswered {
            generation,
            number,
            outcome,
        } => format!(
            "batch {number} of term {generation} {}",
            outcome_words(*outcome)
        ),
        Event::FenceRead { generation, row } => match row {
            Some(row) => format!(
                "term {generation} reads the fence: it stands at batch {} of term {}",
                row.applied, row.generation
            ),
            None => format!("term {generation} cannot read the fence"),
        },
        Event::Loaded { load, rows, .. } => match rows {
            Some(rows) => format!(
                "load {load}: {} workloads, {} workers, {} customers",
                rows.workloads.len(),
                rows.workers.len(),
                rows.customers.len()
            ),
            None => format!("load {load} failed"),
        },
        Event::Request(request) => self::request(request),
        Event::GenerationSeen(generation) => format!("there is a leader of term {generation}"),
        Event::LeaderResigned(generation) => format!("the leader of term {generation} gave up"),
        Event::WorkloadsHinted(ids) => format!("something happened to {}", list(ids)),
        Event::ListeningInterrupted => "messages may have been missed".to_owned(),
        Event::ShutdownRequested => "it is asked to stop".to_owned(),
        other => plain(other),
    }
}

fn lease(row: &LeaseRow) -> String {
    let (holder, term) = (&row.incarnation, row.generation);
    if row.resigned {
        format!("{holder} gave the lease of term {term} back")
    } else if row.remaining.is_zero() {
        format!("the lease of {holder}, term {term}, has ended")
    } else {
        format!(
            "{holder} holds the lease as term {term} for {:?} more",
            row.remaining
        )
    }
}

const fn outcome_words(outcome: PersistOutcome) -> &'static str {
    match outcome {
        PersistOutcome::Applied => "is committed",
        PersistOutcome::NotApplied => "did not match the fence",
        PersistOutcome::Short => "did not match the rows, and is not committed",
        PersistOutcome::Refused => "is refused for its data",
        PersistOutcome::LockTimeout => "had to wait too long, and is not committed",
        PersistOutcome::Unknown => "has no answer: it may be committed or not",
    }
}

fn list(ids: &[WorkloadId]) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    ids.join(", ")
}

/// An effect of a core.
#[must_use]
pub fn effect(effect: &Effect) -> String {
    match effect {
        Effect::TakeLease {
            above, ttl, force, ..
        } => format!(
            "wants the lease above term {above}, for {ttl:?}{}",
            if *force { ", whoever holds it" } else { "" }
        ),
        Effect::ReadLease { .. } => "reads the lease".to_owned(),
        Effect::RenewLease {
            generation, ttl, ..
        } => {
            format!("renews the lease of term {generation} for {ttl:?}")
        }
        Effect::ResignLease { generation } => format!("gives the lease of term {generation} back"),
        Effect::AnnounceResignation { generation } => {
            format!("tells everybody that term {generation} is over")
        }
        Effect::AnnounceLeader { generation } => {
            format!("tells everybody that it leads term {generation}")
        }
        Effect::ProbeBroker { .. } => "probes the broker".to_owned(),
        Effect::LoadSnapshot { generation, .. } => {
            format!("reads everything for term {generation}")
        }
        Effect::Persist(batch) => format!("commits {}", self::batch(batch)),
        Effect::ReadFence { generation, number } => {
            format!("reads the fence: was batch {number} of term {generation} applied?")
        }
        Effect::Reply {
            to,
            generation,
            reply,
        } => format!(
            "answers request {to} as term {generation}: {}",
            replied(reply)
        ),
        Effect::Assign {
            generation,
            worker,
            workload,
            attempt,
            ..
        } => format!("term {generation} assigns {workload} attempt {attempt} to {worker}"),
        Effect::Stop {
            generation,
            worker,
            order,
            ..
        } => format!(
            "term {generation} tells {worker} to stop {} attempt {} ({}) within {:?}",
            order.workload, order.attempt, order.cause, order.deadline
        ),
        Effect::Load { load, what, .. } => format!("loads {} (load {load})", self::load(what)),
        Effect::RecordPendingReasons { reasons, .. } => {
            format!("records pending reasons of {} workloads", reasons.len())
        }
        Effect::RecordHeartbeats { .. } => "records heartbeats".to_owned(),
        Effect::Forget { to } => format!("leaves request {to} to the leader"),
        other => plain(other),
    }
}

fn load(what: &Load) -> String {
    let words = plain(what);
    let name = words.split(" (").next().unwrap_or_default();
    name.split('(').next().unwrap_or_default().to_owned()
}

fn replied(reply: &Reply) -> String {
    let stops: Vec<String> = reply
        .stop
        .iter()
        .map(|order| format!("{}/{} ({})", order.workload, order.attempt, order.cause))
        .collect();
    let stop = if stops.is_empty() {
        String::new()
    } else {
        format!(", stop {}", stops.join(", "))
    };
    format!("{}, lease {:?}{stop}", plain(&reply.status), reply.lease)
}

/// A worker's request.
#[must_use]
pub fn request(request: &Request) -> String {
    format!(
        "{} ({}) #{}: {}",
        request.worker,
        request.incarnation,
        request.sequence,
        worker_message(&request.body)
    )
}

fn worker_message(body: &WorkerMessage) -> String {
    match body {
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
    }
}

/// A batch.
#[must_use]
pub fn batch(batch: &Batch) -> String {
    let workloads = batch.workloads.iter().map(|write| {
        let on = write.to.worker.as_ref();
        let on = on.map_or_else(String::new, |(worker, _)| format!(" on {worker}"));
        let stopping = write.to.stopping.as_ref();
        let stopping =
            stopping.map_or_else(String::new, |cause| format!(", stopping: {}", plain(cause)));
        let (id, attempt) = (write.id, write.to.attempt);
        let (before, after) = (write.from_status, write.to.status);
        format!("{id} {before} → {after} (attempt {attempt}{on}{stopping})")
    });
    let workers = batch.workers.iter().map(|write| match write {
        WorkerWrite::Put(record) => format!(
            "worker {} ({}) is {}",
            record.worker, record.incarnation, record.status
        ),
        WorkerWrite::Remove { worker } => format!("{worker} removed"),
    });
    let all: Vec<String> = workloads.chain(workers).collect();
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
        Statement::TakeLease(take) => {
            format!(
                "take the lease above term {} for {:?}",
                take.above, take.ttl
            )
        }
        Statement::ReadLease { .. } => "read the lease".to_owned(),
        Statement::RenewLease(renew) => {
            format!(
                "renew the lease of term {} for {:?}",
                renew.generation, renew.ttl
            )
        }
        Statement::ResignLease { generation, .. } => {
            format!("give the lease of term {generation} back")
        }
        Statement::Snapshot { generation, .. } => format!("read everything for term {generation}"),
        Statement::Persist(batch) => format!("commit {}", self::batch(batch)),
        Statement::ReadFence { generation } => format!("read the fence for term {generation}"),
        Statement::Load { load, what, .. } => format!("load {} (load {load})", self::load(what)),
        Statement::PendingReasons(reasons) => {
            format!("write pending reasons of {} workloads", reasons.len())
        }
        Statement::Submit(submission) => match submission.key {
            Some(key) => format!("submit {} under key {key}", submission.row.id),
            None => format!("submit {}", submission.row.id),
        },
        Statement::Wish(wish) => format!("wish {} to {}", wish.workload, wish.desired),
        Statement::WishWorker(wish) => format!("wish {} to {}", wish.worker, wish.desired),
        Statement::Heartbeats(_) => "write heartbeats".to_owned(),
        Statement::Get { workload, .. } => format!("read {workload}"),
        other => plain(other),
    }
}

/// An answer.
#[must_use]
pub fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Taken { generation, .. } => format!("taken, as term {generation}"),
        Answer::LeaseRow { row, .. } => lease(row),
        Answer::Renewed { matched: true, .. } => "renewed".to_owned(),
        Answer::Renewed { matched: false, .. } => "not renewed: it is somebody else's".to_owned(),
        Answer::Snapshot { snapshot, .. } => format!(
            "{} workers, {} open attempts, {} waiting",
            snapshot.workers.len(),
            snapshot.open.len(),
            snapshot.waiting.len()
        ),
        Answer::Persist { outcome, .. } => outcome_words(*outcome).to_owned(),
        Answer::Fence { row, .. } => {
            format!(
                "it stands at batch {} of term {}",
                row.applied, row.generation
            )
        }
        Answer::Loaded { rows, .. } => format!("{} workloads", rows.workloads.len()),
        other => plain(other),
    }
}

/// What a statement came to.
#[must_use]
pub fn reply(reply: &Result<Answer, SqlError>) -> String {
    match reply {
        Ok(answer) => self::answer(answer),
        Err(error) => format!("undone: {}", plain(error)),
    }
}

/// A message, as it is heard.
#[must_use]
pub fn message(message: &Message) -> String {
    match message {
        Message::FromWorker(said) => self::said(said),
        Message::Command(command) => {
            let what = match &command.order {
                Order::Assign {
                    workload,
                    attempt,
                    heartbeat_sequence,
                } => format!(
                    "run {workload} attempt {attempt}, if heartbeat #{heartbeat_sequence} still covers it"
                ),
                Order::Stop(order) => format!(
                    "stop {} attempt {} ({}) within {:?}",
                    order.workload, order.attempt, order.cause, order.deadline
                ),
                Order::Drain { deadline } => format!("drain, within {deadline:?}"),
            };
            format!(
                "term {} to {}: {what}",
                command.generation, command.incarnation
            )
        }
        Message::Answer(answered) => {
            let term = answered.generation;
            let term = term.map_or_else(String::new, |term| format!("term {term} "));
            let number = answered.sequence;
            match &answered.reply {
                Some(reply) => format!("{term}answers message {number}: {}", replied(reply)),
                None => format!("{term}answers message {number}"),
            }
        }
        Message::LeaderElected(elected) => {
            format!("there is a leader of term {}", elected.generation)
        }
        Message::Unheard(_) => "something that only newer versions understand".to_owned(),
        Message::LeaderResigned(generation) => format!("the leader of term {generation} gave up"),
        Message::WorkloadsHinted(ids) => format!("something happened to {}", list(ids)),
        Message::Probe { .. } => "a probe of the broker".to_owned(),
        other => plain(other),
    }
}

/// A worker's words.
#[must_use]
pub fn said(said: &Said) -> String {
    match &said.read {
        Ok(incoming) => {
            let what = match &incoming.body {
                Body::Plain(body) => worker_message(body),
                Body::Outcome {
                    workload,
                    attempt,
                    error_type,
                    ..
                } => match error_type {
                    Some(error_type) => format!("failed {workload}/{attempt} {error_type}"),
                    None => format!("completed {workload}/{attempt}"),
                },
                Body::Checkpoint {
                    workload,
                    attempt,
                    checkpoint_sequence,
                    ..
                } => format!("checkpoint {checkpoint_sequence} of {workload}/{attempt}"),
                Body::Progress {
                    workload,
                    attempt,
                    percent,
                    ..
                } => format!("{workload}/{attempt} is {percent} % done"),
                Body::Log {
                    workload,
                    attempt,
                    lines,
                    ..
                } => format!("{} log lines of {workload}/{attempt}", lines.len()),
            };
            format!(
                "{} ({}) #{}: {what}",
                incoming.worker, incoming.incarnation, incoming.sequence
            )
        }
        Err(malformed) => format!("something malformed: {}", malformed.problem),
    }
}

/// What a worker heard, said or did.
#[must_use]
pub fn deed(deed: &Deed) -> String {
    match deed {
        Deed::Said(said) => format!("says {}", self::said(said)),
        Deed::HeardAnswer(_) | Deed::HeardCommand(_) | Deed::HeardElected(_) => {
            "takes heed of that".to_owned()
        }
        Deed::ObeyedOld { generation, seen } => {
            format!("obeys term {generation}, having seen term {seen}")
        }
        Deed::Began {
            workload, attempt, ..
        } => format!("begins {workload}/{attempt}"),
        Deed::Finished {
            workload,
            attempt,
            completed,
        } => {
            let how = if *completed { "completed" } else { "failed" };
            format!("{workload}/{attempt} has {how}")
        }
        Deed::Killing(workload, attempt) => format!("kills {workload}/{attempt}"),
        Deed::Ended(workload, attempt) => format!("{workload}/{attempt} runs no more"),
        Deed::Exit { refused } if *refused => "exits, because it was refused".to_owned(),
        Deed::Exit { .. } => "exits".to_owned(),
    }
}

/// What is asked of the API.
#[must_use]
pub fn ask(ask: &ApiAsk) -> String {
    match ask {
        ApiAsk::Submit { row, key } => match key {
            Some(key) => format!("submits {} under key {key}", row.id),
            None => format!("submits {}", row.id),
        },
        ApiAsk::Wish {
            workload, desired, ..
        } => format!("wishes {workload} to {desired}"),
        ApiAsk::Get { workload, .. } => format!("reads {workload}"),
        ApiAsk::List { .. } => "lists everything that it has".to_owned(),
        ApiAsk::ChangeLimits {
            customer,
            max_running,
            max_queued,
        } => format!("limits {customer} to {max_running} running and {max_queued} queued"),
        ApiAsk::WishWorker {
            worker, desired, ..
        } => format!("wishes {worker} to {desired}"),
    }
}

/// What the API answers.
#[must_use]
pub fn api_answer(answer: &ApiAnswer) -> String {
    match answer {
        ApiAnswer::Submitted(workload) => format!("202, {workload} is there"),
        ApiAnswer::Wished { version, .. } => format!("202, wished, version {version}"),
        ApiAnswer::Got(status, desired, version) => {
            format!("200, {status}, wished to {desired}, version {version}")
        }
        ApiAnswer::Listed(rows) => {
            let rows = rows.iter();
            let rows: Vec<String> = rows
                .map(|(id, version)| format!("{id} v{version}"))
                .collect();
            format!("200, {}", rows.join(", "))
        }
        ApiAnswer::LimitsChanged => "200".to_owned(),
        ApiAnswer::WorkerWished => "202".to_owned(),
        ApiAnswer::QueueFull => "429, the queue is full".to_owned(),
        ApiAnswer::Conflict => "409, conflict".to_owned(),
        ApiAnswer::NotFound => "404".to_owned(),
        ApiAnswer::Unavailable => "503, certainly not done".to_owned(),
        ApiAnswer::TimedOut => "504, perhaps done".to_owned(),
    }
}

/// A great fault, and where it strikes.
#[must_use]
pub fn blow(blow: &Blow, here: Option<usize>) -> String {
    match here {
        Some(place) => format!("{} strikes c{place}", plain(blow)),
        None => plain(blow),
    }
}
