//! The words in which the coordinator tells the scheduler what is there, and hears what to do.

use super::{AffinityRules, PendingReason, Tags};
use crate::{
    config::Config,
    ids::{CustomerId, PlacementClass, WorkerId, WorkloadId, WorkloadType},
    time::WallTime,
};
use alloc::{collections::BTreeSet, sync::Arc, vec::Vec};

/// The place of a waiting workload among its customer's: the moment it became eligible, less what
/// its priority is worth. Smaller is served first, ties by [`WorkloadId`].
///
/// Waiting counts for all alike, so the order of two workloads never changes and nothing is ever
/// sorted anew: a lower priority is overtaken only by what arrives within a bounded time after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SortKey(pub i64);

impl SortKey {
    /// The key of a workload that is eligible from `eligible_at` on.
    #[must_use]
    pub fn new(eligible_at: WallTime, priority: u16) -> Self {
        let head_start = Config::AGEING_PER_PRIORITY * u32::from(priority);
        Self(eligible_at.minus(head_start).0)
    }
}

/// What a customer may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CustomerPolicy {
    /// Its part of the running slots, relative to the others'. At least 1; 0 counts as 1.
    pub weight: u32,
    /// The most open attempts it may have.
    pub max_running: u32,
}

/// Why a workload is not eligible yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitsFor {
    /// The customer asked for a later start.
    RunAfter,
    /// The last attempt failed.
    RetryBackoff,
}

/// A workload that waits for a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Which one.
    pub id: WorkloadId,
    /// Whose.
    pub customer: CustomerId,
    /// Those of a customer that can be placed on exactly the same workers.
    pub class: PlacementClass,
    /// Its place in the customer's order.
    pub key: SortKey,
    /// Not placed before.
    pub eligible_at: WallTime,
    /// Names the reason while `eligible_at` is in the future.
    pub waits_for: WaitsFor,
    /// What a worker must be capable of.
    pub workload_type: WorkloadType,
    /// Where it must, would rather and must not run.
    pub affinity: Arc<AffinityRules>,
}

/// What a worker says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerView {
    /// The types that it can run.
    pub capabilities: BTreeSet<WorkloadType>,
    /// How many attempts at once.
    pub capacity: u32,
    /// What affinity rules refer to.
    pub tags: Tags,
}

/// A workload with an open attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupant {
    /// Which one.
    pub id: WorkloadId,
    /// Whose.
    pub customer: CustomerId,
    /// What others of the customer may avoid.
    pub workload_type: WorkloadType,
    /// What it avoids itself.
    pub affinity: Arc<AffinityRules>,
}

/// A decision: this workload to this worker. The scheduler counts it as an open attempt at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Which workload.
    pub workload: WorkloadId,
    /// Whose.
    pub customer: CustomerId,
    /// Where.
    pub worker: WorkerId,
}

/// A wish for more of what the database holds: the workloads of this class that wait and come
/// `after` this place (none: from the first), in order. Answer by offering them in that order, and at once by [`Scheduler::note_refilled`](super::Scheduler::note_refilled).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refill {
    /// Whose.
    pub customer: CustomerId,
    /// Of which class.
    pub class: PlacementClass,
    /// Everything up to here is held already.
    pub after: Option<(SortKey, WorkloadId)>,
}

/// The result of one step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// What to assign.
    pub placements: Vec<Placement>,
    /// Reasons to record: those that differ from what was last given for the workload. A change
    /// of nothing but a count of workers is not given again.
    pub reasons: Vec<(WorkloadId, PendingReason)>,
    /// What to load.
    pub refills: Vec<Refill>,
    /// When the next held workload becomes eligible.
    pub next_eligible: Option<WallTime>,
    /// The step ended at one of its bounds: another one has work to do.
    pub more: bool,
}
