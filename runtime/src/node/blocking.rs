//! A node for a program that has no async runtime of its own.

use super::{EndError, Node, Ports, Shutdown, StartError};
use crate::{config::Config, driver::Leadership, status::NodeStatus, store::BoxError};
use niyanta_core::ids::Incarnation;
use std::{future::Future, io, net::SocketAddr, time::Duration};
use tokio::{
    runtime::{Builder, Runtime},
    sync::watch,
    time::Instant,
};

/// A [`Node`] with a runtime of its own. Not to be used from within another one: it blocks.
///
/// Dropped without [`Self::shutdown`], it ends like a killed process: its lease runs out.
pub struct BlockingNode {
    runtime: Runtime,
    node: Node,
}

/// Why a [`BlockingNode`] did not start.
#[derive(Debug, thiserror::Error)]
pub enum BlockingStartError {
    /// The runtime could not be started.
    #[error("could not start the runtime")]
    Runtime(#[source] io::Error),
    /// The ports could not be opened.
    #[error("could not open the ports")]
    Ports(#[source] BoxError),
    /// The node did not start.
    #[error(transparent)]
    Node(#[from] StartError),
}

impl BlockingNode {
    /// [`Node::start`], on a new runtime, on which the ports are opened too.
    ///
    /// # Errors
    /// When runtime, ports or node cannot be started.
    pub fn start(
        config: &Config,
        incarnation: Incarnation,
        seed: u64,
        ports: impl Future<Output = Result<Ports, BoxError>>,
    ) -> Result<Self, BlockingStartError> {
        let runtime = Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(BlockingStartError::Runtime)?;
        let node = runtime.block_on(async {
            let ports = ports.await.map_err(BlockingStartError::Ports)?;
            Ok::<_, BlockingStartError>(Node::start(config, incarnation, seed, ports).await?)
        })?;
        Ok(Self { runtime, node })
    }

    /// Where the HTTP server listens, with the port that was taken.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.node.address()
    }

    /// Who leads, now and as it changes.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.node.leadership()
    }

    /// What `/ready` tells, now and as it changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<NodeStatus> {
        self.node.status()
    }

    /// Waits on the node's runtime: for a change of a watch, for instance.
    pub fn wait<F: Future>(&self, what: F) -> F::Output {
        self.runtime.block_on(what)
    }

    /// Waits until the node ends by itself, which it does only when it must not go on.
    ///
    /// # Errors
    /// Why it ended.
    pub fn ended(&mut self) -> Result<(), EndError> {
        self.runtime.block_on(self.node.ended())
    }

    /// [`Node::shutdown`]; what still runs at the deadline is cut off.
    pub fn shutdown(self, within: Duration) -> Shutdown {
        let deadline = Instant::now() + within;
        let ended = self.runtime.block_on(self.node.shutdown(within));
        let left = deadline.saturating_duration_since(Instant::now());
        self.runtime.shutdown_timeout(left);
        ended
    }
}
