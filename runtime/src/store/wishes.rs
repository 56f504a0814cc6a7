//! Wishes as the port takes them, and what may become of them.
//!
//! A wish is written only upon the revision that it was made upon. Whoever wishes looks first, and
//! names in every sending of that wish the revision which it saw: whichever sending lands first moves
//! the revision on, so that no other ever lands, however late it comes. Without that, a sending whose
//! answer was lost could undo a wish that was acknowledged long after it.
//!
//! Rejected: to know a wish again by an id of its own. The row would have to keep every id that may
//! still be under way, and nothing bounds how long a statement can be.

use super::{AdminActor, KeyId, WorkerView, WorkloadView};
use niyanta_core::{
    fleet::WorkerDesired,
    ids::{CustomerId, Incarnation, WishRevision, WorkerId, WorkloadId},
    time::Duration,
    workload::{Desired, Status},
};

/// A wish for a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Whose.
    pub customer: CustomerId,
    /// Which workload.
    pub workload: WorkloadId,
    /// What is wanted.
    pub desired: Desired,
    /// The revision that it is made upon, as the caller saw it.
    pub upon: WishRevision,
    /// Who asks, for the audit.
    pub actor: KeyId,
    /// Why, in the customer's words (at most 1 KiB).
    pub reason: Option<String>,
    /// Only if `version` is one of these (If-Match).
    pub if_version: Option<Vec<i64>>,
}

impl Wish {
    /// Why it is not written, judged by the row as it is; `None` when it can be.
    #[must_use]
    pub fn refusal(&self, row: Box<WorkloadView>) -> Option<WishOutcome> {
        let versions = self.if_version.as_ref();
        if versions.is_some_and(|wanted| !wanted.contains(&row.version)) {
            return Some(WishOutcome::VersionMismatch(row));
        }
        if row.status.is_terminal() {
            let same = row.status == Status::Cancelled && self.desired == Desired::Cancel;
            return Some(if same {
                WishOutcome::TerminalSame(row)
            } else {
                WishOutcome::Refused(row)
            });
        }
        if row.desired == self.desired {
            return Some(WishOutcome::Already(row));
        }
        if row.desired == Desired::Cancel {
            return Some(WishOutcome::Refused(row));
        }
        (row.wish_revision != self.upon).then_some(WishOutcome::Overtaken(row))
    }
}

/// What became of a wish.
#[derive(Debug, Clone, PartialEq)]
pub enum WishOutcome {
    /// Written, with its audit event.
    Written(Box<WorkloadView>),
    /// `desired` says so already; nothing was written. Status tells whether it is true yet.
    Already(Box<WorkloadView>),
    /// Terminal with the outcome that was wished (cancel of CANCELLED).
    TerminalSame(Box<WorkloadView>),
    /// The workload has ended, or `cancel` was wished before: nothing was written.
    Refused(Box<WorkloadView>),
    /// Another wish was written since: nothing was, nor will be by a sending upon that revision.
    Overtaken(Box<WorkloadView>),
    /// The version is another.
    VersionMismatch(Box<WorkloadView>),
    /// The customer has no such workload.
    NotFound,
}

/// What an operator wants of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerWish {
    /// Which worker.
    pub worker: WorkerId,
    /// What is wanted.
    pub desired: WorkerDesired,
    /// The start of its process that it is made upon: revisions of an id that left begin anew.
    pub incarnation: Incarnation,
    /// The revision that it is made upon, as the caller saw it.
    pub upon: WishRevision,
    /// From now, for a drain: when what still runs is moved.
    pub deadline: Option<Duration>,
    /// Who asks.
    pub actor: AdminActor,
}

/// What became of a wish for a worker.
#[derive(Debug, Clone, PartialEq)]
pub enum WorkerWishOutcome {
    /// Written, with its admin audit event.
    Written(Box<WorkerView>),
    /// Another wish was written since, or the worker has started anew: nothing was written, nor will
    /// be by a sending upon that revision.
    Overtaken(Box<WorkerView>),
    /// There is no such worker.
    NotFound,
}
