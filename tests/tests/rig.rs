//! The rig itself: servers that come back keep what they had, or the tests on top mean nothing.
#![allow(clippy::unwrap_used, reason = "a test")]

use sqlx::{Connection, PgConnection, Row};
use tests::{Nats, Postgres};

#[tokio::test]
async fn postgres_killed_and_started_again_keeps_what_was_committed() {
    let mut postgres = Postgres::start().await;
    let url = postgres.create_database().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::query("create table t (v int)")
        .execute(&mut connection)
        .await
        .unwrap();
    sqlx::query("insert into t values (7)")
        .execute(&mut connection)
        .await
        .unwrap();

    postgres.kill();
    assert!(
        PgConnection::connect(&url).await.is_err(),
        "a killed server answers nobody"
    );
    postgres.start_again().await;

    let mut connection = PgConnection::connect(&url).await.unwrap();
    let row = sqlx::query("select v from t")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(row.get::<i32, _>("v"), 7);
}

#[tokio::test]
async fn nats_comes_back_on_its_port() {
    let mut nats = Nats::start().await;
    let url = nats.url();
    let before = async_nats::connect(&url).await.unwrap();
    assert_eq!(before.server_info().max_payload, 1 << 20);
    drop(before);
    nats.kill();
    assert!(
        async_nats::connect(&url).await.is_err(),
        "a killed server answers nobody"
    );
    nats.start_again().await;
    async_nats::connect(&url).await.unwrap();
}
