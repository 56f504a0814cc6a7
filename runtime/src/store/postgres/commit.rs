//! The leader's commits: one statement for each batch, all of it or nothing.
//!
//! Invariants: the fence row is named once, by the update that every other part hangs on, so a
//! statement that waited while another leader took over writes nothing; what a workload's write
//! expects names only columns that the leader alone writes; counts are compared inside the
//! statement, which raises when one differs. Audit events ride with their workload's write as JSON:
//! joined by id they would make the statement quadratic, because hash joins are off here.

use super::super::{
    Commit, Json, StoreError,
    encode::{Time, int, micros, step_columns, tags_text, types_text, uuid},
};
use super::session::{Lane, Session, sqlstate};
use niyanta_core::{
    batch::{Batch, CounterWrite, WorkerWrite, WorkloadWrite},
    ids::WorkerId,
};
use serde_json::json;
use sqlx::{Postgres, postgres::PgArguments, query::Query};
use std::sync::Arc;
use uuid::Uuid;

const COMMIT: &str = "\
with f as (
    update fence set applied_batch = $1
    where id = 1 and generation = $2 and incarnation = $3 and applied_batch = $1 - 1
    returning generation),
w as (
    update workloads t set
        status = u.status, open = u.open, attempt = u.attempt, worker_id = u.worker_id,
        worker_incarnation = u.worker_incarnation, retry_count = u.retry_count,
        loss_count = u.loss_count, eligible_at = u.eligible_at, sort_key = u.sort_key,
        backoff_until = u.backoff_until, wish_seen = u.wish_seen, stopping = u.stopping,
        error_type = u.error_type,
        scheduled_at = case when u.stamp_scheduled then clock_timestamp() else t.scheduled_at end,
        started_at = case when u.stamp_started then clock_timestamp()
            when u.stamp_scheduled then null else t.started_at end,
        completed_at = case when u.stamp_completed then clock_timestamp() else t.completed_at end,
        progress_percent = case when u.status = 'COMPLETED' then 100 else t.progress_percent end,
        pending_code = case when t.status = u.status then t.pending_code end,
        pending_detail = case when t.status = u.status then t.pending_detail end,
        version = t.version + u.steps, updated_at = clock_timestamp()
    from f, unnest($4::uuid[], $5::text[], $6::bigint[], $7::text[], $8::boolean[], $9::bigint[],
        $10::text[], $11::text[], $12::bigint[], $13::bigint[], $14::timestamptz[], $15::bigint[],
        $16::timestamptz[], $17::bigint[], $18::text[], $19::text[], $20::boolean[],
        $21::boolean[], $22::boolean[], $23::bigint[], $24::text[])
      as u(id, from_status, from_attempt, status, open, attempt, worker_id, worker_incarnation,
        retry_count, loss_count, eligible_at, sort_key, backoff_until, wish_seen, stopping,
        error_type, stamp_scheduled, stamp_started, stamp_completed, steps, audit)
    where t.id = u.id and t.status = u.from_status and t.attempt = u.from_attempt
    returning t.id, t.version - u.steps as before, u.audit, f.generation, u.stamp_completed,
        t.customer_id, t.workload_type, t.status, t.started_at, t.completed_at),
h as (
    insert into hours_ended as t
        (customer_id, hour, workload_type, completed, failed, cancelled, run_micros)
    select w.customer_id, date_trunc('hour', w.completed_at, 'UTC'), w.workload_type,
        count(*) filter (where w.status = 'COMPLETED'),
        count(*) filter (where w.status = 'FAILED'),
        count(*) filter (where w.status = 'CANCELLED'),
        coalesce(sum(extract(epoch from (w.completed_at - w.started_at)) * 1000000), 0)::bigint
    from w where w.stamp_completed group by 1, 2, 3
    on conflict (customer_id, hour, workload_type) do update set
        completed = t.completed + excluded.completed, failed = t.failed + excluded.failed,
        cancelled = t.cancelled + excluded.cancelled,
        run_micros = t.run_micros + excluded.run_micros),
