//! What the leader reads.
//!
//! The snapshot is the one transaction of several statements: read-only, repeatable read, begun
//! after the takeover was answered. Loads are single statements; the clock is read before them, so
//! that what they say is at least as new as it.

use super::super::{
    StoreError, Timed,
    encode::{Time, uuid},
    records::{
        CustomerColumns, FenceColumns, WorkerColumns, WorkloadColumns, customer_columns,
        worker_columns, workload_columns,
    },
};
use super::{
    lease::FENCE,
    session::{Lane, Session},
};
use niyanta_core::snapshot::{
    CustomerRow, Load, Loaded, Snapshot, SweepCursor, WorkerRow, WorkloadRow,
};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

const NOW: &str = "select clock_timestamp()";

const WORKERS: &str = concat!(
    "select ",
    worker_columns!(),
    " from workers t left join worker_wishes d using (worker_id) order by t.worker_id"
);
const WORKER_WISHES: &str = concat!(
    "select ",
    worker_columns!(),
    " from workers t join worker_wishes d using (worker_id)
      where d.wish_revision <> t.wish_seen order by t.worker_id limit $1"
);
const OPEN_ATTEMPTS: &str = concat!(
    "select ",
    workload_columns!(),
    " from workloads w where w.open and w.status in ('SCHEDULED', 'RUNNING', 'REDISTRIBUTING')
      order by w.id"
);
const CUSTOMERS: &str = concat!(
    "select ",
    customer_columns!(),
    " from customers c join customer_submitted s on s.customer_id = c.id
      join customer_moved m on m.customer_id = c.id where c.id = any($1) order by c.id"
);
const BY_ID: &str = concat!(
    "select ",
    workload_columns!(),
    " from workloads w where w.id = any($1) order by w.id limit $2"
);
const WISHES: &str = concat!(
    "select ",
    workload_columns!(),
    " from workloads w where w.wish_revision <> w.wish_seen and w.open order by w.id limit $1"
);
const BACKLOG: &str = concat!(
    "select ",
    workload_columns!(),
    " from workloads w where w.open and w.status = 'PENDING' and w.desired = 'run'
        and w.customer_id = $1 and w.placement_class = $2 and (w.sort_key, w.id) > ($3, $4)
        and w.eligible_at <= clock_timestamp()
      order by w.sort_key, w.id limit $5"
);
const SWEEP: &str = concat!(
    "select ",
    workload_columns!(),
    " from workloads w where w.open and w.status = 'PENDING' and w.desired = 'run'
        and (w.customer_id, w.placement_class, w.sort_key, w.id) > ($1, $2, $3, $4)
      order by w.customer_id, w.placement_class, w.sort_key, w.id limit $5"
);
const ELIGIBLE: &str = concat!(
    "select ",
    workload_columns!(),
    " from workloads w where w.open and w.status = 'PENDING' and w.desired = 'run'
        and w.eligible_at > $1 and w.eligible_at <= $2
      order by w.eligible_at, w.id limit $3"
);

/// Rows as they come, before they are read.
#[derive(Default)]
struct Fetched {
    workloads: Vec<WorkloadColumns>,
    workers: Vec<WorkerColumns>,
    customers: Vec<CustomerColumns>,
}

impl Session {
    pub(super) async fn snapshot(&self, limit: u32) -> Result<Timed<Snapshot>, StoreError> {
        let asked = i64::from(limit) + 1;
        let (at, longest, fence, open, waiting) = self
            .read(Lane::Api, move |conn| {
                Box::pin(async move {
                    let mut tx = conn
                        .begin_with("begin isolation level repeatable read read only")
                        .await?;
                    let at: Time = sqlx::query_scalar(NOW).fetch_one(&mut *tx).await?;
                    let longest: i64 =
                        sqlx::query_scalar("select longest_ttl from lease where id = 1")
                            .fetch_one(&mut *tx)
                            .await?;
                    let fence: FenceColumns = sqlx::query_as(FENCE).fetch_one(&mut *tx).await?;
                    let mut open = Fetched {
                        workers: sqlx::query_as(WORKERS).fetch_all(&mut *tx).await?,
                        workloads: sqlx::query_as(OPEN_ATTEMPTS).fetch_all(&mut *tx).await?,
                        customers: Vec::new(),
                    };
                    let waiting: Vec<WorkloadColumns> = sweep(&mut tx, None, asked).await?;
                    let ids = owners(open.workloads.iter().chain(&waiting));
                    open.customers = customers(&mut tx, &ids).await?;
                    tx.rollback().await?;
                    Ok((at, longest, fence, open, waiting))
                })
            })
            .await?;
        let mut waiting = read_workloads(waiting)?;
        let more = waiting.len() > limit as usize;
        waiting.truncate(limit as usize);
        let next = waiting.last().filter(|_| more).map(place);
        Ok(Timed {
            value: Snapshot {
                fence: fence.read()?,
                longest_ttl: super::super::encode::duration(longest),
                workers: read_workers(open.workers)?,
                open: read_workloads(open.workloads)?,
                customers: read_customers(&open.customers)?,
                waiting,
                next,
            },
            database_time: at.into(),
        })
    }

