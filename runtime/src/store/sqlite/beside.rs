//! What is written beside the batch: contents of reports, guarded by the open attempt; and notes
//! that are advisory.

use super::super::{
    AssignmentRow, CheckpointReport, LogReport, OutcomeReport, ProgressReport, StoreError, Written,
    encode::{int, log_message, maybe_json_text, maybe_text, reason_text, text, uuid},
    records::AssignmentColumns,
    words::{LOG_LINES_KEPT, trims_logs},
};
use super::session::{End, Fault, Session, now};
use niyanta_core::{
    ids::{Attempt, Incarnation, WorkerId, WorkloadId},
    scheduling::PendingReason,
    time::Duration,
};
use sqlx::SqliteConnection;

const IS_OPEN: &str = "\
select exists (
    select 1 from workloads where id = $1 and attempt = $2 and worker_incarnation = $3)";

const OUTCOME: &str = "\
insert into workload_outcomes as t
    (workload_id, result_attempt, result_data, error_attempt, error_message)
values ($1, case when $3 is not null then $2 end, $3, case when $4 is not null then $2 end, $4)
on conflict (workload_id) do update set
    result_attempt = coalesce(excluded.result_attempt, t.result_attempt),
    result_data = coalesce(excluded.result_data, t.result_data),
    error_attempt = coalesce(excluded.error_attempt, t.error_attempt),
    error_message = coalesce(excluded.error_message, t.error_message)";

const CHECKPOINT_PLACE: &str = "\
update workloads set checkpoint_attempt = $2, checkpoint_sequence = $4
where id = $1 and attempt = $2 and worker_incarnation = $3
    and (checkpoint_attempt is null or (checkpoint_attempt, checkpoint_sequence) <= ($2, $4))";

const CHECKPOINT: &str = "\
insert into checkpoints (workload_id, attempt, checkpoint_sequence, data, created_at)
values ($1, $2, $3, $4, $5)
on conflict (workload_id) do update set attempt = excluded.attempt,
    checkpoint_sequence = excluded.checkpoint_sequence, data = excluded.data,
    created_at = excluded.created_at";

const PROGRESS: &str = "\
update workloads set progress_percent = $4, progress_message = $5
where id = $1 and attempt = $2 and worker_incarnation = $3";

const REASON: &str = "\
update workloads set pending_code = $3, pending_detail = $4
where id = $1 and attempt = $2 and status = 'PENDING'";

const HEARTBEAT: &str = "\
update workers set last_heartbeat = max(coalesce(last_heartbeat, $3), $3)
where worker_id = $1 and incarnation = $2";

/// The worker is, or by the audit was, the one that the attempt was assigned to.
const WAS_OPEN: &str = "\
select exists (
    select 1 from workloads where id = $1 and attempt = $2 and worker_incarnation = $3)
or exists (
    select 1 from audit where workload_id = $1 and attempt = $2
        and kind = 'workload.scheduled' and details ->> 'incarnation' = $3)";

const LOG: &str = "\
insert into logs (workload_id, attempt, sequence, day, at, level, message)
values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing";

const TRIM_LOGS: &str = "\
delete from logs where workload_id = $1 and (attempt, sequence) <= (
    select attempt, sequence from logs where workload_id = $1
    order by attempt desc, sequence desc limit 1 offset $2)";

const MICROS_A_DAY: i64 = 86_400_000_000;

const ASSIGNMENT: &str = "\
select w.id, w.attempt, w.workload_type, p.config_json, p.resource_limits, p.input_params,
    p.checkpoint_interval_sec, c.attempt as checkpoint_attempt, c.checkpoint_sequence,
    c.data as checkpoint_data, w.timeout_seconds, w.on_lease_loss
from workloads w join workload_payloads p on p.workload_id = w.id
left join checkpoints c on c.workload_id = w.id
where w.id = $1 and w.attempt = $2 and w.worker_id is not null";

async fn holds(
    conn: &mut SqliteConnection,
    question: &'static str,
    workload: WorkloadId,
    attempt: Attempt,
    incarnation: &Incarnation,
) -> Result<bool, Fault> {
    Ok(sqlx::query_scalar(question)
        .bind(uuid(workload.0))
        .bind(i64::from(attempt.0))
        .bind(incarnation.as_str())
        .fetch_one(conn)
        .await?)
}

impl Session {
    pub(super) async fn put_outcome(&self, report: &OutcomeReport) -> Result<Written, StoreError> {
        let result = maybe_json_text(report.result_data.as_ref())?;
        maybe_text(report.error_message.as_deref())?;
        let it = report.clone();
        self.write(move |conn| {
            Box::pin(async move {
                if !holds(conn, IS_OPEN, it.workload, it.attempt, &it.incarnation).await? {
                    return Ok(End::Undo(Written::NotOpen));
                }
                sqlx::query(OUTCOME)
                    .bind(uuid(it.workload.0))
                    .bind(i64::from(it.attempt.0))
                    .bind(result)
                    .bind(it.error_message)
                    .execute(conn)
                    .await?;
                Ok(End::Keep(Written::Stored))
            })
        })
        .await
    }

