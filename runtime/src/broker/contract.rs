//! What every broker must do, told once: run against the embedded one and against a real server.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::{Broker, BrokerError, MESSAGE_BYTES_MAX, Message, Subscription};
use bytes::Bytes;
use std::time::Duration;

/// `here` and `there` are two connections to one broker.
pub(crate) async fn check(here: &dyn Broker, there: &dyn Broker) {
    carries_words_between_connections(here, there).await;
    delivers_to_every_subscription_of_exactly_that_subject(here, there).await;
    answers_find_their_inbox(here, there).await;
    refuses_what_is_too_large(here, there).await;
    assert!(here.link().borrow().connected);
    closing_ends_subscriptions(here).await;
}

async fn carries_words_between_connections(here: &dyn Broker, there: &dyn Broker) {
    let mut words = subscribe(here, "contract.words").await;
    for number in 0..100 {
        there
            .publish("contract.words", None, Bytes::from(format!("{number}")))
            .await
            .unwrap();
    }
    for number in 0..100 {
        let message = next(words.as_mut()).await;
        assert_eq!(message.payload, format!("{number}"));
        assert_eq!(message.subject, "contract.words");
        assert_eq!(message.reply, None);
    }
    assert!(words.try_next().is_none());
}

async fn delivers_to_every_subscription_of_exactly_that_subject(
    here: &dyn Broker,
    there: &dyn Broker,
) {
    let mut first = subscribe(here, "contract.a").await;
    let mut second = subscribe(there, "contract.a").await;
    let mut other = subscribe(here, "contract.b").await;
    let word = Bytes::from_static(b"to all of a");
    here.publish("contract.a", None, word.clone())
        .await
        .unwrap();
    assert_eq!(next(first.as_mut()).await.payload, word);
    assert_eq!(next(second.as_mut()).await.payload, word);
    assert!(other.try_next().is_none());
}

async fn answers_find_their_inbox(here: &dyn Broker, there: &dyn Broker) {
    let inbox = here.new_inbox();
    assert_ne!(inbox, here.new_inbox());
    let mut questions = subscribe(there, "contract.questions").await;
    let mut answers = subscribe(here, &inbox).await;
    here.publish("contract.questions", Some(&inbox), Bytes::from_static(b"?"))
        .await
        .unwrap();
    let question = next(questions.as_mut()).await;
    let reply = question.reply.unwrap();
    there
        .publish(&reply, None, Bytes::from_static(b"!"))
        .await
        .unwrap();
    assert_eq!(next(answers.as_mut()).await.payload, "!");
}

async fn refuses_what_is_too_large(here: &dyn Broker, there: &dyn Broker) {
    let mut words = subscribe(there, "contract.large").await;
    let most = Bytes::from(vec![b'x'; MESSAGE_BYTES_MAX]);
    here.publish("contract.large", None, most.clone())
        .await
        .unwrap();
    assert_eq!(next(words.as_mut()).await.payload, most);
    let more = Bytes::from(vec![b'x'; MESSAGE_BYTES_MAX + 1]);
    let refusal = here.publish("contract.large", None, more).await;
    assert!(matches!(refusal, Err(BrokerError::TooLarge { .. })));
}

async fn closing_ends_subscriptions(here: &dyn Broker) {
    let mut words = subscribe(here, "contract.closing").await;
    here.close().await;
    let end = tokio::time::timeout(Duration::from_secs(10), words.next()).await;
    assert!(end.expect("ends in time").is_none());
    assert!(!here.link().borrow().connected);
    let refusal = here
        .publish("contract.closing", None, Bytes::from_static(b"late"))
        .await;
    assert!(matches!(refusal, Err(BrokerError::Unavailable(_))));
}

/// Subscribes, and waits until the broker knows it: words are lost before.
async fn subscribe(broker: &dyn Broker, subject: &str) -> Box<dyn Subscription> {
    let mut subscription = broker.subscribe(subject).await.unwrap();
    broker
        .publish(subject, None, Bytes::from_static(PROBE))
        .await
        .unwrap();
    assert_eq!(arrival(subscription.as_mut()).await.payload, PROBE);
    subscription
}

/// The next message that is no probe of another subscription.
async fn next(subscription: &mut dyn Subscription) -> Message {
    loop {
        let message = arrival(subscription).await;
        if message.payload != PROBE {
            return message;
        }
    }
}

async fn arrival(subscription: &mut dyn Subscription) -> Message {
    tokio::time::timeout(Duration::from_secs(10), subscription.next())
        .await
        .expect("arrives in time")
        .expect("the broker is open")
}

const PROBE: &[u8] = b"are we heard?";
