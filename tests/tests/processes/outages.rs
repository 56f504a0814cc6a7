//! Postgres and NATS go away and come back in the middle of work.

use std::time::Duration;

use serde_json::json;
use tests::{Client, Cluster, ClusterOptions, Ledger, Signal, one_at_a_time, until};

const SOON: Duration = Duration::from_secs(30);
const RECOVERY: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_survives_a_restart_of_postgres() {
    let _turn = one_at_a_time().await;
    let mut work = Work::start().await;
    work.cluster.postgres.kill();
    work.told_disconnected("database", 503).await;
    let health = work.client.get("/health").await;
    assert_eq!(
        health.status, 200,
        "liveness does not depend on the database"
    );
    let refused = work
        .client
        .post("/v1/workloads", &json!({"workload_type": "sleep"}))
        .await;
    assert!([503, 504].contains(&refused.status), "{}", refused.text);
    work.cluster.postgres.start_again().await;
    work.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_survives_a_restart_of_nats() {
    let _turn = one_at_a_time().await;
    let mut work = Work::start().await;
    work.cluster.nats.kill();
    work.told_disconnected("broker", 200).await;
    let meanwhile = work.client.submit("sleep", json!({"seconds": 0})).await;
    work.cluster.nats.start_again().await;
    work.client
        .wait_for(&meanwhile, "COMPLETED", RECOVERY)
        .await;
    work.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_survives_a_nats_server_that_hangs_for_a_while() {
    let _turn = one_at_a_time().await;
    let work = Work::start().await;
    work.cluster.nats.signal(Signal::STOP);
    // The length of the hang is the scenario: longer than the leader's lease, shorter than a
    // worker's.
    tokio::time::sleep(Duration::from_secs(6)).await;
    work.cluster.nats.signal(Signal::CONT);
    work.finish().await;
}

/// Three coordinators and two workers in the middle of twenty workloads.
struct Work {
    cluster: Cluster,
    client: Client,
    ledger: Ledger,
    ids: Vec<String>,
}

impl Work {
    async fn start() -> Self {
        let mut cluster = Cluster::start(ClusterOptions::default()).await;
        cluster.worker("w1", 4, &["exec", "sleep"]);
        cluster.worker("w2", 4, &["exec", "sleep"]);
        cluster.admin().healthy_workers(2).await;
        let client = cluster.customer(0);
        let ledger = Ledger::new(cluster.scratch.join("ledger"));
        let mut ids = Vec::new();
        for index in 0..20 {
            ids.push(
                client
                    .submit("exec", ledger.exec(&index.to_string(), "2"))
                    .await,
            );
        }
        client.wait_for(&ids[0], "COMPLETED", SOON).await;
        Self {
            cluster,
            client,
            ledger,
            ids,
        }
    }

    async fn told_disconnected(&self, dependency: &str, status: u16) {
        until(
            &format!("/ready to tell of the {dependency}"),
            SOON,
            async || {
                let answer = self.client.try_get("/ready").await?;
                let told = answer.body["dependencies"][dependency].as_str()?.to_owned();
                (told != "connected" && answer.status == status).then_some(())
            },
        )
        .await;
    }

    /// Everything completes without anybody restarting a coordinator or a worker.
    async fn finish(mut self) {
        until("/ready again", RECOVERY, async || {
            let answer = self.client.try_get("/ready").await?;
            let all = &answer.body["dependencies"];
            let well = all["database"] == "connected" && all["broker"] == "connected";
            (answer.status == 200 && well).then_some(())
        })
        .await;
        for (index, id) in self.ids.iter().enumerate() {
            self.client.wait_for(id, "COMPLETED", RECOVERY).await;
            let workload = self.cluster.assert_completed_once(&self.client, id).await;
            let attempts = workload["attempt"].as_u64().unwrap();
            let runs = self.ledger.runs(&index.to_string()) as u64;
            assert!(
                runs >= 1 && runs <= attempts,
                "{runs} runs in {attempts} attempts"
            );
        }
        for coordinator in &self.cluster.coordinators {
            assert!(
                coordinator.process.exit_status().is_none(),
                "{} ended",
                coordinator.name()
            );
        }
        for worker in &mut self.cluster.workers {
            assert!(
                worker.process.exit_status().is_none(),
                "{} ended",
                worker.id()
            );
        }
    }
}
