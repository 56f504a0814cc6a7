//! Which waiting workload goes to which worker.

mod affinity;
mod explain;

pub use affinity::{AffinityRules, AntiAffinity, Tags, WorkerAffinity};
pub use explain::{PendingCode, PendingReason};
