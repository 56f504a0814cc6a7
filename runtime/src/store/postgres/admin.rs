//! What operators do and read: coordinators, workers, customers. Keys are `keys`'s.
//!
//! Each write carries its admin audit event in the same statement. The event's number is taken last,
//! from one row that all such writes update: so the numbers are in commit order, without gaps.

use super::super::{
    AdminActor, AdminAuditRow, CoordinatorRecord, CoordinatorRow, CustomerPatch, CustomerRecord,
    CustomerView, Page, PatchCustomer, Revision, StoreError, WorkerFilter, WorkerView, WorkerWish,
    WorkerWishOutcome,
    encode::{Time, int, micros, text, uuid},
    records::{
        AdminAuditColumns, CoordinatorColumns, CustomerColumns, RunningColumns, WorkerColumns,
        customer_columns, worker_columns,
    },
    shared::{actor_name, customer_details, patch_details, worker_action, worker_views},
};
use super::{
    session::{Lane, Session, sqlstate},
    workloads::place,
};
use niyanta_core::{
    ids::{CustomerId, Incarnation, WorkerId},
    time::Duration,
};
use sqlx::PgConnection;

/// Appends the admin audit event of the rows of `$from`, at most one: actor, action, subject,
/// details are the parameters of these numbers.
macro_rules! audited {
    ($from:literal, $actor:literal, $action:literal, $subject:literal, $details:literal) => {
        concat!(
            ", h as (
                update admin_audit_head set last = last + 1 from ",
            $from,
            "   where admin_audit_head.id = 1 returning last),
            e as (
                insert into admin_audit (sequence, at, actor_id, action, subject, details)
                select h.last, clock_timestamp(), ",
            $actor,
            ", ",
            $action,
            ", ",
            $subject,
            ", ",
            $details,
            "::json from h)"
        )
    };
}
pub(super) use audited;

const SEE_COORDINATOR: &str = "\
insert into coordinators (incarnation, coordinator_id, address, version, started_at, last_seen)
values ($1, $2, $3, $4, clock_timestamp(), clock_timestamp())
on conflict (incarnation) do update set coordinator_id = excluded.coordinator_id,
    address = excluded.address, version = excluded.version, last_seen = excluded.last_seen";

const COORDINATORS: &str = "\
select c.incarnation, c.coordinator_id, c.address, c.version, c.started_at, c.last_seen,
    l.id is not null as is_leader, coalesce(l.generation, 0) as generation
from coordinators c
left join lease l on l.incarnation = c.incarnation and not l.resigned
    and l.expires_at > clock_timestamp()
where c.last_seen > clock_timestamp() - $1 * interval '1 microsecond'
order by c.started_at, c.incarnation";

const WORKERS: &str = concat!(
    "select ",
    worker_columns!(),
    " from workers t left join worker_wishes d using (worker_id)
      where t.worker_id collate \"C\" > $1 collate \"C\"
        and (cardinality($2::text[]) = 0 or t.status = any($2))
      order by t.worker_id collate \"C\" limit $3"
);
const WORKER: &str = concat!(
    "select ",
    worker_columns!(),
    " from workers t left join worker_wishes d using (worker_id) where t.worker_id = $1"
);
const RUNNING: &str = "\
select worker_id, id, attempt from workloads where open and worker_id = any($1) order by id";

/// Upon the revision that it names: one that is read by the snapshot when no wish is there, and by
/// the locked row otherwise.
const WISH_WORKER: &str = concat!(
    "with d as (
        insert into worker_wishes as t (worker_id, desired, wish_revision, drain_deadline)
        select w.worker_id, $2, w.wish_seen + 1,
            clock_timestamp() + $3 * interval '1 microsecond'
        from workers w left join worker_wishes b using (worker_id)
        where w.worker_id = $1 and w.incarnation = $7 and coalesce(b.wish_revision, 0) = $8
        on conflict (worker_id) do update set desired = excluded.desired,
            wish_revision = greatest(t.wish_revision + 1, excluded.wish_revision),
            drain_deadline = excluded.drain_deadline
        where t.wish_revision = $8
        returning *)",
    audited!("d", "$4", "$5", "$1", "$6"),
    " select ",
    worker_columns!(),
    " from workers t join d using (worker_id)"
);

