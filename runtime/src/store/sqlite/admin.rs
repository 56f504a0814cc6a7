//! What operators do and read: coordinators, workers, customers, keys. Each write carries its admin
//! audit event in the same closure.

use super::super::{
    AdminActor, AdminAuditRow, CoordinatorRecord, CoordinatorRow, CustomerPatch, CustomerRecord,
    CustomerView, Json, KeyId, KeyRecord, KeyRow, Page, PatchCustomer, Revision, StoreError, Tier,
    WorkerFilter, WorkerView, WorkerWish, WorkerWishOutcome,
    encode::{Time, int, text, uuid},
    records::{
        AdminAuditColumns, CoordinatorColumns, CustomerColumns, KeyColumns, RunningColumns,
        WorkerColumns, customer_columns, key_columns, worker_columns,
    },
    shared::{
        actor_name, customer_details, key_details, patch_details, worker_action, worker_views,
    },
};
use super::{
    session::{End, Fault, Session, from_now, now},
    workloads::place,
};
use niyanta_core::{
    ids::{CustomerId, Incarnation, WorkerId},
    time::{Duration, WallTime},
};
use sqlx::SqliteConnection;

const EVENT: &str = "\
insert into admin_audit (sequence, at, actor_id, action, subject, details)
select coalesce(max(sequence), 0) + 1, $1, $2, $3, $4, $5 from admin_audit";

const SEE_COORDINATOR: &str = "\
insert into coordinators (incarnation, coordinator_id, address, version, started_at, last_seen)
values ($1, $2, $3, $4, $5, $5)
on conflict (incarnation) do update set coordinator_id = excluded.coordinator_id,
    address = excluded.address, version = excluded.version, last_seen = excluded.last_seen";

const COORDINATORS: &str = "\
select c.incarnation, c.coordinator_id, c.address, c.version, c.started_at, c.last_seen,
    l.id is not null as is_leader, coalesce(l.generation, 0) as generation
from coordinators c
left join lease l on l.incarnation = c.incarnation and not l.resigned and l.expires_at > $2
where c.last_seen > $1 order by c.started_at, c.incarnation";

const WORKERS: &str = concat!(
    "select ",
    worker_columns!(),
    " from workers t left join worker_wishes d using (worker_id)
      where t.worker_id > $1 and ($2 = '[]' or t.status in (select value from json_each($2)))
      order by t.worker_id limit $3"
);
const WORKER: &str = concat!(
    "select ",
    worker_columns!(),
    " from workers t left join worker_wishes d using (worker_id) where t.worker_id = $1"
);
const RUNNING: &str = "\
select worker_id, id, attempt from workloads where open and worker_id is not null order by id";

const WISH_WORKER: &str = "\
insert into worker_wishes as t (worker_id, desired, wish_revision, drain_deadline)
select w.worker_id, $2, w.wish_seen + 1, $3
from workers w left join worker_wishes b using (worker_id)
where w.worker_id = $1 and w.incarnation = $4 and coalesce(b.wish_revision, 0) = $5
on conflict (worker_id) do update set desired = excluded.desired,
    wish_revision = max(t.wish_revision + 1, excluded.wish_revision),
    drain_deadline = excluded.drain_deadline";

const CREATE_CUSTOMER: &str = "\
insert into customers (id, name, tier, max_concurrent_workloads, max_queue_depth,
    rate_limit_per_sec, rate_limit_burst, created_at)
values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (id) do nothing";

/// Customers with their counters.
macro_rules! customers {
    ($rest:literal) => {
        concat!(
            "select ",
            customer_columns!(),
            " from customers c join customer_submitted s on s.customer_id = c.id
              join customer_moved m on m.customer_id = c.id where ",
            $rest
        )
    };
}
const CUSTOMER: &str = customers!("c.id = $1");
const CUSTOMERS_UP: &str = customers!(
    "(c.created_at, c.id) > ($1, $2) and ($3 is null or c.created_at <= $3)
     order by c.created_at, c.id limit $4"
);
const CUSTOMERS_DOWN: &str = customers!(
    "(c.created_at, c.id) < ($1, $2) and ($3 is null or c.created_at <= $3)
     order by c.created_at desc, c.id desc limit $4"
);
/// For each limit: whether it changes, and to what.
const PATCH_CUSTOMER: &str = "\
update customers set name = coalesce($2, name), tier = coalesce($3, tier),
    max_concurrent_workloads = case when $4 then $5 else max_concurrent_workloads end,
    max_queue_depth = case when $6 then $7 else max_queue_depth end,
    rate_limit_per_sec = case when $8 then $9 else rate_limit_per_sec end,
    rate_limit_burst = case when $10 then $11 else rate_limit_burst end,
    revision = revision + 1
