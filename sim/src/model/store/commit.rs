//! The leader's commit: one batch, all of it or nothing.
//!
//! The fence row comes first, judged again after a wait; then, in the order of the statement, the
//! workloads, the workers put, the workers removed and the counters, and last the wishes of workers
//! that are gone. A row that was not as expected when the statement began is passed over, and one
//! that has changed since is judged as it is now: whatever is missing is found out at the end, by
//! the counts, and undoes everything.

use super::{
    Store,
    locks::RowKey,
    session::SqlError,
    statement::Answer,
    tables::Write,
    transaction::{Next, Transaction},
};
use niyanta_core::{
    PersistOutcome,
    batch::{Batch, WorkerWrite, WorkloadWrite},
    fleet::WorkerDesired,
    ids::WorkerId,
    snapshot::FenceRow,
    time::WallTime,
};
use sim_probes::{Bug, is_planted};

impl Store {
    pub(super) fn commit_batch(
        &mut self,
        tx: &mut Transaction,
        batch: &Batch,
        time: WallTime,
    ) -> Next {
        let first_row = 2;
        if tx.cursor == 0 {
            if has_bad_value(batch) {
                return Next::Failed(SqlError::Data);
            }
            if !self.passes_fence(batch) {
                return Next::Done(persisted(batch, PersistOutcome::NotApplied));
            }
            tx.stamp = self.tables.fence_stamp;
            if !tx.at_once || !self.locks.is_empty() {
                tx.at_once = false;
                tx.snapshot = self.expected_rows(batch);
            }
            tx.cursor = 1;
            if is_planted(Bug::FenceReadUnlocked) {
                return Next::Breath;
            }
            return Next::Lock(RowKey::Fence);
        }
        if tx.cursor == 1 {
            let looks_again =
                !is_planted(Bug::FenceReadUnlocked) && !is_planted(Bug::LeaseCheckedBeforeLock);
            let is_stale = self.tables.fence_stamp != tx.stamp;
            if is_stale && looks_again && !self.passes_fence(batch) {
                return Next::Done(persisted(batch, PersistOutcome::NotApplied));
            }
            tx.writes.push(Write::Fence(FenceRow {
                applied: batch.number,
                ..self.tables.fence.clone()
            }));
            (tx.cursor, tx.has_row) = (first_row, false);
        }
        loop {
            let row = tx.cursor - first_row;
            if tx.has_row {
                tx.has_row = false;
                tx.cursor += 1;
                if let Err(error) = self.judge_row(tx, batch, row, time) {
                    return Next::Failed(error);
                }
                continue;
            }
            match self.row_of(tx, batch, row) {
                Row::Lock(key) => return Next::Lock(key),
                Row::PassOver => tx.cursor += 1,
                Row::Beyond => break,
            }
        }
        let written = tx.writes.iter().filter(|write| counts(write)).count();
        if written != batch.rows() && !is_planted(Bug::ShortCountIgnored) {
            return Next::Failed(SqlError::Short);
        }
        if self.shows_stale_snapshots() {
            self.before_last_batch = Some(Box::new(self.snapshot_rows(1_000)));
        }
        Next::Done(persisted(batch, PersistOutcome::Applied))
    }

    fn passes_fence(&self, batch: &Batch) -> bool {
        let fence = &self.tables.fence;
        let own = fence.incarnation == batch.incarnation;
        let own = own || is_planted(Bug::FenceIgnoresIncarnation);
        let term = fence.generation == batch.generation && own;
        let turn = fence.applied.next() == batch.number;
        let repeat = is_planted(Bug::CommitRepeatedBlindly) && fence.applied == batch.number;
        (term || is_planted(Bug::FenceIgnoresTerm)) && (turn || repeat)
            || is_planted(Bug::FenceIgnored)
    }

    /// Which of the rows that are looked for are there, and as expected.
    fn expected_rows(&self, batch: &Batch) -> Vec<bool> {
        let workloads = batch.workloads.iter().map(|write| self.fits(write));
        let workers = batch.workers.iter();
        let workers = workers.map(|write| self.tables.workers.contains_key(write.worker()));
        workloads.chain(workers).collect()
    }

