//! The table of configuration keys: name, environment variable, default, what is allowed, what it
//! is for, and how its text becomes a field of [`Config`]. Adding a key is adding a row here and a
//! field there.

use std::{net::IpAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use super::{Config, LogFormat, LogLevel, SecretUrl, parse_duration};

/// The value of `nats_url` that asks for the broker inside the process.
pub(super) const EMBEDDED: &str = "embedded";

/// One configuration key.
#[derive(Debug)]
pub struct Key {
    /// As written in the file.
    pub name: &'static str,
    /// The environment variable.
    pub env: &'static str,
    /// What holds when nobody sets it.
    pub default: Fallback,
    /// What it takes, as said in errors and help.
    pub allowed: &'static str,
    /// What it is for, in one line.
    pub doc: &'static str,
    /// Whether its value may hold a password.
    pub secret: bool,
    /// Writes the value that a text stands for; `None` when it stands for none.
    #[cfg_attr(
        not(feature = "real"),
        expect(dead_code, reason = "only what loads a configuration applies keys")
    )]
    pub(super) apply: fn(&mut Config, &str) -> Option<()>,
}

/// What holds when nobody sets a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// The same everywhere.
    Same(&'static str),
    /// One for `dev`, one for `serve`.
    Split {
        /// In `niyanta dev`.
        dev: &'static str,
        /// In `niyanta serve`.
        serve: &'static str,
    },
    /// Made at the start; the text says how.
    Computed(&'static str),
    /// `serve` needs to be told; `dev` uses what the text says.
    Required {
        /// In `niyanta dev`.
        dev: &'static str,
    },
    /// May stay unset.
    Unset,
}

impl Key {
    /// The command line flag, without its dashes.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    const fn holding_secrets(mut self) -> Self {
        self.secret = true;
        self
    }

    /// The default as said in help and reference.
    #[must_use]
    pub fn default_text(&self) -> String {
        match self.default {
            Fallback::Same("") | Fallback::Unset => "none".to_owned(),
            Fallback::Same(text) | Fallback::Computed(text) => text.to_owned(),
            Fallback::Split { dev, serve } => format!("{dev} in dev, {serve} in serve"),
            Fallback::Required { dev } => format!("required; in dev {dev}"),
        }
    }
}

macro_rules! key {
    (
        $field:ident, $env:literal, $default:expr, $allowed:literal, $doc:literal,
        $parse:expr
    ) => {
        Key {
            name: stringify!($field),
            env: $env,
            default: $default,
            allowed: $allowed,
            doc: $doc,
            secret: false,
            apply: |config, text| {
                let parse = $parse;
                config.$field = parse(text)?;
                Some(())
            },
        }
    };
}

