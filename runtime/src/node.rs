//! One coordinator: the driver, the HTTP server and what watches both, started and stopped in order.
//!
//! This is the library's face. A program that embeds a coordinator injects its own [`Ports`], starts
//! a [`Node`], watches who leads, asks for its health and its bound address, and shuts it down with
//! a deadline. The `niyanta` binary does nothing else.
//!
//! [`Node`] is for programs that run tokio, [`BlockingNode`] for those that do not:
//!
//! ```
//! # #[cfg(feature = "real")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use runtime::{
//!     ambient::SystemAmbient,
//!     broker::embedded::EmbeddedBroker,
//!     clock::SystemClock,
//!     config::{Config, Profile, Sources},
//!     metrics,
//!     node::{BlockingNode, Ports, Shutdown},
//!     status::Dependency,
//!     store,
//! };
//! use std::{sync::Arc, time::Duration};
//!
//! let scratch = tempfile::tempdir()?;
//! let config = Config::load(
//!     Profile::Dev { data_dir: scratch.path() },
//!     &Sources {
//!         file: None,
//!         environment: &|_| None,
//!         flags: &[("server_port", "0".to_owned())],
//!         is_terminal: false,
//!     },
//! )?;
//! let incarnation: niyanta_core::ids::Incarnation = "one-per-start".parse()?;
//!
//! // The ports: any Store and any Broker will do.
//! let ports = async {
//!     let url = config.database_url.expose();
//!     store::migrate(url, false).await?;
//!     Ok::<_, store::BoxError>(Ports {
//!         store: store::open(url, &store::Options::new(incarnation.clone())).await?,
//!         broker: Arc::new(EmbeddedBroker::default()),
//!         clock: Arc::new(SystemClock),
//!         ambient: Arc::new(SystemAmbient),
//!         metrics: metrics::install()?,
//!     })
//! };
//! let node = BlockingNode::start(&config, incarnation.clone(), 7, ports)?;
//! assert_ne!(node.address().port(), 0, "the port that was taken");
//!
//! let mut leadership = node.leadership();
//! node.wait(leadership.wait_for(|now| now.is_leader))?;
//! let mut health = node.status();
//! node.wait(health.wait_for(|now| now.database == Dependency::Connected))?;
//!
//! assert_eq!(node.shutdown(Duration::from_secs(30)), Shutdown::Graceful);
//! assert!(!leadership.borrow().is_leader, "it resigned");
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "real"))]
//! # fn main() {}
//! ```

#[cfg(feature = "real")]
mod blocking;
mod ending;
mod monitor;
mod retention;

#[cfg(feature = "real")]
pub use blocking::{BlockingNode, BlockingStartError};

use crate::{
    ambient::Ambient,
    broker::{Broker, BrokerError},
    clock::Clock,
    config::Config,
    driver::{self, DriverHandle, DriverHints, DriverPorts, Identity, Leadership},
    error_chain::chain,
    http,
    protocol::{InvalidPrefix, Subjects},
    status::NodeStatus,
    store::{CoordinatorRecord, CountedStore, SchemaError, Store},
};
use axum::{
    Router,
    serve::{Listener, ListenerExt as _},
};
use metrics_exporter_prometheus::PrometheusHandle;
use niyanta_core::{ExitReason, ids::Incarnation};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// A first look at the schema takes at most this long; then the node starts without the database.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// Between two looks for a database that is away.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What a node reaches the world through.
#[derive(Clone)]
pub struct Ports {
    /// The truth.
    pub store: Arc<dyn Store>,
    /// Hints and conversations.
    pub broker: Arc<dyn Broker>,
    /// `now`.
    pub clock: Arc<dyn Clock>,
    /// New ids and secrets.
    pub ambient: Arc<dyn Ambient>,
    /// Renders what was counted.
    pub metrics: PrometheusHandle,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}; set server_port or bind_address to a free one (0 takes any free port)"
    )]
    Bind {
        /// Which address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The schema is not this program's.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The broker cannot carry the worker protocol.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// `subject_prefix` makes no subject.
    #[error(transparent)]
    Prefix(#[from] InvalidPrefix),
}

/// Why a node ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// Core ended it.
    #[error(
        "another coordinator leads this database: set enable_ha to true on all of them, or run only one"
    )]
    Fenced,
    /// It found the schema unfit when the database came back.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A subscription was refused for good.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// How a shutdown went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Resigned, answered what was in flight, stopped.
    Graceful,
    /// The deadline came first; what was in flight has an unknown outcome.
    Forced,
}

