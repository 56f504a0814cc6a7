//! Which waiting workload goes to which worker.
//!
//! Owns the held part of the backlog, the occupancy of every worker, and the policy: weighted fair
//! share between customers (`fairness`), the static key within one ([`SortKey`]), and what must
//! and should hold for a placement (`filter`, `score`). It is told what changes, and asked for
//! a [`Plan`] when something has. It does not know leases, attempts or batches, and it does not
//! write: the coordinator turns a plan into commits.
//!
//! Invariants, recomputed by [`Scheduler::check_consistency`]: a worker's used capacity is the
//! number of open attempts on it, a customer's running count is the number of its open attempts,
//! and what is ordered is what is held.
//!
//! A step is bounded. It looks at customers in the order of service, and at each one's classes in
//! the order of their heads; what cannot be placed is set aside until a worker gains something, so
//! no class is tried twice for nothing. During a step placements only take room, hence what was
//! set aside stays unplaceable and one pass in order is complete. When a pass meets its bound it
//! goes on in the next step where it stopped, so every class is considered however many there are.
//!
//! Rejected: a scan of all workers for each workload (10,000 workers would bound it to a few
//! thousand placements a second), and one queue in order of key (its unplaceable head hides the
//! rest).

use crate::{
    ids::{CustomerId, PlacementClass, WorkerId, WorkloadId},
    time::WallTime,
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};
use core::ops::Bound;

mod affinity;
mod check;
mod customer;
mod explain;
mod fairness;
mod filter;
mod queue;
mod reasons;
mod score;
mod view;
mod window;
mod workers;

#[cfg(test)]
mod tests;

pub use affinity::{AffinityRules, AntiAffinity, Tags, WorkerAffinity};
pub use explain::{PendingCode, PendingReason};
pub use view::{
    CustomerPolicy, Occupant, Placement, Plan, Refill, SortKey, Waiting, WaitsFor, WorkerView,
};

use customer::Customer;
use fairness::Share;
use filter::Requirements;
use queue::{ClassQueue, Entry};
use reasons::Telling;
use window::Admission;
use workers::Workers;

/// Most customers and classes looked at for placement in a step, beside those placed.
const EXAMINATIONS_MAX: usize = 16_384;
/// Most workloads that become eligible in a step.
const PROMOTIONS_MAX: usize = 4_096;
/// Most refills asked for in a step.
const REFILLS_MAX: usize = 64;

/// The scheduler. Feed it facts in any order, then ask for a [`Plan`].
#[derive(Debug, Clone)]
pub struct Scheduler {
    window: usize,
    /// The moment of the last step. Before the first, everything offered counts as eligible.
    now: Option<WallTime>,
    customers: BTreeMap<CustomerId, Customer>,
    /// Customers that have eligible workloads and may run more, the next to serve first.
    order: BTreeSet<Share>,
    /// The turn of the last placement.
    turn: u64,
    entries: BTreeMap<WorkloadId, Entry>,
    /// When those that are not eligible yet will be.
    alarms: BTreeSet<(WallTime, WorkloadId)>,
    /// When the first that does not fit its window of those that are not eligible will be.
    lapses: BTreeSet<(WallTime, CustomerId, PlacementClass)>,
    requirements: Requirements,
    workers: Workers,
    /// Classes whose windows are low.
    low: BTreeSet<(CustomerId, PlacementClass)>,
    /// Where a pass that met its bound goes on, and the workers' gains when it began.
    pass: Option<(Share, u64)>,
    telling: Telling,
}

impl Scheduler {
    /// A scheduler that holds `window_per_class` (at least 1) eligible workloads of each placement
    /// class of a customer, and as many that wait for their time.
    #[must_use]
    pub fn new(window_per_class: usize) -> Self {
        Self {
            window: window_per_class.max(1),
            now: None,
            customers: BTreeMap::new(),
            order: BTreeSet::new(),
            turn: 0,
            entries: BTreeMap::new(),
            alarms: BTreeSet::new(),
            lapses: BTreeSet::new(),
            requirements: Requirements::default(),
            workers: Workers::default(),
            low: BTreeSet::new(),
            pass: None,
            telling: Telling::default(),
        }
    }

