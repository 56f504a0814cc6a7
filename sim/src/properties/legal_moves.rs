//! P6: only legal transitions; a terminal status never changes.

use super::{Observation, Property, View};
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
        for moved in moved {
            let write = batch
                .workloads
                .iter()
                .find(|write| write.id == moved.workload);
            if let Some(write) = write {
                check(moved, write)?;
            }
        }
        Ok(())
    }
}

fn check(moved: &Moved, write: &WorkloadWrite) -> Result<(), String> {
    let mut status = moved.before.status;
    for step in &write.steps {
        let next = reached(step.kind);
        if !is_legal(status, next) {
            return Err(format!("{}: {status} → {next}", write.id));
        }
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

const fn is_legal(from: Status, to: Status) -> bool {
    match from {
        Status::Pending => matches!(
            to,
            Status::Scheduled | Status::Paused | Status::Cancelled | Status::Failed
        ),
        Status::Scheduled => !matches!(to, Status::Scheduled),
        Status::Running => !matches!(to, Status::Scheduled | Status::Running),
        Status::Redistributing => !matches!(to, Status::Scheduled | Status::Redistributing),
        Status::Paused => matches!(to, Status::Pending | Status::Cancelled),
        Status::Completed | Status::Failed | Status::Cancelled => false,
    }
}
