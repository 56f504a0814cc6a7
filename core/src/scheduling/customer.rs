//! One customer's waiting workloads and use, and its place in the order of service.

use super::{
    CustomerPolicy, Occupant, PendingReason,
    fairness::Share,
    filter::Requirement,
    queue::{ClassQueue, Position},
    score::Neighbours,
};
use crate::{
    ids::{CustomerId, PlacementClass},
    probes::planted,
};
use alloc::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, Default)]
pub(super) struct Customer {
    /// None until it is told: nothing of the customer is placed before.
    pub(super) policy: Option<CustomerPolicy>,
    /// Open attempts.
    pub(super) running: u32,
    /// Those of them that avoid others.
    pub(super) avoiders: u32,
    pub(super) turn: u64,
    pub(super) classes: BTreeMap<PlacementClass, ClassQueue>,
    /// The heads of the classes that are not blocked, in the customer's order.
    pub(super) open: BTreeSet<(Position, PlacementClass)>,
    pub(super) blocked: BTreeSet<PlacementClass>,
    /// The workers' gains for which `blocked` holds.
    pub(super) seen_gains: u64,
    /// Its entry in the order of service.
    pub(super) place: Option<Share>,
}

impl Customer {
    /// Lets the blocked classes try again if the workers gained something. Gives how many.
    pub(super) fn revive(&mut self, gains: u64) -> usize {
        if self.seen_gains == gains {
            return 0;
        }
        self.seen_gains = gains;
        let blocked = core::mem::take(&mut self.blocked);
        for class in &blocked {
            if let Some(queue) = self.classes.get_mut(class) {
                queue.blocked = false;
            }
            self.refresh(*class);
        }
        blocked.len()
    }

    pub(super) fn block(&mut self, class: PlacementClass) {
        if let Some(queue) = self.classes.get_mut(&class) {
            queue.blocked = true;
            self.blocked.insert(class);
            self.refresh(class);
        }
    }

    /// Makes the class stand where its head belongs, and forgets it when nothing is left of it.
    pub(super) fn refresh(&mut self, class: PlacementClass) {
        let Some(queue) = self.classes.get_mut(&class) else {
            return;
        };
        if queue.ready.is_empty() {
            queue.blocked = false;
            self.blocked.remove(&class);
        }
        let head = if queue.blocked {
            None
        } else {
            queue.ready.first()
        };
        if head != queue.head {
            if let Some(before) = queue.head {
                self.open.remove(&(before, class));
            }
            if let Some(head) = head {
                self.open.insert((head, class));
            }
            queue.head = head;
        }
        if queue.is_void() {
            self.classes.remove(&class);
        }
    }

    /// Whether the class is known not to fit anywhere as the workers are.
    pub(super) fn is_blocked(&self, class: PlacementClass, gains: u64) -> bool {
        self.seen_gains == gains && self.blocked.contains(&class)
    }

    pub(super) fn add(&mut self, occupant: &Occupant) {
        self.running += 1;
        self.avoiders += u32::from(avoids(occupant));
    }

    pub(super) fn subtract(&mut self, occupant: &Occupant) {
        self.running -= 1;
        self.avoiders -= u32::from(avoids(occupant));
    }

    /// Whether a placement must look at who runs beside.
    pub(super) fn neighbours(&self, requirement: &Requirement) -> Neighbours {
        let avoiders = if planted!(AntiAffinityOneWay) {
            0
        } else {
            self.avoiders
        };
        if avoiders == 0 && requirement.rules.anti.workload_types.is_empty() {
            Neighbours::Welcome
        } else {
            Neighbours::Checked
        }
    }

    /// The reason that holds for all it has waiting, if it is at its limit.
    pub(super) fn limit_reason(&self) -> Option<PendingReason> {
        let CustomerPolicy {
            max_running: limit, ..
        } = self.policy?;
        let running = self.running;
        (running >= limit).then_some(PendingReason::CustomerLimit { running, limit })
    }

    /// Its place in the order, if it may have one.
    pub(super) fn share(&self, customer: CustomerId) -> Option<Share> {
        let policy = self.policy?;
        let waits = !self.open.is_empty() || !self.blocked.is_empty();
        let may_run = self.running < policy.max_running || planted!(CustomerLimitIgnored);
        (waits && may_run).then(|| Share {
            running: self.running,
            weight: policy.weight.max(1),
            turn: self.turn,
            customer,
        })
    }

    pub(super) fn is_void(&self) -> bool {
        self.policy.is_none() && self.running == 0 && self.classes.is_empty()
    }
}

pub(super) fn avoids(occupant: &Occupant) -> bool {
    !occupant.affinity.anti.workload_types.is_empty()
}