/// Every key, in the order of the reference.
pub static KEYS: [Key; 26] = [
    key!(
        server_port,
        "SERVER_PORT",
        Fallback::Same("8080"),
        "a port from 0 to 65535; 0 takes any free one",
        "Where the HTTP API listens",
        |text: &str| text.parse().ok()
    ),
    key!(
        bind_address,
        "BIND_ADDRESS",
        Fallback::Split {
            dev: "127.0.0.1",
            serve: "0.0.0.0"
        },
        "an IP address such as 127.0.0.1, 0.0.0.0 or ::1",
        "The address that all listeners bind",
        |text: &str| text.parse::<IpAddr>().ok()
    ),
    key!(
        grpc_port,
        "GRPC_PORT",
        Fallback::Same("9090"),
        "a port from 0 to 65535; 0 takes any free one",
        "Where gRPC listens",
        |text: &str| text.parse().ok()
    ),
    key!(
        enable_ha,
        "ENABLE_HA",
        Fallback::Same("false"),
        "true or false",
        "Whether other coordinators may run on the same database",
        boolean
    ),
    key!(
        leader_lease_ttl,
        "LEADER_LEASE_TTL",
        Fallback::Same("10s"),
        "a duration such as 500ms, 10s, 5m, 1h, 90d, between 1s and 1h",
        "How long a leader may lead without renewing",
        duration(SECOND..=HOUR)
    ),
    key!(
        scheduler_interval,
        "SCHEDULER_INTERVAL",
        Fallback::Same("5s"),
        "a duration such as 500ms, 10s, 5m, 1h, 90d, between 1s and 1h",
        "The safety sweep; scheduling itself is event-driven",
        duration(SECOND..=HOUR)
    ),
    key!(
        batch_size,
        "BATCH_SIZE",
        Fallback::Same("100"),
        "a whole number from 1 to 2000",
        "Most assignments in one commit",
        number(1..=2_000)
    ),
    key!(
        health_check_interval,
        "HEALTH_CHECK_INTERVAL",
        Fallback::Same("30s"),
        "a duration such as 500ms, 10s, 5m, 1h, 90d, between 1s and 1h",
        "How often worker health is swept, logged and measured",
        duration(SECOND..=HOUR)
    ),
    key!(
        heartbeat_timeout,
        "HEARTBEAT_TIMEOUT",
        Fallback::Same("60s"),
        "a duration such as 500ms, 10s, 5m, 1h, 90d, between 1s and 1h",
        "A worker's lease: how long it may run work without hearing from a leader",
        duration(SECOND..=HOUR)
    ),
    key!(
        worker_dead_threshold,
        "WORKER_DEAD_THRESHOLD",
        Fallback::Same("90s"),
        "a duration such as 500ms, 10s, 5m, 1h, 90d, between 1s and 1d, above heartbeat_timeout",
        "Silence after which a worker is called DEAD",
        duration(SECOND..=DAY)
    ),
    key!(
        database_url,
        "DATABASE_URL",
        Fallback::Required {
            dev: "an SQLite file in the data folder"
        },
        "postgres://USER:PASSWORD@HOST:PORT/DATABASE or sqlite://PATH",
        "The database",
        database_url
    )
    .holding_secrets(),
    key!(
        database_pool_size,
        "DATABASE_POOL_SIZE",
        Fallback::Same("10"),
        "a whole number from 2 to 1000",
        "Most connections to the database",
        number(2..=1_000)
    ),
    key!(
        nats_url,
        "NATS_URL",
        Fallback::Required { dev: EMBEDDED },
        "nats://HOST:PORT, tls://HOST:PORT or embedded",
        "The broker between coordinators and workers",
        nats_url
    )
    .holding_secrets(),
    key!(
        nats_credentials,
        "NATS_CREDENTIALS",
        Fallback::Unset,
        "the path of a NATS credentials file",
        "How to authenticate to the broker",
        |text: &str| path(text).map(Some)
    ),
    key!(
        subject_prefix,
        "SUBJECT_PREFIX",
        Fallback::Same(""),
        "words of A-Z a-z 0-9 _ - joined by dots, at most 128 characters",
        "Stands before every NATS subject, so that several installations can share a broker",
        subject_prefix
    ),
    key!(
        coordinator_id,
        "COORDINATOR_ID",
        Fallback::Computed("host name and a random suffix"),
        "1 to 128 characters of A-Z a-z 0-9 _ . : -",
        "A label for people; identity is made anew at each start",
        label
    ),
    key!(
        drain_period,
        "DRAIN_PERIOD",
        Fallback::Same("0s"),
        "a duration such as 500ms, 10s, 5m, 1h, 90d, between 0s and 1h",
        "How long a stopping coordinator still serves after readiness failed",
        duration(Duration::ZERO..=HOUR)
    ),
    key!(
        shutdown_timeout,
        "SHUTDOWN_TIMEOUT",
        Fallback::Same("30s"),
        "a duration such as 500ms, 10s, 5m, 1h, 90d, between 100ms and 1h",
        "A stop that takes longer exits 1",
        duration(Duration::from_millis(100)..=HOUR)
    ),
    key!(
        retry_backoff_base,
        "RETRY_BACKOFF_BASE",
        Fallback::Same("1s"),
        "a duration such as 500ms, 10s, 5m, 1h, 90d, between 1ms and 1h",
        "The first back-off before a retry; doubles with each",
        duration(MILLISECOND..=HOUR)
    ),
    key!(
        retry_backoff_cap,
        "RETRY_BACKOFF_CAP",
        Fallback::Same("5m"),
        "a duration such as 500ms, 10s, 5m, 1h, 90d, between 1ms and 1d, at least retry_backoff_base",
        "No back-off is longer",
        duration(MILLISECOND..=DAY)
    ),
    key!(
        worker_loss_limit,
        "WORKER_LOSS_LIMIT",
        Fallback::Same("5"),
        "a whole number from 1 to 1000",
        "Losses of the worker in a row, without a newer checkpoint, that fail a workload",
        number(1..=1_000)
    ),
    key!(
        retention_workloads,
        "RETENTION_WORKLOADS",
        Fallback::Same("90d"),
        "a duration such as 500ms, 10s, 5m, 1h, 90d, between 1s and 36500d",
        "How long ended workloads are kept, with their audit trail",
        duration(SECOND..=CENTURY)
    ),
    key!(
        retention_logs,
        "RETENTION_LOGS",
        Fallback::Same("30d"),
        "a duration such as 500ms, 10s, 5m, 1h, 90d, between 1s and 36500d",
        "How long log lines are kept",
        duration(SECOND..=CENTURY)
    ),
    key!(
        retention_idempotency,
        "RETENTION_IDEMPOTENCY",
        Fallback::Same("24h"),
        "a duration such as 500ms, 10s, 5m, 1h, 90d, between 24h and 36500d",
        "How long idempotency keys are remembered, at most as long as their workload",
        duration(DAY..=CENTURY)
    ),
    key!(
        log_level,
        "LOG_LEVEL",
        Fallback::Same("info"),
        "error, warn, info, debug or trace",
        "The least severe level that is logged",
        LogLevel::parse
    ),
    key!(
        log_format,
        "LOG_FORMAT",
        Fallback::Computed("text on a terminal, json elsewhere"),
        "text or json",
        "How log lines look",
        LogFormat::parse
    ),
];

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const CENTURY: Duration = Duration::from_secs(36_500 * 86_400);