where id = $1 and revision = $12";

const CREATE_KEY: &str = "\
insert into api_keys (id, customer_id, name, prefix, secret_hash, created_at, expires_at)
select $1, $2, $3, $4, $5, $7, $6
where $2 is null or exists (select 1 from customers where id = $2)
on conflict (id) do nothing";
const KEY: &str = concat!(
    "select ",
    key_columns!(),
    " from api_keys k where k.id = $1"
);
const KEY_BY_HASH: &str = concat!(
    "select ",
    key_columns!(),
    " from api_keys k where k.secret_hash = $1"
);
const KEYS_UP: &str = concat!(
    "select ",
    key_columns!(),
    " from api_keys k where k.customer_id is $1 and (k.created_at, k.id) > ($2, $3)
        and ($4 is null or k.created_at <= $4)
      order by k.created_at, k.id limit $5"
);
const KEYS_DOWN: &str = concat!(
    "select ",
    key_columns!(),
    " from api_keys k where k.customer_id is $1 and (k.created_at, k.id) < ($2, $3)
        and ($4 is null or k.created_at <= $4)
      order by k.created_at desc, k.id desc limit $5"
);
const KEY_USE: &str = "\
update api_keys set last_used_at = max(coalesce(last_used_at, $2), $2) where id = $1";

const ADMIN_AUDIT: &str = "\
select sequence, at, actor_id, action, subject, details from admin_audit
where sequence > $1 order by sequence limit $2";

/// Notes what an operator did, within the closure that does it.
async fn note(
    conn: &mut SqliteConnection,
    actor: &AdminActor,
    action: &str,
    subject: &str,
    details: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(EVENT)
        .bind(now().0)
        .bind(actor_name(actor))
        .bind(action)
        .bind(subject)
        .bind(details)
        .execute(conn)
        .await
        .map(|_| ())
}

async fn find_customer(
    conn: &mut SqliteConnection,
    id: CustomerId,
) -> Result<Option<CustomerView>, Fault> {
    let row: Option<CustomerColumns> = sqlx::query_as(CUSTOMER)
        .bind(uuid(id.0))
        .fetch_optional(conn)
        .await?;
    Ok(row.map(CustomerColumns::view).transpose()?)
}

async fn find_key(conn: &mut SqliteConnection, id: KeyId) -> Result<Option<KeyRow>, Fault> {
    let row: Option<KeyColumns> = sqlx::query_as(KEY)
        .bind(uuid(id.0))
        .fetch_optional(conn)
        .await?;
    Ok(row.map(KeyColumns::read).transpose()?)
}

async fn find_worker(
    conn: &mut SqliteConnection,
    worker: &WorkerId,
) -> Result<Option<WorkerView>, Fault> {
    let rows: Vec<WorkerColumns> = sqlx::query_as(WORKER)
        .bind(worker.as_str())
        .fetch_all(&mut *conn)
        .await?;
    let running: Vec<RunningColumns> = sqlx::query_as(RUNNING).fetch_all(conn).await?;
    Ok(worker_views(rows, &running)?.pop())
}

impl Session {
    pub(super) async fn record_coordinator(
        &self,
        coordinator: &CoordinatorRecord,
    ) -> Result<(), StoreError> {
        text(&coordinator.coordinator_id)?;
        let it = coordinator.clone();
        self.write(move |conn| {
            Box::pin(async move {
                sqlx::query(SEE_COORDINATOR)
                    .bind(it.incarnation.as_str())
                    .bind(it.coordinator_id)
                    .bind(it.address)
                    .bind(it.version)
                    .bind(now().0)
                    .execute(conn)
                    .await?;
                Ok(End::Keep(()))
            })
        })
        .await
    }

    pub(super) async fn remove_coordinator(
        &self,
        incarnation: &Incarnation,
    ) -> Result<(), StoreError> {
        let incarnation = incarnation.clone();
        self.write(move |conn| {
            Box::pin(async move {
                sqlx::query("delete from coordinators where incarnation = $1")
                    .bind(incarnation.as_str())
                    .execute(conn)
                    .await?;
                Ok(End::Keep(()))
            })
        })
        .await
    }

