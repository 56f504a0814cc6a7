//! The leader is told to stop while everybody wants something of it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test: a failure is a failed test, and measured times go to the terminal"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use chrono::Utc;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Client, Cluster, ClusterOptions, History, Signal, one_at_a_time, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// Of each kind of connection that would rather stay.
const EACH: usize = 40;
const SUBMITTERS: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_stopped_under_load_exits_in_time_loses_nothing_and_is_followed_at_once() {
    let _turn = one_at_a_time().await;
    let mut cluster = Cluster::start(ClusterOptions {
        env: vec![("SHUTDOWN_TIMEOUT", "10s".to_owned())],
        ..ClusterOptions::default()
    })
    .await;
    cluster.worker("w1", 20, &["sleep"]);
    cluster.admin().healthy_workers(1).await;
    let leader = cluster.leader().await;
    let generation = cluster.coordinators[leader].readiness().await.unwrap()["generation"].clone();
    let client = cluster.customer(leader);
    let watched = client.submit("sleep", json!({"seconds": 120})).await;
    client
        .wait_for(&watched, "RUNNING", Duration::from_secs(20))
        .await;

    let clingers = Clingers::cling(&cluster, leader, &watched).await;
    let stop = Arc::new(AtomicBool::new(false));
    let submitting = submit(&cluster, leader, &stop);
    until("submissions to flow", Duration::from_secs(20), async || {
        (submitting.acknowledged.load(Ordering::Relaxed) > 50).then_some(())
    })
    .await;

    let (told_at, told) = (Utc::now(), Instant::now());
    cluster.signal(leader, Signal::TERM);
    let process = &cluster.coordinators[leader].process;
    let status = process
        .ended(SHUTDOWN_TIMEOUT + Duration::from_secs(10))
        .await;
    println!(
        "SIGTERM to exit, clung to by {} connections: {:?}",
        3 * EACH,
        told.elapsed()
    );
    assert_eq!(status.code(), Some(0), "{}", process.log_tail(20));
    clingers.all_were_let_go().await;

    // A successor assigns what is submitted elsewhere.
    let survivor = cluster.customer((leader + 1) % 3);
    let id = survivor.submit("sleep", json!({"seconds": 0})).await;
    survivor
        .wait_for(&id, "COMPLETED", Duration::from_secs(30))
        .await;
    stop.store(true, Ordering::Relaxed);
    let outcomes = submitting.end().await;
    let history = survivor.history(&id).await;
    let first = history.of_type("workload.scheduled").next().unwrap();
    assert!(
        first["generation"].as_u64() > generation.as_u64(),
        "{first:#}"
    );
    println!(
        "SIGTERM to an assignment by the successor: {} ms",
        (History::time_of(first) - told_at).num_milliseconds()
    );
    nothing_is_lost(&survivor, &outcomes).await;
}

/// Each acknowledged submission is there, and none that was refused.
async fn nothing_is_lost(client: &Client, outcomes: &[(String, u16)]) {
    let stored = client.all("/v1/workloads?limit=100", "workloads").await;
    let stored: BTreeMap<&str, &Value> = stored
        .iter()
        .filter_map(|workload| Some((workload["labels"]["key"].as_str()?, workload)))
        .collect();
    let mut counts: BTreeMap<u16, usize> = BTreeMap::new();
    for (key, status) in outcomes {
        *counts.entry(*status).or_default() += 1;
        let is_there = stored.contains_key(key.as_str());
        match status {
            202 => assert!(is_there, "{key} was acknowledged, and is lost"),
            400..500 | 503 => assert!(!is_there, "{key} was answered {status}, and is there"),
            // 0: no answer.
            0 | 500 | 504 => {}
            other => panic!("{key} was answered {other}"),
        }
    }
    println!("answers to submissions while it stopped: {counts:?} (0: none)");
}

struct Submitting {
    acknowledged: Arc<AtomicUsize>,
    tasks: JoinSet<Vec<(String, u16)>>,
}

/// Submits to the leader, one after the other, each with a label of its own.
fn submit(cluster: &Cluster, leader: usize, stop: &Arc<AtomicBool>) -> Submitting {
    let acknowledged = Arc::<AtomicUsize>::default();
    let mut tasks = JoinSet::new();
    for lane in 0..SUBMITTERS {
        let (client, stop) = (cluster.customer(leader), Arc::clone(stop));
        let acknowledged = Arc::clone(&acknowledged);
        tasks.spawn(async move {
            let mut outcomes = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let key = format!("{lane}-{}", outcomes.len());
                let body = json!({
                    "workload_type": "sleep", "input_params": {"seconds": 0},
                    "labels": {"key": key},
                });
                let body = Some(body.to_string());
                let sent = client.send(Method::POST, "/v1/workloads", &[], body).await;
                let status = sent.map_or(0, |answer| answer.status);
                acknowledged.fetch_add(usize::from(status == 202), Ordering::Relaxed);
                outcomes.push((key, status));
                if status == 0 {
                    // It is gone.
                    return outcomes;
                }
            }
            outcomes
        });
    }
    Submitting {
        acknowledged,
        tasks,
    }
}

impl Submitting {
    async fn end(mut self) -> Vec<(String, u16)> {
        let mut all = Vec::new();
        while let Some(ended) = self.tasks.join_next().await {
            all.extend(ended.unwrap());
        }
        all
    }
}

/// Connections that stay for as long as they are let: event streams, long-polls, half-open sockets.
struct Clingers(JoinSet<()>);

impl Clingers {
    async fn cling(cluster: &Cluster, leader: usize, watched: &str) -> Self {
        let url = cluster.coordinators[leader].url();
        let address: SocketAddr = url.strip_prefix("http://").unwrap().parse().unwrap();
        let head = format!(
            "HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\r\n",
            cluster.customer_key
        );
        let version = cluster.customer(leader).workload(watched).await["version"].clone();
        let kinds = [
            format!("GET /v1/workloads/{watched}/logs?follow=true {head}"),
            format!("GET /v1/workloads/{watched}?wait=25&since_version={version} {head}"),
            "POST /v1/workloads HTTP/1.1\r\nhost: a\r\ncontent-le".to_owned(),
        ];
        let mut tasks = JoinSet::new();
        for request in kinds.iter().cycle().take(3 * EACH) {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            tasks.spawn(async move {
                // Until the other side ends it, in whichever way.
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes).await.ok();
            });
        }
        Self(tasks)
    }

    async fn all_were_let_go(mut self) {
        let all = async { while self.0.join_next().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(10), all)
            .await
            .expect("every connection ends");
    }
}
