use super::*;
use alloc::vec;

#[test]
fn equal_priority_is_first_in_first_out() {
    let mut scheduler = scheduler();
    scheduler.set_worker(worker_id("w"), worker(&["a"], 2, &[]), true);
    for id in [3, 1, 2] {
        assert!(scheduler.offer(waiting(id)));
    }
    assert_eq!(placed(&mut scheduler, 10), ["1>w", "2>w"]);
}

#[test]
fn priority_is_worth_a_minute_of_waiting_a_step() {
    let minute = 60_000_000;
    assert_eq!(
        SortKey::new(WallTime(minute), 1),
        SortKey::new(WallTime(0), 0)
    );
    assert_eq!(
        SortKey::new(WallTime(i64::MIN), u16::MAX),
        SortKey(i64::MIN)
    );
}

#[test]
fn an_unplaceable_class_hides_nothing() {
    let mut scheduler = scheduler();
    scheduler.set_worker(worker_id("w"), worker(&["a"], 1, &[]), true);
    let mut unplaceable = waiting(1);
    unplaceable.workload_type = kind("b");
    unplaceable.class = PlacementClass(8);
    scheduler.offer(unplaceable);
    scheduler.offer(waiting(2));
    assert_eq!(placed(&mut scheduler, 10), ["2>w"]);
    let reason = scheduler.explain(WorkloadId(1), LATE);
    assert_eq!(reason, Some(PendingReason::NoCapableWorker { workers: 1 }));
}

#[test]
fn slots_are_shared_by_weight() {
    let mut scheduler = scheduler();
    let heavy = CustomerId(2);
    scheduler.set_customer(heavy, policy(3, 1_000));
    scheduler.set_worker(worker_id("w"), worker(&["a"], 8, &[]), true);
    for id in 1..=20 {
        let customer = if id % 2 == 0 { heavy } else { CUSTOMER };
        scheduler.offer(Waiting {
            customer,
            ..waiting(id)
        });
    }
    scheduler.plan(LATE, 100);
    assert_eq!(
        (scheduler.running(CUSTOMER), scheduler.running(heavy)),
        (2, 6)
    );
}

#[test]
fn one_slot_is_shared_in_turns_that_follow_the_weights() {
    let mut scheduler = scheduler();
    let heavy = CustomerId(2);
    scheduler.set_customer(heavy, policy(4, 1_000));
    scheduler.set_worker(worker_id("w"), worker(&["a"], 1, &[]), true);
    for id in 1..=200 {
        let customer = if id % 2 == 0 { heavy } else { CUSTOMER };
        scheduler.offer(Waiting {
            customer,
            ..waiting(id)
        });
    }
    let mut light = 0;
    for _ in 0..50 {
        let plan = scheduler.plan(LATE, 100);
        light += u32::from(plan.placements[0].customer == CUSTOMER);
        scheduler.vacate(plan.placements[0].workload);
    }
    assert_eq!(light, 10);
}

#[test]
fn a_huge_weight_leaves_everybody_a_slot() {
    let mut scheduler = scheduler();
    let heavy = CustomerId(0);
    scheduler.set_customer(heavy, policy(u32::MAX, 1_000));
    scheduler.set_worker(worker_id("w"), worker(&["a"], 4, &[]), true);
    for id in 1..=20 {
        let customer = if id > 2 { heavy } else { CUSTOMER };
        scheduler.offer(Waiting {
            customer,
            ..waiting(id)
        });
    }
    scheduler.plan(LATE, 100);
    assert_eq!(
        (scheduler.running(CUSTOMER), scheduler.running(heavy)),
        (1, 3)
    );
}

#[test]
fn turns_are_not_saved_up_while_nothing_fits() {
    let mut scheduler = scheduler();
    let patient = CustomerId(0);
    scheduler.set_customer(patient, policy(1, 1_000));
    scheduler.set_worker(worker_id("w"), worker(&["a"], 1, &[]), true);
    for id in 1..=100 {
        scheduler.offer(waiting(id));
        let other = waiting(1_000 + id);
        scheduler.offer(Waiting {
            customer: patient,
            workload_type: kind("b"),
            ..other
        });
    }
    for _ in 0..50 {
        let plan = scheduler.plan(LATE, 1);
        scheduler.vacate(plan.placements[0].workload);
    }
    scheduler.set_worker(worker_id("w"), worker(&["a", "b"], 1, &[]), true);
    let mut turns = vec![];
    for _ in 0..6 {
        let plan = scheduler.plan(LATE, 1);
        turns.push(plan.placements[0].customer.0);
        scheduler.vacate(plan.placements[0].workload);
    }
    assert_eq!(turns, [0, 0, 1, 0, 1, 0], "one turn ahead, no more");
}

