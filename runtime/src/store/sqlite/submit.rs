//! What customers write: submissions and wishes.

use super::super::{
    StoreError, Submission, SubmitOutcome, Wish, WishOutcome,
    encode::{
        Time, affinity_text, json_text, labels_text, maybe_json_text, maybe_text, micros, uuid,
    },
    records::{CustomerColumns, ViewColumns, customer_columns},
    shared::wish_event,
};
use super::{
    session::{End, Fault, Session, now},
    workloads::find,
};
use niyanta_core::{Config, time::WallTime};
use serde_json::json;
use sqlx::SqliteConnection;
use uuid::Uuid;

const USE: &str = concat!(
    "select ",
    customer_columns!(),
    " from customers c join customer_submitted s on s.customer_id = c.id
      join customer_moved m on m.customer_id = c.id where c.id = $1"
);

const WORKLOAD: &str = "\
insert into workloads (id, customer_id, config_id, workload_type, placement_class, priority,
    affinity, max_retries, timeout_seconds, on_lease_loss, run_after, created_at, desired,
    wish_revision, status, open, attempt, retry_count, loss_count, eligible_at, sort_key, wish_seen,
    version, updated_at)
select $1, $2, g.id, g.workload_type, $4, $5, $6, coalesce($7, g.max_retries),
    coalesce($8, g.timeout_seconds), g.on_lease_loss, $9, $10, 'run', 0, 'PENDING', 1, 0, 0, 0, $11,
    $12, 0, 1, $10
from workload_configs g where g.customer_id = $2 and g.workload_type = $3";

const PAYLOAD: &str = "\
insert into workload_payloads (workload_id, input_params, config_json, resource_limits,
    checkpoint_interval_sec, affinity_rules, labels)
select $1, $4, g.config_json, g.resource_limits, g.checkpoint_interval_sec, $5, $6
from workload_configs g where g.customer_id = $2 and g.workload_type = $3";

const HOUR: &str = "\
insert into hours_submitted as t (customer_id, hour, workload_type, submitted)
values ($1, $2, $3, 1)
on conflict (customer_id, hour, workload_type) do update set submitted = t.submitted + 1";

const MICROS_AN_HOUR: i64 = 3_600_000_000;

const EVENT: &str = "\
insert into audit (workload_id, sequence, kind, at, actor_type, actor_id, attempt, generation,
    details)
values ($1, $2, $3, $4, 'user', $5, $6, 0, $7)";

const WISH: &str = "\
update workloads set desired = $3, wish_revision = wish_revision + 1, version = version + 1,
    updated_at = $4
where id = $2 and customer_id = $1 returning version, attempt";

impl Session {
    pub(super) async fn submit(
        &self,
        submissions: &[Submission],
    ) -> Vec<Result<SubmitOutcome, StoreError>> {
        let mut outcomes = Vec::with_capacity(submissions.len());
        for submission in submissions {
            let it = submission.clone();
            outcomes.push(self.write(move |conn| Box::pin(submit_one(conn, it))).await);
        }
        outcomes
    }

    pub(super) async fn wish(&self, wish: &Wish) -> Result<WishOutcome, StoreError> {
        maybe_text(wish.reason.as_deref())?;
        let wish = wish.clone();
        self.write(move |conn| Box::pin(wish_one(conn, wish))).await
    }
}

async fn submit_one(
    conn: &mut SqliteConnection,
    it: Submission,
) -> Result<End<SubmitOutcome>, Fault> {
    let (id, customer) = (uuid(it.id.0), uuid(it.customer.0));
    if let Some(own) = find(conn, customer, id).await? {
        return Ok(End::Undo(SubmitOutcome::Created(own.view()?)));
    }
    if let Some(outcome) = existing(conn, &it).await? {
        return Ok(End::Undo(outcome));
    }
    let typed: bool = sqlx::query_scalar(
        "select exists (select 1 from workload_configs where customer_id = $1 and workload_type = $2)",
    )
    .bind(customer)
    .bind(it.workload_type.as_str())
    .fetch_one(&mut *conn)
    .await?;
    let account: Option<CustomerColumns> = sqlx::query_as(USE)
        .bind(customer)
        .fetch_optional(&mut *conn)
        .await?;
    let Some(account) = account.filter(|_| typed) else {
        return Ok(End::Undo(SubmitOutcome::UnknownType));
    };
    let limit = account.limits()?.max_queue_depth;
    if account.queued() >= i64::from(limit) {
        return Ok(End::Undo(SubmitOutcome::QueueFull { limit }));
    }
    insert(conn, &it, now()).await?;
    let Some(row) = find(conn, customer, id).await? else {
        return Err(StoreError::Failed("a workload was not inserted".into()).into());
    };
    Ok(End::Keep(SubmitOutcome::Created(row.view()?)))
}

