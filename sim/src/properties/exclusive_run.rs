//! P8: no two workers hold a valid lease for one workload; whoever wakes after its lease only stops.

use super::{Observation, Property, View, truth::Running};
use crate::worker::{Deed, KILL_LONGEST};

/// P8.
#[derive(Default)]
pub(crate) struct ExclusiveRun;

impl Property for ExclusiveRun {
    const NAME: &'static str = "P8";

    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Worker {
                place,
                clock,
                deed:
                    Deed::Began {
                        workload,
                        attempt,
                        outlives_lease,
                    },
                ..
            } => {
                if *outlives_lease {
                    return Ok(());
                }
                let local = clock.read(view.now);
                if local >= view.truth.lease_until(*place) {
                    return Err(format!(
                        "w{place} began {workload} attempt {attempt} without a lease"
                    ));
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
            Observation::WorkerStands { place, clock } => {
                let local = clock.read(view.now);
                if local < view.truth.lease_until(*place) {
                    return Ok(());
                }
                // Who slept through the end of its lease needs a moment for the killing.
                let woke = view.truth.resumed_at(*place);
                let is_waking = woke.is_some_and(|woke| view.now.since(woke) <= KILL_LONGEST);
                let excused =
                    |run: &Running| run.outlives_lease || (is_waking && run.dying_since.is_some());
                let outlived = view.truth.running_at(*place).find(|(_, run)| !excused(run));
                outlived.map_or(Ok(()), |(workload, _)| {
                    Err(format!("w{place} runs {workload} after its lease"))
                })
            }
            _ => Ok(()),
        }
    }
}
