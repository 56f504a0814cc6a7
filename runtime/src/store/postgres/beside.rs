//! What is written beside the batch: contents of reports, guarded by the open attempt; and notes
//! that are advisory.
//!
//! Guarded writes touch one workload's row each. Notes touch many, and skip rows that are locked
//! rather than wait for them, so that they never meet a batch in a circle of waits: what is skipped
//! is noted the next time.

use super::super::{
    AssignmentRow, CheckpointReport, LogReport, OutcomeReport, ProgressReport, StoreError, Written,
    encode::{
        Time, int, log_message, maybe_json_text, maybe_text, micros, reason_text, text, uuid,
    },
    records::AssignmentColumns,
    words::{LOG_LINES_KEPT, trims_logs},
};
use super::session::{Lane, Session};
use niyanta_core::{
    ids::{Attempt, Incarnation, WorkerId, WorkloadId},
    scheduling::PendingReason,
    time::Duration,
};

const OUTCOME: &str = "\
with w as (
    select id from workloads where id = $1 and attempt = $2 and worker_incarnation = $3
    for no key update),
o as (
    insert into workload_outcomes as t
        (workload_id, result_attempt, result_data, error_attempt, error_message)
    select w.id, case when $4::text is not null then $2 end, $4::json,
        case when $5::text is not null then $2 end, $5 from w
    on conflict (workload_id) do update set
        result_attempt = coalesce(excluded.result_attempt, t.result_attempt),
        result_data = coalesce(excluded.result_data, t.result_data),
        error_attempt = coalesce(excluded.error_attempt, t.error_attempt),
        error_message = coalesce(excluded.error_message, t.error_message)
    returning 1)
select (select count(*) from o) = 1";

const CHECKPOINT: &str = "\
with w as (
    update workloads set checkpoint_attempt = $2, checkpoint_sequence = $4
    where id = $1 and attempt = $2 and worker_incarnation = $3
        and (checkpoint_attempt is null or (checkpoint_attempt, checkpoint_sequence) <= ($2, $4))
    returning id),
c as (
    insert into checkpoints (workload_id, attempt, checkpoint_sequence, data, created_at)
    select w.id, $2, $4, $5, clock_timestamp() from w
    on conflict (workload_id) do update set attempt = excluded.attempt,
        checkpoint_sequence = excluded.checkpoint_sequence, data = excluded.data,
        created_at = excluded.created_at
    returning 1)
select (select count(*) from c) = 1";

const PROGRESS: &str = "\
with l as materialized (
    select w.id, u.percent, u.message
    from unnest($1::uuid[], $2::bigint[], $3::text[], $4::double precision[], $5::text[])
        as u(id, attempt, incarnation, percent, message)
    join workloads w on w.id = u.id and w.attempt = u.attempt
        and w.worker_incarnation = u.incarnation
    for no key update of w skip locked)
update workloads w set progress_percent = l.percent, progress_message = l.message
from l where w.id = l.id";

const REASONS: &str = "\
with l as materialized (
    select w.id, u.code, u.detail
    from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[]) as u(id, attempt, code, detail)
    join workloads w on w.id = u.id and w.attempt = u.attempt and w.status = 'PENDING'
        and (w.pending_code is distinct from u.code or w.pending_detail is distinct from u.detail)
    for no key update of w skip locked)
update workloads w set pending_code = l.code, pending_detail = l.detail
from l where w.id = l.id";

const HEARTBEATS: &str = "\
with l as materialized (
    select t.worker_id, u.age
    from unnest($1::text[], $2::text[], $3::bigint[]) as u(worker_id, incarnation, age)
    join workers t on t.worker_id = u.worker_id and t.incarnation = u.incarnation
    for no key update of t skip locked)
update workers t
set last_heartbeat = greatest(t.last_heartbeat,
    clock_timestamp() - l.age * interval '1 microsecond')
from l where t.worker_id = l.worker_id";

