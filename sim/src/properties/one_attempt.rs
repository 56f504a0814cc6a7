//! P7: at most one open attempt; a report counts only for that attempt and incarnation.

use super::{Observation, Property, View, ledger::pairs};
use crate::model::store::{Change, Moved};
use niyanta_core::{
    batch::{Actor, WorkerWrite, WorkloadWrite},
    fleet::WorkerStatus,
    ids::{Incarnation, WorkerId},
    workload::AuditKind,
};
use std::collections::BTreeMap;

/// P7.
#[derive(Default)]
pub(crate) struct OneAttempt {
    /// Incarnations that are over: nothing that they say counts any more.
    dead: BTreeMap<WorkerId, Incarnation>,
}

impl Property for OneAttempt {
    const NAME: &'static str = "P7";

    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::Committed {
            change: Change::Batch { batch, moved, .. },
        } = observation
        else {
            return Ok(());
        };
        for (write, moved) in pairs(&batch.workloads, moved) {
            check(view, moved, write)?;
        }
        batch.workers.iter().try_for_each(|w| self.check_dead(w))
    }
}

impl OneAttempt {
    /// Who was called DEAD stays so: its attempts were given to others.
    fn check_dead(&mut self, write: &WorkerWrite) -> Result<(), String> {
        let WorkerWrite::Put(record) = write else {
            self.dead.remove(write.worker());
            return Ok(());
        };
        if record.status == WorkerStatus::Dead {
            self.dead
                .insert(record.worker.clone(), record.incarnation.clone());
            return Ok(());
        }
        if self.dead.get(&record.worker) == Some(&record.incarnation) {
            return Err(format!(
                "{} ({}) was DEAD and is {}",
                record.worker, record.incarnation, record.status
            ));
        }
        self.dead.remove(&record.worker);
        Ok(())
    }
}

fn check(view: View<'_>, moved: &Moved, write: &WorkloadWrite) -> Result<(), String> {
    let id = write.id;
    let mut attempt = moved.before.attempt;
    let mut is_open = moved.before.status.has_open_attempt();
    let mut worker = moved
        .before
        .worker
        .as_ref()
        .map(|(worker, _)| worker.clone());
    for step in &write.steps {
        match step.kind {
            AuditKind::Scheduled => {
                if is_open {
                    return Err(format!("{id}: a second attempt beside attempt {attempt}"));
                }
                attempt = attempt.next();
                is_open = true;
                worker = write
                    .to
                    .worker
                    .as_ref()
                    .map(|(worker, _)| worker.clone())
                    .or(worker);
            }
            AuditKind::Completed => {
                if !view.truth.has_finished(id, attempt, true) {
                    return Err(format!("{id}: attempt {attempt} did not complete"));
                }
                is_open = false;
            }
            AuditKind::Started | AuditKind::Redistributing => {}
            AuditKind::Paused
            | AuditKind::Requeued
            | AuditKind::Retrying
            | AuditKind::Failed
            | AuditKind::Cancelled => is_open = false,
            AuditKind::Created
            | AuditKind::PauseRequested
            | AuditKind::CancelRequested
            | AuditKind::ResumeRequested => {
                return Err(format!("{id}: the leader wrote {}", step.kind));
            }
        }
        if step.attempt != attempt {
            return Err(format!(
                "{id}: {} of attempt {}, the last is {attempt}",
                step.kind, step.attempt
            ));
        }
        // A worker that was assigned and reported within one batch leaves no name in the row.
        if let (Actor::Worker(by), Some(worker)) = (&step.actor, &worker)
            && by != worker
            && attempt == moved.before.attempt
        {
            return Err(format!("{id}: {by} reported attempt {attempt} of {worker}"));
        }
    }
    if write.to.attempt != attempt {
        return Err(format!(
            "{id}: attempt {} after {attempt}",
            write.to.attempt
        ));
    }
    Ok(())
}
