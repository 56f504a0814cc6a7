#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;

use niyanta_core::ids::Incarnation;

use super::*;

const POSTGRES: &str = "postgres://app:hunter2@db/niyanta";

/// What one start is given: a file's text, environment variables and flags.
#[derive(Default)]
struct Given {
    file: Option<&'static str>,
    environment: BTreeMap<&'static str, &'static str>,
    flags: Vec<(&'static str, String)>,
}

impl Given {
    fn serve() -> Self {
        Self::from_env(&[("DATABASE_URL", POSTGRES), ("NATS_URL", "nats://broker")])
    }

    fn from_env(variables: &[(&'static str, &'static str)]) -> Self {
        Self {
            environment: variables.iter().copied().collect(),
            ..Self::default()
        }
    }

    fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.environment.insert(name, value);
        self
    }

    fn file(mut self, text: &'static str) -> Self {
        self.file = Some(text);
        self
    }

    fn flag(mut self, name: &'static str, value: &str) -> Self {
        self.flags.push((name, value.to_owned()));
        self
    }

    fn load(&self, profile: Profile<'_>) -> Result<Config, ConfigErrors> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("niyanta.yaml");
        if let Some(text) = self.file {
            std::fs::write(&path, text).unwrap();
        }
        let loaded = Config::load(
            profile,
            &Sources {
                file: self.file.map(|_| path.as_path()),
                environment: &|name| self.environment.get(name).map(OsString::from),
                flags: &self.flags,
                is_terminal: false,
            },
        );
        // The folder's name is random; what is said of it is not what the tests are about.
        loaded.map_err(|ConfigErrors(problems)| {
            let lines = problems.into_iter().map(|problem| Problem::Conflict {
                detail: problem
                    .to_string()
                    .replace(&path.display().to_string(), "FILE")
                    .trim_start_matches("config: ")
                    .to_owned(),
            });
            ConfigErrors(lines.collect())
        })
    }

    fn refused(&self) -> String {
        self.load(Profile::Serve).unwrap_err().to_string()
    }
}

#[test]
fn every_default_is_accepted_and_is_the_one_of_the_contract() {
    let config = Given::serve().load(Profile::Serve).unwrap();
    assert_eq!(config.server_port, 8080);
    assert_eq!(config.bind_address.to_string(), "0.0.0.0");
    assert_eq!(config.leader_lease_ttl, Duration::from_secs(10));
    assert_eq!(config.batch_size, 100);
    assert_eq!(config.retention_workloads, Duration::from_secs(90 * 86_400));
    assert_eq!(config.log_format, LogFormat::Json);
    assert!(!config.coordinator_id.is_empty());
}

#[test]
fn dev_needs_nothing_and_stays_on_this_machine() {
    let data_dir = Path::new("/data/a?b");
    let config = Given::default().load(Profile::Dev { data_dir }).unwrap();
    assert_eq!(config.bind_address.to_string(), "127.0.0.1");
    assert_eq!(
        config.database_url.expose(),
        "sqlite:///data/a%3Fb/niyanta.db?mode=rwc"
    );
    assert!(config.uses_sqlite() && config.uses_embedded_broker());
}

#[test]
fn flags_override_the_environment_which_overrides_the_file() {
    let given = Given::serve()
        .file("server_port: 1\ngrpc_port: 2\nbatch_size: 3\nenable_ha: true\n")
        .env("GRPC_PORT", "20")
        .env("BATCH_SIZE", "30")
        .env("LOG_LEVEL", "")
        .flag("batch_size", "300");
    let config = given.load(Profile::Serve).unwrap();
    assert_eq!(
        (config.server_port, config.grpc_port, config.batch_size),
        (1, 20, 300)
    );
    assert!(config.enable_ha);
    assert_eq!(config.log_level, LogLevel::Info, "empty counts as not set");
}

#[test]
fn a_bad_value_names_key_value_source_and_what_is_allowed() {
    assert_eq!(
        Given::serve().env("LEADER_LEASE_TTL", "10").refused(),
        "config: leader_lease_ttl = \"10\" (environment LEADER_LEASE_TTL): a duration such as \
         500ms, 10s, 5m, 1h, 90d, between 1s and 1h"
    );
    assert_eq!(
        Given::serve().flag("server_port", "65536").refused(),
        "config: server_port = \"65536\" (flag --server-port): a port from 0 to 65535; 0 takes \
         any free one"
    );
    assert_eq!(
        Given::serve().file("enable_ha: maybe").refused(),
        "config: enable_ha = \"maybe\" (file FILE): true or false"
    );
    assert_eq!(
        Given::serve().file("log_level: [info]").refused(),
        "config: log_level = \"a list\" (file FILE): error, warn, info, debug or trace"
    );
}

