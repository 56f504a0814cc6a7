//! What coordinators read: a worker's message becomes a request to core and, kept apart, the bytes
//! that core never sees.
//!
//! A message is whole, or refused ([`Malformed`]), or a last report whose worker, incarnation,
//! workload and attempt are readable though something else is not: that one ends its attempt, with
//! [`Incoming::refused`] saying what is wrong.

use super::{
    CAPABILITIES_MAX, CAPACITY_MAX, CHECKPOINT_BYTES_MAX, ERROR_MESSAGE_BYTES_MAX,
    GENERATION_SEEN_MAX, LEVEL_BYTES_MAX, LOG_LINE_BYTES_MAX, LOG_LINES_MAX, MESSAGE_BYTES_MAX,
    RESULT_BYTES_MAX, RUNNING_MAX, TAG_NAME_BYTES_MAX, TAG_VALUE_BYTES_MAX, TAGS_MAX,
    VERSION_BYTES_MAX,
    fields::{Fields, check_text, invalid},
};
use crate::store::{Json, LogLine};
use base64::Engine as _;
use niyanta_core::{
    WorkerMessage,
    ids::{Attempt, Generation, Incarnation, MessageSequence, WorkerId, WorkloadId, WorkloadType},
    scheduling::Tags,
    time::WallTime,
    workload::{Cause, ErrorType},
};
use std::{fmt, sync::Arc};

/// A worker's message.
#[derive(Debug, Clone, PartialEq)]
pub struct Incoming {
    /// What the answer correlates with; unreadable only in a refused last report.
    pub message_id: Option<String>,
    /// Who sent it.
    pub worker: WorkerId,
    /// Which start of its process.
    pub incarnation: Incarnation,
    /// The highest term it has seen.
    pub generation_seen: Generation,
    /// Orders the state in heartbeats, registrations and progress.
    pub sequence: MessageSequence,
    /// What it says.
    pub body: Body,
    /// Of a last report alone: why its content is refused. It ends the attempt all the same, is
    /// answered `ok` with this reason, and is told to core as [`niyanta_core::Content::Refused`].
    pub refused: Option<Problem>,
}

/// What a worker says, sorted by what a coordinator must do before core hears of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Nothing: core is told at once.
    Plain(WorkerMessage),
    /// `workload.completed` (no `error_type`) or `workload.failed`: write result and message.
    Outcome {
        /// Which workload.
        workload: WorkloadId,
        /// Which attempt.
        attempt: Attempt,
        /// Of a failure.
        error_type: Option<ErrorType>,
        /// The result, unless it is refused.
        result_data: Option<Json>,
        /// The error in words, unless it is refused.
        error_message: Option<String>,
    },
    /// `workload.checkpoint`: write the data.
    Checkpoint {
        /// Which workload.
        workload: WorkloadId,
        /// Which attempt.
        attempt: Attempt,
        /// Its number within the attempt.
        checkpoint_sequence: u64,
        /// Base64, as it came.
        data: String,
    },
    /// `workload.progress`: note it; never answered, no business of core's.
    Progress {
        /// Which workload.
        workload: WorkloadId,
        /// Which attempt.
        attempt: Attempt,
        /// 0 to 100.
        percent: f64,
        /// In words.
        message: Option<String>,
    },
    /// `workload.log`: write the lines and answer; no business of core's.
    Log {
        /// Which workload.
        workload: WorkloadId,
        /// Which attempt.
        attempt: Attempt,
        /// The number of the first line; the others follow.
        first_sequence: u64,
        /// The lines.
        lines: Vec<LogLine>,
    },
}

impl Body {
    /// The message's `type`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Plain(message) => message.kind(),
            Self::Outcome {
                error_type: None, ..
            } => "workload.completed",
            Self::Outcome {
                error_type: Some(_),
                ..
            } => "workload.failed",
            Self::Checkpoint { .. } => "workload.checkpoint",
            Self::Progress { .. } => "workload.progress",
            Self::Log { .. } => "workload.log",
        }
    }

    /// Whether it ends an attempt.
    #[must_use]
    pub const fn is_last_report(&self) -> bool {
        matches!(
            self,
            Self::Outcome { .. } | Self::Plain(WorkerMessage::Stopped { .. })
        )
    }

    /// Whether its answer carries the list of what to stop.
    #[must_use]
    pub const fn is_heartbeat(&self) -> bool {
        matches!(self, Self::Plain(WorkerMessage::Heartbeat { .. }))
    }
}

