//! From a snapshot of the database to a term that may act.
//!
//! Owns the checks of durable data (a [`SnapshotError`] ends the term, never a panic) and what is
//! taken from it. Keeps: attempts of incarnations that others replaced before are over now;
//! everything else waits for a word or for its grace.

use super::{
    loads::{Loads, PRUNE_SLACK},
    quarantine::Quarantine,
    reports::Endings,
    term::{Pace, Term},
};
use crate::{
    Config,
    batch::WorkerRecord,
    fleet::{Committed, Fleet, Presence, Worker, WorkerDesired, WorkerStatus},
    ids::{BatchNumber, Generation, Incarnation, LoadId, WishRevision, WorkerId},
    persist::Commits,
    probes::{mark, planted},
    scheduling::Scheduler,
    snapshot::{Snapshot, SnapshotError, WorkerRow, WorkloadRow},
    time::{DatabaseClock, Duration, Timestamp, WallTime},
    timer::Agenda,
    workload::{Open, Over, Workload},
};
use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    vec::Vec,
};

/// A term that waits for its snapshot.
#[derive(Debug, Clone)]
pub(crate) struct Rebuild {
    pub(super) generation: Generation,
    /// When the snapshot is asked for again, after a failure.
    pub(super) retry_at: Option<Timestamp>,
    pub(super) failures: u32,
}

impl Rebuild {
    pub(super) const fn new(generation: Generation) -> Self {
        Self {
            generation,
            retry_at: None,
            failures: 0,
        }
    }

    pub(super) fn note_failed(&mut self, now: Timestamp) {
        mark!(SnapshotFailed);
        self.failures = self.failures.saturating_add(1);
        let wait = Duration::from_millis(50) * (1 << self.failures.min(5));
        self.retry_at = Some(now.plus(wait));
    }
}

/// What a term begins with, beside the snapshot.
#[derive(Debug, Clone)]
pub(super) struct Outset {
    pub(super) config: Arc<Config>,
    pub(super) generation: Generation,
    pub(super) now: Timestamp,
    pub(super) database_time: WallTime,
    pub(super) next_load: LoadId,
    pub(super) quarantine: Quarantine,
}

impl Term {
    pub(super) fn begin(outset: Outset, snapshot: Snapshot) -> Result<Self, SnapshotError> {
        check(&outset, &snapshot)?;
        let now = outset.now;
        let config = outset.config;
        let window = usize::try_from(config.window_per_class).unwrap_or(usize::MAX);
        let mut term = Self {
            generation: outset.generation,
            now,
            clock: DatabaseClock::new(outset.database_time, now),
            fleet: Fleet::new(snapshot.longest_ttl.max(config.leader_lease_ttl)),
            workloads: BTreeMap::new(),
            by_worker: BTreeMap::new(),
            scheduler: Scheduler::new(window),
            commits: Commits::new(
                outset.generation,
                config.incarnation.clone(),
                snapshot.fence.applied,
            ),
            loads: Loads::new(outset.next_load, snapshot.next, outset.database_time),
            endings: Endings::default(),
            attempts: Agenda::new(),
            over: VecDeque::new(),
            pace: Pace {
                sweep_at: now.plus(config.scheduler_interval),
                record_at: now.plus(Duration::from_secs(10)),
                announce: Some((now.plus(Duration::from_secs(1)), Duration::from_secs(1))),
                eligible_at: None,
                plan_more: false,
                prune_at: PRUNE_SLACK,
                judge_at: now,
            },
            quarantine: outset.quarantine,
            end: None,
            config,
        };
        term.set_customers(&snapshot.customers);
        for row in snapshot.workers {
            term.adopt_worker(row);
        }
        for row in snapshot.open {
            term.adopt_open(row);
        }
        for mut row in snapshot.waiting {
            let id = row.id;
            if planted!(RetriesInMemoryOnly) && row.leader.backoff_until.is_some() {
                continue;
            }
            if planted!(RunAfterIgnoredAtRebuild) {
                row.leader.eligible_at = row.leader.eligible_at.min(term.wall());
            }
            term.workloads.insert(id, Workload::new(row));
            term.reconsider(id);
            term.retire_if_idle(id);
        }
        term.resume_wishes();
        Ok(term)
    }

    fn adopt_worker(&mut self, row: WorkerRow) {
        let id = row.record.worker.clone();
        let silent_since = if planted!(NewLeaderCallsSilentDead) {
            self.now.minus(row.record.longest_lease)
        } else {
            self.now
        };
        let worker = Worker {
            committed: Some(Committed {
                incarnation: row.record.incarnation.clone(),
                status: row.record.status,
                longest_lease: row.record.longest_lease,
            }),
            desired: row.desired,
            // Only what was acted upon counts as seen: the rest comes with the first load of wishes.
            wish_revision: row.record.wish_seen,
            drain_deadline: row.drain_deadline,
            record: row.record,
            written: BatchNumber::ZERO,
            presence: Presence::Unheard,
            silent_since,
            status_moves: false,
            said_goodbye: false,
            is_leaving: false,
        };
        self.fleet.insert(&self.config, worker);
        self.show_worker(&id);
        self.set_drain(&id);
    }

