//! The reference worker with real children, in this process and in its own: a leader that says what
//! a test wants, over an embedded broker or a real nats-server.
#![cfg(feature = "real")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod leader;

use leader::{Leader, Told};
use niyanta_core::{
    time::Duration,
    workload::{Cause, ErrorType},
};
use runtime::{
    broker::{
        Broker,
        embedded::EmbeddedBroker,
        nats::{NatsBroker, NatsConfig},
    },
    worker::{self, Context, Outcome, WorkerConfig, WorkloadHandler},
};
use serde_json::json;
use std::{
    ffi::OsString,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const NIYANTA: &str = env!("CARGO_BIN_EXE_niyanta");

/// A worker in this process.
struct InProcess {
    leader: Leader,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), worker::WorkerError>>,
}

impl InProcess {
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    async fn start_with(change: impl FnOnce(&mut WorkerConfig)) -> Self {
        let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::default());
        let leader = Leader::start(Arc::clone(&broker), Duration::from_secs(60)).await;
        let mut config = WorkerConfig::new("w1".parse().unwrap());
        config.exec_guard = Some(vec![OsString::from(NIYANTA), OsString::from("guard")]);
        config.shutdown_timeout = Duration::from_secs(10);
        change(&mut config);
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(worker::run(config, broker, shutdown.clone()));
        let mut started = Self {
            leader,
            shutdown,
            task,
        };
        started.leader.registered().await;
        started
    }

    async fn exec(&mut self, params: serde_json::Value) -> Told {
        self.leader.assign("exec", params).await;
        self.leader.last_report().await
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn an_exit_status_becomes_an_outcome() {
    let mut worker = InProcess::start().await;
    let done = worker.exec(json!({ "argv": ["true"] })).await;
    assert_eq!(done, Told::Completed(Some(json!({ "exit_code": 0 }))));
    let failed = worker
        .exec(json!({ "argv": ["sh", "-c", "echo no good >&2; exit 3"] }))
        .await;
    let Told::Failed(ErrorType::Transient, message) = failed else {
        panic!("{failed:?}");
    };
    assert_eq!(message, "exit status 3: no good");
    for (argv, code) in [
        (json!(["/no/such/program"]), "127"),
        (json!(["/etc"]), "126"),
    ] {
        let failed = worker.exec(json!({ "argv": argv })).await;
        let Told::Failed(ErrorType::Permanent, message) = failed else {
            panic!("{failed:?}");
        };
        assert!(message.contains(code), "{message}");
    }
    let refused = worker.exec(json!({ "argv": [] })).await;
    assert!(matches!(refused, Told::Failed(ErrorType::Permanent, _)));
    worker.stop().await;
}

#[tokio::test]
async fn a_child_gets_what_it_is_given_and_its_words_are_logged() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = InProcess::start().await;
    let script = "cat; pwd; echo $NAME-$NIYANTA_ATTEMPT; printf unended >&2";
    let done = worker
        .exec(json!({
            "argv": ["sh", "-c", script],
            "env": { "NAME": "value" },
            "cwd": folder.path(),
            "stdin": "one\ntwo\n",
        }))
        .await;
    assert!(matches!(done, Told::Completed(_)), "{done:?}");
    let expected = [
        "one",
        "two",
        folder.path().to_str().unwrap(),
        "value-1",
        "unended",
    ];
    let mut said = worker.leader.lines(expected.len()).await;
    said.sort();
    let mut expected = expected.map(str::to_owned);
    expected.sort();
    assert_eq!(said, expected);
    worker.stop().await;
}

#[tokio::test]
async fn a_stop_asks_first_and_kills_every_descendant_at_its_deadline() {
    let mut worker = InProcess::start().await;
    // It ignores being asked, and so does a descendant that has left its process group.
    let script = "trap 'echo asked' TERM; setsid sh -c 'trap \"\" TERM; echo $$; sleep 1000' & \
                  echo $$; while :; do wait; done";
    worker
        .leader
        .assign("exec", json!({ "argv": ["sh", "-c", script] }))
        .await;
    let pids = worker.leader.lines(2).await;
    worker
        .leader
        .stop(Cause::Cancelled, Duration::from_secs(1))
        .await;
    assert_eq!(
        worker.leader.last_report().await,
        Told::Stopped(Cause::Cancelled)
    );
    for pid in pids {
        assert!(!is_alive(&pid), "{pid} lives");
    }
    assert_eq!(worker.leader.lines(3).await[2], "asked");
    worker.stop().await;
}

#[tokio::test]
async fn what_a_child_leaves_behind_ends_with_it() {
    let mut worker = InProcess::start().await;
    let script = "setsid sleep 1000 & echo $!";
    let done = worker.exec(json!({ "argv": ["sh", "-c", script] })).await;
    assert!(matches!(done, Told::Completed(_)), "{done:?}");
    let pids = worker.leader.lines(1).await;
    assert!(!is_alive(&pids[0]));
    worker.stop().await;
}

