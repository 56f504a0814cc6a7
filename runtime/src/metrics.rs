//! The catalogue of metrics: every name that this program exports, with its labels and meaning.
//!
//! Whoever counts uses the constants; `docs/metrics.md` is checked against [`CATALOGUE`]. No label
//! takes values that customers choose, nor ids of customers, workloads or workers.

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use std::sync::Mutex;

/// How a metric counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// What is so now.
    Gauge,
    /// How values are distributed, in buckets.
    Histogram,
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// As it is exported.
    pub name: &'static str,
    /// How it counts.
    pub kind: Kind,
    /// The labels it always has.
    pub labels: &'static [&'static str],
    /// What it says.
    pub meaning: &'static str,
}

macro_rules! catalogue {
    ($($constant:ident = $name:literal, $kind:ident, [$($label:literal),*], $meaning:literal;)+) => {
        $(#[doc = $meaning] pub const $constant: &str = $name;)+

        /// Every metric.
        pub const CATALOGUE: &[Metric] = &[$(Metric {
            name: $name,
            kind: Kind::$kind,
            labels: &[$($label),*],
            meaning: $meaning,
        },)+];
    };
}

catalogue! {
    HTTP_REQUESTS = "niyanta_http_requests_total", Counter, ["method", "route", "status"],
        "Requests answered, by route template (`none`: no such route).";
    HTTP_REQUEST_SECONDS = "niyanta_http_request_seconds", Histogram, ["method", "route"],
        "Time from the end of a request's header to the start of its answer; includes the wait of long-polls.";
    HTTP_SHED = "niyanta_http_shed_total", Counter, ["what"],
        "Requests answered 503 because too many `requests`, too many `waiting` ones or too many `bytes` of bodies were there, in all or of one customer.";
    EVENTS = "niyanta_events_total", Counter, ["kind"],
        "Events that core was given.";
    EFFECTS = "niyanta_effects_total", Counter, ["kind"],
        "Effects that core gave.";
    HANDLE_SECONDS = "niyanta_handle_seconds", Histogram, ["kind"],
        "Time that core took for one event.";
    BATCH_ROWS = "niyanta_batch_rows", Histogram, [],
        "Rows in one commit of the leader.";
    COMMIT_SECONDS = "niyanta_commit_seconds", Histogram, ["outcome"],
        "Time of one commit of the leader: `applied`, `not_applied`, `short`, `unknown` or `error`.";
    RETIRED = "niyanta_retired_total", Counter, ["what"],
        "Removed because it was old: `workloads`, `logs` (whole days on Postgres), `idempotency`, `hours`, `coordinators`.";
    STORE_ERRORS = "niyanta_store_errors_total", Counter, ["operation", "kind"],
        "Failed calls of the database, by what is known of their effect (`given_up`: the caller no longer waits).";
    LEADER = "niyanta_leader", Gauge, [],
        "1 while this process leads, else 0.";
    GENERATION = "niyanta_generation", Gauge, [],
        "The leadership term that this process knows.";
    LEADER_CHANGES = "niyanta_leader_changes_total", Counter, ["change"],
        "Terms begun (`elected`) and ended (`ended`) by this process.";
    LEASE_RENEWAL_SECONDS = "niyanta_lease_renewal_seconds", Histogram, [],
        "Time of one renewal of the leader's lease.";
    WORKERS = "niyanta_workers", Gauge, ["status"],
        "Workers that the leader knows, by committed status.";
    CAPACITY_TOTAL = "niyanta_capacity_slots", Gauge, [],
        "Slots of the workers that take work.";
    OPEN_ATTEMPTS = "niyanta_open_attempts", Gauge, [],
        "Attempts that are assigned and not over.";
    WAITING_HELD = "niyanta_waiting_held", Gauge, [],
        "Waiting workloads that the leader holds in memory: a window of the backlog.";
    ASSIGNMENTS = "niyanta_assignments_total", Counter, [],
        "Assignments committed.";
    ENDED_ATTEMPTS = "niyanta_attempts_ended_total", Counter, ["how"],
        "Attempts that were over, by what became of their workload: `completed`, `failed`, `retrying`, `requeued`, `paused` or `cancelled`.";
    WORKER_MESSAGES = "niyanta_worker_messages_total", Counter, ["type", "answer"],
        "Messages of workers that the leader understood, by type and answer (`none`: it gets none).";
    BROKER_INTERRUPTIONS = "niyanta_broker_interruptions_total", Counter, [],
        "Moments at which words of the broker may have been missed.";
    LOOP_LAG_SECONDS = "niyanta_loop_lag_seconds", Histogram, [],
        "How late the driver woke for its own timer.";
    OUTBOX_DROPPED = "niyanta_outbox_dropped_total", Counter, [],
        "Messages dropped because the broker did not take them; what matters is sent again.";
    REPORTS_DROPPED = "niyanta_reports_dropped_total", Counter, [],
        "Reports dropped because many were being written; their workers repeat them.";
    MESSAGES_MALFORMED = "niyanta_messages_malformed_total", Counter, [],
        "Messages that are not of the worker protocol.";
    DATABASE_UP = "niyanta_database_up", Gauge, [],
        "1 while the database answers, else 0.";
    BROKER_UP = "niyanta_broker_up", Gauge, [],
        "1 while the broker is connected, else 0.";
}

/// Installs the recorder of this process, once, and gives the handle that renders it. Later calls
/// give the same one.
pub fn install() -> Result<PrometheusHandle, InstallError> {
    static HANDLE: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
    let mut installed = HANDLE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(handle) = &*installed {
        return Ok(handle.clone());
    }
    let handle = builder()?.install_recorder()?;
    describe();
    begin_at_zero();
    *installed = Some(handle.clone());
    Ok(handle)
}

/// The recorder could not be installed: another one is, or a bucket is wrong.
#[derive(Debug, thiserror::Error)]
#[error("the recorder of metrics could not be installed")]
pub struct InstallError(#[from] BuildError);

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets(SECONDS)?
        .set_buckets_for_metric(Matcher::Full(BATCH_ROWS.to_owned()), ROWS)
}

fn describe() {
    for metric in CATALOGUE {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.meaning),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.meaning),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.meaning),
        }
    }
}

