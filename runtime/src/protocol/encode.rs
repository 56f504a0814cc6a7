//! What coordinators write: answers, commands and the broadcast.

use super::wire::{self, AttemptRef, Command, Envelope, Seconds};
use crate::store::AssignmentRow;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use niyanta_core::{
    Reply, ReplyStatus, StopOrder,
    ids::{Attempt, Generation, Incarnation, MessageSequence, WorkloadId},
    time::{Duration, WallTime},
};
use serde::Serialize;

/// Who speaks, when, and under which new message id.
#[derive(Debug, Clone, Copy)]
pub struct CoordinatorOrigin<'a> {
    /// The coordinator's label.
    pub coordinator_id: &'a str,
    /// New for each message.
    pub message_id: &'a str,
    /// The coordinator's wall clock. For people.
    pub now: WallTime,
}

impl CoordinatorOrigin<'_> {
    fn wrap<P: Serialize>(&self, kind: &str, correlation: Option<&str>, payload: P) -> Bytes {
        let envelope = Envelope {
            message_id: self.message_id.to_owned(),
            kind: kind.to_owned(),
            timestamp: DateTime::<Utc>::from_timestamp_micros(self.now.0).unwrap_or_default(),
            sender_id: self.coordinator_id.to_owned(),
            sender_type: "coordinator".to_owned(),
            correlation_id: correlation.map(str::to_owned),
            payload,
        };
        to_bytes(&envelope)
    }

    fn command<B: Serialize>(
        &self,
        kind: &str,
        incarnation: &Incarnation,
        generation: Generation,
        body: B,
    ) -> Bytes {
        let command = Command {
            incarnation: incarnation.to_string(),
            generation: generation.0,
            body,
        };
        self.wrap(kind, None, command)
    }
}

/// Encodes what this module made of texts, numbers and parsed JSON.
pub(super) fn to_bytes<T: Serialize>(value: &T) -> Bytes {
    let bytes = serde_json::to_vec(value);
    Bytes::from(bytes.expect("texts, finite numbers and text keys always have a JSON form"))
}

/// What a reply status is called, and what is said with it by default.
const fn status_text(status: &ReplyStatus) -> (&'static str, Option<&'static str>) {
    match status {
        ReplyStatus::Ok => ("ok", None),
        ReplyStatus::OkContentRefused => ("ok", Some("the attempt ended, its content is refused")),
        ReplyStatus::Stale => ("stale", None),
        ReplyStatus::UnknownWorker => ("unknown_worker", None),
        ReplyStatus::IdInUse { .. } => ("id_in_use", None),
        ReplyStatus::IncarnationEnded => ("rejected", Some("incarnation_ended")),
        ReplyStatus::Refused => (
            "rejected",
            Some("the database refuses what the message carries"),
        ),
    }
}

/// The answer that core gave to a request. `detail` replaces the default reason of an `ok` or of a
/// refusal; `is_heartbeat` says whether to list what to stop.
#[must_use]
pub fn reply(
    origin: &CoordinatorOrigin<'_>,
    correlation: Option<&str>,
    generation: Generation,
    reply: &Reply,
    is_heartbeat: bool,
    detail: Option<&str>,
) -> Bytes {
    let (status, default) = status_text(&reply.status);
    let detail = match reply.status {
        ReplyStatus::OkContentRefused | ReplyStatus::Refused | ReplyStatus::Ok => detail,
        ReplyStatus::Stale
        | ReplyStatus::UnknownWorker
        | ReplyStatus::IdInUse { .. }
        | ReplyStatus::IncarnationEnded => None,
    };
    let retry_after_seconds = match reply.status {
        ReplyStatus::IdInUse { retry_after } => Some(Seconds(retry_after)),
        ReplyStatus::Ok
        | ReplyStatus::OkContentRefused
        | ReplyStatus::Stale
        | ReplyStatus::UnknownWorker
        | ReplyStatus::IncarnationEnded
        | ReplyStatus::Refused => None,
    };
    let payload = wire::Reply {
        status: status.to_owned(),
        reason: detail.or(default).map(str::to_owned),
        generation: Some(generation.0),
        lease_seconds: Some(Seconds(reply.lease)),
        heartbeat_seconds: Some(Seconds(reply.heartbeat)),
        retry_after_seconds,
        stop: is_heartbeat.then(|| reply.stop.iter().map(stop_item).collect()),
    };
    origin.wrap("reply", correlation, payload)
}

