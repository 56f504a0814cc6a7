//! The store's node: it executes what arrived, whether or not anybody still waits for the answer.
//!
//! There is no deadline on this side: a question may stay open for ever, and whoever asked must know
//! how long to wait. A caller that is dropped has asked all the same.

use super::{scenario::StoreRates, stage::Runner};
use crate::{
    clock::Moment,
    decision::Rng,
    panics::ON_PURPOSE,
    ports::{
        SimStore, Time,
        far::{Question, Way},
    },
};
use futures::future::BoxFuture;
use niyanta_core::time::Duration;
use runtime::store::StoreError;
use sim_probes::{Bug, is_planted};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{sync::oneshot, time::sleep};

/// Where questions are executed.
pub(super) struct Desk {
    store: SimStore,
    time: Time,
    node: Runner,
    heal_at: Moment,
    state: Mutex<State>,
}

struct State {
    rng: Rng,
    rates: StoreRates,
    hangs: Vec<Hang>,
    /// Coordinators with a connection that was given back in the middle of a transaction.
    amid: BTreeSet<usize>,
}

/// The store does not get on with questions of a coordinator, or of all.
#[derive(Debug, Clone, Copy)]
struct Hang {
    of: Option<usize>,
    until: Moment,
    silent: bool,
}

/// What becomes of a question.
#[derive(Debug, Clone, Copy)]
enum Course {
    Answered(Duration),
    LockTimeout(Duration),
    AnswerLost(Duration),
    Orphaned(Duration),
    Broken,
    /// It is executed, and the connection stays open and silent.
    Silent(Duration),
    PanicsBefore,
    PanicsAfter(Duration),
}

impl Desk {
    pub(super) fn new(
        store: SimStore,
        time: Time,
        node: Runner,
        heal_at: Moment,
        (rates, rng): (StoreRates, Rng),
    ) -> Self {
        let state = State {
            rng,
            rates,
            hangs: Vec::new(),
            amid: BTreeSet::new(),
        };
        Self {
            store,
            time,
            node,
            heal_at,
            state: Mutex::new(state),
        }
    }

    /// Questions of this coordinator, or of all, wait until then.
    pub(super) fn hang(&self, of: Option<usize>, until: Moment, silent: bool) {
        self.state().hangs.push(Hang { of, until, silent });
    }

