//! What travels through the broker.

use bytes::Bytes;
use niyanta_core::{
    Reply, StopOrder, WorkerMessage,
    ids::{Attempt, CustomerId, Generation, Incarnation, MessageSequence, WorkerId, WorkloadId},
    time::Duration,
};
use runtime::protocol::{Body, Incoming, Malformed};
use std::{fmt, sync::Arc};

/// Somebody who is connected to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    /// A coordinator, by its place.
    Coordinator(usize),
    /// A worker's process, by its place.
    Worker(usize),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coordinator(place) => write!(f, "c{place}"),
            Self::Worker(place) => write!(f, "w{place}"),
        }
    }
}

/// A message, shared by its copies. What workers and leaders say to each other travels as the bytes
/// of the production protocol, read once beside them for whoever watches; hints among coordinators
/// travel as they are.
#[derive(Debug, Clone)]
pub enum Message {
    /// A worker's words, to every coordinator.
    FromWorker(Arc<Said>),
    /// The answer to some, to the process that asked.
    Answer(Arc<Answered>),
    /// A command to a worker id.
    Command(Arc<Command>),
    /// `leader.elected`, to everybody.
    LeaderElected(Arc<Elected>),
    /// Something that no version in use understands.
    Unheard(Bytes),
    /// A leader gives up, to coordinators.
    LeaderResigned(Generation),
    /// Workloads were submitted or wished upon.
    WorkloadsHinted(Vec<WorkloadId>),
    /// Something is wished of workers.
    WorkersHinted,
    /// Limits changed.
    CustomersHinted(Vec<CustomerId>),
    /// An API key was revoked.
    KeyRevoked(u64),
    /// A coordinator's word to itself.
    Probe {
        /// Which probe.
        nonce: u64,
    },
}

/// Where answers to a worker's process go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inbox {
    /// Where it runs.
    pub place: usize,
    /// Which process there: a later one has another inbox.
    pub epoch: u32,
}

/// A worker's words as they travel.
#[derive(Debug)]
pub struct Said {
    /// Where answers go, when any is awaited.
    pub inbox: Inbox,
    /// Sent on the subject of the logs.
    pub is_log: bool,
    /// The message.
    pub bytes: Bytes,
    /// What a coordinator reads in it.
    pub read: Result<Incoming, Box<Malformed>>,
}

impl Said {
    /// It renews the worker's lease when it is answered.
    #[must_use]
    pub fn renews_lease(&self) -> bool {
        self.read.as_ref().is_ok_and(|incoming| {
            matches!(
                incoming.body,
                Body::Plain(WorkerMessage::Heartbeat { .. } | WorkerMessage::Register { .. })
            )
        })
    }
}

/// An answer as it travels.
#[derive(Debug)]
pub struct Answered {
    /// The process that asked.
    pub inbox: Inbox,
    /// Which start of the worker asked, as far as that could be read.
    pub incarnation: Option<Incarnation>,
    /// The number of its message.
    pub sequence: MessageSequence,
    /// The term that answers; nothing for logs, which say nothing of terms.
    pub generation: Option<Generation>,
    /// The answer of core; nothing when core was not asked.
    pub reply: Option<Reply>,
    /// The message.
    pub bytes: Bytes,
}

/// A command as it travels.
#[derive(Debug)]
pub struct Command {
    /// The term that commands.
    pub generation: Generation,
    /// Whom.
    pub worker: WorkerId,
    /// Which start of its process.
    pub incarnation: Incarnation,
    /// What.
    pub order: Order,
    /// The message.
    pub bytes: Bytes,
}

/// What is commanded.
#[derive(Debug, Clone, Copy)]
pub enum Order {
    /// `workload.assign`.
    Assign {
        /// Which workload.
        workload: WorkloadId,
        /// Which attempt.
        attempt: Attempt,
        /// The last heartbeat that the leader had seen.
        heartbeat_sequence: MessageSequence,
    },
    /// `workload.stop`.
    Stop(StopOrder),
    /// `worker.drain`.
    Drain {
        /// After this long what still runs is moved.
        deadline: Option<Duration>,
    },
}

/// `leader.elected` as it travels.
#[derive(Debug)]
pub struct Elected {
    /// The new term.
    pub generation: Generation,
    /// The message.
    pub bytes: Bytes,
}

/// The same message as a peer of a newer version would send it: with fields that this version does
/// not know, beside and inside the payload.
#[must_use]
pub fn as_newer_version(bytes: &Bytes) -> Bytes {
    const AHEAD: &[u8] = br#"{"later":{"deep":[1,null,"x"]},"#;
    const WITHIN: &[u8] = br#""payload":{"later_still":true,"#;
    const PAYLOAD: &[u8] = br#""payload":{"#;
    let mut text = Vec::with_capacity(bytes.len() + AHEAD.len() + WITHIN.len());
    text.extend_from_slice(AHEAD);
    let rest = bytes.get(1..).unwrap_or_default();
    match rest.windows(PAYLOAD.len()).position(|part| part == PAYLOAD) {
        // A payload without fields takes no comma after ours.
        Some(at) if rest.get(at + PAYLOAD.len()) != Some(&b'}') => {
            text.extend_from_slice(&rest[..at]);
            text.extend_from_slice(WITHIN);
            text.extend_from_slice(&rest[at + PAYLOAD.len()..]);
        }
        Some(_) | None => text.extend_from_slice(rest),
    }
    Bytes::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use niyanta_core::time::WallTime;
    use runtime::protocol::{CoordinatorOrigin, Word, leader_elected, read_word};

    #[test]
    fn a_newer_peer_is_understood() {
        let origin = CoordinatorOrigin {
            coordinator_id: "c0",
            message_id: "m1",
            now: WallTime(0),
        };
        let bytes = leader_elected(&origin, Generation(7));
        let newer = as_newer_version(&bytes);
        assert_ne!(bytes, newer);
        assert_eq!(read_word(&newer), Some(Word::LeaderElected(Generation(7))));
    }
}
