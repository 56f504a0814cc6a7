//! What is stored, and what a statement changed of it.

use niyanta_core::{
    batch::{Actor, AuditDetails, Batch, LeaderHalf},
    fleet::WorkerDesired,
    ids::{Attempt, CustomerId, Generation, Incarnation, WishRevision, WorkloadId},
    scheduling::PendingReason,
    snapshot::{CustomerRow, WorkerRow, WorkloadRow},
    time::{Duration, WallTime},
    workload::{AuditKind, Desired},
};
use std::sync::Arc;

/// The lease row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Who holds it.
    pub incarnation: Incarnation,
    /// Its term.
    pub generation: Generation,
    /// By the database's clock.
    pub expires_at: WallTime,
    /// Given up.
    pub resigned: bool,
    /// The longest TTL ever taken with.
    pub longest_ttl: Duration,
}

/// A workload's row with its audit trail.
#[derive(Debug, Clone)]
pub struct Workload {
    /// What core reads of it.
    pub row: WorkloadRow,
    /// The number of its last audit event.
    pub version: u64,
    /// Its audit trail.
    pub audit: Vec<AuditRow>,
    /// Why it waits, as recorded.
    pub pending_reason: Option<PendingReason>,
    /// When its status or its wish changed last.
    pub waits_since: Option<WallTime>,
    /// The attempt whose result is stored.
    pub result_of: Option<Attempt>,
    /// The number of the commit that changed its row last.
    pub stamp: u64,
}

/// One audit event.
#[derive(Debug, Clone)]
pub struct AuditRow {
    /// 1, 2, 3 …
    pub number: u64,
    /// What happened.
    pub kind: AuditKind,
    /// Who did it; nothing for a user.
    pub actor: Option<Actor>,
    /// The attempt it concerns.
    pub attempt: Attempt,
    /// The term that wrote it; nothing for the API.
    pub generation: Option<Generation>,
    /// What else.
    pub details: AuditDetails,
}

/// A worker's row.
#[derive(Debug, Clone)]
pub struct WorkerEntry {
    /// The leader's half, and what is wished of its id.
    pub row: WorkerRow,
    /// The number of the commit that changed the leader's half last.
    pub stamp: u64,
}

/// What operators want of a worker id. It outlives the worker's row when it is a drain.
#[derive(Debug, Clone)]
pub struct WorkerWish {
    /// What.
    pub desired: WorkerDesired,
    /// Counts the writes of it.
    pub revision: WishRevision,
    /// When what still runs is moved.
    pub deadline: Option<WallTime>,
    /// The number of the commit that changed it last.
    pub stamp: u64,
}

/// A customer, with both counters.
#[derive(Debug, Clone)]
pub struct CounterRow {
    /// What scheduling reads.
    pub limits: CustomerRow,
    /// Most workloads that never left the queue.
    pub max_queued: u64,
    /// Written by submissions.
    pub submitted: u64,
    /// Written by the leader.
    pub left_queue: u64,
    /// Written by the leader.
    pub running: i64,
    /// The number of the commit that changed `submitted` last.
    pub submitted_stamp: u64,
    /// The number of the commit that changed the leader's counters last.
    pub moved_stamp: u64,
    /// What is true, whatever the counters say.
    pub tally: Tally,
}

/// A customer's workloads, counted from their rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// With an open attempt.
    pub open: usize,
    /// Never assigned, and not ended.
    pub queued: usize,
    /// All of them.
    pub all: usize,
}

impl CounterRow {
    /// A customer that has submitted nothing.
    #[must_use]
    pub fn new(limits: CustomerRow, max_queued: u64) -> Self {
        Self {
            limits,
            max_queued,
            submitted: 0,
            left_queue: 0,
            running: 0,
            submitted_stamp: 0,
            moved_stamp: 0,
            tally: Tally::default(),
        }
    }
}

/// A submission, made complete before its first sending.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The workload it makes: `leader`, `desired` and `wish_revision` are filled in by the store.
    pub row: WorkloadRow,
    /// The client's idempotency key.
    pub key: Option<u64>,
}

/// What a statement committed.
#[derive(Debug, Clone)]
pub enum Change {
    /// The lease row changed.
    Lease {
        /// How.
        step: LeaseStep,
        /// The database's clock.
        time: WallTime,
        /// Who asked.
        by: Incarnation,
        /// The row before.
        before: Lease,
        /// The row after.
        after: Lease,
    },
    /// A batch landed.
    Batch {
        /// Which.
        batch: Arc<Batch>,
        /// The database's clock.
        time: WallTime,
        /// What it did to each workload.
        moved: Vec<Moved>,
    },
    /// A submission landed.
    Submitted {
        /// Which workload.
        workload: WorkloadId,
        /// Whose.
        customer: CustomerId,
        /// Under which key.
        key: Option<u64>,
    },
    /// A wish landed.
    Wished {
        /// Of which workload.
        workload: WorkloadId,
        /// What was wished before.
        before: Desired,
        /// The version before.
        before_version: u64,
    },
    /// A customer has other limits.
    Limited {
        /// Who.
        customer: CustomerId,
    },
}

/// How the lease row changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseStep {
    /// Taken, for a new term.
    Taken {
        /// Whatever the row said.
        forced: bool,
    },
    /// Renewed.
    Renewed,
    /// Given up.
    Resigned,
}

/// What a batch did to one workload.
#[derive(Debug, Clone)]
pub struct Moved {
    /// Which.
    pub workload: WorkloadId,
    /// The leader's half before.
    pub before: LeaderHalf,
    /// The version before.
    pub before_version: u64,
}
