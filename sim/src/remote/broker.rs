//! The broker over streams: a client that reconnects by itself, and the server it talks to.
//!
//! Words wait, within a bound, while there is no connection, and are sent late; words on their way
//! when a connection dies are lost; both are what a real client does. The client pings: a
//! connection whose bytes are lost in silence is given up after two pings without an answer.

use super::{Dial, Frame};
use crate::{message::Address, ports::Hub};
use async_trait::async_trait;
use bytes::Bytes;
use runtime::broker::{
    Broker, BrokerError, Link, MESSAGE_BYTES_MAX, Message, Subscription,
    embedded::SUBSCRIPTION_CAPACITY,
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{
        mpsc::{self, error::TrySendError},
        watch,
    },
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

/// The broker as a coordinator or a worker reaches it. Dropping it ends its task.
pub struct RemoteBroker {
    shared: Arc<Shared>,
    _task: JoinSet<()>,
}

struct Shared {
    subscriptions: Mutex<Subscriptions>,
    outgoing: mpsc::Sender<Frame>,
    link: watch::Sender<Link>,
    name: String,
}

#[derive(Default)]
struct Subscriptions {
    next: u64,
    is_closed: bool,
    by_number: BTreeMap<u64, (String, mpsc::Sender<Message>)>,
}

impl fmt::Debug for RemoteBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteBroker")
            .field("link", &*self.shared.link.borrow())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn subscriptions(&self) -> MutexGuard<'_, Subscriptions> {
        self.subscriptions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn interrupted(&self, connected: bool) {
        self.link.send_modify(|link| {
            link.connected = connected;
            link.interruptions += 1;
        });
    }
}

impl RemoteBroker {
    /// A client of this address, which connects when it can. `pause` says how long to wait before
    /// another try; `name` makes inboxes of this process its own.
    pub fn start(
        dial: impl Dial,
        address: Address,
        name: String,
        pause: impl FnMut() -> Duration + Send + 'static,
    ) -> Self {
        let (outgoing, queue) = mpsc::channel(WAITING_MAX);
        let shared = Arc::new(Shared {
            subscriptions: Mutex::default(),
            outgoing,
            link: watch::Sender::new(Link::default()),
            name,
        });
        let mut task = JoinSet::new();
        task.spawn(stay_connected(
            dial,
            address,
            Arc::clone(&shared),
            queue,
            pause,
        ));
        Self {
            shared,
            _task: task,
        }
    }
}

#[async_trait]
impl Broker for RemoteBroker {
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
        if self.shared.subscriptions().is_closed {
            return Err(BrokerError::Unavailable("closed".into()));
        }
        let frame = Frame::of_texts(PUBLISH, 0, &[subject, reply.unwrap_or_default()], &payload);
        match self.shared.outgoing.try_send(frame) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {
                Err(BrokerError::Unavailable("too many words wait".into()))
            }
        }
    }

    async fn subscribe(&self, subject: &str) -> Result<Box<dyn Subscription>, BrokerError> {
        let (sender, receiver) = mpsc::channel(SUBSCRIPTION_CAPACITY);
        let mut subscriptions = self.shared.subscriptions();
        if subscriptions.is_closed {
            return Err(BrokerError::Unavailable("closed".into()));
        }
        subscriptions.next += 1;
        let number = subscriptions.next;
        let entry = (subject.to_owned(), sender);
        subscriptions.by_number.insert(number, entry);
        drop(subscriptions);
        if self.shared.link.borrow().connected {
            // Without room the connection is as good as lost, and the next one subscribes anew.
            drop(self.shared.outgoing.try_send(subscribing(number, subject)));
        }
        Ok(Box::new(RemoteSubscription {
            shared: Arc::clone(&self.shared),
            number,
            receiver,
        }))
    }

    fn new_inbox(&self) -> String {
        let mut subscriptions = self.shared.subscriptions();
        subscriptions.next += 1;
        format!("_INBOX.{}.{}", self.shared.name, subscriptions.next)
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.shared.link.subscribe()
    }

    async fn close(&self) {
        // What was handed over before is sent first, as far as there is a connection.
        let closing = Frame::new(CLOSE, 0, Bytes::new());
        if self.shared.link.borrow().connected && self.shared.outgoing.send(closing).await.is_ok() {
            let closed = self.shared.outgoing.closed();
            drop(timeout(CLOSE_PATIENCE, closed).await);
        }
        let mut subscriptions = self.shared.subscriptions();
        subscriptions.is_closed = true;
        subscriptions.by_number.clear();
        drop(subscriptions);
        self.shared.interrupted(false);
    }
}

