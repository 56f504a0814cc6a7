//! The workers as placement sees them: who has room, in order of load, and who runs beside whom.
//!
//! Workers of equal capabilities and tags form a pool, because every rule but the load and the
//! neighbours gives the same answer for all of them. A placement touches one pool; finding a worker
//! looks at the first of each pool that fits. The cost of a search grows with the number of pools,
//! so tags that are unique to a worker are dear.
//!
//! Owns the occupancy of every open attempt, also on workers that are unknown or not placeable:
//! capacity is used until the attempt is over, whatever became of the worker. Does not judge
//! whether a worker is alive: it is told.

use super::{AffinityRules, Occupant, Tags, WorkerView};
use crate::ids::{CustomerId, WorkerId, WorkloadId, WorkloadType};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::cmp::Ordering;

/// How full a worker is: the used part of its slots, compared without division.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    used: u32,
    capacity: u32,
}

impl Ord for Load {
    fn cmp(&self, other: &Self) -> Ordering {
        let mine = u64::from(self.used) * u64::from(other.capacity);
        let theirs = u64::from(other.used) * u64::from(self.capacity);
        mine.cmp(&theirs)
    }
}

impl PartialOrd for Load {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Load {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Load {}

/// A worker's place among those with room. The first bytes of the id spare most comparisons the
/// way to its text, and order as the text does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Room {
    load: Load,
    id_head: u128,
    pub(super) id: WorkerId,
}

impl Room {
    fn new(id: &WorkerId, used: u32, capacity: u32) -> Self {
        let mut head = [0; 16];
        for (to, from) in head.iter_mut().zip(id.as_str().bytes()) {
            *to = from;
        }
        let load = Load { used, capacity };
        Self {
            load,
            id_head: u128::from_be_bytes(head),
            id: id.clone(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PoolId(usize);

/// Workers that differ only in load and neighbours.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    pub(super) capabilities: BTreeSet<WorkloadType>,
    pub(super) tags: Tags,
    /// Known workers, placeable or not.
    members: u32,
    pub(super) placeable: u32,
    /// The placeable ones that have a free slot.
    pub(super) rooms: BTreeSet<Room>,
}

/// How a workload touches the others of its customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Presence {
    Runs,
    Avoids,
}

/// What is known of a worker that was described, and not removed since.
#[derive(Debug, Clone, Copy)]
struct Known {
    pool: PoolId,
    capacity: u32,
    placeable: bool,
}

#[derive(Debug, Clone, Default)]
struct Worker {
    known: Option<Known>,
    used: u32,
    beside: BTreeMap<(CustomerId, Presence, WorkloadType), u32>,
}

impl Worker {
    fn room(&self, id: &WorkerId) -> Option<(PoolId, Room)> {
        let known = self.known?;
        let free = known.placeable && self.used < known.capacity;
        free.then(|| (known.pool, Room::new(id, self.used, known.capacity)))
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Workers {
    workers: BTreeMap<WorkerId, Worker>,
    pools: Vec<Option<Pool>>,
    pool_ids: BTreeMap<(BTreeSet<WorkloadType>, Tags), PoolId>,
    occupants: BTreeMap<WorkloadId, (Occupant, WorkerId)>,
    placeable: u32,
    with_room: usize,
    /// Grows with whatever may let a workload be placed that could not be before.
    gains: u64,
    /// Grows with each pool that comes or goes.
    shape: u64,
}

impl Workers {
    pub(super) fn set(&mut self, id: &WorkerId, view: WorkerView, placeable: bool) {
        let pool = self.join_pool(view.capabilities, view.tags);
        self.change(id, |worker| {
            let known = Known {
                pool,
                capacity: view.capacity,
                placeable,
            };
            worker.known.replace(known).map(|before| before.pool)
        });
    }

    pub(super) fn set_placeable(&mut self, id: &WorkerId, placeable: bool) {
        if !self.workers.contains_key(id) {
            return;
        }
        self.change(id, |worker| {
            if let Some(known) = &mut worker.known {
                known.placeable = placeable;
            }
            None
        });
    }

    pub(super) fn remove(&mut self, id: &WorkerId) {
        if !self.workers.contains_key(id) {
            return;
        }
        self.change(id, |worker| worker.known.take().map(|known| known.pool));
        self.forget_if_void(id);
    }

    /// Counts an open attempt. The workload must have none.
    pub(super) fn occupy(&mut self, occupant: Occupant, id: &WorkerId) {
        self.change(id, |worker| {
            worker.used += 1;
            for key in presences(&occupant) {
                *worker.beside.entry(key).or_insert(0) += 1;
            }
            None
        });
        let workload = occupant.id;
        let before = self.occupants.insert(workload, (occupant, id.clone()));
        assert!(before.is_none(), "{workload} has two open attempts");
    }

    pub(super) fn vacate(&mut self, workload: WorkloadId) -> Option<Occupant> {
        let (occupant, id) = self.occupants.remove(&workload)?;
        self.change(&id, |worker| {
            worker.used -= 1;
            for key in presences(&occupant) {
                if let Some(count) = worker.beside.get_mut(&key) {
                    *count -= 1;
                    if *count == 0 {
                        worker.beside.remove(&key);
                    }
                }
            }
            None
        });
        self.gains += 1;
        self.forget_if_void(&id);
        Some(occupant)
    }

    pub(super) fn is_occupant(&self, workload: WorkloadId) -> bool {
        self.occupants.contains_key(&workload)
    }

    pub(super) fn occupants(&self) -> impl Iterator<Item = &Occupant> {
        self.occupants.values().map(|(occupant, _)| occupant)
    }

    pub(super) fn used(&self, id: &WorkerId) -> u32 {
        self.workers.get(id).map_or(0, |worker| worker.used)
    }

    pub(super) const fn has_room(&self) -> bool {
        self.with_room > 0
    }

    pub(super) const fn placeable(&self) -> u32 {
        self.placeable
    }

    pub(super) const fn gains(&self) -> u64 {
        self.gains
    }

    pub(super) const fn shape(&self) -> u64 {
        self.shape
    }

    pub(super) fn pools(&self) -> impl Iterator<Item = (PoolId, &Pool)> {
        let numbered = self.pools.iter().enumerate();
        numbered.filter_map(|(index, pool)| Some((PoolId(index), pool.as_ref()?)))
    }

    pub(super) fn pool(&self, id: PoolId) -> Option<&Pool> {
        self.pools.get(id.0)?.as_ref()
    }

    /// The pool of a worker that is placeable.
    pub(super) fn placeable_in(&self, id: &WorkerId) -> Option<PoolId> {
        let known = self.workers.get(id)?.known?;
        known.placeable.then_some(known.pool)
    }

    /// The worker, if it is placeable and has a free slot.
    pub(super) fn room(&self, id: &WorkerId) -> Option<Room> {
        self.workers.get(id)?.room(id).map(|(_, room)| room)
    }

    /// Whether a workload of this type and rules would stand beside one of its customer's that it
    /// avoids, or that avoids it.
    pub(super) fn has_conflict(
        &self,
        id: &WorkerId,
        customer: CustomerId,
        workload_type: &WorkloadType,
        rules: &AffinityRules,
    ) -> bool {
        let Some(worker) = self.workers.get(id) else {
            return false;
        };
        let stands = |presence, workload_type: &WorkloadType| {
            worker
                .beside
                .contains_key(&(customer, presence, workload_type.clone()))
        };
        stands(Presence::Avoids, workload_type)
            || rules
                .anti
                .workload_types
                .iter()
                .any(|avoided| stands(Presence::Runs, avoided))
    }

    /// Applies `change` to a worker and puts it where it belongs afterwards. `change` gives the
    /// pool that the worker left, if it did.
    fn change(&mut self, id: &WorkerId, change: impl FnOnce(&mut Worker) -> Option<PoolId>) {
        if !self.workers.contains_key(id) {
            self.workers.insert(id.clone(), Worker::default());
        }
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        let (room_before, known_before) = (worker.room(id), worker.known);
        let left = change(worker);
        let (room_after, known_after) = (worker.room(id), worker.known);
        let moved = room_before != room_after;
        if let Some((pool, room)) = room_before.filter(|_| moved)
            && let Some(pool) = self.pools.get_mut(pool.0).and_then(Option::as_mut)
        {
            pool.rooms.remove(&room);
            self.with_room -= 1;
        }
        if let Some((pool, room)) = room_after.filter(|_| moved)
            && let Some(pool) = self.pools.get_mut(pool.0).and_then(Option::as_mut)
        {
            pool.rooms.insert(room);
            self.with_room += 1;
        }
        self.count_placeable(known_before, -1);
        self.count_placeable(known_after, 1);
        if described(known_before) != described(known_after) {
            self.gains += 1;
        }
        if let Some(pool) = left {
            self.leave_pool(pool);
        }
    }

    fn count_placeable(&mut self, known: Option<Known>, step: i32) {
        let Some(known) = known.filter(|known| known.placeable) else {
            return;
        };
        self.placeable = self.placeable.saturating_add_signed(step);
        if let Some(pool) = self.pools.get_mut(known.pool.0).and_then(Option::as_mut) {
            pool.placeable = pool.placeable.saturating_add_signed(step);
        }
    }

    fn join_pool(&mut self, capabilities: BTreeSet<WorkloadType>, tags: Tags) -> PoolId {
        let key = (capabilities, tags);
        if let Some(&id) = self.pool_ids.get(&key) {
            if let Some(pool) = self.pools.get_mut(id.0).and_then(Option::as_mut) {
                pool.members += 1;
            }
            return id;
        }
        let (capabilities, tags) = key.clone();
        let pool = Pool {
            capabilities,
            tags,
            members: 1,
            placeable: 0,
            rooms: BTreeSet::new(),
        };
        let free = self.pools.iter().position(Option::is_none);
        let id = PoolId(free.unwrap_or(self.pools.len()));
        if let Some(slot) = self.pools.get_mut(id.0) {
            *slot = Some(pool);
        } else {
            self.pools.push(Some(pool));
        }
        self.pool_ids.insert(key, id);
        self.shape += 1;
        id
    }

    fn leave_pool(&mut self, id: PoolId) {
        let Some(slot) = self.pools.get_mut(id.0) else {
            return;
        };
        let Some(pool) = slot else {
            return;
        };
        pool.members -= 1;
        if pool.members > 0 {
            return;
        }
        let key = (
            core::mem::take(&mut pool.capabilities),
            core::mem::take(&mut pool.tags),
        );
        *slot = None;
        self.pool_ids.remove(&key);
        self.shape += 1;
    }

    fn forget_if_void(&mut self, id: &WorkerId) {
        if self
            .workers
            .get(id)
            .is_some_and(|worker| worker.known.is_none() && worker.used == 0)
        {
            self.workers.remove(id);
        }
    }
}

/// What of a worker other than its load decides where workloads fit.
fn described(known: Option<Known>) -> Option<(PoolId, u32, bool)> {
    known.map(|known| (known.pool, known.capacity, known.placeable))
}

fn presences(
    occupant: &Occupant,
) -> impl Iterator<Item = (CustomerId, Presence, WorkloadType)> + '_ {
    let runs = (
        occupant.customer,
        Presence::Runs,
        occupant.workload_type.clone(),
    );
    let avoids = occupant.affinity.anti.workload_types.iter();
    let avoids = avoids.map(|avoided| (occupant.customer, Presence::Avoids, avoided.clone()));
    core::iter::once(runs).chain(avoids)
}

impl Workers {
    /// Recomputes every derived count from the occupants and compares.
    pub(super) fn check_consistency(&self) -> Result<(), &'static str> {
        let mut used = BTreeMap::<&WorkerId, u32>::new();
        let mut beside = BTreeMap::<_, u32>::new();
        for (occupant, id) in self.occupants.values() {
            *used.entry(id).or_insert(0) += 1;
            for key in presences(occupant) {
                *beside.entry((id, key)).or_insert(0) += 1;
            }
        }
        let mut rooms = BTreeSet::new();
        let mut placeable = 0;
        let mut members = BTreeMap::<PoolId, (u32, u32)>::new();
        for (id, worker) in &self.workers {
            if used.remove(id).unwrap_or(0) != worker.used {
                return Err("used capacity is not the number of open attempts");
            }
            for (key, count) in &worker.beside {
                if beside.remove(&(id, key.clone())) != Some(*count) {
                    return Err("neighbours differ from the open attempts");
                }
            }
            if worker.known.is_none() && worker.used == 0 {
                return Err("a worker that is nothing to anybody is kept");
            }
            rooms.extend(worker.room(id));
            if let Some(known) = worker.known {
                placeable += u32::from(known.placeable);
                let counts = members.entry(known.pool).or_insert((0, 0));
                *counts = (counts.0 + 1, counts.1 + u32::from(known.placeable));
            }
        }
        if !used.is_empty() || !beside.is_empty() {
            return Err("an open attempt is on a worker that is not counted");
        }
        if rooms.len() != self.with_room || placeable != self.placeable {
            return Err("the number of workers with room, or placeable, is wrong");
        }
        for (id, pool) in self.pools() {
            let own: BTreeSet<_> = rooms
                .iter()
                .filter(|(of, _)| *of == id)
                .map(|(_, room)| room.clone())
                .collect();
            if own != pool.rooms || members.remove(&id) != Some((pool.members, pool.placeable)) {
                return Err("a pool differs from its workers");
            }
        }
        let alive = self.pools().count() == self.pool_ids.len();
        if alive && members.is_empty() {
            Ok(())
        } else {
            Err("a worker is in no pool")
        }
    }
}
