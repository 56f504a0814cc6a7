//! P12: used capacity is the open attempts of a worker, and no assignment takes it above the total.

use super::{Observation, Property, View};
use crate::model::store::{Change, Store};
use niyanta_core::{
    batch::WorkloadWrite,
    ids::{CustomerId, WorkerId},
};

/// P12.
#[derive(Default)]
pub(crate) struct Capacity;

impl Property for Capacity {
    const NAME: &'static str = "P12";

    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Committed {
                change: Change::Batch { batch, .. },
            } => {
                for write in batch.workloads.iter().filter(|write| opens(write)) {
                    if let Some((worker, _)) = &write.to.worker {
                        check_worker(view.store, worker)?;
                    }
                }
                for write in &batch.counters {
                    check_customer(view.store, write.customer)?;
                }
                Ok(())
            }
            Observation::Settled => view
                .store
                .customers()
                .try_for_each(|row| check_customer(view.store, row.limits.id)),
            _ => Ok(()),
        }
    }
}

/// A write that opens an attempt.
pub(super) fn opens(write: &WorkloadWrite) -> bool {
    write.to.attempt > write.from_attempt && write.to.status.has_open_attempt()
}

fn check_worker(store: &Store, worker: &WorkerId) -> Result<(), String> {
    let Some(found) = store.worker(worker) else {
        return Err(format!("an assignment to {worker}, which is not there"));
    };
    let record = &found.row.record;
    let used = store
        .open_workloads()
        .filter(|found| {
            let holder = found.row.leader.worker.as_ref();
            holder.is_some_and(|(id, inc)| id == worker && *inc == record.incarnation)
        })
        .count();
    let total = usize::try_from(record.capacity).unwrap_or(usize::MAX);
    if used > total {
        return Err(format!(
            "{worker} has {used} open attempts and room for {total}"
        ));
    }
    Ok(())
}

fn check_customer(store: &Store, customer: CustomerId) -> Result<(), String> {
    let Some(row) = store.customer(customer) else {
        return Ok(());
    };
    let running = i64::try_from(row.tally.open).unwrap_or(i64::MAX);
    let left = u64::try_from(row.tally.all - row.tally.queued).unwrap_or(u64::MAX);
    if row.running != running || row.left_queue != left {
        return Err(format!(
            "{customer}: running {} and left_queue {} are kept, {running} and {left} are true",
            row.running, row.left_queue
        ));
    }
    Ok(())
}
