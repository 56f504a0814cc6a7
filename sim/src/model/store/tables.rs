//! The committed rows, and what a commit makes of them.
//!
//! Owns the indices too: which workloads have an open attempt, wait, or carry a wish that the leader
//! has not seen, and how many of a customer's are in the queue. They are kept by one function from
//! the rows as they are, whatever the counters say that coordinators keep.

use super::{
    rows::{
        AuditRow, Change, CounterRow, Lease, LeaseStep, Moved, Submission, WorkerEntry, WorkerWish,
        Workload,
    },
    statement::{ContentWrite, Statement},
};
use niyanta_core::{
    batch::{AuditDetails, Batch, CounterWrite, LeaderHalf, WorkerRecord, WorkerWrite},
    config::Config,
    fleet::WorkerDesired,
    ids::{
        Attempt, BatchNumber, CustomerId, Generation, Incarnation, WishRevision, WorkerId,
        WorkloadId,
    },
    snapshot::{FenceRow, SweepCursor, WorkerRow, WorkloadRow},
    time::{Duration, WallTime},
    workload::{AuditKind, Desired, Status},
};
use sim_probes::{Bug, is_planted};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// All rows.
#[derive(Debug, Clone)]
pub(super) struct Tables {
    pub(super) lease: Lease,
    pub(super) lease_stamp: u64,
    pub(super) fence: FenceRow,
    pub(super) fence_stamp: u64,
    pub(super) workloads: BTreeMap<WorkloadId, Workload>,
    pub(super) workers: BTreeMap<WorkerId, WorkerEntry>,
    pub(super) wishes: BTreeMap<WorkerId, WorkerWish>,
    pub(super) customers: BTreeMap<CustomerId, CounterRow>,
    pub(super) keys: BTreeMap<(CustomerId, u64), WorkloadId>,
    pub(super) open: BTreeSet<WorkloadId>,
    pub(super) waiting: BTreeSet<SweepCursor>,
    pub(super) unseen: BTreeSet<WorkloadId>,
    /// Counts commits: the number of a row's last change.
    pub(super) commits: u64,
}

/// What a statement writes when it commits.
#[derive(Debug, Clone)]
pub(super) enum Write {
    /// A place in the queue that nothing is written for: a planted bug.
    Reservation,
    /// The lease row.
    Lease {
        step: LeaseStep,
        by: Incarnation,
        after: Lease,
    },
    /// The fence row.
    Fence(FenceRow),
    /// The workload's write at this index of the batch, stamped with the time.
    Move(usize, WallTime),
    /// The worker's write at this index of the batch.
    Worker(usize),
    /// What is wished of a worker that is deleted.
    ForgetWish(WorkerId),
    /// The counters' write at this index of the batch.
    Counter(usize),
    /// A new workload, admitted at this time.
    Workload(WallTime),
    /// A wish, at this time.
    Wish(WallTime),
    /// A wish for a worker.
    WorkerWish {
        revision: WishRevision,
        deadline: Option<WallTime>,
    },
    /// A result, or a checkpoint.
    Content,
    /// Why the workload at this index waits.
    Reason(usize),
    /// When the worker at this index was heard.
    Heard,
    /// A customer's limits.
    Limits,
}

/// What the indices need to know of a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    cursor: SweepCursor,
    open: bool,
    waits: bool,
    unseen: bool,
    queued: bool,
}

impl Place {
    fn of(row: &WorkloadRow) -> Self {
        let status = row.leader.status;
        let ended = status.is_terminal();
        Self {
            cursor: place(row),
            open: status.has_open_attempt(),
            waits: status == Status::Pending && row.desired == Desired::Run,
            unseen: row.leader.wish_seen != row.wish_revision && !ended,
            queued: row.leader.attempt == Attempt::ZERO && !ended,
        }
    }
}

/// A workload's place in the sweep's order.
pub(super) fn place(row: &WorkloadRow) -> SweepCursor {
    SweepCursor {
        customer: row.customer,
        class: row.class,
        sort_key: row.leader.sort_key,
        workload: row.id,
    }
}