    fn fits(&self, write: &WorkloadWrite) -> bool {
        self.tables.workloads.get(&write.id).is_some_and(|found| {
            found.row.leader.status == write.from_status
                && found.row.leader.attempt == write.from_attempt
        })
    }

    fn row_of(&self, tx: &Transaction, batch: &Batch, row: usize) -> Row {
        let was_there = tx.snapshot.get(row).copied().unwrap_or(true);
        let workers = batch.workloads.len();
        let counters = workers + batch.workers.len();
        let wishes = counters + batch.counters.len();
        if let Some(write) = batch.workloads.get(row) {
            return if was_there {
                Row::Lock(RowKey::Workload(write.id))
            } else {
                Row::PassOver
            };
        }
        if let Some(write) = batch.workers.get(row.wrapping_sub(workers)) {
            return if was_there || matches!(write, WorkerWrite::Put(_)) {
                Row::Lock(RowKey::Worker(write.worker().clone()))
            } else {
                Row::PassOver
            };
        }
        if let Some(write) = batch.counters.get(row.wrapping_sub(counters)) {
            return Row::Lock(RowKey::Moved(write.customer));
        }
        match batch.workers.get(row.wrapping_sub(wishes)) {
            Some(WorkerWrite::Remove { worker }) if self.forgets(worker) => {
                Row::Lock(RowKey::WorkerWish(worker.clone()))
            }
            Some(_) => Row::PassOver,
            None => Row::Beyond,
        }
    }

    /// Judges a row that is locked now.
    fn judge_row(
        &self,
        tx: &mut Transaction,
        batch: &Batch,
        row: usize,
        time: WallTime,
    ) -> Result<(), SqlError> {
        let workers = batch.workloads.len();
        let counters = workers + batch.workers.len();
        let wishes = counters + batch.counters.len();
        if let Some(write) = batch.workloads.get(row) {
            if self.fits(write) {
                if self.event_is_there(write) {
                    return Err(SqlError::Unique);
                }
                tx.writes.push(Write::Move(row, time));
            }
        } else if let Some(write) = batch.workers.get(row.wrapping_sub(workers)) {
            let there = self.tables.workers.contains_key(write.worker());
            if there || matches!(write, WorkerWrite::Put(_)) {
                tx.writes.push(Write::Worker(row - workers));
            }
        } else if let Some(write) = batch.counters.get(row.wrapping_sub(counters)) {
            if self.tables.customers.contains_key(&write.customer) {
                tx.writes.push(Write::Counter(row - counters));
            }
        } else if let Some(write) = batch.workers.get(row.wrapping_sub(wishes))
            && self.forgets(write.worker())
        {
            tx.writes.push(Write::ForgetWish(write.worker().clone()));
        }
        Ok(())
    }

    /// The number of the next audit event is taken: its primary key refuses it.
    fn event_is_there(&self, write: &WorkloadWrite) -> bool {
        self.tables.workloads.get(&write.id).is_some_and(|found| {
            let last = found.audit.last().map_or(0, |event| event.number);
            !write.steps.is_empty() && last > found.version
        })
    }

    /// What is wished of a worker goes with its row, unless it is a drain.
    fn forgets(&self, worker: &WorkerId) -> bool {
        let wish = self.tables.wishes.get(worker);
        wish.is_some_and(|wish| wish.desired != WorkerDesired::Drain)
    }
}

/// What the statement does about a row.
enum Row {
    /// Locks it.
    Lock(RowKey),
    /// Nothing: it was not there when the statement began.
    PassOver,
    /// There are no more.
    Beyond,
}

const fn counts(write: &Write) -> bool {
    matches!(
        write,
        Write::Move(..) | Write::Worker(_) | Write::Counter(_)
    )
}

const fn persisted(batch: &Batch, outcome: PersistOutcome) -> Answer {
    Answer::Persist {
        generation: batch.generation,
        number: batch.number,
        outcome,
    }
}

/// A text that no column can hold. The edges refuse it first; what slips past them ends here.
fn has_bad_value(batch: &Batch) -> bool {
    batch.workers.iter().any(|write| match write {
        WorkerWrite::Put(record) => {
            record.version.contains('\0')
                || record
                    .tags
                    .iter()
                    .any(|(name, value)| name.contains('\0') || value.contains('\0'))
        }
        WorkerWrite::Remove { .. } => false,
    })
}
