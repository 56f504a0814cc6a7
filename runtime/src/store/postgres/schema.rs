//! The schema: bringing a database to it, and knowing whether it is there.

use super::super::{
    MigrationReport, SchemaError, StoreError,
    migrations::{Applied, Known, Table},
};
use super::session::{Lane, Session};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use std::str::FromStr;

/// Every migration, oldest first.
const MIGRATIONS: Known = Known(&[
    (
        1,
        "create schema",
        include_str!("../../../../migrations/postgres/0001_create_schema.sql"),
    ),
    (
        2,
        "count by hour",
        include_str!("../../../../migrations/postgres/0002_count_by_hour.sql"),
    ),
    (
        3,
        "retire old rows",
        include_str!("../../../../migrations/postgres/0003_retire_old_rows.sql"),
    ),
    (
        4,
        "guard changes",
        include_str!("../../../../migrations/postgres/0004_guard_changes.sql"),
    ),
]);

/// SQLSTATE of a table that does not exist.
const UNDEFINED_TABLE: &str = "42P01";

const REPAIR: &str = "\
with g as (
    select greatest(
        coalesce((select generation from lease where id = 1), 0),
        coalesce((select generation from fence where id = 1), 0),
        coalesce((select max(generation) from audit), 0)) + 1 as above),
l as (
    insert into lease select 1, 'none', 'none', g.above, 'epoch', true,
        coalesce((select max(longest_lease) from workers), 0) from g
    on conflict do nothing returning 1),
f as (
    insert into fence select 1, g.above, 'none', 0 from g on conflict do nothing returning 1)
select (select count(*) from l) = 1, (select count(*) from f) = 1";

pub(super) async fn migrate(url: &str, repair: bool) -> Result<MigrationReport, SchemaError> {
    let options =
        PgConnectOptions::from_str(url).map_err(|error| StoreError::Failed(error.into()))?;
    // Not one of the names that are ended when they hold locks for long.
    let options = options.application_name("niyanta-migrate");
    let mut conn = PgConnection::connect_with(&options)
        .await
        .map_err(|error| StoreError::Unavailable(error.into()))?;
    let applied = |rows| MIGRATIONS.judge(rows, true);
    applied(read_applied(&mut conn).await?)?;
    let before = read_applied(&mut conn).await?.len();
    MIGRATIONS
        .migrator()
        .run(&mut conn)
        .await
        .map_err(|error| StoreError::Failed(error.into()))?;
    let version = applied(read_applied(&mut conn).await?)?;
    let mut report = MigrationReport {
        version,
        applied: MIGRATIONS.0.len().saturating_sub(before),
        repaired: Vec::new(),
    };
    if repair {
        let (lease, fence): (bool, bool) = sqlx::query_as(REPAIR)
            .fetch_one(&mut conn)
            .await
            .map_err(|error| StoreError::Failed(error.into()))?;
        report.repaired.extend(lease.then_some("lease"));
        report.repaired.extend(fence.then_some("fence"));
    }
    conn.close()
        .await
        .map_err(|error| StoreError::Unavailable(error.into()))?;
    Ok(report)
}

async fn read_applied(conn: &mut PgConnection) -> Result<Vec<Applied>, StoreError> {
    match fetch_applied(conn).await {
        Ok(rows) => Ok(rows),
        Err(error) if is_undefined_table(&error) => Ok(Vec::new()),
        Err(error) => Err(StoreError::Failed(error.into())),
    }
}

async fn fetch_applied(conn: &mut PgConnection) -> Result<Vec<Applied>, sqlx::Error> {
    sqlx::query_as("select version, checksum, success from _sqlx_migrations order by version")
        .fetch_all(conn)
        .await
}

fn is_undefined_table(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.as_deref() == Some(UNDEFINED_TABLE)
}

impl Session {
    pub(super) async fn check_schema(&self) -> Result<(), SchemaError> {
        let rows = self
            .read(Lane::Api, |conn| {
                Box::pin(async move {
                    match fetch_applied(conn).await {
                        Err(error) if is_undefined_table(&error) => Ok(Vec::new()),
                        other => other,
                    }
                })
            })
            .await?;
        MIGRATIONS.judge(rows, false)?;
        for (table, query) in [
            (Table::Lease, "select count(*) from lease where id = 1"),
            (Table::Fence, "select count(*) from fence where id = 1"),
        ] {
            let found: i64 = self
                .read(Lane::Api, move |conn| {
                    Box::pin(sqlx::query_scalar(query).fetch_one(conn))
                })
                .await?;
            table.check(found)?;
        }
        Ok(())
    }

    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        self.read(Lane::Api, |conn| {
            Box::pin(async move { sqlx::query("select 1").execute(conn).await.map(|_| ()) })
        })
        .await
    }
}
