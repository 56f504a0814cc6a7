//! Rows as the API half reads them: workloads, audit, logs, assignments, configs, keys.

use super::{both, customer_id, workload_id};
use crate::store::{
    AdminAuditRow, AssignmentRow, AuditRow, ConfigId, ConfigRecord, ConfigRow, CoordinatorRecord,
    CoordinatorRow, Json, KeyId, KeyRow, LogLine, LogRow, Revision, StoreError, WorkloadView,
    encode::{Time, corrupt, number, word},
};
use niyanta_core::{
    ids::{Attempt, Generation, WishRevision},
    scheduling::PendingCode,
    time::WallTime,
    workload::{ErrorType, Status},
};
use sqlx::{FromRow, types::Json as Column};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A workload as its customer sees it.
#[derive(Debug, FromRow)]
pub(in crate::store) struct ViewColumns {
    id: Uuid,
    customer_id: Uuid,
    workload_type: String,
    status: String,
    desired: String,
    wish_revision: i64,
    pending_code: Option<String>,
    pending_detail: Option<String>,
    priority: i64,
    progress_percent: Option<f64>,
    progress_message: Option<String>,
    worker_id: Option<String>,
    attempt: i64,
    retry_count: i64,
    loss_count: i64,
    input_params: Column<Json>,
    result_attempt: Option<i64>,
    result_data: Option<Column<Json>>,
    error_attempt: Option<i64>,
    error_message: Option<String>,
    error_type: Option<String>,
    affinity_rules: Option<Column<Json>>,
    timeout_seconds: i64,
    max_retries: i64,
    on_lease_loss: String,
    labels: Column<BTreeMap<String, String>>,
    run_after: Option<Time>,
    created_at: Time,
    scheduled_at: Option<Time>,
    started_at: Option<Time>,
    completed_at: Option<Time>,
    updated_at: Time,
    version: i64,
}

/// The columns of [`ViewColumns`]: workloads `w`, payloads `p`, outcomes `o`.
macro_rules! view_columns {
    () => {
        "w.id, w.customer_id, w.workload_type, w.status, w.desired, w.wish_revision, \
         w.pending_code, w.pending_detail, w.priority, w.progress_percent, w.progress_message, w.worker_id, \
         w.attempt, w.retry_count, w.loss_count, p.input_params, o.result_attempt, o.result_data, \
         o.error_attempt, o.error_message, w.error_type, p.affinity_rules, w.timeout_seconds, \
         w.max_retries, w.on_lease_loss, p.labels, w.run_after, w.created_at, w.scheduled_at, \
         w.started_at, w.completed_at, w.updated_at, w.version"
    };
}
pub(in crate::store) use view_columns;

impl ViewColumns {
    pub(in crate::store) fn view(self) -> Result<Box<WorkloadView>, StoreError> {
        let id = workload_id(self.id);
        let status: Status = word(&id, &self.status)?;
        let error_type: Option<ErrorType> = self
            .error_type
            .as_deref()
            .map(|it| word(&id, it))
            .transpose()?;
        // What an attempt's last report carried is told once the attempt is over.
        let told = |of: Option<i64>| {
            of.is_some_and(|attempt| attempt < self.attempt || !status.has_open_attempt())
        };
        let error_message = match error_type {
            None => None,
            Some(ErrorType::WorkerLost) => Some(String::from(LOST_TOO_OFTEN)),
            Some(ErrorType::Transient | ErrorType::Permanent | ErrorType::Timeout) => {
                self.error_message.filter(|_| told(self.error_attempt))
            }
        };
        let pending_reason = match &self.pending_code {
            Some(code) if status == Status::Pending => {
                let code = pending_code(code).ok_or_else(|| corrupt(&id, &"pending_code"))?;
                Some((code, self.pending_detail.unwrap_or_default()))
            }
            Some(_) | None => None,
        };
        Ok(Box::new(WorkloadView {
            id,
            customer: customer_id(self.customer_id),
            workload_type: word(&id, &self.workload_type)?,
            status,
            desired: word(&id, &self.desired)?,
            wish_revision: WishRevision(number(&id, self.wish_revision)?),
            pending_reason,
            priority: number(&id, self.priority)?,
            progress_percent: self.progress_percent,
            progress_message: self.progress_message,
            worker_id: self
                .worker_id
                .as_deref()
                .map(|it| word(&id, it))
                .transpose()?,
            attempt: Attempt(number(&id, self.attempt)?),
            retry_count: number(&id, self.retry_count)?,
            loss_count: number(&id, self.loss_count)?,
            input_params: self.input_params.0,
            result_data: self
                .result_data
                .filter(|_| told(self.result_attempt))
                .map(|it| it.0),
            error_message,
            error_type,
            affinity_rules: self.affinity_rules.map(|it| it.0),
            timeout_seconds: number(&id, self.timeout_seconds)?,
            max_retries: number(&id, self.max_retries)?,
            on_lease_loss: word(&id, &self.on_lease_loss)?,
            labels: self.labels.0,
            run_after: self.run_after.map(WallTime::from),
            created_at: self.created_at.into(),
            scheduled_at: self.scheduled_at.map(WallTime::from),
            started_at: self.started_at.map(WallTime::from),
            completed_at: self.completed_at.map(WallTime::from),
            updated_at: self.updated_at.into(),
            version: self.version,
        }))
    }
}

