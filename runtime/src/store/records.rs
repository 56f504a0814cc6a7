//! Rows as both databases return them, and what they become.
//!
//! Owns the one reading of a stored row: the statements of both adapters name their columns alike,
//! so that a row that cannot be true is called corrupt by both in the same words.

use super::{
    AdminAuditRow, AssignmentRow, AuditRow, ConfigId, ConfigRecord, ConfigRow, CoordinatorRecord,
    CoordinatorRow, CustomerView, Json, KeyId, KeyRow, LimitOverrides, Limits, LogLine, LogRow,
    StoreError, Tier, WorkerView, WorkloadView,
    encode::{self, StoredAffinity, Time, corrupt, number, word},
};
use niyanta_core::{
    batch::{LeaderHalf, WorkerRecord},
    ids::{Attempt, BatchNumber, CustomerId, Generation, PlacementClass, WishRevision, WorkloadId},
    scheduling::PendingCode,
    snapshot::{CustomerRow, FenceRow, LeaseRow, WorkerRow, WorkloadRow},
    time::{Duration, WallTime},
};
use sqlx::{FromRow, types::Json as Column};
use std::{collections::BTreeMap, sync::Arc};
use uuid::Uuid;

const fn workload_id(id: Uuid) -> WorkloadId {
    WorkloadId(id.as_u128())
}

const fn customer_id(id: Uuid) -> CustomerId {
    CustomerId(id.as_u128())
}

/// A pair of columns that are set together.
fn both<A, B>(a: Option<A>, b: Option<B>) -> Option<(A, B)> {
    a.zip(b)
}

/// The lease row, with the clock that judged it.
#[derive(Debug, FromRow)]
pub(super) struct LeaseColumns {
    incarnation: String,
    generation: i64,
    remaining: i64,
    resigned: bool,
    pub(super) database_time: Time,
}

impl LeaseColumns {
    pub(super) fn read(self) -> Result<LeaseRow, StoreError> {
        let row = "lease row";
        Ok(LeaseRow {
            incarnation: word(&row, &self.incarnation)?,
            generation: Generation(number(&row, self.generation)?),
            remaining: encode::duration(self.remaining),
            resigned: self.resigned,
        })
    }
}

/// The fence row.
#[derive(Debug, FromRow)]
pub(super) struct FenceColumns {
    generation: i64,
    incarnation: String,
    applied_batch: i64,
}

impl FenceColumns {
    pub(super) fn read(self) -> Result<FenceRow, StoreError> {
        let row = "fence row";
        Ok(FenceRow {
            generation: Generation(number(&row, self.generation)?),
            incarnation: word(&row, &self.incarnation)?,
            applied: BatchNumber(number(&row, self.applied_batch)?),
        })
    }
}

/// A workload as core needs it.
#[derive(Debug, FromRow)]
pub(super) struct WorkloadColumns {
    id: Uuid,
    customer_id: Uuid,
    workload_type: String,
    placement_class: i64,
    priority: i64,
    affinity: Column<StoredAffinity>,
    max_retries: i64,
    timeout_seconds: i64,
    on_lease_loss: String,
    run_after: Option<Time>,
    desired: String,
    wish_revision: i64,
    status: String,
    attempt: i64,
    worker_id: Option<String>,
    worker_incarnation: Option<String>,
    retry_count: i64,
    loss_count: i64,
    eligible_at: Time,
    sort_key: i64,
    backoff_until: Option<Time>,
    wish_seen: i64,
    stopping: Option<String>,
    error_type: Option<String>,
    started_at: Option<Time>,
    checkpoint_attempt: Option<i64>,
    checkpoint_sequence: Option<i64>,
}

/// The columns of [`WorkloadColumns`], of a table called `w`.
macro_rules! workload_columns {
    () => {
        "w.id, w.customer_id, w.workload_type, w.placement_class, w.priority, w.affinity, \
         w.max_retries, w.timeout_seconds, w.on_lease_loss, w.run_after, w.desired, \
         w.wish_revision, w.status, w.attempt, w.worker_id, w.worker_incarnation, w.retry_count, \
         w.loss_count, w.eligible_at, w.sort_key, w.backoff_until, w.wish_seen, w.stopping, \
         w.error_type, w.started_at, w.checkpoint_attempt, w.checkpoint_sequence"
    };
}
pub(super) use workload_columns;

impl WorkloadColumns {
    pub(super) const fn owner(&self) -> Uuid {
        self.customer_id
    }