impl Tables {
    /// As the migrations leave them.
    pub(super) fn new() -> Self {
        let Ok(nobody) = "none".parse::<Incarnation>() else {
            unreachable!("a valid incarnation")
        };
        Self {
            lease: Lease {
                incarnation: nobody.clone(),
                generation: Generation::ZERO,
                expires_at: WallTime(0),
                resigned: true,
                longest_ttl: Duration::ZERO,
            },
            lease_stamp: 0,
            fence: FenceRow {
                generation: Generation::ZERO,
                incarnation: nobody,
                applied: BatchNumber::ZERO,
            },
            fence_stamp: 0,
            workloads: BTreeMap::new(),
            workers: BTreeMap::new(),
            wishes: BTreeMap::new(),
            customers: BTreeMap::new(),
            keys: BTreeMap::new(),
            open: BTreeSet::new(),
            waiting: BTreeSet::new(),
            unseen: BTreeSet::new(),
            commits: 0,
        }
    }

    /// Makes what a statement writes true.
    pub(super) fn apply(
        &mut self,
        statement: &Statement,
        writes: Vec<Write>,
        time: WallTime,
        changes: &mut Vec<Change>,
    ) {
        self.commits += 1;
        let mut moved = Vec::new();
        for write in writes {
            match (write, statement) {
                (Write::Lease { step, by, after }, _) => {
                    changes.push(self.write_lease(step, by, after, time));
                }
                (Write::Fence(row), _) => {
                    self.fence = row;
                    self.fence_stamp = self.commits;
                }
                (Write::Move(index, at), Statement::Persist(batch)) => {
                    moved.extend(self.move_workload(batch, index, at));
                }
                (Write::Worker(index), Statement::Persist(batch)) => {
                    self.write_worker(&batch.workers[index]);
                }
                (Write::ForgetWish(worker), _) => {
                    self.wishes.remove(&worker);
                }
                (Write::Counter(index), Statement::Persist(batch)) => {
                    self.count(&batch.counters[index]);
                }
                (Write::Workload(at), Statement::Submit(submission)) => {
                    self.insert_workload(submission, at);
                    changes.push(Change::Submitted {
                        workload: submission.row.id,
                        customer: submission.row.customer,
                        key: submission.key,
                    });
                }
                (Write::Reservation, Statement::Submit(submission)) => self.reserve(submission),
                (Write::Wish(at), Statement::Wish(wish)) => {
                    changes.extend(self.write_wish(wish.workload, wish.desired, at));
                }
                (Write::WorkerWish { revision, deadline }, Statement::WishWorker(wish)) => {
                    self.write_worker_wish(&wish.worker, wish.desired, revision, deadline);
                }
                (Write::Content, Statement::Content(content)) => self.write_content(content),
                (Write::Reason(index), Statement::PendingReasons(reasons)) => {
                    let (workload, _, reason) = &reasons[index];
                    if let Some(found) = self.workloads.get_mut(workload) {
                        found.pending_reason = Some(*reason);
                        found.stamp = self.commits;
                    }
                }
                (Write::Heard, _) => {}
                (
                    Write::Limits,
                    Statement::ChangeLimits {
                        customer,
                        max_running,
                        max_queued,
                    },
                ) => changes.push(self.write_limits(*customer, *max_running, *max_queued)),
                (write, statement) => unreachable!("{write:?} is not what {statement:?} writes"),
            }
        }
        if let Statement::Persist(batch) = statement {
            changes.push(Change::Batch {
                batch: Arc::clone(batch),
                time,
                moved,
            });
        }
    }

    fn write_lease(
        &mut self,
        step: LeaseStep,
        by: Incarnation,
        after: Lease,
        time: WallTime,
    ) -> Change {
        let before = std::mem::replace(&mut self.lease, after.clone());
        self.lease_stamp = self.commits;
        Change::Lease {
            step,
            time,
            by,
            before,
            after,
        }
    }

    fn count(&mut self, write: &CounterWrite) {
        if let Some(row) = self.customers.get_mut(&write.customer) {
            row.left_queue += write.left_queue;
            row.running += write.running;
            row.moved_stamp = self.commits;
        }
    }

