//! The scheduler by behaviour, and against an oracle that looks at everything.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod against_oracle;
mod behaviour;
mod windows;

use super::*;
use crate::ids::WorkloadType;
use alloc::{format, string::String};

const CUSTOMER: CustomerId = CustomerId(1);
const CLASS: PlacementClass = PlacementClass(7);

fn kind(name: &str) -> WorkloadType {
    name.parse().unwrap()
}

fn worker_id(name: &str) -> WorkerId {
    name.parse().unwrap()
}

fn tags(pairs: &[(&str, &str)]) -> Tags {
    pairs
        .iter()
        .map(|(name, value)| (Arc::from(*name), Arc::from(*value)))
        .collect()
}

fn worker(types: &[&str], capacity: u32, labels: &[(&str, &str)]) -> WorkerView {
    WorkerView {
        capabilities: types.iter().map(|name| kind(name)).collect(),
        capacity,
        tags: tags(labels),
    }
}

fn waiting(id: u128) -> Waiting {
    let eligible_at = WallTime(i64::try_from(id).unwrap());
    Waiting {
        id: WorkloadId(id),
        customer: CUSTOMER,
        class: CLASS,
        key: SortKey::new(eligible_at, 0),
        eligible_at,
        waits_for: WaitsFor::RunAfter,
        workload_type: kind("a"),
        affinity: Arc::default(),
    }
}

fn policy(weight: u32, max_running: u32) -> CustomerPolicy {
    CustomerPolicy {
        weight,
        max_running,
    }
}

fn scheduler() -> Scheduler {
    let mut scheduler = Scheduler::new(1_000);
    scheduler.set_customer(CUSTOMER, policy(1, 1_000));
    scheduler
}

const LATE: WallTime = WallTime(1 << 40);

/// Plans until nothing is left to do; what was placed, as text.
fn placed(scheduler: &mut Scheduler, budget: usize) -> Vec<String> {
    let plan = scheduler.plan(LATE, budget);
    scheduler.check_consistency().unwrap();
    let placements = plan.placements.iter();
    placements
        .map(|placement| format!("{}>{}", placement.workload.0, placement.worker))
        .collect()
}
