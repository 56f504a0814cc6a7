//! The system under chaos: servers, coordinators and workers as processes, and a line of its own
//! between each of them and each server.
//!
//! Owns starting all of it, who stands where, and the record of every process. A strike holds the
//! lock of what it strikes, so that two strikes never contradict each other.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep};

use super::clock;
use super::history::{CustomerLimits, Happened, LeaseSeen, ProcessEvent, Record, Recorder};
use tests::Client;
use tests::Nats;
use tests::Postgres;
use tests::Proxy;
use tests::Scratch;
use tests::niyanta_command;
use tests::{Coordinator, CoordinatorOptions};
use tests::{Process, Signal};

/// How a site is set up.
#[derive(Debug, Clone)]
pub struct SiteOptions {
    /// Coordinators.
    pub coordinators: usize,
    /// Workers.
    pub workers: usize,
    /// Slots of each worker.
    pub capacity: u32,
    /// `LEADER_LEASE_TTL`, in seconds.
    pub ttl: Duration,
    /// `HEARTBEAT_TIMEOUT`, a worker's lease.
    pub lease: Duration,
    /// The program that is a worker when its first argument is `worker`.
    pub worker_program: PathBuf,
}

impl SiteOptions {
    /// Three coordinators and four workers, with leases that end while somebody watches.
    #[must_use]
    pub fn new(worker_program: PathBuf) -> Self {
        Self {
            coordinators: 3,
            workers: 4,
            capacity: 40,
            ttl: Duration::from_secs(3),
            lease: Duration::from_secs(6),
            worker_program,
        }
    }
}

/// A customer, as its clients know it.
#[derive(Debug, Clone)]
pub(super) struct Customer {
    pub(super) key: String,
    pub(super) limits: CustomerLimits,
}

/// A coordinator and its lines.
#[derive(Debug)]
pub(super) struct CoordinatorSeat {
    pub(super) process: Mutex<Numbered<Coordinator>>,
    pub(super) url: String,
    pub(super) to_postgres: Proxy,
    pub(super) to_nats: Proxy,
    /// Held by whoever makes the weather.
    pub(super) sky: Mutex<()>,
}

/// A worker and its line.
#[derive(Debug)]
pub(super) struct WorkerSeat {
    pub(super) process: Mutex<Numbered<ChaosWorker>>,
    pub(super) to_nats: Proxy,
    pub(super) sky: Mutex<()>,
}

/// Something that is started again and again.
#[derive(Debug)]
pub(super) struct Numbered<T> {
    pub(super) it: T,
    pub(super) starts: u32,
}

/// A worker process that keeps a diary.
#[derive(Debug)]
pub(super) struct ChaosWorker {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) process: Process,
}

/// Everything. Fields stop in the order in which they stand here.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) workers: Vec<WorkerSeat>,
    pub(super) coordinators: Vec<CoordinatorSeat>,
    pub(super) nats: Mutex<Nats>,
    pub(super) postgres: Mutex<Postgres>,
    pub(super) customers: Vec<Customer>,
    pub(super) database_url: String,
    pub(super) admin_key: String,
    pub(super) recorder: Arc<Recorder>,
    pub(super) options: SiteOptions,
    /// Who holds the lease, as its row was last seen.
    pub(super) lease: watch::Sender<Option<LeaseSeen>>,
    /// How many workloads have not ended, as last seen.
    pub(super) open: watch::Sender<i64>,
    pub(super) scratch: Scratch,
}

impl Site {
    /// Starts everything, waits for it, and makes the customers.
    pub(super) async fn start(options: SiteOptions, recorder: Arc<Recorder>) -> Self {
        let (postgres, nats) = tokio::join!(Postgres::start(), Nats::start());
        let database_url = postgres.create_database().await;
        let scratch = Scratch::new();
        run(&["migrate"], &database_url);
        let admin_key = run(&["keys", "create", "--admin"], &database_url);
        let mut site = Self {
            workers: Vec::new(),
            coordinators: Vec::new(),
            nats: Mutex::new(nats),
            postgres: Mutex::new(postgres),
            customers: Vec::new(),
            database_url,
            admin_key: admin_key.trim().to_owned(),
            recorder,
            options,
            lease: watch::Sender::new(None),
            open: watch::Sender::new(0),
            scratch,
        };
        for index in 0..site.options.coordinators {
            let seat = site.coordinator(index).await;
            site.coordinators.push(seat);
        }
        for seat in &site.coordinators {
            seat.process.lock().await.it.ready().await;
        }
        site.customers = vec![
            site.customer("big", 2_000, 10_000).await,
            site.customer("small", 5, 40).await,
        ];
        for index in 0..site.options.workers {
            let to_nats = Proxy::to(site.nats.lock().await.port()).await;
            let worker = site.launch(&format!("w{index}"), 1, to_nats.port());
            site.workers.push(WorkerSeat {
                process: Mutex::new(Numbered {
                    it: worker,
                    starts: 1,
                }),
                to_nats,
                sky: Mutex::new(()),
            });
        }
        site.admin(0).healthy_workers(site.options.workers).await;
        site
    }

