//! Statements and their answers.
//!
//! A coordinator asks for operations; most are one statement, some are several of them, one after
//! the other (see `program`). Both are told by the same words.

use super::{
    locks::RowKey,
    rows::{Lease, Submission},
};
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
use runtime::store::AssignmentRow;
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
    RenewLease(RenewLease),
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
    Heartbeats(Vec<(WorkerId, Incarnation, Duration)>),
    /// Write what a report carries, beside the batch.
    Content(ContentWrite),
    /// Write log lines, beside the batch.
    Logs,
    /// Read what an assignment carries.
    Assignment(AssignmentAsk),
    /// Submit a workload.
    Submit(Arc<Submission>),
    /// Wish something of a workload.
    Wish(Wish),
    /// Wish something of a worker.
    WishWorker(WishWorker),
    /// Read all workloads of a customer.
    List {
        /// Whose.
        customer: CustomerId,
    },
    /// Change a customer's limits.
    ChangeLimits {
        /// Whose.
        customer: CustomerId,
        /// Most open attempts.
        max_running: u32,
        /// Most workloads in the queue.
        max_queued: u64,
    },
    /// Read one workload.
    Get {
        /// Whose.
        customer: CustomerId,
        /// Which.
        workload: WorkloadId,
    },
    /// Look why a submission made nothing.
    WhyNot(Arc<Submission>),
    /// Look why a wish was not written.
    Look {
        /// Whose.
        customer: CustomerId,
        /// Which.
        workload: WorkloadId,
    },
    /// Lock these rows, and change nothing.
    Hold(Vec<RowKey>),
}

/// An extension of a lease.
#[derive(Debug, Clone)]
pub struct RenewLease {
    /// Names the question.
    pub ask: AskId,
    /// Whose.
    pub incarnation: Incarnation,
    /// Which term.
    pub generation: Generation,
    /// How long from now.
    pub ttl: Duration,
}

/// A wish for a workload.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Whose.
    pub customer: CustomerId,
    /// Which.
    pub workload: WorkloadId,
    /// What.
    pub desired: Desired,
    /// The revision that it is made upon.
    pub upon: WishRevision,
}

/// A wish for a worker.
#[derive(Debug, Clone)]
pub struct WishWorker {
    /// Which.
    pub worker: WorkerId,
    /// What.
    pub desired: WorkerDesired,
    /// The start and the revision that it is made upon; nothing: no worker was seen.
    pub upon: Option<(Incarnation, WishRevision)>,
    /// After this long what still runs is moved.
    pub deadline: Option<Duration>,
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
    /// It holds a text that no column can hold.
    pub is_bad: bool,
}

/// Which assignment is to be sent.
#[derive(Debug, Clone, Copy)]
pub struct AssignmentAsk {
    /// Which workload.
    pub workload: WorkloadId,
    /// The attempt that must still be open.
    pub attempt: Attempt,
}

/// The answer of a statement that was executed.
#[derive(Debug, Clone, Hash)]
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
    /// The lease was not taken: it is somebody's.
    NotTaken {
        /// Which question.
        ask: AskId,
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
    /// What an assignment carries; nothing when that attempt is not open any more.
    Assignment(Option<Box<AssignmentRow>>),
    /// What became of a submission.
    Submitted(SubmitAnswer),
    /// The workload that a submission made, if it made one.
    Created(Option<WorkloadId>),
    /// What there is for a submission that made nothing.
    WhyNot {
        /// Its own workload is there.
        own: bool,
        /// What its key names.
        first: Option<WorkloadId>,
        /// The queue has room.
        has_room: bool,
    },
    /// What became of a wish.
    Wished(WishAnswer),
    /// The revision and the version that a wish has, if it was written.
    WishWritten(Option<(WishRevision, u64)>),
    /// A workload as somebody sees it whose wish was not written.
    Looked(Option<Look>),
    /// What became of a wish for a worker.
    WorkerWished(WorkerWishAnswer),
    /// All workloads of a customer, with their versions.
    Listed(Vec<(WorkloadId, u64)>),
    /// The limits stand.
    LimitsChanged,
    /// A workload, if there is one.
    Got(Option<(Status, Desired, u64)>),
    /// Done, and nobody waits for it.
    Done,
}

/// A workload's row as a refused wish is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Look {
    /// Where it is.
    pub status: Status,
    /// Its attempt is being stopped.
    pub is_stopping: bool,
    /// What is wanted.
    pub desired: Desired,
    /// The revision of that wish.
    pub revision: WishRevision,
    /// The number of its last audit event.
    pub version: u64,
}

/// What became of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubmitAnswer {
    /// This workload is there: made by this statement, by an earlier sending, or under this key.
    There(WorkloadId),
    /// The customer's queue is full.
    QueueFull,
}

/// What became of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    /// Another was written since: it was not, nor will a sending upon that revision be.
    Overtaken,
    /// No such workload.
    NotFound,
}

/// What became of a wish for a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WorkerWishAnswer {
    /// Written.
    Written,
    /// Another was written since, or the worker started anew.
    Overtaken {
        /// What is wished now is the same.
        same: bool,
    },
    /// No such worker.
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
