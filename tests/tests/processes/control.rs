//! Cancel, pause and resume, through a coordinator that does not lead.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Cluster, ClusterOptions, Signal, one_at_a_time, some_progress, until, went_on};

const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_workload_is_cancelled_through_a_follower() {
    let _turn = one_at_a_time().await;
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    cluster.worker("w1", 4, &["exec"]);
    let client = cluster.customer(cluster.follower().await);
    let pid_file = cluster.scratch.join("pid");
    let argv = json!(["sh", "-c", "echo $$ > \"$0\"; sleep 600", pid_file]);
    let id = client.submit("exec", json!({"argv": argv})).await;
    client.wait_for(&id, "RUNNING", SOON).await;
    let pid = until("the process to say its id", SOON, async || {
        std::fs::read_to_string(&pid_file)
            .ok()?
            .trim()
            .parse::<u32>()
            .ok()
    })
    .await;

    let told = client.control(&id, "cancel").await.expect(202);
    assert_eq!(told["desired"], "cancel", "{told:#}");
    assert_ne!(
        told["status"], "CANCELLED",
        "nobody has stopped yet: {told:#}"
    );
    let again = client.control(&id, "cancel").await;
    assert!([200, 202].contains(&again.status), "{}", again.text);
    let done = client.wait_for(&id, "CANCELLED", SOON).await;
    let gone = !std::path::Path::new(&format!("/proc/{pid}")).exists();
    assert!(gone, "CANCELLED means that nothing runs any more");

    client.control(&id, "cancel").await.expect(200);
    for verb in ["pause", "resume"] {
        client
            .control(&id, verb)
            .await
            .expect_problem(409, "INVALID_STATE");
    }
    let history = client.history(&id).await;
    history.assert_sound(done["version"].as_u64().unwrap());
    assert_eq!(
        history.count("workload.cancel_requested"),
        1,
        "{history:#?}"
    );
    assert_eq!(history.count("workload.cancelled"), 1, "{history:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_hash_tree_resumes_where_it_stopped_through_a_follower() {
    let _turn = one_at_a_time().await;
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    cluster.crawling_worker("first");
    let client = cluster.customer(cluster.follower().await);
    let tree = cluster.tree();
    let id = client.submit("hash_tree", json!({"path": tree})).await;
    some_progress(&client, &id).await;

    let told = client.control(&id, "pause").await.expect(202);
    assert_eq!(told["desired"], "pause", "{told:#}");
    let paused = client.wait_for(&id, "PAUSED", SOON).await;
    assert_eq!(paused["worker_id"], Value::Null, "{paused:#}");
    client.control(&id, "pause").await.expect(200);

    // Only somebody faster can finish it.
    cluster.worker("second", 1, &["hash_tree"]);
    let first = cluster.worker_named("first");
    first.process.signal(Signal::TERM);
    first.process.ended(SOON).await;
    let resumed = client.control(&id, "resume").await.expect(202);
    assert_eq!(resumed["desired"], "run", "{resumed:#}");
    went_on(&client, &id, &tree).await;
    let history = client.history(&id).await;
    for kind in ["pause_requested", "paused", "resume_requested"] {
        assert_eq!(
            history.count(&format!("workload.{kind}")),
            1,
            "{kind}: {history:#?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_workload_is_paused_resumed_and_cancelled_without_any_worker() {
    let _turn = one_at_a_time().await;
    let cluster = Cluster::start(ClusterOptions::default()).await;
    let client = cluster.customer(cluster.follower().await);
    let id = client.submit("sleep", json!({"seconds": 0})).await;
    for (verb, status) in [
        ("pause", "PAUSED"),
        ("resume", "PENDING"),
        ("cancel", "CANCELLED"),
    ] {
        client.control(&id, verb).await.expect(202);
        client
            .wait_until(&id, status, SOON, |workload| workload["status"] == status)
            .await;
    }
    let done = client.workload(&id).await;
    assert_eq!(done["attempt"], 0, "{done:#}");
    client
        .history(&id)
        .await
        .assert_sound(done["version"].as_u64().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_condition_on_the_version_guards_a_control_call() {
    let _turn = one_at_a_time().await;
    let options = ClusterOptions {
        coordinators: 1,
        ..ClusterOptions::default()
    };
    let cluster = Cluster::start(options).await;
    let client = cluster.customer(0);
    let id = client.submit("sleep", json!({"seconds": 0})).await;
    let path = format!("/v1/workloads/{id}/cancel");
    let shown = client.get(&format!("/v1/workloads/{id}")).await;
    let etag = shown.headers["etag"].to_str().unwrap().to_owned();
    let cancel = async |condition: &str| {
        let headers = [("If-Match", condition)];
        client
            .send(
                reqwest::Method::POST,
                &path,
                &headers,
                Some("{}".to_owned()),
            )
            .await
            .unwrap()
    };
    cancel("\"99\"")
        .await
        .expect_problem(412, "PRECONDITION_FAILED");
    assert_eq!(client.workload(&id).await["desired"], "run");
    cancel(&etag).await.expect(202);
}
