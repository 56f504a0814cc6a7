//! Before and after: what the database holds at the start, and whether everything came to rest.

use super::scenario::{
    BACKOFF_CAP, MAX_QUEUED, MAX_RUNNING, RUN_LONGEST, SCHEDULER_INTERVAL, Scenario, customer_id,
};
use crate::{
    decision::{Rng, Streams},
    model::store::Store as Model,
    ports::{Checker, SimStore},
};
use futures::FutureExt as _;
use niyanta_core::{
    Config,
    time::{Duration, WallTime},
    workload::{Desired, OnLeaseLoss, Status},
};
use runtime::{
    ambient::Ambient,
    http::auth,
    store::{
        AdminActor, ConfigId, ConfigRecord, CustomerRecord, KeyRecord, LimitOverrides, Revision,
        Store, Tier,
    },
};
use serde_json::json;
use std::sync::{Mutex, PoisonError};

/// Makes customers with their types and keys, and an admin's key. Gives the secrets of each client,
/// and of the operator.
pub(super) fn furnish(scenario: &Scenario, store: &SimStore) -> (Vec<String>, String) {
    let streams = Streams::new(scenario.seed);
    let ambient = Entropy(Mutex::new(streams.stream("turmoil.keys", 0)));
    let mut secrets = Vec::new();
    for index in 0..scenario.clients {
        let record = CustomerRecord {
            id: customer_id(index),
            name: format!("customer {index}"),
            tier: Tier::Enterprise,
            overrides: LimitOverrides {
                max_concurrent_workloads: Some(MAX_RUNNING),
                max_queue_depth: Some(MAX_QUEUED),
                ..LimitOverrides::default()
            },
        };
        now(store.create_customer(&record, &AdminActor::CommandLine));
        for (number, name) in (0u128..).zip(super::handler::TYPES) {
            let Ok(workload_type) = name.parse() else {
                unreachable!("a valid type")
            };
            let config = ConfigRecord {
                id: ConfigId(1_000 + 10 * index as u128 + number),
                workload_type,
                description: None,
                config_json: json!({}),
                resource_limits: json!({}),
                checkpoint_interval_sec: 30,
                max_retries: 2,
                timeout_seconds: 60,
                on_lease_loss: OnLeaseLoss::Stop,
            };
            now(store.create_config(record.id, &config, Revision::ZERO));
        }
        secrets.push(key(store, &ambient, Some(index)));
    }
    let operator = key(store, &ambient, None);
    (secrets, operator)
}

fn key(store: &SimStore, ambient: &Entropy, of: Option<usize>) -> String {
    let key = auth::new_key_from(ambient);
    let record = KeyRecord {
        id: key.id,
        customer: of.map(customer_id),
        name: "first".to_owned(),
        prefix: key.prefix,
        secret_hash: key.secret_hash,
        expires_at: None,
    };
    now(store.create_key(&record, &AdminActor::CommandLine));
    key.secret.expose().to_owned()
}

/// The store answers at once.
fn now<T, E: std::fmt::Debug>(answer: impl Future<Output = Result<T, E>>) -> T {
    match answer.now_or_never() {
        Some(Ok(value)) => value,
        other => unreachable!(
            "the store of a simulation answers: {:?}",
            other.map(drop_ok)
        ),
    }
}

fn drop_ok<T, E>(answer: Result<T, E>) -> Option<E> {
    answer.err()
}

/// After healing: how long it took to come to rest, or nothing while it has not. Says so when the
/// bound has passed.
pub(super) fn look(
    scenario: &Scenario,
    checker: &Checker,
    since_heal: Duration,
) -> Option<Duration> {
    if since_heal < Duration::from_secs(1) || !since_heal.subsec_millis().is_multiple_of(250) {
        return None;
    }
    let (why_not, bound) = checker.look(|database| {
        let model = database.model();
        (why_not_settled(checker, model), bound(scenario, model))
    });
    match why_not {
        None => {
            checker.settled();
            Some(since_heal)
        }
        Some(why) if since_heal > bound => {
            checker.stuck(&why, bound);
            Some(since_heal)
        }
        Some(_) => None,
    }
}

/// Everything must have settled this long after healing.
fn bound(scenario: &Scenario, model: &Model) -> Duration {
    // An orphaned takeover may land once more; a deaf leader is given one more lease.
    let election = scenario.ttl * 6 + Duration::from_secs(12);
    let dead = Config::with_drift_margin(scenario.dead_threshold) + scenario.ttl * 2;
    let calls = scenario.statement_within * 8;
    let open = model
        .workloads()
        .filter(|found| !found.row.leader.status.is_terminal());
    // The slowest case is one slot for everything.
    let work: Duration = open
        .map(|found| (RUN_LONGEST + BACKOFF_CAP) * (found.row.max_retries + 2))
        .sum();
    election + dead * 2 + SCHEDULER_INTERVAL * 8 + calls + work
}

fn why_not_settled(checker: &Checker, model: &Model) -> Option<String> {
    let now = model.time(checker.now());
    let lease = model.lease();
    if lease.expires_at <= now || lease.resigned {
        return Some("nobody holds the lease".to_owned());
    }
    if checker.leader().is_none() {
        return Some(format!("{} holds the lease and is gone", lease.incarnation));
    }
    model.workloads().find_map(|found| {
        let row = &found.row;
        let id = row.id;
        if row.leader.status.is_terminal() {
            return None;
        }
        if row.leader.wish_seen != row.wish_revision {
            return Some(format!("{id}: its wish ({}) was not seen", row.desired));
        }
        match (row.leader.status, row.desired) {
            (Status::Paused, Desired::Pause) => None,
            (status, desired) => Some(format!("{id} is {status} and wished to {desired}")),
        }
    })
}

/// What keys are made of.
struct Entropy(Mutex<Rng>);

impl Ambient for Entropy {
    fn now(&self) -> WallTime {
        WallTime(0)
    }

    fn new_id(&self) -> u128 {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .wide_bits()
    }

    fn fill(&self, bytes: &mut [u8]) {
        let mut rng = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for byte in bytes {
            *byte = u8::try_from(rng.below(256)).unwrap_or(0);
        }
    }
}