#[tokio::test]
async fn a_handler_of_ones_own_runs_and_one_that_panics_only_fails() {
    struct Own;

    #[async_trait::async_trait]
    impl WorkloadHandler for Own {
        fn workload_type(&self) -> &'static str {
            "own"
        }

        async fn run(&self, context: Context) -> Outcome {
            assert!(context.input_params["panic"].is_null(), "as it was told");
            context.stopped().await;
            context.checkpoint(b"here".to_vec()).await;
            Outcome::Stopped
        }
    }

    let mut worker = InProcess::start_with(|config| config.handlers.push(Arc::new(Own))).await;
    worker.leader.assign("own", json!({ "panic": true })).await;
    let failed = worker.leader.last_report().await;
    assert!(
        matches!(failed, Told::Failed(ErrorType::Transient, _)),
        "{failed:?}"
    );
    worker.leader.assign("own", json!({})).await;
    worker
        .leader
        .stop(Cause::Paused, Duration::from_secs(30))
        .await;
    assert_eq!(
        worker.leader.last_report().await,
        Told::Stopped(Cause::Paused)
    );
    assert_eq!(worker.leader.checkpoint().await, b"here");
    worker.stop().await;
}

#[tokio::test]
async fn a_stopping_worker_drains_and_deregisters() {
    let mut worker = InProcess::start().await;
    worker
        .leader
        .assign("sleep", json!({ "seconds": 1000 }))
        .await;
    worker.leader.started().await;
    worker.shutdown.cancel();
    assert_eq!(
        worker.leader.last_report().await,
        Told::Stopped(Cause::Drained)
    );
    worker.leader.deregistered().await;
    worker.task.await.unwrap().unwrap();
}

/// A worker in a process of its own, over a real nats-server.
struct Processes {
    leader: Leader,
    worker: Child,
    nats: Child,
    url: String,
    scratch: tempfile::TempDir,
}

impl Processes {
    async fn start(lease: Duration) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let port = free_port();
        let nats = Command::new("nats-server")
            .args(["-a", "127.0.0.1", "-p", &port.to_string()])
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server is on the PATH");
        let url = format!("nats://127.0.0.1:{port}");
        let config = NatsConfig {
            url: url.clone(),
            credentials: None,
            name: "leader".to_owned(),
        };
        let broker = NatsBroker::connect(&config).await.unwrap();
        let mut link = broker.link();
        let connected = link.wait_for(|link| link.connected);
        let connected = tokio::time::timeout(Duration::from_secs(20), connected).await;
        connected.expect("connects in time").unwrap();
        let mut leader = Leader::start(Arc::new(broker), lease).await;
        let worker = start_worker(&url, scratch.path());
        leader.registered().await;
        Self {
            leader,
            worker,
            nats,
            url,
            scratch,
        }
    }

    /// Two processes that ignore being asked to end, and their ids.
    async fn two_stubborn_ones(&mut self) -> Vec<String> {
        let script = "trap '' TERM; setsid sh -c 'echo $$; sleep 1000' & echo $$; wait";
        self.leader
            .assign("exec", json!({ "argv": ["sh", "-c", script] }))
            .await;
        self.leader.lines(2).await
    }

    fn signal_worker(&self, name: &str) {
        let pid = self.worker.id().to_string();
        let status = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in [&mut self.worker, &mut self.nats] {
            // It may have ended, as it was told to.
            let _ = child.kill();
            child.wait().unwrap();
        }
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn start_worker(url: &str, scratch: &Path) -> Child {
    Command::new(NIYANTA)
        .args(["worker", "--nats-url", url, "--id", "w1", "--type", "exec"])
        .args(["--type", "sleep", "--state-dir"])
        .arg(scratch.join("state"))
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_killed_worker_takes_its_children_with_it_and_its_successor_knows() {
    let mut processes = Processes::start(Duration::from_secs(60)).await;
    let pids = processes.two_stubborn_ones().await;
    let before = processes.leader.incarnation();
    processes.signal_worker("-KILL");
    processes.worker.wait().unwrap();
    gone(&pids).await;
    processes.worker = start_worker(&processes.url, processes.scratch.path());
    processes.leader.registered().await;
    assert_eq!(processes.leader.replaced(), Some(before));
}

#[tokio::test]
async fn a_worker_that_is_stopped_beyond_its_lease_finds_its_children_dead() {
    let mut processes = Processes::start(Duration::from_secs(3)).await;
    let pids = processes.two_stubborn_ones().await;
    processes.signal_worker("-STOP");
    gone(&pids).await;
    processes.signal_worker("-CONT");
    assert_eq!(
        processes.leader.last_report().await,
        Told::Stopped(Cause::LeaseLost)
    );
}

#[tokio::test]
async fn a_terminated_worker_exits_well() {
    let mut processes = Processes::start(Duration::from_secs(60)).await;
    processes
        .leader
        .assign("sleep", json!({ "seconds": 1000 }))
        .await;
    processes.leader.started().await;
    processes.signal_worker("-TERM");
    assert_eq!(
        processes.leader.last_report().await,
        Told::Stopped(Cause::Drained)
    );
    processes.leader.deregistered().await;
    let ended = async {
        loop {
            if let Some(status) = processes.worker.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(20), ended).await;
    assert!(ended.expect("ends in time").success());
}

async fn gone(pids: &[String]) {
    let waiting = async {
        while pids.iter().any(|pid| is_alive(pid)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .expect("they end in time");
}

/// Whether there is such a process that has not ended.
fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}
