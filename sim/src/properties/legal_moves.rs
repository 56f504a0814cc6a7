//! P6: only legal transitions; a terminal status never changes.

use super::{Observation, Property, View, ledger::pairs};
use crate::model::store::{Change, Moved};
use niyanta_core::{
    batch::WorkloadWrite,
    workload::{AuditKind, Status},
};

/// P6.
#[derive(Default)]
pub(crate) struct LegalMoves;

impl Property for LegalMoves {
    const NAME: &'static str = "P6";

    fn observe(&mut self, _view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::Committed {
            change: Change::Batch { batch, moved, .. },
        } = observation
        else {
            return Ok(());
        };
        for (write, moved) in pairs(&batch.workloads, moved) {
            check(moved, write)?;
        }
        Ok(())
    }
}

fn check(moved: &Moved, write: &WorkloadWrite) -> Result<(), String> {
    let mut status = moved.before.status;
    for step in &write.steps {
        let Some(next) = target(status, step.kind) else {
            return Err(format!("{}: {} from {status}", write.id, step.kind));
        };
        status = next;
    }
    if status != write.to.status {
        return Err(format!(
            "{}: its steps lead to {status}, it is written as {}",
            write.id, write.to.status
        ));
    }
    let is_seen = write.steps.is_empty() && write.to.status == moved.before.status;
    if moved.before.status.is_terminal() && !is_seen {
        return Err(format!(
            "{} was {} and was written",
            write.id, moved.before.status
        ));
    }
    if write.to.worker.is_some() != write.to.status.has_open_attempt() {
        return Err(format!(
            "{}: worker and {} do not fit",
            write.id, write.to.status
        ));
    }
    Ok(())
}

/// The status that an event of the leader's stands for.
pub(super) const fn reached(kind: AuditKind) -> Status {
    match kind {
        AuditKind::Created
        | AuditKind::Requeued
        | AuditKind::Retrying
        | AuditKind::PauseRequested
        | AuditKind::CancelRequested
        | AuditKind::ResumeRequested => Status::Pending,
        AuditKind::Scheduled => Status::Scheduled,
        AuditKind::Started => Status::Running,
        AuditKind::Paused => Status::Paused,
        AuditKind::Redistributing => Status::Redistributing,
        AuditKind::Completed => Status::Completed,
        AuditKind::Failed => Status::Failed,
        AuditKind::Cancelled => Status::Cancelled,
    }
}

/// Where an event of the leader's may lead from a status: the table of the design, written down
/// apart from core's.
const fn target(from: Status, kind: AuditKind) -> Option<Status> {
    let is_open = matches!(
        from,
        Status::Scheduled | Status::Running | Status::Redistributing
    );
    let is_legal = match kind {
        AuditKind::Scheduled => matches!(from, Status::Pending),
        AuditKind::Started => matches!(from, Status::Scheduled),
        AuditKind::Completed => matches!(from, Status::Running | Status::Redistributing),
        AuditKind::Failed | AuditKind::Retrying => is_open,
        AuditKind::Redistributing => matches!(from, Status::Scheduled | Status::Running),
        AuditKind::Requeued => matches!(from, Status::Redistributing | Status::Paused),
        AuditKind::Paused => is_open || matches!(from, Status::Pending),
        AuditKind::Cancelled => is_open || matches!(from, Status::Pending | Status::Paused),
        AuditKind::Created
        | AuditKind::PauseRequested
        | AuditKind::CancelRequested
        | AuditKind::ResumeRequested => false,
    };
    if is_legal { Some(reached(kind)) } else { None }
}