/// Why a message is refused, with what of it is readable. Answered `rejected` by the leader.
#[derive(Debug, Clone, PartialEq)]
pub struct Malformed {
    /// What is wrong.
    pub problem: Problem,
    /// What the answer correlates with.
    pub message_id: Option<String>,
    /// Who sent it.
    pub worker: Option<WorkerId>,
    /// Which start of its process.
    pub incarnation: Option<Incarnation>,
    /// Which workload it speaks of.
    pub workload: Option<WorkloadId>,
    /// Which attempt it speaks of.
    pub attempt: Option<Attempt>,
}

/// What is wrong with a message. Its `Display` is the `reason` of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// Larger than [`MESSAGE_BYTES_MAX`].
    TooLarge(usize),
    /// Not UTF-8, or not a JSON object.
    NotJson,
    /// A type that this version does not know.
    UnknownType(String),
    /// A field is absent or null.
    Missing {
        /// Which.
        field: &'static str,
    },
    /// A field is not what the protocol allows.
    Invalid {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        detail: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(bytes) => write!(
                f,
                "the message has {bytes} bytes, at most {MESSAGE_BYTES_MAX} are allowed"
            ),
            Self::NotJson => f.write_str("the message is not a JSON object"),
            Self::UnknownType(kind) => write!(f, "unknown message type {kind:?}"),
            Self::Missing { field } => write!(f, "{field} is missing"),
            Self::Invalid { field, detail } => write!(f, "{field} {detail}"),
        }
    }
}

impl std::error::Error for Problem {}

/// Reads a worker's message.
pub fn decode(bytes: &[u8]) -> Result<Incoming, Box<Malformed>> {
    let fields = std::str::from_utf8(bytes).ok().and_then(Fields::read);
    let Some(envelope) = fields else {
        let problem = if bytes.len() > MESSAGE_BYTES_MAX {
            Problem::TooLarge(bytes.len())
        } else {
            Problem::NotJson
        };
        return Err(Box::new(Malformed::unreadable(problem)));
    };
    Reader::new(envelope, bytes.len())
        .read()
        .map_err(|(reader, problem)| Box::new(reader.malformed(problem)))
}

impl Malformed {
    const fn unreadable(problem: Problem) -> Self {
        Self {
            problem,
            message_id: None,
            worker: None,
            incarnation: None,
            workload: None,
            attempt: None,
        }
    }
}

/// One message being read.
struct Reader<'a> {
    envelope: Fields<'a>,
    payload: Result<Fields<'a>, Problem>,
    bytes: usize,
}

type Refused<'a> = (Box<Reader<'a>>, Problem);

impl<'a> Reader<'a> {
    fn new(envelope: Fields<'a>, bytes: usize) -> Box<Self> {
        Box::new(Self {
            payload: envelope.object("payload"),
            envelope,
            bytes,
        })
    }

    fn malformed(&self, problem: Problem) -> Malformed {
        let payload = self.payload.clone().unwrap_or_default();
        Malformed {
            problem,
            message_id: self.envelope.message_id().ok(),
            worker: self.worker(&payload).ok(),
            incarnation: payload.id("incarnation").ok(),
            workload: payload.id("workload_id").ok(),
            attempt: attempt(&payload).ok(),
        }
    }

    fn read(self: Box<Self>) -> Result<Incoming, Refused<'a>> {
        match self.try_read() {
            Ok(incoming) => Ok(incoming),
            Err(problem) => Err((self, problem)),
        }
    }

    fn try_read(&self) -> Result<Incoming, Problem> {
        let kind = self.envelope.text("type", 100)?;
        let last_report = LastReport::from_kind(&kind);
        let header = self.check_header();
        let payload = match &self.payload {
            Ok(payload) => payload,
            Err(problem) => return Err(problem.clone()),
        };
        let Some(last_report) = last_report else {
            header?;
            return self.incoming(payload, body(&kind, payload)?, None);
        };
        let (body, content) = last_report.read(payload)?;
        let refused = header
            .and_then(|()| check_counters(payload))
            .and(content)
            .err();
        self.incoming(payload, body, refused)
    }

    /// What must hold of the envelope beside its type.
    fn check_header(&self) -> Result<(), Problem> {
        if self.bytes > MESSAGE_BYTES_MAX {
            return Err(Problem::TooLarge(self.bytes));
        }
        self.envelope.message_id()?;
        timestamp(&self.envelope)?;
        let sender_type = self.envelope.text("sender_type", 100)?;
        if sender_type != "worker" {
            return Err(invalid("sender_type", "must be worker"));
        }
        self.envelope.id::<WorkerId>("sender_id")?;
        Ok(())
    }

    fn worker(&self, payload: &Fields<'_>) -> Result<WorkerId, Problem> {
        let worker: WorkerId = payload.id("worker_id")?;
        match self.envelope.id::<WorkerId>("sender_id") {
            Ok(sender) if sender != worker => {
                Err(invalid("worker_id", "must be the same as sender_id"))
            }
            Ok(_) | Err(_) => Ok(worker),
        }
    }

    fn incoming(
        &self,
        payload: &Fields<'_>,
        body: Body,
        refused: Option<Problem>,
    ) -> Result<Incoming, Problem> {
        let counters = counters(payload);
        let (generation_seen, sequence) = if refused.is_some() {
            counters.unwrap_or_default()
        } else {
            counters?
        };
        Ok(Incoming {
            message_id: self.envelope.message_id().ok(),
            worker: self.worker(payload)?,
            incarnation: payload.id("incarnation")?,
            generation_seen,
            sequence,
            body,
            refused,
        })
    }
}

