//! The rig itself: servers that come back keep what they had, or the tests on top mean nothing.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::process::Command;

use serde_json::json;
use sqlx::{Connection, PgConnection, Row};
use tests::{Nats, Postgres, Scratch, tree_digest};

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

#[tokio::test]
async fn the_expected_digest_is_what_sha256sum_makes_of_the_tree() {
    let scratch = Scratch::new();
    let tree = scratch.tree("tree", 250, 3_000);
    std::os::unix::fs::symlink("d0000/f000000", tree.join("link")).unwrap();
    let script =
        "find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum";
    let output = Command::new("sh")
        .args(["-c", script])
        .current_dir(&tree)
        .output()
        .unwrap();
    let theirs = String::from_utf8(output.stdout).unwrap();
    let ours = tree_digest(&tree);
    assert_eq!(ours["sha256"], theirs.split_whitespace().next().unwrap());
    assert_eq!(
        (&ours["files"], &ours["bytes"]),
        (&json!(250), &json!(750_000))
    );
}
