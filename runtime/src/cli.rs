//! The command line of `niyanta`.
//!
//! Owns the definitions of all commands, how a failure becomes an exit status and a line on
//! standard error, and the client commands, which know the coordinator only through its HTTP API.
//! Does not own what the server-side commands do: those are handed to [`crate::commands`].
//!
//! Exit status: 0 done, 1 failed, 2 wrong usage. Data goes to standard output, everything said to
//! people to standard error, so that output can be piped without being cleaned first.

mod config_flags;
mod failure;
mod output;
mod parse;
mod problem;
mod server;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, error::ErrorKind};

pub use server::WorkerArgs;

use failure::Outcome;

/// Coordinates long-running workloads across workers.
#[derive(Debug, Parser)]
#[command(
    name = "niyanta",
    version,
    propagate_version = true,
    max_term_width = 100
)]
#[command(after_help = "\
Try it:
  niyanta dev                                        start everything on this machine
  niyanta submit sleep --params '{\"seconds\": 5}' --wait
  niyanta list
  niyanta --help COMMAND is `niyanta COMMAND --help`: each command shows examples

Clients take the server and key from --server and --api-key, else NIYANTA_SERVER and
NIYANTA_API_KEY, else from a `niyanta dev` of this user.

Exit status: 0 done, 1 failed, 2 wrong usage.")]
struct Cli {
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
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    match parse_arguments() {
        Ok(cli) => dispatch(cli).unwrap_or_else(|failure| failure.report()),
        Err(error) => {
            // A closed pipe while help is being printed leaves nobody to tell.
            error.print().ok();
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(failure::USAGE),
            }
        }
    }
}

fn parse_arguments() -> Result<Cli, clap::Error> {
    let matches = Cli::command().try_get_matches()?;
    Cli::from_arg_matches(&matches)
}

fn dispatch(cli: Cli) -> Outcome {
    match cli.command {
        Command::Dev(args) => server::dev(args),
        Command::Serve(args) => server::serve(&args),
        Command::Worker(args) => Ok(crate::commands::worker(args)?),
        Command::Migrate(args) => server::migrate(&args),
        Command::Guard(args) => Ok(crate::commands::guard(args.rest)?),
        Command::Completions { shell } => {
            output::raw(|out| {
                clap_complete::generate(shell, &mut Cli::command(), "niyanta", out);
            })?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
