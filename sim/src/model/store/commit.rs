//! The leader's commit: one batch, all of it or nothing; and what is written beside it.

use super::{
    Store,
    rows::{AuditRow, Change, Moved, WorkerEntry},
    statement::{Answer, ContentWrite},
};
use niyanta_core::{
    Content, PersistOutcome,
    batch::{Batch, WorkerRecord, WorkerWrite, WorkloadWrite},
    fleet::WorkerDesired,
    ids::{Attempt, WishRevision, WorkloadId},
    scheduling::PendingReason,
    snapshot::WorkerRow,
    time::WallTime,
    workload::Status,
};
use sim_probes::{Bug, is_planted};
use std::sync::Arc;

impl Store {
    pub(super) fn persist(&mut self, time: WallTime, batch: &Arc<Batch>) -> Answer {
        let outcome = self.commit(time, batch);
        Answer::Persist {
            generation: batch.generation,
            number: batch.number,
            outcome,
        }
    }

    fn commit(&mut self, time: WallTime, batch: &Arc<Batch>) -> PersistOutcome {
        if !self.passes_fence(batch) {
            return PersistOutcome::NotApplied;
        }
        let matches = self.matches(batch);
        if !matches && !is_planted(Bug::ShortCountIgnored) {
            return PersistOutcome::Short;
        }
        if self.shows_stale_snapshots() {
            self.before_last_batch = Some(Box::new(self.snapshot_rows(time, 1_000)));
        }
        self.fence.applied = batch.number;
        let mut moved = Vec::with_capacity(batch.workloads.len());
        for write in &batch.workloads {
            if let Some(step) = self.move_workload(time, batch, write) {
                moved.push(step);
            }
        }
        for write in &batch.workers {
            match write {
                WorkerWrite::Put(record) => self.put_worker(record),
                WorkerWrite::Remove { worker } => {
                    self.workers.remove(worker);
                }
            }
        }
        for write in &batch.counters {
            if let Some(row) = self.customers.get_mut(&write.customer) {
                row.left_queue += write.left_queue;
                row.running += write.running;
            }
        }
        self.changes.push(Change::Batch {
            batch: Arc::clone(batch),
            time,
            moved,
        });
        PersistOutcome::Applied
    }

    fn passes_fence(&self, batch: &Batch) -> bool {
        let term = self.fence.generation == batch.generation
            && self.fence.incarnation == batch.incarnation;
        let turn = self.fence.applied.next() == batch.number;
        let repeat = is_planted(Bug::CommitRepeatedBlindly) && self.fence.applied == batch.number;
        (term || is_planted(Bug::FenceIgnoresTerm)) && (turn || repeat)
            || is_planted(Bug::FenceIgnored)
    }

    /// Whether every row that the batch names is as it believes.
    fn matches(&self, batch: &Batch) -> bool {
        let workloads = batch.workloads.iter().all(|write| {
            self.workloads.get(&write.id).is_some_and(|found| {
                found.row.leader.status == write.from_status
                    && found.row.leader.attempt == write.from_attempt
            })
        });
        let workers = batch.workers.iter().all(|write| match write {
            WorkerWrite::Put(_) => true,
            WorkerWrite::Remove { worker } => self.workers.contains_key(worker),
        });
        let counters = batch
            .counters
            .iter()
            .all(|write| self.customers.contains_key(&write.customer));
        workloads && workers && counters
    }

    fn move_workload(
        &mut self,
        time: WallTime,
        batch: &Batch,
        write: &WorkloadWrite,
    ) -> Option<Moved> {
        let found = self.workloads.get_mut(&write.id)?;
        let moved = Moved {
            workload: write.id,
            before: found.row.leader.clone(),
            before_version: found.version,
        };
        found.row.leader = write.to.clone();
        found.waits_since = Some(time);
        if write.stamp_scheduled {
            found.row.started_at = None;
        }
        if write.stamp_started {
            found.row.started_at = Some(time);
        }
        if write.to.status != Status::Pending {
            found.pending_reason = None;
        }
        for step in &write.steps {
            found.version += 1;
            found.audit.push(AuditRow {
                number: found.version,
                kind: step.kind,
                actor: Some(step.actor.clone()),
                attempt: step.attempt,
                generation: Some(batch.generation),
                details: step.details.clone(),
            });
        }
        Some(moved)
    }

    fn put_worker(&mut self, record: &WorkerRecord) {
        let entry = self
            .workers
            .entry(record.worker.clone())
            .or_insert_with(|| WorkerEntry {
                row: WorkerRow {
                    record: record.clone(),
                    desired: WorkerDesired::Run,
                    wish_revision: WishRevision::ZERO,
                    drain_deadline: None,
                },
            });
        entry.row.record = record.clone();
    }

    pub(super) fn write_content(&mut self, write: &ContentWrite) -> Answer {
        let Some(found) = self.workloads.get_mut(&write.workload) else {
            return Answer::Content(Content::NotOpen);
        };
        let leader = &found.row.leader;
        let open = leader.status.has_open_attempt()
            && leader.attempt == write.attempt
            && leader
                .worker
                .as_ref()
                .is_some_and(|(_, incarnation)| *incarnation == write.incarnation);
        if !open {
            return Answer::Content(Content::NotOpen);
        }
        match write.checkpoint {
            Some(sequence) => {
                let wanted = (write.attempt, sequence);
                if found.row.checkpoint > Some(wanted) {
                    return Answer::Content(Content::NotOpen);
                }
                found.row.checkpoint = Some(wanted);
            }
            None => found.result_of = Some(write.attempt),
        }
        Answer::Content(Content::Stored)
    }

    pub(super) fn record_reasons(
        &mut self,
        reasons: &[(WorkloadId, Attempt, PendingReason)],
    ) -> Answer {
        for (workload, attempt, reason) in reasons {
            if let Some(found) = self.workloads.get_mut(workload)
                && found.row.leader.status == Status::Pending
                && found.row.leader.attempt == *attempt
            {
                found.pending_reason = Some(*reason);
            }
        }
        Answer::Done
    }
}
