//! P13: neither queue nor running attempts of a customer go above their limits.

use super::{Observation, Property, View, capacity::opens};
use crate::model::store::Change;
use niyanta_core::ids::CustomerId;

/// P13.
#[derive(Default)]
pub(crate) struct Limits;

impl Property for Limits {
    const NAME: &'static str = "P13";

    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Committed {
                change: Change::Submitted { customer, .. },
            } => check_queue(view, *customer),
            Observation::Committed {
                change: Change::Batch { batch, .. },
            } => {
                for write in batch.workloads.iter().filter(|write| opens(write)) {
                    check_running(view, write.customer)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn check_queue(view: View<'_>, customer: CustomerId) -> Result<(), String> {
    let Some(row) = view.store.customer(customer) else {
        return Ok(());
    };
    let (queued, limit) = (row.tally.queued, row.max_queued);
    if u64::try_from(queued).unwrap_or(u64::MAX) > limit {
        return Err(format!(
            "{customer} has {queued} queued, {limit} are allowed"
        ));
    }
    Ok(())
}

fn check_running(view: View<'_>, customer: CustomerId) -> Result<(), String> {
    let Some(row) = view.store.customer(customer) else {
        return Ok(());
    };
    let (running, limit) = (row.tally.open, row.limits.max_running);
    if running > usize::try_from(limit).unwrap_or(usize::MAX) {
        return Err(format!(
            "{customer} has {running} open attempts, {limit} are allowed"
        ));
    }
    Ok(())
}
