//! The broker model as the production [`Broker`] port, for parties of one process.
//!
//! A [`Hub`] is the broker; each party has a [`SimBroker`], which is its connection. The model says
//! how many copies of a message arrive and after how long; without one every message arrives at
//! once and in order. A subscription holds a bounded number of messages and drops the newest, and a
//! connection that was lost knows it, as the port promises. Delayed copies are tasks that sleep.

use crate::{
    decision::Decider,
    message::Address,
    model::broker::{Broker as Model, Direction},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use runtime::broker::{
    Broker, BrokerError, Link, MESSAGE_BYTES_MAX, Message, Subscription,
    embedded::SUBSCRIPTION_CAPACITY,
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    watch,
};

/// The broker. Clones are the same broker.
#[derive(Debug, Clone, Default)]
pub struct Hub {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    weather: Option<Weather>,
    carrier: Option<Carrier>,
    witness: Option<Witness>,
    next_id: u64,
    parties: BTreeMap<u64, Party>,
    subscribers: BTreeMap<u64, Subscriber>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("parties", &self.parties)
            .field("subscribers", &self.subscribers)
            .finish_non_exhaustive()
    }
}

/// Runs what is under way.
type Carrier = Box<dyn Fn(BoxFuture<'static, ()>) + Send>;

/// Is shown what reaches whom.
type Witness = Box<dyn Fn(Address, &Reach<'_>) + Send>;

/// What reaches a party's connection, read or not.
#[derive(Debug)]
pub enum Reach<'a> {
    /// A message lies in a subscription of it.
    Message(&'a Message),
    /// Messages may have been missed, which the connection knows.
    Interruption,
}

/// What the model lets through, and who decides where it leaves something open.
#[derive(Debug)]
struct Weather {
    model: Model,
    decider: Decider,
}

#[derive(Debug)]
struct Party {
    address: Address,
    link: watch::Sender<Link>,
    is_closed: bool,
}

#[derive(Debug)]
struct Subscriber {
    party: u64,
    subject: String,
    sender: mpsc::Sender<Message>,
}

impl Hub {
    /// A broker that loses nothing, at once and in order.
    #[must_use]
    pub fn calm() -> Self {
        Self::default()
    }

    /// A broker that carries what the model lets through.
    #[must_use]
    pub fn over(model: Model, decider: Decider) -> Self {
        let hub = Self::default();
        hub.lock().weather = Some(Weather { model, decider });
        hub
    }

    /// Has what is under way run by `carrier`, which outlives its senders; by their own runtime else.
    pub fn carried_by(&self, carrier: impl Fn(BoxFuture<'static, ()>) + Send + 'static) {
        self.lock().carrier = Some(Box::new(carrier));
    }

    /// Shows what reaches whom.
    pub fn witnessed_by(&self, witness: impl Fn(Address, &Reach<'_>) + Send + 'static) {
        self.lock().witness = Some(Box::new(witness));
    }

    /// A connection of this party.
    #[must_use]
    pub fn connect(&self, address: Address) -> SimBroker {
        let mut state = self.lock();
        let me = state.new_id();
        let link = watch::Sender::new(Link {
            connected: true,
            interruptions: 0,
        });
        let party = Party {
            address,
            link: link.clone(),
            is_closed: false,
        };
        state.parties.insert(me, party);
        SimBroker {
            hub: self.clone(),
            me,
            link,
        }
    }

    /// Changes what the model lets through: rates, cuts, lags.
    pub fn change_weather(&self, change: impl FnOnce(&mut Model)) {
        if let Some(weather) = &mut self.lock().weather {
            change(&mut weather.model);
        }
    }

    /// Cuts the connections of a party: it knows, and what is sent meanwhile is lost.
    pub fn disconnect(&self, address: Address) {
        self.set_connected(address, false);
    }

    /// Connects them again. What was sent meanwhile does not come.
    pub fn reconnect(&self, address: Address) {
        self.set_connected(address, true);
    }

    fn set_connected(&self, address: Address, connected: bool) {
        let state = self.lock();
        let of_it = |party: &&Party| party.address == address && !party.is_closed;
        for party in state.parties.values().filter(of_it) {
            let has_changed = party.link.send_if_modified(|link| {
                let changes = link.connected != connected;
                link.connected = connected;
                link.interruptions += u64::from(changes);
                changes
            });
            if has_changed {
                state.show(address, &Reach::Interruption);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends to everybody who listens.
    fn publish(&self, from: u64, message: &Message) {
        let mut state = self.lock();
        let listeners: Vec<u64> = state
            .subscribers
            .iter()
            .filter(|(_, subscriber)| subscriber.subject == message.subject)
            .map(|(id, _)| *id)
            .collect();
        for to in listeners {
            for delay in state.copies(from, to).into_iter().flatten() {
                if delay.is_zero() {
                    state.deliver(to, message.clone());
                } else {
                    let (hub, message) = (Arc::downgrade(&self.state), message.clone());
                    let delivery = deliver_later(hub, to, message, delay);
                    match &state.carrier {
                        Some(carrier) => carrier(Box::pin(delivery)),
                        None => drop(tokio::spawn(delivery)),
                    }
                }
            }
        }
    }
}

async fn deliver_later(hub: Weak<Mutex<State>>, to: u64, message: Message, delay: Duration) {
    tokio::time::sleep(delay).await;
    if let Some(state) = hub.upgrade() {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.deliver(to, message);
    }
}

impl State {
    const fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// After how long each copy arrives.
    fn copies(&mut self, from: u64, to: u64) -> [Option<Duration>; 2] {
        let place = |party: u64| self.parties.get(&party).map(|party| party.address);
        let receiver = self.subscribers.get(&to).map(|it| it.party);
        let (Some(from), Some(to)) = (place(from), receiver.and_then(place)) else {
            return [None, None];
        };
        match &mut self.weather {
            Some(weather) => weather.model.carry(&mut weather.decider, from, to),
            None => [Some(Duration::ZERO), None],
        }
    }

    fn deliver(&mut self, to: u64, message: Message) {
        let Some(subscriber) = self.subscribers.get(&to) else {
            return;
        };
        let Some(party) = self.parties.get(&subscriber.party) else {
            return;
        };
        if !party.link.borrow().connected {
            return;
        }
        let shown = self.witness.is_some().then(|| message.clone());
        match subscriber.sender.try_send(message) {
            Ok(()) => {
                if let Some(message) = &shown {
                    self.show(party.address, &Reach::Message(message));
                }
            }
            // A closed one is being dropped, which takes it off the list.
            Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(_)) => {
                party.link.send_modify(|link| link.interruptions += 1);
                self.show(party.address, &Reach::Interruption);
            }
        }
    }

    fn show(&self, whom: Address, reach: &Reach<'_>) {
        if let Some(witness) = &self.witness {
            witness(whom, reach);
        }
    }
}

/// One party's connection.
pub struct SimBroker {
    hub: Hub,
    me: u64,
    link: watch::Sender<Link>,
}

impl fmt::Debug for SimBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimBroker")
            .field("me", &self.me)
            .field("link", &*self.link.borrow())
            .finish_non_exhaustive()
    }
}

impl SimBroker {
    fn is_closed(&self) -> bool {
        let state = self.hub.lock();
        state.parties.get(&self.me).is_none_or(|me| me.is_closed)
    }
}

#[async_trait]
impl Broker for SimBroker {
    async fn publish(
        &self,
        subject: &str,
        reply: Option<&str>,
        payload: Bytes,
    ) -> Result<(), BrokerError> {
        let bytes = payload.len();
        if bytes > MESSAGE_BYTES_MAX {
            return Err(BrokerError::TooLarge { bytes });
        }
        if self.is_closed() {
            return Err(BrokerError::Unavailable("closed".into()));
        }
        if !self.link.borrow().connected {
            // Taken, and lost: nothing may rely on a successful publish.
            return Ok(());
        }
        let message = Message {
            subject: subject.to_owned(),
            reply: reply.map(str::to_owned),
            payload,
        };
        self.hub.publish(self.me, &message);
        Ok(())
    }

    async fn subscribe(&self, subject: &str) -> Result<Box<dyn Subscription>, BrokerError> {
        if self.is_closed() {
            return Err(BrokerError::Unavailable("closed".into()));
        }
        let (sender, receiver) = mpsc::channel(SUBSCRIPTION_CAPACITY);
        let mut state = self.hub.lock();
        let id = state.new_id();
        let subscriber = Subscriber {
            party: self.me,
            subject: subject.to_owned(),
            sender,
        };
        state.subscribers.insert(id, subscriber);
        Ok(Box::new(SimSubscription {
            hub: Arc::downgrade(&self.hub.state),
            id,
            receiver,
        }))
    }

    fn new_inbox(&self) -> String {
        format!("_INBOX.{}", self.hub.lock().new_id())
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    async fn close(&self) {
        let mut state = self.hub.lock();
        let me = self.me;
        state.subscribers.retain(|_, it| it.party != me);
        if let Some(party) = state.parties.get_mut(&me) {
            party.is_closed = true;
        }
        self.link.send_modify(|link| {
            link.connected = false;
            link.interruptions += 1;
        });
    }
}

impl Drop for SimBroker {
    fn drop(&mut self) {
        let mut state = self.hub.lock();
        let me = self.me;
        state.subscribers.retain(|_, it| it.party != me);
        state.parties.remove(&me);
    }
}

struct SimSubscription {
    hub: Weak<Mutex<State>>,
    id: u64,
    receiver: mpsc::Receiver<Message>,
}

#[async_trait]
impl Subscription for SimSubscription {
    async fn next(&mut self) -> Option<Message> {
        self.receiver.recv().await
    }

    fn try_next(&mut self) -> Option<Message> {
        self.receiver.try_recv().ok()
    }
}

impl Drop for SimSubscription {
    fn drop(&mut self) {
        if let Some(state) = self.hub.upgrade() {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.subscribers.remove(&self.id);
        }
    }
}

/// Cuts one direction of a party's way to the broker; it does not know.
pub fn cut(hub: &Hub, address: Address, direction: Direction) {
    hub.change_weather(|model| model.cut(address, direction));
}

/// Takes one cut back.
pub fn mend(hub: &Hub, address: Address, direction: Direction) {
    hub.change_weather(|model| model.mend(address, direction));
}