const CREATE_CUSTOMER: &str = concat!(
    "with c as (
        insert into customers (id, name, tier, max_concurrent_workloads, max_queue_depth,
            rate_limit_per_sec, rate_limit_burst, created_at)
        values ($1, $2, $3, $4, $5, $6, $7, clock_timestamp()) returning *),
    s as (
        insert into customer_submitted select id, 0 from c returning *),
    m as (
        insert into customer_moved select id, 0, 0 from c returning *)",
    audited!("c", "$8", "'customer.created'", "$9", "$10"),
    " select ",
    customer_columns!(),
    " from c, s, m"
);
const CUSTOMER: &str = concat!(
    "select ",
    customer_columns!(),
    " from customers c join customer_submitted s on s.customer_id = c.id
      join customer_moved m on m.customer_id = c.id where c.id = $1"
);
const CUSTOMERS_UP: &str = concat!(
    "select ",
    customer_columns!(),
    " from customers c join customer_submitted s on s.customer_id = c.id
      join customer_moved m on m.customer_id = c.id
      where (c.created_at, c.id) > ($1, $2) and ($3::timestamptz is null or c.created_at <= $3)
      order by c.created_at, c.id limit $4"
);
const CUSTOMERS_DOWN: &str = concat!(
    "select ",
    customer_columns!(),
    " from customers c join customer_submitted s on s.customer_id = c.id
      join customer_moved m on m.customer_id = c.id
      where (c.created_at, c.id) < ($1, $2) and ($3::timestamptz is null or c.created_at <= $3)
      order by c.created_at desc, c.id desc limit $4"
);
/// For each limit: whether it changes, and to what.
const PATCH_CUSTOMER: &str = concat!(
    "with c as (
        update customers set name = coalesce($2, name), tier = coalesce($3, tier),
            max_concurrent_workloads = case when $4 then $5 else max_concurrent_workloads end,
            max_queue_depth = case when $6 then $7 else max_queue_depth end,
            rate_limit_per_sec = case when $8 then $9 else rate_limit_per_sec end,
            rate_limit_burst = case when $10 then $11 else rate_limit_burst end,
            revision = revision + 1
        where id = $1 and revision = $15 returning *)",
    audited!("c", "$12", "'customer.updated'", "$13", "$14"),
    " select ",
    customer_columns!(),
    " from c join customer_submitted s on s.customer_id = c.id
      join customer_moved m on m.customer_id = c.id"
);

const ADMIN_AUDIT: &str = "\
select sequence, at, actor_id, action, subject, details from admin_audit
where sequence > $1 order by sequence limit $2";

/// What a worker runs.
async fn running(
    conn: &mut PgConnection,
    worker: &str,
) -> Result<Vec<RunningColumns>, sqlx::Error> {
    sqlx::query_as(RUNNING)
        .bind(vec![worker])
        .fetch_all(conn)
        .await
}

impl Session {
    pub(super) async fn record_coordinator(
        &self,
        coordinator: &CoordinatorRecord,
    ) -> Result<(), StoreError> {
        text(&coordinator.coordinator_id)?;
        let it = coordinator.clone();
        self.write(Lane::Api, move |conn| {
            Box::pin(async move {
                sqlx::query(SEE_COORDINATOR)
                    .bind(it.incarnation.as_str())
                    .bind(it.coordinator_id)
                    .bind(it.address)
                    .bind(it.version)
                    .execute(conn)
                    .await
                    .map(|_| ())
            })
        })
        .await
    }

    pub(super) async fn remove_coordinator(
        &self,
        incarnation: &Incarnation,
    ) -> Result<(), StoreError> {
        let incarnation = incarnation.clone();
        self.write(Lane::Api, move |conn| {
            Box::pin(async move {
                sqlx::query("delete from coordinators where incarnation = $1")
                    .bind(incarnation.as_str())
                    .execute(conn)
                    .await
                    .map(|_| ())
            })
        })
        .await
    }

