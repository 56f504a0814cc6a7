//! Ways of running it that are not the tests' own: secured brokers, and one coordinator too many.

use std::time::Duration;

use serde_json::json;
use tests::{Cluster, ClusterOptions, Coordinator, Nats, Worker, one_at_a_time};

const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_goes_over_tls_to_a_broker_that_asks_for_credentials() {
    let _turn = one_at_a_time().await;
    let mut cluster = Cluster::start(single()).await;
    let nats = Nats::start_secured().await;
    let mut options = cluster.coordinator_options("secured");
    options.env.push(("NATS_URL".to_owned(), nats.url()));
    let told = nats.client_env().into_iter();
    options
        .env
        .extend(told.map(|(name, value)| (name.to_owned(), value)));
    cluster.coordinators[0].process.kill();
    cluster.coordinators[0] = Coordinator::spawn(options);
    cluster.coordinators[0].ready().await;
    let mut options = cluster.worker_options("secured", 1, &["sleep"]);
    options.nats_url = nats.url();
    options.env = nats.client_env();
    cluster.workers.push(Worker::spawn(options));

    let client = cluster.customer(0);
    let id = client.submit("sleep", json!({"seconds": 0})).await;
    client.wait_for(&id, "COMPLETED", SOON).await;

    // Without credentials nobody is let in, and the process says why.
    let mut options = cluster.worker_options("stranger", 1, &["sleep"]);
    options.nats_url = nats.url();
    options.env = nats.client_env();
    options.env.retain(|(name, _)| *name == "SSL_CERT_FILE");
    let stranger = Worker::spawn(options);
    tests::until("the stranger to say why it waits", SOON, async || {
        let log = stranger.process.log().to_lowercase();
        log.contains("authorization").then_some(())
    })
    .await;
    assert!(cluster.admin().worker("stranger").await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_ha_a_coordinator_that_is_overtaken_ends_with_one_line_that_names_the_setting() {
    let _turn = one_at_a_time().await;
    let alone = ClusterOptions {
        env: vec![("ENABLE_HA", "false".to_owned())],
        ..single()
    };
    let mut cluster = Cluster::start(alone).await;
    cluster.worker("w1", 1, &["sleep"]);
    cluster.leader().await;
    let before = cluster.coordinators[0].process.log();
    let second = Coordinator::spawn(cluster.coordinator_options("second"));
    second.ready().await;

    let status = cluster.coordinators[0].process.ended(SOON).await;
    let log = cluster.coordinators[0].process.log();
    assert_eq!(status.code(), Some(1), "{log}");
    let after = &log[before.len()..];
    let naming: Vec<&str> = after
        .lines()
        .filter(|line| line.contains("enable_ha"))
        .collect();
    assert_eq!(naming.len(), 1, "{after}");
    assert_eq!(after.lines().last(), Some(naming[0]), "{after}");

    cluster.coordinators[0] = second;
    let client = cluster.customer(0);
    let id = client.submit("sleep", json!({"seconds": 0})).await;
    client.wait_for(&id, "COMPLETED", SOON).await;
}

fn single() -> ClusterOptions {
    ClusterOptions {
        coordinators: 1,
        ..ClusterOptions::default()
    }
}
