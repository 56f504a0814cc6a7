//! P14: no assignment to a worker whose committed status is not HEALTHY.

use super::{Observation, Property, View, ledger::opens};
use crate::model::store::Change;
use niyanta_core::fleet::WorkerStatus;

/// P14.
#[derive(Default)]
pub(crate) struct HealthyOnly;

impl Property for HealthyOnly {
    const NAME: &'static str = "P14";

    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::Committed {
            change: Change::Batch { batch, .. },
        } = observation
        else {
            return Ok(());
        };
        for write in batch.workloads.iter().filter(|write| opens(write)) {
            let Some((worker, incarnation)) = &write.to.worker else {
                continue;
            };
            let found = view.store.worker(worker).map(|found| &found.row.record);
            let healthy = found.is_some_and(|record| {
                record.status == WorkerStatus::Healthy && record.incarnation == *incarnation
            });
            if !healthy {
                return Err(format!("{} is assigned to {worker} ({found:?})", write.id));
            }
        }
        Ok(())
    }
}