    fn write_limits(&mut self, customer: CustomerId, max_running: u32, max_queued: u64) -> Change {
        if let Some(row) = self.customers.get_mut(&customer) {
            row.limits.max_running = max_running;
            row.max_queued = max_queued;
        }
        Change::Limited { customer }
    }

    fn move_workload(&mut self, batch: &Batch, index: usize, at: WallTime) -> Option<Moved> {
        let write = &batch.workloads[index];
        let found = self.workloads.get_mut(&write.id)?;
        let before_place = Place::of(&found.row);
        let moved = Moved {
            workload: write.id,
            before: std::mem::replace(&mut found.row.leader, write.to.clone()),
            before_version: found.version,
        };
        found.stamp = self.commits;
        found.waits_since = Some(at);
        if write.stamp_scheduled {
            found.row.started_at = None;
        }
        if write.stamp_started {
            found.row.started_at = Some(at);
        }
        if write.to.status != moved.before.status {
            found.pending_reason = None;
        }
        let first = found.version + 1;
        for step in &write.steps {
            found.version += 1;
            if is_planted(Bug::AuditAfterCommit) && self.commits.is_multiple_of(32) {
                // The process ended between the two.
                continue;
            }
            found.audit.push(AuditRow {
                number: if is_planted(Bug::FoldedShareNumber) {
                    first
                } else if is_planted(Bug::AuditFromSequence) {
                    self.commits
                } else {
                    found.version
                },
                kind: step.kind,
                actor: Some(step.actor.clone()),
                attempt: step.attempt,
                generation: Some(batch.generation),
                details: step.details.clone(),
            });
        }
        let after_place = Place::of(&found.row);
        self.reindex(Some(before_place), after_place);
        Some(moved)
    }

    fn write_worker(&mut self, write: &WorkerWrite) {
        match write {
            WorkerWrite::Put(record) => self.put_worker(record),
            WorkerWrite::Remove { worker } => {
                self.workers.remove(worker);
            }
        }
    }

    fn put_worker(&mut self, record: &WorkerRecord) {
        let wish = self.wishes.get(&record.worker);
        let row = WorkerRow {
            // What a write asks for is not part of the row.
            record: WorkerRecord {
                stamp_registered: false,
                ..record.clone()
            },
            desired: wish.map_or(WorkerDesired::Run, |wish| wish.desired),
            wish_revision: wish.map_or(WishRevision::ZERO, |wish| wish.revision),
            drain_deadline: wish.and_then(|wish| wish.deadline),
        };
        let stamp = self.commits;
        self.workers
            .insert(record.worker.clone(), WorkerEntry { row, stamp });
    }

    /// A planted bug: a place in the queue is taken, and nothing stands there.
    fn reserve(&mut self, submission: &Submission) {
        if let Some(row) = self.customers.get_mut(&submission.row.customer) {
            row.submitted += 1;
            row.submitted_stamp = self.commits;
        }
    }

    fn insert_workload(&mut self, submission: &Submission, at: WallTime) {
        let row = made(at, submission);
        let id = row.id;
        if let Some(counters) = self.customers.get_mut(&row.customer) {
            counters.submitted += 1;
            counters.submitted_stamp = self.commits;
        }
        let between = is_planted(Bug::KeyInAnotherStatement) && self.commits.is_multiple_of(8);
        if let Some(key) = submission.key
            && !between
        {
            self.keys.insert((row.customer, key), id);
        }
        let after = Place::of(&row);
        let created = AuditRow {
            number: 1,
            kind: AuditKind::Created,
            actor: None,
            attempt: Attempt::ZERO,
            generation: None,
            details: AuditDetails::None,
        };
        let workload = Workload {
            row,
            version: 1,
            audit: vec![created],
            pending_reason: None,
            waits_since: Some(at),
            result_of: None,
            stamp: self.commits,
        };
        self.workloads.insert(id, workload);
        self.reindex(None, after);
    }

