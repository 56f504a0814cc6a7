//! Drives `niyanta_core` with a real database, a real broker and HTTP.

pub mod ambient;
pub mod broker;
#[cfg(feature = "real")]
pub mod cli;
pub mod clock;
#[cfg(feature = "real")]
pub mod commands;
pub mod config;
pub mod driver;
mod error_chain;
pub mod hints;
pub mod http;
pub mod metrics;
pub mod node;
mod probes;
pub mod protocol;
pub mod status;
pub mod store;
#[cfg(feature = "real")]
pub mod telemetry;
#[cfg(planted)]
pub mod watch;
pub mod worker;
