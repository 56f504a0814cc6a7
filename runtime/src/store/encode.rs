//! How values are written so that both adapters mean the same by them.
//!
//! Owns the column types, the JSON shapes that are ours (audit details, affinity), and the refusal
//! of text that Postgres cannot hold, so that SQLite refuses it too. Knows no statement.

pub(super) use super::words::reason_text;
use super::{
    Json, StoreError,
    words::{audit_details, check_json, check_log_message, check_text},
};
use niyanta_core::{
    batch::{Actor, AuditStep, Batch},
    ids::{InvalidId, WorkloadType},
    scheduling::{AffinityRules, AntiAffinity, Tags, WorkerAffinity},
    time::{Duration, WallTime},
};
use serde::Deserialize;
use serde_json::json;
use sqlx::{
    Decode, Encode, Postgres, Sqlite, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef},
    sqlite::{SqliteArgumentsBuffer, SqliteTypeInfo, SqliteValueRef},
};
use std::{collections::BTreeMap, str::FromStr, sync::Arc};
use uuid::Uuid;

/// A moment as a column: `timestamptz` in Postgres, microseconds in SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time(pub(super) i64);

impl Time {
    /// 2000-01-01, Postgres's zero, in microseconds since 1970.
    const POSTGRES_ZERO: i64 = 946_684_800_000_000;
    /// What `timestamptz` can hold, in microseconds since 2000.
    const POSTGRES_RANGE: (i64, i64) = (-211_813_488_000_000_000, 9_223_371_331_199_999_999);
}

impl From<WallTime> for Time {
    fn from(time: WallTime) -> Self {
        Self(time.0)
    }
}

impl From<Time> for WallTime {
    fn from(time: Time) -> Self {
        Self(time.0)
    }
}

impl Type<Postgres> for Time {
    fn type_info() -> PgTypeInfo {
        <chrono::DateTime<chrono::Utc> as Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for Time {
    fn array_type_info() -> PgTypeInfo {
        <chrono::DateTime<chrono::Utc> as PgHasArrayType>::array_type_info()
    }
}

impl Encode<'_, Postgres> for Time {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let (least, most) = Self::POSTGRES_RANGE;
        let micros = self
            .0
            .saturating_sub(Self::POSTGRES_ZERO)
            .clamp(least, most);
        <i64 as Encode<'_, Postgres>>::encode(micros, buf)
    }
}

impl<'r> Decode<'r, Postgres> for Time {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        match value.format() {
            PgValueFormat::Binary => {
                let micros = <i64 as Decode<'r, Postgres>>::decode(value)?;
                Ok(Self(micros.saturating_add(Self::POSTGRES_ZERO)))
            }
            PgValueFormat::Text => Err("a time in text form was not asked for".into()),
        }
    }
}

impl Type<Sqlite> for Time {
    fn type_info() -> SqliteTypeInfo {
        <i64 as Type<Sqlite>>::type_info()
    }

    fn compatible(ty: &SqliteTypeInfo) -> bool {
        <i64 as Type<Sqlite>>::compatible(ty)
    }
}

impl Encode<'_, Sqlite> for Time {
    fn encode_by_ref(&self, buf: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        <i64 as Encode<'_, Sqlite>>::encode_by_ref(&self.0, buf)
    }
}

impl<'r> Decode<'r, Sqlite> for Time {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        <i64 as Decode<'r, Sqlite>>::decode(value).map(Self)
    }
}

/// An identifier as a column.
pub(super) const fn uuid(id: u128) -> Uuid {
    Uuid::from_u128(id)
}

/// A duration as a column, in microseconds.
pub(super) fn micros(duration: Duration) -> i64 {
    // Half of the range, so that sums in the database do not overflow.
    i64::try_from(duration.as_micros())
        .unwrap_or(i64::MAX)
        .min(i64::MAX / 2)
}

/// A duration from a column.
pub(super) fn duration(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// A 64-bit counter as a column; values that no column holds are refused.
pub(super) fn int(value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|error| StoreError::Refused(error.into()))
}

/// A text that both databases can hold.
pub(super) fn text(value: &str) -> Result<&str, StoreError> {
    check_text(value)?;
    Ok(value)
}

/// An optional text that both databases can hold.
pub(super) fn maybe_text(value: Option<&str>) -> Result<Option<&str>, StoreError> {
    value.map(text).transpose()
}

/// A JSON value that both databases can hold, as text.
pub(super) fn json_text(value: &Json) -> Result<String, StoreError> {
    check_json(value)?;
    Ok(value.to_string())
}

/// An optional JSON value that both databases can hold, as text.
pub(super) fn maybe_json_text(value: Option<&Json>) -> Result<Option<String>, StoreError> {
    value.map(json_text).transpose()
}

