//! What answers look like: one type for each JSON shape of the contract, made from rows here alone.
//!
//! Fields stand in the contract's order and every one is always written: absent values are `null`.

use super::{error::Problem, pagination::Pagination, schema};
use crate::{
    status::{KnownLeader, NodeStatus},
    store::{
        AdminAuditRow, AuditRow, ConfigRow, CoordinatorRow, CustomerView, Json, KeyRow, Limits,
        LogRow, WorkerView, WorkloadView,
    },
};
use chrono::{DateTime, SecondsFormat, Utc};
use niyanta_core::{scheduling::PendingCode, time::WallTime, workload::Status};
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};
use utoipa::ToSchema;

/// A moment as it is written: RFC 3339 in UTC, with microseconds.
pub(crate) fn moment(time: WallTime) -> String {
    let time = DateTime::<Utc>::from_timestamp_micros(time.0);
    // Out of chrono's range only if a row is corrupt; the end of the range is then as good.
    time.unwrap_or(DateTime::<Utc>::MAX_UTC)
        .to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn moments(time: Option<WallTime>) -> Option<String> {
    time.map(moment)
}

/// One list, under the name of what it holds.
macro_rules! list {
    ($name:ident { $plural:ident: $of:ty }) => {
        #[derive(Debug, Serialize, ToSchema)]
        pub(crate) struct $name {
            pub(crate) $plural: Vec<$of>,
            pub(crate) pagination: Pagination,
        }
    };
}

list!(WorkloadList {
    workloads: Workload
});
list!(ConfigList {
    workload_configs: Config
});
list!(AuditList { events: AuditEvent });
list!(LogList { logs: Log });
list!(WorkerList { workers: Worker });
list!(CoordinatorList {
    coordinators: Coordinator
});
list!(CustomerList {
    customers: Customer
});
list!(KeyList { api_keys: Key });
list!(AdminAuditList {
    events: AdminAuditEvent
});

/// Why a workload waits.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PendingReason {
    #[schema(value_type = schema::PendingReasonCode)]
    code: &'static str,
    detail: String,
}

/// A workload.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Workload {
    workload_id: String,
    customer_id: String,
    workload_type: String,
    #[schema(value_type = schema::WorkloadStatus)]
    status: &'static str,
    #[schema(value_type = schema::WorkloadDesired)]
    desired: &'static str,
    pending_reason: Option<PendingReason>,
    priority: u16,
    progress_percent: Option<f64>,
    progress_message: Option<String>,
    worker_id: Option<String>,
    attempt: u32,
    retry_count: u32,
    loss_count: u32,
    #[schema(value_type = Object)]
    input_params: Json,
    /// Whatever the worker said, `null` included.
    #[schema(value_type = serde_json::Value)]
    result_data: Option<Json>,
    error_message: Option<String>,
    #[schema(value_type = Option<schema::ErrorKind>)]
    error_type: Option<&'static str>,
    #[schema(value_type = Option<Object>)]
    affinity_rules: Option<Json>,
    timeout_seconds: u32,
    max_retries: u32,
    #[schema(value_type = schema::OnLeaseLossChoice)]
    on_lease_loss: &'static str,
    labels: BTreeMap<String, String>,
    #[schema(format = DateTime)]
    run_after: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    scheduled_at: Option<String>,
    #[schema(format = DateTime)]
    started_at: Option<String>,
    #[schema(format = DateTime)]
    completed_at: Option<String>,
    #[schema(format = DateTime)]
    updated_at: String,
    version: i64,
}

impl Workload {
    /// A row, with what this process knows of the leader.
    pub(crate) fn new(view: WorkloadView, known: &NodeStatus) -> Self {
        Self {
            pending_reason: pending_reason(view.status, view.pending_reason, &known.leader),
            workload_id: view.id.to_string(),
            customer_id: view.customer.to_string(),
            workload_type: view.workload_type.to_string(),
            status: view.status.as_str(),
            desired: view.desired.as_str(),
            priority: view.priority,
            progress_percent: view.progress_percent,
            progress_message: view.progress_message,
            worker_id: view.worker_id.map(|id| id.to_string()),
            attempt: view.attempt.0,
            retry_count: view.retry_count,
            loss_count: view.loss_count,
            input_params: view.input_params,
            result_data: view.result_data,
            error_message: view.error_message,
            error_type: view.error_type.map(|kind| kind.as_str()),
            affinity_rules: view.affinity_rules,
            timeout_seconds: view.timeout_seconds,
            max_retries: view.max_retries,
            on_lease_loss: view.on_lease_loss.as_str(),
            labels: view.labels,
            run_after: moments(view.run_after),
            created_at: moment(view.created_at),
            scheduled_at: moments(view.scheduled_at),
            started_at: moments(view.started_at),
            completed_at: moments(view.completed_at),
            updated_at: moment(view.updated_at),
            version: view.version,
        }
    }
}

