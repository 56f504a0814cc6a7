//! The `niyanta` binary as a client, against a server that answers as each test tells it to.
#![cfg(feature = "real")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{
    path::Path,
    process::{Output, Stdio},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Method, Response, Uri},
};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

/// A request as the server saw it.
#[derive(Debug, Clone)]
struct Seen {
    method: Method,
    uri: String,
    headers: HeaderMap,
    body: Value,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// What to answer.
struct Answer {
    status: u16,
    retry_after: Option<&'static str>,
    body: Value,
}

fn ok(body: Value) -> Answer {
    Answer {
        status: 200,
        retry_after: None,
        body,
    }
}

fn problem(status: u16, code: &str, detail: &str) -> Answer {
    Answer {
        status,
        retry_after: None,
        body: json!({"type": "about:blank", "title": code, "status": status, "code": code,
            "detail": detail, "request_id": "req-7"}),
    }
}

fn workload(status: &str, version: u64) -> Value {
    json!({"workload_id": "wl_1", "workload_type": "sleep", "status": status,
        "version": version, "input_params": {"seconds": 1}, "progress_percent": null})
}

/// A server of one test, and a home folder without a `niyanta dev`.
struct Fake {
    address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    home: tempfile::TempDir,
}

impl Fake {
    /// `answer` gets the number of the request, from 0, and the request.
    async fn start(answer: impl Fn(usize, &Seen) -> Answer + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(answer);
        let log = Arc::clone(&seen);
        let router = Router::new().fallback(
            move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                async move {
                    let request = Seen {
                        method,
                        uri: uri.to_string(),
                        headers,
                        body: serde_json::from_slice(&body).unwrap_or_default(),
                    };
                    let mut log = log.lock().unwrap();
                    log.push(request.clone());
                    respond(&answer(log.len() - 1, &request))
                }
            },
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            seen,
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Runs the binary against this server with a key.
    async fn niyanta(&self, args: &[&str]) -> Ended {
        let environment = [
            ("NIYANTA_SERVER", self.address.as_str()),
            ("NIYANTA_API_KEY", "nyt_test"),
        ];
        run(self.home.path(), &environment, args, "").await
    }
}

fn respond(answer: &Answer) -> Response<Body> {
    let mut response = Response::builder().status(answer.status);
    if let Some(seconds) = answer.retry_after {
        response = response.header("Retry-After", seconds);
    }
    let body = if answer.body.is_null() {
        Body::empty()
    } else {
        Body::from(answer.body.to_string())
    };
    response.body(body).unwrap()
}

/// How a command ended.
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

async fn run(home: &Path, environment: &[(&str, &str)], args: &[&str], stdin: &str) -> Ended {
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_niyanta"))
        .args(args)
        .env_clear()
        .env("HOME", home)
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(stdin.as_bytes()).await.unwrap();
    drop(input);
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().await.unwrap();
    Ended {
        code: status.code().unwrap(),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

#[tokio::test]
async fn submit_sends_what_was_asked_and_prints_the_id_alone() {
    let fake = Fake::start(|_, _| Answer {
        status: 202,
        ..ok(workload("PENDING", 1))
    })
    .await;
    let args = [
        "submit",
        "sleep",
        "--params",
        "-",
        "--priority",
        "7",
        "--label",
        "team=a",
        "--timeout",
        "5m",
        "--max-retries",
        "2",
        "--affinity",
        r#"{"hard_affinity": {"worker_id": "w"}}"#,
        "--customer",
        "cus_1",
    ];
    let environment = [
        ("NIYANTA_SERVER", fake.address.as_str()),
        ("NIYANTA_API_KEY", "nyt_test"),
    ];
    let ended = run(fake.home.path(), &environment, &args, "{\"seconds\": 1}").await;
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "wl_1\n"));

    let [request] = fake.seen().try_into().unwrap();
    assert_eq!(request.method, Method::POST);
    assert_eq!(request.uri, "/v1/workloads?customer_id=cus_1");
    assert_eq!(request.header("authorization"), "Bearer nyt_test");
    assert!(request.header("idempotency-key").len() >= 32);
    assert_eq!(
        request.body,
        json!({"workload_type": "sleep", "input_params": {"seconds": 1}, "priority": 7,
            "labels": {"team": "a"}, "timeout_seconds": 300, "max_retries": 2,
            "affinity_rules": {"hard_affinity": {"worker_id": "w"}}})
    );
}

#[tokio::test]
async fn a_refusal_is_told_with_code_detail_fields_and_request() {
    let fake = Fake::start(|_, _| {
        let mut answer = problem(422, "INVALID_INPUT", "the workload is invalid");
        answer.body["errors"] = json!([{"pointer": "/workload_type", "detail": "not registered"}]);
        answer
    })
    .await;
    let ended = fake.niyanta(&["submit", "nosuch"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    assert_eq!(
        ended.stderr,
        "error: INVALID_INPUT: the workload is invalid (request_id req-7)\n  \
         /workload_type: not registered\n"
    );
    assert_eq!(fake.seen().len(), 1, "4xx is never repeated");
}

#[tokio::test]
async fn a_submission_is_repeated_with_the_same_key_until_it_is_done() {
    let fake = Fake::start(|number, _| match number {
        0 => problem(500, "INTERNAL_ERROR", "broke"),
        1 => problem(504, "TIMEOUT", "slow"),
        2 => Answer {
            retry_after: Some("1"),
            ..problem(429, "RATE_LIMITED", "slow down")
        },
        _ => ok(workload("PENDING", 1)),
    })
    .await;
    let ended = fake.niyanta(&["submit", "sleep"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "wl_1\n"));
    assert!(
        ended
            .stderr
            .contains("RATE_LIMITED: slow down (request_id req-7); trying again in 1.0 s"),
        "{}",
        ended.stderr
    );
    let keys: Vec<String> = fake
        .seen()
        .iter()
        .map(|request| request.header("idempotency-key").to_owned())
        .collect();
    assert_eq!(keys.len(), 4);
    assert!(keys.iter().all(|key| *key == keys[0] && !key.is_empty()));
}

#[tokio::test]
async fn making_a_key_is_not_repeated_when_its_outcome_is_unknown() {
    let fake = Fake::start(|_, _| problem(500, "INTERNAL_ERROR", "broke")).await;
    let args = ["keys", "create", "--customer", "cus_1", "--name", "ci"];
    let ended = fake.niyanta(&args).await;
    assert_eq!(ended.code, 1);
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn a_secret_is_alone_on_standard_output() {
    let fake = Fake::start(|_, _| Answer {
        status: 201,
        ..ok(json!({"key_id": "key_1", "secret": "nyt_secret"}))
    })
    .await;
    let args = [
        "keys",
        "create",
        "--customer",
        "cus_1",
        "--name",
        "ci",
        "--expires",
        "90d",
    ];
    let ended = fake.niyanta(&args).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "nyt_secret\n"));
    assert!(!ended.stderr.contains("nyt_secret"));
    let [request] = fake.seen().try_into().unwrap();
    assert_eq!(request.uri, "/v1/admin/customers/cus_1/api-keys");
    assert!(request.body["expires_at"].is_string());
}

#[tokio::test]
async fn wait_follows_to_the_end_and_its_exit_status_tells_how_it_ended() {
    for (end, code) in [("COMPLETED", 0), ("FAILED", 1), ("CANCELLED", 1)] {
        let fake = Fake::start(move |number, _| {
            ok(match number {
                0 | 1 => workload("PENDING", 1),
                2 => workload("RUNNING", 3),
                3 => {
                    let mut running = workload("RUNNING", 3);
                    running["progress_percent"] = json!(40);
                    running["progress_message"] = json!("hashing");
                    running
                }
                _ => workload(end, 4),
            })
        })
        .await;
        let ended = fake.niyanta(&["submit", "sleep", "--wait"]).await;
        assert_eq!(ended.code, code, "{end}: {}", ended.stderr);
        assert!(
            ended.stderr.contains("wl_1 RUNNING 40% hashing\n"),
            "{}",
            ended.stderr
        );
        assert!(ended.stdout.contains(end), "{}", ended.stdout);
        let uris: Vec<String> = fake.seen().into_iter().map(|seen| seen.uri).collect();
        assert_eq!(uris[1], "/v1/workloads/wl_1");
        assert_eq!(uris[2], "/v1/workloads/wl_1?wait=5&since_version=1");
        assert_eq!(uris[3], "/v1/workloads/wl_1?wait=1&since_version=3");
    }
}

#[tokio::test]
async fn waiting_survives_a_restart_of_the_server() {
    let fake = Fake::start(|number, _| match number {
        0 => ok(workload("RUNNING", 3)),
        1 | 2 => problem(503, "SERVICE_UNAVAILABLE", "stopping"),
        _ => ok(workload("COMPLETED", 4)),
    })
    .await;
    let ended = fake.niyanta(&["watch", "wl_1", "--output", "json"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let statuses: Vec<String> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["status"].to_string())
        .collect();
    assert_eq!(statuses, ["\"RUNNING\"", "\"COMPLETED\""]);
}

#[tokio::test]
async fn a_bench_submits_waits_and_tells_percentiles() {
    let fake = Fake::start(|_, seen| {
        if seen.method == Method::POST {
            return ok(workload("PENDING", 1));
        }
        ok(workload("COMPLETED", 4))
    })
    .await;
    let args = ["bench", "--workloads", "20", "--clients", "3", "-o", "json"];
    let ended = fake.niyanta(&args).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let told: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        (&told["workloads"], &told["failed"]),
        (&json!(20), &json!(0))
    );
    for what in ["submitted", "completed"] {
        assert_eq!(told[what]["number"], 20);
        assert!(told[what]["p99_ms"].as_f64() <= told[what]["max_ms"].as_f64());
        assert!(told[what]["per_second"].as_f64() > Some(0.0));
    }
    let seen = fake.seen();
    let posts = seen.iter().filter(|request| request.method == Method::POST);
    let keys: std::collections::BTreeSet<&str> = posts
        .map(|request| request.header("idempotency-key"))
        .collect();
    assert_eq!((keys.len(), seen.len()), (20, 40));
}

#[tokio::test]
async fn a_bench_says_what_failed() {
    let fake = Fake::start(|number, seen| match (seen.method == Method::POST, number) {
        (true, 0) => problem(422, "INVALID_INPUT", "not registered"),
        (true, _) => ok(workload("PENDING", 1)),
        (false, _) => ok(workload("FAILED", 4)),
    })
    .await;
    let args = ["bench", "--workloads", "3", "--clients", "1"];
    let ended = fake.niyanta(&args).await;
    assert_eq!(ended.code, 1);
    let told =
        "error: of 3, 1 failed and 2 ended otherwise, the first: INVALID_INPUT: not registered";
    assert!(ended.stderr.starts_with(told), "{}", ended.stderr);
    assert!(ended.stdout.contains("submitted"), "{}", ended.stdout);
}

#[tokio::test]
async fn statistics_are_a_table_with_their_total() {
    let fake = Fake::start(|_, _| {
        let counts = json!({"submitted": 3, "completed": 2, "failed": 1, "cancelled": 0,
            "run_seconds": 1.5});
        let mut day = counts.clone();
        day["start"] = json!("2026-11-24T00:00:00.000000Z");
        ok(json!({"group_by": "day", "stats": [day], "total": counts}))
    })
    .await;
    let ended = fake
        .niyanta(&["stats", "--by", "day", "--start", "2d"])
        .await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let lines: Vec<Vec<&str>> = ended
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0][..2], ["DAY", "SUBMITTED"]);
    assert_eq!(lines[1], ["2026-11-24", "3", "2", "1", "0", "1.5"]);
    assert_eq!(lines[2], ["total", "3", "2", "1", "0", "1.5"]);
    let uri = fake.seen()[0].uri.clone();
    assert!(
        uri.starts_with("/v1/customer/stats?group_by=day&start="),
        "{uri}"
    );
}

#[tokio::test]
async fn all_pages_make_one_list() {
    let fake = Fake::start(|number, _| {
        let more = number == 0;
        ok(json!({"workloads": [workload("PENDING", 1)], "pagination":
            {"next_cursor": more.then_some("c1"), "has_more": more}}))
    })
    .await;
    let args = [
        "list", "--all", "--status", "pending", "--label", "a=b", "--output", "json",
    ];
    let ended = fake.niyanta(&args).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let list: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(list["workloads"].as_array().unwrap().len(), 2);
    let uris: Vec<String> = fake.seen().into_iter().map(|seen| seen.uri).collect();
    assert_eq!(
        uris,
        [
            "/v1/workloads?order=desc&status=PENDING&label=a%3Db",
            "/v1/workloads?order=desc&status=PENDING&label=a%3Db&cursor=c1"
        ]
    );
}

#[tokio::test]
async fn following_logs_shows_each_line_once_and_ends_with_the_workload() {
    let fake = Fake::start(|number, seen| {
        if !seen.uri.contains("/logs") {
            return ok(workload(
                if number < 3 { "RUNNING" } else { "COMPLETED" },
                3,
            ));
        }
        let count = if number < 3 { 1 } else { 2 };
        let lines: Vec<Value> = (1..=count)
            .map(|sequence| {
                json!({"sequence": sequence, "attempt": 1, "level": "info",
                    "timestamp": "2026-11-23T12:00:00.5Z", "message": format!("line {sequence}")})
            })
            .collect();
        ok(json!({"logs": lines, "pagination": {"next_cursor": null, "has_more": false}}))
    })
    .await;
    let ended = fake.niyanta(&["logs", "wl_1", "--follow"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(
        ended.stdout,
        "2026-11-23 12:00:00Z info  #1 line 1\n2026-11-23 12:00:00Z info  #1 line 2\n"
    );
}

#[tokio::test]
async fn a_path_cannot_be_escaped_through_an_id() {
    let fake = Fake::start(|_, _| problem(404, "NOT_FOUND", "no such workload")).await;
    let ended = fake.niyanta(&["get", "../admin/workers?x=1"]).await;
    assert_eq!(ended.code, 1);
    assert_eq!(
        fake.seen()[0].uri,
        "/v1/workloads/..%2Fadmin%2Fworkers%3Fx=1"
    );
}

#[tokio::test]
async fn nobody_at_the_address_is_one_clear_error() {
    let home = tempfile::tempdir().unwrap();
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let args = ["--server", &address, "--api-key", "k", "list"];
    let ended = run(home.path(), &[], &args, "").await;
    assert_eq!(ended.code, 1);
    assert!(
        ended
            .stderr
            .starts_with("error: cannot reach http://127.0.0.1:"),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.stderr.lines().count(), 2, "{}", ended.stderr);
}

#[tokio::test]
async fn dev_is_found_and_its_keys_stay_with_it() {
    let fake = Fake::start(|_, _| ok(json!({"workers": [], "workloads": []}))).await;
    let home = fake.home.path();
    let ended = run(home, &[], &["list"], "").await;
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(
        ended.stderr.starts_with("error: no API key"),
        "{}",
        ended.stderr
    );

    let data = home.join(".local/share/niyanta");
    std::fs::create_dir_all(&data).unwrap();
    let dev = json!({"server": fake.address, "api_key": "nyt_c", "admin_key": "nyt_a"});
    std::fs::write(data.join("dev.json"), dev.to_string()).unwrap();
    let ended = run(home, &[], &["list"], "").await;
    assert_eq!((ended.code, ended.stderr.lines().count()), (0, 1));
    assert_eq!(run(home, &[], &["workers"], "").await.code, 0);
    let keys: Vec<String> = fake
        .seen()
        .iter()
        .map(|seen| seen.header("authorization").to_owned())
        .collect();
    assert_eq!(keys, ["Bearer nyt_c", "Bearer nyt_a"]);

    let elsewhere = ["list", "--server", "http://elsewhere.invalid"];
    assert_eq!(run(home, &[], &elsewhere, "").await.code, 2);
}

#[tokio::test]
async fn wrong_usage_and_wrong_configuration_exit_2() {
    let home = tempfile::tempdir().unwrap();
    let ended = run(home.path(), &[("LEADER_LEASE_TTL", "10")], &["serve"], "").await;
    assert_eq!(ended.code, 2);
    assert!(
        ended
            .stderr
            .contains("leader_lease_ttl = \"10\" (environment LEADER_LEASE_TTL)"),
        "{}",
        ended.stderr
    );
    let ended = run(home.path(), &[], &["keys", "create", "--admin"], "").await;
    assert_eq!(ended.code, 2);
    assert!(
        ended.stderr.contains("set DATABASE_URL"),
        "{}",
        ended.stderr
    );
    let ended = run(home.path(), &[], &["submit", "sleep", "--params", "["], "").await;
    assert_eq!(ended.code, 2);
}

#[tokio::test]
async fn help_and_completions_go_to_standard_output() {
    let home = tempfile::tempdir().unwrap();
    for args in [
        &["--help"][..],
        &["serve", "--help"],
        &["submit", "--help"],
        &["completions", "bash"],
    ] {
        let ended = run(home.path(), &[], args, "").await;
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{args:?}");
        assert!(ended.stdout.contains("niyanta"), "{args:?}");
    }
}
