//! P23, in part: among workloads of one class, none that waits in sight is overtaken.
//!
//! Held only once everything has healed, and where windows and loads are large enough to show the
//! leader the whole class: before that it may not have seen whom it overtakes.

use super::{Observation, Property, View, capacity::opens};
use crate::model::store::Change;
use niyanta_core::{
    ids::WorkloadId,
    time::{Duration, WallTime},
    workload::{Desired, Status},
};

/// P23.
#[derive(Default)]
pub(crate) struct FairOrder;

impl Property for FairOrder {
    const NAME: &'static str = "P23";

    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::Committed {
            change: Change::Batch { batch, time, .. },
        } = observation
        else {
            return Ok(());
        };
        let sees_all = |plan: &crate::plan::CoordinatorPlan| plan.load_limit >= 1_000;
        let settled = view.now.since(view.plan.heal_at) > SIGHT;
        if !settled || !view.plan.coordinators.iter().all(sees_all) {
            return Ok(());
        }
        for write in batch.workloads.iter().filter(|write| opens(write)) {
            check(view, write.id, *time)?;
        }
        Ok(())
    }
}

fn check(view: View<'_>, id: WorkloadId, time: WallTime) -> Result<(), String> {
    let Some(placed) = view.store.workload(id) else {
        return Ok(());
    };
    let key = (placed.row.leader.sort_key, id);
    let overtaken = view.store.waiting_workloads().find(|other| {
        let row = &other.row;
        row.customer == placed.row.customer
            && row.class == placed.row.class
            && row.leader.status == Status::Pending
            && row.desired == Desired::Run
            && (row.leader.sort_key, row.id) < key
            // It was in sight long enough to be considered.
            && time.since(row.leader.eligible_at) > SIGHT
            && other.waits_since.is_some_and(|since| time.since(since) > SIGHT)
    });
    overtaken.map_or(Ok(()), |other| {
        Err(format!(
            "{id} overtakes {}, which waits before it",
            other.row.id
        ))
    })
}

/// Several sweeps, and a takeover.
const SIGHT: Duration = Duration::from_secs(60);
