//! `niyanta worker`, the worker inside `dev`, and the guard of what they run.

use super::{asked_to_stop, async_runtime};
use crate::{
    broker::{
        Broker,
        nats::{NatsBroker, NatsConfig},
    },
    cli::WorkerArgs,
    config::LogFormat,
    error_chain::chain,
    protocol::Subjects,
    telemetry,
    worker::{self, HashTree, Sleep, WorkerConfig, WorkerError},
};
use anyhow::Context;
use niyanta_core::ids::WorkerId;
use std::{
    ffi::OsString, io::IsTerminal, path::PathBuf, process::ExitCode, sync::Arc, time::Duration,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// The id of the worker inside `dev`.
const BUILT_IN_ID: &str = "dev";

/// How many workloads it runs at once.
const BUILT_IN_CAPACITY: u32 = 4;

/// The reference worker.
pub fn worker(args: WorkerArgs) -> anyhow::Result<ExitCode> {
    let by_terminal = if std::io::stderr().is_terminal() {
        LogFormat::Text
    } else {
        LogFormat::Json
    };
    telemetry::start(args.log_level, args.log_format.unwrap_or(by_terminal));
    async_runtime()?.block_on(run(args))
}

/// The small process that stands between the worker and a process it runs.
pub fn guard(args: Vec<OsString>) -> anyhow::Result<ExitCode> {
    Ok(worker::guard::run(args))
}

async fn run(args: WorkerArgs) -> anyhow::Result<ExitCode> {
    let config = configure(&args)?;
    let nats = NatsConfig {
        url: args.nats_url.expose().to_owned(),
        credentials: args.nats_credentials.clone(),
        name: config.worker.to_string(),
    };
    let broker: Arc<dyn Broker> = Arc::new(NatsBroker::connect(&nats).await?);
    let stop = CancellationToken::new();
    info!(worker = %config.worker, capacity = config.capacity, "starting");
    let mut running = tokio::spawn(worker::run(config, Arc::clone(&broker), stop.clone()));
    let ended = tokio::select! {
        biased;
        asked = asked_to_stop() => {
            asked?;
            info!("stopping");
            stop.cancel();
            (&mut running).await
        }
        ended = &mut running => ended,
    };
    ended??;
    broker.close().await;
    Ok(ExitCode::SUCCESS)
}

fn configure(args: &WorkerArgs) -> anyhow::Result<WorkerConfig> {
    let worker = match (&args.id, &args.state_dir) {
        (Some(id), _) => id.clone(),
        (None, Some(folder)) => remembered_id(folder)?,
        (None, None) => new_id()?,
    };
    let state_dir = match (&args.state_dir, &args.id) {
        (Some(folder), _) => Some(folder.clone()),
        (None, Some(id)) => {
            crate::config::default_data_dir().map(|folder| folder.join("workers").join(id.as_str()))
        }
        (None, None) => None,
    };
    let mut config = WorkerConfig::new(worker);
    if let Some(rate) = args.hash_tree_rate {
        config.handlers = vec![Arc::new(Sleep), Arc::new(HashTree::limited(rate))];
    }
    config.capacity = args.capacity;
    config.tags = args.tags();
    config.subjects = Subjects::new(&args.subject_prefix)?;
    config.state_dir = state_dir;
    config.shutdown_timeout = args.shutdown_timeout;
    choose_types(&mut config, args)?;
    Ok(config)
}

/// Keeps the types that were asked for; without any, those that run nothing foreign.
fn choose_types(config: &mut WorkerConfig, args: &WorkerArgs) -> anyhow::Result<()> {
    if args.types.is_empty() {
        return Ok(());
    }
    let wanted = |name: &str| args.types.iter().any(|wanted| wanted.as_str() == name);
    for name in &args.types {
        let known = name.as_str() == "exec"
            || config
                .handlers
                .iter()
                .any(|handler| handler.workload_type() == name.as_str());
        anyhow::ensure!(
            known,
            "--type {name}: this worker runs sleep, hash_tree and exec (more through the library)"
        );
    }
    config
        .handlers
        .retain(|handler| wanted(handler.workload_type()));
    if wanted("exec") {
        config.exec_guard = Some(WorkerConfig::own_guard()?);
    }
    Ok(())
}

/// The id that the folder remembers, or a new one that it will.
fn remembered_id(folder: &std::path::Path) -> anyhow::Result<WorkerId> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("state folder {}", folder.display()))?;
    let path = folder.join("id");
    if path.exists() {
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        return text
            .trim()
            .parse()
            .with_context(|| path.display().to_string());
    }
    let id = new_id()?;
    std::fs::write(&path, id.as_str()).with_context(|| path.display().to_string())?;
    Ok(id)
}

/// Host name and a random suffix, as far as the host name fits.
fn new_id() -> anyhow::Result<WorkerId> {
    let host = rustix::system::uname();
    let host: String = host
        .nodename()
        .to_string_lossy()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        .take(48)
        .collect();
    let suffix: u32 = rand::random();
    Ok(format!("{host}-{suffix:08x}").parse()?)
}

/// The worker inside `dev`, until it is stopped.
pub(super) struct BuiltIn {
    stop: CancellationToken,
    running: JoinHandle<Result<(), WorkerError>>,
}

impl BuiltIn {
    /// Lets it finish or checkpoint what it runs, and waits for it.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        match self.running.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => error!(error = %chain(&error), "the built-in worker ended badly"),
            Err(error) => error!(%error, "the built-in worker was lost"),
        }
    }
}

/// Starts a worker with every built-in type in this process.
pub(super) fn start_built_in(
    state_dir: PathBuf,
    broker: Arc<dyn Broker>,
    shutdown_timeout: Duration,
) -> anyhow::Result<BuiltIn> {
    let mut config = WorkerConfig::new(BUILT_IN_ID.parse()?);
    config.capacity = BUILT_IN_CAPACITY;
    config.state_dir = Some(state_dir);
    config.exec_guard = Some(WorkerConfig::own_guard()?);
    // Half of the whole: the coordinator needs the rest.
    config.shutdown_timeout = shutdown_timeout / 2;
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker::run(config, broker, stop.clone()));
    Ok(BuiltIn { stop, running })
}
