//! Which workers a workload may run on, and if none, why.
//!
//! What depends on type and rules alone is found once for each pool of workers and kept until a
//! pool comes or goes. What depends on load and neighbours is looked at afresh.

use super::{
    AffinityRules, PendingReason, Tags,
    workers::{Pool, PoolId, Workers},
};
use crate::ids::{WorkerId, WorkloadType};
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RequirementId(usize);

/// A pool that meets type and hard affinity.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fit {
    pub(super) pool: PoolId,
    /// Meets the tags of the soft affinity.
    pub(super) preferred: bool,
    /// Has all the tags that are to be avoided.
    pub(super) shunned: bool,
}

/// A type with its rules, shared by all workloads that have the same.
#[derive(Debug, Clone)]
pub(super) struct Requirement {
    pub(super) workload_type: WorkloadType,
    pub(super) rules: Arc<AffinityRules>,
    users: usize,
    /// The pools' shape for which `fits` holds.
    shape: Option<u64>,
    pub(super) fits: Vec<Fit>,
}

impl Requirement {
    /// The pool of the one worker that is asked for, if it meets type and hard affinity.
    pub(super) fn fit_of(&self, workers: &Workers, id: &WorkerId) -> Option<Fit> {
        let pool = workers.placeable_in(id)?;
        self.fits.iter().find(|fit| fit.pool == pool).copied()
    }

    /// Why there is no worker for it, given that there is none.
    pub(super) fn why_not(&self, workers: &Workers) -> PendingReason {
        let (capable, has_room) = if let Some(id) = &self.rules.hard.worker_id {
            let meets = self.fit_of(workers, id).is_some();
            (u32::from(meets), meets && workers.room(id).is_some())
        } else {
            let pools = || self.fits.iter().filter_map(|fit| workers.pool(fit.pool));
            (
                pools().map(|pool| pool.placeable).sum(),
                pools().any(|pool| !pool.rooms.is_empty()),
            )
        };
        if capable > 0 {
            return if has_room {
                PendingReason::AntiAffinity { capable }
            } else {
                PendingReason::NoCapacity { capable }
            };
        }
        let typed = workers.pools().filter(|(_, pool)| self.has_type(pool));
        match typed.map(|(_, pool)| pool.placeable).sum() {
            0 => PendingReason::NoCapableWorker {
                workers: workers.placeable(),
            },
            capable => PendingReason::Affinity { capable },
        }
    }

    fn has_type(&self, pool: &Pool) -> bool {
        pool.capabilities.contains(&self.workload_type)
    }

    fn refresh(&mut self, workers: &Workers) {
        if self.shape == Some(workers.shape()) {
            return;
        }
        self.shape = Some(workers.shape());
        self.fits.clear();
        let AffinityRules { hard, soft, anti } = &*self.rules;
        for (id, pool) in workers.pools() {
            if self.has_type(pool) && has_all(&pool.tags, &hard.worker_tags) {
                self.fits.push(Fit {
                    pool: id,
                    preferred: has_all(&pool.tags, &soft.worker_tags),
                    shunned: !anti.worker_tags.is_empty() && has_all(&pool.tags, &anti.worker_tags),
                });
            }
        }
    }
}

fn has_all(tags: &Tags, wanted: &Tags) -> bool {
    wanted
        .iter()
        .all(|(name, value)| tags.get(name) == Some(value))
}

/// The requirements of what is held, each for as long as somebody has it.
#[derive(Debug, Clone, Default)]
pub(super) struct Requirements {
    slots: Vec<Option<Requirement>>,
    free: Vec<RequirementId>,
    ids: BTreeMap<(WorkloadType, Arc<AffinityRules>), RequirementId>,
}

impl Requirements {
    pub(super) fn enter(
        &mut self,
        workload_type: &WorkloadType,
        rules: &Arc<AffinityRules>,
    ) -> RequirementId {
        let key = (workload_type.clone(), Arc::clone(rules));
        if let Some(&id) = self.ids.get(&key) {
            if let Some(requirement) = self.slots.get_mut(id.0).and_then(Option::as_mut) {
                requirement.users += 1;
            }
            return id;
        }
        let requirement = Requirement {
            workload_type: workload_type.clone(),
            rules: Arc::clone(rules),
            users: 1,
            shape: None,
            fits: Vec::new(),
        };
        let id = self.free.pop().unwrap_or(RequirementId(self.slots.len()));
        if let Some(slot) = self.slots.get_mut(id.0) {
            *slot = Some(requirement);
        } else {
            self.slots.push(Some(requirement));
        }
        self.ids.insert(key, id);
        id
    }

    pub(super) fn leave(&mut self, id: RequirementId) {
        let Some(slot) = self.slots.get_mut(id.0) else {
            return;
        };
        let Some(requirement) = slot else {
            return;
        };
        requirement.users -= 1;
        if requirement.users == 0 {
            let key = (
                requirement.workload_type.clone(),
                Arc::clone(&requirement.rules),
            );
            *slot = None;
            self.ids.remove(&key);
            self.free.push(id);
        }
    }

    /// The requirement, with the pools that fit it as they are at present.
    pub(super) fn current(&mut self, id: RequirementId, workers: &Workers) -> &Requirement {
        let requirement = self.slots.get_mut(id.0).and_then(Option::as_mut);
        #[expect(
            clippy::expect_used,
            reason = "ids are given out here, and returned once"
        )]
        let requirement = requirement.expect("a requirement in use exists");
        requirement.refresh(workers);
        requirement
    }

    /// A copy of the requirement, for those who may only look.
    pub(super) fn copy(&self, id: RequirementId, workers: &Workers) -> Option<Requirement> {
        let known = self.slots.get(id.0)?.as_ref()?;
        let mut copy = Requirement {
            workload_type: known.workload_type.clone(),
            rules: Arc::clone(&known.rules),
            users: 0,
            shape: None,
            fits: Vec::new(),
        };
        copy.refresh(workers);
        Some(copy)
    }

    pub(super) fn users(&self) -> usize {
        self.slots
            .iter()
            .flatten()
            .map(|requirement| requirement.users)
            .sum()
    }
}
