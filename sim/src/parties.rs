//! Who takes part where production coordinators run on simulated time: customers and operators who
//! call their API, workloads that say truly what they do, and what all of them are set up with.
//!
//! Engines differ in how a call reaches a coordinator and in what goes wrong; what callers do, and
//! when everything has come to rest, is the same for all and stands here.

mod client;
mod draw;
mod handler;
mod operator;
mod report;
mod settle;
mod surroundings;

pub(crate) use client::run_client;
pub(crate) use draw::{at, broker_rates, clock, secs};
pub(crate) use handler::{SimHandler, TYPES};
pub(crate) use operator::run_operator;
pub use report::{Outcome, Report};
pub(crate) use settle::{furnish, look};
pub(crate) use surroundings::{HostClock, Surroundings};

use crate::{
    clock::Clock,
    clock::Moment,
    decision::{Rng, Streams},
    plan::{CoordinatorPlan, CustomerPlan, Plan},
    ports::{Checker, SimStore},
};
use async_trait::async_trait;
use axum::http::Method;
use niyanta_core::{ids::CustomerId, time::Duration};
use runtime::config::{Config, LogFormat, LogLevel, SecretUrl};
use serde_json::Value;
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

/// Who is there and how they are configured, in every engine.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Where it comes from.
    pub seed: u64,
    /// Whose draws these are: the same seed means something else to each engine.
    pub engine: &'static str,
    /// How many coordinators; at least three.
    pub coordinators: usize,
    /// How many worker hosts.
    pub workers: usize,
    /// How many customers, one client each.
    pub clients: usize,
    /// `leader_lease_ttl`.
    pub ttl: Duration,
    /// `heartbeat_timeout`.
    pub heartbeat_timeout: Duration,
    /// `worker_dead_threshold`.
    pub dead_threshold: Duration,
    /// No statement is waited for longer.
    pub statement_within: Duration,
    /// One for each coordinator, then one for each worker.
    pub clocks: Vec<Clock>,
    /// Operators are at work.
    pub has_operators: bool,
    /// When everything heals.
    pub heal_at: Moment,
}

impl Setting {
    /// A stream of draws that is this engine's.
    pub(crate) fn stream(&self, label: &str, index: u64) -> Rng {
        let label = format!("{}.{label}", self.engine);
        Streams::new(self.seed).stream(&label, index)
    }

    /// What properties may know of it.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let mut plan = Plan::draw(self.seed, None);
        let drawn = plan.coordinators.first().cloned();
        let coordinators = self.clocks.iter().take(self.coordinators);
        plan.coordinators = coordinators
            .filter_map(|clock| {
                Some(CoordinatorPlan {
                    clock: *clock,
                    ttl: self.ttl,
                    heartbeat_timeout: self.heartbeat_timeout,
                    later_heartbeat_timeout: self.heartbeat_timeout,
                    dead_threshold: self.dead_threshold,
                    interval: SCHEDULER_INTERVAL,
                    backoff_cap: BACKOFF_CAP,
                    loss_limit: LOSS_LIMIT,
                    ..drawn.clone()?
                })
            })
            .collect();
        let customer = plan.customers.first().cloned();
        plan.customers = (0..self.clients)
            .filter_map(|index| {
                Some(CustomerPlan {
                    id: customer_id(index),
                    max_running: MAX_RUNNING,
                    max_queued: u64::from(MAX_QUEUED),
                    ..customer.clone()?
                })
            })
            .collect();
        plan.heal_at = self.heal_at;
        plan
    }

    /// The clock of a worker.
    #[must_use]
    pub fn worker_clock(&self, place: usize) -> Clock {
        self.clocks[self.coordinators + place]
    }

    /// A coordinator's configuration.
    pub(crate) fn config(&self, place: usize) -> Config {
        Config {
            server_port: API_PORT,
            bind_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            grpc_port: 0,
            enable_ha: true,
            leader_lease_ttl: self.ttl,
            scheduler_interval: SCHEDULER_INTERVAL,
            batch_size: 100,
            health_check_interval: Duration::from_secs(1),
            heartbeat_timeout: self.heartbeat_timeout,
            worker_dead_threshold: self.dead_threshold,
            database_url: SecretUrl::new("postgres://store"),
            database_pool_size: 6,
            nats_url: SecretUrl::new("nats://broker"),
            nats_credentials: None,
            subject_prefix: String::new(),
            coordinator_id: coordinator(place),
            drain_period: Duration::from_millis(200),
            shutdown_timeout: STOP_WITHIN,
            retry_backoff_base: Duration::from_millis(200),
            retry_backoff_cap: BACKOFF_CAP,
            worker_loss_limit: LOSS_LIMIT,
            retention_workloads: Duration::from_secs(86_400),
            retention_logs: Duration::from_secs(86_400),
            retention_idempotency: Duration::from_secs(86_400),
            log_level: LogLevel::Error,
            log_format: LogFormat::Text,
        }
    }
}

/// What callers share.
#[derive(Clone)]
pub(crate) struct Company {
    pub(crate) setting: Arc<Setting>,
    pub(crate) checker: Checker,
    pub(crate) store: SimStore,
    pub(crate) api: Arc<dyn Api>,
}

impl Company {
    /// Faults are over.
    pub(crate) fn is_healed(&self) -> bool {
        self.checker.now() >= self.setting.heal_at
    }
}

/// The way to the API of a coordinator.
#[async_trait]
pub(crate) trait Api: Send + Sync {
    /// Calls the coordinator at this place, and waits as long as clients do.
    async fn send(&self, place: usize, call: &Call<'_>) -> Answer;
}

/// What came of a call.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// It was certainly not sent.
    NotSent,
    /// No whole answer came in time.
    Lost,
    /// This.
    Came(u16, Value),
}

/// A call.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    /// The secret of a key.
    pub(crate) secret: &'a str,
    pub(crate) idempotency_key: Option<&'a str>,
    pub(crate) body: Option<&'a Value>,
}

/// The customer of a client.
#[must_use]
pub(crate) fn customer_id(index: usize) -> CustomerId {
    CustomerId(100 + index as u128)
}

/// A coordinator's host.
pub(crate) fn coordinator(place: usize) -> String {
    format!("c{place}")
}

/// A worker's host.
pub(crate) fn worker(place: usize) -> String {
    format!("w{place}")
}

/// Where coordinators serve their API.
pub(crate) const API_PORT: u16 = 8080;
/// The longest that a client waits for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// A stopping process is given so long.
pub(crate) const STOP_WITHIN: Duration = Duration::from_secs(5);
/// `scheduler_interval`.
pub(crate) const SCHEDULER_INTERVAL: Duration = Duration::from_secs(1);
/// `retry_backoff_cap`.
pub(crate) const BACKOFF_CAP: Duration = Duration::from_secs(1);
/// `worker_loss_limit`.
pub(crate) const LOSS_LIMIT: u32 = 5;
/// Most open attempts of a customer.
pub(crate) const MAX_RUNNING: u32 = 5;
/// Most workloads in a customer's queue.
pub(crate) const MAX_QUEUED: u32 = 12;
/// The longest that an attempt works.
pub(crate) const RUN_LONGEST: Duration = Duration::from_millis(3_000);
