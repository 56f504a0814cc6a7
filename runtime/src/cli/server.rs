//! The commands that run something, as far as the command line goes: their arguments, checked and
//! typed. What they do is in [`crate::commands`].

use std::{
    collections::BTreeMap, ffi::OsString, num::NonZeroU64, path::PathBuf, process::ExitCode,
    time::Duration,
};

use clap::Args;
use niyanta_core::ids::{WorkerId, WorkloadType};

use super::{
    config_flags::ConfigFlags,
    failure::{Failure, Outcome},
    parse,
};
use crate::{
    commands,
    config::{LogFormat, LogLevel, Profile, SecretUrl, default_data_dir},
};

/// Everything in one process.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  niyanta dev
  niyanta dev --data-dir ./state --server-port 0

Once it is ready, clients of this user find it without being told (DIR/dev.json holds server,
api_key and admin_key; with another --data-dir, pass them yourself).")]
pub(super) struct DevArgs {
    /// Keeps state here [default: the user's data folder]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Once ready, hashes all files below this folder before your eyes, and logs only warnings
    #[arg(long, value_name = "FOLDER")]
    demo: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFlags,
}

/// One coordinator.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  niyanta serve --config /etc/niyanta.yaml
  DATABASE_URL=postgres://niyanta@db/niyanta NATS_URL=nats://broker:4222 niyanta serve
  niyanta serve --config niyanta.yaml --enable-ha --server-port 8081

Run `niyanta migrate` first: serve does not change the schema.")]
pub(super) struct ServeArgs {
    #[command(flatten)]
    config: ConfigFlags,
}

/// The schema of the database.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  DATABASE_URL=postgres://niyanta@db/niyanta niyanta migrate
  niyanta migrate --database-url sqlite:///var/lib/niyanta.db

Safe to run twice and from two places. Only database_url is needed; it takes the same
configuration as serve.")]
pub(super) struct MigrateArgs {
    /// Also make lease and fence rows again that somebody deleted
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    config: ConfigFlags,
}

/// Whatever the worker hands to its guard.
#[derive(Debug, Args)]
pub(super) struct GuardArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) rest: Vec<OsString>,
}

/// The arguments of the reference worker.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  niyanta worker --nats-url nats://broker:4222 --id w1 --capacity 4
  niyanta worker --nats-url nats://broker:4222 --type hash_tree --type exec --tag zone=a
  niyanta worker --nats-url nats://broker:4222 --hash-tree-rate 50000000

exec runs any program that the customer's workloads name: ask for it only where that is wanted.")]
pub struct WorkerArgs {
    /// The broker: nats://HOST:PORT or tls://HOST:PORT
    #[arg(long, env = "NATS_URL", value_name = "URL", hide_env_values = true)]
    #[arg(value_parser = parse::broker_url)]
    pub nats_url: SecretUrl,
    /// A NATS credentials file
    #[arg(long, env = "NATS_CREDENTIALS", value_name = "FILE")]
    pub nats_credentials: Option<PathBuf>,
    /// Stands before every NATS subject, as in the coordinators' configuration
    #[arg(
        long,
        env = "SUBJECT_PREFIX",
        value_name = "PREFIX",
        default_value = ""
    )]
    #[arg(hide_default_value = true)]
    pub subject_prefix: String,
    /// The worker's id; belongs to one process at a time [default: host name and a random suffix,
    /// kept in the state folder]
    #[arg(long, value_name = "ID")]
    pub id: Option<WorkerId>,
    /// How many workloads run at once
    #[arg(long, value_name = "SLOTS", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub capacity: u32,
    /// A workload type to run; repeat for more [default: sleep, hash_tree]
    #[arg(long = "type", value_name = "TYPE")]
    pub types: Vec<WorkloadType>,
    /// A tag for affinity rules; repeat for more
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = parse::pair)]
    pub tags: Vec<(String, String)>,
    /// The most that hash_tree reads, all its workloads together [default: as fast as it can]
    #[arg(long, env = "HASH_TREE_RATE", value_name = "BYTES_PER_SECOND")]
    pub hash_tree_rate: Option<NonZeroU64>,
    /// Keeps what must survive a restart [default: a folder of this id in the user's data folder]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// How long a stopping worker may finish or checkpoint
    #[arg(
        long,
        env = "SHUTDOWN_TIMEOUT",
        value_name = "DURATION",
        default_value = "30s"
    )]
    #[arg(value_parser = parse::duration)]
    pub shutdown_timeout: Duration,
    /// The least severe level that is logged: error, warn, info, debug or trace
    #[arg(long, env = "LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    #[arg(value_parser = parse::log_level)]
    pub log_level: LogLevel,
    /// text or json [default: text on a terminal, json elsewhere]
    #[arg(long, env = "LOG_FORMAT", value_name = "FORMAT", value_parser = parse::log_format)]
    pub log_format: Option<LogFormat>,
}

impl WorkerArgs {
    /// The tags by name; of a name given twice the last counts.
    #[must_use]
    pub fn tags(&self) -> BTreeMap<String, String> {
        self.tags.iter().cloned().collect()
    }
}

pub(super) fn dev(args: DevArgs) -> Outcome {
    let data_dir = args.data_dir.or_else(default_data_dir).ok_or_else(|| {
        Failure::usage("no data folder: this user has no home folder; set --data-dir DIR")
    })?;
    let data_dir = std::path::absolute(&data_dir)
        .map_err(|error| Failure::failed(format!("{}: {error}", data_dir.display())))?;
    let config = args.config.load(Profile::Dev {
        data_dir: &data_dir,
    })?;
    finish(commands::dev(config, data_dir, args.demo))
}

pub(super) fn serve(args: &ServeArgs) -> Outcome {
    finish(commands::serve(args.config.load(Profile::Serve)?))
}

pub(super) fn migrate(args: &MigrateArgs) -> Outcome {
    finish(commands::migrate(
        args.config.load(Profile::Migrate)?,
        args.repair,
    ))
}

fn finish(result: anyhow::Result<ExitCode>) -> Outcome {
    Ok(result?)
}
