//! Workloads that cannot run yet say why, and stand in nobody's way.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Client, Cluster, ClusterOptions, one_at_a_time};

const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_nobody_can_run_says_why_and_does_not_hold_up_those_behind() {
    let _turn = one_at_a_time().await;
    let mut cluster = Cluster::start(single()).await;
    cluster.worker("w1", 2, &["sleep"]);
    let client = cluster.customer(0);
    let body = json!({"workload_type": "train-on-gpu"});
    client.post("/v1/workload-configs", &body).await.expect(201);
    let urgent = json!({"workload_type": "train-on-gpu", "priority": 1000});
    let mut stuck = Vec::new();
    for _ in 0..50 {
        stuck.push(client.submit_body(&urgent).await);
    }
    let tagged = json!({
        "workload_type": "sleep", "input_params": {"seconds": 0}, "priority": 1000,
        "affinity_rules": {"hard_affinity": {"worker_tags": {"zone": "moon"}}},
    });
    let tagged = client.submit_body(&tagged).await;
    let mut behind = Vec::new();
    for _ in 0..10 {
        behind.push(client.submit("sleep", json!({"seconds": 0})).await);
    }
    for id in &behind {
        client.wait_for(id, "COMPLETED", SOON).await;
    }

    for (id, code) in [(&stuck[0], "no_capable_worker"), (&tagged, "affinity")] {
        waits_for(&client, id, code).await;
        let shown = cluster.cli(0, &["get", id]);
        let text = String::from_utf8_lossy(&shown.stdout);
        assert!(shown.status.success());
        assert!(
            text.contains(code),
            "niyanta get does not say {code}:\n{text}"
        );
    }

    cluster.worker("w2", 10, &["train-on-gpu", "sleep"]);
    // The reference worker does not know the type: what it cannot run it refuses, or does not offer.
    let still = client.workload(&stuck[1]).await;
    assert_ne!(still["status"], "COMPLETED", "{still:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_reason_to_wait_is_told_and_goes_away_with_its_cause() {
    let _turn = one_at_a_time().await;
    let mut cluster = Cluster::start(single()).await;
    let client = cluster.customer(0);
    let early = client.submit("sleep", json!({"seconds": 0})).await;
    waits_for(&client, &early, "no_capable_worker").await;
    cluster.worker("w1", 1, &["sleep"]);
    client.wait_for(&early, "COMPLETED", SOON).await;

    let long = client.submit("sleep", json!({"seconds": 600})).await;
    client.wait_for(&long, "RUNNING", SOON).await;
    let crowded = client.submit("sleep", json!({"seconds": 0})).await;
    waits_for(&client, &crowded, "no_capacity").await;

    let later = (chrono::Utc::now() + chrono::TimeDelta::hours(1)).to_rfc3339();
    let body = json!({"workload_type": "sleep", "run_after": later});
    let later = client.submit_body(&body).await;
    waits_for(&client, &later, "run_after").await;

    client.control(&long, "cancel").await.expect(202);
    client.wait_for(&crowded, "COMPLETED", SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customers_limit_makes_its_own_workloads_wait_and_nobody_elses() {
    let _turn = one_at_a_time().await;
    let mut cluster = Cluster::start(single()).await;
    cluster.worker("w1", 10, &["sleep"]);
    let (id, key) = cluster.new_customer("standard", "small").await;
    let limits = json!({"limits": {"max_concurrent_workloads": 1}}).to_string();
    let path = format!("/v1/admin/customers/{id}");
    let patched = cluster
        .admin()
        .send(Method::PATCH, &path, &[], Some(limits))
        .await
        .unwrap();
    assert_eq!(patched.expect(200)["limits"]["max_concurrent_workloads"], 1);

    let small = cluster.coordinators[0].client(&key);
    let first = small.submit("sleep", json!({"seconds": 600})).await;
    small.wait_for(&first, "RUNNING", SOON).await;
    let second = small.submit("sleep", json!({"seconds": 0})).await;
    waits_for(&small, &second, "customer_limit").await;
    let other = cluster
        .customer(0)
        .submit("sleep", json!({"seconds": 0}))
        .await;
    cluster
        .customer(0)
        .wait_for(&other, "COMPLETED", SOON)
        .await;
    small.control(&first, "cancel").await.expect(202);
    small.wait_for(&second, "COMPLETED", SOON).await;
}

fn single() -> ClusterOptions {
    ClusterOptions {
        coordinators: 1,
        ..ClusterOptions::default()
    }
}

async fn waits_for(client: &Client, id: &str, code: &str) -> Value {
    client
        .wait_until(id, &format!("pending_reason {code}"), SOON, |workload| {
            workload["status"] == "PENDING" && workload["pending_reason"]["code"] == code
        })
        .await
}
