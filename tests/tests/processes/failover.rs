//! The leader dies, hangs, or goes; the work does not notice.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use serde_json::{Value, json};
use tests::{Client, Cluster, ClusterOptions, History, Ledger, Signal, one_at_a_time, until};

const WORKLOADS: usize = 1_000;
const TTL: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_workloads_complete_exactly_once_while_the_leader_is_killed_half_way() {
    let _turn = one_at_a_time().await;
    let mut rig = Rig::start().await;
    let jobs = rig.jobs();
    let mut submitted = rig.submit(&jobs[..WORKLOADS / 2]).await;
    rig.wait_until_completed(WORKLOADS / 8).await;

    let (leader, generation) = rig.leader().await;
    rig.cluster.coordinators[leader].process.kill();
    let killed_at = Utc::now();
    submitted.extend(rig.submit(&jobs[WORKLOADS / 2..]).await);

    let survivor = (leader + 1) % 3;
    let histories = rig.finish(survivor, &submitted).await;
    let delay = report_takeover("kill -9", &histories, killed_at, generation);
    assert!(
        delay < TTL + Duration::from_secs(10),
        "the first new assignment took {delay:?}"
    );

    rig.cluster.coordinators[leader].start_again();
    rig.cluster.coordinators[leader].ready().await;
    assert!(
        !rig.cluster.coordinators[leader].is_leader().await,
        "it comes back as a follower"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_stopped_for_three_terms_changes_nothing_when_it_goes_on() {
    let _turn = one_at_a_time().await;
    let rig = Rig::start().await;
    let jobs = rig.jobs();
    let mut submitted = rig.submit(&jobs[..WORKLOADS / 2]).await;
    rig.wait_until_completed(WORKLOADS / 8).await;

    let (leader, generation) = rig.leader().await;
    rig.cluster.signal(leader, Signal::STOP);
    let stopped_at = Utc::now();
    let (rest, ()) = tokio::join!(rig.submit(&jobs[WORKLOADS / 2..]), async {
        // The length of the pause is the scenario, not a wait for something.
        tokio::time::sleep(3 * TTL).await;
        rig.cluster.signal(leader, Signal::CONT);
    });
    submitted.extend(rest);

    let histories = rig.finish((leader + 1) % 3, &submitted).await;
    let delay = report_takeover("SIGSTOP", &histories, stopped_at, generation);
    assert!(
        delay < TTL + Duration::from_secs(10),
        "the first new assignment took {delay:?}"
    );
    for history in &histories {
        for event in history
            .events
            .iter()
            .filter(|event| event["generation"] == generation)
        {
            let at = History::time_of(event);
            let latest = stopped_at + TimeDelta::from_std(TTL).unwrap();
            assert!(
                at < latest,
                "the old leader wrote after its term: {event:#}"
            );
        }
    }
    let old = rig.cluster.coordinators[leader].readiness().await.unwrap();
    assert!(old["generation"].as_u64() > Some(generation), "{old:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_told_to_stop_hands_over_without_waiting_for_its_lease() {
    let _turn = one_at_a_time().await;
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    cluster.worker("w1", 10, &["sleep"]);
    cluster.admin().healthy_workers(1).await;
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    let client = cluster.customer(follower);
    let running = client.submit("sleep", json!({"seconds": 4})).await;
    client
        .wait_for(&running, "RUNNING", Duration::from_secs(20))
        .await;

    let told_at = Utc::now();
    cluster.signal(leader, Signal::TERM);
    let id = client.submit("sleep", json!({"seconds": 0})).await;
    client
        .wait_for(&id, "COMPLETED", Duration::from_secs(20))
        .await;
    let history = client.history(&id).await;
    let scheduled = history.of_type("workload.scheduled").next().unwrap();
    println!(
        "SIGTERM to first assignment by the successor: {}",
        since(scheduled, told_at)
    );
    let status = cluster.coordinators[leader]
        .process
        .ended(Duration::from_secs(40))
        .await;
    assert_eq!(status.code(), Some(0));

    client
        .wait_for(&running, "COMPLETED", Duration::from_secs(20))
        .await;
    let done = cluster.assert_completed_once(&client, &running).await;
    assert_eq!(
        done["attempt"], 1,
        "a change of leaders moves no running work"
    );
}

struct Rig {
    cluster: Cluster,
    ledger: Ledger,
    tree: std::path::PathBuf,
}

impl Rig {
    async fn start() -> Self {
        let mut cluster = Cluster::start(ClusterOptions::default()).await;
        for id in ["w1", "w2", "w3"] {
            cluster.worker(id, 10, &["exec", "sleep", "hash_tree"]);
        }
        cluster.admin().healthy_workers(3).await;
        let ledger = Ledger::new(cluster.scratch.join("ledger"));
        let tree = cluster.scratch.tree("tree", 20, 2_000);
        Self {
            cluster,
            ledger,
            tree,
        }
    }

    fn jobs(&self) -> Vec<Value> {
        (0..WORKLOADS)
            .map(|index| {
                let (workload_type, input_params) = match index % 5 {
                    0 => ("exec", self.ledger.exec(&index.to_string(), "0")),
                    1 => ("exec", json!({"argv": ["true"]})),
                    2 | 3 => ("sleep", json!({"seconds": 0.5})),
                    _ => ("hash_tree", json!({"path": self.tree})),
                };
                json!({
                    "workload_type": workload_type,
                    "input_params": input_params,
                    "labels": {"job": index.to_string()},
                })
            })
            .collect()
    }

    /// Submits through all coordinators, four at a time on each, each with an idempotency key, and
    /// returns (job, workload id).
    async fn submit(&self, jobs: &[Value]) -> Vec<(String, String)> {
        let clients: Vec<Client> = (0..3).map(|index| self.cluster.customer(index)).collect();
        let lanes = 12;
        let all = (0..lanes).map(|lane| {
            let (first, clients) = (clients[lane % 3].clone(), &clients);
            async move {
                let mut done = Vec::new();
                for job in jobs.iter().skip(lane).step_by(lanes) {
                    let name = job["labels"]["job"].as_str().unwrap().to_owned();
                    let id = first
                        .submit_surely(clients, job, &format!("job-{name}"))
                        .await;
                    done.push((name, id));
                }
                done
            }
        });
        join_all(all).await.into_iter().flatten().collect()
    }

    async fn wait_until_completed(&self, count: usize) {
        let client = self.cluster.customer(0);
        until(
            &format!("{count} completed"),
            Duration::from_secs(60),
            async || {
                let done = client
                    .all("/v1/workloads?status=COMPLETED&limit=100", "workloads")
                    .await;
                (done.len() >= count).then_some(())
            },
        )
        .await;
    }

    async fn leader(&self) -> (usize, u64) {
        let leader = self.cluster.leader().await;
        let readiness = self.cluster.coordinators[leader].readiness().await.unwrap();
        (leader, readiness["generation"].as_u64().unwrap())
    }

    /// Waits until all are done and asserts that each completed exactly once, its trail whole.
    async fn finish(&self, survivor: usize, submitted: &[(String, String)]) -> Vec<History> {
        assert_eq!(submitted.len(), WORKLOADS);
        let client = self.cluster.customer(survivor);
        let count = |status: &str| {
            let (client, path) = (&client, format!("/v1/workloads?status={status}&limit=100"));
            async move { client.all(&path, "workloads").await.len() }
        };
        until(
            "all to be completed",
            Duration::from_secs(180),
            async || {
                assert_eq!(
                    count("FAILED").await,
                    0,
                    "nothing fails because a leader went away"
                );
                (count("COMPLETED").await >= WORKLOADS).then_some(())
            },
        )
        .await;
        let total = client
            .all("/v1/workloads?limit=100", "workloads")
            .await
            .len();
        assert_eq!(
            total, WORKLOADS,
            "a repeated submission made a second workload"
        );
        let mut histories = Vec::new();
        let mut again = 0;
        for (job, id) in submitted {
            let workload = client.workload(id).await;
            assert_eq!(workload["status"], "COMPLETED", "{workload:#}");
            assert_eq!(workload["labels"]["job"], job.as_str());
            let history = client.history(id).await;
            history.assert_sound(workload["version"].as_u64().unwrap());
            assert_eq!(history.count("workload.completed"), 1, "{history:#?}");
            let attempts = history.scheduled_attempts().len();
            let runs = self.ledger.runs(job);
            assert!(
                runs <= attempts,
                "job {job}: {runs} runs in {attempts} attempts"
            );
            again += usize::from(attempts > 1);
            histories.push(history);
        }
        println!("{WORKLOADS} completed once; {again} of them needed more than one attempt");
        histories
    }
}

/// Time from `event` to the first assignment by a later leader, from the audit's own timestamps.
fn report_takeover(
    event: &str,
    histories: &[History],
    at: DateTime<Utc>,
    generation: u64,
) -> Duration {
    let first = histories
        .iter()
        .flat_map(|history| history.of_type("workload.scheduled"))
        .filter(|event| event["generation"].as_u64() > Some(generation))
        .min_by_key(|event| History::time_of(event))
        .expect("the next leader assigned something");
    println!(
        "{event} to the first assignment by the next leader: {} (lease {TTL:?})",
        since(first, at)
    );
    (History::time_of(first) - at).to_std().unwrap_or_default()
}

fn since(event: &Value, at: DateTime<Utc>) -> String {
    format!("{} ms", (History::time_of(event) - at).num_milliseconds())
}
