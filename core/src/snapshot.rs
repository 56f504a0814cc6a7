//! Durable rows as core reads them: the snapshot a term begins with, and what it loads later.
//!
//! Rows are input: [`crate::Coordinator`] checks them and answers what cannot be true with a
//! [`SnapshotError`], never with a panic.

use crate::{
    batch::{LeaderHalf, WorkerRecord},
    fleet::WorkerDesired,
    ids::{
        Attempt, BatchNumber, CustomerId, Generation, Incarnation, PlacementClass, WishRevision,
        WorkloadId, WorkloadType,
    },
    scheduling::AffinityRules,
    time::{Duration, WallTime},
    workload::{Desired, OnLeaseLoss},
};
use alloc::{sync::Arc, vec::Vec};

/// Everything a term must know before its first decision, read in one snapshot of the database
/// that began after the takeover was answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// The fence as the snapshot saw it.
    pub fence: FenceRow,
    /// The longest leader TTL that any coordinator was ever configured with.
    pub longest_ttl: Duration,
    /// All workers.
    pub workers: Vec<WorkerRow>,
    /// All workloads with an open attempt.
    pub open: Vec<WorkloadRow>,
    /// The customers of those workloads.
    pub customers: Vec<CustomerRow>,
    /// The head of what waits, from the start of the sweep's order.
    pub waiting: Vec<WorkloadRow>,
    /// Where the sweep goes on after `waiting`, if there is more.
    pub next: Option<SweepCursor>,
}

/// The fence row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FenceRow {
    /// The term that may commit.
    pub generation: Generation,
    /// Who holds that term.
    pub incarnation: Incarnation,
    /// The last batch of that term that was applied.
    pub applied: BatchNumber,
}

/// The lease row, as an answer to [`crate::Effect::TakeLease`] or [`crate::Effect::ReadLease`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LeaseRow {
    /// The start of a process that holds, or held, the lease.
    pub incarnation: Incarnation,
    /// Its term.
    pub generation: Generation,
    /// Until it ends by the database's clock; nothing when it has.
    pub remaining: Duration,
    /// Its holder has given it up.
    pub resigned: bool,
}

/// One workload as core needs it. Parameters, results and checkpoints stay outside.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkloadRow {
    /// Which workload.
    pub id: WorkloadId,
    /// Whose.
    pub customer: CustomerId,
    /// What kind of work.
    pub workload_type: WorkloadType,
    /// Where it may run.
    pub affinity: Arc<AffinityRules>,
    /// Hash of type and affinity.
    pub class: PlacementClass,
    /// 0 to 1,000, higher first.
    pub priority: u16,
    /// Most retries after failures.
    pub max_retries: u32,
    /// Most time for one attempt.
    pub timeout: Duration,
    /// What its worker does when its lease ends.
    pub on_lease_loss: OnLeaseLoss,
    /// Not before this moment, if its customer said so.
    pub run_after: Option<WallTime>,
    /// The API's half: what is wanted.
    pub desired: Desired,
    /// Counts the writes of `desired`.
    pub wish_revision: WishRevision,
    /// The leader's half.
    pub leader: LeaderHalf,
    /// The last checkpoint stored, as (attempt, checkpoint_sequence).
    pub checkpoint: Option<(Attempt, u64)>,
    /// When the open attempt was confirmed.
    pub started_at: Option<WallTime>,
}

/// One worker: the leader's half and the operators'.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkerRow {
    /// The leader's half.
    pub record: WorkerRecord,
    /// The operators' half: what is wanted of this id.
    pub desired: WorkerDesired,
    /// Counts the writes of `desired`.
    pub wish_revision: WishRevision,
    /// When what it still runs is to be moved, if its drain has a deadline.
    pub drain_deadline: Option<WallTime>,
}

/// What scheduling needs to know of a customer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CustomerRow {
    /// Which customer.
    pub id: CustomerId,
    /// Its tier's share of running slots.
    pub weight: u32,
    /// Most open attempts at once.
    pub max_running: u32,
}

/// A place in the sweep's order: (customer, class, sort key, workload).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SweepCursor {
    /// Whose workloads.
    pub customer: CustomerId,
    /// Which of them.
    pub class: PlacementClass,
    /// The static key within the class.
    pub sort_key: i64,
    /// Breaks ties.
    pub workload: WorkloadId,
}

/// Which rows to load. All but the first two read workloads that are PENDING with `desired` = run,
/// unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Load {
    /// These workloads, whatever their state. Absent ones are left out.
    Workloads(Vec<WorkloadId>),
    /// Workloads whose `desired` the leader has not seen, whatever their state.
    Wishes,
    /// Eligible ones of one class, by key, after a place in its order.
    Backlog {
        /// Whose.
        customer: CustomerId,
        /// Which class.
        class: PlacementClass,
        /// Beyond this (sort key, workload).
        after: Option<(i64, WorkloadId)>,
    },
    /// All of them in the sweep's order.
    Sweep {
        /// Beyond this place.
        after: Option<SweepCursor>,
    },
    /// Those that become eligible after the first moment and up to the second.
    Eligible {
        /// Not these or earlier ones.
        after: WallTime,
        /// Not later ones.
        until: WallTime,
    },
    /// Workers whose `desired` the leader has not seen.
    WorkerWishes,
    /// The limits of these customers.
    Customers(Vec<CustomerId>),
}

/// The answer to a [`Load`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct Loaded {
    /// At most the asked number of workloads, in the order of the load.
    pub workloads: Vec<WorkloadRow>,
    /// Workers, for [`Load::WorkerWishes`].
    pub workers: Vec<WorkerRow>,
    /// The customers of `workloads`, or those asked for.
    pub customers: Vec<CustomerRow>,
    /// False when the limit cut the answer short.
    pub complete: bool,
}

/// Durable data that cannot be true.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SnapshotError {
    /// A row with an open attempt names no worker, or one without names one.
    WorkerMismatch(WorkloadId),
    /// A row without an open attempt says why its attempt is being stopped.
    StopWithoutAttempt(WorkloadId),
    /// Two rows for one workload.
    DuplicateWorkload(WorkloadId),
    /// The fence is not this term's: somebody took over since.
    NotOurs(FenceRow),
}
