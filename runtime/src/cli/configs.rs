//! Workload types: a customer registers a type before it can submit workloads of it.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use niyanta_core::ids::WorkloadType;
use serde_json::{Map, Value, json};

use super::{
    client::{Request, Retry},
    connection::{CustomerConnectionArgs, RootConnectionArgs, Session},
    failure::Outcome,
    output::{self, Format, say},
    paging::PageArgs,
    parse, view,
};

const FIELDS: [&str; 10] = [
    "config_id",
    "workload_type",
    "description",
    "config_json",
    "resource_limits",
    "checkpoint_interval_sec",
    "max_retries",
    "timeout_seconds",
    "on_lease_loss",
    "created_at",
];

/// Workload types.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  niyanta configs create hash_tree --timeout 2h --max-retries 5
  niyanta configs list
  niyanta configs get wlcfg_0192…
  niyanta configs delete wlcfg_0192…")]
pub(super) struct ConfigsArgs {
    #[command(subcommand)]
    command: ConfigsCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigsCommand {
    /// Register a workload type
    Create(Box<CreateArgs>),
    /// List the registered types
    List {
        #[command(flatten)]
        page: PageArgs,
        #[command(flatten)]
        connection: CustomerConnectionArgs,
    },
    /// Show one
    Get {
        /// The config's id
        #[arg(value_name = "CONFIG_ID")]
        id: String,
        #[command(flatten)]
        connection: CustomerConnectionArgs,
    },
    /// Remove one that no unfinished workload uses
    Delete {
        /// The config's id
        #[arg(value_name = "CONFIG_ID")]
        id: String,
        #[command(flatten)]
        connection: CustomerConnectionArgs,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  niyanta configs create sleep
  niyanta configs create hash_tree --timeout 2h --max-retries 5 --description 'nightly check'
  niyanta configs create exec --config '{\"image\": \"v3\"}' --customer cus_0192…

A workload copies its type's settings when it is submitted: a change holds for later ones alone.")]
struct CreateArgs {
    /// The workload type, as workers name it
    #[arg(value_name = "TYPE")]
    workload_type: WorkloadType,
    /// What it is for
    #[arg(long)]
    description: Option<String>,
    /// Told to the worker with each workload: a JSON object, @FILE, or - for standard input
    #[arg(long, value_name = "JSON")]
    config: Option<String>,
    /// Told to the worker
    #[arg(long, value_name = "N")]
    cpu_cores: Option<u32>,
    /// Told to the worker
    #[arg(long, value_name = "MB")]
    memory_mb: Option<u32>,
    /// Told to the worker
    #[arg(long, value_name = "MB")]
    disk_mb: Option<u32>,
    /// How often a workload checkpoints [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = parse::seconds)]
    checkpoint_interval: Option<u64>,
    /// Retries after transient failures and time-outs, 0 to 100 [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100))]
    max_retries: Option<u32>,
    /// Bounds one attempt [default: 1h]
    #[arg(long, value_name = "DURATION", value_parser = parse::seconds)]
    timeout: Option<u64>,
    /// What a worker does with it when it hears from no leader [default: stop]
    #[arg(long, value_enum)]
    on_lease_loss: Option<OnLeaseLoss>,
    #[command(flatten)]
    connection: CustomerConnectionArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnLeaseLoss {
    /// End it in time, so that it never runs twice
    Stop,
    /// Let it go on; it may run twice
    Continue,
}

impl CreateArgs {
    fn body(&self) -> Outcome<Value> {
        let config = self.config.as_deref();
        let config = config.map(|given| parse::json_object("--config", given));
        let limits = given([
            ("cpu_cores", self.cpu_cores.map(Value::from)),
            ("memory_mb", self.memory_mb.map(Value::from)),
            ("disk_mb", self.disk_mb.map(Value::from)),
        ]);
        let on_lease_loss = self.on_lease_loss.map(|choice| match choice {
            OnLeaseLoss::Stop => "stop",
            OnLeaseLoss::Continue => "continue",
        });
        Ok(Value::Object(given([
            ("workload_type", Some(json!(self.workload_type.as_str()))),
            ("description", self.description.clone().map(Value::from)),
            ("config_json", config.transpose()?),
            (
                "resource_limits",
                (!limits.is_empty()).then_some(Value::Object(limits)),
            ),
            (
                "checkpoint_interval_sec",
                self.checkpoint_interval.map(Value::from),
            ),
            ("max_retries", self.max_retries.map(Value::from)),
            ("timeout_seconds", self.timeout.map(Value::from)),
            ("on_lease_loss", on_lease_loss.map(Value::from)),
        ])))
    }
}

fn given<const N: usize>(fields: [(&str, Option<Value>); N]) -> Map<String, Value> {
    fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

pub(super) async fn run(root: &RootConnectionArgs, args: ConfigsArgs) -> Outcome {
    match args.command {
        ConfigsCommand::Create(args) => {
            let body = args.body()?;
            let session = args.connection.connect(root)?;
            let request = Request::post(&["workload-configs"], &body).retry(Retry::Never);
            let value = session.client.send(&request).await?;
            show(&session, &value)
        }
        ConfigsCommand::List { page, connection } => list(&connection.connect(root)?, &page).await,
        ConfigsCommand::Get { id, connection } => {
            let session = connection.connect(root)?;
            let request = Request::get(&["workload-configs", &id]);
            let value = session.client.send(&request).await?;
            show(&session, &value)
        }
        ConfigsCommand::Delete { id, connection } => {
            let session = connection.connect(root)?;
            let request = Request::delete(&["workload-configs", &id]);
            session.client.send(&request).await?;
            say(&format!("niyanta: {id} is deleted"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn list(session: &Session, page: &PageArgs) -> Outcome {
    let request = Request::get(&["workload-configs"]);
    let list = page
        .fetch(&session.client, request, "workload_configs")
        .await?;
    match session.format {
        Format::Json => output::json(&list)?,
        Format::Table => output::table(
            &[
                "id",
                "type",
                "timeout",
                "retries",
                "checkpoint",
                "lease loss",
                "description",
            ],
            view::rows(
                &list,
                "workload_configs",
                &[
                    "config_id",
                    "workload_type",
                    "timeout_seconds",
                    "max_retries",
                    "checkpoint_interval_sec",
                    "on_lease_loss",
                    "description",
                ],
            )?,
        )?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show(session: &Session, value: &Value) -> Outcome {
    match session.format {
        Format::Json => output::json(value)?,
        Format::Table => output::details(&view::details(value, &FIELDS))?,
    }
    Ok(ExitCode::SUCCESS)
}
