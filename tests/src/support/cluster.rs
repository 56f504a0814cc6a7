//! Postgres, NATS, coordinators, workers and a customer, ready to use.

use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};

use super::binary::niyanta_command;
use super::client::Client;
use super::coordinator::{Coordinator, CoordinatorOptions};
use super::nats::Nats;
use super::postgres::Postgres;
use super::process::Signal;
use super::scratch::Scratch;
use super::wait::until;
use super::worker::{Worker, WorkerOptions};

/// What a [`Cluster`] is made of.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Number of `niyanta serve` processes.
    pub coordinators: usize,
    /// `LEADER_LEASE_TTL`.
    pub leader_lease_ttl: &'static str,
    /// `HEARTBEAT_TIMEOUT`, a worker's lease. The default of a minute is too long for a test that
    /// waits for a lost worker.
    pub heartbeat_timeout: &'static str,
    /// `WORKER_DEAD_THRESHOLD`.
    pub worker_dead_threshold: &'static str,
    /// More environment for every coordinator.
    pub env: Vec<(&'static str, String)>,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            coordinators: 3,
            leader_lease_ttl: "3s",
            heartbeat_timeout: "10s",
            worker_dead_threshold: "15s",
            env: Vec::new(),
        }
    }
}

/// A running system. Fields stop in the order in which they stand here.
#[derive(Debug)]
pub struct Cluster {
    /// Workers started by [`Self::worker`].
    pub workers: Vec<Worker>,
    /// All coordinators, running or not.
    pub coordinators: Vec<Coordinator>,
    /// The broker.
    pub nats: Nats,
    /// The database server.
    pub postgres: Postgres,
    /// `DATABASE_URL` of the coordinators.
    pub database_url: String,
    /// An admin key.
    pub admin_key: String,
    /// The key of the customer that [`Self::start`] made.
    pub customer_key: String,
    /// Logs, state folders, trees.
    pub scratch: Scratch,
    options: ClusterOptions,
}

impl Cluster {
    /// Starts everything but workers: migrated database, admin key, coordinators, one enterprise
    /// customer with the types `sleep`, `hash_tree`, `exec` and a key.
    pub async fn start(options: ClusterOptions) -> Self {
        let (postgres, nats) = tokio::join!(Postgres::start(), Nats::start());
        let database_url = postgres.create_database().await;
        let scratch = Scratch::new();
        run(&["migrate"], &[("DATABASE_URL", &database_url)]);
        let args = ["keys", "create", "--admin"];
        let admin_key = run(&args, &[("DATABASE_URL", &database_url)])
            .trim()
            .to_owned();
        let mut this = Self {
            workers: Vec::new(),
            coordinators: Vec::new(),
            nats,
            postgres,
            database_url,
            admin_key,
            customer_key: String::new(),
            scratch,
            options,
        };
        for index in 0..this.options.coordinators {
            let options = this.coordinator_options(&format!("coordinator-{}", index + 1));
            this.coordinators.push(Coordinator::spawn(options));
        }
        for coordinator in &this.coordinators {
            coordinator.ready().await;
        }
        let (_customer, key) = this.new_customer("enterprise", "acme").await;
        this.customer_key = key;
        this
    }

