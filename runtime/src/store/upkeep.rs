//! What the [`Store`](super::Store) counts for customers, and what it removes when it is old.

use niyanta_core::time::{Duration, WallTime};

/// How statistics are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatsGroup {
    /// By hour.
    Hour,
    /// By day, in UTC.
    Day,
    /// By workload type.
    WorkloadType,
}

impl StatsGroup {
    /// Its name in the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::WorkloadType => "workload_type",
        }
    }
}

/// What to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatsQuery {
    /// The first hour: its beginning.
    pub from: WallTime,
    /// The end of the last hour.
    pub to: WallTime,
    /// How.
    pub group: StatsGroup,
}

/// What happened in one group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatsRow {
    /// When its hour or day began; `None` for types.
    pub start: Option<WallTime>,
    /// The type; `None` for hours and days.
    pub workload_type: Option<String>,
    /// Submitted in it.
    pub submitted: i64,
    /// Ended in it, by outcome.
    pub completed: i64,
    /// Ended in it, by outcome.
    pub failed: i64,
    /// Ended in it, by outcome.
    pub cancelled: i64,
    /// How long the attempts that ended them ran, in microseconds.
    pub run_micros: i64,
}

/// What is removed, when it is older than this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retire {
    /// Ended workloads, with all that belongs to them: audit, logs, contents, checkpoint, and
    /// idempotency record.
    Workloads(Duration),
    /// Log lines. What the database keeps by the day goes by the day.
    Logs(Duration),
    /// Idempotency records.
    Idempotency(Duration),
    /// Counts of hours.
    Hours(Duration),
    /// Coordinators that were not heard of.
    Coordinators(Duration),
}

impl Retire {
    /// A name for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Workloads(_) => "workloads",
            Self::Logs(_) => "logs",
            Self::Idempotency(_) => "idempotency",
            Self::Hours(_) => "hours",
            Self::Coordinators(_) => "coordinators",
        }
    }
}