/// The message of a failure that nobody reported.
const LOST_TOO_OFTEN: &str = "the workers that ran it were lost too many times in a row";

fn pending_code(stored: &str) -> Option<PendingCode> {
    [
        PendingCode::NoCapableWorker,
        PendingCode::NoCapacity,
        PendingCode::Affinity,
        PendingCode::AntiAffinity,
        PendingCode::CustomerLimit,
        PendingCode::RetryBackoff,
        PendingCode::RunAfter,
        PendingCode::NotYetConsidered,
        PendingCode::NoLeader,
    ]
    .into_iter()
    .find(|code| code.as_str() == stored)
}

/// One audit event.
#[derive(Debug, FromRow)]
pub(in crate::store) struct AuditColumns {
    sequence: i64,
    kind: String,
    at: Time,
    actor_type: String,
    actor_id: Option<String>,
    attempt: i64,
    generation: i64,
    details: Column<Json>,
}

impl AuditColumns {
    pub(in crate::store) fn read(self) -> Result<AuditRow, StoreError> {
        let row = format!("audit event {}", self.sequence);
        Ok(AuditRow {
            sequence: self.sequence,
            kind: word(&row, &self.kind)?,
            timestamp: self.at.into(),
            actor_type: self.actor_type,
            actor_id: self.actor_id,
            attempt: Attempt(number(&row, self.attempt)?),
            generation: Generation(number(&row, self.generation)?),
            details: self.details.0,
        })
    }
}

/// One log line.
#[derive(Debug, FromRow)]
pub(in crate::store) struct LogColumns {
    attempt: i64,
    sequence: i64,
    at: Time,
    level: String,
    message: String,
}

impl LogColumns {
    pub(in crate::store) fn read(self) -> Result<LogRow, StoreError> {
        let row = format!("log line {} of attempt {}", self.sequence, self.attempt);
        Ok(LogRow {
            sequence: number(&row, self.sequence)?,
            attempt: Attempt(number(&row, self.attempt)?),
            line: LogLine {
                timestamp: self.at.into(),
                level: self.level,
                message: self.message,
            },
        })
    }
}

/// What an assignment carries.
#[derive(Debug, FromRow)]
pub(in crate::store) struct AssignmentColumns {
    id: Uuid,
    attempt: i64,
    workload_type: String,
    config_json: Column<Json>,
    resource_limits: Column<Json>,
    input_params: Column<Json>,
    checkpoint_interval_sec: i64,
    checkpoint_attempt: Option<i64>,
    checkpoint_sequence: Option<i64>,
    checkpoint_data: Option<String>,
    timeout_seconds: i64,
    on_lease_loss: String,
}

impl AssignmentColumns {
    pub(in crate::store) fn read(self) -> Result<AssignmentRow, StoreError> {
        let id = workload_id(self.id);
        let place = both(self.checkpoint_attempt, self.checkpoint_sequence);
        let checkpoint = both(place, self.checkpoint_data)
            .map(|((attempt, sequence), data)| {
                Ok::<_, StoreError>((Attempt(number(&id, attempt)?), number(&id, sequence)?, data))
            })
            .transpose()?;
        Ok(AssignmentRow {
            workload: id,
            attempt: Attempt(number(&id, self.attempt)?),
            workload_type: word(&id, &self.workload_type)?,
            config_json: self.config_json.0,
            resource_limits: self.resource_limits.0,
            input_params: self.input_params.0,
            checkpoint_interval_sec: number(&id, self.checkpoint_interval_sec)?,
            checkpoint,
            timeout_seconds: number(&id, self.timeout_seconds)?,
            on_lease_loss: word(&id, &self.on_lease_loss)?,
        })
    }
}