    pub(super) fn read(self) -> Result<WorkloadRow, StoreError> {
        let id = workload_id(self.id);
        let worker = match (&self.worker_id, &self.worker_incarnation) {
            (Some(worker), Some(incarnation)) => {
                Some((word(&id, worker)?, word(&id, incarnation)?))
            }
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err(corrupt(&id, &"half a worker"));
            }
        };
        let leader = LeaderHalf {
            status: word(&id, &self.status)?,
            attempt: Attempt(number(&id, self.attempt)?),
            worker,
            retry_count: number(&id, self.retry_count)?,
            loss_count: number(&id, self.loss_count)?,
            eligible_at: self.eligible_at.into(),
            sort_key: self.sort_key,
            backoff_until: self.backoff_until.map(WallTime::from),
            wish_seen: WishRevision(number(&id, self.wish_seen)?),
            stopping: self
                .stopping
                .as_deref()
                .map(|it| word(&id, it))
                .transpose()?,
            error_type: self
                .error_type
                .as_deref()
                .map(|it| word(&id, it))
                .transpose()?,
        };
        let affinity = encode::affinity(self.affinity.0).map_err(|error| corrupt(&id, &error))?;
        let timeout: u64 = number(&id, self.timeout_seconds)?;
        let checkpoint = both(self.checkpoint_attempt, self.checkpoint_sequence)
            .map(|(attempt, sequence)| {
                Ok::<_, StoreError>((Attempt(number(&id, attempt)?), number(&id, sequence)?))
            })
            .transpose()?;
        Ok(WorkloadRow {
            id,
            customer: customer_id(self.customer_id),
            workload_type: word(&id, &self.workload_type)?,
            affinity: Arc::new(affinity),
            class: PlacementClass(self.placement_class),
            priority: number(&id, self.priority)?,
            max_retries: number(&id, self.max_retries)?,
            timeout: Duration::from_secs(timeout),
            on_lease_loss: word(&id, &self.on_lease_loss)?,
            run_after: self.run_after.map(WallTime::from),
            desired: word(&id, &self.desired)?,
            wish_revision: WishRevision(number(&id, self.wish_revision)?),
            leader,
            checkpoint,
            started_at: self.started_at.map(WallTime::from),
        })
    }
}

/// A worker, both halves.
#[derive(Debug, FromRow)]
pub(super) struct WorkerColumns {
    worker_id: String,
    incarnation: String,
    status: String,
    capabilities: Column<Vec<String>>,
    capacity: i64,
    tags: Column<BTreeMap<String, String>>,
    version: String,
    longest_lease: i64,
    wish_seen: i64,
    registered_at: Option<Time>,
    last_heartbeat: Option<Time>,
    desired: String,
    wish_revision: i64,
    drain_deadline: Option<Time>,
}

/// The columns of [`WorkerColumns`], of workers `t` left joined with wishes `d`.
macro_rules! worker_columns {
    () => {
        "t.worker_id, t.incarnation, t.status, t.capabilities, t.capacity, t.tags, t.version, \
         t.longest_lease, t.wish_seen, t.registered_at, t.last_heartbeat, \
         coalesce(d.desired, 'run') as desired, coalesce(d.wish_revision, 0) as wish_revision, \
         d.drain_deadline"
    };
}
pub(super) use worker_columns;

impl WorkerColumns {
    pub(super) fn id(&self) -> &str {
        &self.worker_id
    }

    pub(super) fn read(self) -> Result<WorkerRow, StoreError> {
        let id = format!("worker {}", self.worker_id);
        let types = self.capabilities.0.iter().map(|name| word(&id, name));
        Ok(WorkerRow {
            record: WorkerRecord {
                worker: word(&id, &self.worker_id)?,
                incarnation: word(&id, &self.incarnation)?,
                status: word(&id, &self.status)?,
                capabilities: types.collect::<Result<_, _>>()?,
                capacity: number(&id, self.capacity)?,
                tags: encode::tags(self.tags.0),
                version: Arc::from(self.version),
                longest_lease: encode::duration(self.longest_lease),
                wish_seen: WishRevision(number(&id, self.wish_seen)?),
                stamp_registered: false,
            },
            desired: word(&id, &self.desired)?,
            wish_revision: WishRevision(number(&id, self.wish_revision)?),
            drain_deadline: self.drain_deadline.map(WallTime::from),
        })
    }

    /// As operators see it; `running` is looked up by the caller.
    pub(super) fn view(self) -> Result<WorkerView, StoreError> {
        let (registered, heard) = (self.registered_at, self.last_heartbeat);
        let WorkerRow {
            record, desired, ..
        } = self.read()?;
        let Some(registered_at) = registered.map(WallTime::from) else {
            return Err(corrupt(&record.worker, &"a worker that never registered"));
        };
        Ok(WorkerView {
            worker: record.worker,
            incarnation: record.incarnation,
            status: record.status,
            desired,
            capabilities: record.capabilities.into_iter().collect(),
            capacity_total: record.capacity,
            tags: record.tags,
            version: record.version.to_string(),
            last_heartbeat: heard.map(WallTime::from),
            registered_at,
            running: Vec::new(),
        })
    }
}

/// An open attempt, for the list of workers.
#[derive(Debug, FromRow)]
pub(super) struct RunningColumns {
    pub(super) worker_id: String,
    id: Uuid,
    attempt: i64,
}

impl RunningColumns {
    pub(super) fn read(&self) -> Result<(WorkloadId, Attempt), StoreError> {
        let id = workload_id(self.id);
        Ok((id, Attempt(number(&id, self.attempt)?)))
    }
}

