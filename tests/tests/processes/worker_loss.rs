//! Workers die, restart, leave, and get impersonated.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{
    Cluster, ClusterOptions, Ledger, RawWorker, Signal, Worker, one_at_a_time, some_progress,
    until, went_on,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_workers_hash_tree_goes_on_elsewhere_from_its_checkpoint() {
    let _turn = one_at_a_time().await;
    // Its length is what this test waits for.
    let short_lease = ClusterOptions {
        heartbeat_timeout: "4s",
        ..one_coordinator()
    };
    let mut cluster = Cluster::start(short_lease).await;
    let tree = cluster.tree();
    let client = cluster.customer(0);
    cluster.crawling_worker("first");
    let id = client.submit("hash_tree", json!({"path": tree})).await;
    cluster.checkpoints_stored(2).await;
    assert_eq!(client.workload(&id).await["worker_id"], "first");

    cluster.worker("second", 2, &["hash_tree"]);
    cluster.worker_named("first").process.kill();

    let done = went_on(&client, &id, &tree).await;
    assert_eq!(
        done["retry_count"], 0,
        "a lost worker is not the workload's failure: {done:#}"
    );
    assert_eq!(done["loss_count"], 1, "{done:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_told_to_stop_hands_its_work_over_at_once() {
    let _turn = one_at_a_time().await;
    let mut cluster = Cluster::start(one_coordinator()).await;
    let tree = cluster.tree();
    let client = cluster.customer(0);
    cluster.crawling_worker("first");
    let id = client.submit("hash_tree", json!({"path": tree})).await;
    some_progress(&client, &id).await;

    cluster.worker("second", 2, &["hash_tree"]);
    cluster.admin().healthy_workers(2).await;
    let first = cluster.worker_named("first");
    first.process.signal(Signal::TERM);
    let status = first.process.ended(Duration::from_secs(40)).await;
    assert_eq!(status.code(), Some(0), "{}", first.process.log_tail(20));

    let done = went_on(&client, &id, &tree).await;
    assert_eq!(done["worker_id"], Value::Null, "{done:#}");
    assert_eq!(
        done["loss_count"], 0,
        "leaving in order is no loss: {done:#}"
    );
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

fn is_alive(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    // A zombie has ended; only its parent has not noticed.
    status.is_ok_and(|line| !line.contains(") Z "))
}
