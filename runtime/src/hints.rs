//! Hints: words that make others look sooner, and that nothing depends on.
//!
//! [`Hints`] goes outward, from the API to whoever leads; [`Changes`] goes inward, from whoever
//! learns of a commit to the long-polls of this process. Either may be lost at any time: the leader
//! sweeps, and long-polls look again by themselves.

use crate::store::KeyId;
use niyanta_core::ids::{CustomerId, WorkloadId};
use std::{
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};
use tokio::sync::{Notify, futures::Notified};

/// Tells the leader, wherever it is, that the API's half of some rows changed. Never blocks.
pub trait Hints: Send + Sync + 'static {
    /// These workloads were submitted or have a new wish.
    fn workloads(&self, changed: &[WorkloadId]);
    /// What operators want of some worker changed.
    fn workers(&self);
    /// The limits of these customers changed.
    fn customers(&self, changed: &[CustomerId]);
    /// This key was revoked: every coordinator forgets what it remembers of it.
    fn key_revoked(&self, key: KeyId);
}

/// Hints that go nowhere: for tests, and for an API without a leader to talk to.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHints;

impl Hints for NoHints {
    fn workloads(&self, _changed: &[WorkloadId]) {}
    fn workers(&self) {}
    fn customers(&self, _changed: &[CustomerId]) {}
    fn key_revoked(&self, _key: KeyId) {}
}

/// Wakes the long-polls of this process. Workloads share a fixed number of bells, so that nothing
/// grows with their number; whoever is woken for another's sake looks once and waits again.
pub struct Changes {
    bells: Box<[Notify]>,
}

impl Changes {
    const BELLS: usize = 256;

    /// Nobody waits yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bells: (0..Self::BELLS).map(|_| Notify::new()).collect(),
        }
    }

    /// This workload's row changed.
    pub fn workload(&self, workload: WorkloadId) {
        self.bell(workload).notify_waiters();
    }

    /// Resolves at the next [`Self::workload`] after this call.
    pub fn next(&self, workload: WorkloadId) -> Notified<'_> {
        self.bell(workload).notified()
    }

    fn bell(&self, workload: WorkloadId) -> &Notify {
        let mut hasher = DefaultHasher::new();
        workload.hash(&mut hasher);
        let place = usize::try_from(hasher.finish() % Self::BELLS as u64).unwrap_or(0);
        &self.bells[place]
    }
}

impl Default for Changes {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").finish_non_exhaustive()
    }
}
