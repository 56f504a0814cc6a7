//! What this process knows of itself and its dependencies, without asking anybody.
//!
//! Owns the value that the driver writes into a watch channel and that readiness, long-polls and
//! `pending_reason` read. Does not find anything out: whoever learns a fact writes it here.

use niyanta_core::ids::Generation;
use tokio::time::Instant;

/// How a dependency answers, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dependency {
    /// Answers.
    Connected,
    /// Answers slower than 1 s, or is being reconnected to.
    Degraded,
    /// Does not answer.
    Disconnected,
}

impl Dependency {
    /// Its name in the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Degraded => "degraded",
            Self::Disconnected => "disconnected",
        }
    }
}

/// Who leads, as far as this process knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownLeader {
    /// Not known yet, or not known any more.
    Unknown,
    /// The lease is known to have no holder.
    Nobody,
    /// The holder's label.
    Coordinator(String),
}

/// A snapshot of what is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// This process leads.
    pub is_leader: bool,
    /// Who leads.
    pub leader: KnownLeader,
    /// The term that is known; 0 before the first.
    pub generation: Generation,
    /// The database.
    pub database: Dependency,
    /// The schema was found to be the one this program knows.
    pub schema_known: bool,
    /// The broker.
    pub broker: Dependency,
    /// The process is stopping: readiness fails, long-polls and streams end.
    pub stopping: bool,
    /// When this process started.
    pub started_at: Instant,
}

impl NodeStatus {
    /// What a process knows when it starts: nothing.
    #[must_use]
    pub const fn starting(started_at: Instant) -> Self {
        Self {
            is_leader: false,
            leader: KnownLeader::Unknown,
            generation: Generation::ZERO,
            database: Dependency::Disconnected,
            schema_known: false,
            broker: Dependency::Disconnected,
            stopping: false,
            started_at,
        }
    }

    /// Whether requests should be sent here. Broker and leadership do not gate: the API works
    /// without them.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.database != Dependency::Disconnected && self.schema_known && !self.stopping
    }
}
