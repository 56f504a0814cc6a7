//! Knows, without being asked, how the dependencies are: `/ready` tells what was seen here.
//!
//! Pings the database once a second, follows the broker's link and the leadership, keeps this
//! coordinator's entry in the list of coordinators fresh, and learns the leader's label from it.

use super::Ports;
use crate::{
    driver::Leadership,
    error_chain::chain,
    metrics as names,
    status::{Dependency, KnownLeader, NodeStatus},
    store::CoordinatorRecord,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tracing::{info, warn};

const PING_EVERY: Duration = Duration::from_secs(1);

/// A database that answers slower than this is degraded; one that has not answered after twice as
/// long is disconnected.
const SLOW: Duration = Duration::from_secs(1);

/// Every so many pings the list of coordinators is refreshed.
const LIST_EVERY: u64 = 2;

/// A coordinator that was not noted for so long is not listed.
pub(crate) const LISTED_FOR: Duration = Duration::from_secs(30);

pub(super) struct Watched {
    pub(super) ports: Ports,
    pub(super) status: Arc<watch::Sender<NodeStatus>>,
    pub(super) leadership: watch::Receiver<Leadership>,
    pub(super) record: CoordinatorRecord,
    /// The database answered at the start.
    pub(super) known: bool,
}

pub(super) async fn watch(mut watched: Watched) {
    let mut ticks = interval(PING_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut link = watched.ports.broker.link();
    let mut count = 0_u64;
    if watched.known {
        watched.set_database(Dependency::Connected);
    }
    loop {
        watched.set_broker(link.borrow_and_update().connected);
        watched.follow_leadership();
        tokio::select! {
            biased;
            Ok(()) = watched.leadership.changed() => {}
            Ok(()) = link.changed() => {}
            _ = ticks.tick() => {
                let database = watched.ping().await;
                watched.set_database(database);
                if database != Dependency::Disconnected && count.is_multiple_of(LIST_EVERY) {
                    watched.refresh_list().await;
                }
                count += 1;
            }
        }
    }
}

impl Watched {
    async fn ping(&self) -> Dependency {
        let began = Instant::now();
        match timeout(SLOW * 2, self.ports.store.ping()).await {
            Ok(Ok(())) if began.elapsed() <= SLOW => Dependency::Connected,
            Ok(Ok(())) => Dependency::Degraded,
            Ok(Err(_)) | Err(_) => Dependency::Disconnected,
        }
    }

    fn set_database(&self, database: Dependency) {
        metrics::gauge!(names::DATABASE_UP).set(if database == Dependency::Disconnected {
            0.0
        } else {
            1.0
        });
        self.status.send_if_modified(|status| {
            let changed = status.database != database;
            if changed {
                match database {
                    Dependency::Disconnected => warn!("the database does not answer"),
                    Dependency::Connected | Dependency::Degraded => {
                        info!(?database, "the database answers")
                    }
                }
            }
            status.database = database;
            changed
        });
    }

    fn set_broker(&self, connected: bool) {
        let broker = if connected {
            Dependency::Connected
        } else {
            Dependency::Degraded
        };
        metrics::gauge!(names::BROKER_UP).set(if connected { 1.0 } else { 0.0 });
        self.status.send_if_modified(|status| {
            let changed = status.broker != broker;
            if changed && !connected {
                warn!("the broker is away; reconnecting");
            } else if changed {
                info!("the broker is connected");
            }
            status.broker = broker;
            changed
        });
    }

    fn follow_leadership(&mut self) {
        let now = self.leadership.borrow_and_update().clone();
        let own = self.record.coordinator_id.clone();
        metrics::gauge!(names::LEADER).set(if now.is_leader { 1.0 } else { 0.0 });
        self.status.send_if_modified(|status| {
            let before = (status.is_leader, status.generation, status.leader.clone());
            if now.is_leader {
                status.leader = KnownLeader::Coordinator(own);
            } else if status.is_leader {
                status.leader = KnownLeader::Unknown;
            }
            status.is_leader = now.is_leader;
            status.generation = now.generation;
            before != (status.is_leader, status.generation, status.leader.clone())
        });
    }

    async fn refresh_list(&self) {
        if let Err(error) = self.ports.store.record_coordinator(&self.record).await {
            warn!(error = %chain(&error), "could not note that this coordinator is up");
            return;
        }
        match self.ports.store.coordinators(LISTED_FOR).await {
            Ok(rows) => {
                let leader = rows.into_iter().find(|row| row.is_leader);
                self.status.send_if_modified(|status| {
                    let label = leader.map_or(KnownLeader::Nobody, |row| {
                        KnownLeader::Coordinator(row.record.coordinator_id)
                    });
                    let changed = !status.is_leader && status.leader != label;
                    if changed {
                        status.leader = label;
                    }
                    changed
                });
            }
            Err(error) => warn!(error = %chain(&error), "could not read the list of coordinators"),
        }
    }
}
