//! What follows from a commit, and from doubt about one.
//!
//! Owns the turn from gathered to told: assignments, stops, drains and answers leave here, after
//! their batch is certainly in the database (P5).

use super::term::{End, Term};
use crate::{
    Effect,
    batch::Batch,
    event::PersistOutcome,
    ids::BatchNumber,
    persist::{PendingReply, Verdict},
    snapshot::FenceRow,
    workload::Workload,
};
use alloc::{sync::Arc, vec::Vec};

impl Term {
    pub(super) fn on_persist_answered(
        &mut self,
        number: BatchNumber,
        outcome: PersistOutcome,
        effects: &mut Vec<Effect>,
    ) {
        let verdict = self.commits.on_answer(self.now, number, outcome);
        self.follow_verdict(verdict, effects);
    }

    pub(super) fn on_fence_read(&mut self, row: Option<&FenceRow>, effects: &mut Vec<Effect>) {
        let verdict = self.commits.on_fence(self.now, row);
        self.follow_verdict(verdict, effects);
    }

    pub(super) fn on_commit_due(&mut self, effects: &mut Vec<Effect>) {
        let verdict = self.commits.on_time(self.now);
        self.follow_verdict(verdict, effects);
    }

    fn follow_verdict(&mut self, verdict: Verdict, effects: &mut Vec<Effect>) {
        match verdict {
            Verdict::Ignored | Verdict::Later => {}
            Verdict::Applied(batch, replies) => self.on_applied(&batch, replies, effects),
            Verdict::Resend(batch) => effects.push(Effect::Persist(batch)),
            Verdict::ReadFence(number) => effects.push(Effect::ReadFence {
                generation: self.generation,
                number,
            }),
            Verdict::Doubt => self.end = Some(End::Doubt),
            Verdict::Fenced => self.end = Some(End::Fenced(self.generation)),
            Verdict::Refused(batch, sources) => self.end = Some(End::Refused(batch, sources)),
        }
    }

    fn on_applied(
        &mut self,
        batch: &Arc<Batch>,
        replies: Vec<PendingReply>,
        effects: &mut Vec<Effect>,
    ) {
        self.quarantine.note_landed();
        for write in &batch.workloads {
            self.settle_workload(write.id, effects);
        }
        for write in &batch.workers {
            self.settle_worker(write, effects);
        }
        for reply in replies {
            self.reply_now(reply, effects);
        }
    }

    /// A workload's change is in the database: its worker may be told.
    fn settle_workload(&mut self, id: crate::ids::WorkloadId, effects: &mut Vec<Effect>) {
        if self.workloads.get(&id).is_some_and(|w| w.open.is_some()) {
            self.send_first(id, effects);
            self.set_due(id);
        } else {
            self.retire_if_idle(id);
        }
    }

    /// The last thing done for every event: close what is over, place what waits, ask for what is
    /// missing, commit.
    pub(super) fn conclude(&mut self, effects: &mut Vec<Effect>) {
        if self.end.is_some() {
            return;
        }
        self.close_over();
        self.plan(effects);
        self.issue_loads(effects);
        self.prune();
        if let Some(batch) = self.commits.submit() {
            effects.push(Effect::Persist(batch));
        }
    }

    /// Whether an attempt, as memory has it, is in the database.
    pub(super) fn is_told(&self, workload: &Workload) -> bool {
        workload
            .open
            .as_ref()
            .is_some_and(|open| self.is_committed(open.opened_in))
    }
}
