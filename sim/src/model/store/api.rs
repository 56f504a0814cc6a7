//! Statements of the API's half: submissions and wishes, each a write by nobody but the API; and
//! what is looked up when one of them wrote nothing.
//!
//! A submission takes its key first and the customer's counter second. Room is judged by
//! `left_queue` as it was when the statement began, and by `submitted` as it is once it is locked.

use super::{
    Store,
    locks::RowKey,
    rows::Submission,
    session::SqlError,
    statement::{Answer, Look, Wish, WishWorker, WorkerWishAnswer},
    tables::Write,
    transaction::{Next, Transaction},
};
use niyanta_core::{
    ids::{CustomerId, WishRevision, WorkloadId},
    time::WallTime,
    workload::Desired,
};
use sim_probes::{Bug, is_planted};

/// Where a submission is.
const BEGUN: usize = 0;
const HAS_KEY: usize = 1;
const HAS_COUNTER: usize = 2;
const HAS_ROW: usize = 3;

impl Store {
    pub(super) fn submit(
        &self,
        tx: &mut Transaction,
        submission: &Submission,
        time: WallTime,
    ) -> Next {
        let row = &submission.row;
        let nothing = Next::Done(Answer::Created(None));
        let Some(counters) = self.tables.customers.get(&row.customer) else {
            return nothing;
        };
        let key = submission.key.filter(|_| !is_planted(Bug::KeyIgnored));
        if tx.cursor == BEGUN {
            tx.noted = counters.left_queue;
            tx.stamp = counters.submitted_stamp;
            let room = counters.submitted.saturating_sub(tx.noted) < counters.max_queued
                || is_planted(Bug::QuotaIgnored);
            if !room || self.tables.workloads.contains_key(&row.id) {
                return nothing;
            }
            if let Some(key) = key {
                if self.has_key(row.customer, key) {
                    return Self::refuse_late(tx, nothing);
                }
                tx.cursor = HAS_KEY;
                return Next::Lock(RowKey::Key(row.customer, key));
            }
            tx.cursor = HAS_COUNTER;
            return Next::Lock(RowKey::Submitted(row.customer));
        }
        match tx.cursor {
            HAS_KEY => {
                // Whoever held it may have committed it.
                let is_taken = key.is_some_and(|key| self.has_key(row.customer, key));
                if is_taken && !is_planted(Bug::KeyCheckedThenInserted) {
                    return Self::refuse_late(tx, nothing);
                }
                tx.cursor = HAS_COUNTER;
                Next::Lock(RowKey::Submitted(row.customer))
            }
            HAS_COUNTER => {
                let full = counters.submitted.saturating_sub(tx.noted) >= counters.max_queued;
                let looks_again =
                    !is_planted(Bug::QuotaIgnored) && !is_planted(Bug::QuotaCheckedThenInserted);
                if full && looks_again {
                    return match key {
                        Some(_) => Next::Failed(SqlError::QueueFilled),
                        None => nothing,
                    };
                }
                (tx.judged_at, tx.cursor) = (time, HAS_ROW);
                Next::Lock(RowKey::Workload(row.id))
            }
            _ => {
                if self.tables.workloads.contains_key(&row.id) {
                    return Next::Failed(SqlError::Unique);
                }
                tx.writes.push(Write::Workload(tx.judged_at));
                Next::Done(Answer::Created(Some(row.id)))
            }
        }
    }

    /// The workload that a key stands for.
    fn first_with(&self, customer: CustomerId, key: u64) -> Option<WorkloadId> {
        if is_planted(Bug::KeyWithoutCustomer) {
            let mut all = self.tables.keys.iter();
            return all.find(|((_, other), _)| *other == key).map(|(_, id)| *id);
        }
        self.tables.keys.get(&(customer, key)).copied()
    }

    fn has_key(&self, customer: CustomerId, key: u64) -> bool {
        self.first_with(customer, key).is_some()
    }

    /// Nothing is written; a planted bug has taken the place in the queue before.
    fn refuse_late(tx: &mut Transaction, nothing: Next) -> Next {
        if is_planted(Bug::QuotaLeaksOnLateFailure) {
            tx.writes.push(Write::Reservation);
        }
        nothing
    }

    pub(super) fn why_not(&self, submission: &Submission) -> Answer {
        let row = &submission.row;
        let key = submission.key.map(|key| (row.customer, key));
        let counters = self.tables.customers.get(&row.customer);
        Answer::WhyNot {
            own: self
                .tables
                .workloads
                .get(&row.id)
                .is_some_and(|found| found.row.customer == row.customer),
            first: key.and_then(|(customer, key)| self.first_with(customer, key)),
            has_room: counters
                .is_some_and(|row| row.submitted.saturating_sub(row.left_queue) < row.max_queued),
        }
    }

