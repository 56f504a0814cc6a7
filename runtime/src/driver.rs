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
mod hints;
mod inbox;
mod logs;
mod outbox;
mod pending;
mod term;
mod voice;

pub(crate) use carry::chain;
pub use hints::DriverHints;

use crate::{
    ambient::Ambient,
    broker::{Broker, BrokerError, Link, Subscription},
    clock::Clock,
    hints::Changes,
    metrics as names,
    protocol::{PeerWord, Subjects},
    store::{KeyId, Store},
};
use hints::LocalHint;
use logs::LogKeeper;
use niyanta_core::{
    Config as CoreConfig, Coordinator, Effect, Event, ExitReason,
    ids::{Generation, Incarnation},
    time::{Timestamp, WallTime},
};
use outbox::{Outbox, Outgoing};
use pending::Pending;
use std::{sync::Arc, time::Duration};
use term::Term;
use tokio::{
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::Instant,
};
use tracing::{debug, info, trace};
use voice::Voice;

/// Events of one input that are handled in one turn, before the others get theirs.
const BUDGET: usize = 256;

/// The driver wakes at least this often: core takes a longer gap for time in which it did not listen.
const WAKE_AT_LEAST: Duration = Duration::from_millis(500);

/// Hints that wait for the driver; above it they are dropped, and the sweep finds what they meant.
const HINTS_MAX: usize = 4_096;

/// Who this coordinator is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// A label for people.
    pub coordinator_id: String,
    /// This start of this process.
    pub incarnation: Incarnation,
}

/// What a driver needs.
pub struct DriverPorts {
    /// The truth.
    pub store: Arc<dyn Store>,
    /// Hints and conversations.
    pub broker: Arc<dyn Broker>,
    /// `now`.
    pub clock: Arc<dyn Clock>,
    /// New ids.
    pub ambient: Arc<dyn Ambient>,
    /// Which subjects to speak on.
    pub subjects: Subjects,
    /// Where the API's hints come from.
    pub hints: DriverHints,
    /// Called when a coordinator revoked a key.
    pub on_key_revoked: Box<dyn Fn(KeyId) + Send + Sync>,
}

/// Who leads, as this coordinator knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leadership {
    /// This coordinator leads now.
    pub is_leader: bool,
    /// The term it leads, or the highest it has heard of.
    pub generation: Generation,
    /// The incarnation of the leader, if one is known.
    pub leader: Option<Incarnation>,
}

/// The running driver, from outside.
pub struct DriverHandle {
    stop: watch::Sender<bool>,
    leadership: watch::Receiver<Leadership>,
    counts: watch::Receiver<niyanta_core::Status>,
    task: JoinHandle<Option<ExitReason>>,
}

impl DriverHandle {
    /// Who leads, as it changes.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// What the state machine says of itself, at most a wake-up old.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<niyanta_core::Status> {
        self.counts.clone()
    }

    /// Asks the driver to resign and stop taking leases. It goes on until [`Self::finish`].
    pub fn resign(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until the driver has ended by itself: resigned after [`Self::resign`], or told to exit.
    pub async fn finished(&mut self) -> Option<ExitReason> {
        match (&mut self.task).await {
            Ok(exit) => exit,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => None,
        }
    }
}

