//! P21: every assignment satisfies type, affinity and its time at its commit.

use super::{
    Observation, Property, View,
    ledger::{opens, pairs},
};
use crate::model::store::Change;
use niyanta_core::{
    ids::{WorkerId, WorkloadId},
    scheduling::Tags,
    snapshot::WorkloadRow,
    time::WallTime,
    workload::Desired,
};

/// P21.
#[derive(Default)]
pub(crate) struct Placement;

impl Property for Placement {
    const NAME: &'static str = "P21";

    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::Committed {
            change: Change::Batch { batch, time, moved },
        } = observation
        else {
            return Ok(());
        };
        for (write, moved) in pairs(&batch.workloads, moved) {
            if !opens(write) {
                continue;
            }
            if let Some((worker, _)) = &write.to.worker {
                let backoff = moved.before.backoff_until;
                check(view, write.id, worker, *time, backoff)?;
            }
        }
        Ok(())
    }
}

fn check(
    view: View<'_>,
    id: WorkloadId,
    worker: &WorkerId,
    time: WallTime,
    backoff: Option<WallTime>,
) -> Result<(), String> {
    let (Some(found), Some(entry)) = (view.store.workload(id), view.store.worker(worker)) else {
        return Err(format!(
            "{id} is assigned to {worker}: one of them is not there"
        ));
    };
    let row = &found.row;
    let record = &entry.row.record;
    if !record.capabilities.contains(&row.workload_type) {
        return Err(format!("{id} is {} and {worker} cannot", row.workload_type));
    }
    let hard = &row.affinity.hard;
    let wanted = hard.worker_id.as_ref().is_none_or(|id| id == worker);
    if !wanted || !has_all(&record.tags, &hard.worker_tags) {
        return Err(format!("{id} may not run on {worker}: {hard:?}"));
    }
    let anti = &row.affinity.anti.worker_tags;
    if !anti.is_empty() && has_all(&record.tags, anti) {
        return Err(format!("{id} must not run on {worker}: {anti:?}"));
    }
    // A clock that is set comes to the same moment twice, or never.
    if !view.plan.steps_clock() {
        if row.run_after.is_some_and(|after| after > time) {
            return Err(format!("{id} is assigned before its run_after"));
        }
        if backoff.is_some_and(|until| until > time) {
            return Err(format!("{id} is assigned within its back-off"));
        }
    }
    // What was given away before the wish was seen is being stopped.
    let goes_on = row.leader.stopping.is_none();
    if goes_on && row.leader.wish_seen == row.wish_revision && row.desired != Desired::Run {
        return Err(format!(
            "{id} is assigned though it is known to be wished to {}",
            row.desired
        ));
    }
    check_neighbours(view, row, worker)
}

fn check_neighbours(view: View<'_>, row: &WorkloadRow, worker: &WorkerId) -> Result<(), String> {
    for (id, _) in view.ledger.open_on(worker) {
        let Some(other) = view.store.workload(*id).map(|found| &found.row) else {
            continue;
        };
        if other.id == row.id || other.customer != row.customer {
            continue;
        }
        let minds = |a: &WorkloadRow, b: &WorkloadRow| {
            a.affinity.anti.workload_types.contains(&b.workload_type)
        };
        if minds(row, other) || minds(other, row) {
            return Err(format!("{} is put beside {} on {worker}", row.id, other.id));
        }
    }
    Ok(())
}

fn has_all(tags: &Tags, wanted: &Tags) -> bool {
    wanted
        .iter()
        .all(|(name, value)| tags.get(name) == Some(value))
}
