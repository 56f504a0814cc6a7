//! What goes out through the broker, in order, without ever making the driver wait.
//!
//! The broker promises nothing, so neither does the outbox: when it is full, because the broker does
//! not take words, the newest are dropped and counted. Core repeats what matters from state.

use super::term::Term;
use crate::{broker::Broker, clock::Clock, metrics as names, probes::planted};
use bytes::Bytes;
use niyanta_core::ids::Generation;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};
use tracing::debug;

/// Words that wait for the broker. Above it they are dropped: 16,384 answers are several seconds of
/// the highest rate that was measured, and a worker repeats after two.
const WAITING_MAX: usize = 16_384;

/// The broker has this long to take one word.
const PUBLISH_WITHIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Outgoing {
    /// Dropped when this term is over; `None` for words of no term.
    pub(super) term: Option<Generation>,
    pub(super) subject: String,
    pub(super) payload: Bytes,
}

#[derive(Debug, Clone)]
pub(super) struct Outbox {
    sender: mpsc::Sender<Word>,
}

#[derive(Debug)]
enum Word {
    Say(Outgoing),
    /// Everything before was handed to the broker, or dropped.
    Flushed(oneshot::Sender<()>),
}

impl Outbox {
    /// Starts the task that speaks. It ends when every clone of the outbox is dropped.
    pub(super) fn start(
        broker: Arc<dyn Broker>,
        term: Arc<Term>,
        clock: Arc<dyn Clock>,
    ) -> (Self, JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let task = tokio::spawn(speak(receiver, broker, term, clock));
        (Self { sender }, task)
    }

    pub(super) fn send(&self, outgoing: Outgoing) {
        if self.sender.try_send(Word::Say(outgoing)).is_err() {
            metrics::counter!(names::OUTBOX_DROPPED).increment(1);
            debug!("dropped a message: the broker does not take them");
        }
    }

    /// Waits until what was sent before is with the broker, or dropped, but not for long.
    pub(super) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        let wait = async {
            if self.sender.send(Word::Flushed(done)).await.is_ok() {
                // The speaker ends only with the process.
                flushed.await.ok();
            }
        };
        if timeout(PUBLISH_WITHIN, wait).await.is_err() {
            debug!("the broker does not take the last words");
        }
    }
}

async fn speak(
    mut receiver: mpsc::Receiver<Word>,
    broker: Arc<dyn Broker>,
    term: Arc<Term>,
    clock: Arc<dyn Clock>,
) {
    while let Some(word) = receiver.recv().await {
        let Outgoing {
            term: of,
            subject,
            payload,
        } = match word {
            Word::Say(outgoing) => outgoing,
            Word::Flushed(done) => {
                // Whoever asked may have given up waiting.
                done.send(()).ok();
                continue;
            }
        };
        let is_over = of.is_some_and(|generation| !term.permits(generation, clock.now()));
        if is_over && !planted!(OldTermSpoken) {
            continue;
        }
        match timeout(PUBLISH_WITHIN, broker.publish(&subject, None, payload)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(subject, %error, "could not publish"),
            Err(_) => debug!(subject, "the broker took too long to take a message"),
        }
    }
}
