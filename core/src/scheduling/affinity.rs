//! Where a workload must, would rather, and must not run.

use crate::ids::{WorkerId, WorkloadType};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Labels of a worker, name to value.
pub type Tags = BTreeMap<Arc<str>, Arc<str>>;

/// A customer's placement rules for one workload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct AffinityRules {
    /// All of it must hold.
    pub hard: WorkerAffinity,
    /// Preferred when several workers would do.
    pub soft: WorkerAffinity,
    /// What it never runs beside, or on.
    pub anti: AntiAffinity,
}

/// A description of a worker. Empty: any worker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WorkerAffinity {
    /// This worker and no other.
    pub worker_id: Option<WorkerId>,
    /// A worker with all of these tags.
    pub worker_tags: Tags,
}

/// What a workload never shares a worker with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct AntiAffinity {
    /// Never beside the same customer's workloads of these types, in both directions.
    pub workload_types: BTreeSet<WorkloadType>,
    /// Never on a worker with all of these tags (no tags: no rule).
    pub worker_tags: Tags,
}