/// A workload config.
#[derive(Debug, FromRow)]
pub(in crate::store) struct ConfigColumns {
    id: Uuid,
    workload_type: String,
    description: Option<String>,
    config_json: Column<Json>,
    resource_limits: Column<Json>,
    checkpoint_interval_sec: i64,
    max_retries: i64,
    timeout_seconds: i64,
    on_lease_loss: String,
    created_at: Time,
    updated_at: Time,
    revision: i64,
}

/// The columns of [`ConfigColumns`].
macro_rules! config_columns {
    () => {
        "id, workload_type, description, config_json, resource_limits, checkpoint_interval_sec, \
         max_retries, timeout_seconds, on_lease_loss, created_at, updated_at, \
         revision"
    };
}
pub(in crate::store) use config_columns;

impl ConfigColumns {
    pub(in crate::store) fn read(self) -> Result<ConfigRow, StoreError> {
        let id = ConfigId(self.id.as_u128());
        Ok(ConfigRow {
            record: ConfigRecord {
                id,
                workload_type: word(&id, &self.workload_type)?,
                description: self.description,
                config_json: self.config_json.0,
                resource_limits: self.resource_limits.0,
                checkpoint_interval_sec: number(&id, self.checkpoint_interval_sec)?,
                max_retries: number(&id, self.max_retries)?,
                timeout_seconds: number(&id, self.timeout_seconds)?,
                on_lease_loss: word(&id, &self.on_lease_loss)?,
            },
            created_at: self.created_at.into(),
            updated_at: self.updated_at.into(),
            revision: Revision(number(&id, self.revision)?),
        })
    }
}

/// An API key.
#[derive(Debug, FromRow)]
pub(in crate::store) struct KeyColumns {
    id: Uuid,
    customer_id: Option<Uuid>,
    name: String,
    prefix: String,
    secret_hash: Vec<u8>,
    created_at: Time,
    expires_at: Option<Time>,
    last_used_at: Option<Time>,
    revoked_at: Option<Time>,
}

/// The columns of [`KeyColumns`], of a table called `k`.
macro_rules! key_columns {
    () => {
        "k.id, k.customer_id, k.name, k.prefix, k.secret_hash, k.created_at, k.expires_at, \
         k.last_used_at, k.revoked_at"
    };
}
pub(in crate::store) use key_columns;

impl KeyColumns {
    pub(in crate::store) fn read(self) -> Result<KeyRow, StoreError> {
        let id = KeyId(self.id.as_u128());
        let secret_hash = <[u8; 32]>::try_from(self.secret_hash.as_slice())
            .map_err(|_| corrupt(&id, &"a hash that is not 32 bytes long"))?;
        Ok(KeyRow {
            id,
            customer: self.customer_id.map(customer_id),
            name: self.name,
            prefix: self.prefix,
            secret_hash,
            created_at: self.created_at.into(),
            expires_at: self.expires_at.map(WallTime::from),
            last_used_at: self.last_used_at.map(WallTime::from),
            revoked_at: self.revoked_at.map(WallTime::from),
        })
    }
}

/// One thing that an admin did.
#[derive(Debug, FromRow)]
pub(in crate::store) struct AdminAuditColumns {
    sequence: i64,
    at: Time,
    actor_id: String,
    action: String,
    subject: String,
    details: Column<Json>,
}

impl AdminAuditColumns {
    pub(in crate::store) fn read(self) -> AdminAuditRow {
        AdminAuditRow {
            sequence: self.sequence,
            timestamp: self.at.into(),
            actor_id: self.actor_id,
            action: self.action,
            subject: self.subject,
            details: self.details.0,
        }
    }
}

/// A coordinator that is up.
#[derive(Debug, FromRow)]
pub(in crate::store) struct CoordinatorColumns {
    incarnation: String,
    coordinator_id: String,
    address: String,
    version: String,
    started_at: Time,
    last_seen: Time,
    is_leader: bool,
    generation: i64,
}

impl CoordinatorColumns {
    pub(in crate::store) fn read(self) -> Result<CoordinatorRow, StoreError> {
        let row = format!("coordinator {}", self.incarnation);
        Ok(CoordinatorRow {
            record: CoordinatorRecord {
                incarnation: word(&row, &self.incarnation)?,
                coordinator_id: self.coordinator_id,
                address: self.address,
                version: self.version,
            },
            started_at: self.started_at.into(),
            last_seen: self.last_seen.into(),
            is_leader: self.is_leader,
            generation: Generation(number(&row, self.generation)?),
        })
    }
}
