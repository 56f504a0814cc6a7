//! The reference worker: runs workloads, and keeps the worker protocol.
//!
//! Owns the process side: handlers, children, the clock, what a restart may know. What to say and
//! when is [`machine`]'s, which does no I/O.

#[cfg(feature = "real")]
mod exec;
#[cfg(feature = "real")]
pub mod guard;
mod handler;
mod hash_tree;
pub mod machine;
mod shell;
mod sleep;
#[cfg(feature = "real")]
mod state_dir;

#[cfg(feature = "real")]
pub use exec::Exec;
pub use handler::{Context, WorkloadHandler};
pub use hash_tree::HashTree;
pub use machine::Outcome;
pub use sleep::Sleep;

use crate::{
    ambient::{Ambient, SystemAmbient},
    broker::{Broker, BrokerError},
    clock::{Clock, SystemClock},
    protocol::Subjects,
};
use machine::Settings;
use niyanta_core::{
    ids::{Incarnation, WorkerId},
    time::Duration,
};
use std::{collections::BTreeMap, ffi::OsString, fmt, io, path::PathBuf, sync::Arc};
use tokio_util::sync::CancellationToken;

/// How to run a worker.
#[derive(Clone)]
pub struct WorkerConfig {
    /// Its id: belongs to one process at a time.
    pub worker: WorkerId,
    /// How many attempts at once, 1 to 1,000.
    pub capacity: u32,
    /// What it can run, besides `exec`.
    pub handlers: Vec<Arc<dyn WorkloadHandler>>,
    /// Labels for affinity rules.
    pub tags: BTreeMap<String, String>,
    /// Of the worker's software.
    pub version: String,
    /// Where words are sent.
    pub subjects: Subjects,
    /// Remembers what a restart may know. Without it nothing is ever replaced: a restarted worker
    /// waits until the lease of its predecessor has ended.
    pub state_dir: Option<PathBuf>,
    /// Runs `exec` as well, each child under this guard command: a program and its first arguments
    /// (`niyanta guard`).
    pub exec_guard: Option<Vec<OsString>>,
    /// How long a stopping worker may take.
    pub shutdown_timeout: Duration,
    /// What it reckons its lease by.
    pub clock: Arc<dyn Clock>,
    /// Where its incarnation and the seed of its jitter come from.
    pub ambient: Arc<dyn Ambient>,
}

impl fmt::Debug for WorkerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types = self.handlers.iter().map(|handler| handler.workload_type());
        f.debug_struct("WorkerConfig")
            .field("worker", &self.worker)
            .field("capacity", &self.capacity)
            .field("types", &types.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl WorkerConfig {
    /// A worker with the built-in types `sleep` and `hash_tree`, and the defaults.
    #[must_use]
    pub fn new(worker: WorkerId) -> Self {
        Self {
            worker,
            capacity: 4,
            handlers: vec![Arc::new(Sleep), Arc::new(HashTree::default())],
            tags: BTreeMap::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            subjects: Subjects::default(),
            state_dir: None,
            exec_guard: None,
            shutdown_timeout: Duration::from_secs(30),
            clock: Arc::new(SystemClock),
            ambient: Arc::new(SystemAmbient),
        }
    }

    /// The guard that is this very program: `niyanta guard`.
    #[cfg(feature = "real")]
    pub fn own_guard() -> io::Result<Vec<OsString>> {
        let program = guard::own_program()?;
        Ok(vec![program.into_os_string(), OsString::from("guard")])
    }
}

/// Why a worker cannot start, or must end.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The broker refuses, for good.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The broker in this process was closed.
    #[error("the broker was closed")]
    BrokerClosed,
    /// The leader refuses the registration.
    #[error("the coordinator refuses this worker: {0}")]
    Refused(String),
    /// A handler's workload type is not one.
    #[error("{0:?} is not a workload type")]
    InvalidType(String),
    /// The state folder cannot be used.
    #[error("the state folder {} cannot be used", path.display())]
    StateDir {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Runs a worker. Returns once it was asked to stop and has stopped (`Ok`), or when it must not go
/// on. The broker stays open: what was handed to it last is sent when its owner closes it.
pub async fn run(
    config: WorkerConfig,
    broker: Arc<dyn Broker>,
    shutdown: CancellationToken,
) -> Result<(), WorkerError> {
    start(config, broker, shutdown).await
}

#[cfg(feature = "real")]
async fn start(
    mut config: WorkerConfig,
    broker: Arc<dyn Broker>,
    shutdown: CancellationToken,
) -> Result<(), WorkerError> {
    let incarnation = new_incarnation(config.ambient.as_ref());
    let opened = match config.state_dir.clone() {
        Some(path) => {
            let opened = state_dir::StateDir::open(path, &config.worker, &incarnation).await?;
            if opened.is_none() {
                tracing::warn!("another process uses the state folder: going on without it");
            }
            opened
        }
        None => None,
    };
    let (state, replaces) = opened.map_or((None, None), |(state, before)| (Some(state), before));
    if let Some(command) = config.exec_guard.clone() {
        let lock = state.as_ref().map(state_dir::StateDir::children_lock);
        config.handlers.push(Arc::new(Exec::new(command, lock)));
    }
    let settings = settings(&config, incarnation, replaces)?;
    let ended = shell::run(config, settings, broker, shutdown).await;
    drop(state);
    ended
}

#[cfg(not(feature = "real"))]
async fn start(
    config: WorkerConfig,
    broker: Arc<dyn Broker>,
    shutdown: CancellationToken,
) -> Result<(), WorkerError> {
    let incarnation = new_incarnation(config.ambient.as_ref());
    let settings = settings(&config, incarnation, None)?;
    shell::run(config, settings, broker, shutdown).await
}

fn settings(
    config: &WorkerConfig,
    incarnation: Incarnation,
    replaces: Option<Incarnation>,
) -> Result<Settings, WorkerError> {
    let kind = |handler: &Arc<dyn WorkloadHandler>| {
        let name = handler.workload_type();
        let invalid = |_| WorkerError::InvalidType(name.to_owned());
        name.parse().map_err(invalid)
    };
    let mut seed = [0; 8];
    config.ambient.fill(&mut seed);
    Ok(Settings {
        worker: config.worker.clone(),
        incarnation,
        capabilities: config.handlers.iter().map(kind).collect::<Result<_, _>>()?,
        capacity: config.capacity,
        tags: config.tags.clone(),
        version: config.version.clone(),
        replaces,
        seed: u64::from_le_bytes(seed),
    })
}

fn new_incarnation(ambient: &dyn Ambient) -> Incarnation {
    let mut bytes = [0; 16];
    ambient.fill(&mut bytes);
    let name = format!("{:032x}", u128::from_le_bytes(bytes));
    name.parse()
        .expect("hexadecimal digits are a valid incarnation")
}
