//! A second scheduler that looks at every workload and every worker for each decision.

use super::*;
use proptest::prelude::*;

#[derive(Debug, Default)]
struct Oracle {
    customers: BTreeMap<CustomerId, CustomerPolicy>,
    waiting: BTreeMap<WorkloadId, Waiting>,
    workers: BTreeMap<WorkerId, (WorkerView, bool)>,
    running: BTreeMap<WorkloadId, (Waiting, WorkerId)>,
}

fn meets(id: &WorkerId, view: &WorkerView, wanted: &WorkerAffinity) -> bool {
    wanted.worker_id.as_ref().is_none_or(|wanted| wanted == id)
        && wanted
            .worker_tags
            .iter()
            .all(|(name, value)| view.tags.get(name) == Some(value))
}

impl Oracle {
    fn used(&self, id: &WorkerId) -> u32 {
        u32::try_from(self.running.values().filter(|(_, on)| on == id).count()).unwrap()
    }

    fn open(&self, customer: CustomerId) -> u32 {
        let of = self
            .running
            .values()
            .filter(|(workload, _)| workload.customer == customer);
        u32::try_from(of.count()).unwrap()
    }

    fn capable(&self, workload: &Waiting) -> Vec<(&WorkerId, &WorkerView)> {
        let workers = self.workers.iter().filter(|(_, (_, placeable))| *placeable);
        let workers = workers.map(|(id, (view, _))| (id, view));
        workers
            .filter(|(_, view)| view.capabilities.contains(&workload.workload_type))
            .collect()
    }

    fn fitting(&self, workload: &Waiting) -> Vec<(&WorkerId, &WorkerView)> {
        let mut workers = self.capable(workload);
        workers.retain(|(id, view)| meets(id, view, &workload.affinity.hard));
        workers
    }

    fn with_room(&self, workload: &Waiting) -> Vec<(&WorkerId, &WorkerView)> {
        let mut workers = self.fitting(workload);
        workers.retain(|(id, view)| self.used(id) < view.capacity);
        workers
    }

    fn is_agreeable(&self, workload: &Waiting, id: &WorkerId, view: &WorkerView) -> bool {
        let anti = &workload.affinity.anti;
        let avoided = WorkerAffinity {
            worker_id: None,
            worker_tags: anti.worker_tags.clone(),
        };
        if !anti.worker_tags.is_empty() && meets(id, view, &avoided) {
            return false;
        }
        let mut beside = self
            .running
            .values()
            .filter(|(other, on)| on == id && other.customer == workload.customer);
        beside.all(|(other, _)| {
            !anti.workload_types.contains(&other.workload_type)
                && !other
                    .affinity
                    .anti
                    .workload_types
                    .contains(&workload.workload_type)
        })
    }

    fn best_worker(&self, workload: &Waiting) -> Option<WorkerId> {
        let mut workers = self.with_room(workload);
        workers.retain(|(id, view)| self.is_agreeable(workload, id, view));
        let best = workers.into_iter().min_by(|(a, x), (b, y)| {
            let soft = &workload.affinity.soft;
            let (wished_a, wished_b) = (meets(a, x, soft), meets(b, y, soft));
            let load_a = u64::from(self.used(a)) * u64::from(y.capacity);
            let load_b = u64::from(self.used(b)) * u64::from(x.capacity);
            wished_b
                .cmp(&wished_a)
                .then(load_a.cmp(&load_b))
                .then(a.cmp(b))
        });
        best.map(|(id, _)| id.clone())
    }

    fn is_placeable(&self, workload: &Waiting, now: WallTime) -> bool {
        let policy = self.customers[&workload.customer];
        workload.eligible_at <= now
            && self.open(workload.customer) < policy.max_running
            && self.best_worker(workload).is_some()
    }

    fn placeable(&self, now: WallTime) -> impl Iterator<Item = &Waiting> {
        self.waiting
            .values()
            .filter(move |workload| self.is_placeable(workload, now))
    }

    fn reason(&self, workload: &Waiting, now: WallTime) -> Option<PendingReason> {
        let until = workload.eligible_at;
        if until > now {
            return Some(match workload.waits_for {
                WaitsFor::RunAfter => PendingReason::RunAfter { until },
                WaitsFor::RetryBackoff => PendingReason::RetryBackoff { until },
            });
        }
        let limit = self.customers[&workload.customer].max_running;
        let running = self.open(workload.customer);
        if running >= limit {
            return Some(PendingReason::CustomerLimit { running, limit });
        }
        let count = |workers: Vec<_>| u32::try_from(workers.len()).unwrap();
        let placeable = self
            .workers
            .values()
            .filter(|(_, placeable)| *placeable)
            .count();
        let typed = count(self.capable(workload));
        let capable = count(self.fitting(workload));
        if typed == 0 {
            return Some(PendingReason::NoCapableWorker {
                workers: placeable.try_into().unwrap(),
            });
        }
        if capable == 0 {
            return Some(PendingReason::Affinity { capable: typed });
        }
        if self.with_room(workload).is_empty() {
            return Some(PendingReason::NoCapacity { capable });
        }
        let unplaceable = self.best_worker(workload).is_none();
        unplaceable.then_some(PendingReason::AntiAffinity { capable })
    }

