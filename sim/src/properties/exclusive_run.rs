//! P8: no two workers hold a valid lease for one workload; whoever wakes after its lease only stops.

use super::{Observation, Property, View};
use crate::worker::Deed;
use niyanta_core::{ids::WorkloadId, workload::OnLeaseLoss};

/// P8.
#[derive(Default)]
pub(crate) struct ExclusiveRun;

impl Property for ExclusiveRun {
    const NAME: &'static str = "P8";

    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Worker {
                place,
                deed: Deed::Began(workload, attempt),
                ..
            } => {
                if is_exempt(view, *workload) {
                    return Ok(());
                }
                let other = view
                    .truth
                    .running(*workload)
                    .find(|run| run.place != *place && view.truth.holds_lease(run.place, view.now));
                other.map_or(Ok(()), |other| {
                    Err(format!(
                        "w{place} began {workload} attempt {attempt} while w{} runs attempt {}",
                        other.place, other.attempt
                    ))
                })
            }
            Observation::WorkerStands {
                place,
                clock,
                lease_until,
            } => {
                if clock.read(view.now) < *lease_until {
                    return Ok(());
                }
                let outlived = view
                    .truth
                    .running_at(*place)
                    .find(|workload| !is_exempt(view, *workload));
                outlived.map_or(Ok(()), |workload| {
                    Err(format!("w{place} runs {workload} after its lease"))
                })
            }
            _ => Ok(()),
        }
    }
}

fn is_exempt(view: View<'_>, workload: WorkloadId) -> bool {
    view.store
        .workload(workload)
        .is_some_and(|found| found.row.on_lease_loss == OnLeaseLoss::Continue)
}
