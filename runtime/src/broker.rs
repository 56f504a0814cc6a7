//! The port to the broker, which carries hints and conversations and promises nothing.
//!
//! Anything sent may be lost, doubled, late or out of order; no caller may rely on a successful
//! `publish` for anything. What the port does promise: a receiver that may have missed words can
//! know it ([`Link::interruptions`]).

#[cfg(test)]
mod contract;
pub mod embedded;
#[cfg(feature = "real")]
pub mod nats;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

/// Largest message of the worker protocol, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 1_000_000;

/// Why the broker did not do it. Nothing depends on the difference but the words for the operator.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// There is no connection.
    #[error("the broker is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The message is larger than [`MESSAGE_BYTES_MAX`].
    #[error("the message has {bytes} bytes, at most {max} are allowed", max = MESSAGE_BYTES_MAX)]
    TooLarge {
        /// How large it is.
        bytes: usize,
    },
    /// The broker allows smaller messages than the protocol needs.
    #[error(
        "the broker allows messages of {allowed} bytes, the worker protocol needs {max}: raise its max_payload",
        max = MESSAGE_BYTES_MAX
    )]
    PayloadLimit {
        /// What it allows.
        allowed: usize,
    },
}

/// A message as it arrived.
#[derive(Debug, Clone)]
pub struct Message {
    /// Where it was sent.
    pub subject: String,
    /// Where an answer is awaited.
    pub reply: Option<String>,
    /// Its bytes.
    pub payload: Bytes,
}

/// What is known of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Link {
    /// Connected, as far as is known.
    pub connected: bool,
    /// Counts every moment at which words may have been missed: a lost or regained connection, a
    /// subscription that overflowed.
    pub interruptions: u64,
}

/// One subscription. Dropping it ends it. It holds a bounded number of messages; when it is full the
/// newest is dropped and [`Link::interruptions`] grows.
#[async_trait]
pub trait Subscription: Send {
    /// The next message; `None` when the broker is closed for good.
    async fn next(&mut self) -> Option<Message>;
    /// A message that is here already.
    fn try_next(&mut self) -> Option<Message>;
}

/// The broker. It reconnects by itself, for ever, with jitter.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Hands a message over for sending.
    async fn publish(
        &self,
        subject: &str,
        reply: Option<&str>,
        payload: Bytes,
    ) -> Result<(), BrokerError>;
    /// Subscribes; survives reconnects.
    async fn subscribe(&self, subject: &str) -> Result<Box<dyn Subscription>, BrokerError>;
    /// A new subject that only this process listens to, for answers.
    fn new_inbox(&self) -> String;
    /// What is known of the connection, as it changes.
    fn link(&self) -> watch::Receiver<Link>;
    /// Sends what is queued, as far as possible, and closes.
    async fn close(&self);
}
