//! Workers die, restart, leave, and get impersonated.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{
    Client, Cluster, ClusterOptions, Ledger, RawWorker, Signal, Worker, one_at_a_time, tree_digest,
    until,
};

const LEASE_AND_MORE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_workers_hash_tree_goes_on_elsewhere_from_its_checkpoint() {
    let _turn = one_at_a_time().await;
    let mut cluster = Cluster::start(one_coordinator()).await;
    let tree = cluster.big_tree();
    let client = cluster.customer(0);
    cluster.worker("first", 2, &["hash_tree"]);
    let id = client.submit("hash_tree", json!({"path": tree})).await;
    let before = half_way(&client, &id).await;
    assert_eq!(before["worker_id"], "first");

    cluster.worker("second", 2, &["hash_tree"]);
    cluster.worker_named("first").process.kill();

    let after = went_on(&client, &id, &before).await;
    let history = client.history(&id).await;
    history.assert_sound(after["version"].as_u64().unwrap());
    assert_eq!(history.scheduled_attempts(), [1, 2], "{history:#?}");
    assert_eq!(after["result_data"], tree_digest(&tree));
    let second = history.of_type("workload.scheduled").nth(1).unwrap();
    let from = &second["details"]["checkpoint"];
    assert_eq!(
        from["attempt"], 1,
        "it goes on from the first attempt's checkpoint: {second:#}"
    );
    assert_eq!(
        after["retry_count"], 0,
        "a lost worker is not the workload's failure: {after:#}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_told_to_stop_hands_its_work_over_at_once() {
    let _turn = one_at_a_time().await;
    let mut cluster = Cluster::start(one_coordinator()).await;
    let tree = cluster.big_tree();
    let client = cluster.customer(0);
    cluster.worker("first", 2, &["hash_tree"]);
    let id = client.submit("hash_tree", json!({"path": tree})).await;
    let before = half_way(&client, &id).await;

    cluster.worker("second", 2, &["hash_tree"]);
    cluster.admin().healthy_workers(2).await;
    let first = cluster.worker_named("first");
    first.process.signal(Signal::TERM);
    let status = first.process.ended(Duration::from_secs(40)).await;
    assert_eq!(status.code(), Some(0), "{}", first.process.log_tail(20));

    let after = went_on(&client, &id, &before).await;
    assert_eq!(after["worker_id"], Value::Null, "{after:#}");
    assert_eq!(after["result_data"], tree_digest(&tree));
    assert_eq!(
        after["loss_count"], 0,
        "leaving in order is no loss: {after:#}"
    );
    let history = client.history(&id).await;
    history.assert_sound(after["version"].as_u64().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_under_a_living_workers_id_runs_nothing() {
    let _turn = one_at_a_time().await;
    let mut cluster = Cluster::start(one_coordinator()).await;
    let client = cluster.customer(0);
    let ledger = Ledger::new(cluster.scratch.join("ledger"));
    cluster.worker("same", 4, &["exec"]);
    cluster.admin().healthy_workers(1).await;
    let incarnation = cluster.admin().worker("same").await.unwrap()["incarnation"].clone();
    let jobs = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let mut ids = Vec::new();
    for job in jobs {
        ids.push(client.submit("exec", ledger.exec(job, "3")).await);
    }
    client
        .wait_for(&ids[0], "RUNNING", Duration::from_secs(20))
        .await;

    let mut options = cluster.worker_options("same", 4, &["exec"]);
    options.state_dir = cluster.scratch.join("impostor.state");
    options.log = cluster.scratch.join("impostor.log");
    let impostor = Worker::spawn(options);
    until(
        "the second process to say why it waits",
        Duration::from_secs(20),
        async || {
            let log = impostor.process.log();
            log.contains("another process holds this worker id")
                .then_some(())
        },
    )
    .await;

    for (job, id) in jobs.iter().zip(&ids) {
        client
            .wait_for(id, "COMPLETED", Duration::from_secs(60))
            .await;
        let workload = cluster.assert_completed_once(&client, id).await;
        assert_eq!(
            (&workload["attempt"], ledger.runs(job)),
            (&json!(1), 1),
            "{workload:#}"
        );
    }
    let worker = cluster.admin().worker("same").await.unwrap();
    assert_eq!(
        worker["incarnation"], incarnation,
        "the first process kept its id"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_id_is_refused_on_the_wire_until_its_holder_leaves() {
    let _turn = one_at_a_time().await;
    let cluster = Cluster::start(one_coordinator()).await;
    let url = cluster.nats.url();
    let mut holder = RawWorker::registered(&url, "taken", &["sleep"], 1).await;
    let mut other = RawWorker::connect(&url, "taken").await;
    let refused = other.register(&["sleep"], 1).await;
    assert_eq!(refused["status"], "id_in_use", "{refused:#}");
    assert!(
        refused["retry_after_seconds"].as_f64() > Some(0.0),
        "{refused:#}"
    );
    assert_eq!(
        holder.heartbeat(&[]).await["status"],
        "ok",
        "the holder does not notice"
    );

    let left = holder.request("worker.deregister", json!({})).await;
    assert_eq!(left["status"], "ok", "{left:#}");
    let taken = other.register(&["sleep"], 1).await;
    assert_eq!(taken["status"], "ok", "{taken:#}");
    let late = holder.heartbeat(&[]).await;
    assert_eq!(late["status"], "rejected", "{late:#}");
    assert_eq!(late["reason"], "incarnation_ended", "{late:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exec_dies_with_its_worker() {
    let _turn = one_at_a_time().await;
    let mut cluster = Cluster::start(one_coordinator()).await;
    let client = cluster.customer(0);
    let pid_file = cluster.scratch.join("pid");
    let script = "sleep 600 & echo $! > \"$0\"; wait";
    cluster.worker("mortal", 1, &["exec"]);
    let params = json!({"argv": ["sh", "-c", script, pid_file]});
    client.submit("exec", params).await;
    let pid = until(
        "the process to start",
        Duration::from_secs(20),
        async || {
            std::fs::read_to_string(&pid_file)
                .ok()?
                .trim()
                .parse::<u32>()
                .ok()
        },
    )
    .await;
    assert!(is_alive(pid));

    cluster.worker_named("mortal").process.kill();
    until(
        "the grandchild to be killed",
        Duration::from_secs(10),
        async || (!is_alive(pid)).then_some(()),
    )
    .await;
}

fn one_coordinator() -> ClusterOptions {
    ClusterOptions {
        coordinators: 1,
        ..ClusterOptions::default()
    }
}

/// Waits until the workload has run long enough to have left a checkpoint (one a second).
async fn half_way(client: &Client, id: &str) -> Value {
    let progress = |workload: &Value| workload["progress_percent"].as_f64().unwrap_or(0.0);
    let first = client
        .wait_until(id, "some progress", Duration::from_secs(60), |w| {
            progress(w) >= 5.0
        })
        .await;
    let enough = progress(&first) + 30.0;
    let found = client
        .wait_until(id, "more progress", Duration::from_secs(120), |w| {
            progress(w) >= enough
        })
        .await;
    assert_eq!(
        found["status"], "RUNNING",
        "the tree is too small to be interrupted: {found:#}"
    );
    found
}

/// Waits for the end, and asserts that the next attempt did not begin at the beginning.
async fn went_on(client: &Client, id: &str, before: &Value) -> Value {
    let attempt = before["attempt"].as_u64().unwrap();
    let running = client
        .wait_until(id, "the next attempt", LEASE_AND_MORE, |workload| {
            let next = workload["attempt"].as_u64() > Some(attempt);
            next && (workload["status"] == "RUNNING" || workload["status"] == "COMPLETED")
        })
        .await;
    let done = client
        .wait_for(id, "COMPLETED", Duration::from_secs(120))
        .await;
    let (old, new) = (&before["progress_percent"], &running["progress_percent"]);
    println!("progress {old} % when interrupted, {new} % when first seen running again");
    assert!(
        new.as_f64() > Some(10.0),
        "it began again at the beginning: {running:#}"
    );
    done
}

fn is_alive(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    // A zombie has ended; only its parent has not noticed.
    status.is_ok_and(|line| !line.contains(") Z "))
}