    /// Sets what a customer may use. Before it is told, nothing of the customer is placed.
    pub fn set_customer(&mut self, id: CustomerId, policy: CustomerPolicy) {
        let customer = self.customers.entry(id).or_default();
        if customer.policy.replace(policy) == Some(policy) {
            return;
        }
        let classes = customer
            .classes
            .iter()
            .filter(|(_, queue)| queue.untold_from.is_some());
        self.telling
            .classes
            .extend(classes.map(|(&class, _)| (id, class)));
        self.settle(id);
    }

    /// A workload waits. True when it is held; false when it lies beyond a full window: it stays
    /// in the database. A [`Refill`] asks for it in its turn; if it is not eligible yet, offer it
    /// again when it is. One that is held already is replaced. One with an open attempt does not
    /// wait: vacate it first.
    pub fn offer(&mut self, waiting: Waiting) -> bool {
        let Waiting {
            id,
            customer,
            class,
            key,
            ..
        } = waiting;
        assert!(
            !self.workers.is_occupant(id),
            "{id} has an open attempt and cannot wait"
        );
        let told = self.remove(id).and_then(|before| before.told);
        let requirement = self
            .requirements
            .enter(&waiting.workload_type, &waiting.affinity);
        let entry = Entry {
            customer,
            class,
            position: (key, id),
            eligible_at: waiting.eligible_at,
            waits_for: waiting.waits_for,
            requirement,
            timed: false,
            told,
        };
        let queue = self.queue(customer, class);
        queue.note_offered((key, id));
        self.admit(entry)
    }

    /// The workload no longer waits. True when it was held.
    pub fn withdraw(&mut self, id: WorkloadId) -> bool {
        self.remove(id).is_some()
    }

    /// An answer to a [`Refill`] has been offered. `complete`: the database holds nothing more
    /// behind it.
    pub fn note_refilled(&mut self, customer: CustomerId, class: PlacementClass, complete: bool) {
        self.queue(customer, class).answered(complete);
        self.settle_class(customer, class);
    }

    /// A worker is there, as described; its occupants stay.
    pub fn set_worker(&mut self, id: WorkerId, view: WorkerView, placeable: bool) {
        self.workers.set(&id, view, placeable);
    }

    /// Whether a known worker may be given work.
    pub fn set_placeable(&mut self, id: &WorkerId, placeable: bool) {
        self.workers.set_placeable(id, placeable);
    }

    /// The worker is no longer there. Its occupants count for their customers until vacated.
    pub fn remove_worker(&mut self, id: &WorkerId) {
        self.workers.remove(id);
    }

    /// An attempt is open, on a worker that may be unknown or not placeable. Replaces what was
    /// known of the workload.
    pub fn occupy(&mut self, occupant: Occupant, worker: &WorkerId) {
        self.remove(occupant.id);
        self.vacate(occupant.id);
        self.customers
            .entry(occupant.customer)
            .or_default()
            .add(&occupant);
        let customer = occupant.customer;
        self.workers.occupy(occupant, worker);
        self.settle(customer);
    }

    /// The workload's attempt is over.
    pub fn vacate(&mut self, id: WorkloadId) {
        if let Some(occupant) = self.workers.vacate(id) {
            if let Some(customer) = self.customers.get_mut(&occupant.customer) {
                customer.subtract(&occupant);
            }
            self.settle(occupant.customer);
        }
    }

    /// Takes one step: places at most `budget` workloads, and says what else is to be done.
    pub fn plan(&mut self, now: WallTime, budget: usize) -> Plan {
        let mut plan = Plan {
            more: self.advance(now),
            ..Plan::default()
        };
        plan.more |= self.place(now, budget, &mut plan.placements);
        plan.more |= self.ask(&mut plan.refills);
        plan.more |= self.tell(now, &mut plan.reasons);
        plan.next_eligible = self.next_eligible();
        plan
    }

