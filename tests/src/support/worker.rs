//! `niyanta worker` as a process.

use std::path::PathBuf;

use super::binary::niyanta_command;
use super::process::Process;

/// What one reference worker is started with.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// `--id`.
    pub id: String,
    /// Where its log goes.
    pub log: PathBuf,
    /// `--nats-url`.
    pub nats_url: String,
    /// `--capacity`.
    pub capacity: u32,
    /// `--type`, repeated; none means the worker's own default.
    pub types: Vec<String>,
    /// `--tag`, repeated.
    pub tags: Vec<String>,
    /// `--hash-tree-rate`, bytes in a second.
    pub hash_tree_rate: Option<u64>,
    /// `--state-dir`.
    pub state_dir: PathBuf,
    /// More environment.
    pub env: Vec<(&'static str, String)>,
}

/// One worker process.
#[derive(Debug)]
pub struct Worker {
    options: WorkerOptions,
    /// The process, for signals and logs.
    pub process: Process,
}

impl Worker {
    /// Starts it. It registers by itself, and keeps trying.
    #[must_use]
    pub fn spawn(options: WorkerOptions) -> Self {
        let process = launch(&options);
        Self { options, process }
    }

    /// Starts it again with the same id and state folder: a new incarnation.
    pub fn start_again(&mut self) {
        self.process = launch(&self.options);
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.options.id
    }

    /// What it was started with.
    #[must_use]
    pub const fn options(&self) -> &WorkerOptions {
        &self.options
    }
}

fn launch(options: &WorkerOptions) -> Process {
    let mut command = niyanta_command();
    command
        .args([
            "worker",
            "--nats-url",
            &options.nats_url,
            "--id",
            &options.id,
        ])
        .args(["--capacity", &options.capacity.to_string()])
        .arg("--state-dir")
        .arg(&options.state_dir)
        .env("LOG_FORMAT", "text")
        .envs(options.env.iter().map(|(name, value)| (name, value)));
    if let Some(rate) = options.hash_tree_rate {
        command.args(["--hash-tree-rate", &rate.to_string()]);
    }
    for workload_type in &options.types {
        command.args(["--type", workload_type]);
    }
    for tag in &options.tags {
        command.args(["--tag", tag]);
    }
    Process::start(&options.id, &mut command, &options.log)
}
