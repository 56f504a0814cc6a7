//! Submissions: idempotency record, admission, workload and its audit event in one statement.
//!
//! Everybody takes the idempotency key first, the customer's counter second and its count of the hour
//! third, so no two submissions wait for each other in a circle. Admission is the condition of the very update that
//! counts the submission, so it is judged again on the newest row after a wait. If the key was taken
//! and the admission is then refused, the statement raises and nothing remains of it.

use super::super::{
    StoreError, Submission, SubmitOutcome, Tier,
    encode::{
        Time, affinity_text, json_text, labels_text, maybe_json_text, maybe_text, micros, uuid,
    },
    records::{CustomerColumns, ViewColumns, customer_columns, view_columns},
};
use super::{
    session::{Lane, Session, sqlstate},
    workloads::find,
};
use niyanta_core::Config;
use sqlx::{FromRow, Postgres, Row, postgres::PgArguments, query::Query};
use uuid::Uuid;

/// A submission that finds neither room nor a reason is judged again this often.
const TRIES: usize = 3;

const SUBMIT: &str = concat!(
    "with lim as (
        select g.*, m.left_queue, coalesce(c.max_queue_depth,
            ($17::bigint[])[array_position($18::text[], c.tier)]) as queue_limit
        from workload_configs g join customers c on c.id = g.customer_id
        join customer_moved m on m.customer_id = c.id
        where g.customer_id = $2 and g.workload_type = $6
            and not exists (select 1 from workloads where id = $1)),
    k as (
        insert into idempotency (customer_id, key, body_hash, workload_id, created_at)
        select $2, $4, $5, $1, clock_timestamp() from lim
        join customer_submitted s on s.customer_id = $2
        where $4::text is not null and s.submitted - lim.left_queue < lim.queue_limit
        on conflict do nothing returning 1),
    gate as (select 1 where $4::text is null union all select 1 from k),
    adm as (
        update customer_submitted s set submitted = s.submitted + 1 from lim, gate
        where s.customer_id = $2 and s.submitted - lim.left_queue < lim.queue_limit
        returning clock_timestamp() as at),
    h as (
        insert into hours_submitted as t (customer_id, hour, workload_type, submitted)
        select $2, date_trunc('hour', adm.at, 'UTC'), $6, 1 from adm
        on conflict (customer_id, hour, workload_type) do update set submitted = t.submitted + 1),
    w as (
        insert into workloads (id, customer_id, config_id, workload_type, placement_class,
            priority, affinity, max_retries, timeout_seconds, on_lease_loss, run_after, created_at,
            desired, wish_revision, status, open, attempt, retry_count, loss_count, eligible_at,
            sort_key, wish_seen, version, updated_at)
        select $1, $2, lim.id, $6, $7, $8, $9::jsonb, coalesce($10, lim.max_retries),
            coalesce($11, lim.timeout_seconds), lim.on_lease_loss, $12, adm.at, 'run', 0,
            'PENDING', true, 0, 0, 0, greatest($12, adm.at),
            (extract(epoch from greatest($12, adm.at)) * 1000000)::bigint - $8 * $16, 0, 1, adm.at
        from lim, adm returning *),
    p as (
        insert into workload_payloads (workload_id, input_params, config_json, resource_limits,
            checkpoint_interval_sec, affinity_rules, labels)
        select w.id, $13::json, lim.config_json, lim.resource_limits, lim.checkpoint_interval_sec,
            $14::json, $15::jsonb
        from w, lim returning *),
    a as (
        insert into audit (workload_id, sequence, kind, at, actor_type, actor_id, attempt,
            generation, details)
        select w.id, 1, 'workload.created', w.created_at, 'user', $3, 0, 0, '{}' from w),
    n as (
        select case when (select count(*) from k) = 1 and (select count(*) from w) = 0
            then niyanta_raise('NY002', 'the queue filled up') end as raised)
    select n.raised, ",
    view_columns!(),
    " from n left join w on true left join p on p.workload_id = w.id
      left join (select null::bigint as result_attempt, null::json as result_data,
        null::bigint as error_attempt, null::text as error_message) o on true"
);

/// What there is for a submission that created nothing.
const WHY: &str = "select i.body_hash, i.workload_id,
        exists (select 1 from workload_configs where customer_id = $1 and workload_type = $3)
    from (select 1) one left join idempotency i on i.customer_id = $1 and i.key = $2";

const USE: &str = concat!(
    "select ",
    customer_columns!(),
    " from customers c join customer_submitted s on s.customer_id = c.id
      join customer_moved m on m.customer_id = c.id where c.id = $1"
);

/// What was found after a submission that created nothing.
struct Found {
    own: Option<ViewColumns>,
    record: Option<(Vec<u8>, Option<ViewColumns>)>,
    config: bool,
    customer: Option<CustomerColumns>,
}

impl Session {
    pub(super) async fn submit(
        &self,
        submissions: &[Submission],
    ) -> Vec<Result<SubmitOutcome, StoreError>> {
        // One after the other: a customer's submissions would wait for each other's commit anyway,
        // and in this order the first is the first to be scheduled.
        let mut outcomes = Vec::with_capacity(submissions.len());
        for submission in submissions {
            outcomes.push(self.submit_one(submission).await);
        }
        outcomes
    }