a as (
    insert into audit (workload_id, sequence, kind, at, actor_type, actor_id, attempt, generation,
        details)
    select w.id, w.before + s.n, s.step ->> 'k', clock_timestamp(), s.step ->> 't',
        s.step ->> 'i', (s.step ->> 'a')::bigint, w.generation, s.step -> 'd'
    from w cross join lateral json_array_elements(w.audit::json) with ordinality as s(step, n)
    returning 1),
p as (
    insert into workers as t (worker_id, incarnation, status, capabilities, capacity, tags,
        version, longest_lease, wish_seen, registered_at, last_heartbeat)
    select u.worker_id, u.incarnation, u.status, u.capabilities::jsonb, u.capacity, u.tags::jsonb,
        u.version, u.longest_lease, u.wish_seen,
        case when u.stamp then clock_timestamp() end, case when u.stamp then clock_timestamp() end
    from f, unnest($25::text[], $26::text[], $27::text[], $28::text[], $29::bigint[], $30::text[],
        $31::text[], $32::bigint[], $33::bigint[], $34::boolean[])
      as u(worker_id, incarnation, status, capabilities, capacity, tags, version, longest_lease,
        wish_seen, stamp)
    on conflict (worker_id) do update set
        incarnation = excluded.incarnation, status = excluded.status,
        capabilities = excluded.capabilities, capacity = excluded.capacity, tags = excluded.tags,
        version = excluded.version, longest_lease = excluded.longest_lease,
        wish_seen = excluded.wish_seen,
        registered_at = coalesce(excluded.registered_at, t.registered_at),
        last_heartbeat = coalesce(excluded.last_heartbeat, t.last_heartbeat)
    returning 1),
r as (
    delete from workers t using f, unnest($35::text[]) as u(worker_id)
    where t.worker_id = u.worker_id returning t.worker_id),
d as (
    delete from worker_wishes t using r
    where t.worker_id = r.worker_id and t.desired <> 'drain' returning 1),
c as (
    update customer_moved t set left_queue = t.left_queue + u.left_queue,
        running = t.running + u.running
    from f, unnest($36::uuid[], $37::bigint[], $38::bigint[]) as u(customer_id, left_queue, running)
    where t.customer_id = u.customer_id returning 1),
n as (
    select (select count(*) from f) as f, (select count(*) from w) as w,
        (select count(*) from a) as a, (select count(*) from p) as p,
        (select count(*) from r) as r, (select count(*) from c) as c)
select f, case when f = 1 and (w <> cardinality($4) or a <> $39 or p <> cardinality($25)
        or r <> cardinality($35) or c <> cardinality($36))
    then niyanta_raise('NY001', format('batch short: %s workloads, %s events, %s workers put, '
        '%s removed, %s counters', w, a, p, r, c)) end
from n";

impl Session {
    pub(super) async fn commit(&self, batch: &Arc<Batch>) -> Result<Commit, StoreError> {
        let columns = Arc::new(Columns::new(batch)?);
        let answer = self
            .write_past_sleepers(Lane::Commit, move |conn| {
                Box::pin(async move {
                    let (fenced, _): (i64, Option<i64>) =
                        fetch(columns.bind(sqlx::query(COMMIT)), conn).await?;
                    Ok(fenced)
                })
            })
            .await;
        match answer {
            Ok(1) => Ok(Commit::Applied),
            Ok(_) => Ok(Commit::NotApplied),
            Err(error) if sqlstate(&error).as_deref() == Some("NY001") => {
                tracing::error!(error = %Cause(&error), "a batch did not fit the rows");
                Ok(Commit::Short)
            }
            Err(error) => Err(error),
        }
    }
}

/// Prints what is beneath a store error.
struct Cause<'a>(&'a StoreError);

impl std::fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match std::error::Error::source(self.0) {
            Some(source) => std::fmt::Display::fmt(source, f),
            None => std::fmt::Display::fmt(self.0, f),
        }
    }
}

