//! Why a workload waits: recorded, advisory, and true when it was written.

use crate::time::WallTime;

/// The stable code of a reason, as the contract names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PendingCode {
    /// No placeable worker can run its type.
    NoCapableWorker,
    /// Workers that could run it are full.
    NoCapacity,
    /// No capable worker meets its hard affinity.
    Affinity,
    /// Each worker that has room runs, or is, something it must not be beside.
    AntiAffinity,
    /// Its customer runs as many workloads as its limit allows.
    CustomerLimit,
    /// It failed and waits before the next attempt.
    RetryBackoff,
    /// Its `run_after` has not come.
    RunAfter,
    /// The scheduler has not reached it.
    NotYetConsidered,
    /// Nobody leads. Said by the API, never by core.
    NoLeader,
}

impl PendingCode {
    /// The name in the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCapableWorker => "no_capable_worker",
            Self::NoCapacity => "no_capacity",
            Self::Affinity => "affinity",
            Self::AntiAffinity => "anti_affinity",
            Self::CustomerLimit => "customer_limit",
            Self::RetryBackoff => "retry_backoff",
            Self::RunAfter => "run_after",
            Self::NotYetConsidered => "not_yet_considered",
            Self::NoLeader => "no_leader",
        }
    }
}

/// Why a workload waits, with the counts that explain it. The sentence that people read is made
/// from it at the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PendingReason {
    /// `workers` are placeable, none of them has the type.
    NoCapableWorker {
        /// Placeable workers of any capability.
        workers: u32,
    },
    /// `capable` workers could run it; all their slots are taken.
    NoCapacity {
        /// Workers that meet type and hard affinity.
        capable: u32,
    },
    /// `capable` workers have the type; none meets the hard affinity.
    Affinity {
        /// Workers with the type.
        capable: u32,
    },
    /// `capable` workers meet type and hard affinity; anti-affinity excludes each with room.
    AntiAffinity {
        /// Workers that meet type and hard affinity.
        capable: u32,
    },
    /// The customer has `running` open attempts of at most `limit`.
    CustomerLimit {
        /// Open attempts.
        running: u32,
        /// The most it may have.
        limit: u32,
    },
    /// Waits until this moment before it is tried again.
    RetryBackoff {
        /// In the database's time.
        until: WallTime,
    },
    /// Was asked not to start before this moment.
    RunAfter {
        /// In the database's time.
        until: WallTime,
    },
}

impl PendingReason {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> PendingCode {
        match self {
            Self::NoCapableWorker { .. } => PendingCode::NoCapableWorker,
            Self::NoCapacity { .. } => PendingCode::NoCapacity,
            Self::Affinity { .. } => PendingCode::Affinity,
            Self::AntiAffinity { .. } => PendingCode::AntiAffinity,
            Self::CustomerLimit { .. } => PendingCode::CustomerLimit,
            Self::RetryBackoff { .. } => PendingCode::RetryBackoff,
            Self::RunAfter { .. } => PendingCode::RunAfter,
        }
    }

    /// Whether recording `other` after this would tell nothing new. A count of workers alone is
    /// not worth a write for each workload that waits.
    #[must_use]
    pub fn is_same_record(&self, other: &Self) -> bool {
        self.code() == other.code() && self.lasting() == other.lasting()
    }

    /// The part of a reason, beside its code, that is worth recording when it changes.
    const fn lasting(&self) -> Option<i64> {
        match self {
            Self::NoCapableWorker { .. }
            | Self::NoCapacity { .. }
            | Self::Affinity { .. }
            | Self::AntiAffinity { .. } => None,
            Self::CustomerLimit { limit, .. } => Some(*limit as i64),
            Self::RetryBackoff { until } | Self::RunAfter { until } => Some(until.0),
        }
    }
}
