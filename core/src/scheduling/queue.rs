//! What is held of a customer's waiting workloads, by placement class.
//!
//! All members of a class can be placed on exactly the same workers, so the first of a class
//! speaks for all: when it cannot be placed, the class is set aside as blocked until workers gain
//! something, and never hides another class. A class holds two windows: the best of those that
//! are eligible, in the customer's order, and the earliest of those that are not yet.

use super::{PendingReason, SortKey, WaitsFor, filter::RequirementId, window::Window};
use crate::{
    ids::{CustomerId, PlacementClass, WorkloadId},
    time::WallTime,
};

/// A place in a customer's order.
pub(super) type Position = (SortKey, WorkloadId);

/// A held workload.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) customer: CustomerId,
    pub(super) class: PlacementClass,
    pub(super) position: Position,
    pub(super) eligible_at: WallTime,
    pub(super) waits_for: WaitsFor,
    pub(super) requirement: RequirementId,
    /// In the window of those that are not yet eligible.
    pub(super) timed: bool,
    /// The reason that was last given for it.
    pub(super) told: Option<Told>,
}

/// A reason that was given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    pub(super) reason: PendingReason,
    pub(super) at: WallTime,
}

impl Entry {
    pub(super) const fn alarm(&self) -> (WallTime, WorkloadId) {
        (self.eligible_at, self.position.1)
    }

    /// Why it waits until it is eligible.
    pub(super) const fn time_reason(&self) -> PendingReason {
        let until = self.eligible_at;
        match self.waits_for {
            WaitsFor::RunAfter => PendingReason::RunAfter { until },
            WaitsFor::RetryBackoff => PendingReason::RetryBackoff { until },
        }
    }
}

/// Rows of the class that were asked for: those behind the eligible ones that are held.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// The first that was missing. None: any may be.
    from: Option<Position>,
    /// The last that was offered since.
    last: Option<Position>,
}

/// One placement class of one customer.
#[derive(Debug, Clone)]
pub(super) struct ClassQueue {
    pub(super) ready: Window<Position>,
    /// Those that are not eligible yet, the earliest first. What does not fit becomes eligible
    /// unseen, and is loaded by the coordinator then.
    pub(super) timed: Window<(WallTime, WorkloadId)>,
    /// When the first of them that did not fit becomes eligible.
    pub(super) lapse: Option<WallTime>,
    /// It has become eligible: the class is to be loaded from its first.
    reload: bool,
    asked: Option<Asked>,
    /// Its head could not be placed, and no worker has gained anything since.
    pub(super) blocked: bool,
    /// What stands in the customer's order for this class.
    pub(super) head: Option<Position>,
    /// All eligible members before this one were told `reason`. None: all were.
    pub(super) untold_from: Option<Position>,
    pub(super) reason: Option<PendingReason>,
    /// Members that were told `reason` before this moment are told again.
    pub(super) told_from: WallTime,
}

impl ClassQueue {
    pub(super) const fn new() -> Self {
        Self {
            ready: Window::new(),
            timed: Window::new(),
            lapse: None,
            reload: false,
            asked: None,
            blocked: false,
            head: None,
            untold_from: None,
            reason: None,
            told_from: WallTime(i64::MIN),
        }
    }

    pub(super) fn is_void(&self) -> bool {
        self.ready.is_empty()
            && self.timed.is_empty()
            && self.asked.is_none()
            && !self.ready.is_truncated()
            && self.lapse.is_none()
            && !self.reload
    }

    pub(super) fn note_untold(&mut self, position: Position) {
        let before = self.untold_from.unwrap_or(position);
        self.untold_from = Some(before.min(position));
    }

    /// Notes how far an answer has come: rows are offered in order, so the last one offered is its
    /// end, whatever else was offered while it was on its way.
    pub(super) const fn note_offered(&mut self, position: Position) {
        if let Some(asked) = &mut self.asked {
            asked.last = Some(position);
        }
    }

    pub(super) fn wants_refill(&self, capacity: usize) -> bool {
        self.asked.is_none() && (self.reload || self.ready.is_low(capacity))
    }

    /// What has become eligible unseen may come before all that is held.
    pub(super) const fn reload(&mut self) {
        self.lapse = None;
        self.reload = true;
    }

    /// Where the rows that are wanted begin: after this place, or with the first.
    pub(super) fn ask(&mut self) -> Option<Position> {
        let missing = self.ready.begin_refill();
        let from = missing.filter(|_| !self.reload);
        self.reload = false;
        self.asked = Some(Asked { from, last: None });
        from.and_then(before)
    }

    pub(super) fn answered(&mut self, complete: bool) {
        if let Some(Asked { from, last }) = self.asked.take() {
            // The database goes on behind the last row that it gave, if it gave one.
            let rest = last.map(after).or(from);
            self.reload |= !complete && rest.is_none();
            self.ready.end_refill(rest.filter(|_| !complete));
        }
    }
}

/// The place right before this one.
fn before((key, id): Position) -> Option<Position> {
    if let Some(id) = id.0.checked_sub(1) {
        return Some((key, WorkloadId(id)));
    }
    let key = key.0.checked_sub(1)?;
    Some((SortKey(key), WorkloadId(u128::MAX)))
}

/// The place right behind this one; itself at the end of the number range.
fn after((key, id): Position) -> Position {
    if let Some(id) = id.0.checked_add(1) {
        return (key, WorkloadId(id));
    }
    key.0
        .checked_add(1)
        .map_or((key, id), |key| (SortKey(key), WorkloadId(0)))
}