async fn fetch<O>(
    query: Query<'_, Postgres, PgArguments>,
    conn: &mut sqlx::PgConnection,
) -> Result<O, sqlx::Error>
where
    O: for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>,
{
    let row = query.fetch_one(conn).await?;
    O::from_row(&row)
}

/// A batch as arrays. Equal batches give equal arrays.
struct Columns {
    number: i64,
    generation: i64,
    incarnation: String,
    audit: i64,
    workloads: Workloads,
    workers: Workers,
    removed: Vec<String>,
    counters: Counters,
}

impl Columns {
    fn new(batch: &Batch) -> Result<Self, StoreError> {
        let mut columns = Self {
            number: int(batch.number.0)?,
            generation: int(batch.generation.0)?,
            incarnation: batch.incarnation.to_string(),
            audit: int(batch.audit_len() as u64)?,
            workloads: Workloads::default(),
            workers: Workers::default(),
            removed: Vec::new(),
            counters: Counters::default(),
        };
        for write in &batch.workloads {
            columns.workloads.push(batch, write)?;
        }
        for write in &batch.workers {
            match write {
                WorkerWrite::Put(_) => columns.workers.push(write)?,
                WorkerWrite::Remove { worker } => columns.removed.push(worker.to_string()),
            }
        }
        for write in &batch.counters {
            columns.counters.push(write)?;
        }
        Ok(columns)
    }

    fn bind<'q>(
        &'q self,
        query: Query<'q, Postgres, PgArguments>,
    ) -> Query<'q, Postgres, PgArguments> {
        let query = query
            .bind(self.number)
            .bind(self.generation)
            .bind(&self.incarnation);
        let query = self
            .workers
            .bind(self.workloads.bind(query))
            .bind(&self.removed);
        self.counters.bind(query).bind(self.audit)
    }
}

#[derive(Default)]
struct Workloads {
    id: Vec<Uuid>,
    from_status: Vec<&'static str>,
    from_attempt: Vec<i64>,
    status: Vec<&'static str>,
    open: Vec<bool>,
    attempt: Vec<i64>,
    worker_id: Vec<Option<String>>,
    worker_incarnation: Vec<Option<String>>,
    retry_count: Vec<i64>,
    loss_count: Vec<i64>,
    eligible_at: Vec<Time>,
    sort_key: Vec<i64>,
    backoff_until: Vec<Option<Time>>,
    wish_seen: Vec<i64>,
    stopping: Vec<Option<&'static str>>,
    error_type: Vec<Option<&'static str>>,
    stamp_scheduled: Vec<bool>,
    stamp_started: Vec<bool>,
    stamp_completed: Vec<bool>,
    steps: Vec<i64>,
    audit: Vec<String>,
}

impl Workloads {
    fn push(&mut self, batch: &Batch, write: &WorkloadWrite) -> Result<(), StoreError> {
        let to = &write.to;
        let worker = to.worker.as_ref();
        self.id.push(uuid(write.id.0));
        self.from_status.push(write.from_status.as_str());
        self.from_attempt.push(write.from_attempt.0.into());
        self.status.push(to.status.as_str());
        self.open.push(!to.status.is_terminal());
        self.attempt.push(to.attempt.0.into());
        self.worker_id.push(worker.map(|(id, _)| id.to_string()));
        self.worker_incarnation
            .push(worker.map(|(_, incarnation)| incarnation.to_string()));
        self.retry_count.push(to.retry_count.into());
        self.loss_count.push(to.loss_count.into());
        self.eligible_at.push(to.eligible_at.into());
        self.sort_key.push(to.sort_key);
        self.backoff_until.push(to.backoff_until.map(Time::from));
        self.wish_seen.push(int(to.wish_seen.0)?);
        self.stopping.push(to.stopping.map(|cause| cause.as_str()));
        self.error_type
            .push(to.error_type.map(|kind| kind.as_str()));
        self.stamp_scheduled.push(write.stamp_scheduled);
        self.stamp_started.push(write.stamp_started);
        self.stamp_completed.push(write.stamp_completed);
        self.steps.push(int(write.steps.len() as u64)?);
        let steps = write.steps.iter().map(|step| {
            let columns = step_columns(batch, step);
            json!({
                "k": step.kind.as_str(), "t": columns.actor_type, "i": columns.actor_id,
                "a": step.attempt.0, "d": columns.details,
            })
        });
        self.audit.push(Json::from_iter(steps).to_string());
        Ok(())
    }

