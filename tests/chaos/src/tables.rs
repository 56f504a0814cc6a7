//! What the tables say: while it runs, who leads and how much is open; at the end, every row that
//! the judge needs.
//!
//! The only part that knows the schema. Reads alone, through a connection of its own that no fault
//! touches but those of the server itself.

use std::time::Duration;

use anyhow::Context as _;
use futures::StreamExt as _;
use sqlx::{Connection as _, PgConnection, Row as _, postgres::PgRow};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::clock;
use super::history::{AuditRow, CountersRow, LeaseSeen, Record, Recorder, WorkerRow, WorkloadRow};
use super::site::Site;

/// Watches the lease and the number of open workloads until it is told to stop.
pub(super) async fn watch(site: &Site, stop: watch::Receiver<bool>) {
    let mut connection = None;
    while !*stop.borrow() {
        let looked = timeout(Duration::from_secs(2), look(site, &mut connection)).await;
        if !matches!(looked, Ok(Ok(()))) {
            connection = None;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn look(site: &Site, connection: &mut Option<PgConnection>) -> anyhow::Result<()> {
    if connection.is_none() {
        *connection = Some(PgConnection::connect(&site.database_url).await?);
    }
    let connection = connection.as_mut().context("made above")?;
    let row = sqlx::query("select generation, incarnation, holder from lease")
        .fetch_one(&mut *connection)
        .await?;
    let seen = LeaseSeen {
        at: clock::now(),
        generation: row.try_get(0)?,
        incarnation: row.try_get(1)?,
        holder: row.try_get(2)?,
    };
    let is_new = site.lease.borrow().as_ref().is_none_or(|before| {
        (before.generation, &before.incarnation) != (seen.generation, &seen.incarnation)
    });
    if is_new {
        site.recorder.record(&Record::Lease(seen.clone()));
        site.lease.send_replace(Some(seen));
    }
    let open = sqlx::query_scalar("select count(*) from workloads where open")
        .fetch_one(connection)
        .await?;
    site.open.send_replace(open);
    Ok(())
}

/// Workloads that wait for a resume, as (customer, id).
pub(super) async fn paused(database_url: &str) -> anyhow::Result<Vec<(String, String)>> {
    let statement = "select customer_id, id from workloads where open and desired = 'pause'";
    let mut connection = PgConnection::connect(database_url).await?;
    let rows = sqlx::query(statement).fetch_all(&mut connection).await?;
    let both = |row: &PgRow| Ok((digits(row, 0)?, workload(row, 1)?));
    rows.iter().map(both).collect()
}

/// How many are open, and of which status.
pub(super) async fn open(database_url: &str) -> anyhow::Result<Vec<(String, i64)>> {
    let statement = "select status, count(*) from workloads where open group by status";
    let mut connection = PgConnection::connect(database_url).await?;
    let rows = sqlx::query(statement).fetch_all(&mut connection).await?;
    let pair = |row: &PgRow| Ok((row.try_get(0)?, row.try_get(1)?));
    rows.iter().map(pair).collect()
}

/// Records every row that the judge needs.
pub(super) async fn record(database_url: &str, recorder: &Recorder) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(database_url).await?;
    for (statement, read) in TABLES {
        let mut rows = sqlx::query(statement).fetch(&mut connection);
        while let Some(row) = rows.next().await {
            recorder.record(&read(&row?)?);
        }
    }
    recorder.flush();
    Ok(())
}

type Read = fn(&PgRow) -> anyhow::Result<Record>;

const TABLES: [(&str, Read); 4] = [
    (
        "select w.id, w.customer_id, w.status, w.desired, w.attempt, w.version, w.retry_count,
            w.max_retries, (extract(epoch from w.run_after) * 1000000)::bigint,
            p.labels ->> 'key', p.labels ->> 'means'
         from workloads w left join workload_payloads p on p.workload_id = w.id order by w.id",
        read_workload,
    ),
    (
        "select workload_id, sequence, kind, (extract(epoch from at) * 1000000)::bigint, attempt,
            generation, details ->> 'worker_id', details ->> 'incarnation', details ->> 'reason',
            (details ->> 'backoff_ms')::bigint
         from audit order by workload_id, sequence",
        read_audit,
    ),
    (
        "select worker_id, status from workers order by worker_id",
        read_worker,
    ),
    (
        "select s.customer_id, s.submitted, m.left_queue, m.running
         from customer_submitted s join customer_moved m on m.customer_id = s.customer_id",
        read_counters,
    ),
];

fn read_workload(row: &PgRow) -> anyhow::Result<Record> {
    Ok(Record::Workload(WorkloadRow {
        id: workload(row, 0)?,
        customer: digits(row, 1)?,
        status: row.try_get(2)?,
        desired: row.try_get(3)?,
        attempt: number(row, 4)?,
        version: number(row, 5)?,
        retry_count: number(row, 6)?,
        max_retries: number(row, 7)?,
        run_after: row.try_get(8)?,
        key: row.try_get(9)?,
        means: row.try_get(10)?,
    }))
}

fn read_audit(row: &PgRow) -> anyhow::Result<Record> {
    let kind: String = row.try_get(2)?;
    Ok(Record::Audit(AuditRow {
        workload: workload(row, 0)?,
        sequence: number(row, 1)?,
        kind: kind.trim_start_matches("workload.").to_owned(),
        at: row.try_get(3)?,
        attempt: number(row, 4)?,
        generation: row.try_get(5)?,
        worker: row.try_get(6)?,
        incarnation: row.try_get(7)?,
        reason: row.try_get(8)?,
        backoff_ms: row.try_get(9)?,
    }))
}

fn read_worker(row: &PgRow) -> anyhow::Result<Record> {
    Ok(Record::Worker(WorkerRow {
        worker: row.try_get(0)?,
        status: row.try_get(1)?,
    }))
}

fn read_counters(row: &PgRow) -> anyhow::Result<Record> {
    Ok(Record::Counters(CountersRow {
        customer: digits(row, 0)?,
        submitted: row.try_get(1)?,
        left_queue: row.try_get(2)?,
        running: row.try_get(3)?,
    }))
}

fn workload(row: &PgRow, column: usize) -> anyhow::Result<String> {
    Ok(format!("wl_{}", digits(row, column)?))
}

fn digits(row: &PgRow, column: usize) -> anyhow::Result<String> {
    Ok(row.try_get::<Uuid, _>(column)?.simple().to_string())
}

fn number(row: &PgRow, column: usize) -> anyhow::Result<u64> {
    Ok(u64::try_from(row.try_get::<i64, _>(column)?)?)
}