    pub(super) async fn coordinators(
        &self,
        within: Duration,
    ) -> Result<Vec<CoordinatorRow>, StoreError> {
        let rows: Vec<CoordinatorColumns> = self
            .read(Lane::Api, move |conn| {
                Box::pin(async move {
                    sqlx::query_as(COORDINATORS)
                        .bind(micros(within))
                        .fetch_all(conn)
                        .await
                })
            })
            .await?;
        rows.into_iter().map(CoordinatorColumns::read).collect()
    }

    pub(super) async fn workers(
        &self,
        filter: &WorkerFilter,
        after: Option<&WorkerId>,
        limit: u32,
    ) -> Result<Vec<WorkerView>, StoreError> {
        let after = after.map_or_else(String::new, ToString::to_string);
        let status: Vec<&'static str> = filter.status.iter().map(|it| it.as_str()).collect();
        let (rows, running) = self
            .read(Lane::Api, move |conn| {
                Box::pin(async move {
                    let rows: Vec<WorkerColumns> = sqlx::query_as(WORKERS)
                        .bind(after)
                        .bind(status)
                        .bind(i64::from(limit))
                        .fetch_all(&mut *conn)
                        .await?;
                    let ids: Vec<&str> = rows.iter().map(WorkerColumns::id).collect();
                    let running: Vec<RunningColumns> = sqlx::query_as(RUNNING)
                        .bind(&ids)
                        .fetch_all(&mut *conn)
                        .await?;
                    drop(ids);
                    Ok((rows, running))
                })
            })
            .await?;
        worker_views(rows, &running)
    }

    pub(super) async fn worker(&self, worker: &WorkerId) -> Result<Option<WorkerView>, StoreError> {
        let worker = worker.to_string();
        let (rows, running) = self
            .read(Lane::Api, move |conn| {
                Box::pin(async move {
                    let rows: Vec<WorkerColumns> = sqlx::query_as(WORKER)
                        .bind(&worker)
                        .fetch_all(&mut *conn)
                        .await?;
                    Ok((rows, running(conn, &worker).await?))
                })
            })
            .await?;
        worker_views(rows, &running).map(|mut views| views.pop())
    }

    pub(super) async fn wish_worker(
        &self,
        wish: &WorkerWish,
    ) -> Result<WorkerWishOutcome, StoreError> {
        let Some(row) = self.write_worker_wish(wish).await? else {
            let found = self.worker(&wish.worker).await?;
            return Ok(found.map_or(WorkerWishOutcome::NotFound, |view| {
                WorkerWishOutcome::Overtaken(Box::new(view))
            }));
        };
        let worker = wish.worker.to_string();
        let running = self
            .read(Lane::Api, move |conn| {
                Box::pin(async move { running(conn, &worker).await })
            })
            .await
            // It is written: whoever looks again sees it.
            .map_err(|error| StoreError::Unknown(error.into()))?;
        let view = worker_views(vec![row], &running)?.pop();
        Ok(view.map_or(WorkerWishOutcome::NotFound, |view| {
            WorkerWishOutcome::Written(Box::new(view))
        }))
    }

    async fn write_worker_wish(
        &self,
        wish: &WorkerWish,
    ) -> Result<Option<WorkerColumns>, StoreError> {
        let (action, details) = worker_action(wish);
        let actor = actor_name(&wish.actor);
        let (id, desired) = (wish.worker.to_string(), wish.desired.as_str());
        let deadline = wish.deadline.map(micros);
        let (incarnation, upon) = (wish.incarnation.to_string(), int(wish.upon.0)?);
        self.write_past_sleepers(Lane::Api, move |conn| {
            Box::pin(async move {
                sqlx::query_as(WISH_WORKER)
                    .bind(id)
                    .bind(desired)
                    .bind(deadline)
                    .bind(actor)
                    .bind(action)
                    .bind(details)
                    .bind(incarnation)
                    .bind(upon)
                    .fetch_optional(conn)
                    .await
            })
        })
        .await
    }

