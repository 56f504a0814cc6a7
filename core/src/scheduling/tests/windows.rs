use super::*;
use proptest::prelude::*;

/// Rows of one class that wait in a database.
#[derive(Debug, Default)]
struct Backlog {
    rows: BTreeMap<(SortKey, WorkloadId), Waiting>,
}

impl Backlog {
    fn submit(&mut self, scheduler: &mut Scheduler, waiting: Waiting) {
        self.rows.insert((waiting.key, waiting.id), waiting.clone());
        scheduler.offer(waiting);
    }

    fn answer(&self, scheduler: &mut Scheduler, refill: &Refill, now: WallTime, limit: usize) {
        let behind = refill.after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self
            .rows
            .range((behind, Bound::Unbounded))
            .map(|(_, row)| row.clone());
        let mut rows = rows.filter(|row| row.eligible_at <= now);
        for row in rows.by_ref().take(limit) {
            scheduler.offer(row);
        }
        scheduler.note_refilled(refill.customer, refill.class, rows.next().is_none());
    }

    /// Offers what became eligible since a moment, as the coordinator does from time to time.
    fn offer_eligible(&self, scheduler: &mut Scheduler, after: WallTime, until: WallTime) {
        for row in self.rows.values() {
            if row.eligible_at > after && row.eligible_at <= until {
                scheduler.offer(row.clone());
            }
        }
    }

    fn drop_placed(&mut self, plan: &Plan) {
        let placed: BTreeSet<_> = plan.placements.iter().map(|p| p.workload).collect();
        self.rows.retain(|(_, id), _| !placed.contains(id));
    }
}

#[test]
fn a_window_keeps_the_best_and_asks_for_the_rest_in_turn() {
    let mut scheduler = Scheduler::new(8);
    scheduler.set_customer(CUSTOMER, policy(1, 1_000));
    let mut backlog = Backlog::default();
    for id in (1..=30).rev() {
        backlog.submit(&mut scheduler, waiting(id));
    }
    assert_eq!(scheduler.held(), 8);
    assert!(scheduler.holds(WorkloadId(1)) && !scheduler.holds(WorkloadId(9)));
    assert!(!scheduler.offer(waiting(31)));
    assert_eq!(scheduler.plan(LATE, 10).refills, []);
    scheduler.set_worker(worker_id("w"), worker(&["a"], 7, &[]), true);
    let plan = scheduler.plan(LATE, 10);
    let after = Some((SortKey(9), WorkloadId(8)));
    assert_eq!(
        plan.refills,
        [Refill {
            customer: CUSTOMER,
            class: CLASS,
            after
        }]
    );
    assert_eq!(scheduler.plan(LATE, 10).refills, [], "asked once");
    backlog.drop_placed(&plan);
    backlog.answer(&mut scheduler, &plan.refills[0], LATE, 8);
    scheduler.check_consistency().unwrap();
    assert_eq!(scheduler.held(), 8);
    assert!(scheduler.holds(WorkloadId(15)) && !scheduler.holds(WorkloadId(16)));
}

#[derive(Debug, Clone)]
enum Step {
    Submit { priority: u16, delay: i64 },
    Plan { budget: usize },
    Answer,
    Vacate,
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u16..3, prop_oneof![Just(0), 0_i64..400]).prop_map(|(priority, delay)| {
            Step::Submit { priority, delay: delay * 1_000_000 }
        }),
        3 => (0_usize..4).prop_map(|budget| Step::Plan { budget }),
        3 => Just(Step::Answer),
        3 => Just(Step::Vacate),
        1 => (0_i64..60).prop_map(|seconds| Step::Wait(seconds * 1_000_000)),
    ]
}

struct Run {
    scheduler: Scheduler,
    backlog: Backlog,
    asked: Vec<Refill>,
    running: Vec<WorkloadId>,
    now: WallTime,
    next_id: u128,
    window: usize,
}

impl Run {
    fn take(&mut self, step: &Step) {
        match *step {
            Step::Submit { priority, delay } => {
                self.next_id += 1;
                let eligible_at = WallTime(self.now.0 + delay);
                let key = SortKey::new(eligible_at, priority);
                let row = Waiting {
                    key,
                    eligible_at,
                    ..waiting(self.next_id)
                };
                self.backlog.submit(&mut self.scheduler, row);
            }
            Step::Plan { budget } => {
                let plan = self.scheduler.plan(self.now, budget);
                self.backlog.drop_placed(&plan);
                self.asked.extend(plan.refills);
                self.running
                    .extend(plan.placements.iter().map(|p| p.workload));
            }
            Step::Answer if self.asked.is_empty() => {}
            Step::Answer => {
                let refill = self.asked.remove(0);
                self.backlog
                    .answer(&mut self.scheduler, &refill, self.now, self.window);
            }
            Step::Vacate => {
                if let Some(id) = self.running.pop() {
                    self.scheduler.vacate(id);
                }
            }
            Step::Wait(micros) => {
                let before = self.now;
                self.now.0 += micros;
                self.backlog
                    .offer_eligible(&mut self.scheduler, before, self.now);
            }
        }
        self.scheduler.check_consistency().unwrap();
    }
}

proptest! {
    /// However windows fill, overflow and are refilled, everything is placed in the end, each
    /// once, and memory stays bounded.
    #[test]
    fn nothing_is_lost_behind_a_window(
        window in 1_usize..6,
        steps in proptest::collection::vec(step(), 0..120),
    ) {
        let mut run = Run {
            scheduler: Scheduler::new(window),
            backlog: Backlog::default(),
            asked: Vec::new(),
            running: Vec::new(),
            now: WallTime(1),
            next_id: 0,
            window,
        };
        run.scheduler.set_customer(CUSTOMER, policy(1, 1_000));
        run.scheduler.set_worker(worker_id("w"), worker(&["a"], 2, &[]), true);
        for step in &steps {
            run.take(step);
            prop_assert!(run.scheduler.held() <= 2 * window);
        }
        let bound = 20 * (steps.len() + 10);
        for _ in 0..bound {
            for step in [Step::Vacate, Step::Plan { budget: 1 }, Step::Answer, Step::Wait(60_000_000)] {
                run.take(&step);
            }
        }
        prop_assert_eq!(run.backlog.rows.len(), 0);
    }
}
