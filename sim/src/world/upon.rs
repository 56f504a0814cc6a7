//! What wishes are made upon: the revision that a call sees when it begins.
//!
//! The look is as quick as a thought here, the write is not: so everything may come between them. A
//! call that was overtaken looks again, as long as none of its sendings is in doubt; after doubt it
//! sends the same statement again, which lands at most once, and never upon another wish.

use super::World;
use crate::model::store::{Answer, Failure, Statement, WishAnswer, WorkerWishAnswer};
use niyanta_core::ids::{Incarnation, WishRevision, WorkerId, WorkloadId};

impl World {
    /// How many wishes there are for a workload.
    pub(super) fn wished(&self, workload: WorkloadId) -> WishRevision {
        let found = self.store.workload(workload);
        found.map_or(WishRevision::ZERO, |found| found.row.wish_revision)
    }

    /// The start of a worker that is there, and the revision of the wish for it; nothing when there
    /// is no such worker.
    pub(super) fn wished_of(&self, worker: &WorkerId) -> Option<(Incarnation, WishRevision)> {
        let row = &self.store.worker(worker)?.row;
        Some((row.record.incarnation.clone(), row.wish_revision))
    }

    /// Sends a wish anew that was overtaken, upon what is there, unless there is doubt.
    pub(super) fn made_anew(
        &mut self,
        place: usize,
        number: u64,
        outcome: &Result<Answer, Failure>,
    ) -> bool {
        let is_overtaken = matches!(
            outcome,
            Ok(Answer::Wished(WishAnswer::Overtaken)
                | Answer::WorkerWished(WorkerWishAnswer::Overtaken { .. }))
        );
        let process = self.nodes[place].process.as_ref();
        let call = process.and_then(|process| process.calls.get(&number));
        let Some(call) = call.filter(|call| is_overtaken && !call.in_doubt) else {
            return false;
        };
        let mut statement = call.statement.clone();
        match &mut statement {
            Some(Statement::Wish(wish)) => wish.upon = self.wished(wish.workload),
            Some(Statement::WishWorker(wish)) => wish.upon = self.wished_of(&wish.worker),
            Some(_) | None => return false,
        }
        let epoch = self.nodes[place].epoch;
        if let Some(process) = self.nodes[place].awake()
            && let Some(call) = process.calls.get_mut(&number)
        {
            call.statement = statement;
        }
        self.retry_call(place, epoch, number);
        true
    }
}
