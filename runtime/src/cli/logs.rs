//! What a workload wrote (`logs`) and what happened to it (`audit`).
//!
//! Following polls: lines are asked for again from the last cursor, and those already shown are
//! skipped. Streaming over server-sent events would be one request instead of one a second.

use std::{collections::BTreeSet, io::IsTerminal, process::ExitCode, time::Duration};

use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    client::{Request, Retry},
    connection::{CustomerConnectionArgs, RootConnectionArgs, Session},
    failure::Outcome,
    output::{self, Format, clean},
    paging::{PageArgs, next_cursor},
    parse,
    view::{self, Workload},
};

const POLL: Duration = Duration::from_secs(1);

/// What it wrote.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  niyanta logs wl_0192…
  niyanta logs wl_0192… --follow
  niyanta logs wl_0192… --since 10m --message-only > output.txt

With --follow --output json each line is a JSON document of its own.")]
pub(super) struct LogsArgs {
    /// The workload's id
    #[arg(value_name = "WORKLOAD_ID")]
    id: String,
    /// Go on until the workload ends
    #[arg(long, short)]
    follow: bool,
    /// Only from: a moment, or a duration ago
    #[arg(long, value_name = "WHEN", value_parser = parse::past_moment)]
    since: Option<String>,
    /// Only until: a moment, or a duration ago
    #[arg(long, value_name = "WHEN", value_parser = parse::past_moment)]
    #[arg(conflicts_with = "follow")]
    until: Option<String>,
    /// Without time, level and attempt
    #[arg(long)]
    message_only: bool,
    #[command(flatten)]
    connection: CustomerConnectionArgs,
}

/// What happened to it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  niyanta audit wl_0192…
  niyanta audit wl_0192… --output json | jq '.events[].event_type'")]
pub(super) struct AuditArgs {
    /// The workload's id
    #[arg(value_name = "WORKLOAD_ID")]
    id: String,
    #[command(flatten)]
    connection: CustomerConnectionArgs,
}

#[derive(Deserialize)]
struct LogLine {
    #[serde(default)]
    sequence: u64,
    #[serde(default)]
    timestamp: String,
    #[serde(default)]
    level: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    attempt: u64,
}

pub(super) async fn logs(root: &RootConnectionArgs, args: LogsArgs) -> Outcome {
    let session = args.connection.connect(root)?;
    if args.follow {
        return follow(&session, &args).await;
    }
    let request = lines_of(&args);
    let list = PageArgs::everything()
        .fetch(&session.client, request, "logs")
        .await?;
    match session.format {
        Format::Json => output::json(&list)?,
        Format::Table => {
            for value in view::entries(&list, "logs")? {
                output::line(&print(&view::read(value)?, args.message_only))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn lines_of(args: &LogsArgs) -> Request<'_> {
    Request::get(&["workloads", &args.id, "logs"])
        .query_if("since", args.since.as_ref())
        .query_if("until", args.until.as_ref())
}

async fn follow(session: &Session, args: &LogsArgs) -> Outcome {
    let mut reader = Reader::default();
    loop {
        let status = Request::get(&["workloads", &args.id]).retry(Retry::STUBBORN);
        let workload: Workload = view::read(&session.client.send(&status).await?)?;
        reader.read(session, args).await?;
        if workload.is_terminal() {
            // The last lines travel apart from the report that ended the workload.
            sleep(POLL).await;
            reader.read(session, args).await?;
            return Ok(ExitCode::SUCCESS);
        }
        sleep(POLL).await;
    }
}

/// How far the lines have been shown.
#[derive(Default)]
struct Reader {
    cursor: Option<String>,
    /// Of the lines behind the cursor.
    shown: BTreeSet<(u64, u64)>,
}

impl Reader {
    async fn read(&mut self, session: &Session, args: &LogsArgs) -> Outcome<()> {
        loop {
            let request = lines_of(args)
                .query("limit", 100)
                .query_if("cursor", self.cursor.as_ref())
                .retry(Retry::STUBBORN);
            let list = session.client.send(&request).await?;
            for value in view::entries(&list, "logs")? {
                let line: LogLine = view::read(value)?;
                if self.shown.insert((line.attempt, line.sequence)) {
                    show(session.format, value, &line, args.message_only)?;
                }
            }
            match next_cursor(&list) {
                Some(next) if Some(&next) != self.cursor.as_ref() => {
                    self.cursor = Some(next);
                    self.shown.clear();
                }
                Some(_) | None => return Ok(()),
            }
        }
    }
}

fn show(format: Format, value: &Value, line: &LogLine, message_only: bool) -> Outcome<()> {
    match format {
        Format::Json => output::json_line(value),
        Format::Table => output::line(&print(line, message_only)),
    }
}

/// A terminal gets no control characters; a file or pipe gets the message as it was written.
fn print(line: &LogLine, message_only: bool) -> String {
    let message = if std::io::stdout().is_terminal() {
        clean(&line.message)
    } else {
        line.message.clone()
    };
    if message_only {
        message
    } else {
        format!(
            "{} {:5} #{} {message}",
            view::moment(&line.timestamp),
            clean(&line.level),
            line.attempt
        )
    }
}

pub(super) async fn audit(root: &RootConnectionArgs, args: AuditArgs) -> Outcome {
    let session = args.connection.connect(root)?;
    let request = Request::get(&["workloads", &args.id, "audit"]);
    let list = PageArgs::everything()
        .fetch(&session.client, request, "events")
        .await?;
    match session.format {
        Format::Json => output::json(&list)?,
        Format::Table => {
            let fields = [
                "sequence",
                "timestamp",
                "event_type",
                "actor_type",
                "actor_id",
                "attempt",
                "generation",
                "details",
            ];
            let rows = view::rows(&list, "events", &fields)?;
            output::table(
                &[
                    "nr",
                    "time",
                    "event",
                    "actor",
                    "actor id",
                    "attempt",
                    "generation",
                    "details",
                ],
                rows,
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
