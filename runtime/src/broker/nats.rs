//! The broker on NATS (core NATS, without JetStream).
//!
//! Owns the connection's life: it is made lazily and again and again, with jitter of our own (the
//! client has none), and a dead peer is noticed within about 15 s (the client's own ping takes
//! minutes). The client's `publish` means only that a message was queued, and it queues for ever
//! while there is no connection: here a message without a connection is refused, which every
//! caller can bear, and one that cannot be queued in time is, too.

use super::{Broker, BrokerError, Link, MESSAGE_BYTES_MAX, Message, Subscription};
use async_nats::{ConnectOptions, Event};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, time::timeout};

/// How to reach a NATS server.
#[derive(Debug, Clone)]
pub struct NatsConfig {
    /// `nats://…` or `tls://…`; several, separated by commas.
    pub url: String,
    /// A credentials file (JWT and seed).
    pub credentials: Option<PathBuf>,
    /// What the server shows of this connection.
    pub name: String,
}

/// A connection to NATS.
#[derive(Debug, Clone)]
pub struct NatsBroker {
    client: async_nats::Client,
    link: watch::Sender<Link>,
}

impl NatsBroker {
    /// Begins to connect, and returns once connected, or after a while without a connection: it is
    /// then made as soon as the server can be reached. Fails for what waiting cannot mend: an
    /// address or a credentials file that cannot be read, a server that allows too small messages.
    pub async fn connect(config: &NatsConfig) -> Result<Self, BrokerError> {
        // Fails only when a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let link = watch::Sender::new(Link::default());
        let mut options = ConnectOptions::new();
        if let Some(path) = &config.credentials {
            let file = options.credentials_file(path).await;
            options = file.map_err(|error| {
                unavailable(format!("credentials file {}: {error}", path.display()))
            })?;
        }
        let addresses: Vec<&str> = config.url.split(',').map(str::trim).collect();
        let client = options
            .name(&config.name)
            .retry_on_initial_connect()
            .ping_interval(PING_INTERVAL)
            .connection_timeout(CONNECTION_TIMEOUT)
            .subscription_capacity(SUBSCRIPTION_CAPACITY)
            .reconnect_delay_callback(reconnect_delay)
            .event_callback(on_event(link.clone(), config.url.clone()))
            .connect(&addresses[..])
            .await
            .map_err(|error| BrokerError::Unavailable(Box::new(error)))?;
        let broker = Self { client, link };
        broker.await_first_connection(&config.url).await?;
        Ok(broker)
    }

    async fn await_first_connection(&self, url: &str) -> Result<(), BrokerError> {
        let mut link = self.link.subscribe();
        let connected = link.wait_for(|link| link.connected);
        if timeout(FIRST_CONNECTION_WAIT, connected).await.is_err() {
            tracing::warn!(url = %redacted(url), "the broker cannot be reached, trying again until it can");
        }
        self.check_payload_limit()
    }

    /// What the server that we are connected to allows; before the first connection, enough.
    fn check_payload_limit(&self) -> Result<(), BrokerError> {
        let allowed = self.client.max_payload();
        if allowed < MESSAGE_BYTES_MAX {
            return Err(BrokerError::PayloadLimit { allowed });
        }
        Ok(())
    }

    fn check_open(&self) -> Result<(), BrokerError> {
        self.check_payload_limit()?;
        if self.link.borrow().connected {
            return Ok(());
        }
        Err(unavailable("not connected".to_owned()))
    }
}

