//! `niyanta bench`: load against a running coordinator, and what it makes of it.
//!
//! Closed loop: each of so many clients submits a workload, waits for its end (unless told not to),
//! and submits the next. A latency counts from the first sending to the answer, with all that the
//! client repeated in between, because that is what a customer waits for. Percentiles are of all
//! latencies, not of a sample.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use futures::{StreamExt as _, stream};
use indicatif::{ProgressBar, ProgressStyle};
use niyanta_core::ids::WorkloadType;
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    client::{Request, Retry},
    connection::{CustomerConnectionArgs, RootConnectionArgs, Session},
    failure::{Failure, Outcome},
    output::{self, Format, say},
    parse,
    view::{self, Workload},
};

/// Load.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  niyanta bench                                      1,000 workloads that do nothing, to their ends
  niyanta bench --no-wait --clients 64 --workloads 20000
  niyanta bench --type hash_tree --params '{\"path\": \"/usr/share\"}' --workloads 10 --clients 2

Each client submits a workload, waits for its end, and submits the next. A latency is what a
customer waits for: from the first sending to the answer, with everything that is repeated in
between, such as after 429. So raise the customer's limits first, or the rate is what is measured:

  niyanta customers set-limits cus_0192… --rate-limit-per-sec 100000 --rate-limit-burst 100000

Exit status 1 when a submission failed, or a workload did not end COMPLETED. The workloads carry
the label niyanta-bench with the id of the run.")]
pub(super) struct BenchArgs {
    /// How many workloads to submit
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    workloads: u32,
    /// How many clients submit at the same time
    #[arg(long, value_name = "N", default_value_t = 16)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    clients: u32,
    /// The workload type
    #[arg(long = "type", value_name = "TYPE", default_value = "sleep")]
    workload_type: WorkloadType,
    /// Input: a JSON object, @FILE, or - for standard input
    #[arg(long, value_name = "JSON", default_value = "{\"seconds\": 0}")]
    params: String,
    /// Measure submissions alone, without waiting for the ends
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    connection: CustomerConnectionArgs,
}

/// What became of one workload.
enum Run {
    /// Submitted after the first time, and ended COMPLETED after the second if that was waited for.
    Done(Duration, Option<Duration>),
    /// Submitted, and ended otherwise.
    Otherwise(Duration, String),
    /// Not submitted, or lost sight of.
    Failed(Failure),
}

pub(super) async fn bench(root: &RootConnectionArgs, args: BenchArgs) -> Outcome {
    let params = parse::json_object("--params", &args.params)?;
    let session = args.connection.connect(root)?;
    let run_id = Uuid::new_v4().simple().to_string();
    let body = json!({
        "workload_type": args.workload_type.as_str(), "input_params": params,
        "labels": {"niyanta-bench": run_id},
    });
    let bar = progress_bar(args.workloads);
    let started = Instant::now();
    let (session, body, bar) = (&session, &body, &bar);
    let runs = stream::iter(0..args.workloads).map(|_| async move {
        let run = one(session, body, !args.no_wait).await;
        bar.inc(1);
        run
    });
    let clients = usize::try_from(args.clients).unwrap_or(usize::MAX);
    let runs: Vec<Run> = runs.buffer_unordered(clients).collect().await;
    let elapsed = started.elapsed();
    bar.finish_and_clear();
    report(session, &run_id, &runs, elapsed)
}

