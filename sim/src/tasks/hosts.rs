//! The nodes: what runs on each, from the start of its process.

use super::{
    api::Routers,
    broker::{CoordinatorBroker, Pace, address},
    desk::{Crossing, Desk},
    scenario::Scenario,
};
use crate::{
    decision::Rng,
    message::Address,
    parties::{HostClock, STOP_WITHIN, SimHandler, Surroundings, TYPES, worker},
    ports::{Checker, FarStore, Hub},
};
use axum::serve::Listener;
use metrics_exporter_prometheus::PrometheusHandle;
use niyanta_core::{ids::Incarnation, time::Duration};
use runtime::{
    node::{Node, Ports},
    worker::{WorkerConfig, WorkloadHandler},
};
use std::{
    error::Error,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{io::DuplexStream, sync::watch};
use tokio_util::sync::CancellationToken;

/// What all nodes share: it outlives their processes.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) scenario: Arc<Scenario>,
    pub(super) checker: Checker,
    pub(super) desk: Arc<Desk>,
    pub(super) hub: Hub,
    pub(super) pace: Pace,
    pub(super) routers: Routers,
    pub(super) metrics: PrometheusHandle,
    /// Counts the starts of processes, so that each has entropy and a name of its own.
    pub(super) starts: Arc<AtomicU64>,
}

impl Shared {
    /// The stream of the next start of a process.
    fn next_start(&self, label: &str) -> (u64, Rng) {
        let start = self.starts.fetch_add(1, Ordering::Relaxed);
        (start, self.scenario.setting.stream(label, start))
    }
}

/// A coordinator, from the start of its process until it is asked to stop or must end.
pub(super) async fn run_coordinator(
    shared: Shared,
    place: usize,
    mut stop: watch::Receiver<u64>,
) -> Result<(), Box<dyn Error>> {
    stop.mark_unchanged();
    let (start, mut rng) = shared.next_start("coordinator");
    let incarnation: Incarnation = format!("c{place}.{start}").parse()?;
    let setting = &shared.scenario.setting;
    shared.checker.coordinator_starts(place, &incarnation);
    let time = shared.checker.time();
    let seed = rng.bits();
    let ports = Ports {
        store: Arc::new(FarStore(Crossing {
            desk: Arc::clone(&shared.desk),
            place,
        })),
        broker: Arc::new(CoordinatorBroker {
            inner: shared.hub.connect(address(place)),
            place,
            pace: shared.pace.clone(),
            checker: shared.checker.clone(),
        }),
        clock: Arc::new(HostClock::new(setting.clocks[place], time.clone())),
        ambient: Arc::new(Surroundings::new(rng, time)),
        metrics: shared.metrics.clone(),
    };
    let config = setting.config(place);
    let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), config.server_port);
    let mut node = Node::start_on(Nobody, nowhere, &config, incarnation, seed, ports).await?;
    shared.routers.set(place, Some(node.router()));
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

/// A worker's node: a process, and another one when it ends.
pub(super) async fn run_worker(shared: Shared, place: usize) -> Result<(), Box<dyn Error>> {
    loop {
        let (_, rng) = shared.next_start("worker");
        let clock = shared.scenario.setting.worker_clock(place);
        let handler = |workload_type| -> Arc<dyn WorkloadHandler> {
            Arc::new(SimHandler {
                workload_type,
                checker: shared.checker.clone(),
                place,
                clock,
            })
        };
        let time = shared.checker.time();
        let config = WorkerConfig {
            capacity: 3,
            handlers: TYPES.map(handler).to_vec(),
            clock: Arc::new(HostClock::new(clock, time.clone())),
            ambient: Arc::new(Surroundings::new(rng, time)),
            shutdown_timeout: STOP_WITHIN,
            ..WorkerConfig::new(worker(place).parse()?)
        };
        shared.checker.worker_started(place, &config.worker, clock);
        let broker = shared.hub.connect(Address::Worker(place));
        let ended = runtime::worker::run(config, Arc::new(broker), CancellationToken::new()).await;
        shared.checker.worker_gone(place);
        let words = format!("w{place} ends: {ended:?}");
        shared.checker.tell("worker", &words);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// A listener that nobody connects to: calls reach the router by themselves.
struct Nobody;

impl Listener for Nobody {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> (DuplexStream, ()) {
        std::future::pending().await
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}
