//! Connections, deadlines, and what an error of the database means.
//!
//! Owns three lanes, so that none queues behind another: the lease's, the leader's commits', and
//! everybody's. A statement runs in a task of its own that is never aborted: its caller may be
//! dropped, the connection is then still read to the end of the answer, or closed. A connection
//! whose answer is late or broken is never lent again.

use super::super::{BoxError, Options, StoreError};
use futures::future::BoxFuture;
use niyanta_core::time::Duration;
use sqlx::{
    PgConnection, PgPool,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions, Postgres},
};
use std::{borrow::Cow, str::FromStr};

/// What our connections are called, before the incarnation.
const NAME_PREFIX: &str = "niyanta/";

/// A connection that was idle for longer is asked whether it lives before it is lent.
const IDLE_TRUST: Duration = Duration::from_secs(1);

/// The adapter's deadline lies this much beyond the statement time-out.
const DEADLINE_SLACK: Duration = Duration::from_millis(500);

/// The connections of one store.
#[derive(Debug, Clone)]
pub(super) struct Session {
    api: PgPool,
    commits: PgPool,
    leases: PgPool,
    statement_timeout: Duration,
}

/// Which connections a statement uses.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lane {
    /// Everybody's.
    Api,
    /// The leader's commits, planned as `notes` of the statement say.
    Commit,
    /// Taking, reading, renewing and resigning the lease.
    Lease,
}

/// What a lost answer means.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Nothing: it changed nothing.
    Read,
    /// It was done, was not, or will be.
    Write,
}

impl Session {
    pub(super) fn new(url: &str, options: &Options) -> Result<Self, StoreError> {
        let parsed =
            PgConnectOptions::from_str(url).map_err(|error| StoreError::Failed(error.into()))?;
        let name = format!("{NAME_PREFIX}{}", options.incarnation);
        let millis = |duration: Duration| format!("{}ms", duration.as_millis().max(1));
        let common = parsed.application_name(&name).options([
            ("statement_timeout", millis(options.statement_timeout)),
            ("lock_timeout", millis(options.lock_timeout)),
            (
                "default_transaction_isolation",
                String::from("read committed"),
            ),
            (
                "idle_in_transaction_session_timeout",
                millis(options.statement_timeout),
            ),
            ("client_connection_check_interval", String::from("500ms")),
            ("tcp_keepalives_idle", String::from("10")),
            ("tcp_keepalives_interval", String::from("5")),
            ("tcp_keepalives_count", String::from("3")),
        ]);
        // A batch's plan must not depend on its size or on statistics: key lookups, always.
        let commit = common.clone().options([
            ("plan_cache_mode", "force_generic_plan"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
            ("jit", "off"),
        ]);
        let acquire = options.statement_timeout;
        Ok(Self {
            api: pool(options.pool_size.max(1), acquire).connect_lazy_with(common.clone()),
            commits: pool(2, acquire).connect_lazy_with(commit),
            leases: pool(2, acquire).connect_lazy_with(common),
            statement_timeout: options.statement_timeout,
        })
    }

    /// Runs statements that change nothing. Without an answer they are merely not answered.
    pub(super) async fn read<T, F>(&self, lane: Lane, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>>,
        F: Send + 'static,
    {
        self.run(lane, Kind::Read, work).await
    }

    /// Runs one statement that writes.
    pub(super) async fn write<T, F>(&self, lane: Lane, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>>,
        F: Send + 'static,
    {
        self.run(lane, Kind::Write, work).await
    }

    /// Runs one statement that writes; when it does not get a lock in time, ends those of our
    /// connections that hold locks while their client sleeps, and sends it once more.
    pub(super) async fn write_past_sleepers<T, F>(
        &self,
        lane: Lane,
        work: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>>,
        F: Clone + Send + 'static,
    {
        match self.write(lane, work.clone()).await {
            Err(StoreError::LockTimeout(error)) => match self.end_sleepers().await {
                Ok(0) => Err(StoreError::LockTimeout(error)),
                Ok(ended) => {
                    tracing::warn!(ended, "ended connections that held locks while asleep");
                    self.write(lane, work).await
                }
                Err(failed) => {
                    tracing::warn!(error = %failed, "could not look for sleeping connections");
                    Err(StoreError::LockTimeout(error))
                }
            },
            other => other,
        }
    }

    /// Ends connections of any of our processes that have written, and have waited on their client
    /// inside that transaction for longer than any statement may take: no statement of ours leaves
    /// a connection so, but a process that was stopped between two bytes of its message does.
    async fn end_sleepers(&self) -> Result<i64, StoreError> {
        let longest = super::super::encode::micros(self.statement_timeout);
        self.write(Lane::Api, move |conn| {
            Box::pin(async move {
                sqlx::query_scalar(
                    "select count(*) filter (where pg_terminate_backend(pid)) \
                     from pg_stat_activity \
                     where datname = current_database() and usename = current_user \
                       and starts_with(application_name, $1) and pid <> pg_backend_pid() \
                       and wait_event_type = 'Client' and backend_xid is not null \
                       and xact_start < clock_timestamp() - $2 * interval '1 microsecond'",
                )
                .bind(NAME_PREFIX)
                .bind(longest)
                .fetch_one(conn)
                .await
            })
        })
        .await
    }

    async fn run<T, F>(&self, lane: Lane, kind: Kind, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>>,
        F: Send + 'static,
    {
        let pool = match lane {
            Lane::Api => self.api.clone(),
            Lane::Commit => self.commits.clone(),
            Lane::Lease => self.leases.clone(),
        };
        let deadline = self.statement_timeout + DEADLINE_SLACK;
        let task = tokio::spawn(async move {
            let mut conn = pool.acquire().await.map_err(not_sent)?;
            match tokio::time::timeout(deadline, work(&mut conn)).await {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(error)) => {
                    if !is_whole(&error) {
                        discard(conn);
                    }
                    Err(classify(error, kind))
                }
                Err(late) => {
                    discard(conn);
                    Err(lost(late.into(), kind))
                }
            }
        });
        match task.await {
            Ok(outcome) => outcome,
            Err(ended) => Err(lost(ended.into(), kind)),
        }
    }
}

fn pool(size: u32, acquire: Duration) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(acquire)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .before_acquire(|conn, meta| {
            Box::pin(async move {
                if meta.idle_for > IDLE_TRUST {
                    sqlx::Connection::ping(conn).await?;
                }
                Ok(true)
            })
        })
        .after_connect(|conn, _| {
            Box::pin(async move {
                let level: String =
                    sqlx::query_scalar("select current_setting('transaction_isolation')")
                        .fetch_one(conn)
                        .await?;
                // The fence re-checks its row after a wait only under this level.
                if level == "read committed" {
                    Ok(())
                } else {
                    let why = format!("the isolation level is {level}, not read committed");
                    Err(sqlx::Error::Configuration(why.into()))
                }
            })
        })
}

/// Closes a connection at once, without a word to the server.
fn discard(conn: PoolConnection<Postgres>) {
    drop(conn.detach());
}

/// Whether the connection stands between two statements after this error.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "sqlx::Error is foreign and non-exhaustive"
)]
fn is_whole(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => !error.code().is_some_and(|code| ends_session(&code)),
        sqlx::Error::RowNotFound
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::ColumnNotFound(_) => true,
        _ => false,
    }
}