struct RemoteSubscription {
    shared: Arc<Shared>,
    number: u64,
    receiver: mpsc::Receiver<Message>,
}

#[async_trait]
impl Subscription for RemoteSubscription {
    async fn next(&mut self) -> Option<Message> {
        self.receiver.recv().await
    }

    fn try_next(&mut self) -> Option<Message> {
        self.receiver.try_recv().ok()
    }
}

impl Drop for RemoteSubscription {
    fn drop(&mut self) {
        let number = self.number;
        self.shared.subscriptions().by_number.remove(&number);
        let frame = Frame::new(UNSUBSCRIBE, number, Bytes::new());
        drop(self.shared.outgoing.try_send(frame));
    }
}

fn subscribing(number: u64, subject: &str) -> Frame {
    Frame::of_texts(SUBSCRIBE, number, &[subject], &[])
}

/// The client's task.
async fn stay_connected(
    dial: impl Dial,
    address: Address,
    shared: Arc<Shared>,
    mut queue: mpsc::Receiver<Frame>,
    mut pause: impl FnMut() -> Duration,
) {
    loop {
        if let Ok(Ok(io)) = timeout(CONNECT_WITHIN, dial.dial()).await {
            let ended = converse(io, address, &shared, &mut queue).await;
            shared.interrupted(false);
            if ended == Ended::Closed {
                return;
            }
        }
        sleep(pause()).await;
    }
}

/// How a connection ended.
#[derive(PartialEq, Eq)]
enum Ended {
    Closed,
    Lost,
}

/// One connection, until it is lost or closed.
async fn converse(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: Address,
    shared: &Shared,
    queue: &mut mpsc::Receiver<Frame>,
) -> Ended {
    let (reader, mut writer) = tokio::io::split(io);
    let mut hello = vec![greeting(address)];
    {
        let subscriptions = shared.subscriptions();
        let all = subscriptions.by_number.iter();
        hello.extend(all.map(|(number, (subject, _))| subscribing(*number, subject)));
    }
    for frame in hello {
        if !send(&mut writer, &frame).await {
            return Ended::Lost;
        }
    }
    shared.interrupted(true);
    // Reading a frame is not cancel-safe, so a task of its own does it.
    let (heard, mut incoming) = mpsc::channel(64);
    let mut reading = JoinSet::new();
    reading.spawn(read_all(reader, heard));
    let mut ping_at = Instant::now() + PING_EVERY;
    let mut unanswered = 0;
    loop {
        tokio::select! {
            biased;
            frame = incoming.recv() => match frame {
                Some(frame) if frame.kind == PONG => unanswered = 0,
                Some(frame) => deliver(shared, &frame),
                None => return Ended::Lost,
            },
            Some(frame) = queue.recv() => {
                if frame.kind == CLOSE {
                    return Ended::Closed;
                }
                if !send(&mut writer, &frame).await {
                    return Ended::Lost;
                }
            }
            () = sleep_until(ping_at) => {
                if unanswered == PINGS_MAX || !send(&mut writer, &Frame::new(PING, 0, Bytes::new())).await {
                    return Ended::Lost;
                }
                unanswered += 1;
                ping_at = Instant::now() + PING_EVERY;
            }
        }
    }
}

async fn send(writer: &mut (impl AsyncWrite + Unpin), frame: &Frame) -> bool {
    matches!(timeout(WRITE_WITHIN, frame.write(writer)).await, Ok(Ok(())))
}

/// Hands over what is read until the stream or the reader's owner ends.
async fn read_all(mut reader: impl AsyncRead + Unpin, heard: mpsc::Sender<Frame>) {
    while let Ok(Some(frame)) = Frame::read(&mut reader).await {
        if heard.send(frame).await.is_err() {
            return;
        }
    }
}

