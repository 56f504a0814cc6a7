//! The one task that owns the [`Coordinator`]: wait, stamp `now`, `handle`, carry out the effects in
//! order. No decisions.
//!
//! ```text
//!  answers of the database ──┐
//!  words of workers ─────────┤                            ┌─> tasks that ask the database ──┐
//!  words of coordinators ────┼─> Event ─> handle ─> Effect┼─> outbox ─> broker              │
//!  hints, shutdown ──────────┤                            └─> status, leadership watches    │
//!  the deadline ─────────────┘ <──────────────── answers come back as events ───────────────┘
//! ```
//!
//! Every input has a budget a turn, so that none can starve another: answers come first, because a
//! leader that does not see its commits land does nothing. A tick tells core up to which moment all
//! words of workers were handed over; what lies unread is not taken for silence (P15).
//!
//! Invariant: nothing here waits for the database or the broker; a driver that waits loses its lease.

mod carry;
mod counts;
mod hints;
mod inbox;
mod logs;
mod outbox;
mod pending;
mod start;
mod term;
mod voice;
mod writes;

#[cfg(test)]
mod tests;

pub use hints::DriverHints;
pub use start::{DriverHandle, DriverPorts, Identity, Leadership, start};

use crate::{
    broker::{Link, Subscription},
    clock::Clock,
    hints::Changes,
    metrics as names,
    probes::planted,
    protocol::{PeerWord, Subjects},
    store::{KeyId, Store},
};
use hints::LocalHint;
use niyanta_core::{
    Coordinator, Effect, Event, ExitReason,
    time::{Timestamp, WallTime},
};
use outbox::{Outbox, Outgoing};
use pending::Pending;
use std::{sync::Arc, time::Duration};
use term::Term;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use tracing::{debug, info, info_span, trace};
use voice::Voice;
use writes::{Writes, Writing};

/// Events of one input that are handled in one turn, before the others get theirs.
const BUDGET: usize = 256;

/// The driver wakes at least this often: core takes a longer gap for time in which it did not listen.
const WAKE_AT_LEAST: Duration = Duration::from_millis(500);

/// What comes back from a task that asked the database.
#[derive(Debug)]
struct Answer {
    event: Event,
    /// The report whose bytes were written first, if it is one.
    writing: Option<Writing>,
}

impl From<Event> for Answer {
    fn from(event: Event) -> Self {
        Self {
            event,
            writing: None,
        }
    }
}

/// Owns the state machine and everything it speaks through.
pub(crate) struct Driver {
    coordinator: Coordinator,
    identity: Identity,
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
    subjects: Subjects,
    effects: Vec<Effect>,
    answers_sender: mpsc::UnboundedSender<Answer>,
    /// As many as core has questions open and reports being written: both are bounded.
    answers: mpsc::UnboundedReceiver<Answer>,
    worker_words: Box<dyn Subscription>,
    peer_words: Box<dyn Subscription>,
    broadcasts: Box<dyn Subscription>,
    hints: mpsc::Receiver<LocalHint>,
    stop: watch::Receiver<bool>,
    link: watch::Receiver<Link>,
    outbox: Outbox,
    voice: Voice,
    /// Lease and heartbeat interval, for answers that core does not give.
    lease_told: (Duration, Duration),
    changes: Arc<Changes>,
    on_key_revoked: Box<dyn Fn(KeyId) + Send + Sync>,
    writes: Writes,
    pending: Pending,
    progress: inbox::ProgressBuffer,
    term: Arc<Term>,
    tasks: JoinSet<()>,
    leadership: watch::Sender<Leadership>,
    counts: watch::Sender<niyanta_core::Status>,
    counted: Instant,
    /// The last reading of the database's clock.
    database_time: WallTime,
    /// Up to when every word of a worker was taken from the broker.
    heard_until: Timestamp,
    interruptions: u64,
    stopping: bool,
    resigned: bool,
    exit: Option<ExitReason>,
}

