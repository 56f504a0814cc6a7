//! The database as several coordinators see it: fenced batches, all or nothing, and pages of rows.
//!
//! Owns the rows, and what must be true of each commit: P1, P2, P6, P7, P12, P13, P14, P16, P21 and
//! P22 as far as the rows tell. Row locks and partial failure are the event simulation's model. Once
//! a coordinator was lied to, its batches are taken as they come, and only core is judged.

use niyanta_core::{
    PersistOutcome,
    batch::{Batch, WorkerRecord, WorkerWrite, WorkloadWrite},
    fleet::{WorkerDesired, WorkerStatus},
    ids::{BatchNumber, CustomerId, Generation, Incarnation, WishRevision, WorkerId, WorkloadId},
    snapshot::{CustomerRow, FenceRow, LeaseRow, WorkerRow, WorkloadRow},
    time::{Duration, Timestamp, WallTime},
    workload::{Desired, Status},
};
use std::collections::BTreeMap;

/// What is durable.
#[derive(Debug)]
pub struct Store {
    /// The lease: who, and until when.
    pub lease: LeaseRow,
    /// Until when.
    pub lease_ends: Timestamp,
    /// The fence.
    pub fence: FenceRow,
    /// Every workload.
    pub workloads: BTreeMap<WorkloadId, WorkloadRow>,
    /// Every worker.
    pub workers: BTreeMap<WorkerId, WorkerRow>,
    /// Every customer.
    pub customers: BTreeMap<CustomerId, CustomerRow>,
    /// Open attempts, as the counters have it.
    pub running: BTreeMap<CustomerId, i64>,
    /// Whether what is committed is judged.
    pub is_judged: bool,
    /// No back-off is longer.
    pub backoff_cap: Duration,
    /// How far the database's clock was set off.
    pub wall_step: i64,
}

impl Store {
    /// Nothing in it but customers, and nobody ever led.
    #[must_use]
    pub fn new(customers: impl IntoIterator<Item = CustomerRow>, backoff_cap: Duration) -> Self {
        let nobody: Incarnation = super::world::name("nobody");
        Self {
            lease: LeaseRow {
                incarnation: nobody.clone(),
                generation: Generation(4),
                remaining: Duration::ZERO,
                resigned: true,
            },
            lease_ends: Timestamp::ZERO,
            fence: FenceRow {
                generation: Generation(4),
                incarnation: nobody,
                applied: BatchNumber(9),
            },
            workloads: BTreeMap::new(),
            workers: BTreeMap::new(),
            customers: customers.into_iter().map(|row| (row.id, row)).collect(),
            running: BTreeMap::new(),
            is_judged: true,
            backoff_cap,
            wall_step: 0,
        }
    }

    /// The database's clock.
    #[must_use]
    pub fn wall(&self, now: Timestamp) -> WallTime {
        let micros = i64::try_from(now.0 / 1_000).unwrap_or(i64::MAX);
        let began = 1_700_000_000_000_000_i64.saturating_add(self.wall_step);
        WallTime(began.saturating_add(micros))
    }

    /// A customer's wish. Nothing undoes a cancel, and nothing is wished of what has ended.
    pub fn wish(&mut self, id: WorkloadId, desired: Desired) {
        if let Some(row) = self.workloads.get_mut(&id)
            && row.desired != Desired::Cancel
            && !row.leader.status.is_terminal()
        {
            row.desired = desired;
            row.wish_revision = row.wish_revision.next();
        }
    }

    /// An operator's wish.
    pub fn wish_worker(
        &mut self,
        id: &WorkerId,
        desired: WorkerDesired,
        deadline: Option<WallTime>,
    ) {
        if let Some(row) = self.workers.get_mut(id) {
            row.desired = desired;
            row.drain_deadline = deadline;
            row.wish_revision = row.wish_revision.next();
        }
    }

    /// The lease as it is read.
    #[must_use]
    pub fn lease_row(&self, now: Timestamp) -> LeaseRow {
        LeaseRow {
            remaining: self.lease_ends.since(now),
            ..self.lease.clone()
        }
    }

    /// Takes the lease, when it may be taken.
    pub fn take(
        &mut self,
        asker: &Incarnation,
        above: Generation,
        may: impl FnOnce(&Self) -> bool,
        until: Timestamp,
    ) -> Option<Generation> {
        if !may(self) {
            return None;
        }
        let generation = above.max(self.lease.generation).next();
        if self.is_judged {
            assert!(generation > self.fence.generation, "P2: led before");
        }
        self.lease.generation = generation;
        self.lease.resigned = false;
        self.lease.incarnation = asker.clone();
        self.lease_ends = until;
        self.fence = FenceRow {
            generation,
            incarnation: asker.clone(),
            applied: BatchNumber::ZERO,
        };
        Some(generation)
    }

    /// Open attempts.
    pub fn open(&self) -> impl Iterator<Item = &WorkloadRow> {
        let rows = self.workloads.values();
        rows.filter(|row| row.leader.status.has_open_attempt())
    }

    /// One statement: fence, counts, all or nothing.
    pub fn persist(&mut self, batch: &Batch, now: Timestamp) -> PersistOutcome {
        let fence = &self.fence;
        let ours = fence.generation == batch.generation && fence.incarnation == batch.incarnation;
        if !ours || fence.applied.next() != batch.number {
            return PersistOutcome::NotApplied;
        }
        let fits = batch.workloads.iter().all(|write| {
            self.workloads.get(&write.id).is_some_and(|row| {
                row.leader.status == write.from_status && row.leader.attempt == write.from_attempt
            })
        });
        let knows = batch.workers.iter().all(|write| match write {
            WorkerWrite::Put(_) => true,
            WorkerWrite::Remove { worker } => self.workers.contains_key(worker),
        });
        if !fits || !knows {
            return PersistOutcome::Short;
        }
        if self.is_judged {
            self.judge(batch, now);
        }
        self.fence.applied = batch.number;
        let wall = self.wall(now);
        for write in &batch.workloads {
            if let Some(row) = self.workloads.get_mut(&write.id) {
                write_workload(row, write, wall);
            }
        }
        for write in &batch.workers {
            self.write_worker(write);
        }
        for write in &batch.counters {
            *self.running.entry(write.customer).or_default() += write.running;
        }
        if self.is_judged {
            self.judge_counts(batch);
        }
        PersistOutcome::Applied
    }