    pub(super) async fn put_checkpoint(
        &self,
        checkpoint: &CheckpointReport,
    ) -> Result<Written, StoreError> {
        text(&checkpoint.data)?;
        let (it, sequence) = (checkpoint.clone(), int(checkpoint.checkpoint_sequence)?);
        self.write(move |conn| {
            Box::pin(async move {
                let (id, attempt) = (uuid(it.workload.0), i64::from(it.attempt.0));
                let placed = sqlx::query(CHECKPOINT_PLACE)
                    .bind(id)
                    .bind(attempt)
                    .bind(it.incarnation.as_str())
                    .bind(sequence)
                    .execute(&mut *conn)
                    .await?;
                if placed.rows_affected() == 0 {
                    return Ok(End::Undo(Written::NotOpen));
                }
                sqlx::query(CHECKPOINT)
                    .bind(id)
                    .bind(attempt)
                    .bind(sequence)
                    .bind(it.data)
                    .bind(now().0)
                    .execute(conn)
                    .await?;
                Ok(End::Keep(Written::Stored))
            })
        })
        .await
    }

    pub(super) async fn put_progress(&self, progress: &[ProgressReport]) -> Result<(), StoreError> {
        for report in progress {
            maybe_text(report.message.as_deref())?;
        }
        let progress = progress.to_vec();
        self.write(move |conn| {
            Box::pin(async move {
                for it in progress {
                    sqlx::query(PROGRESS)
                        .bind(uuid(it.workload.0))
                        .bind(i64::from(it.attempt.0))
                        .bind(it.incarnation.as_str())
                        .bind(it.percent)
                        .bind(it.message)
                        .execute(&mut *conn)
                        .await?;
                }
                Ok(End::Keep(()))
            })
        })
        .await
    }

    pub(super) async fn put_logs(&self, logs: &LogReport) -> Result<Written, StoreError> {
        for line in &logs.lines {
            log_message(&line.message)?;
            text(&line.level)?;
        }
        let (it, first) = (logs.clone(), int(logs.first_sequence)?);
        self.write(move |conn| {
            Box::pin(async move {
                if !holds(conn, WAS_OPEN, it.workload, it.attempt, &it.incarnation).await? {
                    return Ok(End::Undo(Written::NotOpen));
                }
                for (sequence, line) in (first..).zip(&it.lines) {
                    sqlx::query(LOG)
                        .bind(uuid(it.workload.0))
                        .bind(i64::from(it.attempt.0))
                        .bind(sequence)
                        .bind(now().0 / MICROS_A_DAY)
                        .bind(line.timestamp.0)
                        .bind(&line.level)
                        .bind(&line.message)
                        .execute(&mut *conn)
                        .await?;
                }
                if trims_logs(&it) {
                    sqlx::query(TRIM_LOGS)
                        .bind(uuid(it.workload.0))
                        .bind(i64::from(LOG_LINES_KEPT))
                        .execute(&mut *conn)
                        .await?;
                }
                Ok(End::Keep(Written::Stored))
            })
        })
        .await
    }

    pub(super) async fn assignments(
        &self,
        wanted: &[(WorkloadId, Attempt)],
    ) -> Result<Vec<AssignmentRow>, StoreError> {
        let wanted = wanted.to_vec();
        self.read(move |conn| {
            Box::pin(async move {
                let mut rows = Vec::new();
                for (id, attempt) in wanted {
                    let row: Option<AssignmentColumns> = sqlx::query_as(ASSIGNMENT)
                        .bind(uuid(id.0))
                        .bind(i64::from(attempt.0))
                        .fetch_optional(&mut *conn)
                        .await?;
                    rows.extend(row.map(AssignmentColumns::read).transpose()?);
                }
                Ok(rows)
            })
        })
        .await
    }

    pub(super) async fn record_pending_reasons(
        &self,
        reasons: &[(WorkloadId, Attempt, PendingReason)],
    ) -> Result<(), StoreError> {
        let reasons = reasons.to_vec();
        self.write(move |conn| {
            Box::pin(async move {
                for (id, attempt, reason) in reasons {
                    sqlx::query(REASON)
                        .bind(uuid(id.0))
                        .bind(i64::from(attempt.0))
                        .bind(reason.code().as_str())
                        .bind(reason_text(&reason))
                        .execute(&mut *conn)
                        .await?;
                }
                Ok(End::Keep(()))
            })
        })
        .await
    }

    pub(super) async fn record_heartbeats(
        &self,
        heard: &[(WorkerId, Incarnation, Duration)],
    ) -> Result<(), StoreError> {
        let heard = heard.to_vec();
        self.write(move |conn| {
            Box::pin(async move {
                for (worker, incarnation, age) in heard {
                    sqlx::query(HEARTBEAT)
                        .bind(worker.as_str())
                        .bind(incarnation.as_str())
                        .bind(now().minus(age).0)
                        .execute(&mut *conn)
                        .await?;
                }
                Ok(End::Keep(()))
            })
        })
        .await
    }
}
