//! Workloads, their audit and their logs, as customers read them.

use super::super::{
    AuditRow, LogFilter, LogRow, Page, StoreError, WorkloadFilter, WorkloadView,
    encode::{Time, int, labels_text, uuid},
    records::{AuditColumns, LogColumns, ViewColumns, view_columns},
};
use super::session::{Lane, Session};
use niyanta_core::ids::{CustomerId, WorkloadId};
use sqlx::PgConnection;
use uuid::Uuid;

const ONE: &str = concat!(
    "select ",
    view_columns!(),
    " from workloads w join workload_payloads p on p.workload_id = w.id
      left join workload_outcomes o on o.workload_id = w.id where w.customer_id = $1 and w.id = $2"
);

macro_rules! list {
    ($beyond:literal, $order:literal) => {
        concat!(
            "select ",
            view_columns!(),
            " from workloads w join workload_payloads p on p.workload_id = w.id
              left join workload_outcomes o on o.workload_id = w.id
              where w.customer_id = $1 and ",
            $beyond,
            "
                and ($4::timestamptz is null or w.created_at <= $4)
                and (cardinality($5::text[]) = 0 or w.status = any($5))
                and ($6::text is null or w.workload_type = $6)
                and ($7::jsonb = '{}' or p.labels @> $7::jsonb)
                and ($8::timestamptz is null or w.created_at > $8)
                and ($9::timestamptz is null or w.created_at < $9)
              order by ",
            $order,
            " limit $10"
        )
    };
}
const LIST_UP: &str = list!("(w.created_at, w.id) > ($2, $3)", "w.created_at, w.id");
const LIST_DOWN: &str = list!(
    "(w.created_at, w.id) < ($2, $3)",
    "w.created_at desc, w.id desc"
);

const MINE: &str = "select exists (select 1 from workloads where customer_id = $1 and id = $2)";

const AUDIT: &str = "select sequence, kind, at, actor_type, actor_id, attempt, generation, details
    from audit where workload_id = $1 and sequence > $2 order by sequence limit $3";

/// A line that was sent again across midnight stands in two days: the first is taken.
const LOGS: &str = "select distinct on (attempt, sequence) attempt, sequence, at, level, message
    from logs where workload_id = $1 and (attempt, sequence) > ($2, $3)
        and ($4::timestamptz is null or at >= $4) and ($5::timestamptz is null or at < $5)
    order by attempt, sequence, day limit $6";

/// One workload of a customer.
pub(super) async fn find(
    conn: &mut PgConnection,
    customer: Uuid,
    id: Uuid,
) -> Result<Option<ViewColumns>, sqlx::Error> {
    sqlx::query_as(ONE)
        .bind(customer)
        .bind(id)
        .fetch_optional(conn)
        .await
}

/// The place that a page begins after: before the first or beyond the last, if none is given.
pub(super) fn place(page: &Page) -> (Time, Uuid) {
    match page.after {
        Some((at, id)) => (at.into(), uuid(id)),
        None if page.ascending => (Time(i64::MIN), Uuid::nil()),
        None => (Time(i64::MAX), Uuid::max()),
    }
}

impl Session {
    pub(super) async fn workload(
        &self,
        customer: CustomerId,
        workload: WorkloadId,
    ) -> Result<Option<WorkloadView>, StoreError> {
        let (customer, id) = (uuid(customer.0), uuid(workload.0));
        let row = self
            .read(Lane::Api, move |conn| Box::pin(find(conn, customer, id)))
            .await?;
        row.map(|row| row.view().map(|view| *view)).transpose()
    }

    pub(super) async fn workloads(
        &self,
        customer: CustomerId,
        filter: &WorkloadFilter,
        page: &Page,
    ) -> Result<Vec<WorkloadView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        let labels = labels_text(&filter.labels)?;
        let rows: Vec<ViewColumns> = self
            .read(Lane::Api, move |conn| {
                Box::pin(async move {
                    let (at, id) = place(&page);
                    let status: Vec<&str> = filter.status.iter().map(|it| it.as_str()).collect();
                    sqlx::query_as(if page.ascending { LIST_UP } else { LIST_DOWN })
                        .bind(uuid(customer.0))
                        .bind(at)
                        .bind(id)
                        .bind(page.until.map(Time::from))
                        .bind(status)
                        .bind(filter.workload_type.as_ref().map(|it| it.as_str()))
                        .bind(labels)
                        .bind(filter.created_after.map(Time::from))
                        .bind(filter.created_before.map(Time::from))
                        .bind(i64::from(page.limit))
                        .fetch_all(conn)
                        .await
                })
            })
            .await?;
        rows.into_iter()
            .map(|row| row.view().map(|view| *view))
            .collect()
    }

    pub(super) async fn audit(
        &self,
        customer: CustomerId,
        workload: WorkloadId,
        after_sequence: i64,
        limit: u32,
    ) -> Result<Option<Vec<AuditRow>>, StoreError> {
        let (customer, id) = (uuid(customer.0), uuid(workload.0));
        let rows: Option<Vec<AuditColumns>> = self
            .read(Lane::Api, move |conn| {
                Box::pin(async move {
                    if !is_mine(conn, customer, id).await? {
                        return Ok(None);
                    }
                    sqlx::query_as(AUDIT)
                        .bind(id)
                        .bind(after_sequence)
                        .bind(i64::from(limit))
                        .fetch_all(conn)
                        .await
                        .map(Some)
                })
            })
            .await?;
        rows.map(|rows| rows.into_iter().map(AuditColumns::read).collect())
            .transpose()
    }

    pub(super) async fn logs(
        &self,
        customer: CustomerId,
        workload: WorkloadId,
        filter: &LogFilter,
        limit: u32,
    ) -> Result<Option<Vec<LogRow>>, StoreError> {
        let (customer, id) = (uuid(customer.0), uuid(workload.0));
        let (attempt, sequence) = match filter.after {
            Some((attempt, sequence)) => (i64::from(attempt.0), int(sequence)?),
            None => (-1, -1),
        };
        let (since, until) = (filter.since.map(Time::from), filter.until.map(Time::from));
        let rows: Option<Vec<LogColumns>> = self
            .read(Lane::Api, move |conn| {
                Box::pin(async move {
                    if !is_mine(conn, customer, id).await? {
                        return Ok(None);
                    }
                    sqlx::query_as(LOGS)
                        .bind(id)
                        .bind(attempt)
                        .bind(sequence)
                        .bind(since)
                        .bind(until)
                        .bind(i64::from(limit))
                        .fetch_all(conn)
                        .await
                        .map(Some)
                })
            })
            .await?;
        rows.map(|rows| rows.into_iter().map(LogColumns::read).collect())
            .transpose()
    }
}

async fn is_mine(conn: &mut PgConnection, customer: Uuid, id: Uuid) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(MINE)
        .bind(customer)
        .bind(id)
        .fetch_one(conn)
        .await
}