    fn write_wish(
        &mut self,
        workload: WorkloadId,
        desired: Desired,
        at: WallTime,
    ) -> Option<Change> {
        let skips = is_planted(Bug::WishSkipsVersion);
        let found = self.workloads.get_mut(&workload)?;
        let before_place = Place::of(&found.row);
        let before = std::mem::replace(&mut found.row.desired, desired);
        let before_version = found.version;
        found.stamp = self.commits;
        found.waits_since = Some(at);
        found.row.wish_revision = found.row.wish_revision.next();
        if !skips {
            found.version += 1;
        }
        found.audit.push(AuditRow {
            number: before_version + 1,
            kind: match desired {
                Desired::Cancel => AuditKind::CancelRequested,
                Desired::Pause => AuditKind::PauseRequested,
                Desired::Run => AuditKind::ResumeRequested,
            },
            actor: None,
            attempt: found.row.leader.attempt,
            generation: None,
            details: AuditDetails::None,
        });
        let after_place = Place::of(&found.row);
        self.reindex(Some(before_place), after_place);
        Some(Change::Wished {
            workload,
            before,
            before_version,
        })
    }

    fn write_worker_wish(
        &mut self,
        worker: &WorkerId,
        desired: WorkerDesired,
        revision: WishRevision,
        deadline: Option<WallTime>,
    ) {
        let stamp = self.commits;
        if let Some(found) = self.workers.get_mut(worker) {
            found.row.desired = desired;
            found.row.wish_revision = revision;
            found.row.drain_deadline = deadline;
        }
        self.wishes.insert(
            worker.clone(),
            WorkerWish {
                desired,
                revision,
                deadline,
                stamp,
            },
        );
    }

    fn write_content(&mut self, write: &ContentWrite) {
        if let Some(found) = self.workloads.get_mut(&write.workload) {
            match write.checkpoint {
                Some(sequence) => {
                    found.row.checkpoint = Some((write.attempt, sequence));
                    found.stamp = self.commits;
                }
                None => found.result_of = Some(write.attempt),
            }
        }
    }

    /// Keeps the indices true to the rows.
    fn reindex(&mut self, before: Option<Place>, after: Place) {
        if before == Some(after) {
            return;
        }
        let id = after.cursor.workload;
        let was = |what: fn(&Place) -> bool| before.as_ref().is_some_and(what);
        if was(|place| place.open) != after.open {
            toggle(&mut self.open, id, after.open);
        }
        if was(|place| place.unseen) != after.unseen {
            toggle(&mut self.unseen, id, after.unseen);
        }
        if let Some(before) = before
            && before.waits
            && (!after.waits || before.cursor != after.cursor)
        {
            self.waiting.remove(&before.cursor);
        }
        if after.waits {
            self.waiting.insert(after.cursor);
        }
        if let Some(row) = self.customers.get_mut(&after.cursor.customer) {
            let tally = &mut row.tally;
            tally.open += usize::from(after.open);
            tally.open -= usize::from(was(|place| place.open));
            tally.queued += usize::from(after.queued);
            tally.queued -= usize::from(was(|place| place.queued));
            tally.all += usize::from(before.is_none());
        }
    }
}

fn toggle(index: &mut BTreeSet<WorkloadId>, id: WorkloadId, there: bool) {
    if there {
        index.insert(id);
    } else {
        index.remove(&id);
    }
}

/// The row that a submission makes.
fn made(time: WallTime, submission: &Submission) -> WorkloadRow {
    let mut row = submission.row.clone();
    let eligible_at = row.run_after.map_or(time, |after| after.max(time));
    let ageing = Config::AGEING_PER_PRIORITY.as_micros() * u128::from(row.priority);
    row.desired = Desired::Run;
    row.wish_revision = WishRevision::ZERO;
    row.leader = LeaderHalf {
        status: Status::Pending,
        attempt: Attempt::ZERO,
        worker: None,
        retry_count: 0,
        loss_count: 0,
        eligible_at,
        sort_key: eligible_at.0 - i64::try_from(ageing).unwrap_or(i64::MAX),
        backoff_until: None,
        wish_seen: WishRevision::ZERO,
        stopping: None,
        error_type: None,
    };
    row
}
