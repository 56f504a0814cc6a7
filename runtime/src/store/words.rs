//! What a stored value says, in the words of the contract, and what no store takes.
//!
//! Owns the refusal of values that some database cannot hold, so that every adapter refuses alike,
//! and the JSON and the words that stored decisions become. Portable: knows no database.

use super::{BoxError, Json, LimitOverrides, Limits, LogReport, StoreError, Tier};
use niyanta_core::{batch::AuditDetails, scheduling::PendingReason, time::WallTime};
use serde_json::json;

/// A log line's message is at most this long, in bytes.
const LOG_MESSAGE_MAX: usize = 8 * 1024;

/// Refuses a text with U+0000, which Postgres cannot hold.
///
/// # Errors
/// [`StoreError::Refused`].
pub fn check_text(value: &str) -> Result<(), StoreError> {
    if value.contains('\0') {
        return Err(refused("text with U+0000"));
    }
    Ok(())
}

/// Refuses a JSON value with U+0000 in any text of it.
///
/// # Errors
/// [`StoreError::Refused`].
pub fn check_json(value: &Json) -> Result<(), StoreError> {
    match value {
        Json::Null | Json::Bool(_) | Json::Number(_) => Ok(()),
        Json::String(string) => check_text(string),
        Json::Array(items) => items.iter().try_for_each(check_json),
        Json::Object(fields) => fields.iter().try_for_each(|(name, field)| {
            check_text(name)?;
            check_json(field)
        }),
    }
}

/// Refuses a log line's message that is too long, or a text with U+0000.
///
/// # Errors
/// [`StoreError::Refused`].
pub fn check_log_message(message: &str) -> Result<(), StoreError> {
    if message.len() > LOG_MESSAGE_MAX {
        return Err(refused("a log line longer than 8 KiB"));
    }
    check_text(message)
}

/// Says what is refused before the database is asked.
fn refused(what: &'static str) -> StoreError {
    StoreError::Refused(BoxError::from(what))
}

/// The tier's limits, but for what an admin has set.
#[must_use]
pub fn limits_in_force(tier: Tier, overrides: &LimitOverrides) -> Limits {
    let tier = tier.limits();
    Limits {
        max_concurrent_workloads: overrides
            .max_concurrent_workloads
            .unwrap_or(tier.max_concurrent_workloads),
        max_queue_depth: overrides.max_queue_depth.unwrap_or(tier.max_queue_depth),
        rate_limit_per_sec: overrides
            .rate_limit_per_sec
            .unwrap_or(tier.rate_limit_per_sec),
        rate_limit_burst: overrides.rate_limit_burst.unwrap_or(tier.rate_limit_burst),
    }
}

/// What an audit event says besides its kind, as the contract shapes it.
#[must_use]
pub fn audit_details(details: &AuditDetails) -> Json {
    match details {
        AuditDetails::None => json!({}),
        AuditDetails::Assigned {
            worker,
            incarnation,
            checkpoint,
        } => json!({
            "worker_id": worker.as_str(),
            "incarnation": incarnation.as_str(),
            "checkpoint": checkpoint.map(|(attempt, sequence)| {
                json!({ "attempt": attempt.0, "checkpoint_sequence": sequence })
            }),
        }),
        AuditDetails::Stopped { cause, worker } => json!({
            "cause": cause.as_str(),
            "worker_id": worker.as_str(),
        }),
        AuditDetails::Retrying {
            error_type,
            retry,
            backoff,
        } => json!({
            "error_type": error_type.as_str(),
            "retry": retry,
            "backoff_ms": u64::try_from(backoff.as_millis()).unwrap_or(u64::MAX),
        }),
        AuditDetails::Failed { error_type } => json!({ "error_type": error_type.as_str() }),
    }
}

/// Why a workload waits, in words.
#[must_use]
pub fn reason_text(reason: &PendingReason) -> String {
    let at = |time: WallTime| {
        chrono::DateTime::from_timestamp_micros(time.0).map_or_else(
            || String::from("a moment out of range"),
            |time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        )
    };
    match reason {
        PendingReason::NoCapableWorker { workers } => {
            format!("none of {workers} workers can run this type")
        }
        PendingReason::NoCapacity { capable } => {
            format!("all slots of {capable} capable workers are taken")
        }
        PendingReason::Affinity { capable } => {
            format!("none of {capable} capable workers meets the hard affinity")
        }
        PendingReason::AntiAffinity { capable } => {
            format!("anti-affinity excludes each of {capable} capable workers that has room")
        }
        PendingReason::CustomerLimit { running, limit } => {
            format!("the customer runs {running} of at most {limit} workloads")
        }
        PendingReason::RetryBackoff { until } => format!("waits until {} to retry", at(*until)),
        PendingReason::RunAfter { until } => {
            format!("was asked not to start before {}", at(*until))
        }
    }
}

/// How many log lines of a workload are kept, the newest. For a while a few more are there: what is
/// older goes when the lines of an attempt begin, and with every thousandth after that.
pub const LOG_LINES_KEPT: u32 = 10_000;

const TRIM_EVERY: u64 = 1_000;

/// Whether lines that are too old go with the writing of these.
#[must_use]
pub fn trims_logs(logs: &LogReport) -> bool {
    let (first, next) = (
        logs.first_sequence,
        logs.first_sequence.saturating_add(logs.lines.len() as u64),
    );
    first <= 1 || first / TRIM_EVERY != next / TRIM_EVERY
}
