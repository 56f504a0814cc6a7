//! Reading workloads and wishing something of them: `get`, `list`, `watch`, `cancel`, `pause`,
//! `resume`.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{
    client::Request,
    connection::{CustomerConnectionArgs, RootConnectionArgs, Session},
    failure::Outcome,
    output::{self, Format, clean, say},
    paging::PageArgs,
    parse,
    progress::follow,
    view::{self, Workload},
};

/// In the order in which people ask.
const FIELDS: [&str; 31] = [
    "workload_id",
    "workload_type",
    "status",
    "desired",
    "pending_reason",
    "progress_percent",
    "progress_message",
    "error_type",
    "error_message",
    "result_data",
    "worker_id",
    "attempt",
    "retry_count",
    "max_retries",
    "loss_count",
    "priority",
    "input_params",
    "labels",
    "affinity_rules",
    "timeout_seconds",
    "on_lease_loss",
    "run_after",
    "created_at",
    "scheduled_at",
    "started_at",
    "completed_at",
    "updated_at",
    "customer_id",
    "version",
    "config_id",
    "checkpoint_sequence",
];

/// Fields that are somebody's JSON, shown as such.
const DOCUMENTS: [&str; 3] = ["input_params", "result_data", "affinity_rules"];

/// One workload.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  niyanta get wl_0192…
  niyanta get wl_0192… --output json | jq .result_data

For a workload that waits, pending_reason says what it waits for.")]
pub(super) struct GetArgs {
    /// The workload's id
    #[arg(value_name = "WORKLOAD_ID")]
    id: String,
    #[command(flatten)]
    connection: CustomerConnectionArgs,
}

/// Many workloads.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  niyanta list
  niyanta list --status RUNNING --status SCHEDULED
  niyanta list --label team=search --created-after 24h --all --output json")]
pub(super) struct ListArgs {
    /// Only this status; repeat for more
    #[arg(long, value_name = "STATUS", value_parser = status)]
    status: Vec<String>,
    /// Only this workload type
    #[arg(long = "type", value_name = "TYPE")]
    workload_type: Option<String>,
    /// Only with this label; repeat for more
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse::pair)]
    labels: Vec<(String, String)>,
    /// Only those submitted after: a moment, or a duration ago
    #[arg(long, value_name = "WHEN", value_parser = parse::past_moment)]
    created_after: Option<String>,
    /// Only those submitted before: a moment, or a duration ago
    #[arg(long, value_name = "WHEN", value_parser = parse::past_moment)]
    created_before: Option<String>,
    /// Oldest first or newest first
    #[arg(long, value_enum, default_value_t = Order::Desc)]
    order: Order,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    connection: CustomerConnectionArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Order {
    /// Oldest first
    Asc,
    /// Newest first
    Desc,
}

/// A wish.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  niyanta cancel wl_0192… --reason 'wrong input'
  niyanta pause wl_0192… --wait
  niyanta resume wl_0192… --wait

The wish is durable when the command returns; the status follows once it is true. --wait stays
until it is (exit status 1 when the workload ended otherwise first).")]
pub(super) struct ControlArgs {
    /// The workload's id
    #[arg(value_name = "WORKLOAD_ID")]
    id: String,
    /// Why, for the audit trail
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Stay until it is true
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    connection: CustomerConnectionArgs,
}

/// Follow.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  niyanta watch wl_0192…
  niyanta watch wl_0192… --output json      one JSON document a line for each change

Exit status 0 only when it ends COMPLETED.")]
pub(super) struct WatchArgs {
    /// The workload's id
    #[arg(value_name = "WORKLOAD_ID")]
    id: String,
    #[command(flatten)]
    connection: CustomerConnectionArgs,
}