fn counters(payload: &Fields<'_>) -> Result<(Generation, MessageSequence), Problem> {
    let seen = payload.number("generation_seen", 0, COUNTER_MAX)?;
    let sequence = payload.number("sequence", 0, COUNTER_MAX)?;
    Ok((
        Generation(seen.min(GENERATION_SEEN_MAX)),
        MessageSequence(sequence),
    ))
}

fn check_counters(payload: &Fields<'_>) -> Result<(), Problem> {
    counters(payload).map(|_| ())
}

/// A message that ends an attempt.
#[derive(Clone, Copy)]
enum LastReport {
    Completed,
    Failed,
    Stopped,
}

impl LastReport {
    fn from_kind(kind: &str) -> Option<Self> {
        match kind {
            "workload.completed" => Some(Self::Completed),
            "workload.failed" => Some(Self::Failed),
            "workload.stopped" => Some(Self::Stopped),
            _ => None,
        }
    }

    /// The body as far as it is readable, and what is wrong with its content. Fails only when it is
    /// not readable which attempt it ends.
    fn read(self, payload: &Fields<'_>) -> Result<(Body, Result<(), Problem>), Problem> {
        let workload = payload.id("workload_id")?;
        let attempt = attempt(payload)?;
        if let Self::Stopped = self {
            let cause = payload.id::<Cause>("cause");
            let sequence = payload.optional("checkpoint_sequence", |payload| {
                payload.number("checkpoint_sequence", 0, COUNTER_MAX)
            });
            let body = Body::Plain(WorkerMessage::Stopped {
                workload,
                attempt,
                cause: cause.clone().unwrap_or(Cause::Superseded),
            });
            return Ok((body, cause.and(sequence).map(|_| ())));
        }
        let result = payload.json("result_data", RESULT_BYTES_MAX);
        let (kind, message) = match self {
            Self::Completed | Self::Stopped => (Ok(None), Ok(None)),
            Self::Failed => (
                error_type(payload).map(Some),
                payload
                    .text("error_message", ERROR_MESSAGE_BYTES_MAX)
                    .map(Some),
            ),
        };
        let problems = [
            kind.as_ref().err(),
            message.as_ref().err(),
            result.as_ref().err(),
        ];
        let content = match problems.into_iter().flatten().next() {
            Some(problem) => Err(problem.clone()),
            None => Ok(()),
        };
        let body = Body::Outcome {
            workload,
            attempt,
            error_type: kind.unwrap_or(Some(ErrorType::Permanent)),
            result_data: result.unwrap_or_default(),
            error_message: message.unwrap_or_default(),
        };
        Ok((body, content))
    }
}

fn error_type(payload: &Fields<'_>) -> Result<ErrorType, Problem> {
    match payload.id("error_type")? {
        ErrorType::WorkerLost => Err(invalid(
            "error_type",
            "must be transient, permanent or timeout",
        )),
        kind @ (ErrorType::Transient | ErrorType::Permanent | ErrorType::Timeout) => Ok(kind),
    }
}

fn attempt(payload: &Fields<'_>) -> Result<Attempt, Problem> {
    let number = payload.number("attempt", 1, i32::MAX as u64)?;
    Ok(Attempt(u32::try_from(number).unwrap_or(u32::MAX)))
}

fn timestamp(fields: &Fields<'_>) -> Result<WallTime, Problem> {
    let text = fields.text("timestamp", 100)?;
    chrono::DateTime::parse_from_rfc3339(&text)
        .map(|time| WallTime(time.timestamp_micros()))
        .map_err(|_| invalid("timestamp", "must be a time as in RFC 3339"))
}