#[async_trait]
impl Broker for NatsBroker {
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
        self.check_open()?;
        let subject = subject.to_owned();
        let queued = async {
            match reply {
                Some(reply) => {
                    self.client
                        .publish_with_reply(subject, reply.to_owned(), payload)
                        .await
                }
                None => self.client.publish(subject, payload).await,
            }
        };
        match timeout(QUEUE_WAIT, queued).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(BrokerError::Unavailable(Box::new(error))),
            Err(late) => Err(BrokerError::Unavailable(Box::new(late))),
        }
    }

    async fn subscribe(&self, subject: &str) -> Result<Box<dyn Subscription>, BrokerError> {
        let subscribed = self.client.subscribe(subject.to_owned());
        match timeout(SUBSCRIBE_WAIT, subscribed).await {
            Ok(Ok(subscriber)) => Ok(Box::new(NatsSubscription { subscriber })),
            Ok(Err(error)) => Err(BrokerError::Unavailable(Box::new(error))),
            Err(late) => Err(BrokerError::Unavailable(Box::new(late))),
        }
    }

    fn new_inbox(&self) -> String {
        self.client.new_inbox()
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    async fn close(&self) {
        if self.link.borrow().connected {
            let flushed = timeout(CLOSE_WAIT, self.client.flush()).await;
            if !matches!(flushed, Ok(Ok(()))) {
                tracing::warn!("not everything that was queued for the broker could be sent");
            }
        }
        self.link.send_modify(|link| {
            link.connected = false;
            link.interruptions += 1;
        });
        // Ends every subscription; without a connection there is nobody to tell.
        let _ = timeout(CLOSE_WAIT, self.client.drain()).await;
    }
}

struct NatsSubscription {
    subscriber: async_nats::Subscriber,
}

#[async_trait]
impl Subscription for NatsSubscription {
    async fn next(&mut self) -> Option<Message> {
        self.subscriber.next().await.map(message)
    }

    fn try_next(&mut self) -> Option<Message> {
        self.subscriber.next().now_or_never().flatten().map(message)
    }
}

fn message(message: async_nats::Message) -> Message {
    Message {
        subject: message.subject.into_string(),
        reply: message.reply.map(async_nats::Subject::into_string),
        payload: message.payload,
    }
}

/// Turns what the client says of itself into [`Link`] and words for the operator.
fn on_event(
    link: watch::Sender<Link>,
    url: String,
) -> impl Fn(Event) -> std::future::Ready<()> + Send + Sync + 'static {
    let failures = Arc::new(AtomicU64::new(0));
    let url = redacted(&url);
    move |event| {
        match event {
            Event::Connected => {
                failures.store(0, Ordering::Relaxed);
                tracing::info!(%url, "connected to the broker");
                interrupt(&link, Some(true));
            }
            Event::Disconnected => {
                tracing::warn!(%url, "lost the connection to the broker");
                interrupt(&link, Some(false));
            }
            Event::Closed => interrupt(&link, Some(false)),
            Event::SlowConsumer(_) => {
                tracing::warn!("a subscription overflowed, words were lost");
                interrupt(&link, None);
            }
            Event::ServerError(error) => {
                tracing::warn!(%url, %error, "the broker reports an error");
                interrupt(&link, None);
            }
            Event::ClientError(error) => {
                let so_far = failures.fetch_add(1, Ordering::Relaxed);
                if so_far.is_multiple_of(FAILURES_PER_WARNING) {
                    tracing::warn!(%url, %error, "the broker cannot be reached");
                }
            }
            Event::LameDuckMode | Event::Draining => {
                tracing::info!(%url, "the broker is about to close this connection");
            }
        }
        std::future::ready(())
    }
}

fn interrupt(link: &watch::Sender<Link>, connected: Option<bool>) {
    link.send_modify(|link| {
        link.connected = connected.unwrap_or(link.connected);
        link.interruptions += 1;
    });
}

/// Full jitter: a restarted server is not met by all its clients at once.
fn reconnect_delay(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.min(6)).unwrap_or(6);
    let ceiling = RECONNECT_DELAY_BASE * 2_u32.pow(doublings);
    ceiling.min(RECONNECT_DELAY_MAX).mul_f64(rand::random())
}

/// An address without the user and password that it may hold.
fn redacted(url: &str) -> String {
    let one = |url: &str| match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        (None, Some((_, host))) => host.to_owned(),
        (_, None) => url.to_owned(),
    };
    url.split(',').map(one).collect::<Vec<_>>().join(",")
}

fn unavailable(reason: String) -> BrokerError {
    BrokerError::Unavailable(reason.into())
}

