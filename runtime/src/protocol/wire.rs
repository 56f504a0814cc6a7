//! The shapes on the wire, as they are derived: what coordinators send, and what workers send as
//! they write it. Reading what workers sent is `decode`'s, which forgives more.
//!
//! Unknown fields are ignored everywhere, so that a newer peer may say more.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

/// What every message is wrapped in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope<P> {
    /// New for each message, the same for its repeats.
    pub message_id: String,
    /// What the payload is.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it was made, by the sender's clock. For people.
    pub timestamp: DateTime<Utc>,
    /// Who sent it: a worker id, or a coordinator's label.
    pub sender_id: String,
    /// `worker` or `coordinator`.
    pub sender_type: String,
    /// The `message_id` that this answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// What it says.
    pub payload: P,
}

/// What every payload of a worker begins with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FromWorker<B> {
    /// The same as `sender_id`.
    pub worker_id: String,
    /// This start of its process.
    pub incarnation: String,
    /// The highest generation it has seen, 0 if none.
    pub generation_seen: u64,
    /// Grows with each new message of the incarnation.
    pub sequence: u64,
    /// The rest.
    #[serde(flatten)]
    pub body: B,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRef {
    /// Which workload.
    pub workload_id: String,
    /// Which attempt.
    pub attempt: u32,
}

/// The rest of `worker.register`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// Workload types.
    pub capabilities: Vec<String>,
    /// Slots.
    pub capacity_total: u32,
    /// Labels.
    pub tags: BTreeMap<String, String>,
    /// Of the worker's software.
    pub version: String,
    /// An incarnation that the sender knows to have ended with all its children.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
}

/// The rest of `worker.heartbeat`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// `HEALTHY` or `DRAINING`.
    pub status: String,
    /// What is not over.
    pub running: Vec<AttemptRef>,
}

/// The rest of `workload.progress`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Which attempt.
    #[serde(flatten)]
    pub of: AttemptRef,
    /// 0 to 100.
    pub progress_percent: f64,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The rest of `workload.checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Which attempt.
    #[serde(flatten)]
    pub of: AttemptRef,
    /// Its number within the attempt.
    pub checkpoint_sequence: u64,
    /// Base64.
    pub data: String,
}

/// The rest of `workload.completed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completed {
    /// Which attempt.
    #[serde(flatten)]
    pub of: AttemptRef,
    /// Its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_data: Option<Value>,
}

/// The rest of `workload.failed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// Which attempt.
    #[serde(flatten)]
    pub of: AttemptRef,
    /// What went wrong.
    pub error_message: String,
    /// `transient`, `permanent` or `timeout`.
    pub error_type: String,
    /// What there is of a result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_data: Option<Value>,
}

/// The rest of `workload.stopped`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// Which attempt.
    #[serde(flatten)]
    pub of: AttemptRef,
    /// Why.
    pub cause: String,
    /// The last checkpoint that was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_sequence: Option<u64>,
}

/// The rest of `workload.log`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// Which attempt.
    #[serde(flatten)]
    pub of: AttemptRef,
    /// The number of the first line within the attempt; the others follow.
    pub first_sequence: u64,
    /// The lines.
    pub lines: Vec<LogLine>,
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When, by the worker's clock.
    pub timestamp: DateTime<Utc>,
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// What it says.
    pub message: String,
}

/// A body without fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nothing {}

/// The payload of `reply`. Only what the leader answers carries generation and lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// `ok`, `stale`, `unknown_worker`, `id_in_use` or `rejected`.
    pub status: String,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The term that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// The worker's lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_seconds: Option<Seconds>,
    /// How often to send heartbeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_seconds: Option<Seconds>,
    /// With `id_in_use`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<Seconds>,
    /// For a heartbeat: what to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Vec<StopItem>>,
}

/// One entry of a heartbeat answer's `stop`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopItem {
    /// Which attempt.
    #[serde(flatten)]
    pub of: AttemptRef,
    /// Why.
    pub cause: String,
    /// Time until it is killed.
    pub deadline_seconds: Seconds,
}

/// What every command begins with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command<B> {
    /// For which start of the worker's process.
    pub incarnation: String,
    /// The term that commands.
    pub generation: u64,
    /// The rest.
    #[serde(flatten)]
    pub body: B,
}

/// The rest of `workload.assign`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assign {
    /// Which workload.
    pub workload_id: String,
    /// What kind of work.
    pub workload_type: String,
    /// Which attempt.
    pub attempt: u32,
    /// The last heartbeat, or registration, that the leader had seen.
    pub heartbeat_sequence: u64,
    /// From the workload config.
    pub config_json: Value,
    /// From the workload config.
    pub resource_limits: Value,
    /// From the submission.
    pub input_params: Value,
    /// How often to checkpoint.
    pub checkpoint_interval_sec: u32,
    /// Where to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<LastCheckpoint>,
    /// Most time for this attempt.
    pub timeout_seconds: u32,
    /// `stop` or `continue`.
    pub on_lease_loss: String,
}

/// Where an attempt goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastCheckpoint {
    /// The attempt that made it.
    pub attempt: u32,
    /// Its number within that attempt.
    pub checkpoint_sequence: u64,
    /// Base64.
    pub data: String,
}

/// The rest of `workload.stop`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Which attempt.
    #[serde(flatten)]
    pub of: AttemptRef,
    /// Why.
    pub cause: String,
    /// Time until it is killed.
    #[serde(default = "Seconds::stop_deadline")]
    pub deadline_seconds: Seconds,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The rest of `worker.drain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// After this long, what still runs is moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_seconds: Option<Seconds>,
}

/// The payload of `leader.elected`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderElected {
    /// The new leader's label.
    pub coordinator_id: String,
    /// Its term.
    pub generation: u64,
}

/// A duration, as a number of seconds: whole when it is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub Duration);

impl Seconds {
    fn stop_deadline() -> Self {
        Self(niyanta_core::Config::STOP_DEADLINE)
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.subsec_nanos() == 0 {
            serializer.serialize_u64(self.0.as_secs())
        } else {
            serializer.serialize_f64(self.0.as_secs_f64())
        }
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(seconds)
            .map(Self)
            .map_err(D::Error::custom)
    }
}