/// Labels as JSON text.
pub(super) fn labels_text(labels: &BTreeMap<String, String>) -> Result<String, StoreError> {
    json_text(&json!(labels))
}

/// Labels of a worker as JSON text.
pub(super) fn tags_text(tags: &Tags) -> Result<String, StoreError> {
    json_text(&tags_json(tags))
}

/// Capabilities as JSON text.
pub(super) fn types_text<'a>(types: impl Iterator<Item = &'a WorkloadType>) -> String {
    Json::from_iter(types.map(WorkloadType::as_str)).to_string()
}

/// A log line's message within its bound.
pub(super) fn log_message(message: &str) -> Result<&str, StoreError> {
    check_log_message(message)?;
    Ok(message)
}

/// One audit event as the adapters insert it: the second half of its row.
pub(super) struct StepColumns {
    /// `coordinator`, `worker` or `system`.
    pub(super) actor_type: &'static str,
    /// Which of them.
    pub(super) actor_id: Option<String>,
    /// A JSON object.
    pub(super) details: Json,
}

/// The columns of a step of this batch.
pub(super) fn step_columns(batch: &Batch, step: &AuditStep) -> StepColumns {
    let (actor_type, actor_id) = match &step.actor {
        Actor::Coordinator => ("coordinator", Some(batch.incarnation.to_string())),
        Actor::Worker(worker) => ("worker", Some(worker.to_string())),
        Actor::System => ("system", None),
    };
    StepColumns {
        actor_type,
        actor_id,
        details: audit_details(&step.details),
    }
}

/// Affinity rules as they are stored: the contract's shape, complete.
pub(super) fn affinity_text(rules: &AffinityRules) -> Result<String, StoreError> {
    let worker = |affinity: &WorkerAffinity| {
        json!({
            "worker_id": affinity.worker_id.as_ref().map(|id| id.as_str()),
            "worker_tags": tags_json(&affinity.worker_tags),
        })
    };
    let types = rules.anti.workload_types.iter().map(WorkloadType::as_str);
    json_text(&json!({
        "hard_affinity": worker(&rules.hard),
        "soft_affinity": worker(&rules.soft),
        "anti_affinity": {
            "workload_types": Json::from_iter(types),
            "worker_tags": tags_json(&rules.anti.worker_tags),
        },
    }))
}

/// Affinity rules from what is stored.
pub(super) fn affinity(stored: StoredAffinity) -> Result<AffinityRules, InvalidId> {
    let worker = |stored: StoredWorkerAffinity| -> Result<WorkerAffinity, InvalidId> {
        Ok(WorkerAffinity {
            worker_id: stored.worker_id.as_deref().map(str::parse).transpose()?,
            worker_tags: tags(stored.worker_tags),
        })
    };
    let types = stored.anti_affinity.workload_types.iter();
    Ok(AffinityRules {
        hard: worker(stored.hard_affinity)?,
        soft: worker(stored.soft_affinity)?,
        anti: AntiAffinity {
            workload_types: types.map(|name| name.parse()).collect::<Result<_, _>>()?,
            worker_tags: tags(stored.anti_affinity.worker_tags),
        },
    })
}

/// The stored shape of [`AffinityRules`].
#[derive(Debug, Deserialize)]
pub(super) struct StoredAffinity {
    hard_affinity: StoredWorkerAffinity,
    soft_affinity: StoredWorkerAffinity,
    anti_affinity: StoredAntiAffinity,
}

#[derive(Debug, Deserialize)]
struct StoredWorkerAffinity {
    worker_id: Option<String>,
    worker_tags: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct StoredAntiAffinity {
    workload_types: Vec<String>,
    worker_tags: BTreeMap<String, String>,
}

/// Labels of a worker from what is stored.
pub(super) fn tags(stored: BTreeMap<String, String>) -> Tags {
    stored
        .into_iter()
        .map(|(name, value)| (Arc::from(name), Arc::from(value)))
        .collect()
}

fn tags_json(tags: &Tags) -> Json {
    tags.iter()
        .map(|(name, value)| (name.to_string(), Json::from(&**value)))
        .collect()
}

/// A stored text as the word it should be; `row` names the row in the error.
pub(super) fn word<T: FromStr<Err = InvalidId>>(
    row: &dyn std::fmt::Display,
    stored: &str,
) -> Result<T, StoreError> {
    stored.parse().map_err(|error| corrupt(row, &error))
}

/// A stored number as the narrower one it should be.
pub(super) fn number<T: TryFrom<i64>>(
    row: &dyn std::fmt::Display,
    stored: i64,
) -> Result<T, StoreError>
where
    T::Error: std::fmt::Display,
{
    T::try_from(stored).map_err(|error| corrupt(row, &error))
}

/// Says which row cannot be read, and why.
pub(super) fn corrupt(row: &dyn std::fmt::Display, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("{row}: {why}"))
}
