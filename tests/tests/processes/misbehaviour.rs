//! Nonsense on the broker and in the API: a clear answer, and nobody else's work stops.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Cluster, ClusterOptions, RawWorker, one_at_a_time};

const SOON: Duration = Duration::from_secs(30);
const EVENTS: &str = "coordinator.events";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_on_the_broker_stops_nobody() {
    let _turn = one_at_a_time().await;
    let mut cluster = Cluster::start(single()).await;
    cluster.worker("honest", 4, &["sleep"]);
    let client = cluster.customer(0);
    let before = client.submit("sleep", json!({"seconds": 3})).await;
    client.wait_for(&before, "RUNNING", SOON).await;

    let mut raw = RawWorker::registered(&cluster.nats.url(), "raw", &["nothing-at-all"], 1).await;
    let mut too_large = raw.envelope(
        "worker.heartbeat",
        json!({"status": "HEALTHY", "running": []}),
    );
    too_large["padding"] = json!("x".repeat(1_000_001));
    for bytes in [
        b"not json".to_vec(),
        Vec::new(),
        b"[1,2,3]".to_vec(),
        b"{}".to_vec(),
        vec![0xff, 0xfe, 0x00],
        "[".repeat(100_000).into_bytes(),
        br#"{"type":"worker.heartbeat","payload":7}"#.to_vec(),
        too_large.to_string().into_bytes(),
    ] {
        for subject in [EVENTS, "coordinator.logs"] {
            let answer = raw
                .request_raw(subject, bytes.clone(), Duration::from_millis(300))
                .await;
            let status = answer.map(|answer| answer["payload"]["status"].clone());
            assert!(
                status.is_none() || status == Some(json!("rejected")),
                "{status:?}"
            );
        }
    }
    let unknown = raw.request("worker.dances", json!({})).await;
    assert_eq!(unknown["status"], "rejected", "{unknown:#}");
    assert!(unknown["reason"].is_string(), "{unknown:#}");
    let strange = raw.envelope("worker.heartbeat", json!({"status": 5, "running": "many"}));
    let strange = raw.repeat_until_answered(EVENTS, &strange).await;
    assert_eq!(strange["status"], "rejected", "{strange:#}");
    assert_eq!(
        raw.heartbeat(&[]).await["status"],
        "ok",
        "its next sane message is heard"
    );

    client.wait_for(&before, "COMPLETED", SOON).await;
    let after = client.submit("sleep", json!({"seconds": 0})).await;
    client.wait_for(&after, "COMPLETED", SOON).await;
    for id in [&before, &after] {
        let workload = cluster.assert_completed_once(&client, id).await;
        assert_eq!(workload["attempt"], 1, "{workload:#}");
    }
    assert!(cluster.coordinators[0].process.exit_status().is_none());
    assert!(cluster.coordinators[0].is_leader().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_the_database_would_refuse_ends_its_attempt_and_nobody_elses() {
    let _turn = one_at_a_time().await;
    let mut cluster = Cluster::start(single()).await;
    let client = cluster.customer(0);
    client
        .post("/v1/workload-configs", &json!({"workload_type": "raw"}))
        .await
        .expect(201);
    let mut raw = RawWorker::registered(&cluster.nats.url(), "raw", &["raw"], 4).await;
    let poisoned = [
        (
            "workload.completed",
            json!({"result_data": {"text": "a\u{0}b"}}),
        ),
        (
            "workload.completed",
            json!({"result_data": {"text": "x".repeat(300 * 1024)}}),
        ),
        (
            "workload.failed",
            json!({"error_message": "nul \u{0}", "error_type": "transient"}),
        ),
    ];
    for (kind, extra) in poisoned {
        let id = client.submit("raw", json!({})).await;
        let assigned = raw.next_assignment(SOON).await;
        assert_eq!(assigned["workload_id"], id.as_str());
        let attempt = assigned["attempt"].as_u64().unwrap();
        let answer = raw.report(kind, &id, attempt, extra.clone()).await;
        assert_eq!(answer["status"], "ok", "{answer:#}");
        assert!(
            answer["reason"].is_string(),
            "it says what was wrong: {answer:#}"
        );
        let failed = client.wait_for(&id, "FAILED", SOON).await;
        assert_eq!(failed["error_type"], "permanent", "{failed:#}");
        client
            .history(&id)
            .await
            .assert_sound(failed["version"].as_u64().unwrap());
    }

    // What is refused without ending anything: the attempt goes on and completes.
    let id = client.submit("raw", json!({})).await;
    let attempt = raw.next_assignment(SOON).await["attempt"].as_u64().unwrap();
    let running = [(id.as_str(), attempt)];
    assert_eq!(raw.heartbeat(&running).await["status"], "ok");
    raw.progress(&id, attempt, 50, "nul \u{0}").await;
    let large = vec![7; 300 * 1024];
    let answer = raw.checkpoint(&id, attempt, 1, &large).await;
    assert_eq!(answer["status"], "rejected", "{answer:#}");
    let answer = raw.log(&id, attempt, 1, &["fine", "not \u{0} fine"]).await;
    assert!(
        ["ok", "rejected"].contains(&answer["status"].as_str().unwrap()),
        "{answer:#}"
    );
    assert_eq!(raw.heartbeat(&running).await["status"], "ok");
    let done = raw
        .report(
            "workload.completed",
            &id,
            attempt,
            json!({"result_data": {"n": 1}}),
        )
        .await;
    assert_eq!(done["status"], "ok", "{done:#}");
    client.wait_for(&id, "COMPLETED", SOON).await;

    cluster.worker("honest", 1, &["sleep"]);
    let id = client.submit("sleep", json!({"seconds": 0})).await;
    client.wait_for(&id, "COMPLETED", SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_doubled_and_foreign_reports_change_nothing() {
    let _turn = one_at_a_time().await;
    let cluster = Cluster::start(single()).await;
    let client = cluster.customer(0);
    client
        .post("/v1/workload-configs", &json!({"workload_type": "raw"}))
        .await
        .expect(201);
    let url = cluster.nats.url();
    let mut raw = RawWorker::registered(&url, "raw", &["raw"], 4).await;
    let mut thief = RawWorker::registered(&url, "thief", &["nothing-at-all"], 4).await;
    let id = client.submit("raw", json!({})).await;
    let assigned = raw.next_assignment(SOON).await;
    assert_eq!(
        (&assigned["workload_id"], &assigned["attempt"]),
        (&json!(id), &json!(1))
    );

    let result = json!({"result_data": {"by": "thief"}});
    let stolen = thief.report("workload.completed", &id, 1, result).await;
    assert_eq!(stolen["status"], "stale", "{stolen:#}");
    let early = raw.report("workload.completed", &id, 2, json!({})).await;
    assert_eq!(early["status"], "stale", "{early:#}");
    let started = raw.report("workload.started", &id, 1, json!({})).await;
    assert_eq!(started["status"], "ok", "{started:#}");
    client.wait_for(&id, "RUNNING", SOON).await;

    let report = raw.envelope(
        "workload.completed",
        json!({"workload_id": id, "attempt": 1, "result_data": {"by": "raw"}}),
    );
    for _ in 0..3 {
        let done = raw.repeat_until_answered(EVENTS, &report).await;
        assert_eq!(
            done["status"], "ok",
            "the repeat of the report that ended it: {done:#}"
        );
    }
    let late = json!({"error_message": "late", "error_type": "permanent"});
    let late = raw.report("workload.failed", &id, 1, late).await;
    assert_eq!(late["status"], "stale", "{late:#}");
    let done = cluster.assert_completed_once(&client, &id).await;
    assert_eq!(done["result_data"], json!({"by": "raw"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transient_failure_is_tried_again_and_a_permanent_one_is_not() {
    let _turn = one_at_a_time().await;
    let cluster = Cluster::start(ClusterOptions {
        env: vec![("RETRY_BACKOFF_BASE", "100ms".to_owned())],
        ..single()
    })
    .await;
    let client = cluster.customer(0);
    let body = json!({"workload_type": "raw", "max_retries": 1});
    client.post("/v1/workload-configs", &body).await.expect(201);
    let mut raw = RawWorker::registered(&cluster.nats.url(), "raw", &["raw"], 4).await;

    let id = client.submit("raw", json!({})).await;
    for attempt in 1..=2 {
        let assigned = raw.next_assignment(SOON).await;
        assert_eq!(assigned["attempt"], attempt, "{assigned:#}");
        let extra = json!({"error_message": "no luck", "error_type": "transient"});
        let answer = raw.report("workload.failed", &id, attempt, extra).await;
        assert_eq!(answer["status"], "ok", "{answer:#}");
    }
    let failed = client.wait_for(&id, "FAILED", SOON).await;
    assert_eq!(
        (&failed["retry_count"], &failed["attempt"]),
        (&json!(1), &json!(2)),
        "{failed:#}"
    );
    assert_eq!(failed["error_message"], "no luck");
    client
        .history(&id)
        .await
        .assert_sound(failed["version"].as_u64().unwrap());

    let id = client.submit("raw", json!({})).await;
    raw.next_assignment(SOON).await;
    let extra = json!({"error_message": "never", "error_type": "permanent"});
    let answer = raw.report("workload.failed", &id, 1, extra).await;
    assert_eq!(answer["status"], "ok", "{answer:#}");
    let failed = client.wait_for(&id, "FAILED", SOON).await;
    assert_eq!(
        (&failed["retry_count"], &failed["attempt"]),
        (&json!(0), &json!(1)),
        "{failed:#}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_request_gets_a_problem_that_says_what_is_wrong() {
    let _turn = one_at_a_time().await;
    let cluster = Cluster::start(single()).await;
    let client = cluster.customer(0);
    let send = async |body: &str| {
        let body = Some(body.to_owned());
        client
            .send(Method::POST, "/v1/workloads", &[], body)
            .await
            .unwrap()
    };
    send("{not json").await.expect_problem(400, "INVALID_INPUT");
    for body in bodies_that_break_the_schema() {
        let problem = send(&body.to_string()).await;
        let shown = body.to_string().chars().take(120).collect::<String>();
        assert_eq!(problem.status, 422, "{shown}: {}", problem.text);
        let problem = problem.expect_problem(422, "INVALID_INPUT");
        assert!(
            problem["errors"][0]["pointer"].is_string(),
            "{shown}: {problem:#}"
        );
    }
    send(&" ".repeat(1_100_000))
        .await
        .expect_problem(413, "PAYLOAD_TOO_LARGE");
    let text = [("Content-Type", "text/plain")];
    let body = Some(json!({"workload_type": "sleep"}).to_string());
    let answer = client
        .send(Method::POST, "/v1/workloads", &text, body)
        .await
        .unwrap();
    answer.expect_problem(415, "UNSUPPORTED_MEDIA_TYPE");
    client
        .delete("/v1/workloads")
        .await
        .expect_problem(405, "METHOD_NOT_ALLOWED");
    client
        .get("/v1/nowhere")
        .await
        .expect_problem(404, "NOT_FOUND");
    client
        .get("/v1/workloads/not-an-id")
        .await
        .expect_problem(404, "NOT_FOUND");
    client
        .get("/v1/workloads?limit=0")
        .await
        .expect_problem(400, "INVALID_INPUT");
    client
        .get("/v1/workloads?cursor=rubbish")
        .await
        .expect_problem(400, "INVALID_INPUT");
    client
        .get("/v1/workloads?status=SLEEPY")
        .await
        .expect_problem(400, "INVALID_INPUT");
    let listed = client.all("/v1/workloads", "workloads").await;
    assert_eq!(listed, Vec::<Value>::new(), "4xx means: not done");
}

fn bodies_that_break_the_schema() -> Vec<Value> {
    vec![
        json!({}),
        json!([]),
        json!({"workload_type": "never-registered"}),
        json!({"workload_type": "sleep", "no_such_field": 1}),
        json!({"workload_type": "sleep", "priority": 1001}),
        json!({"workload_type": "sleep", "priority": "high"}),
        json!({"workload_type": "sleep", "max_retries": -1}),
        json!({"workload_type": "sleep", "input_params": [1]}),
        json!({"workload_type": "sleep", "input_params": {"text": "a\u{0}b"}}),
        json!({"workload_type": "sleep", "input_params": {"text": "x".repeat(300 * 1024)}}),
        json!({"workload_type": "sleep", "labels": {"a\u{0}": "b"}}),
        json!({"workload_type": "sleep", "run_after": "tomorrow"}),
        json!({"workload_type": "sleep", "timeout_seconds": 0}),
    ]
}

fn single() -> ClusterOptions {
    ClusterOptions {
        coordinators: 1,
        ..ClusterOptions::default()
    }
}
