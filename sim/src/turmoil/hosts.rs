//! The hosts: what runs on each, from the start of its process.

use super::{
    handler::{SimHandler, TYPES},
    scenario::{BACKOFF_CAP, LOSS_LIMIT, SCHEDULER_INTERVAL, Scenario, StoreRates},
};
use crate::{
    clock::{Clock, Moment},
    decision::{Rng, Streams},
    message::Address,
    ports::{Checker, Hub, SimStore},
    remote::{Course, Dial, RemoteBroker, RemoteStore, StoreHost, Table, serve_broker},
};
use ::turmoil::net::{TcpListener, TcpStream};
use async_trait::async_trait;
use metrics_exporter_prometheus::PrometheusBuilder;
use niyanta_core::{
    ids::Incarnation,
    time::{Duration, Timestamp, WallTime},
};
use runtime::{
    ambient::Ambient,
    config::{Config, LogFormat, LogLevel, SecretUrl},
    node::{Node, Ports},
    worker::{WorkerConfig, WorkloadHandler},
};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Where coordinators serve their API.
pub(super) const API_PORT: u16 = 8080;
const STORE_PORT: u16 = 5432;
const BROKER_PORT: u16 = 4222;

/// The names of hosts.
pub(super) const STORE: &str = "store";
pub(super) const BROKER: &str = "broker";

/// A coordinator's host.
pub(super) fn coordinator(place: usize) -> String {
    format!("c{place}")
}

/// A worker's host.
pub(super) fn worker(place: usize) -> String {
    format!("w{place}")
}

/// What all hosts share: it outlives their crashes.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) scenario: Arc<Scenario>,
    pub(super) checker: Checker,
    pub(super) store: SimStore,
    pub(super) table: Table,
    pub(super) hub: Hub,
    /// Counts the starts of processes, so that each has entropy and a name of its own.
    pub(super) starts: Arc<AtomicU64>,
}

impl Shared {
    /// The stream of the next start of a process.
    fn next_start(&self, label: &str) -> (u64, Rng) {
        let start = self.starts.fetch_add(1, Ordering::Relaxed);
        let streams = Streams::new(self.scenario.seed);
        (start, streams.stream(label, start))
    }
}

/// True time, as a host sees it.
pub(super) fn moment() -> Moment {
    Moment::default().plus(::turmoil::sim_elapsed().unwrap_or_default())
}

/// Why a host's process ended.
pub(super) type HostResult = Result<(), Box<dyn std::error::Error>>;

/// A coordinator, from the start of its process until it is asked to stop or must end.
pub(super) async fn run_coordinator(
    shared: Shared,
    place: usize,
    mut stop: watch::Receiver<u64>,
) -> HostResult {
    stop.mark_unchanged();
    let (start, mut rng) = shared.next_start("coordinator");
    let incarnation: Incarnation = format!("c{place}.{start}").parse()?;
    let scenario = &shared.scenario;
    let config = config(scenario, place);
    shared.checker.coordinator_starts(place, &incarnation);
    let clock = HostClock(scenario.clocks[place]);
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, API_PORT)).await?;
    let address = listener.local_addr()?;
    let within = scenario.statement_within;
    let name = incarnation.to_string();
    let pauses = pauses(rng.clone());
    let seed = rng.bits();
    let ports = Ports {
        store: Arc::new(RemoteStore::new(
            To(STORE, STORE_PORT),
            shared.table.clone(),
            within,
        )),
        broker: Arc::new(RemoteBroker::start(
            To(BROKER, BROKER_PORT),
            Address::Coordinator(place),
            name,
            pauses,
        )),
        clock: Arc::new(clock),
        ambient: Arc::new(Surroundings::new(rng)),
        metrics: PrometheusBuilder::new().build_recorder().handle(),
    };
    let mut node = Node::start_on(
        Sockets(listener),
        address,
        &config,
        incarnation,
        seed,
        ports,
    )
    .await?;
    tokio::select! {
        biased;
        changed = stop.changed() => {
            changed?;
            node.shutdown(STOP_WITHIN).await;
        }
        ended = node.ended() => ended?,
    }
    Ok(())
}

/// A worker host: a process, and another one when it ends.
pub(super) async fn run_worker(shared: Shared, place: usize) -> HostResult {
    loop {
        let (start, rng) = shared.next_start("worker");
        let clock = shared.scenario.worker_clock(place);
        let handler = |workload_type| -> Arc<dyn WorkloadHandler> {
            Arc::new(SimHandler {
                workload_type,
                checker: shared.checker.clone(),
                place,
                clock,
            })
        };
        let config = WorkerConfig {
            capacity: 3,
            handlers: TYPES.map(handler).to_vec(),
            clock: Arc::new(HostClock(clock)),
            ambient: Arc::new(Surroundings::new(rng.clone())),
            shutdown_timeout: STOP_WITHIN,
            ..WorkerConfig::new(worker(place).parse()?)
        };
        shared.checker.worker_started(place, &config.worker, clock);
        let broker = RemoteBroker::start(
            To(BROKER, BROKER_PORT),
            Address::Worker(place),
            format!("w{place}.{start}"),
            pauses(rng),
        );
        let ended = runtime::worker::run(config, Arc::new(broker), CancellationToken::new()).await;
        shared.checker.worker_gone(place);
        let words = format!("w{place} ends: {ended:?}");
        shared.checker.tell("worker", &words);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The store's host.
pub(super) async fn run_store(shared: Shared) -> HostResult {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, STORE_PORT)).await?;
    let (_, rng) = shared.next_start("store");
    let rng = Mutex::new(rng);
    let (rates, heal_at) = (shared.scenario.store_rates, shared.scenario.heal_at);
    let host = Arc::new(StoreHost {
        store: shared.store.clone(),
        table: shared.table.clone(),
        course: Box::new(move |kind| {
            let mut rng = rng.lock().unwrap_or_else(PoisonError::into_inner);
            let rates = if moment() < heal_at {
                rates
            } else {
                StoreRates::default()
            };
            course(&mut rng, rates, kind)
        }),
    });
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(Arc::clone(&host).serve(stream));
    }
}