    fn adopt_open(&mut self, row: WorkloadRow) {
        let id = row.id;
        let Some((worker, incarnation)) = row.leader.worker.clone() else {
            return;
        };
        let is_running = row.leader.status == crate::workload::Status::Running;
        if self.fleet.get(&worker).is_none() {
            self.adopt_ghost(&worker, &incarnation);
        }
        let is_over = self.had_ended(&worker, &incarnation);
        let attempt = row.leader.attempt;
        let mut workload = Workload::new(row);
        let mut open = Open::new(worker.clone(), incarnation, BatchNumber::ZERO);
        open.told_at = Some(self.now);
        open.is_over = is_over;
        if !is_running || workload.stopping().is_some() {
            open.next_send = Some(self.now.plus(Open::FIRST_INTERVAL));
        }
        workload.open = Some(open);
        self.workloads.insert(id, workload);
        self.occupy(id, &worker);
        if is_over {
            self.over.push_back((id, attempt, Over::Lost));
        }
        self.set_due(id);
    }

    /// A worker that has no row and yet an open attempt: nobody may have its id before its grace is
    /// over.
    fn adopt_ghost(&mut self, worker: &WorkerId, incarnation: &Incarnation) {
        let ghost = Worker {
            record: WorkerRecord {
                worker: worker.clone(),
                incarnation: incarnation.clone(),
                status: WorkerStatus::Dead,
                capabilities: BTreeSet::new(),
                capacity: 1,
                tags: BTreeMap::new(),
                version: Arc::from(""),
                longest_lease: self.config.heartbeat_timeout,
                wish_seen: WishRevision::ZERO,
                stamp_registered: false,
            },
            desired: WorkerDesired::Remove,
            wish_revision: WishRevision::ZERO,
            drain_deadline: None,
            written: BatchNumber::ZERO,
            committed: None,
            presence: Presence::Unheard,
            silent_since: self.now,
            status_moves: false,
            said_goodbye: false,
            is_leaving: false,
        };
        self.fleet.insert(&self.config, ghost);
    }

    /// An earlier term had proof that this incarnation is over: it committed another in its place.
    /// DEAD is no such proof: one that was removed may still be stopping, and what operators want of
    /// it afterwards hides why it is DEAD.
    fn had_ended(&self, worker: &WorkerId, incarnation: &Incarnation) -> bool {
        let known = self.fleet.get(worker);
        known.is_some_and(|known| !known.is_current(incarnation))
    }

    /// Wishes of open workloads that the last leader had not seen, and rows that wait to go.
    fn resume_wishes(&mut self) {
        let unseen: Vec<_> = self
            .workloads
            .values()
            .filter(|w| w.row.wish_revision > w.row.leader.wish_seen)
            .map(|w| w.row.id)
            .collect();
        for id in unseen {
            if self.room() > 0 {
                self.act_on_wish(id);
            }
        }
        let leaving: Vec<_> = self
            .fleet
            .values()
            .filter(|w| w.is_dead() && w.desired == WorkerDesired::Remove)
            .map(|w| w.record.worker.clone())
            .collect();
        for id in leaving {
            self.drop_row_if_done(&id);
        }
    }
}

fn check(outset: &Outset, snapshot: &Snapshot) -> Result<(), SnapshotError> {
    let fence = &snapshot.fence;
    let ours = fence.generation == outset.generation
        && fence.incarnation == outset.config.incarnation
        && (fence.applied == BatchNumber::ZERO || planted!(RebuildKeepsGeneration));
    if !ours {
        return Err(SnapshotError::NotOurs(fence.clone()));
    }
    let mut seen = BTreeSet::new();
    for row in snapshot.open.iter().chain(&snapshot.waiting) {
        if !seen.insert(row.id) {
            return Err(SnapshotError::DuplicateWorkload(row.id));
        }
        if row.leader.status.has_open_attempt() != row.leader.worker.is_some() {
            return Err(SnapshotError::WorkerMismatch(row.id));
        }
        if row.leader.stopping.is_some() && row.leader.worker.is_none() {
            return Err(SnapshotError::StopWithoutAttempt(row.id));
        }
    }
    let misplaced = snapshot.open.iter().find(|row| row.leader.worker.is_none());
    misplaced.map_or(Ok(()), |row| Err(SnapshotError::WorkerMismatch(row.id)))
}
