#![allow(clippy::unwrap_used, reason = "tests")]
use super::{start::assemble, *};
use crate::{
    ambient::SystemAmbient,
    broker::{Broker, BrokerError, Message, embedded::EmbeddedBroker},
    clock::TokioClock,
    driver::outbox::Outgoing,
    http::tests::stub_store::StubStore,
    protocol::WorkerOrigin,
};
use async_trait::async_trait;
use bytes::Bytes;
use metrics_exporter_prometheus::PrometheusBuilder;
use niyanta_core::{Config as CoreConfig, ids::Generation};
use serde_json::json;
use tokio::sync::Semaphore;

const MANY: usize = 256;

#[tokio::test(start_paused = true)]
async fn a_report_that_is_being_written_is_not_silence() {
    let store = store_that_waits();
    let mut driver = driver(Arc::clone(&store), Arc::new(EmbeddedBroker::default())).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    driver.turn();
    let arrived_after = driver.heard_until;
    hear_outcome(&mut driver, 1);
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(1)).await;
        driver.turn();
        assert!(driver.heard_until > arrived_after);
        assert_eq!(driver.writes.heard_until(driver.heard_until), arrived_after);
    }

    store.report_writes.as_ref().unwrap().add_permits(1);
    let answer = driver.answers.recv().await.unwrap();
    assert_eq!(
        driver.writes.heard_until(driver.heard_until),
        arrived_after,
        "written, but core has not heard it"
    );
    driver.take(answer);
    assert_eq!(
        driver.writes.heard_until(driver.heard_until),
        driver.heard_until
    );
}

#[tokio::test(start_paused = true)]
async fn a_report_whose_write_is_given_up_holds_nothing_back() {
    let mut driver = driver(store_that_waits(), Arc::new(EmbeddedBroker::default())).await;
    hear_outcome(&mut driver, 1);
    assert_eq!(driver.tasks.len(), 1);
    driver.tasks.join_next().await.unwrap().unwrap();
    driver.turn();
    assert_eq!(
        driver.writes.heard_until(driver.heard_until),
        driver.heard_until
    );
}

#[tokio::test(start_paused = true)]
async fn reports_above_the_bound_are_dropped_and_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let mut driver = driver(store_that_waits(), Arc::new(EmbeddedBroker::default())).await;
    for number in 0..=MANY {
        hear_outcome(&mut driver, number as u64 + 1);
    }
    let counted = format!("{} 1\n", names::REPORTS_DROPPED);
    assert!(recorder.handle().render().contains(&counted));
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_what_the_broker_carries_is_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let broker = Arc::new(DeafBroker::default());
    let mut driver = driver(store_that_waits(), Arc::clone(&broker) as Arc<dyn Broker>).await;
    broker.link.send_modify(|link| link.interruptions += 1);
    driver.turn();
    driver.turn();
    let counted = format!("{} 1\n", names::BROKER_INTERRUPTIONS);
    assert!(recorder.handle().render().contains(&counted));
}

#[tokio::test(start_paused = true)]
async fn words_that_the_broker_does_not_take_are_dropped_and_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let broker = Arc::new(DeafBroker::default());
    let driver = driver(store_that_waits(), broker).await;
    let counted = format!("{} ", names::OUTBOX_DROPPED);
    let mut sent = 0;
    while !recorder.handle().render().contains(&counted) {
        for _ in 0..1_000 {
            driver.outbox.send(Outgoing {
                term: None,
                subject: "anybody".to_owned(),
                payload: Bytes::new(),
            });
        }
        sent += 1_000;
        assert!(sent < 100_000, "the outbox takes whatever comes");
    }
}

fn store_that_waits() -> Arc<StubStore> {
    let mut store = StubStore::default();
    store.report_writes = Some(Semaphore::new(0));
    Arc::new(store)
}

async fn driver(store: Arc<StubStore>, broker: Arc<dyn Broker>) -> Driver {
    let identity = Identity {
        coordinator_id: "c1".to_owned(),
        incarnation: "i1".parse().unwrap(),
    };
    let config = CoreConfig::new(identity.incarnation.clone(), 1);
    let ports = DriverPorts {
        store,
        broker,
        clock: Arc::new(TokioClock::new(WallTime(0))),
        ambient: Arc::new(SystemAmbient),
        subjects: Subjects::default(),
        hints: DriverHints::new(Arc::default()),
        on_key_revoked: Box::new(|_| {}),
    };
    assemble(config, identity, ports).await.unwrap().driver
}

/// The driver takes itself for a leader, and hears how an attempt ended.
fn hear_outcome(driver: &mut Driver, sequence: u64) {
    driver
        .leadership
        .send_modify(|known| known.is_leader = true);
    let origin = WorkerOrigin {
        worker: &"w1".parse().unwrap(),
        incarnation: &"w1-1".parse().unwrap(),
        generation_seen: Generation(0),
        sequence,
        now: WallTime(0),
    };
    let body = json!({
        "workload_id": "wl_00000000000000000000000000000001",
        "attempt": 1,
        "result_data": {"n": 1},
    });
    driver.hear_worker(Message {
        subject: "coordinator.events".to_owned(),
        reply: Some("inbox".to_owned()),
        payload: origin.encode("workload.completed", body),
    });
}

/// Takes no word, and tells of its connection what a test says.
struct DeafBroker {
    inner: EmbeddedBroker,
    link: watch::Sender<Link>,
}

impl Default for DeafBroker {
    fn default() -> Self {
        let inner = EmbeddedBroker::default();
        let link = watch::Sender::new(*inner.link().borrow());
        Self { inner, link }
    }
}

#[async_trait]
impl Broker for DeafBroker {
    async fn publish(&self, _: &str, _: Option<&str>, _: Bytes) -> Result<(), BrokerError> {
        std::future::pending().await
    }
    async fn subscribe(&self, subject: &str) -> Result<Box<dyn Subscription>, BrokerError> {
        self.inner.subscribe(subject).await
    }
    fn new_inbox(&self) -> String {
        self.inner.new_inbox()
    }
    fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }
    async fn close(&self) {
        self.inner.close().await;
    }
}
