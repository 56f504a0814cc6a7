//! Puts a [`Config`] together: defaults, then the file, then the environment, then flags.
//!
//! Every source is checked even where a later one overrides it: a mistake that waits for an
//! environment variable to be removed is found on the worst day. An empty environment variable
//! counts as not set, as compose files and service units mean it.

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_norway::Value;

use super::{
    Config, ConfigErrors, Fallback, KEYS, Key, LogFormat, LogLevel, Problem, SecretUrl, keys,
    redact_url,
};

/// Which command is being configured: defaults and required keys differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile<'a> {
    /// Everything in one process, on embedded defaults.
    Dev {
        /// Where the SQLite file goes.
        data_dir: &'a Path,
    },
    /// One coordinator.
    Serve,
    /// The database alone: no broker is needed, and no combination of keys can be wrong.
    Migrate,
}

/// Where values come from.
pub struct Sources<'a> {
    /// The configuration file.
    pub file: Option<&'a Path>,
    /// Looks up an environment variable.
    pub environment: &'a dyn Fn(&str) -> Option<OsString>,
    /// Flags that were given: key and value.
    pub flags: &'a [(&'static str, String)],
    /// Whether log lines go to a terminal.
    pub is_terminal: bool,
}

/// The folder in which `niyanta dev` keeps its state unless told otherwise.
#[must_use]
pub fn default_data_dir() -> Option<PathBuf> {
    directories::ProjectDirs::from("", "", "niyanta").map(|dirs| dirs.data_dir().to_path_buf())
}

impl Config {
    /// Reads all sources. Either every key is right, or every mistake is told.
    ///
    /// # Errors
    /// One line for each mistake.
    pub fn load(profile: Profile<'_>, sources: &Sources<'_>) -> Result<Self, ConfigErrors> {
        let text = sources
            .file
            .map(|file| std::fs::read_to_string(file).map_err(|error| error.to_string()));
        Self::load_text(profile, sources, text)
    }

    /// The same, with the text of the file, or why there is none.
    ///
    /// # Errors
    /// One line for each mistake.
    pub fn load_text(
        profile: Profile<'_>,
        sources: &Sources<'_>,
        text: Option<Result<String, String>>,
    ) -> Result<Self, ConfigErrors> {
        let mut draft = Draft::new(profile, sources.is_terminal);
        if let Some(text) = text {
            let shown = sources.file.map(|file| file.display().to_string());
            draft.read_file(shown.unwrap_or_default(), text);
        }
        for key in &KEYS {
            draft.read_environment(key, sources.environment);
        }
        for (name, value) in sources.flags {
            if let Some(key) = KEYS.iter().find(|key| key.name == *name) {
                draft.set(key, value, &format!("flag --{}", key.flag()));
            }
        }
        draft.finish(profile)
    }
}

/// A configuration in the making.
struct Draft {
    config: Config,
    problems: Vec<Problem>,
}

impl Draft {
    /// All defaults. A required key is left empty, which no accepted text can make it.
    fn new(profile: Profile<'_>, is_terminal: bool) -> Self {
        let mut draft = Self {
            config: blank(is_terminal),
            problems: Vec::new(),
        };
        let is_dev = matches!(profile, Profile::Dev { .. });
        for key in &KEYS {
            match key.default {
                Fallback::Same(text) => draft.set(key, text, "default"),
                Fallback::Split { dev, serve } => {
                    draft.set(key, if is_dev { dev } else { serve }, "default");
                }
                Fallback::Required { .. } | Fallback::Computed(_) | Fallback::Unset => {}
            }
        }
        if let Profile::Dev { data_dir } = profile {
            draft.config.database_url = sqlite_in(data_dir);
            draft.config.nats_url = SecretUrl::new(keys::EMBEDDED);
        }
        draft
    }

    fn set(&mut self, key: &Key, text: &str, origin: &str) {
        if (key.apply)(&mut self.config, text).is_some() {
            return;
        }
        let value = if key.secret {
            redact_url(text)
        } else {
            text.to_owned()
        };
        self.problems.push(Problem::BadValue {
            key: key.name,
            value,
            origin: origin.to_owned(),
            allowed: key.allowed,
        });
    }

    fn read_file(&mut self, shown: String, text: Result<String, String>) {
        match text.and_then(|text| parse_file(&text)) {
            Ok(entries) => {
                let origin = format!("file {shown}");
                for (name, value) in entries {
                    self.read_entry(&name, &value, &origin);
                }
            }
            Err(reason) => self.problems.push(Problem::Unreadable {
                file: shown,
                reason,
            }),
        }
    }

