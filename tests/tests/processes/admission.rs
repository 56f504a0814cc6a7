//! Idempotency and limits, with many clients on three coordinators.

use std::{collections::BTreeMap, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Cluster, ClusterOptions, one_at_a_time, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_clients_with_repeated_keys_make_one_workload_a_key_while_a_leader_dies() {
    const KEYS: usize = 50;
    const CLIENTS: usize = 200;
    let _turn = one_at_a_time().await;
    let cluster = Cluster::start(ClusterOptions::default()).await;
    let leader = cluster.leader().await;
    let everywhere: Vec<_> = (0..3).map(|index| cluster.customer(index)).collect();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (everywhere, key) = (everywhere.clone(), format!("key-{}", number % KEYS));
            tokio::spawn(async move {
                let own = everywhere[number % 3].clone();
                let body = json!({"workload_type": "sleep", "labels": {"key": key}});
                let id = own.submit_surely(&everywhere, &body, &key).await;
                (key, id)
            })
        })
        .collect();
    // Killed while they are at it: some of the answers are lost.
    cluster.coordinators[(leader + 1) % 3].process.kill();
    cluster.coordinators[leader].process.kill();
    let mut ids: BTreeMap<String, String> = BTreeMap::new();
    for client in clients {
        let (key, id) = client.await.unwrap();
        let first = ids.entry(key.clone()).or_insert_with(|| id.clone());
        assert_eq!(*first, id, "{key} names two workloads");
    }
    assert_eq!(ids.len(), KEYS);
    let survivor = &everywhere[(leader + 2) % 3];
    let stored = survivor.all("/v1/workloads", "workloads").await;
    let mut by_key: BTreeMap<String, usize> = BTreeMap::new();
    for workload in &stored {
        let key = workload["labels"]["key"].as_str().unwrap().to_owned();
        *by_key.entry(key).or_default() += 1;
    }
    assert!(by_key.values().all(|count| *count == 1), "{by_key:?}");
    assert_eq!(by_key.len(), KEYS);
    let other = json!({"workload_type": "sleep", "priority": 1}).to_string();
    let headers = [("Idempotency-Key", "key-0")];
    let refused = survivor
        .send(Method::POST, "/v1/workloads", &headers, Some(other))
        .await;
    refused.unwrap().expect_problem(422, "INVALID_INPUT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_submitters_on_three_coordinators_stop_exactly_at_the_queues_limit() {
    const LIMIT: usize = 77;
    let _turn = one_at_a_time().await;
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    let (id, key) = cluster.new_customer("free", "small").await;
    let limits = json!({"limits": {"max_queue_depth": LIMIT}}).to_string();
    let path = format!("/v1/admin/customers/{id}");
    let admin = cluster.admin();
    let patched = admin.send(Method::PATCH, &path, &[], Some(limits)).await;
    patched.unwrap().expect(200);
    let everywhere: Vec<_> = cluster
        .coordinators
        .iter()
        .map(|coordinator| coordinator.client(&key))
        .collect();
    let admitted = flood(&everywhere, 50, 4).await;
    assert_eq!(admitted, LIMIT);
    let account = everywhere[1].get("/v1/customer").await.expect(200);
    assert_eq!(account["usage"]["queued"], LIMIT);
    let stored = everywhere[2].all("/v1/workloads", "workloads").await;
    assert_eq!(stored.len(), LIMIT);

    // What is assigned makes room; what was never assigned never passes the limit.
    cluster.worker("w1", 4, &["sleep"]);
    until("room in the queue", Duration::from_secs(30), async || {
        let account = everywhere[0].get("/v1/customer").await.expect(200);
        let queued = account["usage"]["queued"].as_u64()?;
        (queued < LIMIT as u64).then_some(())
    })
    .await;
    let waiting = |workloads: &[Value]| {
        let never = workloads.iter().filter(|it| it["attempt"] == 0);
        never.filter(|it| it["completed_at"].is_null()).count()
    };
    let mut more = 0;
    for _ in 0..5 {
        more += flood(&everywhere, 50, 1).await;
        let count = waiting(&everywhere[0].all("/v1/workloads", "workloads").await);
        assert!(count <= LIMIT, "{count} wait, at most {LIMIT} may");
    }
    assert!(more > 0, "assigned workloads leave the queue");
}

/// How many of so many submitters' submissions are admitted, each on another coordinator than the
/// one beside it; all others must be told that the queue is full.
async fn flood(everywhere: &[tests::Client], submitters: usize, each: usize) -> usize {
    let tasks: Vec<_> = (0..submitters)
        .map(|number| {
            let client = everywhere[number % everywhere.len()].clone();
            tokio::spawn(async move {
                let body = json!({"workload_type": "sleep", "input_params": {"seconds": 600}});
                let mut admitted = 0;
                for _ in 0..each {
                    let answer = client.post("/v1/workloads", &body).await;
                    if answer.status == 202 {
                        admitted += 1;
                    } else {
                        assert!(answer.headers.contains_key("retry-after"));
                        answer.expect_problem(429, "QUEUE_FULL");
                    }
                }
                admitted
            })
        })
        .collect();
    let mut admitted = 0;
    for task in tasks {
        admitted += task.await.unwrap();
    }
    admitted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_old_is_removed_by_whoever_leads() {
    let _turn = one_at_a_time().await;
    let mut cluster = Cluster::start(ClusterOptions {
        coordinators: 2,
        env: vec![("RETENTION_WORKLOADS", "2s".to_owned())],
        ..ClusterOptions::default()
    })
    .await;
    cluster.worker("w1", 2, &["sleep"]);
    let client = cluster.customer(0);
    let stays = client.submit("sleep", json!({"seconds": 600})).await;
    let goes = client.submit("sleep", json!({"seconds": 0})).await;
    let ended = until(
        "the ended workload is gone",
        Duration::from_secs(30),
        async || {
            let answer = client.get(&format!("/v1/workloads/{goes}")).await;
            (answer.status == 404).then_some(answer)
        },
    );
    ended.await.expect_problem(404, "NOT_FOUND");
    for part in ["audit", "logs"] {
        let answer = client.get(&format!("/v1/workloads/{goes}/{part}")).await;
        answer.expect_problem(404, "NOT_FOUND");
    }
    client
        .get(&format!("/v1/workloads/{stays}"))
        .await
        .expect(200);
    let stats = client.get("/v1/customer/stats").await.expect(200);
    assert_eq!(stats["total"]["completed"], 1);
    assert_eq!(stats["total"]["submitted"], 2);
}