    /// Nothing hangs from here on.
    pub(super) fn heal(&self) {
        self.state().hangs.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What holds up the questions of a coordinator now.
    fn hang_of(&self, place: usize) -> Option<Hang> {
        let now = self.time.now();
        let state = self.state();
        let holds = |hang: &&Hang| hang.until > now && hang.of.is_none_or(|of| of == place);
        state.hangs.iter().find(holds).copied()
    }

    /// Waits while the store hangs for this coordinator, and says whether its connection died.
    async fn get_on(&self, place: usize) -> bool {
        let mut silent = false;
        while let Some(hang) = self.hang_of(place) {
            silent |= hang.silent;
            sleep(hang.until.since(self.time.now())).await;
        }
        silent
    }

    fn course(&self, kind: &'static str) -> Course {
        let is_healed = self.time.now() >= self.heal_at;
        let mut state = self.state();
        let rates = if is_healed {
            StoreRates::default()
        } else {
            state.rates
        };
        let rng = &mut state.rng;
        let mut soon = rng.duration(Duration::ZERO, Duration::from_millis(3));
        if rng.per_mille(rates.slow) {
            soon = rng.duration(Duration::from_millis(100), Duration::from_millis(2_500));
        }
        let later = rng.duration(Duration::from_millis(50), Duration::from_millis(4_000));
        // Reads wait for no row.
        let writes = matches!(kind, "take_lease" | "renew_lease" | "commit") || is_callers(kind);
        if rng.per_mille(rates.answer_lost) {
            Course::AnswerLost(soon)
        } else if rng.per_mille(rates.orphaned) {
            Course::Orphaned(later)
        } else if rng.per_mille(rates.broken) {
            Course::Broken
        } else if rng.per_mille(rates.silent) {
            Course::Silent(soon)
        } else if rng.per_mille(rates.panics) {
            if rng.per_mille(500) {
                Course::PanicsBefore
            } else {
                Course::PanicsAfter(soon)
            }
        } else if rng.per_mille(rates.locked) && writes {
            Course::LockTimeout(Duration::from_millis(500))
        } else {
            Course::Answered(soon)
        }
    }
}

/// A coordinator's way to the store.
pub(super) struct Crossing {
    pub(super) desk: Arc<Desk>,
    pub(super) place: usize,
}

impl Way for Crossing {
    async fn ask<T, F>(&self, question: Question, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(SimStore) -> BoxFuture<'static, T> + Send + 'static,
    {
        let course = self.desk.course(question.kind);
        if matches!(course, Course::PanicsBefore) {
            std::panic::panic_any(ON_PURPOSE);
        }
        let (transaction, store) = self.transaction(question.kind);
        let (answer, answered) = oneshot::channel();
        let (desk, place) = (Arc::clone(&self.desk), self.place);
        self.desk.node.run(Box::pin(async move {
            desk.execute((place, store), course, job, answer).await;
        }));
        let answer = answered.await;
        if let Some(transaction) = transaction {
            transaction.end();
        }
        if matches!(course, Course::PanicsAfter(_)) {
            std::panic::panic_any(ON_PURPOSE);
        }
        answer.unwrap_or_else(|_| Err(StoreError::Unknown("the connection ended".into())))
    }
}

impl Crossing {
    /// What a caller's statement runs in. With one bug planted that is a transaction of the caller's
    /// future: dropped half-way, it goes back to the pool with its connection, and whoever is given
    /// that is told of success before everything is rolled back.
    fn transaction(&self, kind: &'static str) -> (Option<Transaction<'_>>, SimStore) {
        if !is_planted(Bug::StatementDropped) || !is_callers(kind) {
            return (None, self.desk.store.clone());
        }
        let is_amid = self.desk.state().amid.remove(&self.place);
        let store = if is_amid {
            self.desk.store.rolled_back()
        } else {
            self.desk.store.clone()
        };
        (Some(Transaction(self)), store)
    }
}

/// Open until its end, or until its connection is given back as it is.
struct Transaction<'a>(&'a Crossing);

impl Transaction<'_> {
    fn end(self) {
        std::mem::forget(self);
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        self.0.desk.state().amid.insert(self.0.place);
    }
}

/// Whether it is a write of the API.
fn is_callers(kind: &str) -> bool {
    matches!(kind, "submit" | "wish" | "wish_worker")
}

impl Desk {
    async fn execute<T, F>(
        &self,
        (place, store): (usize, SimStore),
        course: Course,
        job: F,
        answer: oneshot::Sender<Result<T, StoreError>>,
    ) where
        T: Send + 'static,
        F: FnOnce(SimStore) -> BoxFuture<'static, T> + Send + 'static,
    {
        let after = match course {
            Course::Answered(after)
            | Course::AnswerLost(after)
            | Course::Silent(after)
            | Course::LockTimeout(after)
            | Course::PanicsAfter(after) => after,
            Course::Orphaned(after) => {
                drop(answer);
                sleep(after).await;
                drop(job(store).await);
                return;
            }
            Course::Broken | Course::PanicsBefore => return,
        };
        // Some are answered within a moment: a sleep would take a millisecond at least.
        if after > Duration::from_millis(1) {
            sleep(after).await;
        }
        let died = self.get_on(place).await;
        if matches!(course, Course::LockTimeout(_)) {
            // Whoever asked may be gone.
            drop(answer.send(Err(StoreError::LockTimeout("a row".into()))));
            return;
        }
        let done = job(store).await;
        match course {
            Course::AnswerLost(_) => drop(answer),
            _ if died || matches!(course, Course::Silent(_)) => {
                answer_never(answer).await;
            }
            _ => drop(answer.send(Ok(done))),
        }
    }
}

/// Keeps the connection open until whoever asked has given up.
async fn answer_never<T>(mut answer: oneshot::Sender<T>) {
    answer.closed().await;
}
