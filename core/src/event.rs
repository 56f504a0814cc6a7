//! Everything that can happen to a coordinator: facts, in the past tense, and asks, which are
//! [`Event::Request`].
//!
//! An event carries what the outside world alone can know: answers of the database, words of
//! workers, random identities, the database's clock. It carries no payload bytes.

use crate::{
    fleet::ReportedStatus,
    ids::{
        AskId, Attempt, BatchNumber, CustomerId, Generation, Incarnation, LoadId, MessageSequence,
        RequestId, WorkerId, WorkloadId, WorkloadType,
    },
    scheduling::Tags,
    snapshot::{FenceRow, LeaseRow, Loaded, Snapshot},
    time::{Timestamp, WallTime},
    workload::{Cause, ErrorType},
};
use alloc::{boxed::Box, collections::BTreeSet, sync::Arc, vec::Vec};

/// What happened, or what is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The deadline that `next_deadline` named has come, or the driver woke for another reason.
    Tick {
        /// Everything that workers sent and this node received before this moment has been handed
        /// over. Silences of workers are judged only up to it; the own lease is judged at once.
        heard_until: Timestamp,
    },

    /// [`crate::Effect::TakeLease`] succeeded: the lease is ours, for this new term.
    LeaseTaken {
        /// Which question.
        ask: AskId,
        /// The term it began.
        generation: Generation,
        /// The database's clock, read by the statement.
        database_time: WallTime,
    },
    /// [`crate::Effect::TakeLease`] changed nothing: the lease is somebody's.
    LeaseRefused {
        /// Which question.
        ask: AskId,
        /// What the row says.
        row: LeaseRow,
        /// The database's clock, read by the statement.
        database_time: WallTime,
    },
    /// Whether [`crate::Effect::TakeLease`] took effect is unknown, or it failed.
    LeaseUnknown {
        /// Which question.
        ask: AskId,
    },
    /// The answer to [`crate::Effect::ReadLease`], from a statement that began after the ask.
    LeaseRead {
        /// Which question.
        ask: AskId,
        /// What the row says.
        row: LeaseRow,
        /// The database's clock, read by the statement.
        database_time: WallTime,
    },
    /// [`crate::Effect::RenewLease`] succeeded.
    LeaseRenewed {
        /// Which renewal.
        ask: AskId,
        /// The term that was renewed.
        generation: Generation,
        /// The database's clock, read by the statement.
        database_time: WallTime,
    },
    /// [`crate::Effect::RenewLease`] matched no row: the lease is not this term's any more.
    LeaseLost {
        /// Which renewal.
        ask: AskId,
        /// The term that tried.
        generation: Generation,
    },
    /// [`crate::Effect::RenewLease`] or [`crate::Effect::ReadLease`] failed, or its outcome is
    /// unknown. The old deadline stands.
    LeaseUnanswered {
        /// Which question.
        ask: AskId,
    },
    /// [`crate::Effect::ResignLease`] was answered, or failed: nothing depends on which.
    LeaseResigned {
        /// The term that was given up.
        generation: Generation,
    },

    /// The answer to [`crate::Effect::LoadSnapshot`].
    SnapshotLoaded {
        /// The term it was read for.
        generation: Generation,
        /// The rows.
        snapshot: Box<Snapshot>,
        /// The database's clock, read in the snapshot.
        database_time: WallTime,
    },
    /// [`crate::Effect::LoadSnapshot`] failed. It is asked again while the lease lasts.
    SnapshotFailed {
        /// The term it was wanted for.
        generation: Generation,
    },
    /// The answer to [`crate::Effect::Persist`].
    PersistAnswered {
        /// The term of the batch.
        generation: Generation,
        /// Which batch.
        number: BatchNumber,
        /// What became of it.
        outcome: PersistOutcome,
    },
    /// The answer to [`crate::Effect::ReadFence`], from a statement that began after the ask.
    FenceRead {
        /// The term that asked.
        generation: Generation,
        /// What the row says; nothing when the read failed.
        row: Option<FenceRow>,
    },
    /// The answer to [`crate::Effect::Load`]; nothing when it failed.
    Loaded {
        /// Which load.
        load: LoadId,
        /// The rows.
        rows: Option<Box<Loaded>>,
        /// The database's clock, read by the statement (the last known, when it failed).
        database_time: WallTime,
    },

    /// A worker asks; it is answered through [`crate::Effect::Reply`].
    Request(Request),
    /// Somebody speaks of this term: a worker's `generation_seen`, or another's broadcast.
    GenerationSeen(Generation),
    /// A leader announced that it gives up this term.
    LeaderResigned(Generation),
    /// A coordinator hints that these workloads were submitted or wished upon. Hints may be lost;
    /// the sweep finds what they miss.
    WorkloadsHinted(Vec<WorkloadId>),
    /// A coordinator hints that operators wish something of workers.
    WorkersHinted,
    /// A coordinator hints that limits of these customers changed.
    CustomersHinted(Vec<CustomerId>),
    /// The broker carried [`crate::Effect::ProbeBroker`] back to us.
    ProbeHeard {
        /// Which probe.
        nonce: u64,
    },
    /// Words of workers may have been missed: the broker's connection was lost or regained, or a
    /// subscription overflowed.
    ListeningInterrupted,
    /// This process is asked to stop: resign, and take no lease again.
    ShutdownRequested,
}

