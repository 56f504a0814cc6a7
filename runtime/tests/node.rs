//! A whole coordinator in this process: SQLite, the embedded broker, a worker, HTTP.
#![cfg(feature = "real")]
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use niyanta_core::{ids::CustomerId, workload::OnLeaseLoss};
use runtime::{
    ambient::SystemAmbient,
    broker::embedded::EmbeddedBroker,
    clock::SystemClock,
    config::{Config, Profile, Sources},
    http::auth,
    metrics::{self, CATALOGUE, Kind},
    node::{Node, Ports, Shutdown},
    store::{
        self, AdminActor, ConfigId, ConfigRecord, CustomerRecord, KeyRecord, LimitOverrides,
        Revision, Store, Tier,
    },
    worker::{self, WorkerConfig},
};
use serde_json::json;
use sqlx::Connection as _;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Counters that a young node with little to do leaves at zero. The driver's own tests make the
/// first three count.
const AT_ZERO: [&str; 5] = [
    metrics::BROKER_INTERRUPTIONS,
    metrics::OUTBOX_DROPPED,
    metrics::REPORTS_DROPPED,
    metrics::HTTP_SHED,
    metrics::RETIRED,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_node_records_every_metric_of_the_catalogue() {
    let scratch = tempfile::tempdir().unwrap();
    let config = config(scratch.path());
    let url = config.database_url.expose();
    store::migrate(url, false).await.unwrap();
    let incarnation: niyanta_core::ids::Incarnation = "c1-1".parse().unwrap();
    let options = store::Options::new(incarnation.clone());
    let ports = Ports {
        store: store::open(url, &options).await.unwrap(),
        broker: Arc::new(EmbeddedBroker::default()),
        clock: Arc::new(SystemClock),
        ambient: Arc::new(SystemAmbient),
        metrics: metrics::install().unwrap(),
    };
    let key = customer(ports.store.as_ref()).await;
    let (broker, page) = (Arc::clone(&ports.broker), ports.metrics.clone());
    let node = Node::start(&config, incarnation, 1, ports).await.unwrap();
    let mut leadership = node.leadership();
    leadership.wait_for(|now| now.is_leader).await.unwrap();
    let stop = CancellationToken::new();
    let worker = WorkerConfig::new("w1".parse().unwrap());
    let worker = tokio::spawn(worker::run(worker, Arc::clone(&broker), stop.clone()));

    let nonsense = Bytes::from_static(b"not json");
    broker
        .publish("coordinator.events", None, nonsense)
        .await
        .unwrap();
    submit(&format!("http://{}", node.address()), &key).await;
    // The list of coordinators is refreshed every other second: a call that fails.
    let mut other = sqlx::SqliteConnection::connect(url).await.unwrap();
    sqlx::query("alter table coordinators rename to elsewhere")
        .execute(&mut other)
        .await
        .unwrap();

    let started = Instant::now();
    loop {
        let missing = missing(&page.render());
        if missing.is_empty() {
            break;
        }
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "never recorded: {missing:?}"
        );
        sleep(Duration::from_millis(50)).await;
    }
    stop.cancel();
    worker.await.unwrap().unwrap();
    let ended = node.shutdown(Duration::from_secs(30)).await;
    assert_eq!(ended, Shutdown::Graceful);
}

fn config(data_dir: &std::path::Path) -> Config {
    let sources = Sources {
        file: None,
        environment: &|_| None,
        flags: &[("server_port", "0".to_owned())],
        is_terminal: false,
    };
    Config::load(Profile::Dev { data_dir }, &sources).unwrap()
}

/// A customer with the type `sleep`; returns its key.
async fn customer(store: &dyn Store) -> String {
    let actor = AdminActor::CommandLine;
    let id = CustomerId(1);
    let customer = CustomerRecord {
        id,
        name: "acme".to_owned(),
        tier: Tier::Enterprise,
        overrides: LimitOverrides::default(),
    };
    store.create_customer(&customer, &actor).await.unwrap();
    let config = ConfigRecord {
        id: ConfigId(1),
        workload_type: "sleep".parse().unwrap(),
        description: None,
        config_json: json!({}),
        resource_limits: json!({}),
        checkpoint_interval_sec: 30,
        max_retries: 3,
        timeout_seconds: 60,
        on_lease_loss: OnLeaseLoss::Stop,
    };
    store
        .create_config(id, &config, Revision::ZERO)
        .await
        .unwrap();
    let key = auth::new_key();
    let record = KeyRecord {
        id: key.id,
        customer: Some(id),
        name: "acme".to_owned(),
        prefix: key.prefix,
        secret_hash: key.secret_hash,
        expires_at: None,
    };
    store.create_key(&record, &actor).await.unwrap().unwrap();
    key.secret.expose().to_owned()
}

async fn submit(server: &str, key: &str) {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = http
        .post(format!("{server}/v1/workloads"))
        .bearer_auth(key)
        .json(&json!({"workload_type": "sleep", "input_params": {"seconds": 0}}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 202);
}

/// The metrics of the catalogue without a sample that has all their labels and, for a counter of
/// what goes well, counts something.
fn missing(page: &str) -> Vec<&'static str> {
    let absent = CATALOGUE.iter().filter(|metric| {
        let counts = metric.kind == Kind::Counter && !AT_ZERO.contains(&metric.name);
        let name = match metric.kind {
            Kind::Counter | Kind::Gauge => metric.name.to_owned(),
            Kind::Histogram => format!("{}_count", metric.name),
        };
        !page.lines().any(|line| {
            let Some((series, value)) = line.rsplit_once(' ') else {
                return false;
            };
            let (base, labels) = series.split_once('{').unwrap_or((series, ""));
            base == name
                && metric
                    .labels
                    .iter()
                    .all(|label| labels.contains(&format!("{label}=\"")))
                && (!counts || value != "0")
        })
    });
    absent.map(|metric| metric.name).collect()
}
