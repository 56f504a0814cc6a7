//! Starting with something wrong: one clear line, a telling exit status, nothing else.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::json;
use tests::{
    Cluster, ClusterOptions, Coordinator, Nats, Postgres, Process, Scratch, free_port,
    niyanta_command, one_at_a_time, until,
};

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_bad_value_stops_the_start_with_a_line_that_names_key_value_and_what_is_allowed() {
    for (name, value, key) in [
        ("SERVER_PORT", "99999", "server_port"),
        ("LEADER_LEASE_TTL", "banana", "leader_lease_ttl"),
        ("SCHEDULER_INTERVAL", "10ms", "scheduler_interval"),
        ("BATCH_SIZE", "0", "batch_size"),
        ("ENABLE_HA", "maybe", "enable_ha"),
        ("LOG_FORMAT", "xml", "log_format"),
        ("WORKER_DEAD_THRESHOLD", "1s", "worker_dead_threshold"),
        ("DATABASE_URL", "mysql://nowhere/x", "database_url"),
        ("NATS_URL", "http://nowhere", "nats_url"),
    ] {
        let mut command = serve();
        command.env(name, value);
        let line = refused(&mut command).await;
        let named = line.contains(key) || line.contains(name);
        assert!(named && line.contains(value), "{name}={value}: {line}");
        assert_eq!(line.lines().count(), 1, "{name}={value}: {line}");
    }
}

#[tokio::test]
async fn what_lives_in_one_process_or_file_is_refused_for_several_coordinators() {
    let scratch = Scratch::new();
    let sqlite = format!("sqlite://{}", scratch.join("truth.db").display());
    for (name, value) in [("DATABASE_URL", sqlite.as_str()), ("NATS_URL", "embedded")] {
        let mut command = serve();
        command.env(name, value).env("ENABLE_HA", "true");
        let line = refused(&mut command).await;
        assert!(
            line.contains("enable_ha") && line.contains(value),
            "{name}={value}: {line}"
        );
        assert_eq!(line.lines().count(), 1, "{name}={value}: {line}");
    }
}

#[tokio::test]
async fn every_bad_key_of_the_file_gets_a_line_of_its_own() {
    let scratch = Scratch::new();
    let file = scratch.join("niyanta.yaml");
    fs::write(&file, "servr_port: 80\nbatch_size: many\n").unwrap();
    let mut command = serve();
    command.arg("--config").arg(&file);
    let told = refused(&mut command).await;
    for wrong in ["servr_port", "batch_size"] {
        assert_eq!(
            told.lines().filter(|line| line.contains(wrong)).count(),
            1,
            "{wrong}: {told}"
        );
    }
    let mut command = serve();
    command.arg("--config").arg(scratch.join("absent.yaml"));
    assert!(refused(&mut command).await.contains("absent.yaml"));
}

#[tokio::test]
async fn a_database_that_was_never_migrated_is_refused_with_the_command_to_run() {
    let _turn = one_at_a_time().await;
    let (postgres, nats) = tokio::join!(Postgres::start(), Nats::start());
    let url = postgres.create_database().await;
    let mut command = serve();
    command
        .env("DATABASE_URL", &url)
        .env("NATS_URL", nats.url());
    let line = refused(&mut command).await;
    assert!(line.contains("niyanta migrate"), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");

    let migrate = || {
        let mut command = niyanta_command();
        command.arg("migrate").env("DATABASE_URL", &url);
        command
    };
    let (first, second) = tokio::join!(output(migrate()), output(migrate()));
    for outcome in [first, second, output(migrate()).await] {
        let told = String::from_utf8_lossy(&outcome.stderr);
        assert!(
            outcome.status.success(),
            "from two places and again: {told}"
        );
    }

    // From the future: a later version of this project has been here.
    let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&url)
        .await
        .unwrap();
    let later = "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
                 values (999999, 'from the future', true, '\\x00', 0)";
    sqlx::query(later).execute(&mut connection).await.unwrap();
    let line = refused(&mut command).await;
    assert_eq!(line.lines().count(), 1, "{line}");
}

#[tokio::test]
async fn a_broker_that_takes_too_little_is_refused() {
    let _turn = one_at_a_time().await;
    let (postgres, nats) = tokio::join!(Postgres::start(), Nats::start_with_max_payload(500_000));
    let url = postgres.create_database().await;
    let mut migrate = niyanta_command();
    migrate.arg("migrate").env("DATABASE_URL", &url);
    assert!(output(migrate).await.status.success());
    let mut command = serve();
    command
        .env("DATABASE_URL", &url)
        .env("NATS_URL", nats.url());
    let line = refused(&mut command).await;
    assert!(
        line.contains("500000") && line.contains("1000000"),
        "{line}"
    );

    let scratch = Scratch::new();
    let mut worker = niyanta_command();
    worker.args(["worker", "--id", "w1", "--nats-url", &nats.url()]);
    worker.arg("--state-dir").arg(scratch.path());
    let line = refused(&mut worker).await;
    assert!(line.contains("500000"), "{line}");
}