/// What the idempotency record says, if there is one.
async fn existing(
    conn: &mut SqliteConnection,
    it: &Submission,
) -> Result<Option<SubmitOutcome>, Fault> {
    let Some((key, hash)) = &it.idempotency else {
        return Ok(None);
    };
    maybe_text(Some(key))?;
    let record: Option<(Vec<u8>, Uuid)> = sqlx::query_as(
        "select body_hash, workload_id from idempotency where customer_id = $1 and key = $2",
    )
    .bind(uuid(it.customer.0))
    .bind(key)
    .fetch_optional(&mut *conn)
    .await?;
    let Some((stored, workload)) = record else {
        return Ok(None);
    };
    if stored != hash {
        return Ok(Some(SubmitOutcome::KeyReused));
    }
    let row: Option<ViewColumns> = find(conn, uuid(it.customer.0), workload).await?;
    Ok(row
        .map(|row| row.view().map(SubmitOutcome::Existing))
        .transpose()?)
}

async fn insert(conn: &mut SqliteConnection, it: &Submission, at: WallTime) -> Result<(), Fault> {
    let (id, customer) = (uuid(it.id.0), uuid(it.customer.0));
    if let Some((key, hash)) = &it.idempotency {
        sqlx::query("insert into idempotency values ($1, $2, $3, $4, $5)")
            .bind(customer)
            .bind(key)
            .bind(hash.to_vec())
            .bind(id)
            .bind(at.0)
            .execute(&mut *conn)
            .await?;
    }
    sqlx::query("update customer_submitted set submitted = submitted + 1 where customer_id = $1")
        .bind(customer)
        .execute(&mut *conn)
        .await?;
    sqlx::query(HOUR)
        .bind(customer)
        .bind(at.0 - at.0 % MICROS_AN_HOUR)
        .bind(it.workload_type.as_str())
        .execute(&mut *conn)
        .await?;
    let eligible = it.run_after.map_or(at, |run_after| run_after.max(at));
    let ageing = micros(Config::AGEING_PER_PRIORITY);
    sqlx::query(WORKLOAD)
        .bind(id)
        .bind(customer)
        .bind(it.workload_type.as_str())
        .bind(it.class.0)
        .bind(i64::from(it.priority))
        .bind(affinity_text(&it.affinity)?)
        .bind(it.max_retries.map(i64::from))
        .bind(it.timeout_seconds.map(i64::from))
        .bind(it.run_after.map(Time::from))
        .bind(at.0)
        .bind(eligible.0)
        .bind(eligible.0.saturating_sub(i64::from(it.priority) * ageing))
        .execute(&mut *conn)
        .await?;
    sqlx::query(PAYLOAD)
        .bind(id)
        .bind(customer)
        .bind(it.workload_type.as_str())
        .bind(json_text(&it.input_params)?)
        .bind(maybe_json_text(it.affinity_rules.as_ref())?)
        .bind(labels_text(&it.labels)?)
        .execute(&mut *conn)
        .await?;
    sqlx::query(EVENT)
        .bind(id)
        .bind(1)
        .bind("workload.created")
        .bind(at.0)
        .bind(it.actor.to_string())
        .bind(0)
        .bind("{}")
        .execute(conn)
        .await?;
    Ok(())
}

async fn wish_one(conn: &mut SqliteConnection, wish: Wish) -> Result<End<WishOutcome>, Fault> {
    let (customer, id) = (uuid(wish.customer.0), uuid(wish.workload.0));
    let Some(row) = find(conn, customer, id).await? else {
        return Ok(End::Undo(WishOutcome::NotFound));
    };
    if let Some(refusal) = wish.refusal(row.view()?) {
        return Ok(End::Undo(refusal));
    }
    let at = now();
    let (version, attempt): (i64, i64) = sqlx::query_as(WISH)
        .bind(customer)
        .bind(id)
        .bind(wish.desired.as_str())
        .bind(at.0)
        .fetch_one(&mut *conn)
        .await?;
    let details = wish
        .reason
        .as_ref()
        .map_or_else(|| json!({}), |it| json!({ "reason": it }));
    sqlx::query(EVENT)
        .bind(id)
        .bind(version)
        .bind(wish_event(wish.desired).as_str())
        .bind(at.0)
        .bind(wish.actor.to_string())
        .bind(attempt)
        .bind(details.to_string())
        .execute(&mut *conn)
        .await?;
    match find(conn, customer, id).await? {
        Some(row) => Ok(End::Keep(WishOutcome::Written(row.view()?))),
        None => Err(StoreError::Failed("a workload is gone".into()).into()),
    }
}
