//! Whatever stands in a configuration file, in the environment and behind flags, a line for each:
//! `env NAME value`, `flag name value`; every other line belongs to the file.
//!
//! Either every key is right and the whole of it can work, or every mistake is told; and what is told
//! never holds the password of a URL.

use runtime::config::{
    Config, KEYS, Profile, Sources, format_duration, parse_duration, redact_url,
};
use std::{collections::BTreeMap, ffi::OsString, path::Path};

/// Loads a configuration.
///
/// # Panics
/// When one is accepted that cannot work, or a secret is shown.
pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (mut file, mut environment, mut flags) = (String::new(), BTreeMap::new(), Vec::new());
    for line in text.lines() {
        let mut words = line.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("env"), Some(name), Some(value)) => {
                environment.insert(name.to_owned(), OsString::from(value));
            }
            (Some("flag"), Some(name), Some(value)) => {
                let key = KEYS.iter().find(|key| key.name == name);
                flags.extend(key.map(|key| (key.name, value.to_owned())));
            }
            _ => {
                file.push_str(line);
                file.push('\n');
            }
        }
        durations(line);
        secrets(line);
    }
    let sources = Sources {
        file: Some(Path::new("niyanta.yaml")),
        environment: &|name| environment.get(name).cloned(),
        flags: &flags,
        is_terminal: false,
    };
    let data_dir = Path::new("/var/lib/niyanta");
    for profile in [Profile::Dev { data_dir }, Profile::Serve, Profile::Migrate] {
        match Config::load_text(profile, &sources, Some(Ok(file.clone()))) {
            Ok(config) => works(profile, &config),
            Err(errors) => assert!(!errors.to_string().is_empty()),
        }
    }
}

/// What core is told is within what it trusts.
fn works(profile: Profile<'_>, config: &Config) {
    if profile == Profile::Migrate {
        return;
    }
    assert!(config.conflicts().is_empty());
    let Ok(incarnation) = "fuzz".parse() else {
        unreachable!("an identifier");
    };
    let core = config.to_core(incarnation, 1);
    let second = niyanta_core::time::Duration::from_secs(1);
    assert!(core.leader_lease_ttl >= second && core.scheduler_interval >= second);
    assert!((1..=2_000).contains(&core.batch_size) && core.worker_loss_limit >= 1);
    assert!(core.worker_dead_threshold > core.heartbeat_timeout);
    assert!(core.retry_backoff_cap >= core.retry_backoff_base);
    // Arithmetic on it must not overflow either.
    let _ = niyanta_core::Config::with_drift_margin(core.heartbeat_timeout);
}

fn durations(text: &str) {
    if let Some(duration) = parse_duration(text) {
        let printed = format_duration(duration);
        assert_eq!(
            parse_duration(&printed),
            Some(duration),
            "{text} as {printed}"
        );
    }
}

fn secrets(text: &str) {
    // Whatever it is made of, but for what is printed around it.
    let secret = format!("S3cret{}", text.replace(['\n', '\r'], ""));
    for scheme in ["postgres", "nats", "tls"] {
        let shown = redact_url(&format!("{scheme}://app:{secret}@db:5432/niyanta"));
        assert!(!shown.contains("S3cret"), "{shown}");
    }
}
