//! The hosts: what runs on each, from the start of its process.

use super::{
    http::OverTcp,
    scenario::{Scenario, StoreRates},
};
use crate::{
    clock::Moment,
    decision::{Rng, Streams},
    message::Address,
    parties::{API_PORT, Company, HostClock, STOP_WITHIN, SimHandler, Surroundings, TYPES, worker},
    ports::{Checker, Hub, SimStore},
    remote::{Course, Dial, RemoteBroker, RemoteStore, StoreHost, Table, serve_broker},
};
use ::turmoil::net::{TcpListener, TcpStream};
use async_trait::async_trait;
use metrics_exporter_prometheus::PrometheusBuilder;
use niyanta_core::{ids::Incarnation, time::Duration};
use runtime::{
    node::{Node, Ports},
    worker::{WorkerConfig, WorkloadHandler},
};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const STORE_PORT: u16 = 5432;
const BROKER_PORT: u16 = 4222;

/// The names of hosts.
pub(super) const STORE: &str = "store";
pub(super) const BROKER: &str = "broker";

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
        let streams = Streams::new(self.scenario.setting.seed);
        (start, streams.stream(label, start))
    }

    /// What callers share.
    pub(super) fn company(&self) -> Company {
        Company {
            setting: Arc::new(self.scenario.setting.clone()),
            checker: self.checker.clone(),
            store: self.store.clone(),
            api: Arc::new(OverTcp),
        }
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
    let setting = &shared.scenario.setting;
    let config = setting.config(place);
    shared.checker.coordinator_starts(place, &incarnation);
    let time = shared.checker.time();
    let clock = HostClock::new(setting.clocks[place], time.clone());
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, API_PORT)).await?;
    let address = listener.local_addr()?;
    let within = setting.statement_within;
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
        ambient: Arc::new(Surroundings::new(rng, time)),
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
        let clock = shared.scenario.setting.worker_clock(place);
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
            clock: Arc::new(HostClock::new(clock, shared.checker.time())),
            ambient: Arc::new(Surroundings::new(rng.clone(), shared.checker.time())),
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
    let (rates, heal_at) = (shared.scenario.store_rates, shared.scenario.setting.heal_at);
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
