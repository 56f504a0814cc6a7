//! The database of a small world: whole statements, one after the other.
//!
//! Owns the rows and what each statement makes of them, as `migrations` and the store's statements
//! have it. Row locks, waiting and partial failure are the event simulation's model.

use crate::{
    properties::{self, Violation},
    scope::Scope,
};
use niyanta_core::{
    Effect, Event, PersistOutcome,
    batch::{Batch, LeaderHalf, WorkerWrite},
    fleet::WorkerDesired,
    ids::{
        Attempt, BatchNumber, CustomerId, Generation, Incarnation, PlacementClass, WishRevision,
        WorkerId, WorkloadId,
    },
    scheduling::{AffinityRules, SortKey},
    snapshot::{CustomerRow, FenceRow, LeaseRow, Load, Loaded, Snapshot, WorkerRow, WorkloadRow},
    time::{Duration, Timestamp, WallTime},
    workload::{Desired, OnLeaseLoss, Status},
};
use sim_probes::{Bug, is_planted};
use std::{collections::BTreeMap, sync::Arc};

/// The only customer.
pub const CUSTOMER: CustomerId = CustomerId(1);

/// Retries of every workload.
pub const RETRIES_MAX: u32 = 1;

/// What is durable.
#[derive(Debug, Clone)]
pub struct Database {
    /// The lease: who, and until when.
    pub lease: LeaseRow,
    /// Until when.
    pub lease_ends: Timestamp,
    /// When the lease was last taken.
    pub taken_at: Timestamp,
    /// The fence.
    pub fence: FenceRow,
    /// Every workload.
    pub workloads: BTreeMap<WorkloadId, WorkloadRow>,
    /// Every worker.
    pub workers: BTreeMap<WorkerId, WorkerRow>,
    /// Open attempts, as the counters have it.
    pub running: i64,
    /// Workloads that left the queue, as the counters have it.
    pub left_queue: u64,
}

/// The database's clock: it runs with everybody's.
#[must_use]
pub fn wall(now: Timestamp) -> WallTime {
    let micros = i64::try_from(now.0 / 1_000).unwrap_or(i64::MAX);
    WallTime(micros.saturating_add(1_700_000_000_000_000))
}

impl Database {
    /// Nothing in it, and nobody ever led.
    #[must_use]
    pub fn new(nobody: &Incarnation) -> Self {
        Self {
            lease: LeaseRow {
                incarnation: nobody.clone(),
                generation: Generation::ZERO,
                remaining: Duration::ZERO,
                resigned: true,
            },
            lease_ends: Timestamp::ZERO,
            taken_at: Timestamp::ZERO,
            fence: FenceRow {
                generation: Generation::ZERO,
                incarnation: nobody.clone(),
                applied: BatchNumber::ZERO,
            },
            workloads: BTreeMap::new(),
            workers: BTreeMap::new(),
            running: 0,
            left_queue: 0,
        }
    }

