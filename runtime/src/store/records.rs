//! Rows as both databases return them, and what they become.
//!
//! Owns the one reading of a stored row: the statements of both adapters name their columns alike,
//! so that a row that cannot be true is called corrupt by both in the same words.

use super::{
    CustomerView, LimitOverrides, Limits, Revision, StoreError, Tier, WorkerView,
    encode::{self, StoredAffinity, Time, corrupt, number, word},
    words::limits_in_force,
};
use niyanta_core::{
    batch::{LeaderHalf, WorkerRecord},
    ids::{Attempt, BatchNumber, CustomerId, Generation, PlacementClass, WishRevision, WorkloadId},
    snapshot::{CustomerRow, FenceRow, LeaseRow, WorkerRow, WorkloadRow},
    time::{Duration, WallTime},
};
use sqlx::{FromRow, types::Json as Column};
use std::{collections::BTreeMap, sync::Arc};
use uuid::Uuid;

mod views;

pub(super) use views::{
    AdminAuditColumns, AssignmentColumns, AuditColumns, ConfigColumns, CoordinatorColumns,
    KeyColumns, LogColumns, ViewColumns, config_columns, key_columns, view_columns,
};

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
            record,
            desired,
            wish_revision,
            ..
        } = self.read()?;
        let Some(registered_at) = registered.map(WallTime::from) else {
            return Err(corrupt(&record.worker, &"a worker that never registered"));
        };
        Ok(WorkerView {
            worker: record.worker,
            incarnation: record.incarnation,
            status: record.status,
            desired,
            wish_revision,
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
    revision: i64,
}

/// The columns of [`CustomerColumns`]: customers `c`, counters `s` and `m`.
macro_rules! customer_columns {
    () => {
        "c.id, c.name, c.tier, c.max_concurrent_workloads, c.max_queue_depth, \
         c.rate_limit_per_sec, c.rate_limit_burst, c.created_at, s.submitted, m.left_queue, \
         m.running, c.revision"
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
            overrides,
            revision: Revision(number(&customer_id(self.id), self.revision)?),
            running: self.running,
            queued: self.queued(),
            created_at: self.created_at.into(),
            name: self.name,
        })
    }
}
/// What happened in one group.
#[derive(Debug, FromRow)]
pub(super) struct StatsColumns {
    start: Option<Time>,
    workload_type: Option<String>,
    submitted: i64,
    completed: i64,
    failed: i64,
    cancelled: i64,
    run_micros: i64,
}

impl StatsColumns {
    pub(super) fn read(self) -> super::StatsRow {
        super::StatsRow {
            start: self.start.map(WallTime::from),
            workload_type: self.workload_type,
            submitted: self.submitted,
            completed: self.completed,
            failed: self.failed,
            cancelled: self.cancelled,
            run_micros: self.run_micros,
        }
    }
}