    async fn submit_one(&self, submission: &Submission) -> Result<SubmitOutcome, StoreError> {
        let columns = Columns::new(submission)?;
        let mut full = None;
        for _ in 0..TRIES {
            let sent = columns.clone();
            let created = self
                .write_past_sleepers(Lane::Api, move |conn| {
                    Box::pin(async move {
                        let row = sent.bind(sqlx::query(SUBMIT)).fetch_one(conn).await?;
                        let id: Option<Uuid> = row.try_get("id")?;
                        id.map(|_| ViewColumns::from_row(&row)).transpose()
                    })
                })
                .await;
            match created {
                Ok(Some(row)) => return Ok(SubmitOutcome::Created(ViewColumns::view(row)?)),
                Ok(None) => {}
                // Somebody sent the same id (23505), or took the last room (NY002), meanwhile.
                Err(error) if matches!(sqlstate(&error).as_deref(), Some("23505" | "NY002")) => {}
                Err(error) => return Err(error),
            }
            let found = self.why_not(submission).await?;
            if let Some(own) = found.own {
                return Ok(SubmitOutcome::Created(own.view()?));
            }
            if let Some(outcome) = existing(submission, found.record)? {
                return Ok(outcome);
            }
            let Some(customer) = found.customer.filter(|_| found.config) else {
                return Ok(SubmitOutcome::UnknownType);
            };
            let limit = customer.limits()?.max_queue_depth;
            full = Some(SubmitOutcome::QueueFull { limit });
            if customer.queued() >= i64::from(limit) {
                break;
            }
        }
        Ok(full.unwrap_or(SubmitOutcome::UnknownType))
    }

    async fn why_not(&self, submission: &Submission) -> Result<Found, StoreError> {
        let (customer, id) = (uuid(submission.customer.0), uuid(submission.id.0));
        let key = submission.idempotency.as_ref().map(|(key, _)| key.clone());
        let kind = submission.workload_type.to_string();
        self.read(Lane::Api, move |conn| {
            Box::pin(async move {
                let (hash, existing, config): (Option<Vec<u8>>, Option<Uuid>, bool) =
                    sqlx::query_as(WHY)
                        .bind(customer)
                        .bind(key)
                        .bind(kind)
                        .fetch_one(&mut *conn)
                        .await?;
                let own = find(conn, customer, id).await?;
                let record = match hash.zip(existing) {
                    Some((hash, id)) => Some((hash, find(conn, customer, id).await?)),
                    None => None,
                };
                let customer = sqlx::query_as(USE)
                    .bind(customer)
                    .fetch_optional(&mut *conn)
                    .await?;
                Ok(Found {
                    own,
                    record,
                    config,
                    customer,
                })
            })
        })
        .await
    }
}

/// What the idempotency record says, if there is one.
fn existing(
    submission: &Submission,
    record: Option<(Vec<u8>, Option<ViewColumns>)>,
) -> Result<Option<SubmitOutcome>, StoreError> {
    let (Some((stored, row)), Some((_, hash))) = (record, &submission.idempotency) else {
        return Ok(None);
    };
    if stored != hash {
        return Ok(Some(SubmitOutcome::KeyReused));
    }
    // A record outlives its workload only while both are being retired: then it names nothing.
    row.map(|row| Ok(SubmitOutcome::Existing(row.view()?)))
        .transpose()
}

/// A submission as the statement wants it.
#[derive(Debug, Clone)]
struct Columns {
    id: Uuid,
    customer: Uuid,
    actor: String,
    key: Option<String>,
    hash: Option<Vec<u8>>,
    workload_type: String,
    class: i64,
    priority: i64,
    affinity: String,
    max_retries: Option<i64>,
    timeout: Option<i64>,
    run_after: Option<Time>,
    input: String,
    rules: Option<String>,
    labels: String,
}

impl Columns {
    fn new(it: &Submission) -> Result<Self, StoreError> {
        let key = it.idempotency.as_ref().map(|(key, _)| key.as_str());
        Ok(Self {
            id: uuid(it.id.0),
            customer: uuid(it.customer.0),
            actor: it.actor.to_string(),
            key: maybe_text(key)?.map(str::to_owned),
            hash: it.idempotency.as_ref().map(|(_, hash)| hash.to_vec()),
            workload_type: it.workload_type.to_string(),
            class: it.class.0,
            priority: it.priority.into(),
            affinity: affinity_text(&it.affinity)?,
            max_retries: it.max_retries.map(i64::from),
            timeout: it.timeout_seconds.map(i64::from),
            run_after: it.run_after.map(Time::from),
            input: json_text(&it.input_params)?,
            rules: maybe_json_text(it.affinity_rules.as_ref())?,
            labels: labels_text(&it.labels)?,
        })
    }

    fn bind<'q>(
        &'q self,
        query: Query<'q, Postgres, PgArguments>,
    ) -> Query<'q, Postgres, PgArguments> {
        let limits = Tier::ALL.map(|tier| i64::from(tier.limits().max_queue_depth));
        query
            .bind(self.id)
            .bind(self.customer)
            .bind(&self.actor)
            .bind(&self.key)
            .bind(&self.hash)
            .bind(&self.workload_type)
            .bind(self.class)
            .bind(self.priority)
            .bind(&self.affinity)
            .bind(self.max_retries)
            .bind(self.timeout)
            .bind(self.run_after)
            .bind(&self.input)
            .bind(&self.rules)
            .bind(&self.labels)
            .bind(micros(Config::AGEING_PER_PRIORITY))
            .bind(limits.to_vec())
            .bind(Tier::ALL.map(Tier::as_str).to_vec())
    }
}
