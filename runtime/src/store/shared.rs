//! Judgements that both adapters make alike of what they read.

use super::{
    AdminActor, CustomerPatch, CustomerRecord, KeyRecord, StoreError, Tier, WorkerView, WorkerWish,
    records::{RunningColumns, WorkerColumns},
};
use niyanta_core::{
    fleet::WorkerDesired,
    workload::{AuditKind, Desired},
};
use serde_json::{Map, json};

/// The audit event of a wish.
pub(super) const fn wish_event(desired: Desired) -> AuditKind {
    match desired {
        Desired::Run => AuditKind::ResumeRequested,
        Desired::Pause => AuditKind::PauseRequested,
        Desired::Cancel => AuditKind::CancelRequested,
    }
}

/// Who acts, for the admin audit.
pub(super) fn actor_name(actor: &AdminActor) -> String {
    match actor {
        AdminActor::Key(key) => key.to_string(),
        AdminActor::CommandLine => String::from("command_line"),
    }
}

/// What an operator's wish for a worker is called in the admin audit, and its details.
pub(super) fn worker_action(wish: &WorkerWish) -> (&'static str, String) {
    let details = wish.deadline.map_or_else(
        || json!({}),
        |deadline| json!({ "deadline_seconds": deadline.as_secs() }),
    );
    let action = match wish.desired {
        WorkerDesired::Run => "worker.undrain",
        WorkerDesired::Drain => "worker.drain",
        WorkerDesired::Remove => "worker.remove",
    };
    (action, details.to_string())
}

/// The details of a new customer.
pub(super) fn customer_details(customer: &CustomerRecord) -> String {
    let limits = customer.overrides;
    let mut details = Map::new();
    details.insert(String::from("name"), json!(customer.name));
    details.insert(String::from("tier"), json!(customer.tier.as_str()));
    for (name, limit) in [
        ("max_concurrent_workloads", limits.max_concurrent_workloads),
        ("max_queue_depth", limits.max_queue_depth),
        ("rate_limit_per_sec", limits.rate_limit_per_sec),
        ("rate_limit_burst", limits.rate_limit_burst),
    ] {
        if let Some(limit) = limit {
            details.insert(String::from(name), json!(limit));
        }
    }
    json!(details).to_string()
}

/// The details of a change of a customer: what was asked for; null: back to the tier's.
pub(super) fn patch_details(patch: &CustomerPatch) -> String {
    let mut details = Map::new();
    if let Some(name) = &patch.name {
        details.insert(String::from("name"), json!(name));
    }
    if let Some(tier) = patch.tier.map(Tier::as_str) {
        details.insert(String::from("tier"), json!(tier));
    }
    for (name, limit) in [
        ("max_concurrent_workloads", patch.max_concurrent_workloads),
        ("max_queue_depth", patch.max_queue_depth),
        ("rate_limit_per_sec", patch.rate_limit_per_sec),
        ("rate_limit_burst", patch.rate_limit_burst),
    ] {
        if let Some(limit) = limit {
            details.insert(String::from(name), json!(limit));
        }
    }
    json!(details).to_string()
}

/// The details of a new key, without its secret.
pub(super) fn key_details(key: &KeyRecord) -> String {
    json!({
        "name": key.name,
        "prefix": key.prefix,
        "customer_id": key.customer.map(|id| id.to_string()),
    })
    .to_string()
}

/// Workers with what they run.
pub(super) fn worker_views(
    rows: Vec<WorkerColumns>,
    running: &[RunningColumns],
) -> Result<Vec<WorkerView>, StoreError> {
    rows.into_iter()
        .map(|row| {
            let mut view = row.view()?;
            let mine = running
                .iter()
                .filter(|it| it.worker_id == view.worker.as_str());
            view.running = mine.map(RunningColumns::read).collect::<Result<_, _>>()?;
            Ok(view)
        })
        .collect()
}
