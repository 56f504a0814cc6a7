//! What the server-side commands of the `niyanta` binary call.
//!
//! Owns the way from a checked configuration to the parts that do the work. Each function blocks
//! until its command is over, builds the runtime it needs, and returns the exit status; an error is
//! printed by the command line as one line.

mod database;
mod dev;
mod serve;
mod worker;

pub use database::{create_admin_key, migrate};
pub use dev::dev;
pub use serve::serve;
pub use worker::{guard, worker};

use niyanta_core::ids::Incarnation;
use std::{io, process::ExitCode};
use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;

/// Past `shutdown_timeout`, as the contract has it.
const FORCED: u8 = 1;

/// A new identity for this start of this process: random, never a host name.
fn new_incarnation() -> anyhow::Result<Incarnation> {
    Ok(Uuid::new_v4().simple().to_string().parse()?)
}

fn async_runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}

/// Resolves at the first SIGINT or SIGTERM.
async fn asked_to_stop() -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn exit_code(shutdown: crate::node::Shutdown) -> ExitCode {
    match shutdown {
        crate::node::Shutdown::Graceful => ExitCode::SUCCESS,
        crate::node::Shutdown::Forced => ExitCode::from(FORCED),
    }
}