    /// A workload is submitted.
    pub fn submit(&mut self, number: u128, now: Timestamp, kind: &niyanta_core::ids::WorkloadType) {
        let id = WorkloadId(number);
        let eligible_at = wall(now);
        let row = WorkloadRow {
            id,
            customer: CUSTOMER,
            workload_type: kind.clone(),
            affinity: Arc::new(AffinityRules::default()),
            class: PlacementClass(1),
            priority: 10,
            max_retries: RETRIES_MAX,
            timeout: Duration::from_secs(3_600),
            on_lease_loss: OnLeaseLoss::Stop,
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
    }

    /// The customer's wish. Nothing undoes a cancel, and nothing is wished of what has ended.
    pub fn wish(&mut self, id: WorkloadId, desired: Desired) -> bool {
        let Some(row) = self.workloads.get_mut(&id) else {
            return false;
        };
        let absorbed = row.desired == Desired::Cancel && !is_planted(Bug::ResumeUndoesCancel);
        if absorbed || row.leader.status.is_terminal() || row.desired == desired {
            return false;
        }
        row.desired = desired;
        row.wish_revision = row.wish_revision.next();
        true
    }

    /// An operator's wish.
    pub fn wish_worker(&mut self, id: &WorkerId, desired: WorkerDesired) -> bool {
        let Some(row) = self
            .workers
            .get_mut(id)
            .filter(|row| row.desired != desired)
        else {
            return false;
        };
        row.desired = desired;
        row.wish_revision = row.wish_revision.next();
        true
    }

    /// Open attempts.
    pub fn open(&self) -> impl Iterator<Item = &WorkloadRow> {
        let rows = self.workloads.values();
        rows.filter(|row| row.leader.status.has_open_attempt())
    }

    /// One statement: fence, counts, all or nothing.
    ///
    /// # Errors
    /// What the batch would make untrue.
    pub fn persist(
        &mut self,
        batch: &Batch,
        now: Timestamp,
        truth: &properties::Truth,
    ) -> Result<PersistOutcome, Violation> {
        let fence = &self.fence;
        let ours = fence.generation == batch.generation && fence.incarnation == batch.incarnation;
        if !ours || fence.applied.next() != batch.number {
            return Ok(PersistOutcome::NotApplied);
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
            return Ok(PersistOutcome::Short);
        }
        properties::before_commit(self, batch, now, truth)?;
        self.fence.applied = batch.number;
        for write in &batch.workloads {
            if let Some(row) = self.workloads.get_mut(&write.id) {
                row.leader = write.to.clone();
                if write.stamp_scheduled {
                    row.started_at = None;
                }
                if write.stamp_started {
                    row.started_at = Some(wall(now));
                }
            }
        }
        for write in &batch.workers {
            self.write_worker(write);
        }
        for write in &batch.counters {
            self.running += write.running;
            self.left_queue += write.left_queue;
        }
        properties::after_commit(self)?;
        Ok(PersistOutcome::Applied)
    }

    fn write_worker(&mut self, write: &WorkerWrite) {
        match write {
            WorkerWrite::Put(record) => {
                let row = WorkerRow {
                    record: record.clone(),
                    desired: WorkerDesired::Run,
                    wish_revision: WishRevision::ZERO,
                    drain_deadline: None,
                };
                self.workers
                    .entry(record.worker.clone())
                    .or_insert(row)
                    .record = record.clone();
            }
            WorkerWrite::Remove { worker } => {
                self.workers.remove(worker);
            }
        }
    }

    /// Carries out a question of `asker` and gives its answer.
    ///
    /// # Errors
    /// What it would make untrue.
    pub fn answer(
        &mut self,
        asker: &Incarnation,
        effect: &Effect,
        now: Timestamp,
        truth: &properties::Truth,
    ) -> Result<Option<Event>, Violation> {
        let database_time = wall(now);
        Ok(match effect {
            Effect::TakeLease { .. }
            | Effect::ReadLease { .. }
            | Effect::RenewLease { .. }
            | Effect::ResignLease { .. } => self.answer_lease(asker, effect, now)?,
            Effect::LoadSnapshot { generation, .. } => Some(Event::SnapshotLoaded {
                generation: *generation,
                snapshot: Box::new(self.snapshot()),
                database_time,
            }),
            Effect::Persist(batch) => Some(Event::PersistAnswered {
                generation: batch.generation,
                number: batch.number,
                outcome: self.persist(batch, now, truth)?,
            }),
            Effect::ReadFence { generation, .. } => Some(Event::FenceRead {
                generation: *generation,
                row: Some(self.fence.clone()),
            }),
            Effect::Load { load, what, .. } => Some(Event::Loaded {
                load: *load,
                rows: Some(Box::new(self.load(what))),
                database_time,
            }),
            Effect::AnnounceResignation { .. }
            | Effect::AnnounceLeader { .. }
            | Effect::ProbeBroker { .. }
            | Effect::RecordPendingReasons { .. }
            | Effect::RecordHeartbeats { .. }
            | Effect::Reply { .. }
            | Effect::Forget { .. }
            | Effect::Assign { .. }
            | Effect::Stop { .. }
            | Effect::DrainWorker { .. }
            | Effect::Exit { .. } => None,
        })
    }

    fn answer_lease(
        &mut self,
        asker: &Incarnation,
        effect: &Effect,
        now: Timestamp,
    ) -> Result<Option<Event>, Violation> {
        let database_time = wall(now);
        Ok(match effect {
            Effect::TakeLease {
                ask,
                above,
                own,
                force,
                ttl,
                ..
            } => Some(self.take(asker, (*ask, *above, *own, *force, *ttl), now)?),
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
                let ours = self.lease.generation == generation && !self.lease.resigned;
                Some(if ours {
                    self.lease_ends = now.plus(*ttl);
                    Event::LeaseRenewed {
                        ask,
                        generation,
                        database_time,
                    }
                } else {
                    Event::LeaseLost { ask, generation }
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
            Effect::LoadSnapshot { .. }
            | Effect::Persist(_)
            | Effect::ReadFence { .. }
            | Effect::Load { .. }
            | Effect::AnnounceResignation { .. }
            | Effect::AnnounceLeader { .. }
            | Effect::ProbeBroker { .. }
            | Effect::RecordPendingReasons { .. }
            | Effect::RecordHeartbeats { .. }
            | Effect::Reply { .. }
            | Effect::Forget { .. }
            | Effect::Assign { .. }
            | Effect::Stop { .. }
            | Effect::DrainWorker { .. }
            | Effect::Exit { .. } => None,
        })
    }

    fn lease_row(&self, now: Timestamp) -> LeaseRow {
        LeaseRow {
            remaining: self.lease_ends.since(now),
            ..self.lease.clone()
        }
    }

    fn take(
        &mut self,
        asker: &Incarnation,
        (ask, above, own, force, ttl): (
            niyanta_core::ids::AskId,
            Generation,
            Option<Generation>,
            bool,
            Duration,
        ),
        now: Timestamp,
    ) -> Result<Event, Violation> {
        let database_time = wall(now);
        let is_own = own == Some(self.lease.generation);
        if !(self.lease_ends < now || self.lease.resigned || is_own || force) {
            return Ok(Event::LeaseRefused {
                ask,
                row: self.lease_row(now),
                database_time,
            });
        }
        let generation = above.max(self.lease.generation).next();
        if generation <= self.lease.generation {
            return Err(Violation::new(
                "P2",
                format!("{generation:?} was led before"),
            ));
        }
        self.lease = LeaseRow {
            incarnation: asker.clone(),
            generation,
            remaining: Duration::ZERO,
            resigned: false,
        };
        self.lease_ends = now.plus(ttl);
        self.taken_at = now;
        self.fence = FenceRow {
            generation,
            incarnation: asker.clone(),
            applied: BatchNumber::ZERO,
        };
        Ok(Event::LeaseTaken {
            ask,
            generation,
            database_time,
        })
    }

    fn customers() -> Vec<CustomerRow> {
        vec![CustomerRow {
            id: CUSTOMER,
            weight: 1,
            max_running: 100,
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

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            fence: self.fence.clone(),
            longest_ttl: Scope::LEADER_TTL,
            workers: self.workers.values().cloned().collect(),
            open: self.open().cloned().collect(),
            customers: Self::customers(),
            waiting: self.waiting(),
            next: None,
        }
    }

    fn load(&self, what: &Load) -> Loaded {
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
        let workers = if matches!(what, Load::WorkerWishes) {
            let unseen = |row: &&WorkerRow| row.wish_revision != row.record.wish_seen;
            self.workers.values().filter(unseen).cloned().collect()
        } else {
            Vec::new()
        };
        Loaded {
            workloads,
            workers,
            customers: Self::customers(),
            complete: true,
        }
    }
}
