//! The database: rows, and statements that change them at an instant.
//!
//! Executes the same typed operations as the production store. Each statement is atomic and sees
//! everything that was executed before it, as one autocommitted statement at READ COMMITTED does;
//! the delays, losses and orphans around it are the world's. Does not decide anything: what a row
//! means is `niyanta_core`'s. [`Change`]s tell the properties what was committed.

mod api;
mod commit;
mod lease;
mod read;
mod rows;
mod statement;

pub use rows::{
    AuditRow, Change, CounterRow, Lease, LeaseStep, Moved, Submission, WorkerEntry, Workload,
};
pub use statement::{Answer, ContentWrite, Statement, SubmitAnswer, TakeLease, WishAnswer};

use crate::clock::{Moment, WallClock};
use niyanta_core::{
    ids::{BatchNumber, CustomerId, Generation, Incarnation, WorkerId, WorkloadId},
    snapshot::{FenceRow, Snapshot},
    time::{Duration, WallTime},
};
use sim_probes::{Bug, is_planted};
use std::collections::BTreeMap;

/// The database.
#[derive(Debug)]
pub struct Store {
    clock: WallClock,
    lease: Lease,
    fence: FenceRow,
    workloads: BTreeMap<WorkloadId, Workload>,
    workers: BTreeMap<WorkerId, WorkerEntry>,
    customers: BTreeMap<CustomerId, CounterRow>,
    keys: BTreeMap<(CustomerId, u64), WorkloadId>,
    /// What a wrong variant shows instead of the present.
    before_last_batch: Option<Box<Snapshot>>,
    changes: Vec<Change>,
}

impl Store {
    /// An empty database, as the migrations leave it.
    ///
    /// # Panics
    ///
    /// Never: the name of the nobody who holds the first lease is valid.
    #[must_use]
    pub fn new(clock: WallClock) -> Self {
        let Ok(nobody) = "nobody".parse::<Incarnation>() else {
            unreachable!("a valid incarnation")
        };
        Self {
            clock,
            lease: Lease {
                incarnation: nobody.clone(),
                generation: Generation::ZERO,
                expires_at: WallTime(0),
                resigned: true,
                longest_ttl: Duration::ZERO,
            },
            fence: FenceRow {
                generation: Generation::ZERO,
                incarnation: nobody,
                applied: BatchNumber::ZERO,
            },
            workloads: BTreeMap::new(),
            workers: BTreeMap::new(),
            customers: BTreeMap::new(),
            keys: BTreeMap::new(),
            before_last_batch: None,
            changes: Vec::new(),
        }
    }

    /// Adds a customer.
    pub fn add_customer(&mut self, row: CounterRow) {
        self.customers.insert(row.limits.id, row);
    }

    /// Executes one statement now. What it changed is told by [`Self::take_changes`].
    pub fn execute(&mut self, now: Moment, statement: &Statement) -> Answer {
        let time = self.clock.read(now);
        match statement {
            Statement::TakeLease(take) => self.take_lease(time, take),
            Statement::ReadLease { ask } => self.read_lease(time, *ask),
            Statement::RenewLease {
                ask,
                incarnation,
                generation,
                ttl,
            } => self.renew_lease(time, *ask, incarnation, *generation, *ttl),
            Statement::ResignLease {
                incarnation,
                generation,
            } => self.resign_lease(incarnation, *generation),
            Statement::Snapshot { generation, limit } => self.snapshot(time, *generation, *limit),
            Statement::Persist(batch) => self.persist(time, batch),
            Statement::ReadFence { generation } => Answer::Fence {
                generation: *generation,
                row: self.fence.clone(),
            },
            Statement::Load { load, what, limit } => self.load(time, *load, what, *limit),
            Statement::PendingReasons(reasons) => self.record_reasons(reasons),
            Statement::Heartbeats => Answer::Done,
            Statement::Content(content) => self.write_content(content),
            Statement::Submit(submission) => self.submit(time, submission),
            Statement::Wish {
                customer,
                workload,
                desired,
            } => self.wish(time, *customer, *workload, *desired),
            Statement::WishWorker {
                worker,
                desired,
                deadline,
            } => self.wish_worker(time, worker, *desired, *deadline),
            Statement::Get { customer, workload } => self.get(*customer, *workload),
        }
    }

    /// What was committed since the last call.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// The database's clock.
    #[must_use]
    pub fn time(&self, now: Moment) -> WallTime {
        self.clock.read(now)
    }

    /// The lease row.
    #[must_use]
    pub const fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The fence row.
    #[must_use]
    pub const fn fence(&self) -> &FenceRow {
        &self.fence
    }

    /// One workload.
    #[must_use]
    pub fn workload(&self, id: WorkloadId) -> Option<&Workload> {
        self.workloads.get(&id)
    }

    /// All workloads.
    pub fn workloads(&self) -> impl Iterator<Item = &Workload> {
        self.workloads.values()
    }

    /// One worker.
    #[must_use]
    pub fn worker(&self, id: &WorkerId) -> Option<&WorkerEntry> {
        self.workers.get(id)
    }

    /// All workers.
    pub fn workers(&self) -> impl Iterator<Item = &WorkerEntry> {
        self.workers.values()
    }

    /// All customers.
    pub fn customers(&self) -> impl Iterator<Item = &CounterRow> {
        self.customers.values()
    }

    /// A leader never writes a batch that does not match, unless it was shown what is not.
    fn shows_stale_snapshots(&self) -> bool {
        is_planted(Bug::SnapshotInTakeover) || is_planted(Bug::ShortCountIgnored)
    }
}
