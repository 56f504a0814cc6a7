//! Tells why workloads wait: once for each class, then member by member, a bounded part in a step.
//!
//! A reason is found at the moment it is given, so it is true then; it may be overtaken later.
//! Members that were never told come first; beside them a sweep visits all classes in turn and
//! gives the reasons that have changed, and those that were given long ago: a record of a reason is
//! not answered, so one that was lost is found by giving it again.

use super::{
    PendingReason, Scheduler,
    queue::{Position, Told},
    score,
};
use crate::{
    ids::{CustomerId, PlacementClass, WorkloadId},
    time::{Duration, WallTime},
};
use alloc::vec::Vec;
use core::ops::Bound;

/// Most reasons given in a step.
const REASONS_MAX: usize = 512;
/// Most members looked at in a step.
const MEMBERS_MAX: usize = 4_096;
/// Most classes with untold members visited in a step.
const UNTOLD_CLASSES_MAX: usize = 64;
/// A reason that still stands is given again after this long.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// Classes visited by the sweep in a step.
const SWEEP_CLASSES: usize = 8;

type ClassName = (CustomerId, PlacementClass);

/// What is still to be told.
#[derive(Debug, Clone, Default)]
pub(super) struct Telling {
    /// Classes with eligible members that were not told.
    pub(super) classes: alloc::collections::BTreeSet<ClassName>,
    /// Workloads that wait for their time and were not told.
    pub(super) timed: alloc::collections::BTreeSet<WorkloadId>,
    /// Where each of the two visits goes on.
    next_untold: Option<ClassName>,
    next_swept: Option<ClassName>,
}

impl Scheduler {
    /// Gives some reasons; whether there are more to give.
    pub(super) fn tell(
        &mut self,
        now: WallTime,
        reasons: &mut Vec<(WorkloadId, PendingReason)>,
    ) -> bool {
        self.tell_timed(now, reasons);
        let mut members = MEMBERS_MAX;
        let untold = self.next_untold();
        let looked_at_all = untold.len() >= self.telling.classes.len();
        for name in untold.into_iter().chain(self.next_swept()) {
            if reasons.len() >= REASONS_MAX || members == 0 {
                break;
            }
            self.tell_class(now, name, &mut members, reasons);
        }
        !looked_at_all || reasons.len() >= REASONS_MAX || members == 0
    }

    fn tell_timed(&mut self, now: WallTime, reasons: &mut Vec<(WorkloadId, PendingReason)>) {
        while reasons.len() < REASONS_MAX {
            let Some(id) = self.telling.timed.pop_first() else {
                return;
            };
            if let Some(entry) = self.entries.get_mut(&id)
                && entry.timed
                && entry.eligible_at > now
            {
                let reason = entry.time_reason();
                entry.told = Some(Told { reason, at: now });
                reasons.push((id, reason));
            }
        }
    }

    /// The next classes with untold members, in turn.
    fn next_untold(&mut self) -> Vec<ClassName> {
        let classes = &self.telling.classes;
        let from = self
            .telling
            .next_untold
            .map_or(Bound::Unbounded, Bound::Excluded);
        let until = self.telling.next_untold.map_or(
            Bound::Excluded((CustomerId(0), PlacementClass(i64::MIN))),
            Bound::Included,
        );
        let behind = classes.range((from, Bound::Unbounded));
        let names: Vec<_> = behind
            .chain(classes.range((Bound::Unbounded, until)))
            .take(UNTOLD_CLASSES_MAX)
            .copied()
            .collect();
        self.telling.next_untold = names.last().copied();
        names
    }

    /// The next classes of all, in turn.
    fn next_swept(&mut self) -> Vec<ClassName> {
        let mut names = Vec::with_capacity(SWEEP_CLASSES);
        let first = (CustomerId(0), PlacementClass(i64::MIN));
        let from = self.telling.next_swept.unwrap_or(first);
        // Customers without anything waiting are passed over, but not without bound.
        for (&customer, state) in self.customers.range(from.0..).take(SWEEP_CLASSES) {
            let start = if customer == from.0 {
                Bound::Excluded(from.1)
            } else {
                Bound::Unbounded
            };
            let classes = state.classes.range((start, Bound::Unbounded));
            let room = SWEEP_CLASSES - names.len();
            names.extend(classes.take(room).map(|(&class, _)| (customer, class)));
            self.telling.next_swept = Some((customer, PlacementClass(i64::MAX)));
            if names.len() == SWEEP_CLASSES {
                self.telling.next_swept = names.last().copied();
                return names;
            }
        }
        let last = self
            .customers
            .last_key_value()
            .map(|(&customer, _)| customer);
        if self.telling.next_swept.map(|(customer, _)| customer) >= last {
            self.telling.next_swept = None;
        }
        names
    }

