//! The broker of one process: everything is delivered at once, in order, to exact subjects.
//!
//! Owns no task and no thread, so that it works on a paused runtime. It loses words only where a
//! subscription is full, and says so like any other broker.

use super::{Broker, BrokerError, Link, MESSAGE_BYTES_MAX, Message, Subscription};
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    watch,
};

/// Messages that one subscription holds.
pub const SUBSCRIPTION_CAPACITY: usize = 16_384;

/// The embedded broker. Clones are the same broker.
#[derive(Debug, Clone)]
pub struct EmbeddedBroker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    link: watch::Sender<Link>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct State {
    is_closed: bool,
    next_id: u64,
    subjects: HashMap<String, Vec<Subscriber>>,
}

#[derive(Debug)]
struct Subscriber {
    id: u64,
    sender: mpsc::Sender<Message>,
}

impl Default for EmbeddedBroker {
    fn default() -> Self {
        Self::new(SUBSCRIPTION_CAPACITY)
    }
}

impl EmbeddedBroker {
    /// A broker whose subscriptions hold `capacity` messages each.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let link = Link {
            connected: true,
            interruptions: 0,
        };
        let shared = Shared {
            state: Mutex::default(),
            link: watch::Sender::new(link),
            capacity,
        };
        Self {
            shared: Arc::new(shared),
        }
    }
}

impl Shared {
    /// Nothing in here can panic half-way, so a poisoned state is a whole one.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Broker for EmbeddedBroker {
    async fn publish(
        &self,
        subject: &str,
        reply: Option<&str>,
        payload: Bytes,
    ) -> Result<(), BrokerError> {
        if payload.len() > MESSAGE_BYTES_MAX {
            return Err(BrokerError::TooLarge {
                bytes: payload.len(),
            });
        }
        let message = Message {
            subject: subject.to_owned(),
            reply: reply.map(str::to_owned),
            payload,
        };
        let state = self.shared.state();
        if state.is_closed {
            return Err(closed());
        }
        let mut overflows = 0;
        for subscriber in state.subjects.get(subject).into_iter().flatten() {
            match subscriber.sender.try_send(message.clone()) {
                // A closed one is being dropped, which takes it off the list.
                Ok(()) | Err(TrySendError::Closed(_)) => {}
                Err(TrySendError::Full(_)) => overflows += 1,
            }
        }
        drop(state);
        if overflows > 0 {
            self.shared
                .link
                .send_modify(|link| link.interruptions += overflows);
        }
        Ok(())
    }

    async fn subscribe(&self, subject: &str) -> Result<Box<dyn Subscription>, BrokerError> {
        let (sender, receiver) = mpsc::channel(self.shared.capacity);
        let mut state = self.shared.state();
        if state.is_closed {
            return Err(closed());
        }
        let id = state.next_id;
        state.next_id += 1;
        state
            .subjects
            .entry(subject.to_owned())
            .or_default()
            .push(Subscriber { id, sender });
        Ok(Box::new(EmbeddedSubscription {
            shared: Arc::downgrade(&self.shared),
            subject: subject.to_owned(),
            id,
            receiver,
        }))
    }

    fn new_inbox(&self) -> String {
        let mut state = self.shared.state();
        state.next_id += 1;
        format!("_INBOX.{}", state.next_id)
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.shared.link.subscribe()
    }

    async fn close(&self) {
        let mut state = self.shared.state();
        state.is_closed = true;
        state.subjects.clear();
        drop(state);
        self.shared.link.send_modify(|link| {
            link.connected = false;
            link.interruptions += 1;
        });
    }
}

fn closed() -> BrokerError {
    BrokerError::Unavailable("the embedded broker is closed".into())
}

struct EmbeddedSubscription {
    shared: Weak<Shared>,
    subject: String,
    id: u64,
    receiver: mpsc::Receiver<Message>,
}

#[async_trait]
impl Subscription for EmbeddedSubscription {
    async fn next(&mut self) -> Option<Message> {
        self.receiver.recv().await
    }

    fn try_next(&mut self) -> Option<Message> {
        self.receiver.try_recv().ok()
    }
}

impl Drop for EmbeddedSubscription {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        let mut state = shared.state();
        if let Some(subscribers) = state.subjects.get_mut(&self.subject) {
            subscribers.retain(|subscriber| subscriber.id != self.id);
            if subscribers.is_empty() {
                state.subjects.remove(&self.subject);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::broker::contract;

    #[tokio::test(start_paused = true)]
    async fn keeps_the_contract_of_brokers() {
        let broker = EmbeddedBroker::default();
        contract::check(&broker, &broker.clone()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_subscription_drops_the_newest_and_says_so() {
        let broker = EmbeddedBroker::new(2);
        let mut subscription = broker.subscribe("a").await.unwrap();
        for byte in [b"1", b"2", b"3"] {
            broker
                .publish("a", None, Bytes::from_static(byte))
                .await
                .unwrap();
        }
        assert_eq!(broker.link().borrow().interruptions, 1);
        assert_eq!(subscription.next().await.unwrap().payload, "1");
        assert_eq!(subscription.next().await.unwrap().payload, "2");
        assert!(subscription.try_next().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_subscription_leaves_nothing_behind() {
        let broker = EmbeddedBroker::default();
        drop(broker.subscribe("a").await.unwrap());
        assert!(broker.shared.state().subjects.is_empty());
    }
}