    pub(super) async fn create_customer(
        &self,
        customer: &CustomerRecord,
        actor: &AdminActor,
    ) -> Result<CustomerView, StoreError> {
        text(&customer.name)?;
        let (it, actor) = (customer.clone(), actor_name(actor));
        let details = customer_details(customer);
        let created = self
            .write(Lane::Api, move |conn| {
                Box::pin(async move {
                    let limits = it.overrides;
                    let row: CustomerColumns = sqlx::query_as(CREATE_CUSTOMER)
                        .bind(uuid(it.id.0))
                        .bind(it.name)
                        .bind(it.tier.as_str())
                        .bind(limits.max_concurrent_workloads.map(i64::from))
                        .bind(limits.max_queue_depth.map(i64::from))
                        .bind(limits.rate_limit_per_sec.map(i64::from))
                        .bind(limits.rate_limit_burst.map(i64::from))
                        .bind(actor)
                        .bind(it.id.to_string())
                        .bind(details)
                        .fetch_one(conn)
                        .await?;
                    Ok(row)
                })
            })
            .await;
        match created {
            Ok(row) => row.view(),
            // An earlier sending of this statement made it.
            Err(error) if sqlstate(&error).as_deref() == Some("23505") => {
                self.customer(customer.id).await?.ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn customer(
        &self,
        customer: CustomerId,
    ) -> Result<Option<CustomerView>, StoreError> {
        let id = uuid(customer.0);
        let row: Option<CustomerColumns> = self
            .read(Lane::Api, move |conn| {
                Box::pin(
                    async move { sqlx::query_as(CUSTOMER).bind(id).fetch_optional(conn).await },
                )
            })
            .await?;
        row.map(CustomerColumns::view).transpose()
    }

    pub(super) async fn customers(&self, page: &Page) -> Result<Vec<CustomerView>, StoreError> {
        let page = page.clone();
        let rows: Vec<CustomerColumns> = self
            .read(Lane::Api, move |conn| {
                Box::pin(async move {
                    let (at, id) = place(&page);
                    sqlx::query_as(if page.ascending {
                        CUSTOMERS_UP
                    } else {
                        CUSTOMERS_DOWN
                    })
                    .bind(at)
                    .bind(id)
                    .bind(page.until.map(Time::from))
                    .bind(i64::from(page.limit))
                    .fetch_all(conn)
                    .await
                })
            })
            .await?;
        rows.into_iter().map(CustomerColumns::view).collect()
    }

    pub(super) async fn patch_customer(
        &self,
        customer: CustomerId,
        patch: &CustomerPatch,
        upon: Revision,
        actor: &AdminActor,
    ) -> Result<PatchCustomer, StoreError> {
        if let Some(name) = &patch.name {
            text(name)?;
        }
        let (it, actor, details) = (patch.clone(), actor_name(actor), patch_details(patch));
        let upon = int(upon.0)?;
        let row: Option<CustomerColumns> = self
            .write(Lane::Api, move |conn| {
                Box::pin(async move {
                    let mut query = sqlx::query_as(PATCH_CUSTOMER)
                        .bind(uuid(customer.0))
                        .bind(it.name)
                        .bind(it.tier.map(super::super::Tier::as_str));
                    for limit in [
                        it.max_concurrent_workloads,
                        it.max_queue_depth,
                        it.rate_limit_per_sec,
                        it.rate_limit_burst,
                    ] {
                        query = query
                            .bind(limit.is_some())
                            .bind(limit.flatten().map(i64::from));
                    }
                    query
                        .bind(actor)
                        .bind(customer.to_string())
                        .bind(details)
                        .bind(upon)
                        .fetch_optional(conn)
                        .await
                })
            })
            .await?;
        if let Some(row) = row {
            return Ok(PatchCustomer::Patched(Box::new(row.view()?)));
        }
        let found = self.customer(customer).await?.map(Box::new);
        Ok(found.map_or(PatchCustomer::NotFound, PatchCustomer::Overtaken))
    }

    pub(super) async fn admin_audit(
        &self,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AdminAuditRow>, StoreError> {
        let rows: Vec<AdminAuditColumns> = self
            .read(Lane::Api, move |conn| {
                Box::pin(async move {
                    sqlx::query_as(ADMIN_AUDIT)
                        .bind(after.unwrap_or(0))
                        .bind(i64::from(limit))
                        .fetch_all(conn)
                        .await
                })
            })
            .await?;
        Ok(rows.into_iter().map(AdminAuditColumns::read).collect())
    }
}
