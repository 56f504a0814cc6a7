//! The worker's end of the protocol: what it writes, and what it reads of coordinators.
//!
//! Reads with more trust than `decode`: whatever cannot be read is as good as lost, and everything
//! that coordinators say is said again until it is understood.

use super::{
    encode::{attempt_ref, to_bytes},
    wire::{self, AttemptRef, Envelope, FromWorker},
};
use base64::Engine as _;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use niyanta_core::{
    StopOrder,
    ids::{Attempt, Generation, Incarnation, WorkerId, WorkloadId, WorkloadType},
    time::{Duration, WallTime},
    workload::OnLeaseLoss,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

/// Who speaks, what it has seen, and the number of this message.
#[derive(Debug, Clone, Copy)]
pub struct WorkerOrigin<'a> {
    /// The worker.
    pub worker: &'a WorkerId,
    /// This start of its process.
    pub incarnation: &'a Incarnation,
    /// The highest term it has seen.
    pub generation_seen: Generation,
    /// Grows with each new message.
    pub sequence: u64,
    /// The worker's wall clock. For people.
    pub now: WallTime,
}

impl WorkerOrigin<'_> {
    /// The bytes of a message of this type.
    #[must_use]
    pub fn encode<B: Serialize>(&self, kind: &str, body: B) -> Bytes {
        let payload = FromWorker {
            worker_id: self.worker.to_string(),
            incarnation: self.incarnation.to_string(),
            generation_seen: self.generation_seen.0,
            sequence: self.sequence,
            body,
        };
        to_bytes(&Envelope {
            message_id: message_id(self.incarnation, self.sequence),
            kind: kind.to_owned(),
            timestamp: time(self.now),
            sender_id: self.worker.to_string(),
            sender_type: "worker".to_owned(),
            correlation_id: None,
            payload,
        })
    }
}

/// The id of a worker's message: unique, because incarnations are random and sequences grow.
#[must_use]
pub fn message_id(incarnation: &Incarnation, sequence: u64) -> String {
    format!("{incarnation}:{sequence}")
}

/// One attempt, as it is written.
#[must_use]
pub fn of(workload: WorkloadId, attempt: Attempt) -> AttemptRef {
    attempt_ref(workload, attempt)
}

/// A moment, as it is written.
#[must_use]
pub fn time(moment: WallTime) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(moment.0).unwrap_or_default()
}

/// What a worker hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Word {
    /// An answer to one of its requests.
    Answer(Answer),
    /// A command: for one incarnation, by one term.
    Command {
        /// For which start of the worker's process.
        incarnation: Incarnation,
        /// Which term commands.
        generation: Generation,
        /// What to do.
        command: Command,
    },
    /// `leader.elected`.
    LeaderElected(Generation),
}

/// What is answered to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The `message_id` of the request.
    pub correlation_id: String,
    /// What became of it.
    pub status: AnswerStatus,
    /// In words.
    pub reason: Option<String>,
    /// The term that answers; none for logs.
    pub generation: Option<Generation>,
    /// The worker's lease.
    pub lease: Option<Duration>,
    /// How often to send heartbeats.
    pub heartbeat: Option<Duration>,
    /// What to stop.
    pub stop: Vec<StopOrder>,
}

/// The `status` of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerStatus {
    /// Done, or heard.
    Ok,
    /// That attempt is no longer the worker's.
    Stale,
    /// Register again with the same incarnation.
    UnknownWorker,
    /// Another process holds this id.
    IdInUse {
        /// Register again after this long.
        retry_after: Duration,
    },
    /// Final: this incarnation has ended.
    IncarnationEnded,
    /// Final: something is wrong with the message.
    Rejected,
}

/// What a leader tells a worker to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Run an attempt.
    Assign(Box<Assignment>),
    /// Stop one.
    Stop(StopOrder),
    /// Expect no new work.
    Drain,
}

/// `workload.assign`.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// Which workload.
    pub workload: WorkloadId,
    /// What kind of work.
    pub workload_type: WorkloadType,
    /// Which attempt.
    pub attempt: Attempt,
    /// The term that assigned it: with the attempt, the fencing token.
    pub generation: Generation,
    /// The last heartbeat, or registration, that the leader had seen.
    pub heartbeat_sequence: u64,
    /// From the workload config.
    pub config_json: Value,
    /// From the workload config.
    pub resource_limits: Value,
    /// From the submission.
    pub input_params: Value,
    /// How often to checkpoint.
    pub checkpoint_interval: Duration,
    /// Where to go on: the last checkpoint's bytes.
    pub checkpoint: Option<Vec<u8>>,
    /// Most time for this attempt.
    pub timeout: Duration,
    /// What to do when the lease ends.
    pub on_lease_loss: OnLeaseLoss,
}