    pub(super) async fn coordinators(
        &self,
        within: Duration,
    ) -> Result<Vec<CoordinatorRow>, StoreError> {
        let rows: Vec<CoordinatorColumns> = self
            .fetch(move |conn| {
                Box::pin(async move {
                    let at = now();
                    let query = sqlx::query_as(COORDINATORS)
                        .bind(at.minus(within).0)
                        .bind(at.0);
                    query.fetch_all(conn).await
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
        let status = Json::from_iter(filter.status.iter().map(|it| it.as_str())).to_string();
        self.read(move |conn| {
            Box::pin(async move {
                let rows: Vec<WorkerColumns> = sqlx::query_as(WORKERS)
                    .bind(after)
                    .bind(status)
                    .bind(i64::from(limit))
                    .fetch_all(&mut *conn)
                    .await?;
                let running: Vec<RunningColumns> =
                    sqlx::query_as(RUNNING).fetch_all(&mut *conn).await?;
                Ok(worker_views(rows, &running)?)
            })
        })
        .await
    }

    pub(super) async fn worker(&self, worker: &WorkerId) -> Result<Option<WorkerView>, StoreError> {
        let worker = worker.clone();
        self.read(move |conn| Box::pin(async move { find_worker(conn, &worker).await }))
            .await
    }

    pub(super) async fn wish_worker(
        &self,
        wish: &WorkerWish,
    ) -> Result<WorkerWishOutcome, StoreError> {
        let wish = wish.clone();
        self.write(move |conn| {
            Box::pin(async move {
                let id = wish.worker.as_str();
                let done = sqlx::query(WISH_WORKER)
                    .bind(id)
                    .bind(wish.desired.as_str())
                    .bind(wish.deadline.map(from_now))
                    .bind(wish.incarnation.as_str())
                    .bind(int(wish.upon.0)?)
                    .execute(&mut *conn)
                    .await?;
                let is_written = done.rows_affected() > 0;
                if is_written {
                    let (action, details) = worker_action(&wish);
                    note(conn, &wish.actor, action, id, &details).await?;
                }
                let found = find_worker(conn, &wish.worker).await?.map(Box::new);
                Ok(match found {
                    Some(view) if is_written => End::Keep(WorkerWishOutcome::Written(view)),
                    Some(view) => End::Undo(WorkerWishOutcome::Overtaken(view)),
                    None => End::Undo(WorkerWishOutcome::NotFound),
                })
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
        let (it, actor) = (customer.clone(), actor.clone());
        let made = self
            .write(move |conn| {
                Box::pin(async move {
                    let (id, limits) = (uuid(it.id.0), it.overrides);
                    let done = sqlx::query(CREATE_CUSTOMER)
                        .bind(id)
                        .bind(&it.name)
                        .bind(it.tier.as_str())
                        .bind(limits.max_concurrent_workloads.map(i64::from))
                        .bind(limits.max_queue_depth.map(i64::from))
                        .bind(limits.rate_limit_per_sec.map(i64::from))
                        .bind(limits.rate_limit_burst.map(i64::from))
                        .bind(now().0)
                        .execute(&mut *conn)
                        .await?;
                    if done.rows_affected() == 1 {
                        for counters in [
                            "insert into customer_submitted values ($1, 0)",
                            "insert into customer_moved values ($1, 0, 0)",
                        ] {
                            sqlx::query(counters).bind(id).execute(&mut *conn).await?;
                        }
                        let (subject, details) = (it.id.to_string(), customer_details(&it));
                        note(conn, &actor, "customer.created", &subject, &details).await?;
                    }
                    Ok(End::Keep(find_customer(conn, it.id).await?))
                })
            })
            .await?;
        made.ok_or_else(|| StoreError::Corrupt(format!("{} has no counters", customer.id)))
    }

    pub(super) async fn customer(
        &self,
        customer: CustomerId,
    ) -> Result<Option<CustomerView>, StoreError> {
        self.read(move |conn| Box::pin(find_customer(conn, customer)))
            .await
    }

    pub(super) async fn customers(&self, page: &Page) -> Result<Vec<CustomerView>, StoreError> {
        let page = page.clone();
        let rows: Vec<CustomerColumns> = self
            .fetch(move |conn| {
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
        let (it, actor, upon) = (patch.clone(), actor.clone(), int(upon.0)?);
        self.write(move |conn| {
            Box::pin(async move {
                let mut query = sqlx::query(PATCH_CUSTOMER)
                    .bind(uuid(customer.0))
                    .bind(&it.name)
                    .bind(it.tier.map(Tier::as_str));
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
                let done = query.bind(upon).execute(&mut *conn).await?.rows_affected() == 1;
                if done {
                    let (subject, details) = (customer.to_string(), patch_details(&it));
                    note(conn, &actor, "customer.updated", &subject, &details).await?;
                }
                Ok(match find_customer(conn, customer).await?.map(Box::new) {
                    Some(view) if done => End::Keep(PatchCustomer::Patched(view)),
                    Some(view) => End::Undo(PatchCustomer::Overtaken(view)),
                    None => End::Undo(PatchCustomer::NotFound),
                })
            })
        })
        .await
    }

    pub(super) async fn create_key(
        &self,
        key: &KeyRecord,
        actor: &AdminActor,
    ) -> Result<Option<KeyRow>, StoreError> {
        text(&key.name)?;
        let (it, actor) = (key.clone(), actor.clone());
        self.write(move |conn| {
            Box::pin(async move {
                let done = sqlx::query(CREATE_KEY)
                    .bind(uuid(it.id.0))
                    .bind(it.customer.map(|id| uuid(id.0)))
                    .bind(&it.name)
                    .bind(&it.prefix)
                    .bind(it.secret_hash.to_vec())
                    .bind(it.expires_at.map(Time::from))
                    .bind(now().0)
                    .execute(&mut *conn)
                    .await?;
                if done.rows_affected() == 1 {
                    let (subject, details) = (it.id.to_string(), key_details(&it));
                    note(conn, &actor, "key.created", &subject, &details).await?;
                }
                Ok(End::Keep(find_key(conn, it.id).await?))
            })
        })
        .await
    }

    pub(super) async fn keys(
        &self,
        customer: Option<CustomerId>,
        page: &Page,
    ) -> Result<Option<Vec<KeyRow>>, StoreError> {
        if let Some(customer) = customer
            && self.customer(customer).await?.is_none()
        {
            return Ok(None);
        }
        let page = page.clone();
        let rows: Vec<KeyColumns> = self
            .fetch(move |conn| {
                Box::pin(async move {
                    let (at, id) = place(&page);
                    sqlx::query_as(if page.ascending { KEYS_UP } else { KEYS_DOWN })
                        .bind(customer.map(|id| uuid(id.0)))
                        .bind(at)
                        .bind(id)
                        .bind(page.until.map(Time::from))
                        .bind(i64::from(page.limit))
                        .fetch_all(conn)
                        .await
                })
            })
            .await?;
        rows.into_iter()
            .map(KeyColumns::read)
            .collect::<Result<_, _>>()
            .map(Some)
    }

    pub(super) async fn revoke_key(
        &self,
        key: KeyId,
        actor: &AdminActor,
    ) -> Result<Option<KeyRow>, StoreError> {
        let actor = actor.clone();
        self.write(move |conn| {
            Box::pin(async move {
                let done = sqlx::query(
                    "update api_keys set revoked_at = $2 where id = $1 and revoked_at is null",
                )
                .bind(uuid(key.0))
                .bind(now().0)
                .execute(&mut *conn)
                .await?;
                if done.rows_affected() == 1 {
                    note(conn, &actor, "key.revoked", &key.to_string(), "{}").await?;
                }
                Ok(End::Keep(find_key(conn, key).await?))
            })
        })
        .await
    }

    pub(super) async fn find_key(
        &self,
        secret_hash: &[u8; 32],
    ) -> Result<Option<KeyRow>, StoreError> {
        let hash = secret_hash.to_vec();
        let row: Option<KeyColumns> = self
            .fetch(move |conn| {
                Box::pin(async move {
                    sqlx::query_as(KEY_BY_HASH)
                        .bind(hash)
                        .fetch_optional(conn)
                        .await
                })
            })
            .await?;
        row.map(KeyColumns::read).transpose()
    }

    pub(super) async fn record_key_use(
        &self,
        used: &[(KeyId, WallTime)],
    ) -> Result<(), StoreError> {
        let used = used.to_vec();
        self.write(move |conn| {
            Box::pin(async move {
                for (key, at) in used {
                    let query = sqlx::query(KEY_USE).bind(uuid(key.0)).bind(at.0);
                    query.execute(&mut *conn).await?;
                }
                Ok(End::Keep(()))
            })
        })
        .await
    }

    pub(super) async fn admin_audit(
        &self,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AdminAuditRow>, StoreError> {
        let rows: Vec<AdminAuditColumns> = self
            .fetch(move |conn| {
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
