//! P22: retries, losses and back-offs stay within their limits.

use super::{Observation, Property, View};
use crate::model::store::Change;

/// P22.
#[derive(Default)]
pub(crate) struct Retries;

impl Property for Retries {
    const NAME: &'static str = "P22";

    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::Committed {
            change: Change::Batch { batch, time, .. },
        } = observation
        else {
            return Ok(());
        };
        let cap = view
            .plan
            .coordinators
            .iter()
            .map(|plan| plan.backoff_cap)
            .max();
        let losses = view
            .plan
            .coordinators
            .iter()
            .map(|plan| plan.loss_limit)
            .max();
        for write in &batch.workloads {
            let Some(found) = view.store.workload(write.id) else {
                continue;
            };
            let to = &write.to;
            let retries = found.row.max_retries + u32::from(to.status.is_terminal());
            if to.retry_count > retries {
                return Err(format!(
                    "{}: retry {} of {}",
                    write.id, to.retry_count, retries
                ));
            }
            if Some(to.loss_count) > losses {
                return Err(format!("{}: loss {}", write.id, to.loss_count));
            }
            let latest = time.plus(cap.unwrap_or_default());
            if to.backoff_until.is_some_and(|until| until > latest) {
                return Err(format!("{}: a back-off beyond its cap", write.id));
            }
        }
        Ok(())
    }
}
