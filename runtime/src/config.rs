//! The configuration of a coordinator: file, then environment, then flags.
//!
//! Owns the typed [`Config`], the checks that span several keys, and what may be printed of a
//! secret. The keys themselves, with their defaults and bounds, are one table ([`KEYS`]) that
//! drives parsing, help and the reference, so that none of them can drift from the others. Does
//! not read sockets or databases: that a URL is well formed is all that is known here.
//!
//! A general configuration crate was rejected: it stops at the first error and names neither the
//! source of a value nor what would have been allowed.

mod duration;
mod error;
mod keys;
#[cfg(feature = "real")]
mod load;
#[cfg(test)]
mod reference;
mod secret;

use std::{net::IpAddr, path::PathBuf, time::Duration};

use niyanta_core::ids::Incarnation;

pub use duration::{format_duration, parse_duration};
pub use error::{ConfigErrors, Problem};
pub use keys::{Fallback, KEYS, Key};
#[cfg(feature = "real")]
pub use load::{Profile, Sources, default_data_dir};
pub use secret::{SecretUrl, redact_url};

/// Everything a coordinator is told. Each field is the key of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the HTTP API listens; 0 takes any free port.
    pub server_port: u16,
    /// The address that all listeners bind.
    pub bind_address: IpAddr,
    /// Where gRPC listens; 0 takes any free port.
    pub grpc_port: u16,
    /// Whether other coordinators may run on the same database.
    pub enable_ha: bool,
    /// How long a leader may lead without renewing.
    pub leader_lease_ttl: Duration,
    /// The safety sweep of the scheduler.
    pub scheduler_interval: Duration,
    /// Most assignments in one commit.
    pub batch_size: u32,
    /// How often worker health is swept, logged and measured.
    pub health_check_interval: Duration,
    /// A worker's lease.
    pub heartbeat_timeout: Duration,
    /// Silence after which a worker is called DEAD.
    pub worker_dead_threshold: Duration,
    /// `postgres://…` or `sqlite://…`.
    pub database_url: SecretUrl,
    /// Most connections to the database.
    pub database_pool_size: u32,
    /// `nats://…`, `tls://…` or `embedded`.
    pub nats_url: SecretUrl,
    /// A NATS credentials file.
    pub nats_credentials: Option<PathBuf>,
    /// Put before every subject, with a dot; empty for none.
    pub subject_prefix: String,
    /// A label for people. Identity is the incarnation.
    pub coordinator_id: String,
    /// How long a stopping coordinator still serves after it fails readiness.
    pub drain_period: Duration,
    /// A stop that takes longer than this exits 1.
    pub shutdown_timeout: Duration,
    /// The first back-off before a retry.
    pub retry_backoff_base: Duration,
    /// No back-off is longer.
    pub retry_backoff_cap: Duration,
    /// Losses of the worker in a row that fail a workload.
    pub worker_loss_limit: u32,
    /// How long ended workloads are kept.
    pub retention_workloads: Duration,
    /// How long log lines are kept.
    pub retention_logs: Duration,
    /// How long idempotency records are kept.
    pub retention_idempotency: Duration,
    /// The least severe level that is logged.
    pub log_level: LogLevel,
    /// How log lines look.
    pub log_format: LogFormat,
}

/// The least severe level that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Someone must act tonight.
    Error,
    /// Worth a look tomorrow.
    Warn,
    /// What an operator wants to know.
    Info,
    /// Decisions and their reasons.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The word used in configuration, which is also the one that tracing's filters know.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// The level of that word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Error,
            Self::Warn,
            Self::Info,
            Self::Debug,
            Self::Trace,
        ]
        .into_iter()
        .find(|level| level.as_str().eq_ignore_ascii_case(text))
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// The format of that word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

impl Config {
    /// Whether the database is an SQLite file.
    #[must_use]
    pub fn uses_sqlite(&self) -> bool {
        self.database_url.expose().starts_with("sqlite:")
    }

    /// Whether the broker lives in this process.
    #[must_use]
    pub fn uses_embedded_broker(&self) -> bool {
        self.nats_url.expose() == keys::EMBEDDED
    }

    /// What core must know, for one start of this process.
    #[must_use]
    pub fn to_core(&self, incarnation: Incarnation, seed: u64) -> niyanta_core::config::Config {
        niyanta_core::config::Config {
            enable_ha: self.enable_ha,
            leader_lease_ttl: self.leader_lease_ttl,
            scheduler_interval: self.scheduler_interval,
            batch_size: self.batch_size,
            heartbeat_timeout: self.heartbeat_timeout,
            worker_dead_threshold: self.worker_dead_threshold,
            retry_backoff_base: self.retry_backoff_base,
            retry_backoff_cap: self.retry_backoff_cap,
            worker_loss_limit: self.worker_loss_limit,
            ..niyanta_core::config::Config::new(incarnation, seed)
        }
    }

    /// What no single key can tell: the combinations that cannot work, one line each.
    #[must_use]
    pub fn conflicts(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut conflict = |detail: String| found.push(Problem::Conflict { detail });
        if self.worker_dead_threshold <= self.heartbeat_timeout {
            conflict(format!(
                "worker_dead_threshold = {:?} with heartbeat_timeout = {:?}: \
                 worker_dead_threshold must be above heartbeat_timeout",
                format_duration(self.worker_dead_threshold),
                format_duration(self.heartbeat_timeout),
            ));
        }
        if self.retry_backoff_cap < self.retry_backoff_base {
            conflict(format!(
                "retry_backoff_cap = {:?} with retry_backoff_base = {:?}: \
                 retry_backoff_cap must be at least retry_backoff_base",
                format_duration(self.retry_backoff_cap),
                format_duration(self.retry_backoff_base),
            ));
        }
        if self.enable_ha && self.uses_sqlite() {
            conflict(format!(
                "enable_ha = \"true\" with database_url = \"{}\": SQLite is for one coordinator; \
                 set database_url to postgres://… or enable_ha to false",
                self.database_url
            ));
        }
        if self.enable_ha && self.uses_embedded_broker() {
            conflict(
                "enable_ha = \"true\" with nats_url = \"embedded\": the embedded broker lives in \
                 one process; set nats_url to nats://… or enable_ha to false"
                    .to_owned(),
            );
        }
        found
    }
}
