//! The fixed scenario that speed is measured on, in every engine.

use super::{
    Affinity, Blow, CoordinatorPlan, CustomerPlan, Does, Errand, Job, Plan, Rates, Strike, Target,
    WorkerPlan,
    draw::{secs, types},
};
use crate::{
    clock::{Clock, Moment},
    worker::Profile,
};
use niyanta_core::{
    ids::{CustomerId, WorkerId},
    time::Duration,
    workload::OnLeaseLoss,
};

impl Plan {
    /// Three coordinators, five workers, thirty simulated seconds, a leader that dies half-way.
    #[must_use]
    pub fn fixed(seed: u64) -> Self {
        Self {
            seed,
            bug: None,
            coordinators: (0..3).map(|_| coordinator()).collect(),
            enable_ha: true,
            workers: (0..5).map(worker).collect(),
            customers: (1..=2).map(customer).collect(),
            types: types(),
            rates: Rates::default(),
            errands: (0..ERRANDS).map(errand).collect(),
            strikes: vec![Strike {
                at: Moment::default().plus(secs(14)),
                during: None,
                blow: Blow::CrashCoordinator {
                    who: Target::Leader,
                    down: secs(4),
                },
            }],
            operations: Vec::new(),
            database_drift_ppm: 0,
            heal_at: Moment::default().plus(secs(29)),
        }
    }
}

const fn clock() -> Clock {
    Clock {
        origin: 1_000_000_000,
        drift_ppm: 0,
    }
}

const fn coordinator() -> CoordinatorPlan {
    CoordinatorPlan {
        absent: false,
        clock: clock(),
        ttl: secs(3),
        heartbeat_timeout: secs(6),
        later_heartbeat_timeout: secs(6),
        dead_threshold: secs(9),
        interval: secs(1),
        batch_size: 100,
        window: 256,
        load_limit: 1_000,
        backoff_cap: secs(2),
        loss_limit: 3,
        lag: Duration::ZERO,
        speaks_newer: false,
    }
}

fn worker(place: u64) -> WorkerPlan {
    let worker: WorkerId = match format!("worker-{place}").parse() {
        Ok(worker) => worker,
        Err(invalid) => unreachable!("{invalid}"),
    };
    WorkerPlan {
        absent: false,
        profile: Profile {
            worker,
            capabilities: types().into_iter().collect(),
            capacity: 4,
            tags: std::collections::BTreeMap::new(),
        },
        clock: clock(),
        starts_at: Moment::default().plus(Duration::from_millis(100 * place)),
        remembers: true,
        speaks_newer: false,
    }
}

fn customer(id: u128) -> CustomerPlan {
    CustomerPlan {
        id: CustomerId(id),
        weight: 10,
        max_running: 100,
        max_queued: 1_000,
    }
}

/// A submission every three tenths of a second for the first ten seconds, so that the leader dies
/// with work under way; none may run for long, so that all have ended when the time is over.
fn errand(id: u16) -> Errand {
    let Some(workload_type) = types().into_iter().nth(usize::from(id % 3)) else {
        unreachable!("there are three types")
    };
    Errand {
        id,
        at: Moment::default().plus(secs(1) + Duration::from_millis(300) * u32::from(id)),
        customer: usize::from(id % 2),
        via: usize::from(id % 3),
        hangs_up_after: None,
        does: Does::Submit {
            job: Job {
                workload_type,
                affinity: Affinity::Anywhere,
                priority: 10,
                max_retries: 1,
                timeout: secs(6),
                on_lease_loss: OnLeaseLoss::Stop,
                run_after: None,
            },
            key: None,
            times: 1,
        },
    }
}

const ERRANDS: u16 = 30;
