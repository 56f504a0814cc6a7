//! Before and after: what the database holds at the start, and whether everything came to rest.

use super::{
    BACKOFF_CAP, MAX_QUEUED, MAX_RUNNING, RUN_LONGEST, SCHEDULER_INTERVAL, Setting, Surroundings,
    customer_id,
};
use crate::{
    model::store::Store as Model,
    ports::{Checker, SimStore, Time},
};
use futures::FutureExt as _;
use niyanta_core::{
    Config,
    time::Duration,
    workload::{Desired, OnLeaseLoss, Status},
};
use runtime::{
    http::auth,
    store::{
        AdminActor, ConfigId, ConfigRecord, CustomerRecord, KeyRecord, LimitOverrides, Revision,
        Store, Tier,
    },
};
use serde_json::json;

/// Makes customers with their types and keys, and an admin's key. Gives the secrets of each client,
/// and of the operator.
pub(crate) fn furnish(setting: &Setting, store: &SimStore, time: Time) -> (Vec<String>, String) {
    let ambient = Surroundings::new(setting.stream("keys", 0), time);
    let mut secrets = Vec::new();
    for index in 0..setting.clients {
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

fn key(store: &SimStore, ambient: &Surroundings, of: Option<usize>) -> String {
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
pub(crate) fn look(setting: &Setting, checker: &Checker, since_heal: Duration) -> Option<Duration> {
    if since_heal < Duration::from_secs(1) {
        return None;
    }
    let (why_not, bound) = checker.look(|database| {
        let model = database.model();
        (why_not_settled(checker, model), bound(setting, model))
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
fn bound(setting: &Setting, model: &Model) -> Duration {
    // An orphaned takeover may land once more; a deaf leader is given one more lease.
    let election = setting.ttl * 6 + Duration::from_secs(12);
    let dead = Config::with_drift_margin(setting.dead_threshold) + setting.ttl * 2;
    let calls = setting.statement_within * 8;
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