/// A bar on a terminal; elsewhere nothing is drawn.
fn progress_bar(workloads: u32) -> ProgressBar {
    let bar = ProgressBar::new(workloads.into());
    let template = "[{bar:30}] {pos}/{len} {elapsed} {per_sec}";
    // The template is a constant; should it ever be wrong, the default bar is shown.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

async fn one(session: &Session, body: &Value, waits: bool) -> Run {
    let key = Uuid::new_v4().to_string();
    let request = Request::post(&["workloads"], body)
        .idempotency_key(&key)
        .retry(Retry::PATIENT);
    let asked = Instant::now();
    let submitted = match session.client.send(&request).await {
        Ok(value) => value,
        Err(failure) => return Run::Failed(failure),
    };
    let latency = asked.elapsed();
    if !waits {
        return Run::Done(latency, None);
    }
    match end(session, &submitted).await {
        Ok(ended) if ended.status == "COMPLETED" => Run::Done(latency, Some(asked.elapsed())),
        Ok(ended) => {
            let why = ended.error_message.unwrap_or_default();
            let line = format!("{} ended {} {why}", ended.workload_id, ended.status);
            Run::Otherwise(latency, line)
        }
        Err(failure) => Run::Failed(failure),
    }
}

/// The workload when it has ended.
async fn end(session: &Session, submitted: &Value) -> Outcome<Workload> {
    let mut seen: Workload = view::read(submitted)?;
    while !seen.is_terminal() {
        let path = ["workloads", &seen.workload_id];
        let request = Request::get(&path)
            .query("wait", 25)
            .query("since_version", seen.version)
            .retry(Retry::STUBBORN);
        let value = session.client.send(&request).await?;
        seen = view::read(&value)?;
    }
    Ok(seen)
}

fn report(session: &Session, run_id: &str, runs: &[Run], elapsed: Duration) -> Outcome {
    let (mut submits, mut ends) = (Vec::new(), Vec::new());
    let (mut failed, mut otherwise) = (0_u32, 0_u32);
    let mut first_failure = None;
    for run in runs {
        match run {
            Run::Done(submit, end) => {
                submits.push(*submit);
                ends.extend(*end);
            }
            Run::Otherwise(submit, line) => {
                submits.push(*submit);
                otherwise += 1;
                first_failure.get_or_insert_with(|| line.clone());
            }
            Run::Failed(failure) => {
                failed += 1;
                first_failure.get_or_insert_with(|| failure.first_line());
            }
        }
    }
    let latencies = [
        ("submitted", summary(submits, elapsed)),
        ("completed", summary(ends, elapsed)),
    ];
    match session.format {
        Format::Json => output::json(&json!({
            "run_id": run_id, "seconds": elapsed.as_secs_f64(), "workloads": runs.len(),
            "failed": failed, "ended_otherwise": otherwise,
            "submitted": latencies[0].1.to_json(), "completed": latencies[1].1.to_json(),
        }))?,
        Format::Table => {
            let rows = latencies.iter().filter(|(_, summary)| summary.count > 0);
            let rows = rows.map(|(what, summary)| summary.row(what));
            output::table(
                &[
                    "what",
                    "number",
                    "per second",
                    "p50 ms",
                    "p90 ms",
                    "p99 ms",
                    "max ms",
                ],
                rows,
            )?;
        }
    }
    if let Some(why) = first_failure {
        let (all, first) = (runs.len(), output::clean(&why));
        say(&format!(
            "error: of {all}, {failed} failed and {otherwise} ended otherwise, the first: {first}"
        ));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Latencies in short.
#[derive(Debug, PartialEq)]
struct Summary {
    count: usize,
    per_second: f64,
    /// Of 50, 90, 99 and 100 in a hundred.
    millis: [f64; 4],
}

fn summary(mut latencies: Vec<Duration>, elapsed: Duration) -> Summary {
    latencies.sort_unstable();
    let count = latencies.len();
    let at = |percent: usize| {
        let place = (count * percent).div_ceil(100).saturating_sub(1);
        latencies
            .get(place)
            .map_or(0.0, |it| it.as_secs_f64() * 1e3)
    };
    #[expect(clippy::cast_precision_loss, reason = "ten millions at most")]
    let per_second = count as f64 / elapsed.as_secs_f64();
    Summary {
        count,
        per_second,
        millis: [at(50), at(90), at(99), at(100)],
    }
}

impl Summary {
    fn row(&self, what: &str) -> Vec<String> {
        let head = [
            what.to_owned(),
            self.count.to_string(),
            format!("{:.1}", self.per_second),
        ];
        let millis = self.millis.iter().map(|millis| format!("{millis:.1}"));
        head.into_iter().chain(millis).collect()
    }

    fn to_json(&self) -> Value {
        let [p50, p90, p99, max] = self.millis;
        json!({
            "number": self.count, "per_second": self.per_second,
            "p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "max_ms": max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_all_latencies() {
        let latencies = (1..=200).rev().map(Duration::from_millis).collect();
        let found = summary(latencies, Duration::from_secs(2));
        assert_eq!(found.millis, [100.0, 180.0, 198.0, 200.0]);
        assert_eq!((found.count, found.per_second), (200, 100.0));
        let none = summary(Vec::new(), Duration::from_secs(1));
        assert_eq!((none.count, none.millis), (0, [0.0; 4]));
    }
}