    async fn coordinator(&self, index: usize) -> CoordinatorSeat {
        let postgres = self.postgres.lock().await.port();
        let (to_postgres, to_nats) = tokio::join!(
            Proxy::to(postgres),
            Proxy::to(self.nats.lock().await.port())
        );
        let (from, to) = (postgres.to_string(), to_postgres.port().to_string());
        let seconds = |length: Duration| format!("{}ms", length.as_millis());
        let env = [
            ("DATABASE_URL", self.database_url.replace(&from, &to)),
            ("NATS_URL", format!("nats://127.0.0.1:{}", to_nats.port())),
            ("ENABLE_HA", "true".to_owned()),
            ("LEADER_LEASE_TTL", seconds(self.options.ttl)),
            ("HEARTBEAT_TIMEOUT", seconds(self.options.lease)),
            ("WORKER_DEAD_THRESHOLD", seconds(self.options.lease * 3 / 2)),
            // Losses are what happens here: none of them is the workload's fault.
            ("WORKER_LOSS_LIMIT", "1000".to_owned()),
            ("RETRY_BACKOFF_BASE", "200ms".to_owned()),
            ("RETRY_BACKOFF_CAP", "2s".to_owned()),
            (
                "SHUTDOWN_TIMEOUT",
                format!("{}s", SHUTDOWN_TIMEOUT.as_secs()),
            ),
        ];
        let name = format!("c{index}");
        let coordinator = Coordinator::spawn(CoordinatorOptions {
            log: self.scratch.join(&format!("{name}.log")),
            env: env.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            name: name.clone(),
        });
        self.happened(&format!("{name}#1"), Happened::Started);
        CoordinatorSeat {
            url: coordinator.url(),
            process: Mutex::new(Numbered {
                it: coordinator,
                starts: 1,
            }),
            to_postgres,
            to_nats,
            sky: Mutex::new(()),
        }
    }

    async fn customer(&self, name: &str, running: u64, queued: u64) -> Customer {
        let admin = self.admin(0);
        let limits = json!({
            "max_concurrent_workloads": running, "max_queue_depth": queued,
            "rate_limit_per_sec": 100_000, "rate_limit_burst": 100_000,
        });
        let body = json!({"name": name, "tier": "enterprise", "limits": limits});
        let made = admin.post("/v1/admin/customers", &body).await.expect(201);
        let id = made["customer_id"].as_str().unwrap();
        let path = format!("/v1/admin/customers/{id}/api-keys");
        let key = admin
            .post(&path, &json!({"name": "chaos"}))
            .await
            .expect(201);
        let key = key["secret"].as_str().unwrap().to_owned();
        let config = json!({
            "workload_type": "chaos", "checkpoint_interval_sec": 1, "max_retries": MAX_RETRIES,
        });
        let client = admin.with_key(&key);
        client
            .post("/v1/workload-configs", &config)
            .await
            .expect(201);
        let customer = id.trim_start_matches("cus_").to_owned();
        let limits = CustomerLimits {
            customer,
            running,
            queued,
        };
        Customer { key, limits }
    }

    /// An admin's client of a coordinator.
    pub(super) fn admin(&self, index: usize) -> Client {
        Client::new(&self.coordinators[index].url, Some(&self.admin_key))
    }

    /// Starts a worker process.
    pub(super) fn launch(&self, id: &str, start: u32, nats_port: u16) -> ChaosWorker {
        let name = format!("{id}#{start}");
        let mut command = Command::new(&self.options.worker_program);
        command.arg("worker").args(["--id", id, "--process", &name]);
        command.args(["--nats-url", &format!("nats://127.0.0.1:{nats_port}")]);
        command.args(["--capacity", &self.options.capacity.to_string()]);
        command
            .arg("--state-dir")
            .arg(self.scratch.join(&format!("{id}.state")));
        command.arg("--diary").arg(self.diary(&name));
        self.happened(&name, Happened::Started);
        let process = Process::start(
            &name,
            &mut command,
            &self.scratch.join(&format!("{id}.log")),
        );
        ChaosWorker {
            id: id.to_owned(),
            name,
            process,
        }
    }