/// The worker is, or by the audit was, the one that the attempt was assigned to. The lock keeps the
/// workload from being retired meanwhile, so that no line outlives it.
const LOGS: &str = "\
with g as materialized (
    select 1 from workloads w where w.id = $1
        and (w.attempt = $2 and w.worker_incarnation = $3 or exists (
            select 1 from audit where workload_id = $1 and attempt = $2
                and kind = 'workload.scheduled' and details ->> 'incarnation' = $3))
    for key share),
i as (
    insert into logs (workload_id, attempt, sequence, day, at, level, message)
    select $1, $2, $4 + u.n - 1, (clock_timestamp() at time zone 'UTC')::date, u.at, u.level,
        u.message
    from g, unnest($5::timestamptz[], $6::text[], $7::text[]) with ordinality
        as u(at, level, message, n)
    on conflict do nothing),
d as (
    delete from logs where $8 and workload_id = $1 and exists (select 1 from g)
        and (attempt, sequence) <= (
            select attempt, sequence from logs where workload_id = $1
            order by attempt desc, sequence desc offset $9 limit 1))
select exists (select 1 from g)";

const ASSIGNMENTS: &str = "\
select w.id, w.attempt, w.workload_type, p.config_json, p.resource_limits, p.input_params,
    p.checkpoint_interval_sec, c.attempt as checkpoint_attempt, c.checkpoint_sequence,
    c.data as checkpoint_data, w.timeout_seconds, w.on_lease_loss
from unnest($1::uuid[], $2::bigint[]) as u(id, attempt)
join workloads w on w.id = u.id and w.attempt = u.attempt and w.worker_id is not null
join workload_payloads p on p.workload_id = w.id
left join checkpoints c on c.workload_id = w.id";

const fn written(stored: bool) -> Written {
    if stored {
        Written::Stored
    } else {
        Written::NotOpen
    }
}

impl Session {
    pub(super) async fn put_outcome(&self, report: &OutcomeReport) -> Result<Written, StoreError> {
        let result = maybe_json_text(report.result_data.as_ref())?;
        let message = maybe_text(report.error_message.as_deref())?.map(str::to_owned);
        let (id, attempt) = (uuid(report.workload.0), i64::from(report.attempt.0));
        let incarnation = report.incarnation.clone();
        self.write(Lane::Api, move |conn| {
            Box::pin(async move {
                sqlx::query_scalar(OUTCOME)
                    .bind(id)
                    .bind(attempt)
                    .bind(incarnation.as_str())
                    .bind(result)
                    .bind(message)
                    .fetch_one(conn)
                    .await
            })
        })
        .await
        .map(written)
    }

    pub(super) async fn put_checkpoint(
        &self,
        checkpoint: &CheckpointReport,
    ) -> Result<Written, StoreError> {
        let data = text(&checkpoint.data)?.to_owned();
        let (id, attempt) = (uuid(checkpoint.workload.0), i64::from(checkpoint.attempt.0));
        let (incarnation, sequence) = (
            checkpoint.incarnation.clone(),
            int(checkpoint.checkpoint_sequence)?,
        );
        self.write(Lane::Api, move |conn| {
            Box::pin(async move {
                sqlx::query_scalar(CHECKPOINT)
                    .bind(id)
                    .bind(attempt)
                    .bind(incarnation.as_str())
                    .bind(sequence)
                    .bind(data)
                    .fetch_one(conn)
                    .await
            })
        })
        .await
        .map(written)
    }

    pub(super) async fn put_progress(&self, progress: &[ProgressReport]) -> Result<(), StoreError> {
        if progress.is_empty() {
            return Ok(());
        }
        let progress = progress.to_vec();
        for report in &progress {
            maybe_text(report.message.as_deref())?;
        }
        self.write(Lane::Api, move |conn| {
            Box::pin(async move {
                let each = || progress.iter();
                let ids: Vec<_> = each().map(|it| uuid(it.workload.0)).collect();
                let attempts: Vec<_> = each().map(|it| i64::from(it.attempt.0)).collect();
                let incarnations: Vec<_> = each().map(|it| it.incarnation.as_str()).collect();
                let percents: Vec<_> = each().map(|it| it.percent).collect();
                let messages: Vec<_> = each().map(|it| it.message.as_deref()).collect();
                sqlx::query(PROGRESS)
                    .bind(ids)
                    .bind(attempts)
                    .bind(incarnations)
                    .bind(percents)
                    .bind(messages)
                    .execute(conn)
                    .await
                    .map(|_| ())
            })
        })
        .await
    }