/// Reads what a coordinator sent; `None` for anything that this version does not understand.
#[must_use]
pub fn read_word(bytes: &[u8]) -> Option<Word> {
    let envelope: Envelope<&RawValue> = serde_json::from_slice(bytes).ok()?;
    let payload = envelope.payload.get();
    match envelope.kind.as_str() {
        "reply" => answer(envelope.correlation_id?, read(payload)?).map(Word::Answer),
        "workload.assign" => command(payload, assignment),
        "workload.stop" => command(payload, |_, stop: wire::Stop| {
            let order = stop_order(&stop.of, &stop.cause, stop.deadline_seconds)?;
            Some(Command::Stop(order))
        }),
        "worker.drain" => command(payload, |_, _: wire::Drain| Some(Command::Drain)),
        "leader.elected" => {
            let elected: wire::LeaderElected = read(payload)?;
            Some(Word::LeaderElected(Generation(elected.generation)))
        }
        _ => None,
    }
}

fn read<T: DeserializeOwned>(json: &str) -> Option<T> {
    serde_json::from_str(json).ok()
}

fn command<B: DeserializeOwned>(
    payload: &str,
    convert: impl FnOnce(Generation, B) -> Option<Command>,
) -> Option<Word> {
    let command: wire::Command<B> = read(payload)?;
    let generation = Generation(command.generation);
    Some(Word::Command {
        incarnation: command.incarnation.parse().ok()?,
        generation,
        command: convert(generation, command.body)?,
    })
}

fn answer(correlation_id: String, reply: wire::Reply) -> Option<Answer> {
    let status = match reply.status.as_str() {
        "ok" => AnswerStatus::Ok,
        "stale" => AnswerStatus::Stale,
        "unknown_worker" => AnswerStatus::UnknownWorker,
        "id_in_use" => AnswerStatus::IdInUse {
            retry_after: reply.retry_after_seconds?.0,
        },
        "rejected" if reply.reason.as_deref() == Some("incarnation_ended") => {
            AnswerStatus::IncarnationEnded
        }
        "rejected" => AnswerStatus::Rejected,
        _ => return None,
    };
    // One entry that cannot be read must not hide the others.
    let stop = reply.stop.unwrap_or_default();
    let stop = stop
        .iter()
        .filter_map(|item| stop_order(&item.of, &item.cause, item.deadline_seconds));
    Some(Answer {
        correlation_id,
        status,
        reason: reply.reason,
        generation: reply.generation.map(Generation),
        lease: reply.lease_seconds.map(|seconds| seconds.0),
        heartbeat: reply.heartbeat_seconds.map(|seconds| seconds.0),
        stop: stop.collect(),
    })
}

fn stop_order(of: &AttemptRef, cause: &str, deadline: wire::Seconds) -> Option<StopOrder> {
    Some(StopOrder {
        workload: of.workload_id.parse().ok()?,
        attempt: Attempt(of.attempt),
        cause: cause.parse().ok()?,
        deadline: deadline.0,
    })
}

fn assignment(generation: Generation, assign: wire::Assign) -> Option<Command> {
    let base64 = base64::engine::general_purpose::STANDARD;
    let checkpoint = match assign.checkpoint {
        Some(last) => Some(base64.decode(last.data).ok()?),
        None => None,
    };
    Some(Command::Assign(Box::new(Assignment {
        workload: assign.workload_id.parse().ok()?,
        workload_type: assign.workload_type.parse().ok()?,
        attempt: Attempt(assign.attempt),
        generation,
        heartbeat_sequence: assign.heartbeat_sequence,
        config_json: assign.config_json,
        resource_limits: assign.resource_limits,
        input_params: assign.input_params,
        checkpoint_interval: Duration::from_secs(assign.checkpoint_interval_sec.into()),
        checkpoint,
        timeout: Duration::from_secs(assign.timeout_seconds.into()),
        on_lease_loss: assign.on_lease_loss.parse().ok()?,
    })))
}
