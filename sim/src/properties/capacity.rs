//! P12: used capacity is the open attempts of a worker, and no assignment takes it above the total.

use super::{Observation, Property, View, ledger::opens};
use crate::model::store::Change;
use niyanta_core::ids::{CustomerId, WorkerId};

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
                        check_worker(view, worker)?;
                    }
                }
                // Every customer that is moved, whether the batch counts it or not.
                let moved = batch.workloads.iter().map(|write| write.customer);
                let counted = batch.counters.iter().map(|write| write.customer);
                let mut last = None;
                for customer in moved.chain(counted) {
                    if last.replace(customer) != Some(customer) {
                        check_customer(view, customer)?;
                    }
                }
                Ok(())
            }
            Observation::Settled => view
                .ledger
                .customers()
                .try_for_each(|(customer, _)| check_customer(view, customer)),
            _ => Ok(()),
        }
    }
}

fn check_worker(view: View<'_>, worker: &WorkerId) -> Result<(), String> {
    let Some(found) = view.store.worker(worker) else {
        return Err(format!("an assignment to {worker}, which is not there"));
    };
    let record = &found.row.record;
    let open = view.ledger.open_on(worker);
    let used = open.filter(|(_, incarnation)| **incarnation == record.incarnation);
    let used = used.count();
    let total = usize::try_from(record.capacity).unwrap_or(usize::MAX);
    if used > total {
        return Err(format!(
            "{worker} has {used} open attempts and room for {total}"
        ));
    }
    Ok(())
}

fn check_customer(view: View<'_>, customer: CustomerId) -> Result<(), String> {
    let Some(row) = view.customer(customer) else {
        return Ok(());
    };
    let tally = view.ledger.tally(customer);
    let running = i64::try_from(tally.running).unwrap_or(i64::MAX);
    if row.running != running || row.left_queue != tally.left {
        return Err(format!(
            "{customer}: running {} and left_queue {} are kept, {running} and {} are true",
            row.running, row.left_queue, tally.left
        ));
    }
    Ok(())
}