fn ends_session(code: &str) -> bool {
    code.starts_with("57P") || code.starts_with("08")
}

/// An error before anything was sent.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "sqlx::Error is foreign and non-exhaustive"
)]
fn not_sent(error: sqlx::Error) -> StoreError {
    let refused_us = match &error {
        // Wrong password, no such database or role, or an isolation level that is not ours.
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| code.starts_with("28") || code.starts_with("3D")),
        sqlx::Error::Configuration(_) => true,
        _ => false,
    };
    if refused_us {
        StoreError::Failed(error.into())
    } else {
        StoreError::Unavailable(error.into())
    }
}

/// An error after a statement was, or may have been, sent.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "sqlx::Error is foreign and non-exhaustive"
)]
fn classify(error: sqlx::Error, kind: Kind) -> StoreError {
    let code = match &error {
        sqlx::Error::Database(error) => error.code().map(Cow::into_owned),
        sqlx::Error::Encode(_) => return StoreError::Refused(error.into()),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            return StoreError::Corrupt(error.to_string());
        }
        sqlx::Error::RowNotFound | sqlx::Error::ColumnNotFound(_) => {
            return StoreError::Failed(error.into());
        }
        _ => return lost(error.into(), kind),
    };
    let code = code.unwrap_or_default();
    match code.as_str() {
        // lock_not_available; a deadlock's victim and a serialization failure are as certainly undone.
        "55P03" | "40P01" | "40001" => StoreError::LockTimeout(error.into()),
        // query_canceled by the statement time-out; read_only_sql_transaction: a standby.
        "57014" | "57P03" | "25006" => StoreError::Unavailable(error.into()),
        code if code.starts_with("22") || code.starts_with("23") => {
            StoreError::Refused(error.into())
        }
        code if code.starts_with("53") => StoreError::Unavailable(error.into()),
        code if ends_session(code) => lost(error.into(), kind),
        _ => StoreError::Failed(error.into()),
    }
}

fn lost(error: BoxError, kind: Kind) -> StoreError {
    match kind {
        Kind::Read => StoreError::Unavailable(error),
        Kind::Write => StoreError::Unknown(error),
    }
}

/// The database's own error code beneath, if it answered with one.
pub(super) fn sqlstate(error: &StoreError) -> Option<String> {
    let source: &BoxError = match error {
        StoreError::Unavailable(source)
        | StoreError::LockTimeout(source)
        | StoreError::Unknown(source)
        | StoreError::Refused(source)
        | StoreError::Failed(source) => source,
        StoreError::Corrupt(_) => return None,
    };
    let sqlx::Error::Database(error) = source.downcast_ref::<sqlx::Error>()? else {
        return None;
    };
    error.code().map(Cow::into_owned)
}