/// What becomes of a question.
fn course(rng: &mut Rng, rates: StoreRates, kind: &'static str) -> Course {
    let mut soon = rng.duration(Duration::from_micros(200), Duration::from_millis(3));
    if rng.per_mille(rates.slow) {
        soon = rng.duration(Duration::from_millis(100), Duration::from_millis(2_500));
    }
    let later = rng.duration(Duration::from_millis(50), Duration::from_millis(4_000));
    let (lost, orphaned) = (
        rng.per_mille(rates.answer_lost),
        rng.per_mille(rates.orphaned),
    );
    let (broken, locked) = (rng.per_mille(rates.broken), rng.per_mille(rates.locked));
    // Reads wait for no row.
    let writes = matches!(
        kind,
        "take_lease" | "renew_lease" | "commit" | "submit" | "wish" | "wish_worker"
    );
    if lost {
        Course::AnswerLost(soon)
    } else if orphaned {
        Course::Orphaned(later)
    } else if broken {
        Course::Broken
    } else if locked && writes {
        Course::LockTimeout(Duration::from_millis(500))
    } else {
        Course::Executed(soon)
    }
}

/// The broker's host.
pub(super) async fn run_broker(shared: Shared) -> HostResult {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, BROKER_PORT)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve_broker(shared.hub.clone(), stream));
    }
}

/// A coordinator's configuration.
fn config(scenario: &Scenario, place: usize) -> Config {
    Config {
        server_port: API_PORT,
        bind_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        grpc_port: 0,
        enable_ha: true,
        leader_lease_ttl: scenario.ttl,
        scheduler_interval: SCHEDULER_INTERVAL,
        batch_size: 100,
        health_check_interval: Duration::from_secs(1),
        heartbeat_timeout: scenario.heartbeat_timeout,
        worker_dead_threshold: scenario.dead_threshold,
        database_url: SecretUrl::new("postgres://store"),
        database_pool_size: 6,
        nats_url: SecretUrl::new("nats://broker"),
        nats_credentials: None,
        subject_prefix: String::new(),
        coordinator_id: coordinator(place),
        drain_period: Duration::from_millis(200),
        shutdown_timeout: STOP_WITHIN,
        retry_backoff_base: Duration::from_millis(200),
        retry_backoff_cap: BACKOFF_CAP,
        worker_loss_limit: LOSS_LIMIT,
        retention_workloads: Duration::from_secs(86_400),
        retention_logs: Duration::from_secs(86_400),
        retention_idempotency: Duration::from_secs(86_400),
        log_level: LogLevel::Error,
        log_format: LogFormat::Text,
    }
}

/// Before another try to connect: soon, and never the same.
fn pauses(mut rng: Rng) -> impl FnMut() -> Duration + Send + 'static {
    move || rng.duration(Duration::from_millis(50), Duration::from_millis(500))
}

/// The way to a server.
struct To(&'static str, u16);

#[async_trait]
impl Dial for To {
    type Io = TcpStream;

    async fn dial(&self) -> io::Result<TcpStream> {
        TcpStream::connect((self.0, self.1)).await
    }
}

/// Accepts for the API's server.
struct Sockets(TcpListener);

impl axum::serve::Listener for Sockets {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.0.accept().await {
                Ok(accepted) => return accepted,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A host's clock: an origin and a speed of its own.
#[derive(Debug, Clone, Copy)]
struct HostClock(Clock);

impl runtime::clock::Clock for HostClock {
    fn now(&self) -> Timestamp {
        self.0.read(moment())
    }

    fn wall(&self) -> WallTime {
        wall()
    }
}

fn wall() -> WallTime {
    WallTime(1_790_000_000_000_000).plus(moment().since(Moment::default()))
}

/// What the API takes from its surroundings, drawn from the seed.
struct Surroundings(Mutex<Rng>);

impl Surroundings {
    const fn new(rng: Rng) -> Self {
        Self(Mutex::new(rng))
    }
}

impl Ambient for Surroundings {
    fn now(&self) -> WallTime {
        wall()
    }

    fn new_id(&self) -> u128 {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .wide_bits()
    }

    fn fill(&self, bytes: &mut [u8]) {
        let mut rng = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for byte in bytes {
            *byte = u8::try_from(rng.below(256)).unwrap_or(0);
        }
    }
}

/// A stopping process is given so long.
const STOP_WITHIN: Duration = Duration::from_secs(5);
