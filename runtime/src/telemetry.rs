//! Logs of a process: one subscriber, written to standard error.
//!
//! Levels say who must act: `error` tonight, `warn` tomorrow, `info` nobody (an operator cares),
//! `debug` and `trace` follow decisions. Messages are constant, values are fields. Secrets and
//! payloads are never fields.

use crate::config::{LogFormat, LogLevel};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Starts logging for this process. Called once; a second call changes nothing.
///
/// Libraries beneath are heard from `warn` on, whatever the level.
pub fn start(level: LogLevel, format: LogFormat) {
    let level = level.as_str();
    let filter = EnvFilter::new(format!(
        "warn,runtime={level},niyanta={level},niyanta_core={level}"
    ));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = fmt::layer().with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => registry.with(layer.with_target(false)).try_init(),
        LogFormat::Json => registry
            .with(layer.json().flatten_event(true).with_current_span(true))
            .try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}
