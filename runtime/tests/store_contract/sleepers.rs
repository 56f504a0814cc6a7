//! What Postgres alone shows: statements that wait, and clients that sleep.

use crate::{
    rig::{Rig, incarnation, take},
    stores::{self, options},
};
use niyanta_core::time::Duration;
use runtime::store::{Commit, LeaseAnswer, Store, StoreError, TakeLease, postgres::PostgresStore};
use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions};
use std::{str::FromStr, sync::Arc};

async fn connect(rig: &Rig, name: &str) -> PgConnection {
    let options = PgConnectOptions::from_str(&rig.url)
        .unwrap()
        .application_name(name);
    PgConnection::connect_with(&options).await.unwrap()
}

async fn run(conn: &mut PgConnection, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(conn)
        .await
        .unwrap();
}

/// Waits until so many statements wait for a lock.
async fn waiting(conn: &mut PgConnection, wanted: i64) {
    loop {
        let found: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity \
             where datname = current_database() and wait_event_type = 'Lock'",
        )
        .fetch_one(&mut *conn)
        .await
        .unwrap();
        if found == wanted {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_waits_while_another_takes_over_changes_nothing() {
    let rig = stores::postgres().await;
    rig.submit(3).await;
    let generation = rig.lead().await;
    let batch = Arc::new(rig.assignment(generation, 1, &[1, 2, 3]).await);
    let mut other = connect(&rig, "someone").await;
    let mut watcher = connect(&rig, "watcher").await;
    run(
        &mut other,
        "begin; update fence set generation = generation + 1, incarnation = 'x', applied_batch = 0",
    )
    .await;
    let (store, sent) = (Arc::clone(&rig.store), Arc::clone(&batch));
    let commit = tokio::spawn(async move { store.commit(&sent).await });
    waiting(&mut watcher, 1).await;
    run(&mut other, "commit").await;
    assert_eq!(commit.await.unwrap().unwrap(), Commit::NotApplied);
    for number in 1..=3 {
        assert_eq!(rig.view(number).await.version, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_takeover_ends_one_of_ours_that_sleeps_in_a_transaction() {
    let rig = stores::postgres().await;
    let mut options = options("me");
    options.statement_timeout = Duration::from_millis(600);
    options.lock_timeout = Duration::from_millis(200);
    let store = PostgresStore::connect(&rig.url, &options).unwrap();
    let mut sleeper = connect(&rig, "niyanta/asleep").await;
    run(&mut sleeper, "begin; update lease set holder = 'asleep'").await;
    let forced = TakeLease {
        force: true,
        ..take("me")
    };
    let answer = loop {
        match store.take_lease(forced.clone()).await {
            // It has not slept for long enough yet.
            Err(StoreError::LockTimeout(_)) => {}
            other => break other.unwrap(),
        }
    };
    assert!(matches!(answer.value, LeaseAnswer::Taken(_)));
    assert!(sqlx::query("select 1").execute(&mut sleeper).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_who_holds_a_lock_is_left_alone() {
    let rig = stores::postgres().await;
    let mut options = options("me");
    options.statement_timeout = Duration::from_millis(600);
    options.lock_timeout = Duration::from_millis(200);
    let store = PostgresStore::connect(&rig.url, &options).unwrap();
    let mut stranger = connect(&rig, "psql").await;
    run(&mut stranger, "begin; update lease set holder = 'psql'").await;
    for _ in 0..3 {
        let answer = store.take_lease(take("me")).await;
        assert!(
            matches!(answer, Err(StoreError::LockTimeout(_))),
            "{answer:?}"
        );
    }
    run(&mut stranger, "rollback").await;
    assert!(matches!(
        store.take_lease(take("me")).await.unwrap().value,
        LeaseAnswer::Taken(_)
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_call_leaves_its_connection_clean() {
    let rig = stores::postgres().await;
    let generation = rig.lead().await;
    for _ in 0..50 {
        let ttl = Duration::from_secs(10);
        let me = incarnation("me");
        let call = rig.store.renew_lease(&me, generation, ttl);
        // Polled once, then dropped: its statement goes on in a task of its own.
        let dropped = tokio::time::timeout(Duration::ZERO, call).await;
        drop(dropped);
    }
    let lease = rig.store.read_lease().await.unwrap().value;
    assert_eq!(lease.generation, generation);
    let mut watcher = connect(&rig, "watcher").await;
    loop {
        let open: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where datname = current_database() \
             and application_name like 'niyanta/%' and state <> 'idle'",
        )
        .fetch_one(&mut watcher)
        .await
        .unwrap();
        if open == 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cannot_be_reached_is_unavailable() {
    let url = "postgres://nobody@127.0.0.1:1/none";
    let mut options = options("me");
    options.statement_timeout = Duration::from_millis(300);
    let store = PostgresStore::connect(url, &options).unwrap();
    assert!(matches!(
        store.ping().await,
        Err(StoreError::Unavailable(_))
    ));
    let taken = store.take_lease(take("me")).await;
    assert!(matches!(taken, Err(StoreError::Unavailable(_))));
    assert!(PostgresStore::connect("postgres://[", &options).is_err());
}
