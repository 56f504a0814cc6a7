//! Connections, closures that write, and what an error of SQLite means.

use super::super::{Options, StoreError};
use futures::future::BoxFuture;
use niyanta_core::time::{Duration, WallTime};
use sqlx::{
    Connection, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{str::FromStr, time::SystemTime};

/// The connections of one store.
#[derive(Debug, Clone)]
pub(super) struct Session {
    writer: SqlitePool,
    readers: SqlitePool,
}

/// How a closure that wrote without an error ends.
pub(super) enum End<T> {
    /// What it wrote stays.
    Keep(T),
    /// What it wrote is undone.
    Undo(T),
}

/// Why a closure stopped.
pub(super) enum Fault {
    Sqlite(sqlx::Error),
    Store(StoreError),
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Sqlite(error) => classify(error),
            Fault::Store(error) => error,
        }
    }
}

/// What a closure answers.
pub(super) type Answer<'c, T> = BoxFuture<'c, Result<T, Fault>>;

/// The host's clock.
pub(super) fn now() -> WallTime {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    WallTime(0).plus(since)
}

/// How every connection to a file is made.
pub(super) fn connect_options(url: &str) -> Result<SqliteConnectOptions, StoreError> {
    let options =
        SqliteConnectOptions::from_str(url).map_err(|error| StoreError::Failed(error.into()))?;
    Ok(options
        .journal_mode(SqliteJournalMode::Wal)
        // With WAL a commit survives the process either way, the machine only so.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true))
}

impl Session {
    pub(super) fn new(url: &str, options: &Options) -> Result<Self, StoreError> {
        let connect = connect_options(url)?.busy_timeout(options.lock_timeout);
        let pool = |size: u32| {
            SqlitePoolOptions::new()
                .max_connections(size)
                .acquire_timeout(options.statement_timeout)
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
        };
        Ok(Self {
            writer: pool(1).connect_lazy_with(connect.clone()),
            readers: pool(options.pool_size.max(1)).connect_lazy_with(connect),
        })
    }

    /// Reads, in one snapshot.
    pub(super) async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> Answer<'c, T> + Send + 'static,
    {
        let pool = self.readers.clone();
        let task = tokio::spawn(async move {
            let mut conn = pool.acquire().await.map_err(not_begun)?;
            let mut tx = conn.begin().await.map_err(not_begun)?;
            let answer = work(&mut tx).await;
            tx.rollback().await.map_err(classify)?;
            answer.map_err(StoreError::from)
        });
        task.await
            .unwrap_or_else(|ended| Err(StoreError::Unavailable(ended.into())))
    }

    /// Reads rows, in one snapshot.
    pub(super) async fn fetch<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, sqlx::Error>>,
        F: Send + 'static,
    {
        self.read(|conn| {
            let rows = work(conn);
            Box::pin(async move { Ok(rows.await?) })
        })
        .await
    }

    /// Writes: all of it or nothing, and alone.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> Answer<'c, End<T>> + Send + 'static,
    {
        let pool = self.writer.clone();
        let task = tokio::spawn(async move {
            let mut conn = pool.acquire().await.map_err(not_begun)?;
            let mut tx = conn
                .begin_with("BEGIN IMMEDIATE")
                .await
                .map_err(not_begun)?;
            match work(&mut tx).await {
                Ok(End::Keep(value)) => match tx.commit().await {
                    Ok(()) => Ok(value),
                    Err(error) => Err(StoreError::Unknown(error.into())),
                },
                Ok(End::Undo(value)) => {
                    tx.rollback().await.map_err(classify)?;
                    Ok(value)
                }
                Err(fault) => {
                    // Whether this succeeds or closes the connection, nothing stays.
                    if let Err(error) = tx.rollback().await {
                        tracing::warn!(%error, "a rollback failed");
                    }
                    Err(fault.into())
                }
            }
        });
        task.await
            .unwrap_or_else(|ended| Err(StoreError::Unknown(ended.into())))
    }

    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        self.read(|conn| {
            Box::pin(async move {
                sqlx::query("select 1").execute(conn).await?;
                Ok(())
            })
        })
        .await
    }
}

/// SQLite's primary result code of an error.
fn result_code(error: &sqlx::Error) -> Option<i64> {
    let error = error.as_database_error()?;
    let extended: i64 = error.code()?.parse().ok()?;
    Some(extended & 0xff)
}

/// An error before anything was written.
fn not_begun(error: sqlx::Error) -> StoreError {
    match result_code(&error) {
        Some(5 | 6) => StoreError::LockTimeout(error.into()),
        Some(_) | None => StoreError::Unavailable(error.into()),
    }
}

/// An error inside a closure, which is undone.
pub(super) fn classify(error: sqlx::Error) -> StoreError {
    match result_code(&error) {
        // SQLITE_BUSY, SQLITE_LOCKED
        Some(5 | 6) => StoreError::LockTimeout(error.into()),
        // SQLITE_READONLY, SQLITE_IOERR, SQLITE_FULL, SQLITE_CANTOPEN
        Some(8 | 10 | 13 | 14) => StoreError::Unavailable(error.into()),
        // SQLITE_CORRUPT, SQLITE_NOTADB
        Some(11 | 26) => StoreError::Corrupt(error.to_string()),
        // SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH
        Some(18..=20) => StoreError::Refused(error.into()),
        Some(_) => StoreError::Failed(error.into()),
        None => outside(error),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's error may grow, and what is not known is a failure"
)]
fn outside(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            StoreError::Corrupt(error.to_string())
        }
        sqlx::Error::Encode(_) => StoreError::Refused(error.into()),
        _ => StoreError::Failed(error.into()),
    }
}

/// A duration as microseconds from now.
pub(super) fn from_now(duration: Duration) -> i64 {
    now().plus(duration).0
}
