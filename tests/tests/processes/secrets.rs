//! What is put into any input stays with whoever put it there.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Answer, Client, Cluster, ClusterOptions, one_at_a_time};

/// In every value that is sent. Lower-case, so that it is a type, too.
const MARK: &str = "m4rk3d-53cr37";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marked_secrets_never_appear_in_logs_errors_metrics_or_audit() {
    let _turn = one_at_a_time().await;
    let cluster = Cluster::start(ClusterOptions {
        coordinators: 1,
        env: vec![("LOG_LEVEL", "trace".to_owned())],
        ..ClusterOptions::default()
    })
    .await;
    let client = cluster.customer(0);
    let mut told = accepted(&client).await;
    told.extend(refused(&client).await);
    let admin = cluster.admin();
    let audit = admin.get("/v1/admin/audit?limit=1000").await.expect(200);
    told.push(("the admin audit".to_owned(), audit.to_string()));
    let metrics = cluster.coordinators[0].anonymous().get("/metrics").await;
    told.push(("the metrics".to_owned(), metrics.text));
    let log = cluster.coordinators[0].process.log();
    assert!(log.contains("answered"), "the log holds the requests");
    told.push(("the log".to_owned(), log));
    for (what, text) in &told {
        for secret in [MARK, &cluster.customer_key, &cluster.admin_key] {
            assert!(!text.contains(secret), "{what} tells {secret}");
        }
    }
}

/// Marks in everything that is taken; what is said of it elsewhere than in the workload itself.
async fn accepted(client: &Client) -> Vec<(String, String)> {
    let config = json!({
        "workload_type": "quiet", "description": MARK, "config_json": {"password": MARK},
    });
    client
        .post("/v1/workload-configs", &config)
        .await
        .expect(201);
    let body = json!({
        "workload_type": "quiet", "input_params": {"password": MARK}, "labels": {"l": MARK},
        "affinity_rules": {"hard_affinity": {"worker_tags": {"t": MARK}}},
    });
    let headers = [
        ("Idempotency-Key", MARK),
        ("X-Other", MARK),
        ("Cookie", MARK),
    ];
    let sent = client.send(
        Method::POST,
        "/v1/workloads",
        &headers,
        Some(body.to_string()),
    );
    let workload = sent.await.unwrap().expect(202);
    let id = workload["workload_id"].as_str().unwrap();
    let reason_seen = |workload: &Value| workload["pending_reason"]["code"] != "not_yet_considered";
    let within = std::time::Duration::from_secs(30);
    let waiting = client.wait_until(id, "a reason to wait", within, reason_seen);
    let reason = waiting.await["pending_reason"].to_string();
    client.control(id, "cancel").await.expect(202);
    client.wait_for(id, "CANCELLED", within).await;
    let audit = client.get(&format!("/v1/workloads/{id}/audit")).await;
    vec![
        ("the reason to wait".to_owned(), reason),
        ("the audit".to_owned(), audit.expect(200).to_string()),
    ]
}

/// The fields of a submission.
const FIELDS: [&str; 8] = [
    "workload_type",
    "input_params",
    "priority",
    "affinity_rules",
    "timeout_seconds",
    "max_retries",
    "labels",
    "run_after",
];

/// Marks in everything that is refused, and the refusals.
async fn refused(client: &Client) -> Vec<(String, String)> {
    let mut told = Vec::new();
    let mut keep = |what: &str, answer: Answer| {
        assert!(
            (400..500).contains(&answer.status),
            "{what}: {}",
            answer.text
        );
        told.push((format!("the refusal of {what}"), answer.text));
    };
    for name in FIELDS {
        let mut body = json!({"workload_type": "quiet"});
        body[name] = json!(MARK);
        keep(name, client.post("/v1/workloads", &body).await);
        keep(
            name,
            client
                .post("/v1/workloads", &json!({"workload_type": [MARK]}))
                .await,
        );
    }
    for name in [
        "on_lease_loss",
        "max_retries",
        "resource_limits",
        "config_json",
    ] {
        let mut body = json!({"workload_type": "other"});
        body[name] = json!(MARK);
        keep(name, client.post("/v1/workload-configs", &body).await);
    }
    for name in [
        "status",
        "cursor",
        "limit",
        "label",
        "order",
        "created_after",
        "workload_type",
    ] {
        let path = format!("/v1/workloads?{name}={}%20", MARK.to_uppercase());
        keep(name, client.get(&path).await);
        keep(
            name,
            client.get(&format!("/v1/workloads?{name}={MARK}%00")).await,
        );
    }
    let raw =
        |headers, body: String| client.send(Method::POST, "/v1/workloads", headers, Some(body));
    keep(
        "a broken body",
        raw(&[], format!("{{\"a\": {MARK}")).await.unwrap(),
    );
    let typed = [("content-type", MARK)];
    keep("a media type", raw(&typed, "{}".to_owned()).await.unwrap());
    let reused = json!({"workload_type": "quiet", "input_params": {"a": MARK}}).to_string();
    let key = [("Idempotency-Key", MARK)];
    keep("a key used again", raw(&key, reused).await.unwrap());
    keep("a path", client.get(&format!("/v1/workloads/{MARK}")).await);
    keep("a route", client.get(&format!("/v1/{MARK}")).await);
    keep("a key", client.with_key(MARK).get("/v1/workloads").await);
    told
}