    pub(super) async fn put_logs(&self, logs: &LogReport) -> Result<Written, StoreError> {
        let (id, attempt) = (uuid(logs.workload.0), i64::from(logs.attempt.0));
        let first = int(logs.first_sequence)?;
        let trims = trims_logs(logs);
        let logs = logs.clone();
        for line in &logs.lines {
            log_message(&line.message)?;
            text(&line.level)?;
        }
        self.write(Lane::Api, move |conn| {
            Box::pin(async move {
                let times: Vec<_> = logs
                    .lines
                    .iter()
                    .map(|it| Time::from(it.timestamp))
                    .collect();
                let levels: Vec<_> = logs.lines.iter().map(|it| it.level.as_str()).collect();
                let messages: Vec<_> = logs.lines.iter().map(|it| it.message.as_str()).collect();
                sqlx::query_scalar(LOGS)
                    .bind(id)
                    .bind(attempt)
                    .bind(logs.incarnation.as_str())
                    .bind(first)
                    .bind(times)
                    .bind(levels)
                    .bind(messages)
                    .bind(trims)
                    .bind(i64::from(LOG_LINES_KEPT))
                    .fetch_one(conn)
                    .await
            })
        })
        .await
        .map(written)
    }

    pub(super) async fn assignments(
        &self,
        wanted: &[(WorkloadId, Attempt)],
    ) -> Result<Vec<AssignmentRow>, StoreError> {
        let ids: Vec<_> = wanted.iter().map(|(id, _)| uuid(id.0)).collect();
        let attempts: Vec<_> = wanted
            .iter()
            .map(|(_, attempt)| i64::from(attempt.0))
            .collect();
        let rows: Vec<AssignmentColumns> = self
            .read(Lane::Api, move |conn| {
                Box::pin(async move {
                    sqlx::query_as(ASSIGNMENTS)
                        .bind(ids)
                        .bind(attempts)
                        .fetch_all(conn)
                        .await
                })
            })
            .await?;
        rows.into_iter().map(AssignmentColumns::read).collect()
    }

    pub(super) async fn record_pending_reasons(
        &self,
        reasons: &[(WorkloadId, Attempt, PendingReason)],
    ) -> Result<(), StoreError> {
        if reasons.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = reasons.iter().map(|(id, _, _)| uuid(id.0)).collect();
        let attempts: Vec<_> = reasons.iter().map(|(_, it, _)| i64::from(it.0)).collect();
        let codes: Vec<_> = reasons
            .iter()
            .map(|(_, _, it)| it.code().as_str())
            .collect();
        let details: Vec<_> = reasons.iter().map(|(_, _, it)| reason_text(it)).collect();
        self.write(Lane::Api, move |conn| {
            Box::pin(async move {
                sqlx::query(REASONS)
                    .bind(ids)
                    .bind(attempts)
                    .bind(codes)
                    .bind(details)
                    .execute(conn)
                    .await
                    .map(|_| ())
            })
        })
        .await
    }

    pub(super) async fn record_heartbeats(
        &self,
        heard: &[(WorkerId, Incarnation, Duration)],
    ) -> Result<(), StoreError> {
        if heard.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = heard.iter().map(|(id, _, _)| id.to_string()).collect();
        let incarnations: Vec<_> = heard.iter().map(|(_, it, _)| it.to_string()).collect();
        let ages: Vec<_> = heard.iter().map(|(_, _, age)| micros(*age)).collect();
        self.write(Lane::Api, move |conn| {
            Box::pin(async move {
                sqlx::query(HEARTBEATS)
                    .bind(ids)
                    .bind(incarnations)
                    .bind(ages)
                    .execute(conn)
                    .await
                    .map(|_| ())
            })
        })
        .await
    }
}