    /// What must be true of a batch before it is applied.
    fn judge(&self, batch: &Batch, now: Timestamp) {
        let ids = batch.workloads.iter().map(|write| write.id);
        assert!(ids.is_sorted_by(|a, b| a < b), "one write for a workload");
        for write in &batch.workloads {
            let row = &self.workloads[&write.id];
            let (before, after) = (&row.leader, &write.to);
            let is_open = after.status.has_open_attempt();
            assert_eq!(
                is_open,
                after.worker.is_some(),
                "P7: a worker and an attempt"
            );
            assert!(is_open || after.stopping.is_none(), "nothing to stop");
            let moved = before.status != after.status || before.attempt != after.attempt;
            assert!(!before.status.is_terminal() || !moved, "P6: it had ended");
            assert!(
                !moved || !write.steps.is_empty(),
                "P16: a change and no audit"
            );
            assert!(after.attempt >= before.attempt, "P7: attempts only grow");
            assert!(after.retry_count <= row.max_retries, "P22: retries");
            let cap = self.wall(now).plus(self.backoff_cap);
            let backoff = after
                .backoff_until
                .filter(|until| before.backoff_until != Some(*until));
            assert!(backoff.is_none_or(|until| until <= cap), "P22: back-off");
            if write.stamp_scheduled && is_open {
                self.judge_assignment(batch, write, now);
            }
        }
    }

    /// P14 and P21: nothing is assigned to a worker that is not fit for it, before or after.
    fn judge_assignment(&self, batch: &Batch, write: &WorkloadWrite, now: Timestamp) {
        let row = &self.workloads[&write.id];
        let Some((worker, incarnation)) = &write.to.worker else {
            return;
        };
        let Some(host) = self.workers.get(worker) else {
            panic!("P14: {worker} has no row");
        };
        assert_eq!(host.record.status, WorkerStatus::Healthy, "P14");
        assert_eq!(host.record.incarnation, *incarnation, "P14");
        let withdrawn = batch.workers.iter().any(|put| match put {
            WorkerWrite::Put(record) => {
                record.worker == *worker && record.status != WorkerStatus::Healthy
            }
            WorkerWrite::Remove { worker: removed } => removed == worker,
        });
        assert!(!withdrawn, "P14: withdrawn in the batch that assigns");
        let record = &host.record;
        assert!(
            record.capabilities.contains(&row.workload_type),
            "P21: type"
        );
        let hard = &row.affinity.hard;
        let meets = hard.worker_id.as_ref().is_none_or(|id| id == worker)
            && hard
                .worker_tags
                .iter()
                .all(|(name, value)| record.tags.get(name) == Some(value));
        assert!(meets, "P21: hard affinity");
        assert!(
            row.leader.eligible_at <= self.wall(now),
            "P21: before its time"
        );
    }

    /// P12 and P13, and that the counters are the rows.
    fn judge_counts(&self, batch: &Batch) {
        let mut running = BTreeMap::<CustomerId, i64>::new();
        let mut used = BTreeMap::<&WorkerId, u32>::new();
        for row in self.open() {
            *running.entry(row.customer).or_default() += 1;
            if let Some((worker, _)) = &row.leader.worker {
                *used.entry(worker).or_default() += 1;
            }
        }
        for (customer, count) in &self.running {
            let open = running.get(customer).copied().unwrap_or(0);
            assert_eq!(*count, open, "P13: running differs for {customer}");
        }
        for write in batch.workloads.iter().filter(|write| write.stamp_scheduled) {
            if let Some((worker, _)) = &write.to.worker {
                let capacity = self
                    .workers
                    .get(worker)
                    .map_or(0, |row| row.record.capacity);
                let used = used.get(worker).copied().unwrap_or(0);
                assert!(used <= capacity, "P12: {used} of {capacity} on {worker}");
            }
        }
    }

    fn write_worker(&mut self, write: &WorkerWrite) {
        match write {
            WorkerWrite::Put(record) => {
                let row = self.workers.entry(record.worker.clone());
                row.or_insert_with(|| new_worker(record)).record = record.clone();
            }
            WorkerWrite::Remove { worker } => {
                if self.is_judged {
                    let open = self.open().any(|row| {
                        row.leader
                            .worker
                            .as_ref()
                            .is_some_and(|(id, _)| id == worker)
                    });
                    assert!(!open, "P7: a row goes with its last attempt");
                }
                self.workers.remove(worker);
            }
        }
    }
}

fn new_worker(record: &WorkerRecord) -> WorkerRow {
    WorkerRow {
        record: record.clone(),
        desired: WorkerDesired::Run,
        wish_revision: WishRevision::ZERO,
        drain_deadline: None,
    }
}

fn write_workload(row: &mut WorkloadRow, write: &WorkloadWrite, wall: WallTime) {
    row.leader = write.to.clone();
    if write.stamp_scheduled {
        row.started_at = None;
    }
    if write.stamp_started {
        row.started_at = Some(wall);
    }
}

/// A workload that waits.
#[must_use]
pub fn waits(row: &WorkloadRow) -> bool {
    row.leader.status == Status::Pending && row.desired == Desired::Run
}
