//! `niyanta serve`: one coordinator, until it is asked to stop.

use super::{asked_to_stop, async_runtime, exit_code, new_incarnation};
use crate::{
    ambient::SystemAmbient,
    broker::{
        Broker,
        embedded::EmbeddedBroker,
        nats::{NatsBroker, NatsConfig},
    },
    clock::SystemClock,
    config::Config,
    metrics,
    node::{self, Node, Ports},
    store, telemetry,
};
use niyanta_core::ids::Incarnation;
use std::{process::ExitCode, sync::Arc};
use tracing::{info, warn};

/// One coordinator.
pub fn serve(config: Config) -> anyhow::Result<ExitCode> {
    telemetry::start(config.log_level, config.log_format);
    allow_connections();
    async_runtime()?.block_on(run(config))
}

/// Raises this process's limit of open files to what it may have: shells commonly give 1,024, which
/// is fewer than the connections that the HTTP server keeps.
pub(super) fn allow_connections() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!(%error, "could not raise the limit of open files");
    }
}

async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let incarnation = new_incarnation()?;
    let store = open_store(&config, &incarnation).await?;
    // Before anything else has something to say.
    node::refuse_unfit_schema(&store).await?;
    let ports = Ports {
        store,
        broker: open_broker(&config).await?,
        clock: Arc::new(SystemClock),
        ambient: Arc::new(SystemAmbient),
        metrics: metrics::install()?,
    };
    let mut node = Node::start(&config, incarnation, rand::random(), ports).await?;
    tokio::select! {
        biased;
        asked = asked_to_stop() => asked?,
        ended = node.ended() => {
            ended?;
            anyhow::bail!("the coordinator ended by itself");
        }
    }
    info!("stopping");
    Ok(exit_code(node.shutdown(config.shutdown_timeout).await))
}

/// The store that the configuration names. It need not answer yet.
pub(super) async fn open_store(
    config: &Config,
    incarnation: &Incarnation,
) -> anyhow::Result<Arc<dyn store::Store>> {
    let options = store::Options {
        pool_size: config.database_pool_size,
        ..store::Options::new(incarnation.clone())
    };
    Ok(store::open(config.database_url.expose(), &options).await?)
}

/// The broker that the configuration names. It need not answer yet.
pub(super) async fn open_broker(config: &Config) -> anyhow::Result<Arc<dyn Broker>> {
    if config.uses_embedded_broker() {
        return Ok(Arc::new(EmbeddedBroker::default()));
    }
    let nats = NatsConfig {
        url: config.nats_url.expose().to_owned(),
        credentials: config.nats_credentials.clone(),
        name: config.coordinator_id.clone(),
    };
    let broker = NatsBroker::connect(&nats).await?;
    Ok(Arc::new(broker))
}