/// A running coordinator.
pub struct Node {
    address: SocketAddr,
    status: Arc<watch::Sender<NodeStatus>>,
    leadership: watch::Receiver<Leadership>,
    stop_driver: watch::Sender<bool>,
    stop_accepting: CancellationToken,
    api: http::ApiState,
    driver: JoinHandle<Result<(), EndError>>,
    server: JoinHandle<http::server::Ended>,
    /// What goes on beside the driver until the shutdown: the monitor and the retention.
    beside: JoinSet<()>,
    store: Arc<dyn Store>,
    broker: Arc<dyn Broker>,
    incarnation: Incarnation,
    drain_period: Duration,
}

impl Node {
    /// Binds, looks at the schema, and starts everything. A database or broker that is away is not
    /// an error: the node says so, is not ready, and goes on when it is there.
    ///
    /// # Errors
    /// When the address is taken, the schema is not this program's, or the broker cannot carry the
    /// protocol.
    pub async fn start(
        config: &Config,
        incarnation: Incarnation,
        seed: u64,
        ports: Ports,
    ) -> Result<Self, StartError> {
        let wanted = SocketAddr::new(config.bind_address, config.server_port);
        let bind_error = |source| StartError::Bind {
            address: wanted,
            source,
        };
        let listener = TcpListener::bind(wanted).await.map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;
        let listener = listener.tap_io(without_delay);
        Self::start_on(listener, address, config, incarnation, seed, ports).await
    }

    /// The same on a listener of the caller's, which is at `address`: anything that gives streams of
    /// bytes, also none at all, for a program that serves [`Self::router`] itself.
    ///
    /// # Errors
    /// When the schema is not this program's, or the broker cannot carry the protocol.
    #[expect(
        clippy::too_many_lines,
        reason = "the parts are started once, in a row"
    )]
    pub async fn start_on<L: Listener>(
        listener: L,
        address: SocketAddr,
        config: &Config,
        incarnation: Incarnation,
        seed: u64,
        ports: Ports,
    ) -> Result<Self, StartError> {
        let ports = Ports {
            store: Arc::new(CountedStore::new(ports.store)),
            ..ports
        };
        let known = look_at_schema(&ports.store).await?;

        let identity = Identity {
            coordinator_id: config.coordinator_id.clone(),
            incarnation,
        };
        let (status, status_seen) = watch::channel(NodeStatus::starting(Instant::now()));
        let status = Arc::new(status);
        let (stop_driver, stop_driver_seen) = watch::channel(false);
        let (leadership, leadership_seen) = watch::channel(Leadership::default());
        let subjects = Subjects::new(&config.subject_prefix)?;
        let hints = DriverHints::new(Arc::default());
        let mut api = http::ApiState::new(
            Arc::clone(&ports.store),
            Arc::new(hints.clone()),
            status_seen,
            ports.metrics.clone(),
            Arc::clone(&ports.ambient),
        );
        api.changes = hints.changes();
        let stop_accepting = CancellationToken::new();
        let limits = http::server::Limits {
            shutdown: config.shutdown_timeout,
            ..http::server::Limits::default()
        };
        let server = tokio::spawn(http::server::serve(
            listener,
            http::router(api.clone()),
            limits,
            stop_accepting.clone(),
        ));
        let mut beside = JoinSet::new();
        beside.spawn(monitor::watch(monitor::Watched {
            ports: ports.clone(),
            status: Arc::clone(&status),
            leadership: leadership_seen.clone(),
            record: CoordinatorRecord {
                coordinator_id: identity.coordinator_id.clone(),
                incarnation: identity.incarnation.clone(),
                address: address.to_string(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            known,
        }));
        beside.spawn(retention::run(
            Arc::clone(&ports.store),
            retention::Retention::new(config),
            leadership_seen.clone(),
        ));
        let driver = tokio::spawn(drive(Drive {
            core: config.to_core(identity.incarnation.clone(), seed),
            identity: identity.clone(),
            ports: ports.clone(),
            subjects,
            hints,
            api: api.clone(),
            status: Arc::clone(&status),
            stop: stop_driver_seen,
            leadership,
            known,
        }));
        info!(%address, coordinator_id = identity.coordinator_id, incarnation = %identity.incarnation, "listening");
        Ok(Self {
            address,
            status,
            leadership: leadership_seen,
            stop_driver,
            stop_accepting,
            api,
            driver,
            server,
            beside,
            store: ports.store,
            broker: ports.broker,
            incarnation: identity.incarnation,
            drain_period: config.drain_period,
        })
    }

    /// Where the HTTP server listens, with the port that was taken.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The HTTP API as a service, without a connection around it.
    pub fn router(&self) -> Router {
        http::router(self.api.clone())
    }

    /// Who leads, as it changes.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// What `/ready` tells, as it changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<NodeStatus> {
        self.status.subscribe()
    }

    /// Waits until the node ends by itself, which it does only when it must not go on.
    ///
    /// # Errors
    /// Why it ended. Cancel-safe: asked again, it goes on waiting.
    pub async fn ended(&mut self) -> Result<(), EndError> {
        ending::first_end(&mut self.driver, &mut self.server, &mut self.beside).await
    }

    /// Fails readiness and resigns, answers long-polls and ends streams, waits the drain period,
    /// stops accepting, finishes the mutations in flight, closes.
    pub async fn shutdown(mut self, within: Duration) -> Shutdown {
        let deadline = Instant::now() + within;
        self.status.send_modify(|status| status.stopping = true);
        self.stop_driver.send_replace(true);
        let resigned =
            self.driver.is_finished() || timeout_at(deadline, &mut self.driver).await.is_ok();
        let drained = timeout_at(deadline, sleep(self.drain_period)).await.is_ok();
        self.stop_accepting.cancel();
        let served = matches!(
            timeout_at(deadline, &mut self.server).await,
            Ok(Ok(http::server::Ended::Gracefully))
        );
        self.api.mutations.close();
        let finished = timeout_at(deadline, self.api.mutations.wait())
            .await
            .is_ok();
        // Each statement of the retention is whole or nothing.
        self.beside.abort_all();
        let forgotten =
            timeout_at(deadline, self.store.remove_coordinator(&self.incarnation)).await;
        if !matches!(forgotten, Ok(Ok(()))) {
            warn!("could not leave the list of coordinators; the entry ages out");
        }
        let closed = timeout_at(deadline, self.broker.close()).await.is_ok();
        if resigned && drained && served && finished && closed {
            info!("stopped");
            Shutdown::Graceful
        } else {
            self.server.abort();
            self.driver.abort();
            error!(
                resigned,
                drained,
                served,
                finished,
                closed,
                "shutdown_timeout came first; what was in flight is cut off"
            );
            Shutdown::Forced
        }
    }
}

