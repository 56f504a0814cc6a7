//! Keys, isolation between customers, idempotency.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tests::{Cluster, ClusterOptions, Signal, one_at_a_time, until};

const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_opens_its_own_customer_and_nothing_else() {
    let _turn = one_at_a_time().await;
    let cluster = Cluster::start(single()).await;
    let acme = cluster.customer(0);
    let (other_id, other_key) = cluster.new_customer("standard", "other").await;
    let other = cluster.coordinators[0].client(&other_key);
    let id = acme.submit("sleep", json!({"seconds": 0})).await;
    let path = format!("/v1/workloads/{id}");

    let anonymous = cluster.coordinators[0].anonymous();
    anonymous
        .get(&path)
        .await
        .expect_problem(401, "UNAUTHORIZED");
    for wrong in ["nyt_wrong", "x", &format!("{}x", cluster.customer_key)] {
        anonymous
            .with_key(wrong)
            .get(&path)
            .await
            .expect_problem(401, "UNAUTHORIZED");
    }
    for suffix in ["", "/audit", "/logs"] {
        let answer = other.get(&format!("{path}{suffix}")).await;
        answer.expect_problem(404, "NOT_FOUND");
    }
    for verb in ["cancel", "pause", "resume"] {
        other
            .control(&id, verb)
            .await
            .expect_problem(404, "NOT_FOUND");
    }
    assert!(other.all("/v1/workloads", "workloads").await.is_empty());
    assert_eq!(acme.workload(&id).await["desired"], "run");

    other
        .get("/v1/admin/workers")
        .await
        .expect_problem(403, "FORBIDDEN");
    let admin = cluster.admin();
    admin.get(&path).await.expect_problem(403, "FORBIDDEN");
    admin
        .get(&format!("{path}?customer_id={other_id}"))
        .await
        .expect_problem(404, "NOT_FOUND");
    let own = acme.workload(&id).await["customer_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let shown = admin
        .get(&format!("{path}?customer_id={own}"))
        .await
        .expect(200);
    assert_eq!(shown["workload_id"], id.as_str());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_stops_working_everywhere_within_five_seconds() {
    let _turn = one_at_a_time().await;
    let cluster = Cluster::start(ClusterOptions::default()).await;
    revoked_everywhere(&cluster, || {}).await;
}

/// Coordinators tell each other of a revocation through the broker, which is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_stops_working_everywhere_also_when_nobody_is_told() {
    let _turn = one_at_a_time().await;
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    cluster.nats.kill();
    for coordinator in &cluster.coordinators {
        until("the broker to be missed", SOON, async || {
            let ready = coordinator.readiness().await?;
            (ready["dependencies"]["broker"] != "connected").then_some(())
        })
        .await;
    }
    revoked_everywhere(&cluster, || {}).await;
}

/// The broker keeps its connections and passes nothing on: who revokes cannot know that nobody hears.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_stops_working_everywhere_also_when_the_message_is_lost() {
    let _turn = one_at_a_time().await;
    let cluster = Cluster::start(ClusterOptions::default()).await;
    revoked_everywhere(&cluster, || cluster.nats.signal(Signal::STOP)).await;
    cluster.nats.signal(Signal::CONT);
}

/// A key that is in use at every coordinator is refused by all of them 5 s after its revocation.
/// `before` happens right before that.
async fn revoked_everywhere(cluster: &Cluster, before: impl FnOnce()) {
    let admin = cluster.admin();
    let (customer_id, _) = cluster.new_customer("standard", "brief").await;
    let path = format!("/v1/admin/customers/{customer_id}/api-keys");
    let made = admin
        .post(&path, &json!({"name": "brief"}))
        .await
        .expect(201);
    let secret = made["secret"].as_str().unwrap();
    let clients: Vec<_> = cluster
        .coordinators
        .iter()
        .map(|coordinator| coordinator.client(secret))
        .collect();
    let listed = admin.get(&path).await;
    assert!(!listed.text.contains(secret), "a secret is shown once");
    before();
    // Each has just asked the database for the key, and remembers it.
    for client in &clients {
        client.get("/v1/workloads").await.expect(200);
    }

    let path = format!("/v1/admin/api-keys/{}", made["key_id"].as_str().unwrap());
    assert_eq!(admin.delete(&path).await.status, 204);
    until(
        "the key to be refused everywhere",
        Duration::from_secs(5),
        async || {
            for client in &clients {
                if client.get("/v1/workloads").await.status != 401 {
                    return None;
                }
            }
            Some(())
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_idempotency_key_makes_one_workload_whichever_coordinator_is_asked() {
    let _turn = one_at_a_time().await;
    let cluster = Cluster::start(ClusterOptions::default()).await;
    let body = r#"{"workload_type":"sleep","input_params":{"seconds":0,"note":"x"}}"#;
    let reordered = r#"{ "input_params": {"note":"x", "seconds":0}, "workload_type": "sleep" }"#;
    let clients: Vec<_> = (0..3).map(|index| cluster.customer(index)).collect();
    let submit = async |index: usize, key: &str, body: &str| {
        let headers = [("Idempotency-Key", key)];
        let body = Some(body.to_owned());
        clients[index]
            .send(Method::POST, "/v1/workloads", &headers, body)
            .await
            .unwrap()
    };

    let (a, b, c) = tokio::join!(
        submit(0, "one", body),
        submit(1, "one", reordered),
        submit(2, "one", body)
    );
    let ids = [a, b, c].map(|answer| answer.expect(202)["workload_id"].clone());
    assert!(
        ids[0].is_string() && ids[0] == ids[1] && ids[1] == ids[2],
        "{ids:?}"
    );
    let other_body = submit(1, "one", r#"{"workload_type":"sleep"}"#).await;
    other_body.expect_problem(422, "INVALID_INPUT");
    let second = submit(1, "two", body).await.expect(202)["workload_id"].clone();
    assert_ne!(second, ids[0]);
    assert_eq!(clients[0].all("/v1/workloads", "workloads").await.len(), 2);

    let (_, key) = cluster.new_customer("standard", "other").await;
    let other = clients[0].with_key(&key);
    let headers = [("Idempotency-Key", "one")];
    let sent = other
        .send(
            Method::POST,
            "/v1/workloads",
            &headers,
            Some(body.to_owned()),
        )
        .await;
    let id = sent.unwrap().expect(202)["workload_id"].clone();
    assert_ne!(id, ids[0], "another customer's key is another key");
}

fn single() -> ClusterOptions {
    ClusterOptions {
        coordinators: 1,
        ..ClusterOptions::default()
    }
}