pub(super) async fn get(root: &RootConnectionArgs, args: GetArgs) -> Outcome {
    let session = args.connection.connect(root)?;
    let request = Request::get(&["workloads", &args.id]);
    let value = session.client.send(&request).await?;
    show(&session, &value)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn list(root: &RootConnectionArgs, args: ListArgs) -> Outcome {
    let session = args.connection.connect(root)?;
    let mut request = Request::get(&["workloads"])
        .query_if("workload_type", args.workload_type.as_ref())
        .query_if("created_after", args.created_after.as_ref())
        .query_if("created_before", args.created_before.as_ref())
        .query(
            "order",
            match args.order {
                Order::Asc => "asc",
                Order::Desc => "desc",
            },
        );
    for status in &args.status {
        request = request.query("status", status);
    }
    for (key, value) in &args.labels {
        request = request.query("label", format!("{key}={value}"));
    }
    let list = args
        .page
        .fetch(&session.client, request, "workloads")
        .await?;
    match session.format {
        Format::Json => output::json(&list)?,
        Format::Table => table(&list)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn table(list: &Value) -> Outcome<()> {
    let row = |value: &Value| -> Outcome<Vec<String>> {
        let workload: Workload = view::read(value)?;
        let remark = workload.remark();
        Ok(vec![
            workload.workload_id,
            workload.workload_type.unwrap_or_default(),
            workload.status,
            view::percent(workload.progress_percent),
            view::text(&value["attempt"]),
            workload.worker_id.unwrap_or_default(),
            view::text(&value["priority"]),
            view::text(&value["created_at"]),
            remark,
        ])
    };
    let rows: Vec<_> = view::entries(list, "workloads")?
        .iter()
        .map(row)
        .collect::<Outcome<_>>()?;
    output::table(
        &[
            "id", "type", "status", "done", "attempt", "worker", "priority", "created", "remark",
        ],
        rows,
    )
}

/// `verb` is both the command and the last part of the path.
pub(super) async fn control(
    root: &RootConnectionArgs,
    verb: &'static str,
    args: ControlArgs,
) -> Outcome {
    let session = args.connection.connect(root)?;
    let body = match &args.reason {
        Some(reason) => json!({"reason": reason}),
        None => json!({}),
    };
    let request = Request::post(&["workloads", &args.id, verb], &body);
    let mut value = session.client.send(&request).await?;
    let mut workload: Workload = view::read(&value)?;
    let mut code = ExitCode::SUCCESS;
    if args.wait {
        let is_over = |workload: &Workload| workload.is_terminal() || is_true(verb, workload);
        (workload, value) = follow(&session, &args.id, is_over, |_| Ok(())).await?;
        if !is_true(verb, &workload) {
            code = ExitCode::FAILURE;
        }
    } else if !is_true(verb, &workload) {
        say(&format!(
            "niyanta: {verb} is recorded and follows; see: niyanta get {}",
            args.id
        ));
    }
    match session.format {
        Format::Json => output::json(&value)?,
        Format::Table => output::line(&clean(&format!(
            "{} {}",
            workload.workload_id, workload.status
        )))?,
    }
    Ok(code)
}

/// Whether the status shows what the wish asked for.
fn is_true(verb: &str, workload: &Workload) -> bool {
    match verb {
        "cancel" => workload.status == "CANCELLED",
        "pause" => workload.status == "PAUSED",
        _ => !workload.is_terminal() && workload.status != "PAUSED",
    }
}

pub(super) async fn watch(root: &RootConnectionArgs, args: WatchArgs) -> Outcome {
    let session = args.connection.connect(root)?;
    if session.format == Format::Table {
        return wait_until_ended(&session, &args.id).await;
    }
    let each = |value: &Value| output::json_line(value);
    let (workload, _) = follow(&session, &args.id, Workload::is_terminal, each).await?;
    Ok(verdict(&workload))
}

/// Shows progress until the workload has ended, then the workload.
pub(super) async fn wait_until_ended(session: &Session, id: &str) -> Outcome {
    let (workload, value) = follow(session, id, Workload::is_terminal, |_| Ok(())).await?;
    show(session, &value)?;
    Ok(verdict(&workload))
}

/// Only COMPLETED is a success; the reason for anything else is the last word.
fn verdict(workload: &Workload) -> ExitCode {
    if workload.status == "COMPLETED" {
        return ExitCode::SUCCESS;
    }
    let kind = workload.error_type.as_deref().unwrap_or_default();
    let message = workload.error_message.as_deref().unwrap_or_default();
    let why = [kind, message]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(": ");
    let line = format!("{} ended {} {why}", workload.workload_id, workload.status);
    say(&format!("error: {}", clean(line.trim_end())));
    ExitCode::FAILURE
}

fn show(session: &Session, value: &Value) -> Outcome<()> {
    match session.format {
        Format::Json => output::json(value),
        Format::Table => output::details(&details(value)),
    }
}

fn details(value: &Value) -> Vec<(String, String)> {
    let mut pairs = view::details(value, &FIELDS);
    // What an attempt said on its way is old news at the end.
    if view::read::<Workload>(value).is_ok_and(|workload| workload.is_terminal()) {
        pairs.retain(|(name, _)| name != "progress_message");
    }
    for (name, text) in &mut pairs {
        let field = &value[name.as_str()];
        if DOCUMENTS.contains(&name.as_str()) {
            *text = field.to_string();
        } else if name == "pending_reason"
            && let Ok(reason) = view::read::<view::PendingReason>(field)
        {
            *text = format!("waits: {}", reason.text());
        } else if name == "progress_percent" {
            *text = view::percent(field.as_f64());
        }
    }
    pairs
}

/// A status as the contract writes it, however it was typed.
fn status(text: &str) -> Result<String, String> {
    const ALL: [&str; 8] = [
        "PENDING",
        "SCHEDULED",
        "RUNNING",
        "PAUSED",
        "REDISTRIBUTING",
        "COMPLETED",
        "FAILED",
        "CANCELLED",
    ];
    let wanted = text.to_ascii_uppercase();
    if ALL.contains(&wanted.as_str()) {
        Ok(wanted)
    } else {
        Err(format!("expected one of {}", ALL.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn get_shows_every_field_that_has_a_value_and_why_it_waits() {
        let pairs = details(&json!({
            "workload_id": "wl_1", "status": "PENDING", "worker_id": null, "new_field": "x",
            "input_params": {"path": "/a"}, "progress_percent": 12.5, "version": 1,
            "pending_reason": {"code": "no_capable_worker", "detail": "no worker runs x"},
        }));
        let expected = [
            ("workload_id", "wl_1"),
            ("status", "PENDING"),
            (
                "pending_reason",
                "waits: no_capable_worker - no worker runs x",
            ),
            ("progress_percent", "12%"),
            ("input_params", "{\"path\":\"/a\"}"),
            ("version", "1"),
            ("new_field", "x"),
        ];
        let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(pairs, expected);
    }

    #[test]
    fn an_ended_workload_says_nothing_of_the_way() {
        let shown = |status| {
            let value = json!({
                "workload_id": "wl_1", "status": status, "progress_message": "half of it",
            });
            details(&value)
                .iter()
                .any(|(name, _)| name == "progress_message")
        };
        assert!(shown("RUNNING"));
        assert!(!shown("COMPLETED"));
    }

    #[test]
    fn a_status_may_be_typed_in_any_case() {
        assert_eq!(status("running"), Ok("RUNNING".into()));
        assert!(status("done").is_err());
    }
}