    /// What a further coordinator of this cluster is started with.
    #[must_use]
    pub fn coordinator_options(&self, name: &str) -> CoordinatorOptions {
        let mut env = vec![
            ("DATABASE_URL".to_owned(), self.database_url.clone()),
            ("NATS_URL".to_owned(), self.nats.url()),
            ("ENABLE_HA".to_owned(), "true".to_owned()),
            (
                "LEADER_LEASE_TTL".to_owned(),
                self.options.leader_lease_ttl.to_owned(),
            ),
            (
                "HEARTBEAT_TIMEOUT".to_owned(),
                self.options.heartbeat_timeout.to_owned(),
            ),
            (
                "WORKER_DEAD_THRESHOLD".to_owned(),
                self.options.worker_dead_threshold.to_owned(),
            ),
        ];
        env.extend(
            self.options
                .env
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone())),
        );
        let log = self.scratch.join(&format!("{name}.log"));
        CoordinatorOptions {
            name: name.to_owned(),
            log,
            env,
        }
    }

    /// Starts a worker for these types.
    pub fn worker(&mut self, id: &str, capacity: u32, types: &[&str]) -> &mut Worker {
        let options = self.worker_options(id, capacity, types);
        self.workers.push(Worker::spawn(options));
        self.workers.last_mut().unwrap()
    }

    /// Starts a worker whose `hash_tree` would need a quarter of an hour for [`Self::tree`], on any
    /// machine: whatever interrupts it, interrupts it half-way.
    pub fn crawling_worker(&mut self, id: &str) -> &mut Worker {
        let mut options = self.worker_options(id, 2, &["hash_tree"]);
        options.hash_tree_rate = Some(TREE_FILES * TREE_FILE_BYTES / 1_000);
        self.workers.push(Worker::spawn(options));
        self.workers.last_mut().unwrap()
    }

    /// What [`Self::worker`] would start.
    #[must_use]
    pub fn worker_options(&self, id: &str, capacity: u32, types: &[&str]) -> WorkerOptions {
        WorkerOptions {
            id: id.to_owned(),
            log: self.scratch.join(&format!("{id}.log")),
            nats_url: self.nats.url(),
            capacity,
            types: types.iter().map(|&name| name.to_owned()).collect(),
            tags: Vec::new(),
            hash_tree_rate: None,
            state_dir: self.scratch.join(&format!("{id}.state")),
            env: Vec::new(),
        }
    }

    /// The worker with this id.
    pub fn worker_named(&mut self, id: &str) -> &mut Worker {
        self.workers
            .iter_mut()
            .find(|worker| worker.id() == id)
            .unwrap()
    }

    /// Makes a customer of this tier with the built-in types, and returns its id and a key. It may
    /// ask as often as it likes: what tests wait for, they ask for often.
    pub async fn new_customer(&self, tier: &str, name: &str) -> (String, String) {
        let admin = self.admin();
        let limits = json!({"rate_limit_per_sec": 100_000, "rate_limit_burst": 100_000});
        let body = json!({"name": name, "tier": tier, "limits": limits});
        let customer = admin.post("/v1/admin/customers", &body).await.expect(201);
        let id = customer["customer_id"].as_str().unwrap().to_owned();
        let path = format!("/v1/admin/customers/{id}/api-keys");
        let key = admin
            .post(&path, &json!({"name": "tests"}))
            .await
            .expect(201);
        let key = key["secret"].as_str().unwrap().to_owned();
        let client = admin.with_key(&key);
        for workload_type in ["sleep", "hash_tree", "exec"] {
            let body = json!({"workload_type": workload_type, "checkpoint_interval_sec": 1});
            let made = client.post("/v1/workload-configs", &body).await.expect(201);
            assert_eq!(made["workload_type"], workload_type);
        }
        (id, key)
    }

    /// A customer's client of coordinator `index`.
    #[must_use]
    pub fn customer(&self, index: usize) -> Client {
        self.coordinators[index].client(&self.customer_key)
    }

    /// An admin's client of the first coordinator whose process runs.
    #[must_use]
    pub fn admin(&self) -> Client {
        self.coordinators[0].client(&self.admin_key)
    }

    /// The coordinator that leads, waiting until one does.
    pub async fn leader(&self) -> usize {
        until("a leader", Duration::from_secs(30), async || {
            for (index, coordinator) in self.coordinators.iter().enumerate() {
                if coordinator.is_leader().await {
                    return Some(index);
                }
            }
            None
        })
        .await
    }

    /// A coordinator that does not lead.
    pub async fn follower(&self) -> usize {
        let leader = self.leader().await;
        (0..self.coordinators.len())
            .find(|&index| index != leader)
            .unwrap()
    }

    /// Starts the same command line against coordinator `index` as a customer would.
    #[must_use]
    pub fn cli(&self, index: usize, args: &[&str]) -> Output {
        niyanta_command()
            .args(args)
            .env("NIYANTA_SERVER", self.coordinators[index].url())
            .env("NIYANTA_API_KEY", &self.customer_key)
            .output()
            .unwrap()
    }

    /// Asserts that the workload ended COMPLETED exactly once with a sound trail, and returns it.
    pub async fn assert_completed_once(&self, client: &Client, id: &str) -> Value {
        let workload = client.workload(id).await;
        assert_eq!(workload["status"], "COMPLETED", "{workload:#}");
        let history = client.history(id).await;
        history.assert_sound(workload["version"].as_u64().unwrap());
        assert_eq!(history.count("workload.completed"), 1, "{history:#?}");
        workload
    }

    /// A tree for `hash_tree`.
    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.scratch
            .tree("tree", TREE_FILES as usize, TREE_FILE_BYTES as usize)
    }

    /// Waits until this many checkpoints have been stored, as the leader among these counts them.
    pub async fn checkpoints_stored(&self, count: u64) {
        const COUNTER: &str = "niyanta_events_total{kind=\"workload.checkpoint\"}";
        let what = format!("{count} checkpoints");
        until(&what, Duration::from_secs(60), async || {
            let mut found = 0;
            for coordinator in &self.coordinators {
                found += coordinator.counter(COUNTER).await.unwrap_or(0);
            }
            (found >= count).then_some(())
        })
        .await;
    }

    /// Sends a signal to a coordinator.
    pub fn signal(&self, index: usize, signal: Signal) {
        self.coordinators[index].process.signal(signal);
    }
}

const TREE_FILES: u64 = 200;
const TREE_FILE_BYTES: u64 = 10_000;

/// Runs `niyanta` to its end, asserts success and returns its standard output.
fn run(args: &[&str], env: &[(&str, &str)]) -> String {
    let output = niyanta_command()
        .args(args)
        .envs(env.iter().copied())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "niyanta {args:?}: {} {told}",
        output.status
    );
    String::from_utf8(output.stdout).unwrap()
}
