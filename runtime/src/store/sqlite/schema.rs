//! The schema: bringing a file to it, and knowing whether it is there.

use super::super::{
    MigrationReport, SchemaError, StoreError,
    migrations::{Applied, Known, Table},
};
use super::session::{Session, classify, connect_options};
use niyanta_core::time::Duration;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

/// Every migration, oldest first.
const MIGRATIONS: Known = Known(&[
    (
        1,
        "create schema",
        include_str!("../../../../migrations/sqlite/0001_create_schema.sql"),
    ),
    (
        2,
        "count by hour",
        include_str!("../../../../migrations/sqlite/0002_count_by_hour.sql"),
    ),
    (
        3,
        "retire old rows",
        include_str!("../../../../migrations/sqlite/0003_retire_old_rows.sql"),
    ),
    (
        4,
        "guard changes",
        include_str!("../../../../migrations/sqlite/0004_guard_changes.sql"),
    ),
]);

/// How long a migration waits for another that is under way.
const PATIENCE: Duration = Duration::from_secs(30);

const SEEN: &str = "\
select max(coalesce((select generation from lease where id = 1), 0),
    coalesce((select generation from fence where id = 1), 0),
    coalesce((select max(generation) from audit), 0)) + 1";

pub(super) async fn migrate(url: &str, repair: bool) -> Result<MigrationReport, SchemaError> {
    let options = connect_options(url)?
        .create_if_missing(true)
        .busy_timeout(PATIENCE);
    let mut conn = options
        .connect()
        .await
        .map_err(|error| StoreError::Unavailable(error.into()))?;
    // sqlx has no lock of its own for SQLite: whoever holds the write lock of this transaction
    // migrates, and the other then finds nothing left to do.
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await.map_err(classify)?;
    let before = read_applied(&mut tx).await.map_err(classify)?;
    let applied = before.len();
    MIGRATIONS.judge(before, true)?;
    MIGRATIONS
        .migrator()
        .run(&mut *tx)
        .await
        .map_err(|error| StoreError::Failed(error.into()))?;
    let version = MIGRATIONS.judge(read_applied(&mut tx).await.map_err(classify)?, true)?;
    let mut report = MigrationReport {
        version,
        applied: MIGRATIONS.0.len().saturating_sub(applied),
        repaired: Vec::new(),
    };
    if repair {
        report.repaired = make_rows_again(&mut tx).await.map_err(classify)?;
    }
    tx.commit()
        .await
        .map_err(|error| StoreError::Unknown(error.into()))?;
    conn.close()
        .await
        .map_err(|error| StoreError::Unavailable(error.into()))?;
    Ok(report)
}

async fn make_rows_again(conn: &mut SqliteConnection) -> Result<Vec<&'static str>, sqlx::Error> {
    let above: i64 = sqlx::query_scalar(SEEN).fetch_one(&mut *conn).await?;
    let lease = "insert into lease values (1, 'none', 'none', $1, 0, 1, \
        coalesce((select max(longest_lease) from workers), 0)) on conflict do nothing";
    let fence = "insert into fence values (1, $1, 'none', 0) on conflict do nothing";
    let mut made = Vec::new();
    for (table, statement) in [("lease", lease), ("fence", fence)] {
        let done = sqlx::query(statement)
            .bind(above)
            .execute(&mut *conn)
            .await?;
        made.extend((done.rows_affected() == 1).then_some(table));
    }
    Ok(made)
}

async fn read_applied(conn: &mut SqliteConnection) -> Result<Vec<Applied>, sqlx::Error> {
    let exists: bool = sqlx::query_scalar(
        "select exists (select 1 from sqlite_schema where name = '_sqlx_migrations')",
    )
    .fetch_one(&mut *conn)
    .await?;
    if !exists {
        return Ok(Vec::new());
    }
    sqlx::query_as("select version, checksum, success from _sqlx_migrations order by version")
        .fetch_all(conn)
        .await
}

impl Session {
    pub(super) async fn check_schema(&self) -> Result<(), SchemaError> {
        let rows = self
            .read(|conn| Box::pin(async move { Ok(read_applied(conn).await?) }))
            .await?;
        MIGRATIONS.judge(rows, false)?;
        for (table, query) in [
            (Table::Lease, "select count(*) from lease where id = 1"),
            (Table::Fence, "select count(*) from fence where id = 1"),
        ] {
            let found: i64 = self
                .read(move |conn| {
                    Box::pin(async move { Ok(sqlx::query_scalar(query).fetch_one(conn).await?) })
                })
                .await?;
            table.check(found)?;
        }
        Ok(())
    }
}
