//! P9: no terminal status, PAUSED or new attempt while an attempt is not over.

use super::{Observation, Property, View, ledger::pairs};
use crate::{model::store::Change, worker::Deed};
use niyanta_core::{
    ids::{Attempt, Incarnation, WorkloadId},
    workload::OnLeaseLoss,
};

/// P9.
#[derive(Default)]
pub(crate) struct OverBeforeNext;

impl Property for OverBeforeNext {
    const NAME: &'static str = "P9";

    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Committed {
                change: Change::Batch { batch, moved, .. },
            } => {
                for (write, moved) in pairs(&batch.workloads, moved) {
                    let was_open = moved.before.status.has_open_attempt();
                    let is_open = write.to.status.has_open_attempt()
                        && write.to.attempt == moved.before.attempt;
                    if was_open && !is_open {
                        check_over(view, moved.workload, moved.before.attempt)?;
                    }
                }
                Ok(())
            }
            Observation::Worker {
                place,
                incarnation,
                deed: Deed::Began {
                    workload, attempt, ..
                },
                ..
            } => check_begun(view, *place, incarnation, *workload, *attempt),
            _ => Ok(()),
        }
    }
}

/// Nobody runs an attempt that is called over, and may.
fn check_over(view: View<'_>, workload: WorkloadId, attempt: Attempt) -> Result<(), String> {
    if is_exempt(view, workload) {
        return Ok(());
    }
    let running = view
        .truth
        .running(workload)
        .find(|run| run.attempt == attempt && view.truth.holds_lease(run.place, view.now));
    running.map_or(Ok(()), |run| {
        Err(format!(
            "{workload} attempt {attempt} is over in the database and runs on w{} ({})",
            run.place, run.incarnation
        ))
    })
}

/// Nobody begins an attempt that is over.
fn check_begun(
    view: View<'_>,
    place: usize,
    incarnation: &Incarnation,
    workload: WorkloadId,
    attempt: Attempt,
) -> Result<(), String> {
    if is_exempt(view, workload) {
        return Ok(());
    }
    let open = view.store.workload(workload).is_some_and(|found| {
        let leader = &found.row.leader;
        let mine = leader
            .worker
            .as_ref()
            .is_some_and(|(_, other)| other == incarnation);
        leader.status.has_open_attempt() && leader.attempt == attempt && mine
    });
    if open {
        Ok(())
    } else {
        Err(format!(
            "w{place} begins {workload} attempt {attempt}, which is not open"
        ))
    }
}

fn is_exempt(view: View<'_>, workload: WorkloadId) -> bool {
    view.store
        .workload(workload)
        .is_some_and(|found| found.row.on_lease_loss == OnLeaseLoss::Continue)
}