    fn bind<'q>(
        &'q self,
        query: Query<'q, Postgres, PgArguments>,
    ) -> Query<'q, Postgres, PgArguments> {
        query
            .bind(&self.id)
            .bind(&self.from_status)
            .bind(&self.from_attempt)
            .bind(&self.status)
            .bind(&self.open)
            .bind(&self.attempt)
            .bind(&self.worker_id)
            .bind(&self.worker_incarnation)
            .bind(&self.retry_count)
            .bind(&self.loss_count)
            .bind(&self.eligible_at)
            .bind(&self.sort_key)
            .bind(&self.backoff_until)
            .bind(&self.wish_seen)
            .bind(&self.stopping)
            .bind(&self.error_type)
            .bind(&self.stamp_scheduled)
            .bind(&self.stamp_started)
            .bind(&self.stamp_completed)
            .bind(&self.steps)
            .bind(&self.audit)
    }
}

#[derive(Default)]
struct Workers {
    worker_id: Vec<String>,
    incarnation: Vec<String>,
    status: Vec<&'static str>,
    capabilities: Vec<String>,
    capacity: Vec<i64>,
    tags: Vec<String>,
    version: Vec<String>,
    longest_lease: Vec<i64>,
    wish_seen: Vec<i64>,
    stamp: Vec<bool>,
}

impl Workers {
    fn push(&mut self, write: &WorkerWrite) -> Result<(), StoreError> {
        let WorkerWrite::Put(record) = write else {
            return Ok(());
        };
        let id: &WorkerId = &record.worker;
        self.worker_id.push(id.to_string());
        self.incarnation.push(record.incarnation.to_string());
        self.status.push(record.status.as_str());
        self.capabilities
            .push(types_text(record.capabilities.iter()));
        self.capacity.push(record.capacity.into());
        self.tags.push(tags_text(&record.tags)?);
        self.version
            .push(super::super::encode::text(&record.version)?.to_owned());
        self.longest_lease.push(micros(record.longest_lease));
        self.wish_seen.push(int(record.wish_seen.0)?);
        self.stamp.push(record.stamp_registered);
        Ok(())
    }

    fn bind<'q>(
        &'q self,
        query: Query<'q, Postgres, PgArguments>,
    ) -> Query<'q, Postgres, PgArguments> {
        query
            .bind(&self.worker_id)
            .bind(&self.incarnation)
            .bind(&self.status)
            .bind(&self.capabilities)
            .bind(&self.capacity)
            .bind(&self.tags)
            .bind(&self.version)
            .bind(&self.longest_lease)
            .bind(&self.wish_seen)
            .bind(&self.stamp)
    }
}

#[derive(Default)]
struct Counters {
    customer_id: Vec<Uuid>,
    left_queue: Vec<i64>,
    running: Vec<i64>,
}

impl Counters {
    fn push(&mut self, write: &CounterWrite) -> Result<(), StoreError> {
        self.customer_id.push(uuid(write.customer.0));
        self.left_queue.push(int(write.left_queue)?);
        self.running.push(write.running);
        Ok(())
    }

    fn bind<'q>(
        &'q self,
        query: Query<'q, Postgres, PgArguments>,
    ) -> Query<'q, Postgres, PgArguments> {
        query
            .bind(&self.customer_id)
            .bind(&self.left_queue)
            .bind(&self.running)
    }
}