#[tokio::test]
async fn without_a_database_it_says_so_and_goes_on_when_it_comes() {
    let _turn = one_at_a_time().await;
    let mut cluster = Cluster::start(single()).await;
    cluster.worker("w1", 1, &["sleep"]);
    cluster.coordinators[0].process.kill();
    cluster.postgres.stop().await;
    cluster.coordinators[0].start_again();
    let coordinator = &cluster.coordinators[0];
    until("/ready to tell of the database", SOON, async || {
        let answer = coordinator.anonymous().try_get("/ready").await?;
        let told = answer.body["dependencies"]["database"] == "disconnected";
        (answer.status == 503 && told).then_some(())
    })
    .await;
    let health = coordinator.anonymous().get("/health").await;
    assert_eq!(health.status, 200, "alive, though not ready");

    cluster.postgres.start_again().await;
    cluster.coordinators[0].ready().await;
    let client = cluster.customer(0);
    let id = client.submit("sleep", json!({"seconds": 0})).await;
    client
        .wait_for(&id, "COMPLETED", Duration::from_secs(60))
        .await;
}

#[tokio::test]
async fn a_password_never_reaches_the_terminal() {
    let url = format!(
        "postgres://niyanta:hunter2@127.0.0.1:{}/niyanta",
        free_port()
    );
    for arguments in [["migrate"].as_slice(), &["keys", "create", "--admin"]] {
        let mut command = niyanta_command();
        command.args(arguments).env("DATABASE_URL", &url);
        let told = refused(&mut command).await;
        assert!(!told.contains("hunter2"), "{arguments:?}: {told}");
    }
    let mut command = serve();
    command.env(
        "DATABASE_URL",
        "postgres://niyanta:hunter2@127.0.0.1:notaport/niyanta",
    );
    let told = refused(&mut command).await;
    assert!(!told.contains("hunter2"), "{told}");
}

#[tokio::test]
async fn without_a_broker_the_api_works_and_work_starts_when_it_comes() {
    let _turn = one_at_a_time().await;
    let mut cluster = Cluster::start(single()).await;
    let mut nats = Nats::start().await;
    nats.kill();
    let mut options = cluster.coordinator_options("early");
    options.env.push(("NATS_URL".to_owned(), nats.url()));
    cluster.coordinators[0].process.kill();
    cluster.coordinators[0] = Coordinator::spawn(options);
    let early = &cluster.coordinators[0];
    early.ready().await;
    assert_ne!(
        early.readiness().await.unwrap()["dependencies"]["broker"],
        "connected"
    );
    let client = cluster.customer(0);
    let id = client.submit("sleep", json!({"seconds": 0})).await;

    nats.start_again().await;
    cluster.nats = nats;
    cluster.worker("w1", 1, &["sleep"]);
    client
        .wait_for(&id, "COMPLETED", Duration::from_secs(60))
        .await;
}

#[tokio::test]
async fn a_busy_port_is_named() {
    let _turn = one_at_a_time().await;
    let cluster = Cluster::start(single()).await;
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut command = serve();
    command
        .env("DATABASE_URL", &cluster.database_url)
        .env("NATS_URL", cluster.nats.url())
        .env("ENABLE_HA", "true")
        .env("SERVER_PORT", &port);
    let line = refused(&mut command).await;
    assert!(line.contains(&port), "{line}");
}

#[tokio::test]
async fn any_free_port_is_taken_and_logged_when_the_port_is_zero() {
    let _turn = one_at_a_time().await;
    let cluster = Cluster::start(single()).await;
    let mut command = serve();
    command
        .env("DATABASE_URL", &cluster.database_url)
        .env("NATS_URL", cluster.nats.url())
        .env("ENABLE_HA", "true")
        .env("LOG_FORMAT", "text")
        .env("SERVER_PORT", "0");
    let process = Process::start("zero", &mut command, &cluster.scratch.join("zero.log"));
    until("a logged port that answers", SOON, async || {
        let log = process.log();
        let ports = log.split("127.0.0.1:").skip(1);
        for port in ports.filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()) {
            let client = tests::Client::new(&format!("http://127.0.0.1:{port}"), None);
            if client
                .try_get("/health")
                .await
                .is_some_and(|answer| answer.status == 200)
            {
                return Some(());
            }
        }
        None
    })
    .await;
}

fn single() -> ClusterOptions {
    ClusterOptions {
        coordinators: 1,
        ..ClusterOptions::default()
    }
}

/// `niyanta serve` that would take any free port, against nothing.
fn serve() -> Command {
    let mut command = niyanta_command();
    command
        .arg("serve")
        .env("SERVER_PORT", "0")
        .env("GRPC_PORT", "0")
        .env("BIND_ADDRESS", "127.0.0.1")
        .env(
            "DATABASE_URL",
            format!("postgres://postgres@127.0.0.1:{}/none", free_port()),
        )
        .env("NATS_URL", format!("nats://127.0.0.1:{}", free_port()));
    command
}

async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

/// Runs a command that must end by itself with status 1 or 2, and returns all that it told, which is
/// not a panic.
async fn refused(command: &mut Command) -> String {
    let scratch = Scratch::new();
    let process = Process::start("refused", command, &scratch.join("log"));
    let status = process.ended(SOON).await;
    let told = process.log();
    assert!(
        matches!(status.code(), Some(1 | 2)),
        "{command:?}: {status}: {told}"
    );
    assert!(!told.is_empty(), "{command:?} says nothing");
    assert!(!told.contains("panicked"), "{command:?}: {told}");
    told
}
