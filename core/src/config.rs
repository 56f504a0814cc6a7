//! What a coordinator is told at its start. Checked at the edge that reads it; core trusts it.

use crate::{ids::Incarnation, time::Duration};

/// The configuration of one coordinator's decisions. Fixed for the life of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// This start of this process.
    pub incarnation: Incarnation,
    /// Whether other coordinators may exist. Without it the lease is taken at once, whatever it
    /// says, and a fenced coordinator exits.
    pub enable_ha: bool,
    /// How long a leader may lead without renewing. At least 1 s.
    pub leader_lease_ttl: Duration,
    /// The safety sweep over waiting workloads and unseen wishes. At least 1 s.
    pub scheduler_interval: Duration,
    /// Most assignments in one commit, 1 to 2,000.
    pub batch_size: u32,
    /// A worker's lease: how long it may run attempts without hearing from a leader.
    pub heartbeat_timeout: Duration,
    /// Silence after which a worker is called DEAD and its incarnation ends. Above
    /// `heartbeat_timeout`.
    pub worker_dead_threshold: Duration,
    /// The first back-off before a retry; doubles with each.
    pub retry_backoff_base: Duration,
    /// No back-off is longer.
    pub retry_backoff_cap: Duration,
    /// Losses of the worker in a row, without a newer checkpoint, that fail a workload. At least 1.
    pub worker_loss_limit: u32,
    /// Best entries held in memory for each placement class of a customer. At least 1.
    pub window_per_class: u32,
    /// Rows in one answer to a load. At least `window_per_class`.
    pub load_limit: u32,
    /// Feeds every random choice (jitter of back-offs and election).
    pub seed: u64,
}

impl Config {
    /// How long a stopped attempt has before it is killed, unless told otherwise.
    pub const STOP_DEADLINE: Duration = Duration::from_secs(30);
    /// One step of priority is worth this much waiting.
    pub const AGEING_PER_PRIORITY: Duration = Duration::from_secs(60);
    /// Most rows written by one batch: above it a statement takes longer than it saves
    /// (measured on Postgres 15: rows a second stay flat from 1,000 up).
    pub const BATCH_ROWS_MAX: usize = 2_000;
    /// A driver that is scheduled less often than this has not listened.
    pub const LISTENING_LAG_MAX: Duration = Duration::from_secs(1);

    /// The defaults of the contract, for the given start of a process.
    #[must_use]
    pub const fn new(incarnation: Incarnation, seed: u64) -> Self {
        Self {
            incarnation,
            enable_ha: false,
            leader_lease_ttl: Duration::from_secs(10),
            scheduler_interval: Duration::from_secs(5),
            batch_size: 100,
            heartbeat_timeout: Duration::from_secs(60),
            worker_dead_threshold: Duration::from_secs(90),
            retry_backoff_base: Duration::from_secs(1),
            retry_backoff_cap: Duration::from_secs(300),
            worker_loss_limit: 5,
            window_per_class: 256,
            load_limit: 1_000,
            seed,
        }
    }

    /// Kept between what a leader trusts and what the database says: a twentieth of the TTL, for
    /// clocks that run at different speeds and the time to stop.
    #[must_use]
    pub fn leader_margin(&self) -> Duration {
        self.leader_lease_ttl / 20
    }

    /// How often a leader renews, and proves that the broker carries its words to itself.
    #[must_use]
    pub fn renewal_interval(&self) -> Duration {
        self.leader_lease_ttl / 3
    }

    /// How often a worker is told to send a heartbeat: a quarter of its lease.
    #[must_use]
    pub fn heartbeat_interval(&self) -> Duration {
        self.heartbeat_timeout / 4
    }

    /// A worker's lease as the leader must count it: with 2 % + 1 s for clocks that drift.
    #[must_use]
    pub fn with_drift_margin(lease: Duration) -> Duration {
        lease + lease / 50 + Duration::from_secs(1)
    }
}
