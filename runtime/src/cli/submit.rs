//! `niyanta submit`.

use std::{collections::BTreeMap, process::ExitCode};

use clap::Args;
use niyanta_core::ids::WorkloadType;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    client::{Request, Retry},
    connection::{CustomerConnectionArgs, RootConnectionArgs, Session},
    failure::{Failure, Outcome},
    output::{self, Format, say},
    parse, view, workloads,
};

/// A submission.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  niyanta submit sleep --params '{\"seconds\": 5}' --wait
  niyanta submit hash_tree --params '{\"path\": \"/usr/share\"}' --priority 50 --label team=search
  niyanta submit hash_tree --params @params.json --run-after 10m --timeout 1h
  id=$(niyanta submit sleep --params '{\"seconds\": 60}')

Without --wait the id alone is written to standard output. With --wait progress goes to standard
error and the ended workload to standard output; exit status 0 only when it is COMPLETED.

A submission is repeated by itself while the server is away or busy: its Idempotency-Key keeps it
from becoming two. Give --idempotency-key yourself to repeat the command as a whole.")]
pub(super) struct SubmitArgs {
    /// The workload type, registered with `niyanta configs create`
    #[arg(value_name = "TYPE")]
    workload_type: WorkloadType,
    /// Input: a JSON object, @FILE, or - for standard input
    #[arg(long, value_name = "JSON", default_value = "{}")]
    params: String,
    /// 0 to 1000, higher first [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_000))]
    priority: Option<u32>,
    /// A label to find it by; repeat for more
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse::pair)]
    labels: Vec<(String, String)>,
    /// Not before: a moment, or a duration from now
    #[arg(long, value_name = "WHEN", value_parser = parse::moment)]
    run_after: Option<String>,
    /// Bounds one attempt, as in 90s or 1h [default: the type's]
    #[arg(long, value_name = "DURATION", value_parser = parse::seconds)]
    timeout: Option<u64>,
    /// Retries after transient failures and time-outs, 0 to 100 [default: the type's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100))]
    max_retries: Option<u32>,
    /// Affinity rules: a JSON object, @FILE, or -
    #[arg(long, value_name = "JSON")]
    affinity: Option<String>,
    /// Makes a repetition of this command the same submission [default: a new one each time]
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Stay until it ends
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    connection: CustomerConnectionArgs,
}

impl SubmitArgs {
    fn body(&self) -> Outcome<Value> {
        if self.params == "-" && self.affinity.as_deref() == Some("-") {
            return Err(Failure::usage(
                "--params and --affinity cannot both read standard input",
            ));
        }
        let mut body = json!({
            "workload_type": self.workload_type.as_str(),
            "input_params": parse::json_object("--params", &self.params)?,
        });
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                body[name] = value;
            }
        };
        let labels: BTreeMap<_, _> = self.labels.iter().cloned().collect();
        set("labels", (!labels.is_empty()).then(|| json!(labels)));
        set("priority", self.priority.map(Value::from));
        set("run_after", self.run_after.clone().map(Value::from));
        set("timeout_seconds", self.timeout.map(Value::from));
        set("max_retries", self.max_retries.map(Value::from));
        let affinity = self.affinity.as_deref();
        let affinity = affinity.map(|given| parse::json_object("--affinity", given));
        set("affinity_rules", affinity.transpose()?);
        Ok(body)
    }
}

pub(super) async fn submit(root: &RootConnectionArgs, args: SubmitArgs) -> Outcome {
    let body = args.body()?;
    let session = args.connection.connect(root)?;
    let key = match &args.idempotency_key {
        Some(key) => key.clone(),
        None => Uuid::new_v4().to_string(),
    };
    let value = send(&session, &body, &key).await?;
    let workload: view::Workload = view::read(&value)?;
    if args.wait {
        say(&format!("niyanta: submitted {}", workload.workload_id));
        return workloads::wait_until_ended(&session, &workload.workload_id).await;
    }
    match session.format {
        Format::Json => output::json(&value)?,
        Format::Table => {
            say(&format!(
                "niyanta: submitted; follow it with: niyanta watch {}",
                workload.workload_id
            ));
            output::line(&workload.workload_id)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn send(session: &Session, body: &Value, key: &str) -> Outcome<Value> {
    let request = Request::post(&["workloads"], body)
        .idempotency_key(key)
        .retry(Retry::PATIENT);
    match session.client.send_noting_doubt(&request).await {
        Ok(value) => Ok(value),
        Err((failure, in_doubt)) => {
            if in_doubt {
                say(&format!(
                    "niyanta: it may have been accepted all the same; to find out without \
                     submitting it twice, repeat with --idempotency-key {key}"
                ));
            }
            Err(failure)
        }
    }
}
