//! The leader's commits: one closure for each batch, all of it or nothing.

use super::super::{
    Commit, StoreError,
    encode::{Time, int, micros, step_columns, tags_text, text, types_text, uuid},
};
use super::session::{End, Fault, Session, now};
use niyanta_core::{
    batch::{Batch, WorkerRecord, WorkerWrite, WorkloadWrite},
    time::WallTime,
};
use sqlx::SqliteConnection;
use std::sync::Arc;

const FENCE: &str = "\
update fence set applied_batch = $1
where id = 1 and generation = $2 and incarnation = $3 and applied_batch = $1 - 1";

const WORKLOAD: &str = "\
update workloads set
    status = $4, open = $5, attempt = $6, worker_id = $7, worker_incarnation = $8,
    retry_count = $9, loss_count = $10, eligible_at = $11, sort_key = $12, backoff_until = $13,
    wish_seen = $14, stopping = $15, error_type = $16,
    scheduled_at = case when $17 then $20 else scheduled_at end,
    started_at = case when $18 then $20 when $17 then null else started_at end,
    completed_at = case when $19 then $20 else completed_at end,
    progress_percent = case when $4 = 'COMPLETED' then 100.0 else progress_percent end,
    pending_code = case when status = $4 then pending_code end,
    pending_detail = case when status = $4 then pending_detail end,
    version = version + $21, updated_at = $20
where id = $1 and status = $2 and attempt = $3
returning version - $21";

const EVENT: &str = "\
insert into audit (workload_id, sequence, kind, at, actor_type, actor_id, attempt, generation,
    details)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

const HOUR: &str = "\
insert into hours_ended as t
    (customer_id, hour, workload_type, completed, failed, cancelled, run_micros)
select w.customer_id, w.completed_at - w.completed_at % 3600000000, w.workload_type,
    w.status = 'COMPLETED', w.status = 'FAILED', w.status = 'CANCELLED',
    coalesce(w.completed_at - w.started_at, 0)
from workloads w where w.id = $1
on conflict (customer_id, hour, workload_type) do update set
    completed = t.completed + excluded.completed, failed = t.failed + excluded.failed,
    cancelled = t.cancelled + excluded.cancelled,
    run_micros = t.run_micros + excluded.run_micros";

const WORKER: &str = "\
insert into workers as t (worker_id, incarnation, status, capabilities, capacity, tags, version,
    longest_lease, wish_seen, registered_at, last_heartbeat)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)
on conflict (worker_id) do update set
    incarnation = excluded.incarnation, status = excluded.status,
    capabilities = excluded.capabilities, capacity = excluded.capacity, tags = excluded.tags,
    version = excluded.version, longest_lease = excluded.longest_lease,
    wish_seen = excluded.wish_seen,
    registered_at = coalesce(excluded.registered_at, t.registered_at),
    last_heartbeat = coalesce(excluded.last_heartbeat, t.last_heartbeat)";

const COUNTER: &str = "\
update customer_moved set left_queue = left_queue + $2, running = running + $3
where customer_id = $1";

impl Session {
    pub(super) async fn commit(&self, batch: &Arc<Batch>) -> Result<Commit, StoreError> {
        // Before the fence, as the other adapter must: what no column holds is refused whoever leads.
        for write in &batch.workers {
            if let WorkerWrite::Put(record) = write {
                text(&record.version)?;
                tags_text(&record.tags)?;
            }
        }
        let batch = Arc::clone(batch);
        self.write(move |conn| {
            Box::pin(async move {
                let fenced = sqlx::query(FENCE)
                    .bind(int(batch.number.0)?)
                    .bind(int(batch.generation.0)?)
                    .bind(batch.incarnation.as_str())
                    .execute(&mut *conn)
                    .await?;
                if fenced.rows_affected() != 1 {
                    return Ok(End::Undo(Commit::NotApplied));
                }
                if apply(conn, &batch).await? {
                    Ok(End::Keep(Commit::Applied))
                } else {
                    Ok(End::Undo(Commit::Short))
                }
            })
        })
        .await
    }
}

