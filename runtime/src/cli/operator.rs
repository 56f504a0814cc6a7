//! An operator's view of workers and coordinators.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    client::Request,
    connection::{ConnectionArgs, RootConnectionArgs, Session},
    failure::Outcome,
    output::{self, Format, say},
    paging::PageArgs,
    parse, view,
};

/// Workers.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  niyanta workers
  niyanta workers --status DRAINING
  niyanta workers remove w1")]
pub(super) struct WorkersArgs {
    #[command(subcommand)]
    command: Option<WorkersCommand>,
    /// Only this status: HEALTHY, DRAINING or DEAD
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Subcommand)]
enum WorkersCommand {
    /// End a worker's incarnation; its work moves to others
    #[command(after_help = "\
Example:
  niyanta workers remove w1

Its process is told to stop everything and is never heard again under this incarnation; what it ran
goes to others once that is over. It leaves the list then. To let it finish first, drain it.")]
    Remove {
        /// The worker's id
        #[arg(value_name = "WORKER_ID")]
        id: String,
        #[command(flatten)]
        connection: ConnectionArgs,
    },
}

/// Drain.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  niyanta drain w1                   let what runs there finish
  niyanta drain w1 --deadline 10m    after ten minutes, move what still runs

Belongs to the worker's id and survives its restarts, until `niyanta undrain w1`.")]
pub(super) struct DrainArgs {
    /// The worker's id
    #[arg(value_name = "WORKER_ID")]
    id: String,
    /// After this, move what still runs [default: wait for ever]
    #[arg(long, value_name = "DURATION", value_parser = parse::seconds)]
    deadline: Option<u64>,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Undrain.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  niyanta undrain w1

Ends a drain also while the worker is away: it gets work again when it comes back.")]
pub(super) struct UndrainArgs {
    /// The worker's id
    #[arg(value_name = "WORKER_ID")]
    id: String,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Coordinators.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  niyanta coordinators --output json | jq '.coordinators[] | select(.is_leader)'")]
pub(super) struct CoordinatorsArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(super) async fn workers(root: &RootConnectionArgs, args: WorkersArgs) -> Outcome {
    if let Some(WorkersCommand::Remove { id, connection }) = args.command {
        let session = connection.admin(root)?;
        let request = Request::delete(&["admin", "workers", &id]);
        let value = session.client.send(&request).await?;
        return acknowledged(&session, &value, &format!("{id} is being removed"));
    }
    let session = args.connection.admin(root)?;
    let status = args.status.map(|status| status.to_ascii_uppercase());
    let request = Request::get(&["admin", "workers"]).query_if("status", status);
    let list = args.page.fetch(&session.client, request, "workers").await?;
    if session.format == Format::Json {
        output::json(&list)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Vec<String>> = view::entries(&list, "workers")?
        .iter()
        .map(worker_row)
        .collect();
    output::table(
        &[
            "id", "status", "desired", "slots", "types", "tags", "heard", "version",
        ],
        rows,
    )?;
    Ok(ExitCode::SUCCESS)
}

fn worker_row(worker: &Value) -> Vec<String> {
    let field = |name: &str| view::text(&worker[name]);
    vec![
        field("worker_id"),
        field("status"),
        field("desired"),
        format!("{}/{}", field("capacity_used"), field("capacity_total")),
        field("capabilities"),
        field("tags"),
        field("last_heartbeat"),
        field("version"),
    ]
}

pub(super) async fn drain(root: &RootConnectionArgs, args: DrainArgs) -> Outcome {
    let session = args.connection.admin(root)?;
    let body = args
        .deadline
        .map_or_else(|| json!({}), |seconds| json!({"deadline_seconds": seconds}));
    let request = Request::post(&["admin", "workers", &args.id, "drain"], &body);
    let value = session.client.send(&request).await?;
    let said = format!("{} gets no new work until undrain", args.id);
    acknowledged(&session, &value, &said)
}

pub(super) async fn undrain(root: &RootConnectionArgs, args: UndrainArgs) -> Outcome {
    let session = args.connection.admin(root)?;
    let body = json!({});
    let request = Request::post(&["admin", "workers", &args.id, "undrain"], &body);
    let value = session.client.send(&request).await?;
    acknowledged(&session, &value, &format!("{} gets work again", args.id))
}

/// The wish is recorded: the data for programs, a sentence for people.
fn acknowledged(session: &Session, value: &Value, said: &str) -> Outcome {
    if session.format == Format::Json {
        output::json(value)?;
    } else {
        say(&format!("niyanta: {said}"));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn coordinators(root: &RootConnectionArgs, args: CoordinatorsArgs) -> Outcome {
    let session = args.connection.admin(root)?;
    let request = Request::get(&["admin", "coordinators"]);
    let list = PageArgs::everything()
        .fetch(&session.client, request, "coordinators")
        .await?;
    match session.format {
        Format::Json => output::json(&list)?,
        Format::Table => output::table(
            &[
                "id",
                "leader",
                "generation",
                "address",
                "version",
                "started",
                "seen",
            ],
            view::rows(
                &list,
                "coordinators",
                &[
                    "coordinator_id",
                    "is_leader",
                    "generation",
                    "address",
                    "version",
                    "started_at",
                    "last_seen",
                ],
            )?,
        )?,
    }
    Ok(ExitCode::SUCCESS)
}