fn boolean(text: &str) -> Option<bool> {
    text.to_ascii_lowercase().parse().ok()
}

fn number(allowed: RangeInclusive<u32>) -> impl Fn(&str) -> Option<u32> {
    move |text| text.parse().ok().filter(|number| allowed.contains(number))
}

fn duration(allowed: RangeInclusive<Duration>) -> impl Fn(&str) -> Option<Duration> {
    move |text| parse_duration(text).filter(|duration| allowed.contains(duration))
}

fn database_url(text: &str) -> Option<SecretUrl> {
    ["postgres://", "postgresql://", "sqlite://", "sqlite:"]
        .iter()
        .any(|scheme| text.len() > scheme.len() && text.starts_with(scheme))
        .then(|| SecretUrl::new(text))
}

fn nats_url(text: &str) -> Option<SecretUrl> {
    let server = |part: &str| {
        ["nats://", "tls://"]
            .iter()
            .any(|scheme| part.len() > scheme.len() && part.starts_with(scheme))
    };
    let fits = text == EMBEDDED || text.split(',').all(|part| server(part.trim()));
    fits.then(|| SecretUrl::new(text))
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

fn subject_prefix(text: &str) -> Option<String> {
    let word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    let fits = text.is_empty() || (text.len() <= 128 && text.split('.').all(word));
    fits.then(|| text.to_owned())
}

fn label(text: &str) -> Option<String> {
    let fits = (1..=128).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-'));
    fits.then(|| text.to_owned())
}
