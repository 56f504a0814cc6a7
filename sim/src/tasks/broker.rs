//! A coordinator's connection to the broker: it may be slow to take words, and its process
//! slow to read them.

use crate::{decision::Rng, message::Address, ports::Checker, ports::SimBroker};
use async_trait::async_trait;
use bytes::Bytes;
use niyanta_core::{ids::Generation, time::Duration};
use runtime::{
    broker::{Broker, BrokerError, Link, Message, Subscription},
    protocol::{self, Subjects, Word},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

/// What slows connections down; all coordinators' connections share it.
#[derive(Clone)]
pub(super) struct Pace(Arc<Mutex<State>>);

struct State {
    rng: Rng,
    slow: u64,
    /// Until when a coordinator's connection takes no words.
    stalled: BTreeMap<usize, Instant>,
    /// How long it takes until a process that reads gets on.
    starved: Duration,
}

impl Pace {
    pub(super) fn new(rng: Rng, slow: u64) -> Self {
        let state = State {
            rng,
            slow,
            stalled: BTreeMap::new(),
            starved: Duration::ZERO,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// The connection of a coordinator takes no words until then.
    pub(super) fn stall(&self, place: usize, until: Instant) {
        self.state().stalled.insert(place, until);
    }

    /// From here on a coordinator that waits for a word of a worker gets on after so long, whatever
    /// lies there: the machine is starved.
    pub(super) fn starve(&self, starved: Duration) {
        self.state().starved = starved;
    }

    /// Nothing is slow from here on.
    pub(super) fn heal(&self) {
        let mut state = self.state();
        state.slow = 0;
        state.stalled.clear();
        state.starved = Duration::ZERO;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long this word is held, before or after it is handed over.
    fn draw(&self) -> (Option<Duration>, Option<Duration>) {
        let mut state = self.state();
        let slow = state.slow;
        if !state.rng.per_mille(slow) {
            return (None, None);
        }
        let held = state
            .rng
            .duration(Duration::from_millis(1), Duration::from_millis(1_500));
        if state.rng.per_mille(500) {
            (Some(held), None)
        } else {
            (None, Some(held))
        }
    }
}

/// One coordinator's connection.
pub(super) struct CoordinatorBroker {
    pub(super) inner: SimBroker,
    pub(super) place: usize,
    pub(super) pace: Pace,
    pub(super) checker: Checker,
}

/// Of which term a word of a coordinator is, if of any.
fn term_of(payload: &Bytes) -> Option<Generation> {
    match protocol::read_word(payload)? {
        Word::Answer(answer) => answer.generation,
        Word::Command { generation, .. } | Word::LeaderElected(generation) => Some(generation),
    }
}

#[async_trait]
impl Broker for CoordinatorBroker {
    async fn publish(
        &self,
        subject: &str,
        reply: Option<&str>,
        payload: Bytes,
    ) -> Result<(), BrokerError> {
        if let Some(generation) = term_of(&payload) {
            self.checker.spoken(self.place, generation);
        }
        let stalled = self.pace.state().stalled.get(&self.place).copied();
        if let Some(until) = stalled {
            sleep_until(until).await;
        }
        let (before, after) = self.pace.draw();
        if let Some(held) = before {
            sleep(held).await;
        }
        self.inner.publish(subject, reply, payload).await?;
        if let Some(held) = after {
            sleep(held).await;
        }
        Ok(())
    }

    async fn subscribe(&self, subject: &str) -> Result<Box<dyn Subscription>, BrokerError> {
        let inner = self.inner.subscribe(subject).await?;
        if subject != Subjects::default().events() {
            return Ok(inner);
        }
        Ok(Box::new(SlowReading {
            inner,
            pace: self.pace.clone(),
        }))
    }

    fn new_inbox(&self) -> String {
        self.inner.new_inbox()
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.inner.link()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// Words of workers, for a process that gets on when the machine lets it.
struct SlowReading {
    inner: Box<dyn Subscription>,
    pace: Pace,
}

#[async_trait]
impl Subscription for SlowReading {
    async fn next(&mut self) -> Option<Message> {
        let starved = self.pace.state().starved;
        if !starved.is_zero() {
            sleep(starved).await;
        }
        self.inner.next().await
    }

    fn try_next(&mut self) -> Option<Message> {
        self.inner.try_next()
    }
}

/// Where a coordinator is, for the broker.
pub(super) const fn address(place: usize) -> Address {
    Address::Coordinator(place)
}