/// The leader's refusal of a message that core never saw.
#[must_use]
pub fn rejected(
    origin: &CoordinatorOrigin<'_>,
    correlation: Option<&str>,
    generation: Generation,
    (lease, heartbeat): (Duration, Duration),
    reason: &str,
) -> Bytes {
    let payload = wire::Reply {
        status: "rejected".to_owned(),
        reason: Some(reason.to_owned()),
        generation: Some(generation.0),
        lease_seconds: Some(Seconds(lease)),
        heartbeat_seconds: Some(Seconds(heartbeat)),
        retry_after_seconds: None,
        stop: None,
    };
    origin.wrap("reply", correlation, payload)
}

/// The answer to `workload.log`, by any coordinator: `ok`, or `rejected` with what is wrong. It
/// says nothing of generations or leases.
#[must_use]
pub fn log_reply(
    origin: &CoordinatorOrigin<'_>,
    correlation: Option<&str>,
    refused: Option<&str>,
) -> Bytes {
    let payload = wire::Reply {
        status: if refused.is_some() { "rejected" } else { "ok" }.to_owned(),
        reason: refused.map(str::to_owned),
        generation: None,
        lease_seconds: None,
        heartbeat_seconds: None,
        retry_after_seconds: None,
        stop: None,
    };
    origin.wrap("reply", correlation, payload)
}

/// `workload.assign`.
#[must_use]
pub fn assign(
    origin: &CoordinatorOrigin<'_>,
    incarnation: &Incarnation,
    generation: Generation,
    heartbeat_sequence: MessageSequence,
    row: &AssignmentRow,
) -> Bytes {
    let checkpoint =
        row.checkpoint
            .as_ref()
            .map(|(attempt, sequence, data)| wire::LastCheckpoint {
                attempt: attempt.0,
                checkpoint_sequence: *sequence,
                data: data.clone(),
            });
    let body = wire::Assign {
        workload_id: row.workload.to_string(),
        workload_type: row.workload_type.to_string(),
        attempt: row.attempt.0,
        heartbeat_sequence: heartbeat_sequence.0,
        config_json: row.config_json.clone(),
        resource_limits: row.resource_limits.clone(),
        input_params: row.input_params.clone(),
        checkpoint_interval_sec: row.checkpoint_interval_sec,
        checkpoint,
        timeout_seconds: row.timeout_seconds,
        on_lease_loss: row.on_lease_loss.to_string(),
    };
    origin.command("workload.assign", incarnation, generation, body)
}

/// `workload.stop`.
#[must_use]
pub fn stop(
    origin: &CoordinatorOrigin<'_>,
    incarnation: &Incarnation,
    generation: Generation,
    order: &StopOrder,
) -> Bytes {
    let item = stop_item(order);
    let body = wire::Stop {
        of: item.of,
        cause: item.cause,
        deadline_seconds: item.deadline_seconds,
        reason: None,
    };
    origin.command("workload.stop", incarnation, generation, body)
}

/// `worker.drain`.
#[must_use]
pub fn drain(
    origin: &CoordinatorOrigin<'_>,
    incarnation: &Incarnation,
    generation: Generation,
    deadline: Option<Duration>,
) -> Bytes {
    let body = wire::Drain {
        deadline_seconds: deadline.map(Seconds),
    };
    origin.command("worker.drain", incarnation, generation, body)
}

/// `leader.elected`, for the broadcast subject.
#[must_use]
pub fn leader_elected(origin: &CoordinatorOrigin<'_>, generation: Generation) -> Bytes {
    let payload = wire::LeaderElected {
        coordinator_id: origin.coordinator_id.to_owned(),
        generation: generation.0,
    };
    origin.wrap("leader.elected", None, payload)
}

pub(super) fn attempt_ref(workload: WorkloadId, attempt: Attempt) -> AttemptRef {
    AttemptRef {
        workload_id: workload.to_string(),
        attempt: attempt.0,
    }
}

fn stop_item(order: &StopOrder) -> wire::StopItem {
    wire::StopItem {
        of: attempt_ref(order.workload, order.attempt),
        cause: order.cause.to_string(),
        deadline_seconds: Seconds(order.deadline),
    }
}
