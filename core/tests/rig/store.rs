//! The database as core sees it: fenced batches, all or nothing, and rows on request.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::wildcard_enum_match_arm,
    clippy::manual_let_else,
    clippy::unwrap_used,
    reason = "shared by several test binaries, and a test may panic"
)]

use niyanta_core::{
    Effect, Event, PersistOutcome,
    batch::{Batch, LeaderHalf, WorkerWrite},
    fleet::{WorkerDesired, WorkerStatus},
    ids::{
        Attempt, BatchNumber, CustomerId, Generation, Incarnation, PlacementClass, WishRevision,
        WorkerId, WorkloadId,
    },
    scheduling::{AffinityRules, SortKey},
    snapshot::{CustomerRow, FenceRow, LeaseRow, Load, Loaded, Snapshot, WorkerRow, WorkloadRow},
    time::{Duration, Timestamp, WallTime},
    workload::{AuditKind, Desired, ErrorType, OnLeaseLoss, Status},
};
use std::{collections::BTreeMap, sync::Arc};

pub const CUSTOMER: CustomerId = CustomerId(1);

pub struct Store {
    /// The coordinator that asks.
    pub asker: Incarnation,
    pub lease: LeaseRow,
    pub lease_ends: Timestamp,
    pub fence: FenceRow,
    pub workloads: BTreeMap<WorkloadId, WorkloadRow>,
    pub workers: BTreeMap<WorkerId, WorkerRow>,
    pub audit: BTreeMap<WorkloadId, Vec<AuditKind>>,
    pub max_running: u32,
    pub running: i64,
    pub left_queue: u64,
    pub batches: Vec<Arc<Batch>>,
    /// What the next submissions carry.
    pub max_retries: u32,
    pub on_lease_loss: OnLeaseLoss,
    pub timeout: Duration,
}

/// The database's clock runs with the test's, from its own origin.
pub fn wall(now: Timestamp) -> WallTime {
    WallTime(i64::try_from(now.0 / 1_000).unwrap() + 1_700_000_000_000_000)
}

impl Store {
    pub fn new() -> Self {
        let nobody: Incarnation = "nobody".parse().unwrap();
        Self {
            asker: nobody.clone(),
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
            audit: BTreeMap::new(),
            max_running: 100,
            running: 0,
            left_queue: 0,
            batches: Vec::new(),
            max_retries: 3,
            on_lease_loss: OnLeaseLoss::Stop,
            timeout: Duration::from_secs(3_600),
        }
    }

    pub fn resign(&mut self) {
        self.lease.resigned = true;
    }

    pub fn row(&self, id: WorkloadId) -> &WorkloadRow {
        &self.workloads[&id]
    }

    pub fn worker(&self, name: &str) -> Option<&WorkerRow> {
        self.workers.get(&name.parse().unwrap())
    }

    pub fn submit(&mut self, number: u128, now: Timestamp) -> WorkloadId {
        let id = WorkloadId(number);
        let eligible_at = wall(now);
        let row = WorkloadRow {
            id,
            customer: CUSTOMER,
            workload_type: "sleep".parse().unwrap(),
            affinity: Arc::new(AffinityRules::default()),
            class: PlacementClass(1),
            priority: 10,
            max_retries: self.max_retries,
            timeout: self.timeout,
            on_lease_loss: self.on_lease_loss,
            run_after: None,
            desired: Desired::Run,
            wish_revision: WishRevision::ZERO,
            leader: LeaderHalf {
                status: Status::Pending,
                attempt: Attempt::ZERO,
                worker: None,
                retry_count: 0,
                loss_count: 0,
                eligible_at,
                sort_key: SortKey::new(eligible_at, 10).0,
                backoff_until: None,
                wish_seen: WishRevision::ZERO,
                stopping: None,
                error_type: None,
            },
            checkpoint: None,
            started_at: None,
        };
        self.workloads.insert(id, row);
        self.audit.insert(id, vec![AuditKind::Created]);
        id
    }

    pub fn wish(&mut self, id: WorkloadId, desired: Desired) {
        let row = self.workloads.get_mut(&id).unwrap();
        row.desired = desired;
        row.wish_revision = row.wish_revision.next();
    }

    pub fn wish_worker(&mut self, name: &str, desired: WorkerDesired, deadline: Option<WallTime>) {
        let row = self.workers.get_mut(&name.parse().unwrap()).unwrap();
        row.desired = desired;
        row.drain_deadline = deadline;
        row.wish_revision = row.wish_revision.next();
    }