/// That nobody leads outweighs what a leader once recorded: as long as it is so, nothing is placed.
fn pending_reason(
    status: Status,
    recorded: Option<(PendingCode, String)>,
    leader: &KnownLeader,
) -> Option<PendingReason> {
    if status != Status::Pending {
        return None;
    }
    let (code, detail) = match (leader, recorded) {
        (KnownLeader::Nobody, _) => (
            PendingCode::NoLeader,
            "no coordinator leads; work is placed again when one does".to_owned(),
        ),
        (KnownLeader::Unknown | KnownLeader::Coordinator(_), Some(recorded)) => recorded,
        (KnownLeader::Unknown | KnownLeader::Coordinator(_), None) => (
            PendingCode::NotYetConsidered,
            "the scheduler has not reached it yet".to_owned(),
        ),
    };
    Some(PendingReason {
        code: code.as_str(),
        detail,
    })
}

/// What became of each submission of a batch, in the same order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchResults {
    pub(crate) results: Vec<BatchResult>,
}

/// What became of one submission of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchResult {
    pub(crate) status: u16,
    pub(crate) workload: Option<Workload>,
    #[schema(value_type = Option<schema::ProblemBody>)]
    pub(crate) error: Option<serde_json::Value>,
}

impl BatchResult {
    /// A refusal of one submission.
    pub(crate) fn refused(status: u16, problem: &Problem<'_>) -> Self {
        Self {
            status,
            workload: None,
            // The words of problems always can be written as JSON.
            error: serde_json::to_value(problem).ok(),
        }
    }
}

/// A workload config.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Config {
    config_id: String,
    workload_type: String,
    description: Option<String>,
    #[schema(value_type = Object)]
    config_json: Json,
    #[schema(value_type = schema::ResourceLimits)]
    resource_limits: Json,
    checkpoint_interval_sec: u32,
    max_retries: u32,
    timeout_seconds: u32,
    #[schema(value_type = schema::OnLeaseLossChoice)]
    on_lease_loss: &'static str,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

impl From<ConfigRow> for Config {
    fn from(row: ConfigRow) -> Self {
        let record = row.record;
        Self {
            config_id: record.id.to_string(),
            workload_type: record.workload_type.to_string(),
            description: record.description,
            config_json: record.config_json,
            resource_limits: record.resource_limits,
            checkpoint_interval_sec: record.checkpoint_interval_sec,
            max_retries: record.max_retries,
            timeout_seconds: record.timeout_seconds,
            on_lease_loss: record.on_lease_loss.as_str(),
            created_at: moment(row.created_at),
            updated_at: moment(row.updated_at),
        }
    }
}

/// An audit event of a workload.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditEvent {
    sequence: i64,
    event_type: &'static str,
    #[schema(format = DateTime)]
    timestamp: String,
    actor_type: String,
    actor_id: Option<String>,
    attempt: u32,
    generation: u64,
    #[schema(value_type = Object)]
    details: Json,
}

impl From<AuditRow> for AuditEvent {
    fn from(row: AuditRow) -> Self {
        Self {
            sequence: row.sequence,
            event_type: row.kind.as_str(),
            timestamp: moment(row.timestamp),
            actor_type: row.actor_type,
            actor_id: row.actor_id,
            attempt: row.attempt.0,
            generation: row.generation.0,
            details: row.details,
        }
    }
}

/// A log line.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Log {
    sequence: u64,
    #[schema(format = DateTime)]
    timestamp: String,
    level: String,
    message: String,
    attempt: u32,
}

impl From<LogRow> for Log {
    fn from(row: LogRow) -> Self {
        Self {
            sequence: row.sequence,
            timestamp: moment(row.line.timestamp),
            level: row.line.level,
            message: row.line.message,
            attempt: row.attempt.0,
        }
    }
}

/// An open attempt of a worker.
#[derive(Debug, Serialize, ToSchema)]
struct Running {
    workload_id: String,
    attempt: u32,
}

/// A worker.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Worker {
    worker_id: String,
    incarnation: String,
    #[schema(value_type = schema::WorkerState)]
    status: &'static str,
    #[schema(value_type = schema::WorkerWanted)]
    desired: &'static str,
    capabilities: Vec<String>,
    capacity_total: u32,
    capacity_used: usize,
    #[schema(value_type = BTreeMap<String, String>)]
    tags: BTreeMap<Arc<str>, Arc<str>>,
    version: String,
    #[schema(format = DateTime)]
    last_heartbeat: Option<String>,
    #[schema(format = DateTime)]
    registered_at: String,
    running: Vec<Running>,
}

