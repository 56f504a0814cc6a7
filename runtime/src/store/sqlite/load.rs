//! What the leader reads.
//!
//! Each answer is one snapshot of the file; the clock is read before it.

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
    session::{Session, now},
};
use niyanta_core::snapshot::{
    CustomerRow, Load, Loaded, Snapshot, SweepCursor, WorkerRow, WorkloadRow,
};
use sqlx::SqliteConnection;
use std::collections::BTreeSet;
use uuid::Uuid;

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
      join customer_moved m on m.customer_id = c.id where c.id = $1"
);
const BY_ID: &str = concat!(
    "select ",
    workload_columns!(),
    " from workloads w where w.id = $1"
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
        and w.eligible_at <= $6
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
        self.read(move |conn| {
            Box::pin(async move {
                let database_time = now();
                let longest: i64 = sqlx::query_scalar("select longest_ttl from lease where id = 1")
                    .fetch_one(&mut *conn)
                    .await?;
                let fence: FenceColumns = sqlx::query_as(FENCE).fetch_one(&mut *conn).await?;
                let workers = sqlx::query_as(WORKERS).fetch_all(&mut *conn).await?;
                let open: Vec<WorkloadColumns> =
                    sqlx::query_as(OPEN_ATTEMPTS).fetch_all(&mut *conn).await?;
                let waiting = sweep(conn, None, i64::from(limit) + 1).await?;
                let ids = owners(open.iter().chain(&waiting));
                let customers = customers(conn, &ids).await?;
                let mut waiting = read_workloads(waiting)?;
                let more = waiting.len() > limit as usize;
                waiting.truncate(limit as usize);
                let next = waiting.last().filter(|_| more).map(place);
                let value = Snapshot {
                    fence: fence.read()?,
                    longest_ttl: super::super::encode::duration(longest),
                    workers: read_workers(workers)?,
                    open: read_workloads(open)?,
                    customers: read_customers(&customers)?,
                    waiting,
                    next,
                };
                Ok(Timed {
                    value,
                    database_time,
                })
            })
        })
        .await
    }

    pub(super) async fn load(&self, what: &Load, limit: u32) -> Result<Timed<Loaded>, StoreError> {
        let what = what.clone();
        self.read(move |conn| {
            Box::pin(async move {
                let database_time = now();
                let fetched = fetch(conn, &what, i64::from(limit) + 1).await?;
                let mut value = Loaded {
                    workloads: read_workloads(fetched.workloads)?,
                    workers: read_workers(fetched.workers)?,
                    customers: read_customers(&fetched.customers)?,
                    complete: true,
                };
                let limit = limit as usize;
                value.complete = value.workloads.len() <= limit && value.workers.len() <= limit;
                value.workloads.truncate(limit);
                value.workers.truncate(limit);
                Ok(Timed {
                    value,
                    database_time,
                })
            })
        })
        .await
    }
}

async fn fetch(
    conn: &mut SqliteConnection,
    what: &Load,
    limit: i64,
) -> Result<Fetched, sqlx::Error> {
    let mut fetched = Fetched::default();
    match what {
        Load::Workloads(ids) => {
            // As the other adapter's one statement does: each row once, by id, and the limit counts
            // the rows that are there, so that a set is only called complete when all were looked at.
            let most = usize::try_from(limit).unwrap_or(usize::MAX);
            let ids: BTreeSet<_> = ids.iter().collect();
            for id in ids {
                if fetched.workloads.len() == most {
                    break;
                }
                let query = sqlx::query_as(BY_ID).bind(uuid(id.0));
                let row = query.fetch_optional(&mut *conn).await?;
                fetched.workloads.extend(row);
            }
        }
        Load::Wishes => {
            let query = sqlx::query_as(WISHES).bind(limit);
            fetched.workloads = query.fetch_all(&mut *conn).await?;
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
                .bind(now().0)
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
            let query = sqlx::query_as(WORKER_WISHES).bind(limit);
            fetched.workers = query.fetch_all(&mut *conn).await?;
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
    conn: &mut SqliteConnection,
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
    conn: &mut SqliteConnection,
    ids: &[Uuid],
) -> Result<Vec<CustomerColumns>, sqlx::Error> {
    let mut rows = Vec::with_capacity(ids.len());
    for id in ids {
        rows.extend(
            sqlx::query_as(CUSTOMERS)
                .bind(id)
                .fetch_optional(&mut *conn)
                .await?,
        );
    }
    Ok(rows)
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