fn deliver(shared: &Shared, frame: &Frame) {
    let Ok(([subject, reply], payload)) = frame.texts() else {
        return;
    };
    let subscriptions = shared.subscriptions();
    let Some((_, sender)) = subscriptions.by_number.get(&frame.number) else {
        return;
    };
    let message = Message {
        subject,
        reply: Some(reply).filter(|reply| !reply.is_empty()),
        payload,
    };
    if matches!(sender.try_send(message), Err(TrySendError::Full(_))) {
        shared.link.send_modify(|link| link.interruptions += 1);
    }
}

fn greeting(address: Address) -> Frame {
    let (kind, place) = match address {
        Address::Coordinator(place) => (HELLO_COORDINATOR, place),
        Address::Worker(place) => (HELLO_WORKER, place),
    };
    Frame::new(kind, u64::try_from(place).unwrap_or(0), Bytes::new())
}

/// Serves one connection to its end.
pub async fn serve_broker(hub: Hub, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let (mut reader, mut writer) = tokio::io::split(io);
    let Ok(Some(hello)) = Frame::read(&mut reader).await else {
        return;
    };
    let place = usize::try_from(hello.number).unwrap_or(0);
    let address = match hello.kind {
        HELLO_COORDINATOR => Address::Coordinator(place),
        HELLO_WORKER => Address::Worker(place),
        _ => return,
    };
    let party = hub.connect(address);
    let mut link = party.link();
    let (outgoing, mut queue) = mpsc::channel::<Frame>(SERVER_QUEUE);
    let (heard, mut incoming) = mpsc::channel(64);
    let mut tasks = JoinSet::new();
    tasks.spawn(read_all(reader, heard));
    let mut writing = JoinSet::new();
    writing.spawn(async move {
        while let Some(frame) = queue.recv().await {
            if frame.write(&mut writer).await.is_err() {
                return;
            }
        }
    });
    let mut listening: BTreeMap<u64, tokio::task::AbortHandle> = BTreeMap::new();
    loop {
        let frame = tokio::select! {
            biased;
            _ = writing.join_next() => return,
            // A consumer that is too slow, or was cut off, loses its connection, and so knows it.
            Ok(()) = link.changed() => return,
            frame = incoming.recv() => frame,
        };
        let Some(frame) = frame else { return };
        match frame.kind {
            SUBSCRIBE => {
                let Ok(([subject], _)) = frame.texts() else {
                    return;
                };
                let Ok(subscription) = party.subscribe(&subject).await else {
                    return;
                };
                let forwarding = forward(frame.number, subscription, outgoing.clone());
                listening.insert(frame.number, tasks.spawn(forwarding));
            }
            UNSUBSCRIBE => {
                if let Some(task) = listening.remove(&frame.number) {
                    task.abort();
                }
            }
            PUBLISH => {
                let Ok(([subject, reply], payload)) = frame.texts() else {
                    return;
                };
                let reply = Some(reply.as_str()).filter(|reply| !reply.is_empty());
                if party.publish(&subject, reply, payload).await.is_err() {
                    return;
                }
            }
            PING => {
                let pong = Frame::new(PONG, 0, Bytes::new());
                if outgoing.send(pong).await.is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}

async fn forward(
    number: u64,
    mut subscription: Box<dyn Subscription>,
    outgoing: mpsc::Sender<Frame>,
) {
    while let Some(message) = subscription.next().await {
        let reply = message.reply.as_deref().unwrap_or_default();
        let texts = [message.subject.as_str(), reply];
        let frame = Frame::of_texts(MESSAGE, number, &texts, &message.payload);
        if outgoing.send(frame).await.is_err() {
            return;
        }
    }
}

const HELLO_COORDINATOR: u8 = 1;
const HELLO_WORKER: u8 = 2;
const SUBSCRIBE: u8 = 3;
const UNSUBSCRIBE: u8 = 4;
const PUBLISH: u8 = 5;
const MESSAGE: u8 = 6;
const PING: u8 = 7;
const PONG: u8 = 8;
/// Never written: the client ends the connection.
const CLOSE: u8 = 9;

const WAITING_MAX: usize = 4_096;
const SERVER_QUEUE: usize = 64;
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
const WRITE_WITHIN: Duration = Duration::from_secs(1);
const PING_EVERY: Duration = Duration::from_secs(1);
const PINGS_MAX: u32 = 2;
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);
