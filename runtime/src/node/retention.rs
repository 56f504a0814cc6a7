//! Removes what is old, in the process that leads.
//!
//! Rounds begin a while after a term does and then come at an interval; each kind goes in bounded
//! batches with a rest between them, so that a long backlog never crowds out the work of the day.
//! Not fenced: what is old is old whoever removes it, and two that remove at once skip each other's
//! rows. Leading only keeps all coordinators from doing the same work.

use crate::{
    config::Config,
    driver::Leadership,
    error_chain::chain,
    metrics::RETIRED,
    store::{Retire, Store},
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::sleep};
use tracing::{info, warn};

/// How long everything is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retention([Retire; 5]);

impl Retention {
    pub(super) const fn new(config: &Config) -> Self {
        Self([
            Retire::Idempotency(config.retention_idempotency),
            Retire::Workloads(config.retention_workloads),
            Retire::Logs(config.retention_logs),
            Retire::Hours(HOURS_KEPT),
            Retire::Coordinators(COORDINATORS_KEPT),
        ])
    }

    /// Often enough for the shortest time, seldom enough for the database.
    fn interval(&self) -> Duration {
        let ages = self.0.iter().map(|what| match what {
            Retire::Workloads(age)
            | Retire::Logs(age)
            | Retire::Idempotency(age)
            | Retire::Hours(age)
            | Retire::Coordinators(age) => *age,
        });
        let shortest = ages.min().unwrap_or(LONGEST_INTERVAL);
        (shortest / 4).clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL)
    }
}

/// Removes for ever; dropped to stop.
pub(super) async fn run(
    store: Arc<dyn Store>,
    retention: Retention,
    mut leadership: watch::Receiver<Leadership>,
) {
    for what in &retention.0 {
        // What never happened is told as zero, so that its first increase is seen.
        metrics::counter!(RETIRED, "what" => what.as_str()).increment(0);
    }
    loop {
        if leadership.wait_for(|known| known.is_leader).await.is_err() {
            return;
        }
        sleep(retention.interval()).await;
        for what in &retention.0 {
            round(&*store, what, &leadership).await;
        }
    }
}

async fn round(store: &dyn Store, what: &Retire, leadership: &watch::Receiver<Leadership>) {
    let mut gone = 0;
    while leadership.borrow().is_leader {
        match store.retire(what, BATCH).await {
            Ok(removed) => {
                gone += removed;
                metrics::counter!(RETIRED, "what" => what.as_str()).increment(removed);
                if removed < BATCH.into() {
                    break;
                }
            }
            Err(error) => {
                warn!(what = what.as_str(), error = %chain(&error), "could not remove what is old");
                break;
            }
        }
        sleep(REST).await;
    }
    if gone > 0 {
        info!(what = what.as_str(), gone, "removed what is old");
    }
}

/// Most of one kind in one statement.
const BATCH: u32 = 500;
/// Between two statements.
const REST: Duration = Duration::from_millis(100);
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
const LONGEST_INTERVAL: Duration = Duration::from_secs(600);
/// Longer than the longest time that statistics may be asked for.
const HOURS_KEPT: Duration = Duration::from_secs(430 * 86_400);
/// A coordinator that ended without a word is listed for seconds, and forgotten after a day.
const COORDINATORS_KEPT: Duration = Duration::from_secs(86_400);