/// Fails when the database says that its schema is not this program's; one that is away, or slow, is
/// looked at again by the node.
#[cfg(feature = "real")]
pub(crate) async fn refuse_unfit_schema(store: &Arc<dyn Store>) -> Result<(), SchemaError> {
    match timeout(FIRST_LOOK, store.check_schema()).await {
        Ok(Ok(()) | Err(SchemaError::Store(_))) | Err(_) => Ok(()),
        Ok(Err(unfit)) => Err(unfit),
    }
}

/// True when the schema is right, false when the database is away.
async fn look_at_schema(store: &Arc<dyn Store>) -> Result<bool, SchemaError> {
    match timeout(FIRST_LOOK, store.check_schema()).await {
        Ok(Ok(())) => Ok(true),
        Ok(Err(SchemaError::Store(error))) => {
            warn!(error = %chain(&error), "the database is away; starting without it");
            Ok(false)
        }
        Ok(Err(unfit)) => Err(unfit),
        Err(_) => {
            warn!("the database does not answer; starting without it");
            Ok(false)
        }
    }
}

/// Answers are small and awaited: they are not held back to be sent together.
fn without_delay(stream: &mut TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        warn!(%error, "could not set TCP_NODELAY");
    }
}

struct Drive {
    core: niyanta_core::Config,
    identity: Identity,
    ports: Ports,
    subjects: Subjects,
    hints: DriverHints,
    api: http::ApiState,
    status: Arc<watch::Sender<NodeStatus>>,
    stop: watch::Receiver<bool>,
    leadership: watch::Sender<Leadership>,
    known: bool,
}

/// Waits for a database with the right schema, then drives until it is told to stop.
async fn drive(drive: Drive) -> Result<(), EndError> {
    let Drive {
        core,
        identity,
        ports,
        subjects,
        hints,
        api,
        status,
        mut stop,
        leadership,
        known,
    } = drive;
    let mut known = known;
    while !known {
        if *stop.borrow() {
            return Ok(());
        }
        sleep(LOOK_AGAIN).await;
        known = look_at_schema(&ports.store).await?;
    }
    status.send_modify(|status| status.schema_known = true);
    let ports = DriverPorts {
        store: ports.store,
        broker: ports.broker,
        clock: ports.clock,
        ambient: ports.ambient,
        subjects,
        hints,
        on_key_revoked: Box::new(move |key| api.invalidate_key(key)),
    };
    let mut driver: DriverHandle = driver::start(core, identity, ports).await?;
    let mut follows = driver.leadership();
    loop {
        tokio::select! {
            biased;
            exit = driver.finished() => {
                leadership.send_replace(follows.borrow_and_update().clone());
                return match exit {
                    Some(ExitReason::FencedWithoutHa) => Err(EndError::Fenced),
                    None => Ok(()),
                };
            }
            Ok(()) = follows.changed() => {
                leadership.send_replace(follows.borrow_and_update().clone());
            }
            Ok(()) = stop.changed() => driver.resign(),
        }
    }
}
