//! P21: every assignment satisfies type, affinity and its time at its commit.

use super::{Observation, Property, View, capacity::opens};
use crate::model::store::{Change, Store};
use niyanta_core::{
    ids::{WorkerId, WorkloadId},
    scheduling::Tags,
    snapshot::WorkloadRow,
    time::WallTime,
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
        for (moved, write) in moved.iter().zip(&batch.workloads) {
            if !opens(write) {
                continue;
            }
            if let Some((worker, _)) = &write.to.worker {
                let backoff = moved.before.backoff_until;
                check(view.store, write.id, worker, *time, backoff)?;
            }
        }
        Ok(())
    }
}

fn check(
    store: &Store,
    id: WorkloadId,
    worker: &WorkerId,
    time: WallTime,
    backoff: Option<WallTime>,
) -> Result<(), String> {
    let (Some(found), Some(entry)) = (store.workload(id), store.worker(worker)) else {
        return Ok(());
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
    if row.run_after.is_some_and(|after| after > time) {
        return Err(format!("{id} is assigned before its run_after"));
    }
    if backoff.is_some_and(|until| until > time) {
        return Err(format!("{id} is assigned within its back-off"));
    }
    check_neighbours(store, row, worker)
}

fn check_neighbours(store: &Store, row: &WorkloadRow, worker: &WorkerId) -> Result<(), String> {
    let beside = store.open_workloads().filter(|other| {
        let holder = other.row.leader.worker.as_ref();
        other.row.id != row.id
            && other.row.customer == row.customer
            && holder.is_some_and(|(id, _)| id == worker)
    });
    for other in beside {
        let minds = |a: &WorkloadRow, b: &WorkloadRow| {
            a.affinity.anti.workload_types.contains(&b.workload_type)
        };
        if minds(row, &other.row) || minds(&other.row, row) {
            return Err(format!(
                "{} is put beside {} on {worker}",
                row.id, other.row.id
            ));
        }
    }
    Ok(())
}

fn has_all(tags: &Tags, wanted: &Tags) -> bool {
    wanted
        .iter()
        .all(|(name, value)| tags.get(name) == Some(value))
}