    fn diary(&self, process: &str) -> PathBuf {
        self.scratch.join(&format!("{process}.diary"))
    }

    /// Where the diaries are.
    pub(super) fn diaries(&self) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = std::fs::read_dir(self.scratch.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension() == Some("diary".as_ref()))
            .collect();
        found.sort();
        found
    }

    /// Records what happened to a process.
    pub(super) fn happened(&self, process: &str, what: Happened) {
        self.recorder.record(&Record::Process(ProcessEvent {
            process: process.to_owned(),
            at: clock::now(),
            what,
        }));
    }

    /// Which coordinator holds the lease, as last seen.
    pub(super) fn leader(&self) -> usize {
        let lease = self.lease.borrow();
        let holder = lease
            .as_ref()
            .and_then(|lease| lease.holder.strip_prefix('c'));
        let index = holder.and_then(|digits| digits.parse().ok());
        index
            .filter(|index| *index < self.coordinators.len())
            .unwrap_or(0)
    }

    /// Keeps a copy of every log.
    pub(super) fn keep_logs(&self, folder: &Path) {
        std::fs::create_dir_all(folder).unwrap();
        for entry in std::fs::read_dir(self.scratch.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension() == Some("log".as_ref()) {
                std::fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
            }
        }
    }
}

impl Numbered<Coordinator> {
    /// The name of this start.
    pub(super) fn name(&self) -> String {
        format!("{}#{}", self.it.name(), self.starts)
    }

    /// `kill -9`.
    pub(super) fn kill(&self, site: &Site) {
        self.it.process.kill();
        site.happened(&self.name(), Happened::Ended);
    }

    /// SIGTERM, and waits for its end; false when it does not end in time, and is killed.
    pub(super) async fn stop(&self, site: &Site) -> bool {
        self.it.process.signal(Signal::TERM);
        let is_in_time = ends_within(&self.it.process, SHUTDOWN_TIMEOUT + PATIENCE).await;
        self.it.process.kill();
        let what = if is_in_time {
            Happened::Ended
        } else {
            Happened::EndedLate
        };
        site.happened(&self.name(), what);
        is_in_time
    }

    /// Another start of it.
    pub(super) fn start_again(&mut self, site: &Site) {
        self.starts += 1;
        site.happened(&self.name(), Happened::Started);
        self.it.start_again();
    }
}

impl Numbered<ChaosWorker> {
    /// `kill -9`.
    pub(super) fn kill(&self, site: &Site) {
        self.it.process.kill();
        site.happened(&self.it.name, Happened::Ended);
    }

    /// SIGTERM, and waits for its end.
    pub(super) async fn stop(&self, site: &Site) -> bool {
        self.it.process.signal(Signal::TERM);
        let is_in_time = ends_within(&self.it.process, WORKER_SHUTDOWN + PATIENCE).await;
        self.it.process.kill();
        let what = if is_in_time {
            Happened::Ended
        } else {
            Happened::EndedLate
        };
        site.happened(&self.it.name, what);
        is_in_time
    }

    /// Another start of it, under this id.
    pub(super) fn start_again(&mut self, site: &Site, id: &str, nats_port: u16) {
        self.starts += 1;
        self.it = site.launch(id, self.starts, nats_port);
    }
}

/// Whether a process ends by itself in time.
async fn ends_within(process: &Process, within: Duration) -> bool {
    let asked = Instant::now();
    while asked.elapsed() < within {
        if process.exit_status().is_some() {
            return true;
        }
        sleep(Duration::from_millis(10)).await;
    }
    false
}

/// Runs `niyanta` to its end and returns its standard output.
fn run(args: &[&str], database_url: &str) -> String {
    let mut command = niyanta_command();
    command.args(args).env("DATABASE_URL", database_url);
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "niyanta {args:?}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

/// `SHUTDOWN_TIMEOUT` of the coordinators.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a stopping worker may take.
pub(super) const WORKER_SHUTDOWN: Duration = Duration::from_secs(10);
/// What a machine that is busy with other things may add to a promise.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of every workload.
const MAX_RETRIES: u64 = 3;