/// A peer that answers no more is given up after two of these without an answer.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_CONNECTION_WAIT: Duration = Duration::from_secs(2);
const QUEUE_WAIT: Duration = Duration::from_secs(1);
const SUBSCRIBE_WAIT: Duration = Duration::from_secs(5);
const CLOSE_WAIT: Duration = Duration::from_secs(2);
const RECONNECT_DELAY_BASE: Duration = Duration::from_millis(50);
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(2);
/// At the longest delay, about one warning in ten seconds.
const FAILURES_PER_WARNING: u64 = 10;
/// Messages held for one subscription: some seconds of the worst burst we know.
const SUBSCRIPTION_CAPACITY: usize = 16_384;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::broker::contract;
    use std::{
        net::TcpListener,
        process::{Child, Command, Stdio},
    };

    /// A real server on a free port, killed when dropped.
    struct Server {
        child: Child,
        port: u16,
        _scratch: tempfile::TempDir,
    }

    impl Server {
        fn start(port: u16, more: &str) -> Self {
            let scratch = tempfile::tempdir().unwrap();
            let config = scratch.path().join("nats.conf");
            let text = format!("host: 127.0.0.1\nport: {port}\n{more}\n");
            std::fs::write(&config, text).unwrap();
            let child = Command::new("nats-server")
                .arg("--config")
                .arg(&config)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("nats-server is on the PATH");
            Self {
                child,
                port,
                _scratch: scratch,
            }
        }

        fn config(&self) -> NatsConfig {
            config(self.port)
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }

    fn config(port: u16) -> NatsConfig {
        NatsConfig {
            url: format!("nats://127.0.0.1:{port}"),
            credentials: None,
            name: "test".to_owned(),
        }
    }

    fn free_port() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    }

    async fn connected(broker: &NatsBroker) {
        let mut link = broker.link();
        let wait = link.wait_for(|link| link.connected);
        timeout(Duration::from_secs(20), wait)
            .await
            .expect("connects in time")
            .unwrap();
    }

    #[tokio::test]
    async fn keeps_the_contract_of_brokers() {
        let server = Server::start(free_port(), "");
        let here = NatsBroker::connect(&server.config()).await.unwrap();
        let there = NatsBroker::connect(&server.config()).await.unwrap();
        connected(&here).await;
        connected(&there).await;
        contract::check(&here, &there).await;
    }

    #[tokio::test]
    async fn a_server_that_allows_too_little_is_refused() {
        let server = Server::start(free_port(), "max_payload: 999999");
        // The server may still be starting at the first try; then publishing is what refuses.
        let refusal = match NatsBroker::connect(&server.config()).await {
            Err(refusal) => refusal,
            Ok(broker) => {
                connected(&broker).await;
                let word = Bytes::from_static(b"x");
                broker.publish("a", None, word).await.unwrap_err()
            }
        };
        assert!(
            matches!(refusal, BrokerError::PayloadLimit { allowed: 999_999 }),
            "{refusal}"
        );
    }

    #[tokio::test]
    async fn starts_without_a_server_and_finds_it_again_after_it_was_lost() {
        let port = free_port();
        let broker = NatsBroker::connect(&config(port)).await.unwrap();
        let mut words = broker.subscribe("a").await.unwrap();
        let word = Bytes::from_static(b"x");
        let refusal = broker.publish("a", None, word.clone()).await;
        assert!(matches!(refusal, Err(BrokerError::Unavailable(_))));

        for _ in 0..2 {
            let server = Server::start(port, "");
            connected(&broker).await;
            broker.publish("a", None, word.clone()).await.unwrap();
            let heard = timeout(Duration::from_secs(10), words.next()).await;
            assert_eq!(heard.unwrap().unwrap().payload, word);

            let before = broker.link().borrow().interruptions;
            drop(server);
            let mut link = broker.link();
            link.wait_for(|link| !link.connected).await.unwrap();
            assert!(broker.link().borrow().interruptions > before);
        }
    }

    #[test]
    fn passwords_do_not_reach_the_log() {
        assert_eq!(
            redacted("nats://me:secret@a:4222,tls://b"),
            "nats://a:4222,tls://b"
        );
    }
}
