//! Long-polls: one workload, once it has changed or the wait is over.
//!
//! Looks again after pauses that grow, in turn with others that wait, and at once when this process
//! hears of a change; so a lost wake-up costs little. Ends early when the process stops, and in time
//! whatever others do.

use super::{ApiState, error::ApiError, outcome};
use crate::store::WorkloadView;
use niyanta_core::ids::{CustomerId, WorkloadId};
use tokio::{
    pin, select,
    sync::SemaphorePermit,
    time::{Duration, Instant, sleep_until, timeout_at},
};

const FIRST_LOOK: Duration = Duration::from_millis(25);
const LONGEST_LOOK: Duration = Duration::from_millis(250);

/// The workload as soon as its version is above `since` or it has ended; else as it is at the end
/// of the wait. `None` when the customer has no such workload.
pub(crate) async fn changed_workload(
    state: &ApiState,
    customer: CustomerId,
    workload: WorkloadId,
    wait: Duration,
    since: Option<i64>,
) -> Result<Option<WorkloadView>, ApiError> {
    let deadline = Instant::now() + wait;
    let mut since = since;
    let mut pause = FIRST_LOOK;
    let mut turn = None;
    let stopping = state.stopping();
    pin!(stopping);
    loop {
        // Listening begins before looking, so that no change falls between the two.
        let change = state.changes.next(workload);
        pin!(change);
        change.as_mut().enable();
        let found = outcome::read(|| state.store.workload(customer, workload)).await?;
        drop(turn.take());
        let Some(view) = found else { return Ok(None) };
        let since = *since.get_or_insert(view.version);
        if view.version > since || view.status.is_terminal() || Instant::now() >= deadline {
            return Ok(Some(view));
        }
        let next_look = (Instant::now() + pause).min(deadline);
        select! {
            biased;
            () = &mut stopping => return Ok(Some(view)),
            () = change => pause = FIRST_LOOK,
            taken = next_turn(state, next_look, deadline) => {
                turn = taken;
                pause = (pause * 2).min(LONGEST_LOOK);
            }
        }
    }
}

/// Until it is time to look again and others leave room for it; at the end of the wait in any case.
async fn next_turn(
    state: &ApiState,
    next_look: Instant,
    deadline: Instant,
) -> Option<SemaphorePermit<'_>> {
    sleep_until(next_look).await;
    timeout_at(deadline, state.places.looks.turn())
        .await
        .ok()
        .flatten()
}
