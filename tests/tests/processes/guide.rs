//! The worker in Python, word for word as the guide has it, against the real thing.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use serde_json::{Value, json};
use tests::{Client, Cluster, ClusterOptions, Process, Signal, one_at_a_time, until};

const SOON: Duration = Duration::from_secs(30);
const LATER: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guides_worker_runs_work_through_a_failover_and_does_nothing_as_a_zombie() {
    let _turn = one_at_a_time().await;
    let cluster = Cluster::start(ClusterOptions {
        coordinators: 2,
        heartbeat_timeout: "6s",
        worker_dead_threshold: "9s",
        ..ClusterOptions::default()
    })
    .await;
    let leader = cluster.leader().await;
    let client = cluster.customer(1 - leader);
    let body = json!({"workload_type": "count", "checkpoint_interval_sec": 1});
    client.post("/v1/workload-configs", &body).await.expect(201);
    let python = Python::new(&cluster);
    let first = python.worker("py-1");

    // Through the death of a leader.
    let long = count(&client, 100).await;
    client.wait_for(&long, "RUNNING", SOON).await;
    cluster.coordinators[leader].process.kill();
    let done = client.wait_for(&long, "COMPLETED", LATER).await;
    assert_eq!(done["result_data"], json!({"counted": 100}));
    assert_eq!(done["attempt"], 1, "a failover costs no attempt: {done:#}");

    // A cancelled one stops.
    let endless = count(&client, 100_000).await;
    client.wait_for(&endless, "RUNNING", SOON).await;
    client.control(&endless, "cancel").await.expect(202);
    client.wait_for(&endless, "CANCELLED", SOON).await;

    // Stopped in the middle, and continued when another has its work.
    let moved = count(&client, 100).await;
    let has_checkpoint = |workload: &Value| workload["progress_percent"].as_f64() >= Some(20.0);
    client
        .wait_until(&moved, "twenty steps", SOON, has_checkpoint)
        .await;
    let second = python.worker("py-2");
    first.signal(Signal::STOP);
    let elsewhere = |workload: &Value| workload["worker_id"] == "py-2";
    client
        .wait_until(&moved, "py-2 to have it", LATER, elsewhere)
        .await;
    first.signal(Signal::CONT);
    let done = client.wait_for(&moved, "COMPLETED", LATER).await;
    assert_eq!(done["attempt"], 2);
    let steps = python.steps(&moved);
    let handover = steps.iter().position(|(attempt, _)| *attempt == 2).unwrap();
    let begin = steps[handover].1;
    assert!(
        begin > 1,
        "the second attempt goes on from a checkpoint: {begin}"
    );
    for (place, (attempt, step)) in steps.iter().enumerate() {
        assert_eq!(
            *attempt == 2,
            place >= handover,
            "a zombie stepped to {step}"
        );
    }

    // Both leave in order.
    for worker in [&first, &second] {
        worker.signal(Signal::TERM);
        assert!(
            worker.ended(SOON).await.success(),
            "{}",
            worker.log_tail(20)
        );
    }
    until("both workers to be gone", SOON, async || {
        let workers = cluster.coordinators[1 - leader]
            .client(&cluster.admin_key)
            .all("/v1/admin/workers", "workers")
            .await;
        workers.is_empty().then_some(())
    })
    .await;
}

async fn count(client: &Client, to: u32) -> String {
    client.submit("count", json!({ "to": to })).await
}

/// An interpreter with a NATS client, and the guide's program.
struct Python {
    interpreter: PathBuf,
    program: PathBuf,
    journal: PathBuf,
    folder: PathBuf,
    nats_url: String,
}

impl Python {
    fn new(cluster: &Cluster) -> Self {
        let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/worker-protocol.md");
        let guide = fs::read_to_string(guide).unwrap();
        let (_, rest) = guide.split_once("```python\n").unwrap();
        let (program, _) = rest.split_once("```").unwrap();
        let path = cluster.scratch.join("worker.py");
        fs::write(&path, program).unwrap();
        Self {
            interpreter: interpreter(),
            program: path,
            journal: cluster.scratch.join("journal"),
            folder: cluster.scratch.path().to_owned(),
            nats_url: cluster.nats.url(),
        }
    }

    fn worker(&self, id: &str) -> Process {
        let mut command = Command::new(&self.interpreter);
        command
            .arg(&self.program)
            .arg(id)
            .env("NATS_URL", &self.nats_url)
            .env("JOURNAL", &self.journal);
        Process::start(id, &mut command, &self.folder.join(format!("{id}.log")))
    }

    /// The steps of a workload in the order in which they happened: attempt and number.
    fn steps(&self, workload: &str) -> Vec<(u32, u32)> {
        let journal = fs::read_to_string(&self.journal).unwrap();
        let lines = journal
            .lines()
            .filter_map(|line| line.strip_prefix(workload));
        lines
            .map(|line| {
                let (attempt, step) = line.trim().split_once(' ').unwrap();
                (attempt.parse().unwrap(), step.parse().unwrap())
            })
            .collect()
    }
}

/// A Python that has the client, made once beside the other build products if the system's has not.
fn interpreter() -> PathBuf {
    let knows_nats = |python: &PathBuf| {
        let asked = Command::new(python).args(["-c", "import nats"]).output();
        asked.is_ok_and(|output| output.status.success())
    };
    let system = PathBuf::from("python3");
    if knows_nats(&system) {
        return system;
    }
    let home = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/python"));
    let own = home.join("bin/python");
    if !knows_nats(&own) {
        let run = |command: &mut Command| {
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{command:?}: {said}");
        };
        run(Command::new(&system).args(["-m", "venv"]).arg(&home));
        let pip = ["-m", "pip", "install", "-q", "nats-py"];
        run(Command::new(&own).args(pip));
    }
    own
}