    fn read_entry(&mut self, name: &str, value: &Value, origin: &str) {
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            self.problems.push(Problem::UnknownKey {
                key: name.to_owned(),
                origin: origin.to_owned(),
                hint: nearest(name),
            });
            return;
        };
        match value {
            Value::String(text) => self.set(key, text, origin),
            Value::Bool(value) => self.set(key, &value.to_string(), origin),
            Value::Number(value) => self.set(key, &value.to_string(), origin),
            Value::Null | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => {
                self.problems.push(Problem::BadValue {
                    key: key.name,
                    value: kind(value).to_owned(),
                    origin: origin.to_owned(),
                    allowed: key.allowed,
                });
            }
        }
    }

    fn read_environment(&mut self, key: &Key, lookup: &dyn Fn(&str) -> Option<OsString>) {
        let Some(value) = lookup(key.env).filter(|value| !value.is_empty()) else {
            return;
        };
        let origin = format!("environment {}", key.env);
        match value.into_string() {
            Ok(text) => self.set(key, &text, &origin),
            Err(raw) => self.problems.push(Problem::BadValue {
                key: key.name,
                value: if key.secret {
                    "not UTF-8".to_owned()
                } else {
                    raw.to_string_lossy().into_owned()
                },
                origin,
                allowed: key.allowed,
            }),
        }
    }

    fn finish(mut self, profile: Profile<'_>) -> Result<Config, ConfigErrors> {
        for key in &KEYS {
            let needed = match profile {
                Profile::Dev { .. } | Profile::Serve => {
                    matches!(key.default, Fallback::Required { .. })
                }
                Profile::Migrate => key.name == "database_url",
            };
            let was_refused = self.problems.iter().any(
                |problem| matches!(problem, Problem::BadValue { key: name, .. } if *name == key.name),
            );
            let empty = match key.name {
                "database_url" => self.config.database_url.expose().is_empty(),
                "nats_url" => self.config.nats_url.expose().is_empty(),
                _ => false,
            };
            if needed && empty && !was_refused {
                self.problems.push(Problem::Missing {
                    key: key.name,
                    env: key.env,
                    flag: key.flag(),
                    allowed: key.allowed,
                });
            }
        }
        if self.problems.is_empty() && profile != Profile::Migrate {
            self.problems = self.config.conflicts();
        }
        if self.problems.is_empty() {
            Ok(self.config)
        } else {
            Err(ConfigErrors(self.problems))
        }
    }
}

/// The entries of a YAML file, or why it has none.
fn parse_file(text: &str) -> Result<Vec<(String, Value)>, String> {
    let document: Value =
        serde_norway::from_str(text).map_err(|error| format!("not YAML: {error}"))?;
    match document {
        Value::Null => Ok(Vec::new()),
        Value::Mapping(mapping) => mapping
            .into_iter()
            .map(|(name, value)| match name.as_str() {
                Some(name) => Ok((name.to_owned(), value)),
                None => Err(format!("a key must be a word, not {}", kind(&name))),
            })
            .collect(),
        Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Sequence(_)
        | Value::Tagged(_) => Err(format!(
            "must hold lines such as `server_port: 8080`, not {}",
            kind(&document)
        )),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Sequence(_) => "a list",
        Value::Mapping(_) => "a mapping",
        Value::Tagged(_) => "a tagged value",
    }
}

/// The known key most like `name`, when one is close enough to have been meant.
fn nearest(name: &str) -> String {
    let wanted = name.to_ascii_lowercase().replace('-', "_");
    KEYS.iter()
        .map(|key| (edit_distance(&wanted, key.name), key.name))
        .min()
        .filter(|(distance, known)| *distance * 3 <= known.len())
        .map_or_else(
            || {
                let names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
                format!("known are {}", names.join(", "))
            },
            |(_, known)| format!("did you mean {known}?"),
        )
}

fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Characters that would end the path of a URL are escaped.
fn sqlite_in(data_dir: &Path) -> SecretUrl {
    let path = data_dir.join("niyanta.db").to_string_lossy().into_owned();
    let path = path
        .replace('%', "%25")
        .replace('?', "%3F")
        .replace('#', "%23");
    SecretUrl::new(format!("sqlite://{path}?mode=rwc"))
}

fn host_label() -> String {
    let uname = rustix::system::uname();
    let host: String = uname
        .nodename()
        .to_string_lossy()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))
        .take(64)
        .collect();
    let host = if host.is_empty() {
        "coordinator"
    } else {
        &host
    };
    format!("{host}-{:06x}", rand::random::<u32>() & 0x00ff_ffff)
}

/// What the table's defaults are written over, and the defaults that are made at the start.
fn blank(is_terminal: bool) -> Config {
    let zero = Duration::ZERO;
    Config {
        server_port: 0,
        bind_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        grpc_port: 0,
        enable_ha: false,
        leader_lease_ttl: zero,
        scheduler_interval: zero,
        batch_size: 0,
        health_check_interval: zero,
        heartbeat_timeout: zero,
        worker_dead_threshold: zero,
        database_url: SecretUrl::default(),
        database_pool_size: 0,
        nats_url: SecretUrl::default(),
        nats_credentials: None,
        subject_prefix: String::new(),
        coordinator_id: host_label(),
        drain_period: zero,
        shutdown_timeout: zero,
        retry_backoff_base: zero,
        retry_backoff_cap: zero,
        worker_loss_limit: 0,
        retention_workloads: zero,
        retention_logs: zero,
        retention_idempotency: zero,
        log_level: LogLevel::Info,
        log_format: if is_terminal {
            LogFormat::Text
        } else {
            LogFormat::Json
        },
    }
}

#[cfg(test)]
mod tests;