#[test]
fn a_limit_holds_and_says_so() {
    let mut scheduler = scheduler();
    scheduler.set_customer(CUSTOMER, policy(1, 1));
    scheduler.set_worker(worker_id("w"), worker(&["a"], 8, &[]), true);
    scheduler.offer(waiting(1));
    scheduler.offer(waiting(2));
    let plan = scheduler.plan(LATE, 10);
    assert_eq!(plan.placements.len(), 1);
    let reason = PendingReason::CustomerLimit {
        running: 1,
        limit: 1,
    };
    assert_eq!(plan.reasons, [(WorkloadId(2), reason)]);
    scheduler.set_customer(CUSTOMER, policy(1, 2));
    assert_eq!(placed(&mut scheduler, 10), ["2>w"]);
}

#[test]
fn nothing_goes_to_a_worker_that_is_not_placeable() {
    let mut scheduler = scheduler();
    scheduler.set_worker(worker_id("w"), worker(&["a"], 1, &[]), false);
    scheduler.offer(waiting(1));
    assert!(placed(&mut scheduler, 10).is_empty());
    scheduler.set_placeable(&worker_id("w"), true);
    assert_eq!(placed(&mut scheduler, 10), ["1>w"]);
}

#[test]
fn capacity_counts_what_ran_there_before_the_worker_was_known() {
    let mut scheduler = scheduler();
    let occupant = |id| Occupant {
        id: WorkloadId(id),
        customer: CUSTOMER,
        workload_type: kind("a"),
        affinity: Arc::default(),
    };
    scheduler.occupy(occupant(1), &worker_id("w"));
    scheduler.occupy(occupant(2), &worker_id("w"));
    scheduler.set_worker(worker_id("w"), worker(&["a"], 1, &[]), true);
    scheduler.offer(waiting(3));
    assert!(placed(&mut scheduler, 10).is_empty());
    scheduler.remove_worker(&worker_id("w"));
    assert_eq!(
        (scheduler.running(CUSTOMER), scheduler.used(&worker_id("w"))),
        (2, 2)
    );
    scheduler.set_worker(worker_id("w"), worker(&["a"], 3, &[]), true);
    assert_eq!(placed(&mut scheduler, 10), ["3>w"]);
    for id in 1..=3 {
        scheduler.vacate(WorkloadId(id));
    }
    assert_eq!(
        (scheduler.running(CUSTOMER), scheduler.used(&worker_id("w"))),
        (0, 0)
    );
}

#[test]
fn anti_affinity_holds_in_both_directions() {
    let loner = AffinityRules {
        anti: AntiAffinity {
            workload_types: [kind("a")].into(),
            ..AntiAffinity::default()
        },
        ..AffinityRules::default()
    };
    let loner = |id| Waiting {
        workload_type: kind("b"),
        class: PlacementClass(8),
        affinity: Arc::new(loner.clone()),
        ..waiting(id)
    };
    for order in [[1, 2], [2, 1]] {
        let mut scheduler = scheduler();
        scheduler.set_worker(worker_id("w"), worker(&["a", "b"], 4, &[]), true);
        let other = CustomerId(2);
        scheduler.set_customer(other, policy(1, 10));
        scheduler.offer(waiting(order[0]));
        scheduler.offer(loner(order[1]));
        scheduler.offer(Waiting {
            customer: other,
            ..waiting(3)
        });
        assert_eq!(placed(&mut scheduler, 10), ["1>w", "3>w"]);
        let reason = scheduler.explain(WorkloadId(2), LATE);
        assert_eq!(reason, Some(PendingReason::AntiAffinity { capable: 1 }));
        scheduler.vacate(WorkloadId(1));
        assert_eq!(placed(&mut scheduler, 10), ["2>w"]);
    }
}

