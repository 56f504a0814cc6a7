//! `niyanta stats`: what happened to a customer's workloads.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::{
    client::Request,
    connection::{CustomerConnectionArgs, RootConnectionArgs},
    failure::Outcome,
    output::{self, Format},
    parse, view,
};

/// Statistics.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  niyanta stats                                      the last day, by hour
  niyanta stats --by day --start 30d
  niyanta stats --by type --start 2026-01-01T00:00:00Z --end 2026-02-01T00:00:00Z

Hours are whole. Hours, days and types in which nothing happened are left out.")]
pub(super) struct StatsArgs {
    /// What is counted together
    #[arg(long, value_enum, default_value_t = By::Hour)]
    by: By,
    /// From: a moment, or a duration ago [default: 24h, by day and type 30d]
    #[arg(long, value_name = "WHEN", value_parser = parse::past_moment)]
    start: Option<String>,
    /// Until: a moment, or a duration ago [default: now]
    #[arg(long, value_name = "WHEN", value_parser = parse::past_moment)]
    end: Option<String>,
    #[command(flatten)]
    connection: CustomerConnectionArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// Each hour
    Hour,
    /// Each day
    Day,
    /// Each workload type
    Type,
}

const COUNTS: [&str; 5] = [
    "submitted",
    "completed",
    "failed",
    "cancelled",
    "run_seconds",
];

pub(super) async fn stats(root: &RootConnectionArgs, args: StatsArgs) -> Outcome {
    let session = args.connection.connect(root)?;
    let (group, column) = match args.by {
        By::Hour => ("hour", "start"),
        By::Day => ("day", "start"),
        By::Type => ("workload_type", "workload_type"),
    };
    let request = Request::get(&["customer", "stats"])
        .query("group_by", group)
        .query_if("start", args.start.as_ref())
        .query_if("end", args.end.as_ref());
    let answer = session.client.send(&request).await?;
    match session.format {
        Format::Json => output::json(&answer)?,
        Format::Table => table(&answer, args.by, column)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn table(answer: &Value, by: By, column: &str) -> Outcome<()> {
    let row = |name: String, counts: &Value| {
        let counts = COUNTS.iter().map(|count| view::text(&counts[*count]));
        std::iter::once(name).chain(counts).collect::<Vec<_>>()
    };
    let groups = view::entries(answer, "stats")?.iter();
    let rows = groups.map(|group| row(name(by, &view::text(&group[column])), group));
    let total = std::iter::once(row("total".to_owned(), &answer["total"]));
    let heading = match by {
        By::Hour => "hour",
        By::Day => "day",
        By::Type => "type",
    };
    let heading: Vec<&str> = std::iter::once(heading).chain(COUNTS).collect();
    output::table(&heading, rows.chain(total))
}

/// A day without the time at which it begins.
fn name(by: By, text: &str) -> String {
    match by {
        By::Day => text.split(' ').next().unwrap_or_default().to_owned(),
        By::Hour | By::Type => text.to_owned(),
    }
}
