//! Statistics from the counts of hours, and the removal of what is old, so many rows at a time.

use super::super::{
    Retire, StatsGroup, StatsQuery, StatsRow, StoreError,
    encode::{Time, micros, uuid},
    records::StatsColumns,
};
use super::session::{End, Session, now};
use niyanta_core::{ids::CustomerId, time::Duration};

const STATS: &str = "\
select case when $4 > 0 then hour - hour % $4 end as start,
    case when $4 = 0 then workload_type end as workload_type,
    sum(submitted) as submitted, sum(completed) as completed, sum(failed) as failed,
    sum(cancelled) as cancelled, sum(run_micros) as run_micros
from (
    select hour, workload_type, submitted, 0 as completed, 0 as failed, 0 as cancelled,
        0 as run_micros
    from hours_submitted where customer_id = $1 and hour >= $2 and hour < $3
    union all
    select hour, workload_type, 0, completed, failed, cancelled, run_micros
    from hours_ended where customer_id = $1 and hour >= $2 and hour < $3) counted
group by 1, 2 order by 1, 2";

/// What belongs to a workload, before the workload itself.
const OF_WORKLOADS: [&str; 7] = [
    "delete from idempotency where workload_id in (select value from temp.retired)",
    "delete from logs where workload_id in (select value from temp.retired)",
    "delete from audit where workload_id in (select value from temp.retired)",
    "delete from checkpoints where workload_id in (select value from temp.retired)",
    "delete from workload_outcomes where workload_id in (select value from temp.retired)",
    "delete from workload_payloads where workload_id in (select value from temp.retired)",
    "delete from workloads where id in (select value from temp.retired)",
];

const LOGS: &str = "\
delete from logs where (workload_id, attempt, sequence) in (
    select workload_id, attempt, sequence from logs where day < $1 / 86400000000 limit $2)";

const IDEMPOTENCY: &str = "\
delete from idempotency where rowid in (
    select rowid from idempotency where created_at < $1 order by created_at limit $2)";

const HOURS: [&str; 2] = [
    "delete from hours_submitted where (customer_id, hour, workload_type) in (
        select customer_id, hour, workload_type from hours_submitted where hour < $1 limit $2)",
    "delete from hours_ended where (customer_id, hour, workload_type) in (
        select customer_id, hour, workload_type from hours_ended where hour < $1 limit $2)",
];

const COORDINATORS: &str = "\
delete from coordinators where incarnation in (
    select incarnation from coordinators where last_seen < $1 limit $2)";

impl Session {
    pub(super) async fn stats(
        &self,
        customer: CustomerId,
        query: &StatsQuery,
    ) -> Result<Vec<StatsRow>, StoreError> {
        let query = *query;
        let unit = match query.group {
            StatsGroup::Hour => micros(Duration::from_secs(3_600)),
            StatsGroup::Day => micros(Duration::from_secs(86_400)),
            StatsGroup::WorkloadType => 0,
        };
        let rows: Vec<StatsColumns> = self
            .fetch(move |conn| {
                Box::pin(async move {
                    sqlx::query_as(STATS)
                        .bind(uuid(customer.0))
                        .bind(Time::from(query.from))
                        .bind(Time::from(query.to))
                        .bind(unit)
                        .fetch_all(conn)
                        .await
                })
            })
            .await?;
        Ok(rows.into_iter().map(StatsColumns::read).collect())
    }

    pub(super) async fn retire(&self, what: &Retire, limit: u32) -> Result<u64, StoreError> {
        let (statements, age): (&'static [&'static str], Duration) = match *what {
            Retire::Workloads(age) => return self.retire_workloads(age, limit).await,
            Retire::Logs(age) => (&[LOGS], age),
            Retire::Idempotency(age) => (&[IDEMPOTENCY], age),
            Retire::Hours(age) => (&HOURS, age),
            Retire::Coordinators(age) => (&[COORDINATORS], age),
        };
        self.write(move |conn| {
            Box::pin(async move {
                let mut most = 0;
                for statement in statements.iter().copied() {
                    let done = sqlx::query(statement)
                        .bind(now().0.saturating_sub(micros(age)))
                        .bind(i64::from(limit))
                        .execute(&mut *conn)
                        .await?;
                    most = most.max(done.rows_affected());
                }
                Ok(End::Keep(most))
            })
        })
        .await
    }

    async fn retire_workloads(&self, age: Duration, limit: u32) -> Result<u64, StoreError> {
        self.write(move |conn| {
            Box::pin(async move {
                sqlx::query("create temp table if not exists retired (value blob primary key)")
                    .execute(&mut *conn)
                    .await?;
                sqlx::query("delete from temp.retired")
                    .execute(&mut *conn)
                    .await?;
                let chosen = sqlx::query(
                    "insert into temp.retired select id from workloads
                     where not open and completed_at < $1 order by completed_at limit $2",
                )
                .bind(now().0.saturating_sub(micros(age)))
                .bind(i64::from(limit))
                .execute(&mut *conn)
                .await?;
                if chosen.rows_affected() > 0 {
                    for statement in OF_WORKLOADS {
                        sqlx::query(statement).execute(&mut *conn).await?;
                    }
                }
                Ok(End::Keep(chosen.rows_affected()))
            })
        })
        .await
    }
}