/// What never happened is told as zero, so that its first increase is seen. Counters with labels
/// are left to whoever counts, and knows the labels.
fn begin_at_zero() {
    for metric in CATALOGUE {
        if metric.kind == Kind::Counter && metric.labels.is_empty() {
            metrics::counter!(metric.name).increment(0);
        }
    }
}

const SECONDS: &[f64] = &[
    0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0,
];
const ROWS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0,
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, fmt::Write as _};

    #[test]
    fn names_are_unique_and_say_their_kind() {
        let names: BTreeSet<_> = CATALOGUE.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), CATALOGUE.len());
        for metric in CATALOGUE {
            assert!(metric.name.starts_with("niyanta_"), "{}", metric.name);
            let is_counter = metric.kind == Kind::Counter;
            assert_eq!(
                metric.name.ends_with("_total"),
                is_counter,
                "{}",
                metric.name
            );
        }
    }

    #[test]
    fn the_page_of_metrics_is_the_catalogue() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        let page = std::fs::read_to_string(path).unwrap();
        let table = table();
        assert!(
            page.contains(&table),
            "docs/metrics.md must hold this table:\n{table}"
        );
    }

    fn table() -> String {
        let mut table =
            "| name | kind | labels | meaning |\n| --- | --- | --- | --- |\n".to_owned();
        for metric in CATALOGUE {
            let labels: Vec<_> = metric
                .labels
                .iter()
                .map(|label| format!("`{label}`"))
                .collect();
            let (name, meaning) = (metric.name, metric.meaning);
            let kind = format!("{:?}", metric.kind).to_lowercase();
            writeln!(
                table,
                "| `{name}` | {kind} | {} | {meaning} |",
                labels.join(", ")
            )
            .unwrap();
        }
        table
    }
}
