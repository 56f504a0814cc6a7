//! What travels through the broker.

use niyanta_core::{
    Reply, Request, StopOrder,
    ids::{Attempt, CustomerId, Generation, Incarnation, MessageSequence, WorkerId, WorkloadId},
    snapshot::WorkloadRow,
    time::Duration,
};
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

/// A message, shared by its copies.
#[derive(Debug, Clone)]
pub enum Message {
    /// A worker's request, to every coordinator.
    Request(Arc<WorkerRequest>),
    /// The answer to one, to the process that asked.
    Reply(Arc<Answered>),
    /// A command to a worker id.
    Command(Arc<Command>),
    /// `leader.elected`, to everybody.
    LeaderElected(Generation),
    /// A leader gives up, to coordinators.
    LeaderResigned(Generation),
    /// Workloads were submitted or wished upon.
    WorkloadsHinted(Vec<WorkloadId>),
    /// Something is wished of workers.
    WorkersHinted,
    /// Limits changed.
    CustomersHinted(Vec<CustomerId>),
    /// A coordinator's word to itself.
    Probe {
        /// Which probe.
        nonce: u64,
    },
}

/// A worker's request as it travels.
#[derive(Debug, Clone, Hash)]
pub struct WorkerRequest {
    /// The process that sent it.
    pub from: usize,
    /// Its message id; repeats keep it.
    pub message_id: u64,
    /// What it says; `reply_to` and contents are filled in by the receiver.
    pub request: Request,
    /// The number of the checkpoint it carries, or whether it carries a result.
    pub carries: Carries,
}

/// What a request carries besides its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Carries {
    /// Nothing.
    Nothing,
    /// A result or an error message.
    Result,
    /// A checkpoint of this number.
    Checkpoint(u64),
}

/// An answer as it travels.
#[derive(Debug, Clone)]
pub struct Answered {
    /// The request's message id.
    pub message_id: u64,
    /// Who asked.
    pub incarnation: Incarnation,
    /// The term that answers.
    pub generation: Generation,
    /// The answer.
    pub reply: Reply,
}

/// A command as it travels.
#[derive(Debug, Clone)]
pub struct Command {
    /// The term that commands.
    pub generation: Generation,
    /// Whom.
    pub worker: WorkerId,
    /// Which start of its process.
    pub incarnation: Incarnation,
    /// What.
    pub order: Order,
}

/// What is commanded.
#[derive(Debug, Clone)]
pub enum Order {
    /// `workload.assign`.
    Assign {
        /// The workload as the database has it.
        workload: Box<WorkloadRow>,
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