impl Driver {
    async fn run(mut self) -> Option<ExitReason> {
        loop {
            self.turn();
            if self.exit.is_some() || (self.stopping && self.resigned) {
                break;
            }
            self.wait().await;
        }
        self.term.set(None);
        self.outbox.flush().await;
        self.exit
    }

    /// Handles what is here, each input within its budget, then ticks.
    fn turn(&mut self) {
        for _ in 0..BUDGET {
            let Ok(answer) = self.answers.try_recv() else {
                break;
            };
            self.take(answer);
        }
        self.note_interruptions();
        if *self.stop.borrow() && !self.stopping {
            self.stopping = true;
            // Without a lease there is nothing to give up, and nobody answers.
            self.resigned = self.coordinator.lease().is_none();
            self.handle(Event::ShutdownRequested);
        }
        self.drain_worker_words();
        self.drain_peer_words();
        for _ in 0..BUDGET {
            let Ok(hint) = self.hints.try_recv() else {
                break;
            };
            self.handle(hint.into());
        }
        let heard_until = self.writes.heard_until(self.heard_until);
        self.handle(Event::Tick { heard_until });
        self.flush_progress();
        self.reap_tasks();
        self.publish_status();
    }

    /// A task that panicked leaves its question unanswered for ever, and core would wait for it while
    /// the lease is renewed: the process must end with it.
    fn reap_tasks(&mut self) {
        while let Some(end) = self.tasks.try_join_next() {
            if let Err(error) = end
                && error.is_panic()
                && !planted!(PanicSwallowed)
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
    }

    /// Waits until some input has something, or the deadline comes.
    async fn wait(&mut self) {
        let now = self.clock.now();
        let deadline = self.coordinator.next_deadline();
        let until = deadline.map_or(WAKE_AT_LEAST, |deadline| {
            deadline.at.since(now).min(WAKE_AT_LEAST)
        });
        let due = Instant::now() + until;
        // An input that ended (the broker was closed) must not spin; the deadline still comes.
        tokio::select! {
            biased;
            Some(answer) = next_answer(&mut self.answers) => self.take(answer),
            Ok(()) = self.stop.changed() => {}
            Ok(()) = self.link.changed() => {}
            Some(message) = self.worker_words.next() => self.hear_worker(message),
            Some(message) = self.peer_words.next() => self.hear_peer(&message),
            Some(message) = self.broadcasts.next() => self.hear_broadcast(&message),
            Some(hint) = self.hints.recv() => self.handle(hint.into()),
            () = tokio::time::sleep_until(due) => {
                metrics::histogram!(names::LOOP_LAG_SECONDS).record(due.elapsed());
            }
        }
    }

    fn drain_worker_words(&mut self) {
        for _ in 0..BUDGET {
            let before = self.clock.now();
            let Some(message) = self.worker_words.try_next() else {
                self.heard_until = before;
                return;
            };
            self.hear_worker(message);
        }
        if planted!(UnreadIsHeard) {
            self.heard_until = self.clock.now();
        }
    }

    fn drain_peer_words(&mut self) {
        for _ in 0..BUDGET {
            let Some(message) = self.peer_words.try_next() else {
                break;
            };
            self.hear_peer(&message);
        }
        for _ in 0..BUDGET {
            let Some(message) = self.broadcasts.try_next() else {
                break;
            };
            self.hear_broadcast(&message);
        }
    }

    /// What a report carried counts as heard once core has it.
    fn take(&mut self, answer: Answer) {
        let Answer { event, writing } = answer;
        self.handle(event);
        drop(writing);
    }

    fn note_interruptions(&mut self) {
        let link = *self.link.borrow_and_update();
        if link.interruptions != self.interruptions {
            self.interruptions = link.interruptions;
            metrics::counter!(names::BROKER_INTERRUPTIONS).increment(1);
            info!(
                connected = link.connected,
                "words may have been missed; silences start anew"
            );
            self.handle(Event::ListeningInterrupted);
        }
    }

    /// The only place where the state machine moves.
    fn handle(&mut self, event: Event) {
        let kind = event.kind();
        self.note_database_time(&event);
        let resigned = matches!(event, Event::LeaseResigned { .. });
        let now = self.clock.now();
        let generation = self.coordinator.generation_heard();
        let _entered = info_span!("event", event = kind, %generation).entered();
        let began = Instant::now();
        trace!("handle");
        #[cfg(planted)]
        let shown = event.clone();
        self.coordinator.handle(now, event, &mut self.effects);
        #[cfg(planted)]
        crate::watch::show(&crate::watch::Inside::Handled {
            who: &self.identity.incarnation,
            now,
            event: &shown,
            effects: &self.effects,
            core: &self.coordinator,
        });
        metrics::counter!(names::EVENTS, "kind" => kind).increment(1);
        metrics::histogram!(names::HANDLE_SECONDS, "kind" => kind).record(began.elapsed());
        self.follow_term(now);
        self.carry_out();
        self.resigned |= self.stopping && resigned;
    }

    /// Keeps what other tasks ask before they speak in step with the state machine.
    fn follow_term(&mut self, now: Timestamp) {
        let lease = self.coordinator.lease().filter(|(_, until)| now < *until);
        self.term.set(lease);
        let leadership = Leadership {
            is_leader: lease.is_some(),
            generation: self.coordinator.generation_heard(),
            leader: self.coordinator.leader().cloned(),
        };
        if leadership == *self.leadership.borrow() {
            return;
        }
        if leadership.is_leader != self.leadership.borrow().is_leader {
            let change = if leadership.is_leader {
                "elected"
            } else {
                "ended"
            };
            metrics::counter!(names::LEADER_CHANGES, "change" => change).increment(1);
            info!(is_leader = leadership.is_leader, generation = %leadership.generation, "leadership changed");
            if !leadership.is_leader {
                let forgotten = self.pending.clear();
                debug!(
                    forgotten,
                    "requests of the ended term are left to its successor"
                );
            }
        }
        self.leadership.send_replace(leadership);
    }

    fn note_database_time(&mut self, event: &Event) {
        if let Event::LeaseTaken { database_time, .. }
        | Event::LeaseRefused { database_time, .. }
        | Event::LeaseRead { database_time, .. }
        | Event::LeaseRenewed { database_time, .. }
        | Event::SnapshotLoaded { database_time, .. }
        | Event::Loaded { database_time, .. } = event
        {
            self.database_time = *database_time;
        }
    }

    /// At most twice a second: the counts are made anew for each.
    fn publish_status(&mut self) {
        if self.counted.elapsed() < WAKE_AT_LEAST {
            return;
        }
        self.counted = Instant::now();
        let status = self.coordinator.status();
        // Who does not lead counts nothing: the sum over coordinators is the truth.
        let held = status.term.unwrap_or_default();
        metrics::gauge!(names::GENERATION).set(gauge(self.coordinator.generation_heard().0));
        for (label, count) in [
            ("HEALTHY", held.workers_healthy),
            ("DRAINING", held.workers_draining),
            ("DEAD", held.workers_dead),
        ] {
            metrics::gauge!(names::WORKERS, "status" => label).set(gauge(count as u64));
        }
        metrics::gauge!(names::CAPACITY_TOTAL).set(gauge(held.capacity));
        metrics::gauge!(names::OPEN_ATTEMPTS).set(gauge(held.open_attempts as u64));
        metrics::gauge!(names::WAITING_HELD).set(gauge(held.waiting as u64));
        self.counts.send_replace(status);
    }

    fn say_to_peers(&self, word: &PeerWord) {
        self.outbox.send(Outgoing {
            term: None,
            subject: self.subjects.peers(),
            payload: word.encode(),
        });
    }
}

/// The next answer of the database. Nothing may be awaited once it is taken: `select!` drops what is
/// not done when another input is.
async fn next_answer(answers: &mut mpsc::UnboundedReceiver<Answer>) -> Option<Answer> {
    let answer = answers.recv().await;
    if planted!(AnswerDroppedInSelect) {
        tokio::task::yield_now().await;
    }
    answer
}

/// Gauges are floats; counts of this program are far below where that loses a unit.
fn gauge(count: u64) -> f64 {
    count as f64
}