/// A customer with overrides and counters.
#[derive(Debug, FromRow)]
pub(super) struct CustomerColumns {
    id: Uuid,
    name: String,
    tier: String,
    max_concurrent_workloads: Option<i64>,
    max_queue_depth: Option<i64>,
    rate_limit_per_sec: Option<i64>,
    rate_limit_burst: Option<i64>,
    created_at: Time,
    submitted: i64,
    left_queue: i64,
    running: i64,
}

/// The columns of [`CustomerColumns`]: customers `c`, counters `s` and `m`.
macro_rules! customer_columns {
    () => {
        "c.id, c.name, c.tier, c.max_concurrent_workloads, c.max_queue_depth, \
         c.rate_limit_per_sec, c.rate_limit_burst, c.created_at, s.submitted, m.left_queue, \
         m.running"
    };
}
pub(super) use customer_columns;

impl CustomerColumns {
    fn tier_and_overrides(&self) -> Result<(Tier, LimitOverrides), StoreError> {
        let id = customer_id(self.id);
        let limit = |stored: Option<i64>| stored.map(|it| number(&id, it)).transpose();
        let overrides = LimitOverrides {
            max_concurrent_workloads: limit(self.max_concurrent_workloads)?,
            max_queue_depth: limit(self.max_queue_depth)?,
            rate_limit_per_sec: limit(self.rate_limit_per_sec)?,
            rate_limit_burst: limit(self.rate_limit_burst)?,
        };
        Ok((word(&id, &self.tier)?, overrides))
    }

    pub(super) fn limits(&self) -> Result<Limits, StoreError> {
        let (tier, overrides) = self.tier_and_overrides()?;
        Ok(limits_in_force(tier, &overrides))
    }

    pub(super) const fn queued(&self) -> i64 {
        self.submitted - self.left_queue
    }

    pub(super) fn scheduling(&self) -> Result<CustomerRow, StoreError> {
        let (tier, overrides) = self.tier_and_overrides()?;
        Ok(CustomerRow {
            id: customer_id(self.id),
            weight: tier.weight(),
            max_running: limits_in_force(tier, &overrides).max_concurrent_workloads,
        })
    }

    pub(super) fn view(self) -> Result<CustomerView, StoreError> {
        let (tier, overrides) = self.tier_and_overrides()?;
        Ok(CustomerView {
            id: customer_id(self.id),
            tier,
            limits: limits_in_force(tier, &overrides),
            running: self.running,
            queued: self.queued(),
            created_at: self.created_at.into(),
            name: self.name,
        })
    }
}

/// The tier's limits, but for what an admin has set.
pub(super) fn limits_in_force(tier: Tier, overrides: &LimitOverrides) -> Limits {
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

/// A workload as its customer sees it.
#[derive(Debug, FromRow)]
pub(super) struct ViewColumns {
    id: Uuid,
    customer_id: Uuid,
    workload_type: String,
    status: String,
    desired: String,
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
        "w.id, w.customer_id, w.workload_type, w.status, w.desired, w.pending_code, \
         w.pending_detail, w.priority, w.progress_percent, w.progress_message, w.worker_id, \
         w.attempt, w.retry_count, w.loss_count, p.input_params, o.result_attempt, o.result_data, \
         o.error_attempt, o.error_message, w.error_type, p.affinity_rules, w.timeout_seconds, \
         w.max_retries, w.on_lease_loss, p.labels, w.run_after, w.created_at, w.scheduled_at, \
         w.started_at, w.completed_at, w.updated_at, w.version"
    };
}
pub(super) use view_columns;

impl ViewColumns {
    pub(super) fn view(self) -> Result<Box<WorkloadView>, StoreError> {
        use niyanta_core::workload::{ErrorType, Status};
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
pub(super) struct AuditColumns {
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
    pub(super) fn read(self) -> Result<AuditRow, StoreError> {
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
pub(super) struct LogColumns {
    attempt: i64,
    sequence: i64,
    at: Time,
    level: String,
    message: String,
}

impl LogColumns {
    pub(super) fn read(self) -> Result<LogRow, StoreError> {
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
pub(super) struct AssignmentColumns {
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
    pub(super) fn read(self) -> Result<AssignmentRow, StoreError> {
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
pub(super) struct ConfigColumns {
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
}

/// The columns of [`ConfigColumns`].
macro_rules! config_columns {
    () => {
        "id, workload_type, description, config_json, resource_limits, checkpoint_interval_sec, \
         max_retries, timeout_seconds, on_lease_loss, created_at, updated_at"
    };
}
pub(super) use config_columns;

impl ConfigColumns {
    pub(super) fn read(self) -> Result<ConfigRow, StoreError> {
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
        })
    }
}

/// An API key.
#[derive(Debug, FromRow)]
pub(super) struct KeyColumns {
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
pub(super) use key_columns;

impl KeyColumns {
    pub(super) fn read(self) -> Result<KeyRow, StoreError> {
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
pub(super) struct AdminAuditColumns {
    sequence: i64,
    at: Time,
    actor_id: String,
    action: String,
    subject: String,
    details: Column<Json>,
}

impl AdminAuditColumns {
    pub(super) fn read(self) -> AdminAuditRow {
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
pub(super) struct CoordinatorColumns {
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
    pub(super) fn read(self) -> Result<CoordinatorRow, StoreError> {
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