#[test]
fn a_bad_value_is_told_even_where_another_source_overrides_it() {
    let given = Given::serve().file("batch_size: 0").env("BATCH_SIZE", "10");
    assert!(
        given
            .refused()
            .starts_with("config: batch_size = \"0\" (file FILE)")
    );
}

#[test]
fn every_mistake_is_told_at_once_and_no_secret_with_it() {
    let told = Given::serve()
        .env("DATABASE_URL", "mysql://app:hunter2@db/x")
        .env("NATS_URL", "http://hunter2@broker")
        .env("SCHEDULER_INTERVAL", "999ms")
        .env("BATCH_SIZE", "2001")
        .env("SUBJECT_PREFIX", "a..b")
        .refused();
    assert_eq!(told.lines().count(), 5, "{told}");
    assert!(!told.contains("hunter2"), "{told}");
    assert!(told.contains("mysql://app:***@db/x"), "{told}");
}

#[test]
fn an_unknown_key_is_refused_with_the_one_that_was_meant() {
    assert_eq!(
        Given::serve().file("sever_port: 80").refused(),
        "config: sever_port (file FILE): unknown key; did you mean server_port?"
    );
    let told = Given::serve().file("colour: red").refused();
    assert!(
        told.contains("known are server_port, bind_address"),
        "{told}"
    );
}

#[test]
fn a_file_that_cannot_be_used_says_why() {
    let told = Given::serve().file("a: b: c").refused();
    assert!(told.starts_with("config: FILE: not YAML: "), "{told}");
    let told = Given::serve().file("- 1").refused();
    assert!(told.contains("not a list"), "{told}");
    let told = Given::serve()
        .file("batch_size: 1\nbatch_size: 2")
        .refused();
    assert!(told.contains("duplicate"), "{told}");

    let missing = Sources {
        file: Some(Path::new("/nowhere/niyanta.yaml")),
        environment: &|_| None,
        flags: &[],
        is_terminal: false,
    };
    let told = Config::load(Profile::Migrate, &missing)
        .unwrap_err()
        .to_string();
    assert!(
        told.starts_with("config: /nowhere/niyanta.yaml: No such file"),
        "{told}"
    );
    assert!(Given::serve().file("").load(Profile::Serve).is_ok());
}

#[test]
fn serve_says_what_to_set_and_migrate_asks_for_the_database_alone() {
    let told = Given::default().refused();
    assert_eq!(
        told,
        "config: database_url is not set: set DATABASE_URL, --database-url or database_url in the \
         file to postgres://USER:PASSWORD@HOST:PORT/DATABASE or sqlite://PATH\n\
         config: nats_url is not set: set NATS_URL, --nats-url or nats_url in the file to \
         nats://HOST:PORT, tls://HOST:PORT or embedded"
    );
    let given = Given::from_env(&[("DATABASE_URL", POSTGRES)]);
    assert!(given.load(Profile::Migrate).is_ok());
    assert!(Given::default().load(Profile::Migrate).is_err());
}

#[test]
fn combinations_that_cannot_work_name_both_keys() {
    let told = Given::serve().env("WORKER_DEAD_THRESHOLD", "60s").refused();
    assert_eq!(
        told,
        "config: worker_dead_threshold = \"1m\" with heartbeat_timeout = \"1m\": \
         worker_dead_threshold must be above heartbeat_timeout"
    );
    let told = Given::serve().env("RETRY_BACKOFF_CAP", "10ms").refused();
    assert!(told.contains("retry_backoff_base = \"1s\""), "{told}");
    let told = Given::serve()
        .env("ENABLE_HA", "true")
        .env("DATABASE_URL", "sqlite:///x.db")
        .env("NATS_URL", "embedded")
        .refused();
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(told.contains("enable_ha = \"true\" with database_url = \"sqlite:///x.db\""));
    assert!(told.contains("enable_ha = \"true\" with nats_url = \"embedded\""));
}

#[test]
fn core_is_told_the_same_and_agrees_on_the_defaults() {
    let incarnation: Incarnation = "inc-1".parse().unwrap();
    let config = Given::serve().load(Profile::Serve).unwrap();
    let expected = niyanta_core::config::Config::new(incarnation.clone(), 7);
    assert_eq!(config.to_core(incarnation.clone(), 7), expected);

    let config = Given::serve()
        .env("BATCH_SIZE", "7")
        .env("ENABLE_HA", "true")
        .load(Profile::Serve)
        .unwrap();
    let core = config.to_core(incarnation, 7);
    assert!(core.enable_ha);
    assert_eq!(core.batch_size, 7);
}
