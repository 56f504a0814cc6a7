//! Outages of Postgres and of NATS, shorter and longer than a worker's lease: what runs, what
//! stops and when, what customers are told, and that nobody has to restart anything.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test: a failure is a failed test, and measured times go to the terminal"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tests::{
    Client, Cluster, ClusterOptions, Signal, one_at_a_time, some_progress, until, went_on,
};

/// The leader's, as the rig has it.
const TTL: Duration = Duration::from_secs(3);
/// Of a worker, where the outage is to be longer.
const LEASE: Duration = Duration::from_secs(6);
/// Where it is to be shorter, with room for what comes after it: the database recovers, and a
/// leader is elected that has to hear the worker before its lease ends.
const LONG_LEASE: Duration = Duration::from_secs(25);
/// Longer than the leader's lease, so that leadership ends too.
const SHORT: Duration = Duration::from_secs(4);
const LONG: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_postgres_within_the_lease_stops_no_work_and_calls_nobody_dead() {
    let _turn = one_at_a_time().await;
    let mut site = Site::start(LONG_LEASE).await;
    let long = site.beat("long", 9, "stop").await;
    // It ends while nobody can be told.
    let short = site.beat("short", 2, "stop").await;
    let down_at = Utc::now();
    site.cluster.postgres.kill();
    let mut refused = 0;
    until("the outage to be over", SOON, async || {
        for index in 0..site.cluster.coordinators.len() {
            refused += u32::from(is_refused_politely(&site.cluster.customer(index)).await);
        }
        (Utc::now() - down_at > TimeDelta::from_std(SHORT).unwrap()).then_some(())
    })
    .await;
    site.cluster.postgres.start_again().await;
    println!("{refused} submissions were answered 503 during {SHORT:?} without Postgres");
    site.ends_in_its_first_attempt(&[&long, &short]).await;
    assert!(refused > 0, "submissions during an outage are told so");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_nats_within_the_lease_stops_no_work_and_no_submission() {
    let _turn = one_at_a_time().await;
    let mut site = Site::start(LONG_LEASE).await;
    let long = site.beat("long", 9, "stop").await;
    let short = site.beat("short", 2, "stop").await;
    site.cluster.nats.signal(Signal::STOP);
    let down_at = Utc::now();
    let mut submitted = Vec::new();
    until("the outage to be over", SOON, async || {
        for index in 0..site.cluster.coordinators.len() {
            let client = site.cluster.customer(index);
            submitted.push(client.submit("sleep", json!({"seconds": 0})).await);
        }
        (Utc::now() - down_at > TimeDelta::from_std(SHORT).unwrap()).then_some(())
    })
    .await;
    site.cluster.nats.signal(Signal::CONT);
    println!(
        "{} submissions were taken during {SHORT:?} without NATS",
        submitted.len()
    );
    site.ends_in_its_first_attempt(&[&long, &short]).await;
    for id in &submitted {
        site.client.wait_for(id, "COMPLETED", SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_postgres_beyond_the_lease_stops_work_in_time_and_it_goes_on_afterwards() {
    let _turn = one_at_a_time().await;
    let mut site = Site::start(LEASE).await;
    let work = site.interrupted().await;
    let down_at = Utc::now();
    site.cluster.postgres.kill();
    // The length of the outage is the scenario.
    tokio::time::sleep(LONG).await;
    site.cluster.postgres.start_again().await;
    // A leader answers heartbeats until its own lease ends: they commit nothing.
    site.stopped_and_went_on(&work, down_at, TTL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_nats_beyond_the_lease_stops_work_in_time_and_it_goes_on_afterwards() {
    let _turn = one_at_a_time().await;
    let mut site = Site::start(LEASE).await;
    let work = site.interrupted().await;
    let down_at = Utc::now();
    site.cluster.nats.kill();
    tokio::time::sleep(LONG).await;
    site.cluster.nats.start_again().await;
    site.stopped_and_went_on(&work, down_at, Duration::ZERO)
        .await;
}

struct Site {
    cluster: Cluster,
    client: Client,
    folder: PathBuf,
}

/// A workload that leaves a moment in a file ten times a second.
struct Beating {
    id: String,
    file: PathBuf,
}

struct Interrupted {
    stops: Beating,
    continues: Beating,
    hashes: String,
    tree: PathBuf,
}

impl Site {
    async fn start(lease: Duration) -> Self {
        let is_long = lease == LONG_LEASE;
        let mut cluster = Cluster::start(ClusterOptions {
            heartbeat_timeout: if is_long { "25s" } else { "6s" },
            // What outlives an outage must not be called dead within it.
            worker_dead_threshold: "30s",
            ..ClusterOptions::default()
        })
        .await;
        cluster.worker("w1", 8, &["exec", "sleep"]);
        cluster.admin().healthy_workers(1).await;
        let folder = cluster.scratch.join("beats");
        std::fs::create_dir_all(&folder).unwrap();
        let client = cluster.customer(0);
        Self {
            cluster,
            client,
            folder,
        }
    }

    /// Work of so many seconds, already running.
    async fn beat(&self, name: &str, seconds: u32, on_lease_loss: &str) -> Beating {
        let file = self.folder.join(name);
        let script =
            "n=0; while [ $n -lt $1 ]; do date +%s%N >> \"$0\"; sleep 0.1; n=$((n+1)); done";
        let params = json!({"argv": ["sh", "-c", script, file, (seconds * 10).to_string()]});
        if on_lease_loss == "continue" {
            self.choose_continue().await;
        }
        let id = self.client.submit("exec", params).await;
        until("the first beat", SOON, async || {
            (!beats(&file).is_empty()).then_some(())
        })
        .await;
        Beating { id, file }
    }

    /// From now on `exec` outlives its worker's lease.
    async fn choose_continue(&self) {
        let configs = self
            .client
            .all("/v1/workload-configs", "workload_configs")
            .await;
        let exec = configs
            .iter()
            .find(|it| it["workload_type"] == "exec")
            .unwrap();
        let path = format!(
            "/v1/workload-configs/{}",
            exec["config_id"].as_str().unwrap()
        );
        let body = json!({"workload_type": "exec", "on_lease_loss": "continue"}).to_string();
        let put = self
            .client
            .send(reqwest::Method::PUT, &path, &[], Some(body))
            .await;
        put.unwrap().expect(200);
    }

    /// Work that stops at its lease's end, work that does not, and work with checkpoints.
    async fn interrupted(&mut self) -> Interrupted {
        let tree = self.cluster.tree();
        self.cluster.crawling_worker("w2");
        self.cluster.admin().healthy_workers(2).await;
        let hashes = self.client.submit("hash_tree", json!({"path": tree})).await;
        some_progress(&self.client, &hashes).await;
        self.cluster.checkpoints_stored(2).await;
        let stops = self.beat("stops", 30, "stop").await;
        let continues = self.beat("continues", 30, "continue").await;
        self.client.wait_for(&stops.id, "RUNNING", SOON).await;
        Interrupted {
            stops,
            continues,
            hashes,
            tree,
        }
    }

    async fn stopped_and_went_on(
        &mut self,
        work: &Interrupted,
        down_at: DateTime<Utc>,
        answered_for: Duration,
    ) {
        self.nothing_was_restarted();
        // A quick worker, or the crawling one would need a quarter of an hour for the rest.
        self.cluster.worker("w3", 2, &["hash_tree"]);
        self.cluster.worker_named("w2").process.kill();
        went_on(&self.client, &work.hashes, &work.tree).await;

        let stopped = self
            .client
            .wait_for(&work.stops.id, "COMPLETED", SOON)
            .await;
        assert_eq!(stopped["attempt"], 2, "{stopped:#}");
        assert_eq!(stopped["retry_count"], 0, "{stopped:#}");
        let end = down_at + TimeDelta::from_std(answered_for + LEASE).unwrap();
        let (gap_from, gap) = longest_gap(&beats(&work.stops.file));
        println!(
            "stopped {} ms before the end of the lease, for {gap}",
            (end - gap_from).num_milliseconds()
        );
        assert!(
            gap_from < end,
            "it ran until {gap_from}, its lease at most until {end}"
        );
        assert!(
            gap_from > down_at,
            "it stopped at {gap_from}, before the outage"
        );

        let continued = self
            .client
            .wait_for(&work.continues.id, "COMPLETED", SOON)
            .await;
        assert_eq!(
            continued["attempt"], 1,
            "it was adopted again: {continued:#}"
        );
        let all = beats(&work.continues.file);
        assert_eq!(all.len(), 300, "every beat once: it never stopped");
        let (_, pause) = longest_gap(&all);
        println!("what continues paused for at most {pause}");
        for id in [&work.stops.id, &work.continues.id] {
            self.cluster.assert_completed_once(&self.client, id).await;
        }
        self.nobody_died(&["w1"]).await;
    }

    async fn ends_in_its_first_attempt(&mut self, all: &[&Beating]) {
        for beating in all {
            let done = self.client.wait_for(&beating.id, "COMPLETED", SOON).await;
            assert_eq!(done["attempt"], 1, "{done:#}");
            self.cluster
                .assert_completed_once(&self.client, &beating.id)
                .await;
        }
        self.nothing_was_restarted();
        self.nobody_died(&["w1"]).await;
    }

    fn nothing_was_restarted(&self) {
        for coordinator in &self.cluster.coordinators {
            let ended = coordinator.process.exit_status();
            assert!(ended.is_none(), "{} ended: {ended:?}", coordinator.name());
        }
        for worker in &self.cluster.workers {
            let ended = worker.process.exit_status();
            assert!(ended.is_none(), "{} ended: {ended:?}", worker.id());
        }
    }

    /// A worker that was called dead comes back as another incarnation, and says so in its log.
    async fn nobody_died(&mut self, ids: &[&str]) {
        self.cluster.admin().healthy_workers(self.living()).await;
        for id in ids {
            let log = self.cluster.worker_named(id).process.log();
            assert!(
                !log.contains("this incarnation has ended"),
                "{id} was called dead:\n{log}"
            );
        }
    }

    fn living(&self) -> usize {
        let alive = self.cluster.workers.iter();
        alive
            .filter(|worker| worker.process.exit_status().is_none())
            .count()
    }
}

/// Whether a submission is answered 503 with `Retry-After`. During an outage it may also have no
/// known outcome (504), and before and after it be taken.
async fn is_refused_politely(client: &Client) -> bool {
    let body = json!({"workload_type": "sleep", "input_params": {"seconds": 0}});
    let answer = client.post("/v1/workloads", &body).await;
    if answer.status == 503 {
        assert!(
            answer.headers.contains_key("retry-after"),
            "{}",
            answer.text
        );
        answer.expect_problem(503, "SERVICE_UNAVAILABLE");
        return true;
    }
    assert!(
        [202, 504].contains(&answer.status),
        "{} {}",
        answer.status,
        answer.text
    );
    false
}

fn beats(file: &Path) -> Vec<DateTime<Utc>> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let whole = text.lines().filter_map(|line| line.parse().ok());
    whole.map(DateTime::from_timestamp_nanos).collect()
}

/// The last beat before the longest pause, and how long that was.
fn longest_gap(beats: &[DateTime<Utc>]) -> (DateTime<Utc>, TimeDelta) {
    let gaps = beats.windows(2).map(|pair| (pair[0], pair[1] - pair[0]));
    gaps.max_by_key(|(_, gap)| *gap).unwrap()
}