    /// Checks that this placement is the right next one, and does it.
    fn follow(&mut self, placement: &Placement, now: WallTime) {
        let workload = self.waiting.remove(&placement.workload).expect("it waits");
        self.waiting.insert(workload.id, workload.clone());
        assert!(self.is_placeable(&workload, now));
        assert_eq!(
            self.best_worker(&workload).as_ref(),
            Some(&placement.worker)
        );
        let share = |customer| {
            let weight = self.customers[&customer].weight.max(1);
            (u64::from(self.open(customer)), u64::from(weight))
        };
        let (mine, my_weight) = share(workload.customer);
        for other in self.placeable(now) {
            let (theirs, their_weight) = share(other.customer);
            assert!(
                mine * their_weight <= theirs * my_weight,
                "a customer with less was passed"
            );
            if other.customer == workload.customer {
                assert!(
                    (workload.key, workload.id) <= (other.key, other.id),
                    "out of order"
                );
            }
        }
        self.waiting.remove(&workload.id);
        self.running
            .insert(workload.id, (workload, placement.worker.clone()));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Offer {
        customer: u128,
        shape: usize,
        age: i64,
        priority: u16,
        backoff: bool,
    },
    Withdraw(usize),
    Worker {
        name: u8,
        view: usize,
        capacity: u32,
        placeable: bool,
    },
    Placeable {
        name: u8,
        placeable: bool,
    },
    Remove(u8),
    Vacate(usize),
    Limit {
        customer: u128,
        weight: u32,
        max_running: u32,
    },
    Plan {
        budget: usize,
    },
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    let customer = || 0_u128..3;
    let offer = (
        customer(),
        0..shapes().len(),
        -5_i64..4,
        0_u16..3,
        any::<bool>(),
    );
    let weight = prop_oneof![Just(0_u32), Just(1), Just(3), Just(u32::MAX)];
    prop_oneof![
        8 => offer.prop_map(|(customer, shape, age, priority, backoff)| {
            Step::Offer { customer, shape, age, priority, backoff }
        }),
        1 => any::<usize>().prop_map(Step::Withdraw),
        3 => (0_u8..4, 0..views().len(), 1_u32..4, any::<bool>()).prop_map(
            |(name, view, capacity, placeable)| Step::Worker { name, view, capacity, placeable },
        ),
        1 => (0_u8..4, any::<bool>())
            .prop_map(|(name, placeable)| Step::Placeable { name, placeable }),
        1 => (0_u8..4).prop_map(Step::Remove),
        3 => any::<usize>().prop_map(Step::Vacate),
        1 => (customer(), weight, 0_u32..6).prop_map(|(customer, weight, max_running)| {
            Step::Limit { customer, weight, max_running }
        }),
        4 => (0_usize..6).prop_map(|budget| Step::Plan { budget }),
        1 => Just(Step::Wait),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn shapes() -> Vec<(&'static str, AffinityRules)> {
    let tagged = |pairs: &[_]| WorkerAffinity {
        worker_id: None,
        worker_tags: tags(pairs),
    };
    let named = |name| WorkerAffinity {
        worker_id: Some(worker_id(name)),
        worker_tags: Tags::new(),
    };
    let anti = |types: &[&str], pairs: &[_]| AntiAffinity {
        workload_types: types.iter().map(|name| kind(name)).collect(),
        worker_tags: tags(pairs),
    };
    let rules = AffinityRules::default;
    alloc::vec![
        ("a", rules()),
        ("b", rules()),
        (
            "a",
            AffinityRules {
                hard: tagged(&[("z", "1")]),
                ..rules()
            }
        ),
        (
            "a",
            AffinityRules {
                hard: named("w1"),
                ..rules()
            }
        ),
        (
            "b",
            AffinityRules {
                soft: tagged(&[("z", "2")]),
                ..rules()
            }
        ),
        (
            "a",
            AffinityRules {
                soft: named("w2"),
                ..rules()
            }
        ),
        (
            "a",
            AffinityRules {
                anti: anti(&["a"], &[]),
                ..rules()
            }
        ),
        (
            "b",
            AffinityRules {
                anti: anti(&["a"], &[]),
                soft: tagged(&[("z", "1")]),
                ..rules()
            }
        ),
        (
            "b",
            AffinityRules {
                anti: anti(&[], &[("z", "1")]),
                ..rules()
            }
        ),
        (
            "a",
            AffinityRules {
                hard: named("w1"),
                anti: anti(&["b"], &[("g", "1")]),
                ..rules()
            }
        ),
    ]
}

fn views() -> Vec<WorkerView> {
    alloc::vec![
        worker(&["a"], 1, &[]),
        worker(&["a", "b"], 1, &[]),
        worker(&["a", "b"], 1, &[("z", "1")]),
        worker(&["a", "b"], 1, &[("z", "2"), ("g", "1")]),
        worker(&["b"], 1, &[("z", "1")]),
    ]
}

struct Both {
    scheduler: Scheduler,
    oracle: Oracle,
    now: WallTime,
    next_id: u128,
}

impl Both {
    fn new() -> Self {
        let mut scheduler = Scheduler::new(1_000);
        let mut oracle = Oracle::default();
        for id in 0..3 {
            let policy = policy(u32::try_from(id).unwrap() + 1, 4);
            scheduler.set_customer(CustomerId(id), policy);
            oracle.customers.insert(CustomerId(id), policy);
        }
        Self {
            scheduler,
            oracle,
            now: WallTime(100),
            next_id: 0,
        }
    }

    #[expect(
        clippy::too_many_lines,
        reason = "each step is done to both, side by side"
    )]
    fn take(&mut self, step: Step) {
        let Self {
            scheduler, oracle, ..
        } = self;
        match step {
            Step::Offer {
                customer,
                shape,
                age,
                priority,
                backoff,
            } => {
                self.next_id += 1;
                let (name, rules) = shapes().swap_remove(shape);
                let eligible_at = WallTime(self.now.0 + age);
                let workload = Waiting {
                    id: WorkloadId(self.next_id),
                    customer: CustomerId(customer),
                    class: PlacementClass(i64::try_from(shape).unwrap()),
                    key: SortKey::new(eligible_at, priority),
                    eligible_at,
                    waits_for: if backoff {
                        WaitsFor::RetryBackoff
                    } else {
                        WaitsFor::RunAfter
                    },
                    workload_type: kind(name),
                    affinity: Arc::new(rules),
                };
                assert!(scheduler.offer(workload.clone()));
                oracle.waiting.insert(workload.id, workload);
            }
            Step::Withdraw(index) => {
                let count = oracle.waiting.len().max(1);
                if let Some(&id) = oracle.waiting.keys().nth(index % count) {
                    assert!(scheduler.withdraw(id));
                    oracle.waiting.remove(&id);
                }
            }
            Step::Worker {
                name,
                view,
                capacity,
                placeable,
            } => {
                let id = worker_id(&format!("w{name}"));
                let view = WorkerView {
                    capacity,
                    ..views().swap_remove(view)
                };
                scheduler.set_worker(id.clone(), view.clone(), placeable);
                oracle.workers.insert(id, (view, placeable));
            }
            Step::Placeable { name, placeable } => {
                let id = worker_id(&format!("w{name}"));
                scheduler.set_placeable(&id, placeable);
                if let Some((_, before)) = oracle.workers.get_mut(&id) {
                    *before = placeable;
                }
            }
            Step::Remove(name) => {
                let id = worker_id(&format!("w{name}"));
                scheduler.remove_worker(&id);
                oracle.workers.remove(&id);
            }
            Step::Vacate(index) => {
                let count = oracle.running.len().max(1);
                if let Some(&id) = oracle.running.keys().nth(index % count) {
                    scheduler.vacate(id);
                    oracle.running.remove(&id);
                }
            }
            Step::Limit {
                customer,
                weight,
                max_running,
            } => {
                let policy = policy(weight, max_running);
                scheduler.set_customer(CustomerId(customer), policy);
                oracle.customers.insert(CustomerId(customer), policy);
            }
            Step::Wait => self.now.0 += 2,
            Step::Plan { budget } => self.plan(budget),
        }
        self.compare();
    }

    fn plan(&mut self, budget: usize) {
        let Self {
            scheduler,
            oracle,
            now,
            ..
        } = self;
        let plan = scheduler.plan(*now, budget);
        assert!(plan.placements.len() <= budget);
        for placement in &plan.placements {
            oracle.follow(placement, *now);
        }
        if plan.placements.len() < budget {
            assert_eq!(
                oracle.placeable(*now).next(),
                None,
                "left waiting while there is room"
            );
        }
        for (id, reason) in &plan.reasons {
            assert_eq!(
                oracle.reason(&oracle.waiting[id], *now).as_ref(),
                Some(reason)
            );
        }
        let due = oracle.waiting.values().map(|workload| workload.eligible_at);
        assert_eq!(plan.next_eligible, due.filter(|at| at > now).min());
    }

    fn compare(&self) {
        let Self {
            scheduler,
            oracle,
            now,
            ..
        } = self;
        scheduler.check_consistency().unwrap();
        assert_eq!(scheduler.held(), oracle.waiting.len());
        for workload in oracle.waiting.values() {
            assert_eq!(
                scheduler.explain(workload.id, *now),
                oracle.reason(workload, *now)
            );
        }
        for id in oracle.workers.keys() {
            assert_eq!(scheduler.used(id), oracle.used(id));
        }
        for id in oracle.customers.keys() {
            assert_eq!(scheduler.running(*id), oracle.open(*id));
        }
    }
}

proptest! {
    #[test]
    fn every_decision_is_the_one_of_an_oracle_that_looks_at_everything(
        steps in proptest::collection::vec(step(), 0..80),
    ) {
        let mut both = Both::new();
        for step in steps {
            both.take(step);
        }
        both.take(Step::Plan { budget: 1_000 });
    }
}
