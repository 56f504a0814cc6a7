//! What the server-side commands of the `niyanta` binary call.
//!
//! Owns nothing but the way from the parsed command line to the parts that do the work. Each
//! function blocks until its command is over, builds the runtime it needs, and returns the exit
//! status; an error is printed by the command line as one line.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use crate::{cli::WorkerArgs, config::Config};

/// Everything in one process. `data_dir` is the folder that keeps state and gets `dev.json`.
pub fn dev(_config: Config, _data_dir: PathBuf) -> anyhow::Result<ExitCode> {
    Err(not_built("dev"))
}

/// One coordinator.
pub fn serve(_config: Config) -> anyhow::Result<ExitCode> {
    Err(not_built("serve"))
}

/// The reference worker.
pub fn worker(_args: WorkerArgs) -> anyhow::Result<ExitCode> {
    Err(not_built("worker"))
}

/// Brings the database to this version.
pub fn migrate(_config: Config) -> anyhow::Result<ExitCode> {
    Err(not_built("migrate"))
}

/// The small process that stands between the worker and a process it runs.
pub fn guard(_args: Vec<OsString>) -> anyhow::Result<ExitCode> {
    Err(not_built("guard"))
}

/// Makes an admin key directly in the database and returns its secret.
pub fn create_admin_key(_database_url: &str, _name: &str) -> anyhow::Result<String> {
    Err(not_built("keys create --admin"))
}

fn not_built(command: &str) -> anyhow::Error {
    anyhow::anyhow!("{command} is not built into this binary")
}