    fn tell_class(
        &mut self,
        now: WallTime,
        name: ClassName,
        members: &mut usize,
        reasons: &mut Vec<(WorkloadId, PendingReason)>,
    ) {
        let (customer, class) = name;
        *members = members.saturating_sub(1);
        let Some(reason) = self.class_reason(name) else {
            // It can be placed, or its customer is not known: told when that has changed.
            if self
                .customers
                .get(&customer)
                .is_none_or(|state| state.policy.is_none())
            {
                self.telling.classes.remove(&name);
            }
            return;
        };
        let Some(queue) = self
            .customers
            .get_mut(&customer)
            .and_then(|c| c.classes.get_mut(&class))
        else {
            return;
        };
        let is_same = queue
            .reason
            .is_some_and(|told| told.is_same_record(&reason));
        if !is_same || now.since(queue.told_from) >= TELL_AGAIN_AFTER {
            queue.reason = Some(reason);
            queue.told_from = now;
            queue.untold_from = queue.ready.first();
        }
        let Some(start) = queue.untold_from.take() else {
            self.telling.classes.remove(&name);
            return;
        };
        for &position in queue.ready.from(start) {
            if *members == 0 || reasons.len() >= REASONS_MAX {
                queue.untold_from = Some(position);
                break;
            }
            *members -= 1;
            if let Some(entry) = self.entries.get_mut(&position.1)
                && !entry.told.is_some_and(|told| {
                    told.at >= queue.told_from && told.reason.is_same_record(&reason)
                })
            {
                entry.told = Some(Told { reason, at: now });
                reasons.push((position.1, reason));
            }
        }
        if queue.untold_from.is_none() {
            self.telling.classes.remove(&name);
        } else {
            self.telling.classes.insert(name);
        }
    }

    /// A reason that was given could not be recorded: it is given again.
    pub fn retract(&mut self, id: WorkloadId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.told = None;
        let (name, position) = ((entry.customer, entry.class), entry.position);
        if entry.timed {
            self.telling.timed.insert(id);
        } else if let Some(queue) = self
            .customers
            .get_mut(&name.0)
            .and_then(|customer| customer.classes.get_mut(&name.1))
        {
            queue.note_untold(position);
            self.telling.classes.insert(name);
        }
    }

    /// Why the eligible members of a class wait. None when one of them could be placed.
    fn class_reason(&mut self, (id, class): ClassName) -> Option<PendingReason> {
        let customer = self.customers.get(&id)?;
        customer.policy?;
        let (_, head): Position = customer.classes.get(&class)?.ready.first()?;
        if let Some(reason) = customer.limit_reason() {
            return Some(reason);
        }
        let entry = self.entries.get(&head)?;
        let requirement = self.requirements.current(entry.requirement, &self.workers);
        if !customer.is_blocked(class, self.workers.gains())
            && score::choose(
                &self.workers,
                requirement,
                id,
                customer.neighbours(requirement),
            )
            .is_some()
        {
            return None;
        }
        Some(requirement.why_not(&self.workers))
    }

    /// Why a held workload waits at `now`. None when it is not held, can be placed, or belongs to
    /// a customer that is not known.
    #[must_use]
    pub fn explain(&self, id: WorkloadId, now: WallTime) -> Option<PendingReason> {
        let entry = self.entries.get(&id)?;
        if entry.eligible_at > now {
            return Some(entry.time_reason());
        }
        let customer = self.customers.get(&entry.customer)?;
        customer.policy?;
        if let Some(reason) = customer.limit_reason() {
            return Some(reason);
        }
        let requirement = self.requirements.copy(entry.requirement, &self.workers)?;
        let neighbours = customer.neighbours(&requirement);
        let fits = score::choose(&self.workers, &requirement, entry.customer, neighbours);
        fits.is_none().then(|| requirement.why_not(&self.workers))
    }
}
