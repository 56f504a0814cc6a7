//! P22: retries, losses and back-offs stay within their limits.

use super::{Observation, Property, View};
use crate::model::store::Change;
use niyanta_core::batch::{AuditDetails, AuditStep};

/// P22.
#[derive(Default)]
pub(crate) struct Retries;

impl Property for Retries {
    const NAME: &'static str = "P22";

    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::Committed {
            change: Change::Batch { batch, time, moved },
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
            // The last loss that is allowed ends it, with the attempt that was lost.
            let is_over = to.status.is_terminal() || to.loss_count == 0;
            if Some(to.loss_count) >= losses && !is_over {
                return Err(format!("{}: loss {}", write.id, to.loss_count));
            }
            let before = moved.iter().find(|moved| moved.workload == write.id);
            let failed = write.steps.iter().filter(|step| is_retry(step)).count();
            let failed = u32::try_from(failed).unwrap_or(u32::MAX);
            let counted = before.map_or(to.retry_count, |moved| {
                to.retry_count.saturating_sub(moved.before.retry_count)
            });
            if counted != failed {
                return Err(format!(
                    "{}: {counted} more retries are counted, {failed} were made",
                    write.id
                ));
            }
            let latest = time.plus(cap.unwrap_or_default());
            if to.backoff_until.is_some_and(|until| until > latest) {
                return Err(format!("{}: a back-off beyond its cap", write.id));
            }
        }
        Ok(())
    }
}

/// A failure that is tried again, or was to be when its workload was paused.
const fn is_retry(step: &AuditStep) -> bool {
    matches!(step.details, AuditDetails::Retrying { .. })
}