    /// One statement: fence, counts, all or nothing.
    pub fn persist(&mut self, batch: &Arc<Batch>, now: Timestamp) -> PersistOutcome {
        let fence = &self.fence;
        let ours = fence.generation == batch.generation && fence.incarnation == batch.incarnation;
        if !ours || fence.applied.next() != batch.number {
            return PersistOutcome::NotApplied;
        }
        for write in &batch.workloads {
            let row = self.workloads.get(&write.id);
            let fits = row.is_some_and(|row| {
                row.leader.status == write.from_status && row.leader.attempt == write.from_attempt
            });
            if !fits {
                return PersistOutcome::Short;
            }
        }
        for write in &batch.workers {
            if let WorkerWrite::Remove { worker } = write
                && !self.workers.contains_key(worker)
            {
                return PersistOutcome::Short;
            }
        }
        self.fence.applied = batch.number;
        self.check_assignments(batch);
        for write in &batch.workloads {
            self.write_workload(write, now);
        }
        for write in &batch.workers {
            self.write_worker(write);
        }
        for write in &batch.counters {
            self.running += write.running;
            self.left_queue += write.left_queue;
        }
        let open = self.open().count();
        assert_eq!(
            self.running,
            i64::try_from(open).unwrap(),
            "running differs"
        );
        self.batches.push(Arc::clone(batch));
        PersistOutcome::Applied
    }

    fn open(&self) -> impl Iterator<Item = &WorkloadRow> {
        let rows = self.workloads.values();
        rows.filter(|row| row.leader.status.has_open_attempt())
    }

    /// P14: nothing is assigned to a worker that is not HEALTHY, before and after the commit.
    fn check_assignments(&self, batch: &Batch) {
        for write in batch.workloads.iter().filter(|write| write.stamp_scheduled) {
            let Some((worker, incarnation)) = &write.to.worker else {
                continue;
            };
            let row = &self.workers[worker];
            assert_eq!(row.record.status, WorkerStatus::Healthy, "P14");
            assert_eq!(row.record.incarnation, *incarnation, "P14");
            let touched = batch.workers.iter().any(|put| match put {
                WorkerWrite::Put(record) => {
                    record.worker == *worker && record.status != WorkerStatus::Healthy
                }
                WorkerWrite::Remove { worker: removed } => removed == worker,
            });
            assert!(!touched, "P14: drained in the batch that assigns");
        }
    }

    fn write_workload(&mut self, write: &niyanta_core::batch::WorkloadWrite, now: Timestamp) {
        let row = self.workloads.get_mut(&write.id).unwrap();
        assert!(
            !row.leader.status.is_terminal() || row.leader.status == write.to.status,
            "P6"
        );
        assert_eq!(
            write.to.status.has_open_attempt(),
            write.to.worker.is_some()
        );
        row.leader = write.to.clone();
        if write.stamp_scheduled {
            row.started_at = None;
        }
        if write.stamp_started {
            row.started_at = Some(wall(now));
        }
        let steps = write.steps.iter().map(|step| step.kind);
        self.audit.entry(write.id).or_default().extend(steps);
    }

    fn write_worker(&mut self, write: &WorkerWrite) {
        match write {
            WorkerWrite::Put(record) => {
                let row = self
                    .workers
                    .entry(record.worker.clone())
                    .or_insert_with(|| WorkerRow {
                        record: record.clone(),
                        desired: WorkerDesired::Run,
                        wish_revision: WishRevision::ZERO,
                        drain_deadline: None,
                    });
                row.record = record.clone();
            }
            WorkerWrite::Remove { worker } => {
                let open = self.open().any(|row| {
                    row.leader
                        .worker
                        .as_ref()
                        .is_some_and(|(id, _)| id == worker)
                });
                assert!(!open, "a row goes with its last attempt");
                self.workers.remove(worker);
            }
        }
    }

    /// P5: what is told is in the store.
    pub fn check_told(&self, effect: &Effect) {
        match effect {
            Effect::Assign {
                worker,
                incarnation,
                workload,
                attempt,
                ..
            } => {
                let row = self.row(*workload);
                let assigned = Some((worker.clone(), incarnation.clone()));
                assert_eq!(row.leader.worker, assigned, "P5");
                assert_eq!(row.leader.attempt, *attempt, "P5");
            }
            Effect::Stop { order, .. } => {
                let row = self.row(order.workload);
                assert_eq!(row.leader.stopping, Some(order.cause), "P5");
            }
            Effect::DrainWorker { worker, .. } => {
                let status = self.workers[worker].record.status;
                assert_eq!(status, WorkerStatus::Draining, "P5");
            }
            _ => {}
        }
    }