#[test]
fn soft_affinity_then_the_least_loaded_then_the_lowest_id() {
    let mut scheduler = scheduler();
    scheduler.set_worker(worker_id("w3"), worker(&["a"], 2, &[("disk", "ssd")]), true);
    scheduler.set_worker(worker_id("w2"), worker(&["a"], 4, &[]), true);
    scheduler.set_worker(worker_id("w1"), worker(&["a"], 2, &[]), true);
    let soft = WorkerAffinity {
        worker_id: None,
        worker_tags: tags(&[("disk", "ssd")]),
    };
    let affinity = Arc::new(AffinityRules {
        soft,
        ..AffinityRules::default()
    });
    for id in 1..=3 {
        let class = PlacementClass(8);
        scheduler.offer(Waiting {
            affinity: Arc::clone(&affinity),
            class,
            ..waiting(id)
        });
    }
    assert_eq!(placed(&mut scheduler, 10), ["1>w3", "2>w3", "3>w1"]);
    scheduler.offer(waiting(4));
    scheduler.offer(waiting(5));
    assert_eq!(placed(&mut scheduler, 10), ["4>w2", "5>w2"]);
}

#[test]
fn what_waits_for_its_time_is_not_placed_and_hides_nothing() {
    let mut scheduler = scheduler();
    scheduler.set_worker(worker_id("w"), worker(&["a"], 4, &[]), true);
    let until = WallTime(50);
    scheduler.offer(Waiting {
        eligible_at: until,
        ..waiting(1)
    });
    scheduler.offer(waiting(2));
    let plan = scheduler.plan(WallTime(10), 10);
    assert_eq!(plan.placements.len(), 1);
    assert_eq!(plan.next_eligible, Some(until));
    assert_eq!(
        plan.reasons,
        [(WorkloadId(1), PendingReason::RunAfter { until })]
    );
    let plan = scheduler.plan(until, 10);
    assert_eq!(plan.placements[0].workload, WorkloadId(1));
}

#[test]
fn a_reason_is_given_once_until_it_changes() {
    let mut scheduler = scheduler();
    scheduler.offer(waiting(1));
    let none = PendingReason::NoCapableWorker { workers: 0 };
    assert_eq!(scheduler.plan(LATE, 10).reasons, [(WorkloadId(1), none)]);
    assert_eq!(scheduler.plan(LATE, 10).reasons, []);
    scheduler.set_worker(worker_id("w"), worker(&["b"], 1, &[]), true);
    assert_eq!(
        scheduler.plan(LATE, 10).reasons,
        [],
        "a count alone is not recorded"
    );
    let occupant = Occupant {
        id: WorkloadId(9),
        customer: CUSTOMER,
        workload_type: kind("a"),
        affinity: Arc::default(),
    };
    scheduler.occupy(occupant, &worker_id("v"));
    scheduler.set_worker(worker_id("v"), worker(&["a"], 1, &[]), true);
    let full = PendingReason::NoCapacity { capable: 1 };
    let plans = (0..3).map(|_| scheduler.plan(LATE, 10).reasons);
    let given: Vec<_> = plans.flatten().collect();
    assert_eq!(given, [(WorkloadId(1), full)]);
    scheduler.offer(waiting(2));
    assert_eq!(scheduler.plan(LATE, 10).reasons, [(WorkloadId(2), full)]);
}

#[test]
fn reasons_come_in_bounded_parts() {
    let mut scheduler = Scheduler::new(10_000);
    scheduler.set_customer(CUSTOMER, policy(1, 1));
    for id in 1..=2_000 {
        scheduler.offer(waiting(id));
    }
    let mut given = BTreeSet::new();
    let mut steps = 0;
    loop {
        let plan = scheduler.plan(LATE, 10);
        scheduler.check_consistency().unwrap();
        assert!(plan.reasons.len() <= 512);
        given.extend(plan.reasons.iter().map(|(id, _)| *id));
        steps += 1;
        if !plan.more {
            break;
        }
    }
    assert_eq!((given.len(), steps), (2_000, 4));
}

#[test]
fn a_customer_without_a_policy_waits() {
    let mut scheduler = Scheduler::new(10);
    scheduler.set_worker(worker_id("w"), worker(&["a"], 4, &[]), true);
    scheduler.offer(waiting(1));
    let plan = scheduler.plan(LATE, 10);
    assert_eq!(plan, Plan::default());
    scheduler.set_customer(CUSTOMER, policy(1, 1));
    assert_eq!(placed(&mut scheduler, 10), ["1>w"]);
}
