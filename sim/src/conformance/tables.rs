//! The model's rows as lines of text, as the real side tells its own: a moment of this decade or
//! the next is `now`, nothing is `-`.

use super::terms::timeless;
use crate::model::store::{Store, Workload};
use niyanta_core::{
    batch::{Actor, WorkerRecord},
    ids::Incarnation,
    time::{Duration, WallTime},
};
use runtime::store::words::audit_details;
use std::fmt::Display;

/// All rows, table by table.
pub(super) fn lines(store: &Store) -> Vec<String> {
    let (lease, fence) = (store.lease(), store.fence());
    let mut lines = vec![
        format!(
            "lease {} {} expires={} resigned={} longest={}",
            lease.incarnation,
            lease.generation,
            at(lease.expires_at),
            lease.resigned,
            micros(lease.longest_ttl),
        ),
        format!(
            "fence {} {} {}",
            fence.generation, fence.incarnation, fence.applied
        ),
    ];
    lines.extend(store.customers().map(|row| {
        format!(
            "customer {} submitted={} left_queue={} running={}",
            row.limits.id.0, row.submitted, row.left_queue, row.running
        )
    }));
    lines.extend(
        store
            .keys()
            .map(|(customer, key, id)| format!("key {} {key} {}", customer.0, id.0)),
    );
    for row in store.workloads() {
        lines.push(workload(row));
        lines.extend(audit(row));
    }
    lines.extend(store.workers().map(|entry| worker(&entry.row.record)));
    lines.extend(store.worker_wishes().map(|(id, wish)| {
        format!(
            "wish {id} {} {} deadline={}",
            wish.desired,
            wish.revision,
            or_nothing(wish.deadline.map(at))
        )
    }));
    lines.iter().map(|line| timeless(line)).collect()
}

fn workload(found: &Workload) -> String {
    let (row, leader) = (&found.row, &found.row.leader);
    let held = leader.worker.as_ref();
    let checkpoint = row
        .checkpoint
        .map(|(attempt, sequence)| format!("{attempt}/{sequence}"));
    let mut line = format!(
        "workload {} customer={} priority={} run_after={} status={} attempt={} worker={} start={}",
        row.id.0,
        row.customer.0,
        row.priority,
        or_nothing(row.run_after.map(at)),
        leader.status,
        leader.attempt,
        or_nothing(held.map(|(id, _)| id.to_string())),
        or_nothing(held.map(|(_, start)| Incarnation::to_string(start))),
    );
    line += &format!(
        " retries={} losses={} eligible={} key={} backoff={} seen={} stopping={} error={}",
        leader.retry_count,
        leader.loss_count,
        at(leader.eligible_at),
        leader.sort_key,
        or_nothing(leader.backoff_until.map(at)),
        leader.wish_seen,
        or_nothing(leader.stopping),
        or_nothing(leader.error_type),
    );
    line += &format!(
        " desired={} revision={} version={} checkpoint={} started={} result={} waits={}",
        row.desired,
        row.wish_revision,
        found.version,
        or_nothing(checkpoint),
        or_nothing(row.started_at.map(at)),
        or_nothing(found.result_of),
        or_nothing(found.pending_reason.map(|reason| reason.code().as_str())),
    );
    line
}

fn audit(found: &Workload) -> impl Iterator<Item = String> {
    let id = found.row.id.0;
    found.audit.iter().map(move |event| {
        let actor = match &event.actor {
            None => "user",
            Some(Actor::Coordinator) => "coordinator",
            Some(Actor::Worker(_)) => "worker",
            Some(Actor::System) => "system",
        };
        format!(
            "audit {id} {} {} by={actor} attempt={} generation={} {}",
            event.number,
            event.kind,
            event.attempt,
            event.generation.map_or(0, |generation| generation.0),
            audit_details(&event.details),
        )
    })
}

fn worker(record: &WorkerRecord) -> String {
    format!(
        "worker {} {} {} capacity={} version={} longest={} seen={}",
        record.worker,
        record.incarnation,
        record.status,
        record.capacity,
        record.version,
        micros(record.longest_lease),
        record.wish_seen,
    )
}

const fn at(time: WallTime) -> i64 {
    time.0
}

fn micros(duration: Duration) -> u128 {
    duration.as_micros()
}

fn or_nothing(value: Option<impl Display>) -> String {
    value.map_or_else(|| String::from("-"), |value| value.to_string())
}
