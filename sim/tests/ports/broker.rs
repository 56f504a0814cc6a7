//! The broker over the model keeps the contract of brokers where the model loses nothing.

use runtime::broker::{Broker, BrokerError, MESSAGE_BYTES_MAX, Message, Subscription};
use sim::{message::Address, ports::Hub};

#[path = "../../../runtime/src/broker/contract.rs"]
mod contract;

#[tokio::test(start_paused = true)]
async fn keeps_the_contract_of_brokers() {
    let hub = Hub::calm();
    let here = hub.connect(Address::Coordinator(0));
    let there = hub.connect(Address::Worker(0));
    contract::check(&here, &there).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_known_and_loses_words() {
    let hub = Hub::calm();
    let here = hub.connect(Address::Coordinator(0));
    let there = hub.connect(Address::Worker(0));
    let mut words = here.subscribe("words").await.unwrap();
    hub.disconnect(Address::Coordinator(0));
    there.publish("words", None, "lost".into()).await.unwrap();
    hub.reconnect(Address::Coordinator(0));
    there.publish("words", None, "heard".into()).await.unwrap();
    assert_eq!(words.next().await.unwrap().payload, "heard");
    assert!(words.try_next().is_none());
    assert_eq!(here.link().borrow().interruptions, 2);
}