    pub(super) fn wish(&self, tx: &mut Transaction, wish: &Wish, time: WallTime) -> Next {
        let found = self
            .tables
            .workloads
            .get(&wish.workload)
            .filter(|found| found.row.customer == wish.customer)
            .filter(|found| !found.row.leader.status.is_terminal())
            .filter(|found| found.row.desired != wish.desired)
            .filter(|found| found.row.wish_revision == wish.upon)
            .filter(|found| {
                found.row.desired != Desired::Cancel || is_planted(Bug::ResumeUndoesCancel)
            });
        let Some(found) = found else {
            return Next::Done(Answer::WishWritten(None));
        };
        if tx.cursor == 0 {
            tx.cursor = 1;
            return Next::Lock(RowKey::Workload(wish.workload));
        }
        tx.writes.push(Write::Wish(time));
        let counted = u64::from(!is_planted(Bug::WishSkipsVersion));
        Next::Done(Answer::WishWritten(Some((
            found.row.wish_revision.next(),
            found.version + counted,
        ))))
    }

    pub(super) fn look(&self, customer: CustomerId, workload: WorkloadId) -> Answer {
        let found = self
            .tables
            .workloads
            .get(&workload)
            .filter(|found| found.row.customer == customer);
        Answer::Looked(found.map(|found| Look {
            status: found.row.leader.status,
            is_stopping: found.row.leader.stopping.is_some(),
            desired: found.row.desired,
            revision: found.row.wish_revision,
            version: found.version,
        }))
    }

    pub(super) fn wish_worker(
        &self,
        tx: &mut Transaction,
        wish: &WishWorker,
        time: WallTime,
    ) -> Next {
        match tx.cursor {
            0 => {
                let Some(found) = self.tables.workers.get(&wish.worker) else {
                    return Next::Done(Answer::WorkerWished(WorkerWishAnswer::NotFound));
                };
                let there = self.tables.wishes.get(&wish.worker);
                let revision = there.map_or(WishRevision::ZERO, |there| there.revision);
                let there = (found.row.record.incarnation.clone(), revision);
                if wish.upon.as_ref() != Some(&there) {
                    return overtaken(found.row.desired == wish.desired);
                }
                tx.noted = found.row.record.wish_seen.next().0;
                (tx.judged_at, tx.cursor) = (time, 1);
                Next::Lock(RowKey::WorkerWish(wish.worker.clone()))
            }
            1 => {
                let there = self.tables.wishes.get(&wish.worker);
                if let Some(there) = there.filter(|there| !is_upon(wish, there.revision)) {
                    return overtaken(there.desired == wish.desired);
                }
                let own = there.map_or(WishRevision::ZERO, |there| there.revision.next());
                tx.writes.push(Write::WorkerWish {
                    revision: own.max(WishRevision(tx.noted)),
                    deadline: wish.deadline.map(|deadline| tx.judged_at.plus(deadline)),
                });
                tx.cursor = 2;
                Next::Lock(RowKey::AdminAudit)
            }
            _ => Next::Done(Answer::WorkerWished(WorkerWishAnswer::Written)),
        }
    }

    pub(super) fn list(&self, customer: CustomerId) -> Answer {
        let lags = is_planted(Bug::StaleReads);
        let whole = is_planted(Bug::ListForgetsCustomer);
        let rows = self.tables.workloads.values().filter(|found| {
            (whole || found.row.customer == customer) && (!lags || found.version > 1)
        });
        Answer::Listed(rows.map(|found| (found.row.id, found.version)).collect())
    }

    pub(super) fn get(&self, customer: CustomerId, workload: WorkloadId) -> Answer {
        let lags = is_planted(Bug::StaleReads);
        let found = self
            .tables
            .workloads
            .get(&workload)
            .filter(|found| found.row.customer == customer)
            .filter(|found| !lags || found.version > 1);
        Answer::Got(found.map(|found| (found.row.leader.status, found.row.desired, found.version)))
    }
}

const fn overtaken(same: bool) -> Next {
    Next::Done(Answer::WorkerWished(WorkerWishAnswer::Overtaken { same }))
}

fn is_upon(wish: &WishWorker, revision: WishRevision) -> bool {
    wish.upon
        .as_ref()
        .is_some_and(|(_, upon)| *upon == revision)
}