impl Event {
    /// The variant's name, for spans and counters.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Tick { .. } => "tick",
            Self::LeaseTaken { .. } => "lease_taken",
            Self::LeaseRefused { .. } => "lease_refused",
            Self::LeaseUnknown { .. } => "lease_unknown",
            Self::LeaseRead { .. } => "lease_read",
            Self::LeaseRenewed { .. } => "lease_renewed",
            Self::LeaseLost { .. } => "lease_lost",
            Self::LeaseUnanswered { .. } => "lease_unanswered",
            Self::LeaseResigned { .. } => "lease_resigned",
            Self::SnapshotLoaded { .. } => "snapshot_loaded",
            Self::SnapshotFailed { .. } => "snapshot_failed",
            Self::PersistAnswered { .. } => "persist_answered",
            Self::FenceRead { .. } => "fence_read",
            Self::Loaded { .. } => "loaded",
            Self::Request(request) => request.body.kind(),
            Self::GenerationSeen(_) => "generation_seen",
            Self::LeaderResigned(_) => "leader_resigned",
            Self::WorkloadsHinted(_) => "workloads_hinted",
            Self::WorkersHinted => "workers_hinted",
            Self::CustomersHinted(_) => "customers_hinted",
            Self::ProbeHeard { .. } => "probe_heard",
            Self::ListeningInterrupted => "listening_interrupted",
            Self::ShutdownRequested => "shutdown_requested",
        }
    }
}

/// What became of one sending of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PersistOutcome {
    /// Applied by this sending.
    Applied,
    /// The fence did not match: applied by an earlier sending, or the term is over. Read the fence.
    NotApplied,
    /// A count differed from what the leader expected; nothing was applied.
    Short,
    /// The database refused a value (SQLSTATE class 22 or 23); nothing was applied.
    Refused,
    /// A lock was not had in time; nothing was applied.
    LockTimeout,
    /// The answer was lost: it was applied, was not, or will be.
    Unknown,
}

/// A worker's request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request {
    /// Where the answer goes.
    pub reply_to: RequestId,
    /// Who asks.
    pub worker: WorkerId,
    /// Which start of its process.
    pub incarnation: Incarnation,
    /// The highest term it has seen.
    pub generation_seen: Generation,
    /// Orders the state in heartbeats and registrations of this incarnation.
    pub sequence: MessageSequence,
    /// What it says.
    pub body: WorkerMessage,
}

/// What a worker says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum WorkerMessage {
    /// `worker.register`; counts as a heartbeat.
    Register {
        /// What it can run.
        capabilities: BTreeSet<WorkloadType>,
        /// How many attempts at once, 1 to 1,000.
        capacity: u32,
        /// Its labels.
        tags: Tags,
        /// What it says of its own software.
        version: Arc<str>,
        /// An incarnation of this worker id that it knows to have ended with all its children.
        replaces: Option<Incarnation>,
    },
    /// `worker.heartbeat`.
    Heartbeat {
        /// Whether it takes work.
        status: ReportedStatus,
        /// What it runs, or is about to, or has not been answered about.
        running: Vec<(WorkloadId, Attempt)>,
    },
    /// `workload.started`.
    Started {
        /// Which workload.
        workload: WorkloadId,
        /// Which attempt.
        attempt: Attempt,
    },
    /// `workload.checkpoint`, after its data was written beside the batch.
    Checkpoint {
        /// Which workload.
        workload: WorkloadId,
        /// Which attempt.
        attempt: Attempt,
        /// Its number within the attempt.
        checkpoint_sequence: u64,
        /// What became of its data.
        content: Content,
    },
    /// `workload.completed`, after its result was written beside the batch.
    Completed {
        /// Which workload.
        workload: WorkloadId,
        /// Which attempt.
        attempt: Attempt,
        /// What became of its result.
        content: Content,
    },
    /// `workload.failed`, after its message and result were written beside the batch.
    Failed {
        /// Which workload.
        workload: WorkloadId,
        /// Which attempt.
        attempt: Attempt,
        /// What kind of failure.
        error_type: ErrorType,
        /// What became of its message and result.
        content: Content,
    },
    /// `workload.stopped`.
    Stopped {
        /// Which workload.
        workload: WorkloadId,
        /// Which attempt; the worker may never have known it.
        attempt: Attempt,
        /// Why.
        cause: Cause,
    },
    /// `worker.deregister`.
    Deregister,
}

impl WorkerMessage {
    /// The message's `type` in the contract.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Register { .. } => "worker.register",
            Self::Heartbeat { .. } => "worker.heartbeat",
            Self::Started { .. } => "workload.started",
            Self::Checkpoint { .. } => "workload.checkpoint",
            Self::Completed { .. } => "workload.completed",
            Self::Failed { .. } => "workload.failed",
            Self::Stopped { .. } => "workload.stopped",
            Self::Deregister => "worker.deregister",
        }
    }
}

/// What became of the bytes that came with a report, before core heard of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Content {
    /// There were none.
    Absent,
    /// Written, guarded by the open attempt.
    Stored,
    /// Not written: that attempt of that incarnation is not open in the database, or a newer
    /// checkpoint is there.
    NotOpen,
    /// They cannot be stored (too long, U+0000, not what the contract allows); a note took their
    /// place.
    Refused,
}