    pub(super) async fn load(&self, what: &Load, limit: u32) -> Result<Timed<Loaded>, StoreError> {
        let what = what.clone();
        let asked = i64::from(limit) + 1;
        let (at, fetched) = self
            .read(Lane::Api, move |conn| {
                Box::pin(async move {
                    let at: Time = sqlx::query_scalar(NOW).fetch_one(&mut *conn).await?;
                    Ok((at, fetch(conn, &what, asked).await?))
                })
            })
            .await?;
        let mut loaded = Loaded {
            workloads: read_workloads(fetched.workloads)?,
            workers: read_workers(fetched.workers)?,
            customers: read_customers(&fetched.customers)?,
            complete: true,
        };
        let limit = limit as usize;
        loaded.complete = loaded.workloads.len() <= limit && loaded.workers.len() <= limit;
        loaded.workloads.truncate(limit);
        loaded.workers.truncate(limit);
        Ok(Timed {
            value: loaded,
            database_time: at.into(),
        })
    }
}

async fn fetch(conn: &mut PgConnection, what: &Load, limit: i64) -> Result<Fetched, sqlx::Error> {
    let mut fetched = Fetched::default();
    match what {
        Load::Workloads(ids) => {
            let ids: Vec<Uuid> = ids.iter().map(|id| uuid(id.0)).collect();
            let query = sqlx::query_as(BY_ID).bind(ids).bind(limit);
            fetched.workloads = query.fetch_all(&mut *conn).await?;
        }
        Load::Wishes => {
            fetched.workloads = sqlx::query_as(WISHES)
                .bind(limit)
                .fetch_all(&mut *conn)
                .await?;
        }
        Load::Backlog {
            customer,
            class,
            after,
        } => {
            let (key, id) = after.map_or((i64::MIN, 0), |(key, id)| (key, id.0));
            fetched.workloads = sqlx::query_as(BACKLOG)
                .bind(uuid(customer.0))
                .bind(class.0)
                .bind(key)
                .bind(uuid(id))
                .bind(limit)
                .fetch_all(&mut *conn)
                .await?;
        }
        Load::Sweep { after } => fetched.workloads = sweep(conn, *after, limit).await?,
        Load::Eligible { after, until } => {
            fetched.workloads = sqlx::query_as(ELIGIBLE)
                .bind(Time::from(*after))
                .bind(Time::from(*until))
                .bind(limit)
                .fetch_all(&mut *conn)
                .await?;
        }
        Load::WorkerWishes => {
            fetched.workers = sqlx::query_as(WORKER_WISHES)
                .bind(limit)
                .fetch_all(&mut *conn)
                .await?;
        }
        Load::Customers(ids) => {
            let ids: Vec<Uuid> = ids.iter().map(|id| uuid(id.0)).collect();
            fetched.customers = customers(conn, &ids).await?;
            return Ok(fetched);
        }
    }
    let ids = owners(fetched.workloads.iter());
    fetched.customers = customers(conn, &ids).await?;
    Ok(fetched)
}

async fn sweep(
    conn: &mut PgConnection,
    after: Option<SweepCursor>,
    limit: i64,
) -> Result<Vec<WorkloadColumns>, sqlx::Error> {
    // No customer has the id 0: it stands before the first.
    let (customer, class, key, id) = after.map_or((0, i64::MIN, i64::MIN, 0), |place| {
        (
            place.customer.0,
            place.class.0,
            place.sort_key,
            place.workload.0,
        )
    });
    sqlx::query_as(SWEEP)
        .bind(uuid(customer))
        .bind(class)
        .bind(key)
        .bind(uuid(id))
        .bind(limit)
        .fetch_all(conn)
        .await
}

async fn customers(
    conn: &mut PgConnection,
    ids: &[Uuid],
) -> Result<Vec<CustomerColumns>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_as(CUSTOMERS).bind(ids).fetch_all(conn).await
}

fn owners<'a>(workloads: impl Iterator<Item = &'a WorkloadColumns>) -> Vec<Uuid> {
    let mut ids: Vec<Uuid> = workloads.map(WorkloadColumns::owner).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn place(row: &WorkloadRow) -> SweepCursor {
    SweepCursor {
        customer: row.customer,
        class: row.class,
        sort_key: row.leader.sort_key,
        workload: row.id,
    }
}

fn read_workloads(rows: Vec<WorkloadColumns>) -> Result<Vec<WorkloadRow>, StoreError> {
    rows.into_iter().map(WorkloadColumns::read).collect()
}

fn read_workers(rows: Vec<WorkerColumns>) -> Result<Vec<WorkerRow>, StoreError> {
    rows.into_iter().map(WorkerColumns::read).collect()
}

fn read_customers(rows: &[CustomerColumns]) -> Result<Vec<CustomerRow>, StoreError> {
    rows.iter().map(CustomerColumns::scheduling).collect()
}