    /// Answers an effect that asks.
    pub fn answer(&mut self, effect: &Effect, now: Timestamp) -> Option<Event> {
        let database_time = wall(now);
        match effect {
            Effect::TakeLease {
                ask,
                above,
                own,
                force,
                ttl,
                ..
            } => Some(self.take(*ask, *above, *own, *force, *ttl, now)),
            Effect::ReadLease { ask, .. } => Some(Event::LeaseRead {
                ask: *ask,
                row: self.lease_row(now),
                database_time,
            }),
            Effect::RenewLease {
                ask,
                generation,
                ttl,
                ..
            } => {
                let (ask, generation) = (*ask, *generation);
                if self.lease.generation != generation || self.lease.resigned {
                    return Some(Event::LeaseLost { ask, generation });
                }
                self.lease_ends = now.plus(*ttl);
                Some(Event::LeaseRenewed {
                    ask,
                    generation,
                    database_time,
                })
            }
            Effect::ResignLease { generation } => {
                if self.lease.generation == *generation {
                    self.lease.resigned = true;
                }
                Some(Event::LeaseResigned {
                    generation: *generation,
                })
            }
            Effect::LoadSnapshot { generation, limit } => Some(Event::SnapshotLoaded {
                generation: *generation,
                snapshot: Box::new(self.snapshot(*limit)),
                database_time,
            }),
            Effect::ReadFence { generation, .. } => Some(Event::FenceRead {
                generation: *generation,
                row: Some(self.fence.clone()),
            }),
            Effect::Load {
                load, what, limit, ..
            } => Some(Event::Loaded {
                load: *load,
                rows: Some(Box::new(self.load(what, *limit))),
                database_time,
            }),
            _ => None,
        }
    }

    fn lease_row(&self, now: Timestamp) -> LeaseRow {
        LeaseRow {
            remaining: self.lease_ends.since(now),
            ..self.lease.clone()
        }
    }

    fn take(
        &mut self,
        ask: niyanta_core::ids::AskId,
        above: Generation,
        own: Option<Generation>,
        force: bool,
        ttl: Duration,
        now: Timestamp,
    ) -> Event {
        let database_time = wall(now);
        let is_own = own == Some(self.lease.generation);
        if !(self.lease_ends < now || self.lease.resigned || is_own || force) {
            return Event::LeaseRefused {
                ask,
                row: self.lease_row(now),
                database_time,
            };
        }
        let generation = above.max(self.lease.generation).next();
        self.lease.generation = generation;
        self.lease.resigned = false;
        self.lease.incarnation = self.asker.clone();
        self.lease_ends = now.plus(ttl);
        self.fence.generation = generation;
        self.fence.incarnation = self.asker.clone();
        self.fence.applied = BatchNumber::ZERO;
        Event::LeaseTaken {
            ask,
            generation,
            database_time,
        }
    }

    fn customers(&self) -> Vec<CustomerRow> {
        vec![CustomerRow {
            id: CUSTOMER,
            weight: 1,
            max_running: self.max_running,
        }]
    }

    fn waiting(&self) -> Vec<WorkloadRow> {
        let waits = |row: &&WorkloadRow| {
            row.leader.status == Status::Pending && row.desired == Desired::Run
        };
        let mut rows: Vec<_> = self.workloads.values().filter(waits).cloned().collect();
        rows.sort_by_key(|row| (row.customer, row.class, row.leader.sort_key, row.id));
        rows
    }

    fn snapshot(&self, limit: u32) -> Snapshot {
        let mut waiting = self.waiting();
        waiting.truncate(usize::try_from(limit).unwrap());
        Snapshot {
            fence: self.fence.clone(),
            longest_ttl: Duration::from_secs(10),
            workers: self.workers.values().cloned().collect(),
            open: self.open().cloned().collect(),
            customers: self.customers(),
            waiting,
            next: None,
        }
    }

    pub fn load(&self, what: &Load, limit: u32) -> Loaded {
        let workloads: Vec<WorkloadRow> = match what {
            Load::Workloads(ids) => ids
                .iter()
                .filter_map(|id| self.workloads.get(id))
                .cloned()
                .collect(),
            Load::Wishes => {
                let unseen = |row: &&WorkloadRow| row.wish_revision != row.leader.wish_seen;
                self.workloads.values().filter(unseen).cloned().collect()
            }
            Load::Backlog { class, after, .. } => {
                let mut rows = self.waiting();
                rows.retain(|row| {
                    let place = (row.leader.sort_key, row.id);
                    row.class == *class && after.is_none_or(|after| place > after)
                });
                rows
            }
            Load::Sweep { .. } => self.waiting(),
            Load::Eligible { after, until } => {
                let mut rows = self.waiting();
                rows.retain(|row| {
                    row.leader.eligible_at > *after && row.leader.eligible_at <= *until
                });
                rows.sort_by_key(|row| row.leader.eligible_at);
                rows
            }
            Load::WorkerWishes | Load::Customers(_) => Vec::new(),
        };
        let workers = match what {
            Load::WorkerWishes => {
                let unseen = |row: &&WorkerRow| row.wish_revision != row.record.wish_seen;
                self.workers.values().filter(unseen).cloned().collect()
            }
            _ => Vec::new(),
        };
        let limit = usize::try_from(limit).unwrap();
        let complete = workloads.len() <= limit;
        Loaded {
            workloads: workloads.into_iter().take(limit).collect(),
            workers,
            customers: self.customers(),
            complete,
        }
    }

    pub fn error_type(&self, id: WorkloadId) -> Option<ErrorType> {
        self.row(id).leader.error_type
    }
}
