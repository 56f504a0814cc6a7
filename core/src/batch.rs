//! What the leader commits: one numbered batch at a time, all of it or nothing.
//!
//! Owns the shape of a commit. Folding many changes into one is `persist`'s; the statement that
//! carries it out is the store's. The invariants a batch keeps: at most one [`WorkloadWrite`] for a
//! workload, one [`WorkerWrite`] for a worker, one [`CounterWrite`] for a customer; every audit step
//! of a change rides with it.

use crate::{
    fleet::WorkerStatus,
    ids::{
        Attempt, BatchNumber, CustomerId, Generation, Incarnation, WishRevision, WorkerId,
        WorkloadId, WorkloadType,
    },
    scheduling::Tags,
    time::{Duration, WallTime},
    workload::{AuditKind, Cause, ErrorType, Status},
};
use alloc::{collections::BTreeSet, sync::Arc, vec::Vec};

/// One commit of the leader. A number is bound to one content: after a lost answer exactly this
/// value is sent again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Batch {
    /// The term that commits it; the fence refuses it in any other.
    pub generation: Generation,
    /// The incarnation that holds that term.
    pub incarnation: Incarnation,
    /// Its place in the term: the fence must stand at the one before.
    pub number: BatchNumber,
    /// At most one for a workload, in ascending order of id.
    pub workloads: Vec<WorkloadWrite>,
    /// At most one for a worker, in ascending order of id.
    pub workers: Vec<WorkerWrite>,
    /// At most one for a customer, in ascending order of id.
    pub counters: Vec<CounterWrite>,
}

impl Batch {
    /// How many audit events it must insert: the sum of the steps of its writes.
    #[must_use]
    pub fn audit_len(&self) -> usize {
        self.workloads.iter().map(|write| write.steps.len()).sum()
    }

    /// Rows it touches, the fence and the audit aside.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.workloads.len() + self.workers.len() + self.counters.len()
    }
}

/// The net change of one workload's leader half, guarded by what the leader believes is there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkloadWrite {
    /// Which workload.
    pub id: WorkloadId,
    /// Whose it is.
    pub customer: CustomerId,
    /// The status that the row must still have.
    pub from_status: Status,
    /// The attempt that the row must still have.
    pub from_attempt: Attempt,
    /// The leader's half afterwards.
    pub to: LeaderHalf,
    /// Set `scheduled_at` (and clear `started_at`) to the database's time: a new attempt opened.
    pub stamp_scheduled: bool,
    /// Set `started_at` to the database's time.
    pub stamp_started: bool,
    /// Set `completed_at` to the database's time: the workload ended.
    pub stamp_completed: bool,
    /// Every step between, in order; `version` rises by their number. Empty when only
    /// unversioned columns change.
    pub steps: Vec<AuditStep>,
}

/// The columns of a workload that the leader alone writes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LeaderHalf {
    /// Where it is.
    pub status: Status,
    /// The last attempt made (0 before the first).
    pub attempt: Attempt,
    /// Who has the open attempt. Some exactly when the status has an open attempt.
    pub worker: Option<(WorkerId, Incarnation)>,
    /// Attempts that ended in a transient failure or a time-out.
    pub retry_count: u32,
    /// Workers lost in a row while running it, since the last newer checkpoint.
    pub loss_count: u32,
    /// Not to be assigned before this moment; its place in the queue is reckoned from it.
    pub eligible_at: WallTime,
    /// `eligible_at` less what its priority is worth: the static key that orders the queue.
    pub sort_key: i64,
    /// The end of the back-off that `eligible_at` stands for, if it is one.
    pub backoff_until: Option<WallTime>,
    /// The revision of the wish that the leader has acted on.
    pub wish_seen: WishRevision,
    /// Why its open attempt is being stopped, while it is.
    pub stopping: Option<Cause>,
    /// The kind of the last failure, kept until it completes.
    pub error_type: Option<ErrorType>,
}

/// One audit event of a workload's change of status.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AuditStep {
    /// What happened.
    pub kind: AuditKind,
    /// Who made it happen.
    pub actor: Actor,
    /// The attempt it concerns.
    pub attempt: Attempt,
    /// What else is worth knowing.
    pub details: AuditDetails,
}

/// Who made a change happen. (A user's wishes are audited by the API, not here.)
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Actor {
    /// The leader decided it; `actor_type` is `coordinator`, the id is its incarnation.
    Coordinator,
    /// A worker reported it.
    Worker(WorkerId),
    /// Time decided it: a lease or a time-out ended.
    System,
}

/// What an audit event says besides its kind. Typed, so that nothing in a batch can be refused for
/// its data.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AuditDetails {
    /// Nothing else.
    None,
    /// Assigned to this worker, to go on from this checkpoint.
    Assigned {
        /// Whom.
        worker: WorkerId,
        /// Which start of its process.
        incarnation: Incarnation,
        /// The checkpoint it continues from, as (attempt, checkpoint_sequence).
        checkpoint: Option<(Attempt, u64)>,
    },
    /// The attempt is being, or was, stopped for this cause.
    Stopped {
        /// Why.
        cause: Cause,
        /// Where it ran.
        worker: WorkerId,
    },
    /// Failed, and goes back to wait.
    Retrying {
        /// What kind of failure.
        error_type: ErrorType,
        /// Which retry this will be, from 1.
        retry: u32,
        /// How long it waits first.
        backoff: Duration,
    },
    /// Failed for good.
    Failed {
        /// What kind of failure.
        error_type: ErrorType,
    },
}

/// The net change of one worker's leader half.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum WorkerWrite {
    /// Insert the row, or replace the leader's half of it.
    Put(WorkerRecord),
    /// Delete the row: it deregistered or was removed, and its last attempt is over.
    Remove {
        /// Which worker.
        worker: WorkerId,
    },
}

impl WorkerWrite {
    /// Which worker it is about.
    #[must_use]
    pub const fn worker(&self) -> &WorkerId {
        match self {
            Self::Put(record) => &record.worker,
            Self::Remove { worker } => worker,
        }
    }
}

/// The columns of a worker that the leader alone writes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkerRecord {
    /// Which worker.
    pub worker: WorkerId,
    /// The start of its process that this is about.
    pub incarnation: Incarnation,
    /// DEAD: that incarnation has ended, for good.
    pub status: WorkerStatus,
    /// What it can run.
    pub capabilities: BTreeSet<WorkloadType>,
    /// How many attempts at once, 1 to 1,000.
    pub capacity: u32,
    /// Its labels.
    pub tags: Tags,
    /// What it says of its own software.
    pub version: Arc<str>,
    /// The longest lease ever told to this incarnation; never lowered for it.
    pub longest_lease: Duration,
    /// The revision of the operator's wish that the leader has acted on.
    pub wish_seen: WishRevision,
    /// True when this write registers the incarnation: `registered_at` becomes the database's time.
    pub stamp_registered: bool,
}

/// What a batch adds to the leader's counters of one customer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CounterWrite {
    /// Whose.
    pub customer: CustomerId,
    /// Workloads that left the queue for the first time: assigned once, or ended before. Only
    /// grows.
    pub left_queue: u64,
    /// Change of the number of open attempts.
    pub running: i64,
}
