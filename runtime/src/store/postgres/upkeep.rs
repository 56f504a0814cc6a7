//! Statistics from the counts of hours, and the removal of what is old.
//!
//! Each removal is one statement that takes at most so many rows, oldest first, and skips rows that
//! somebody holds: they go the next time. A workload goes with all that belongs to it, in one
//! statement; whoever writes beside it holds its row, so nothing of it is left.

use super::super::{
    Retire, StatsQuery, StatsRow, StoreError,
    encode::{Time, micros, uuid},
    records::StatsColumns,
};
use super::session::{Lane, Session};
use niyanta_core::ids::CustomerId;

const STATS: &str = "\
select case when $4 = 'workload_type' then null else date_trunc($5, hour, 'UTC') end as start,
    case when $4 = 'workload_type' then workload_type end as workload_type,
    sum(submitted)::bigint as submitted, sum(completed)::bigint as completed,
    sum(failed)::bigint as failed, sum(cancelled)::bigint as cancelled,
    sum(run_micros)::bigint as run_micros
from (
    select hour, workload_type, submitted, 0::bigint as completed, 0::bigint as failed,
        0::bigint as cancelled, 0::bigint as run_micros
    from hours_submitted where customer_id = $1 and hour >= $2 and hour < $3
    union all
    select hour, workload_type, 0, completed, failed, cancelled, run_micros
    from hours_ended where customer_id = $1 and hour >= $2 and hour < $3) counted
group by 1, 2 order by 1, 2";

const WORKLOADS: &str = "\
with dead as materialized (
    select id from workloads
    where not open and completed_at < clock_timestamp() - $1 * interval '1 microsecond'
    order by completed_at limit $2 for update skip locked),
i as (delete from idempotency t using dead where t.workload_id = dead.id),
l as (delete from logs t using dead where t.workload_id = dead.id),
a as (delete from audit t using dead where t.workload_id = dead.id),
c as (delete from checkpoints t using dead where t.workload_id = dead.id),
o as (delete from workload_outcomes t using dead where t.workload_id = dead.id),
p as (delete from workload_payloads t using dead where t.workload_id = dead.id),
w as (delete from workloads t using dead where t.id = dead.id returning 1)
select count(*) from w";

/// Lines are kept until the whole day on which they came is old enough.
const LOGS: &str = "\
select niyanta_retire_logs(
    ((clock_timestamp() - $1 * interval '1 microsecond') at time zone 'UTC')::date, $2::int)";

const PREPARE_LOGS: &str = "select niyanta_prepare_log_days(7)";

const IDEMPOTENCY: &str = "\
with dead as materialized (
    select customer_id, key from idempotency
    where created_at < clock_timestamp() - $1 * interval '1 microsecond'
    order by created_at limit $2 for update skip locked),
d as (
    delete from idempotency t using dead
    where t.customer_id = dead.customer_id and t.key = dead.key returning 1)
select count(*) from d";

const HOURS: &str = "\
with s as (
    delete from hours_submitted where ctid = any(array(
        select ctid from hours_submitted
        where hour < clock_timestamp() - $1 * interval '1 microsecond'
        order by hour limit $2 for update skip locked)) returning 1),
e as (
    delete from hours_ended where ctid = any(array(
        select ctid from hours_ended
        where hour < clock_timestamp() - $1 * interval '1 microsecond'
        order by hour limit $2 for update skip locked)) returning 1)
select greatest((select count(*) from s), (select count(*) from e))";

const COORDINATORS: &str = "\
with dead as materialized (
    select incarnation from coordinators
    where last_seen < clock_timestamp() - $1 * interval '1 microsecond'
    limit $2 for update skip locked),
d as (delete from coordinators t using dead where t.incarnation = dead.incarnation returning 1)
select count(*) from d";

impl Session {
    pub(super) async fn stats(
        &self,
        customer: CustomerId,
        query: &StatsQuery,
    ) -> Result<Vec<StatsRow>, StoreError> {
        let query = *query;
        let unit = match query.group.as_str() {
            "day" => "day",
            _ => "hour",
        };
        let rows: Vec<StatsColumns> = self
            .read(Lane::Api, move |conn| {
                Box::pin(async move {
                    sqlx::query_as(STATS)
                        .bind(uuid(customer.0))
                        .bind(Time::from(query.from))
                        .bind(Time::from(query.to))
                        .bind(query.group.as_str())
                        .bind(unit)
                        .fetch_all(conn)
                        .await
                })
            })
            .await?;
        Ok(rows.into_iter().map(StatsColumns::read).collect())
    }

    pub(super) async fn retire(&self, what: &Retire, limit: u32) -> Result<u64, StoreError> {
        let (statement, age) = match *what {
            Retire::Workloads(age) => (WORKLOADS, age),
            Retire::Logs(age) => (LOGS, age),
            Retire::Idempotency(age) => (IDEMPOTENCY, age),
            Retire::Hours(age) => (HOURS, age),
            Retire::Coordinators(age) => (COORDINATORS, age),
        };
        if matches!(what, Retire::Logs(_)) {
            self.write(Lane::Api, |conn| {
                Box::pin(async move { sqlx::query(PREPARE_LOGS).execute(conn).await.map(|_| ()) })
            })
            .await?;
        }
        let gone: i64 = self
            .write(Lane::Api, move |conn| {
                Box::pin(async move {
                    sqlx::query_scalar(statement)
                        .bind(micros(age))
                        .bind(i64::from(limit))
                        .fetch_one(conn)
                        .await
                })
            })
            .await?;
        Ok(gone.unsigned_abs())
    }
}
