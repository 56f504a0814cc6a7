//! The best of the workers that a workload may run on: preferred ones first, then the least
//! loaded, then the lowest id.

use super::{
    filter::{Fit, Requirement},
    workers::{Room, Workers},
};
use crate::{
    ids::{CustomerId, WorkerId},
    probes::planted,
};

/// Whether the neighbours matter for a placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Neighbours {
    /// Neither this workload nor any that its customer runs avoids others.
    Welcome,
    /// Each worker must be asked for conflicts.
    Checked,
}

/// Where to place a workload. With [`Neighbours::Checked`] it passes over at most as many workers
/// as the customer has open attempts.
pub(super) fn choose(
    workers: &Workers,
    requirement: &Requirement,
    customer: CustomerId,
    neighbours: Neighbours,
) -> Option<WorkerId> {
    let search = Search {
        workers,
        requirement,
        customer,
        neighbours,
    };
    let rules = &requirement.rules;
    if let Some(id) = &rules.hard.worker_id {
        return search.is_open(id).then(|| id.clone());
    }
    if let Some(id) = &rules.soft.worker_id
        && requirement
            .fit_of(workers, id)
            .is_some_and(|fit| fit.preferred)
        && search.is_open(id)
    {
        return Some(id.clone());
    }
    // With a worker named, no other meets the whole description.
    let prefers_tags = rules.soft.worker_id.is_none() && !rules.soft.worker_tags.is_empty();
    let preferred = if prefers_tags {
        search.best(|fit| fit.preferred)
    } else {
        None
    };
    let best = preferred.or_else(|| search.best(|_| true));
    best.map(|room| room.id.clone())
}

struct Search<'a> {
    workers: &'a Workers,
    requirement: &'a Requirement,
    customer: CustomerId,
    neighbours: Neighbours,
}

impl<'a> Search<'a> {
    fn is_open(&self, id: &WorkerId) -> bool {
        let fit = self.requirement.fit_of(self.workers, id);
        fit.is_some_and(|fit| !fit.shunned)
            && self.workers.room(id).is_some()
            && self.is_agreeable(id)
    }

    fn best(&self, wanted: impl Fn(&Fit) -> bool) -> Option<&'a Room> {
        let fits = self
            .requirement
            .fits
            .iter()
            .filter(|fit| !fit.shunned && wanted(fit));
        let pools = fits.filter_map(|fit| self.workers.pool(fit.pool));
        let rooms =
            pools.filter_map(|pool| pool.rooms.iter().find(|room| self.is_agreeable(&room.id)));
        if planted!(OrderFromAddresses) {
            return rooms.min_by_key(|room| core::ptr::from_ref(*room).addr());
        }
        rooms.min()
    }

    fn is_agreeable(&self, id: &WorkerId) -> bool {
        let Requirement {
            workload_type,
            rules,
            ..
        } = self.requirement;
        match self.neighbours {
            Neighbours::Welcome => true,
            Neighbours::Checked => {
                !self
                    .workers
                    .has_conflict(id, self.customer, workload_type, rules)
            }
        }
    }
}