/// Everything that is not a last report.
fn body(kind: &str, payload: &Fields<'_>) -> Result<Body, Problem> {
    let of = || Ok::<_, Problem>((payload.id("workload_id")?, attempt(payload)?));
    match kind {
        "worker.register" => register(payload).map(Body::Plain),
        "worker.heartbeat" => heartbeat(payload).map(Body::Plain),
        "worker.deregister" => Ok(Body::Plain(WorkerMessage::Deregister)),
        "workload.started" => {
            let (workload, attempt) = of()?;
            Ok(Body::Plain(WorkerMessage::Started { workload, attempt }))
        }
        "workload.progress" => {
            let (workload, attempt) = of()?;
            Ok(Body::Progress {
                workload,
                attempt,
                percent: payload.float("progress_percent", 0.0, 100.0)?,
                message: payload.optional_text("message", ERROR_MESSAGE_BYTES_MAX)?,
            })
        }
        "workload.checkpoint" => {
            let (workload, attempt) = of()?;
            Ok(Body::Checkpoint {
                workload,
                attempt,
                checkpoint_sequence: payload.number("checkpoint_sequence", 0, COUNTER_MAX)?,
                data: checkpoint_data(payload)?,
            })
        }
        "workload.log" => {
            let (workload, attempt) = of()?;
            log(workload, attempt, payload)
        }
        unknown => Err(Problem::UnknownType(unknown.to_owned())),
    }
}

fn checkpoint_data(payload: &Fields<'_>) -> Result<String, Problem> {
    let data = payload.text("data", CHECKPOINT_BYTES_MAX)?;
    match base64::engine::general_purpose::STANDARD.decode(&data) {
        Ok(_) => Ok(data),
        Err(_) => Err(invalid("data", "must be base64 with padding")),
    }
}

fn register(payload: &Fields<'_>) -> Result<WorkerMessage, Problem> {
    let kind = |raw: &serde_json::value::RawValue| {
        serde_json::from_str::<String>(raw.get())
            .ok()
            .and_then(|text| text.parse::<WorkloadType>().ok())
            .ok_or_else(|| {
                invalid(
                    "capabilities",
                    "must be a list of workload types: 1 to 64 characters of a-z 0-9 _ . -",
                )
            })
    };
    let capacity = payload.number("capacity_total", 1, u64::from(CAPACITY_MAX))?;
    let incarnation: Incarnation = payload.id("incarnation")?;
    let replaces = payload.optional("replaces", |payload| payload.id("replaces"))?;
    if replaces.as_ref() == Some(&incarnation) {
        return Err(invalid("replaces", "must be another incarnation"));
    }
    Ok(WorkerMessage::Register {
        capabilities: payload
            .list("capabilities", CAPABILITIES_MAX)?
            .into_iter()
            .map(kind)
            .collect::<Result<_, _>>()?,
        capacity: u32::try_from(capacity).unwrap_or(CAPACITY_MAX),
        tags: tags(payload)?,
        version: Arc::from(payload.text("version", VERSION_BYTES_MAX)?),
        replaces,
    })
}

fn tags(payload: &Fields<'_>) -> Result<Tags, Problem> {
    let texts = payload.object("tags")?.texts("tags")?;
    if texts.len() > TAGS_MAX {
        return Err(invalid("tags", format!("must be at most {TAGS_MAX}")));
    }
    for (name, value) in &texts {
        check_text("tags", name, TAG_NAME_BYTES_MAX)?;
        check_text("tags", value, TAG_VALUE_BYTES_MAX)?;
    }
    let shared = |(name, value)| (Arc::from(name), Arc::from(value));
    Ok(texts.into_iter().map(shared).collect())
}

fn heartbeat(payload: &Fields<'_>) -> Result<WorkerMessage, Problem> {
    let entry = |fields: Fields<'_>| Ok((fields.id("workload_id")?, attempt(&fields)?));
    Ok(WorkerMessage::Heartbeat {
        status: payload.id("status")?,
        running: payload
            .objects("running", RUNNING_MAX)?
            .into_iter()
            .map(entry)
            .collect::<Result<_, _>>()?,
    })
}

fn log(workload: WorkloadId, attempt: Attempt, payload: &Fields<'_>) -> Result<Body, Problem> {
    let line = |fields: Fields<'_>| {
        Ok(LogLine {
            timestamp: timestamp(&fields)?,
            level: fields.text("level", LEVEL_BYTES_MAX)?,
            message: fields.text("message", LOG_LINE_BYTES_MAX)?,
        })
    };
    Ok(Body::Log {
        workload,
        attempt,
        // Leaves room for the numbers of the lines themselves.
        first_sequence: payload.number("first_sequence", 0, COUNTER_MAX - LOG_LINES_MAX as u64)?,
        lines: payload
            .objects("lines", LOG_LINES_MAX)?
            .into_iter()
            .map(line)
            .collect::<Result<_, _>>()?,
    })
}

/// Counters are stored as signed 64-bit integers.
const COUNTER_MAX: u64 = i64::MAX as u64;

#[cfg(test)]
mod tests;