/// A driver that nobody holds any more must not go on leading.
impl Drop for DriverHandle {
    fn drop(&mut self) {
        self.task.abort();
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
    answers_sender: mpsc::UnboundedSender<Event>,
    /// As many as core has questions open and reports being written: both are bounded.
    answers: mpsc::UnboundedReceiver<Event>,
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
    write_slots: inbox::WriteSlots,
    pending: Pending,
    progress: inbox::ProgressBuffer,
    term: Arc<Term>,
    tasks: JoinSet<()>,
    leadership: watch::Sender<Leadership>,
    counts: watch::Sender<niyanta_core::Status>,
    counted: Instant,
    /// The last reading of the database's clock.
    database_time: WallTime,
    heard_until: Timestamp,
    interruptions: u64,
    stopping: bool,
    resigned: bool,
    exit: Option<ExitReason>,
}

/// Subscribes, and starts the driver in a task of its own.
///
/// # Errors
/// When a subscription is refused for good. A broker that is merely away is not an error.
#[expect(clippy::too_many_lines, reason = "the parts are named once, in a row")]
pub async fn start(
    config: CoreConfig,
    identity: Identity,
    ports: DriverPorts,
) -> Result<DriverHandle, BrokerError> {
    let DriverPorts {
        store,
        broker,
        clock,
        ambient,
        subjects,
        hints: api_hints,
        on_key_revoked,
    } = ports;
    let worker_words = broker.subscribe(&subjects.events()).await?;
    let peer_words = broker.subscribe(&subjects.peers()).await?;
    let broadcasts = broker.subscribe(&subjects.broadcast()).await?;
    let log_words = broker.subscribe(&subjects.logs()).await?;
    let term = Arc::new(Term::default());
    let (outbox, _speaker) =
        Outbox::start(Arc::clone(&broker), Arc::clone(&term), Arc::clone(&clock));
    let (answers_sender, answers) = mpsc::unbounded_channel();
    let (hints_sender, hints) = mpsc::channel(HINTS_MAX);
    let (stop_sender, stop) = watch::channel(false);
    let (leadership, leadership_seen) = watch::channel(Leadership::default());
    let voice = Voice::new(&identity.coordinator_id, Arc::clone(&clock), ambient);
    api_hints.attach(
        hints_sender,
        outbox.clone(),
        subjects.clone(),
        leadership_seen.clone(),
    );
    let keeper = LogKeeper {
        words: log_words,
        store: Arc::clone(&store),
        outbox: outbox.clone(),
        voice: voice.clone(),
        leadership: leadership_seen.clone(),
    };
    let lease_told = (config.heartbeat_timeout, config.heartbeat_interval());
    let coordinator = Coordinator::new(config, clock.now());
    let (counts, counts_seen) = watch::channel(coordinator.status());
    let link = broker.link();
    let interruptions = link.borrow().interruptions;
    let driver = Driver {
        coordinator,
        identity,
        heard_until: clock.now(),
        clock,
        store,
        subjects,
        effects: Vec::new(),
        answers_sender,
        answers,
        worker_words,
        peer_words,
        broadcasts,
        hints,
        stop,
        link,
        outbox,
        voice,
        lease_told,
        changes: api_hints.changes(),
        on_key_revoked,
        write_slots: inbox::WriteSlots::default(),
        pending: Pending::default(),
        progress: inbox::ProgressBuffer::default(),
        term,
        tasks: JoinSet::new(),
        leadership,
        counts,
        counted: Instant::now(),
        database_time: WallTime::default(),
        interruptions,
        stopping: false,
        resigned: false,
        exit: None,
    };
    let task = tokio::spawn(async move {
        // Ends with this task, however it ends.
        let mut beside = JoinSet::new();
        beside.spawn(keeper.run());
        driver.run().await
    });
    Ok(DriverHandle {
        stop: stop_sender,
        leadership: leadership_seen,
        counts: counts_seen,
        task,
    })
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
            self.handle(answer);
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
        let heard_until = self.heard_until;
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
        // An input that ended (the broker was closed) must not spin; the deadline still comes.
        tokio::select! {
            biased;
            Some(answer) = self.answers.recv() => self.handle(answer),
            Ok(()) = self.stop.changed() => {}
            Ok(()) = self.link.changed() => {}
            Some(message) = self.worker_words.next() => self.hear_worker(message),
            Some(message) = self.peer_words.next() => self.hear_peer(&message),
            Some(message) = self.broadcasts.next() => self.hear_broadcast(&message),
            Some(hint) = self.hints.recv() => self.handle(hint.into()),
            () = tokio::time::sleep(until) => {}
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
        let began = Instant::now();
        trace!(kind, "handle");
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

/// Gauges are floats; counts of this program are far below where that loses a unit.
fn gauge(count: u64) -> f64 {
    count as f64
}