impl From<WorkerView> for Worker {
    fn from(view: WorkerView) -> Self {
        let running = view.running.iter().map(|(workload, attempt)| Running {
            workload_id: workload.to_string(),
            attempt: attempt.0,
        });
        Self {
            worker_id: view.worker.to_string(),
            incarnation: view.incarnation.to_string(),
            status: view.status.as_str(),
            desired: view.desired.as_str(),
            capabilities: view.capabilities.iter().map(ToString::to_string).collect(),
            capacity_total: view.capacity_total,
            capacity_used: view.running.len(),
            running: running.collect(),
            tags: view.tags,
            version: view.version,
            last_heartbeat: moments(view.last_heartbeat),
            registered_at: moment(view.registered_at),
        }
    }
}

/// A coordinator.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Coordinator {
    coordinator_id: String,
    incarnation: String,
    is_leader: bool,
    generation: u64,
    address: String,
    version: String,
    #[schema(format = DateTime)]
    started_at: String,
    #[schema(format = DateTime)]
    last_seen: String,
}

impl From<CoordinatorRow> for Coordinator {
    fn from(row: CoordinatorRow) -> Self {
        Self {
            coordinator_id: row.record.coordinator_id,
            incarnation: row.record.incarnation.to_string(),
            is_leader: row.is_leader,
            generation: row.generation.0,
            address: row.record.address,
            version: row.record.version,
            started_at: moment(row.started_at),
            last_seen: moment(row.last_seen),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct LimitsInForce {
    max_concurrent_workloads: u32,
    max_queue_depth: u32,
    rate_limit_per_sec: u32,
    rate_limit_burst: u32,
}

impl From<Limits> for LimitsInForce {
    fn from(limits: Limits) -> Self {
        Self {
            max_concurrent_workloads: limits.max_concurrent_workloads,
            max_queue_depth: limits.max_queue_depth,
            rate_limit_per_sec: limits.rate_limit_per_sec,
            rate_limit_burst: limits.rate_limit_burst,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct Usage {
    running: i64,
    queued: i64,
}

/// A customer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Customer {
    customer_id: String,
    name: String,
    #[schema(value_type = schema::CustomerTier)]
    tier: &'static str,
    limits: LimitsInForce,
    usage: Usage,
    #[schema(format = DateTime)]
    created_at: String,
}

impl From<CustomerView> for Customer {
    fn from(view: CustomerView) -> Self {
        Self {
            customer_id: view.id.to_string(),
            name: view.name,
            tier: view.tier.as_str(),
            limits: view.limits.into(),
            usage: Usage {
                running: view.running,
                queued: view.queued,
            },
            created_at: moment(view.created_at),
        }
    }
}

/// An API key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Key {
    key_id: String,
    customer_id: Option<String>,
    name: String,
    prefix: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    #[schema(format = DateTime)]
    last_used_at: Option<String>,
    #[schema(format = DateTime)]
    revoked_at: Option<String>,
}

impl From<KeyRow> for Key {
    fn from(row: KeyRow) -> Self {
        Self {
            key_id: row.id.to_string(),
            customer_id: row.customer.map(|id| id.to_string()),
            name: row.name,
            prefix: row.prefix,
            created_at: moment(row.created_at),
            expires_at: moments(row.expires_at),
            last_used_at: moments(row.last_used_at),
            revoked_at: moments(row.revoked_at),
        }
    }
}

/// An API key in the answer that makes it: the only one with the secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedKey {
    #[serde(flatten)]
    pub(crate) key: Key,
    pub(crate) secret: String,
}

/// What an admin did.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AdminAuditEvent {
    sequence: i64,
    #[schema(format = DateTime)]
    timestamp: String,
    actor_id: String,
    action: String,
    subject: String,
    #[schema(value_type = Object)]
    details: Json,
}

impl From<AdminAuditRow> for AdminAuditEvent {
    fn from(row: AdminAuditRow) -> Self {
        Self {
            sequence: row.sequence,
            timestamp: moment(row.timestamp),
            actor_id: row.actor_id,
            action: row.action,
            subject: row.subject,
            details: row.details,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_pending_waits_for_a_reason() {
        let recorded = || Some((PendingCode::NoCapacity, "full".to_owned()));
        let code = |status, recorded, leader| {
            pending_reason(status, recorded, &leader).map(|reason| reason.code)
        };
        let led = || KnownLeader::Coordinator("a".to_owned());
        assert_eq!(code(Status::Running, recorded(), led()), None);
        assert_eq!(
            code(Status::Pending, recorded(), led()),
            Some("no_capacity")
        );
        assert_eq!(
            code(Status::Pending, None, led()),
            Some("not_yet_considered")
        );
        assert_eq!(
            code(Status::Pending, None, KnownLeader::Unknown),
            Some("not_yet_considered")
        );
        assert_eq!(
            code(Status::Pending, recorded(), KnownLeader::Nobody),
            Some("no_leader")
        );
    }

    #[test]
    fn moments_are_written_in_utc_with_microseconds() {
        assert_eq!(
            moment(WallTime(1_700_000_000_000_001)),
            "2023-11-14T22:13:20.000001Z"
        );
    }
}
