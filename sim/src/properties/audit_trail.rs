//! P16: a workload's audit trail is exactly its committed changes, numbered without gaps.

use super::{Observation, Property, View};
use crate::model::store::Change;
use niyanta_core::{ids::WorkloadId, workload::AuditKind};

/// P16.
#[derive(Default)]
pub(crate) struct AuditTrail;

impl Property for AuditTrail {
    const NAME: &'static str = "P16";

    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Committed {
                change: Change::Batch { batch, moved, .. },
            } => {
                if moved.len() != batch.workloads.len() {
                    return Err(format!(
                        "batch {} of term {} wrote {} of {} workloads",
                        batch.number,
                        batch.generation,
                        moved.len(),
                        batch.workloads.len()
                    ));
                }
                for (moved, write) in moved.iter().zip(&batch.workloads) {
                    if moved.before.status != write.from_status
                        || moved.before.attempt != write.from_attempt
                    {
                        return Err(format!(
                            "{} was {} and was written from {}",
                            write.id, moved.before.status, write.from_status
                        ));
                    }
                    let steps = u64::try_from(write.steps.len()).unwrap_or(u64::MAX);
                    check(view, moved.workload, moved.before_version, steps)?;
                }
                Ok(())
            }
            Observation::Committed {
                change:
                    Change::Wished {
                        workload,
                        before_version,
                        ..
                    },
            } => check(view, *workload, *before_version, 1),
            _ => Ok(()),
        }
    }
}

fn check(view: View<'_>, id: WorkloadId, before: u64, steps: u64) -> Result<(), String> {
    let Some(found) = view.store.workload(id) else {
        return Ok(());
    };
    let version = before + steps;
    let events = u64::try_from(found.audit.len()).unwrap_or(u64::MAX);
    if found.version != version || events != version {
        return Err(format!(
            "{id}: version {} and {events} events after {steps} steps from {before}",
            found.version
        ));
    }
    let tail = found
        .audit
        .iter()
        .rev()
        .take(usize::try_from(steps).unwrap_or(1));
    for (back, event) in (0u64..).zip(tail) {
        if event.number != version - back {
            return Err(format!(
                "{id}: event {} stands at {}",
                event.number,
                version - back
            ));
        }
    }
    let is_status = |kind: AuditKind| {
        !matches!(
            kind,
            AuditKind::PauseRequested | AuditKind::CancelRequested | AuditKind::ResumeRequested
        )
    };
    let last = found.audit.iter().rev().find(|event| is_status(event.kind));
    let fits = last
        .is_some_and(|event| super::legal_moves::reached(event.kind) == found.row.leader.status);
    if !fits {
        return Err(format!(
            "{id} is {} and its last event is {:?}",
            found.row.leader.status,
            last.map(|event| event.kind)
        ));
    }
    Ok(())
}
