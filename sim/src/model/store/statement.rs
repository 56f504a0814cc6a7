//! Statements and their answers.

use super::rows::{Lease, Submission};
use niyanta_core::fleet::WorkerDesired;
use niyanta_core::{
    Content, PersistOutcome,
    batch::Batch,
    ids::{
        AskId, Attempt, BatchNumber, CustomerId, Generation, Incarnation, LoadId, WishRevision,
        WorkerId, WorkloadId,
    },
    scheduling::PendingReason,
    snapshot::{FenceRow, LeaseRow, Load, Loaded, Snapshot},
    time::{Duration, WallTime},
    workload::{Desired, Status},
};
use std::sync::Arc;

/// One autocommitted statement.
#[derive(Debug, Clone)]
pub enum Statement {
    /// Take lease and fence.
    TakeLease(TakeLease),
    /// Read the lease row.
    ReadLease {
        /// Names the question.
        ask: AskId,
    },
    /// Extend the lease of a term.
    RenewLease {
        /// Names the question.
        ask: AskId,
        /// Whose.
        incarnation: Incarnation,
        /// Which term.
        generation: Generation,
        /// How long from now.
        ttl: Duration,
    },
    /// Mark the lease of a term resigned.
    ResignLease {
        /// Whose.
        incarnation: Incarnation,
        /// Which term.
        generation: Generation,
    },
    /// Read what a term begins with.
    Snapshot {
        /// The term.
        generation: Generation,
        /// Most waiting workloads.
        limit: u32,
    },
    /// Commit a batch.
    Persist(Arc<Batch>),
    /// Read the fence row.
    ReadFence {
        /// The term that asks.
        generation: Generation,
    },
    /// Load rows.
    Load {
        /// Names the load.
        load: LoadId,
        /// Which rows.
        what: Load,
        /// Most rows.
        limit: u32,
    },
    /// Note why workloads wait.
    PendingReasons(Vec<(WorkloadId, Attempt, PendingReason)>),
    /// Note when workers were heard.
    Heartbeats,
    /// Write what a report carries, beside the batch.
    Content(ContentWrite),
    /// Submit a workload.
    Submit(Box<Submission>),
    /// Wish something of a workload.
    Wish {
        /// Whose.
        customer: CustomerId,
        /// Which.
        workload: WorkloadId,
        /// What.
        desired: Desired,
    },
    /// Wish something of a worker.
    WishWorker {
        /// Which.
        worker: WorkerId,
        /// What.
        desired: WorkerDesired,
        /// After this long what still runs is moved.
        deadline: Option<Duration>,
    },
    /// Read one workload.
    Get {
        /// Whose.
        customer: CustomerId,
        /// Which.
        workload: WorkloadId,
    },
}

/// The question for the lease.
#[derive(Debug, Clone)]
pub struct TakeLease {
    /// Names the question.
    pub ask: AskId,
    /// Who asks.
    pub incarnation: Incarnation,
    /// The new term is above this one.
    pub above: Generation,
    /// The term that the row is known to carry for us.
    pub own: Option<Generation>,
    /// Whatever the row says.
    pub force: bool,
    /// How long.
    pub ttl: Duration,
}

/// What a report carries besides its words.
#[derive(Debug, Clone)]
pub struct ContentWrite {
    /// Which workload.
    pub workload: WorkloadId,
    /// Which attempt.
    pub attempt: Attempt,
    /// Whose.
    pub incarnation: Incarnation,
    /// The checkpoint's number; nothing for a result.
    pub checkpoint: Option<u64>,
}

/// The answer of a statement that was executed.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The lease is taken.
    Taken {
        /// Which question.
        ask: AskId,
        /// The new term.
        generation: Generation,
        /// The database's clock.
        time: WallTime,
    },
    /// The lease was not taken, or was only read.
    LeaseRow {
        /// Which question.
        ask: AskId,
        /// The row.
        row: LeaseRow,
        /// The database's clock.
        time: WallTime,
    },
    /// The lease was renewed, or not.
    Renewed {
        /// Which question.
        ask: AskId,
        /// Which term.
        generation: Generation,
        /// Whether a row matched.
        matched: bool,
        /// The database's clock.
        time: WallTime,
    },
    /// The lease was resigned, or was not that term's any more.
    Resigned {
        /// Which term.
        generation: Generation,
    },
    /// What a term begins with.
    Snapshot {
        /// The term.
        generation: Generation,
        /// The rows.
        snapshot: Box<Snapshot>,
        /// The database's clock.
        time: WallTime,
    },
    /// What became of a batch.
    Persist {
        /// The term.
        generation: Generation,
        /// Which batch.
        number: BatchNumber,
        /// What became of it.
        outcome: PersistOutcome,
    },
    /// The fence row.
    Fence {
        /// The term that asked.
        generation: Generation,
        /// The row.
        row: FenceRow,
    },
    /// Rows.
    Loaded {
        /// Which load.
        load: LoadId,
        /// The rows.
        rows: Box<Loaded>,
        /// The database's clock.
        time: WallTime,
    },
    /// What became of a report's content.
    Content(Content),
    /// What became of a submission.
    Submitted(SubmitAnswer),
    /// What became of a wish.
    Wished(WishAnswer),
    /// Whether there is such a worker.
    WorkerWished(bool),
    /// A workload, if there is one.
    Got(Option<(Status, Desired, u64)>),
    /// Done, and nobody waits for it.
    Done,
}

/// What became of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubmitAnswer {
    /// This workload is there: made by this statement, by an earlier sending, or under this key.
    There(WorkloadId),
    /// The customer's queue is full.
    QueueFull,
}

/// What became of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WishAnswer {
    /// Recorded, with the revision it has; already true when `is_true`.
    Recorded {
        /// The revision that stands for it.
        revision: WishRevision,
        /// The workload's version.
        version: u64,
        /// Answered 200, not 202.
        is_true: bool,
    },
    /// It can no longer be.
    Conflict,
    /// No such workload.
    NotFound,
}

impl Lease {
    /// The row as an answer shows it.
    #[must_use]
    pub fn shown(&self, time: WallTime) -> LeaseRow {
        LeaseRow {
            incarnation: self.incarnation.clone(),
            generation: self.generation,
            remaining: self.expires_at.since(time),
            resigned: self.resigned,
        }
    }
}