/// Writes a batch; false when a row was not as it expects.
async fn apply(conn: &mut SqliteConnection, batch: &Batch) -> Result<bool, Fault> {
    let at = now();
    for write in &batch.workloads {
        if !move_workload(conn, batch, write, at).await? {
            return Ok(false);
        }
    }
    for write in &batch.workers {
        let fits = match write {
            WorkerWrite::Put(record) => put_worker(conn, record, at).await.map(|()| true)?,
            WorkerWrite::Remove { worker } => remove_worker(conn, worker.as_str()).await?,
        };
        if !fits {
            return Ok(false);
        }
    }
    for write in &batch.counters {
        let done = sqlx::query(COUNTER)
            .bind(uuid(write.customer.0))
            .bind(int(write.left_queue)?)
            .bind(write.running)
            .execute(&mut *conn)
            .await?;
        if done.rows_affected() != 1 {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn move_workload(
    conn: &mut SqliteConnection,
    batch: &Batch,
    write: &WorkloadWrite,
    at: WallTime,
) -> Result<bool, Fault> {
    let to = &write.to;
    let worker = to.worker.as_ref();
    let before: Option<i64> = sqlx::query_scalar(WORKLOAD)
        .bind(uuid(write.id.0))
        .bind(write.from_status.as_str())
        .bind(i64::from(write.from_attempt.0))
        .bind(to.status.as_str())
        .bind(!to.status.is_terminal())
        .bind(i64::from(to.attempt.0))
        .bind(worker.map(|(id, _)| id.as_str()))
        .bind(worker.map(|(_, incarnation)| incarnation.as_str()))
        .bind(i64::from(to.retry_count))
        .bind(i64::from(to.loss_count))
        .bind(Time::from(to.eligible_at))
        .bind(to.sort_key)
        .bind(to.backoff_until.map(Time::from))
        .bind(int(to.wish_seen.0)?)
        .bind(to.stopping.map(|cause| cause.as_str()))
        .bind(to.error_type.map(|kind| kind.as_str()))
        .bind(write.stamp_scheduled)
        .bind(write.stamp_started)
        .bind(write.stamp_completed)
        .bind(at.0)
        .bind(int(write.steps.len() as u64)?)
        .fetch_optional(&mut *conn)
        .await?;
    let Some(before) = before else {
        return Ok(false);
    };
    if write.stamp_completed {
        sqlx::query(HOUR)
            .bind(uuid(write.id.0))
            .execute(&mut *conn)
            .await?;
    }
    for (sequence, step) in (before + 1..).zip(&write.steps) {
        let columns = step_columns(batch, step);
        sqlx::query(EVENT)
            .bind(uuid(write.id.0))
            .bind(sequence)
            .bind(step.kind.as_str())
            .bind(at.0)
            .bind(columns.actor_type)
            .bind(columns.actor_id)
            .bind(i64::from(step.attempt.0))
            .bind(int(batch.generation.0)?)
            .bind(columns.details.to_string())
            .execute(&mut *conn)
            .await?;
    }
    Ok(true)
}

async fn put_worker(
    conn: &mut SqliteConnection,
    record: &WorkerRecord,
    at: WallTime,
) -> Result<(), Fault> {
    sqlx::query(WORKER)
        .bind(record.worker.as_str())
        .bind(record.incarnation.as_str())
        .bind(record.status.as_str())
        .bind(types_text(record.capabilities.iter()))
        .bind(i64::from(record.capacity))
        .bind(tags_text(&record.tags)?)
        .bind(text(&record.version)?)
        .bind(micros(record.longest_lease))
        .bind(int(record.wish_seen.0)?)
        .bind(record.stamp_registered.then_some(at.0))
        .execute(conn)
        .await?;
    Ok(())
}

async fn remove_worker(conn: &mut SqliteConnection, worker: &str) -> Result<bool, Fault> {
    let done = sqlx::query("delete from workers where worker_id = $1")
        .bind(worker)
        .execute(&mut *conn)
        .await?;
    // A drain belongs to the id, and outlives the incarnation.
    sqlx::query("delete from worker_wishes where worker_id = $1 and desired <> 'drain'")
        .bind(worker)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}
