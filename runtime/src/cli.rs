//! The command line of `niyanta`.
//!
//! Owns the definitions of all commands, how a failure becomes an exit status and a line on
//! standard error, and the client commands, which know the coordinator only through its HTTP API.
//! Does not own what the server-side commands do: those are handed to [`crate::commands`].
//!
//! Exit status: 0 done, 1 failed, 2 wrong usage. Data goes to standard output, everything said to
//! people to standard error, so that output can be piped without being cleaned first.

mod bench;
mod client;
mod config_flags;
mod configs;
mod connection;
mod customers;
mod failure;
mod keys;
mod logs;
mod operator;
mod output;
mod paging;
mod parse;
mod problem;
mod progress;
mod server;
mod stats;
mod submit;
mod view;
mod workloads;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use server::WorkerArgs;

use connection::RootConnectionArgs;
use failure::{Failure, Outcome};

/// Coordinates long-running workloads across workers.
#[derive(Debug, Parser)]
#[command(name = "niyanta", version, max_term_width = 100)]
#[command(after_help = "\
Try it:
  niyanta dev                                        start everything on this machine
  niyanta submit sleep --params '{\"seconds\": 5}' --wait
  niyanta list

niyanta COMMAND --help shows the options of a command, with examples.

Clients take the server and key from --server and --api-key, else NIYANTA_SERVER and
NIYANTA_API_KEY, else from a `niyanta dev` of this user.

Exit status: 0 done, 1 failed, 2 wrong usage.")]
struct Cli {
    #[command(flatten)]
    connection: RootConnectionArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in one process: coordinator, broker, database and a worker
    Dev(server::DevArgs),
    /// Run one coordinator
    Serve(server::ServeArgs),
    /// Run the reference worker
    Worker(WorkerArgs),
    /// Bring the database to this version
    Migrate(server::MigrateArgs),
    /// The process between a worker and what it runs
    #[command(hide = true)]
    Guard(server::GuardArgs),
    /// Submit a workload
    Submit(submit::SubmitArgs),
    /// Show one workload
    Get(workloads::GetArgs),
    /// List workloads
    List(workloads::ListArgs),
    /// Ask for a workload to be stopped for good
    Cancel(workloads::ControlArgs),
    /// Ask for a workload to checkpoint and stop until it is resumed
    Pause(workloads::ControlArgs),
    /// Ask for a paused workload to go on from its last checkpoint
    Resume(workloads::ControlArgs),
    /// Show what a workload wrote
    Logs(logs::LogsArgs),
    /// Show every change of a workload
    Audit(logs::AuditArgs),
    /// Follow a workload until it ends
    Watch(workloads::WatchArgs),
    /// Count what happened to workloads, by hour, day or type
    Stats(stats::StatsArgs),
    /// Manage workload types
    Configs(configs::ConfigsArgs),
    /// List workers
    Workers(operator::WorkersArgs),
    /// Give a worker no new work
    Drain(operator::DrainArgs),
    /// Give a drained worker work again
    Undrain(operator::UndrainArgs),
    /// List coordinators
    Coordinators(operator::CoordinatorsArgs),
    /// Manage customers and their limits
    Customers(customers::CustomersArgs),
    /// Manage API keys
    Keys(keys::KeysArgs),
    /// Put load on a coordinator: throughput and latency percentiles
    Bench(bench::BenchArgs),
    /// Print a completion script for a shell
    #[command(after_help = COMPLETIONS_HELP)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

const COMPLETIONS_HELP: &str = "\
Examples:
  niyanta completions bash > ~/.local/share/bash-completion/completions/niyanta
  niyanta completions zsh > ~/.zfunc/_niyanta
  niyanta completions fish > ~/.config/fish/completions/niyanta.fish";

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    match parse_arguments() {
        Ok(cli) => dispatch(cli).unwrap_or_else(|failure| failure.report()),
        Err(error) => {
            // A closed pipe while help is being printed leaves nobody to tell.
            error.print().ok();
            // Help that was asked for goes to standard output and is no error.
            if error.use_stderr() {
                ExitCode::from(failure::USAGE)
            } else {
                ExitCode::SUCCESS
            }
        }
    }
}

fn parse_arguments() -> Result<Cli, clap::Error> {
    let matches = Cli::command().try_get_matches()?;
    Cli::from_arg_matches(&matches)
}

fn dispatch(cli: Cli) -> Outcome {
    let root = &cli.connection;
    match cli.command {
        Command::Dev(args) => server::dev(args),
        Command::Serve(args) => server::serve(&args),
        Command::Worker(args) => Ok(crate::commands::worker(args)?),
        Command::Migrate(args) => server::migrate(&args),
        Command::Guard(args) => Ok(crate::commands::guard(args.rest)?),
        Command::Submit(args) => client(submit::submit(root, args)),
        Command::Get(args) => client(workloads::get(root, args)),
        Command::List(args) => client(workloads::list(root, args)),
        Command::Cancel(args) => client(workloads::control(root, "cancel", args)),
        Command::Pause(args) => client(workloads::control(root, "pause", args)),
        Command::Resume(args) => client(workloads::control(root, "resume", args)),
        Command::Logs(args) => client(logs::logs(root, args)),
        Command::Audit(args) => client(logs::audit(root, args)),
        Command::Watch(args) => client(workloads::watch(root, args)),
        Command::Stats(args) => client(stats::stats(root, args)),
        Command::Bench(args) => client(bench::bench(root, args)),
        Command::Configs(args) => client(configs::run(root, args)),
        Command::Workers(args) => client(operator::workers(root, args)),
        Command::Drain(args) => client(operator::drain(root, args)),
        Command::Undrain(args) => client(operator::undrain(root, args)),
        Command::Coordinators(args) => client(operator::coordinators(root, args)),
        Command::Customers(args) => client(customers::run(root, args)),
        Command::Keys(args) => keys::run(root, args),
        Command::Completions { shell } => {
            output::raw(|out| {
                clap_complete::generate(shell, &mut Cli::command(), "niyanta", out);
            })?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Runs a client command, which is one conversation and needs one thread.
fn client(command: impl Future<Output = Outcome>) -> Outcome {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?
        .block_on(command)
}

#[cfg(test)]
mod tests;