    /// How many waiting workloads are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.entries.len()
    }

    /// Whether this waiting workload is held.
    #[must_use]
    pub fn holds(&self, id: WorkloadId) -> bool {
        self.entries.contains_key(&id)
    }

    /// A customer's open attempts.
    #[must_use]
    pub fn running(&self, id: CustomerId) -> u32 {
        self.customers
            .get(&id)
            .map_or(0, |customer| customer.running)
    }

    /// The open attempts on a worker.
    #[must_use]
    pub fn used(&self, id: &WorkerId) -> u32 {
        self.workers.used(id)
    }

    fn next_eligible(&self) -> Option<WallTime> {
        let alarm = self.alarms.first().map(|(at, _)| *at);
        let lapse = self.lapses.first().map(|(at, _, _)| *at);
        alarm.into_iter().chain(lapse).min()
    }

    /// Lets time pass: what has become eligible may be placed. True when more has than one step
    /// takes.
    fn advance(&mut self, now: WallTime) -> bool {
        if self.now.replace(now).is_none() {
            let early = self
                .entries
                .iter()
                .filter(|(_, entry)| entry.eligible_at > now);
            for id in early.map(|(id, _)| *id).collect::<Vec<_>>() {
                self.admit_anew(id);
            }
        }
        for _ in 0..PROMOTIONS_MAX {
            if let Some(&(at, customer, class)) = self.lapses.first()
                && at <= now
            {
                self.lapses.pop_first();
                self.queue(customer, class).reload();
                self.settle_class(customer, class);
            } else if let Some(&(at, id)) = self.alarms.first()
                && at <= now
            {
                self.admit_anew(id);
            } else {
                return false;
            }
        }
        true
    }

    /// Places in the order of service. True when the step ended at a bound.
    fn place(&mut self, now: WallTime, budget: usize, placements: &mut Vec<Placement>) -> bool {
        let resumed = self.pass.take();
        let gains = resumed.map_or_else(|| self.workers.gains(), |(_, gains)| gains);
        let mut passed = resumed.map(|(share, _)| share);
        let mut examinations = EXAMINATIONS_MAX;
        while self.workers.has_room() {
            let behind = passed.map_or(Bound::Unbounded, Bound::Excluded);
            let Some(&share) = self.order.range((behind, Bound::Unbounded)).next() else {
                // What was gained behind a resumed pass is looked at from the front.
                return resumed.is_some() && gains != self.workers.gains();
            };
            if placements.len() >= budget {
                return true;
            }
            if examinations == 0 {
                self.pass = Some((share, gains));
                return true;
            }
            match self.place_one(share.customer, now, &mut examinations) {
                Some(placement) => placements.push(placement),
                None => passed = Some(share),
            }
        }
        false
    }

    /// Places the first workload of the customer that fits somewhere.
    fn place_one(
        &mut self,
        id: CustomerId,
        now: WallTime,
        examinations: &mut usize,
    ) -> Option<Placement> {
        let customer = self.customers.get_mut(&id)?;
        let revived = customer.revive(self.workers.gains());
        *examinations = examinations.saturating_sub(revived + 1);
        loop {
            let customer = self.customers.get_mut(&id)?;
            let &((_, workload), class) = customer.open.first()?;
            let entry = self.entries.get(&workload)?;
            if entry.eligible_at > now {
                // The database's clock was set back.
                self.admit_anew(workload);
                continue;
            }
            let requirement = self.requirements.current(entry.requirement, &self.workers);
            let neighbours = customer.neighbours(requirement);
            let Some(worker) = score::choose(&self.workers, requirement, id, neighbours) else {
                *examinations = examinations.saturating_sub(1);
                customer.block(class);
                continue;
            };
            let occupant = Occupant {
                id: workload,
                customer: id,
                workload_type: requirement.workload_type.clone(),
                affinity: Arc::clone(&requirement.rules),
            };
            self.turn = self.turn.max(customer.turn);
            let weight = customer.policy.map_or(1, |policy| policy.weight);
            customer.turn = fairness::next_turn(self.turn, weight);
            self.occupy(occupant, &worker);
            return Some(Placement {
                workload,
                customer: id,
                worker,
            });
        }
    }

    /// Asks for what low windows miss.
    fn ask(&mut self, refills: &mut Vec<Refill>) -> bool {
        while refills.len() < REFILLS_MAX {
            let Some((customer, class)) = self.low.pop_first() else {
                return false;
            };
            let after = self.queue(customer, class).ask();
            refills.push(Refill {
                customer,
                class,
                after,
            });
        }
        !self.low.is_empty()
    }

    fn queue(&mut self, customer: CustomerId, class: PlacementClass) -> &mut ClassQueue {
        let customer = self.customers.entry(customer).or_default();
        customer
            .classes
            .entry(class)
            .or_insert_with(ClassQueue::new)
    }

    /// Puts a workload into the window where it belongs, if it is good enough for it.
    fn admit(&mut self, mut entry: Entry) -> bool {
        let (customer, class, (_, id)) = (entry.customer, entry.class, entry.position);
        entry.timed = self.now.is_some_and(|now| entry.eligible_at > now);
        let capacity = self.window;
        let queue = self.queue(customer, class);
        let admission = if entry.timed {
            let admission = queue.timed.admit_loosely(entry.alarm(), capacity);
            admission.map(|(_, id)| id)
        } else {
            let admission = queue.ready.admit(entry.position, capacity);
            admission.map(|(_, id)| id)
        };
        let held = admission != Admission::Refused;
        let left_out = match admission {
            Admission::Held => None,
            Admission::Displaced(other) => self.forget(other),
            Admission::Refused => Some(entry.eligible_at),
        };
        if let Some(at) = left_out.filter(|_| entry.timed) {
            self.note_lapse(customer, class, at);
        }
        if held {
            self.expect_telling(&entry);
            if entry.timed {
                self.alarms.insert(entry.alarm());
            }
            self.entries.insert(id, entry);
        } else {
            self.requirements.leave(entry.requirement);
        }
        self.settle_class(customer, class);
        held
    }

    fn expect_telling(&mut self, entry: &Entry) {
        let (customer, class, (_, id)) = (entry.customer, entry.class, entry.position);
        if entry.timed {
            let reason = entry.time_reason();
            if !entry
                .told
                .is_some_and(|told| told.reason.is_same_record(&reason))
            {
                self.telling.timed.insert(id);
            }
        } else {
            self.queue(customer, class).note_untold(entry.position);
            self.telling.classes.insert((customer, class));
        }
    }

    /// Admits a held workload again, because its time has come, or was set back.
    fn admit_anew(&mut self, id: WorkloadId) {
        if let Some(entry) = self.take(id) {
            self.admit(entry);
        }
    }

    /// Takes a workload out of everything but the requirement that it uses.
    fn take(&mut self, id: WorkloadId) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        let queue = self.queue(entry.customer, entry.class);
        if entry.timed {
            queue.timed.remove(&entry.alarm());
            self.alarms.remove(&entry.alarm());
            self.telling.timed.remove(&id);
        } else {
            queue.ready.remove(&entry.position);
        }
        Some(entry)
    }

    fn remove(&mut self, id: WorkloadId) -> Option<Entry> {
        let entry = self.take(id)?;
        self.requirements.leave(entry.requirement);
        self.settle_class(entry.customer, entry.class);
        Some(entry)
    }

    /// Lets go of a workload that its window has given up.
    fn forget(&mut self, id: WorkloadId) -> Option<WallTime> {
        let entry = self.take(id)?;
        self.requirements.leave(entry.requirement);
        Some(entry.eligible_at)
    }

    /// A workload that is eligible from `at` on is not held. The clock of the last step may be
    /// behind the database's, so it may be eligible already, and nobody will offer it again.
    fn note_lapse(&mut self, customer: CustomerId, class: PlacementClass, at: WallTime) {
        let lapse = &mut self.queue(customer, class).lapse;
        let before = *lapse;
        if before.is_none_or(|before| at < before) {
            *lapse = Some(at);
            if let Some(before) = before {
                self.lapses.remove(&(before, customer, class));
            }
            self.lapses.insert((at, customer, class));
        }
    }

    /// Makes everything derived from a class agree with it.
    fn settle_class(&mut self, id: CustomerId, class: PlacementClass) {
        let Some(customer) = self.customers.get_mut(&id) else {
            return;
        };
        let queue = customer.classes.get(&class);
        if queue.is_some_and(|queue| queue.wants_refill(self.window)) {
            self.low.insert((id, class));
        } else {
            self.low.remove(&(id, class));
        }
        if queue.is_none_or(|queue| queue.ready.is_empty()) {
            self.telling.classes.remove(&(id, class));
        }
        customer.refresh(class);
        self.settle(id);
    }

    /// Puts the customer where it belongs in the order of service.
    fn settle(&mut self, id: CustomerId) {
        let Some(customer) = self.customers.get_mut(&id) else {
            return;
        };
        let mut share = customer.share(id);
        if customer.place.is_none() && share.is_some() {
            // Turns are not saved up while there is nothing to place.
            customer.turn = customer.turn.max(self.turn);
            share = customer.share(id);
        }
        let same = match (customer.place, share) {
            (Some(before), Some(after)) => before == after && before.weight == after.weight,
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !same {
            if let Some(before) = customer.place {
                self.order.remove(&before);
            }
            self.order.extend(share);
            customer.place = share;
        }
        if customer.is_void() {
            self.customers.remove(&id);
        }
    }
}
