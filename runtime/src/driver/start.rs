//! What a driver is given, how it is started, and what is seen of it from outside.

use super::{
    Driver, hints::DriverHints, inbox, logs::LogKeeper, outbox::Outbox, pending::Pending,
    term::Term, voice::Voice, writes::Writes,
};
use crate::{
    ambient::Ambient,
    broker::{Broker, BrokerError},
    clock::Clock,
    protocol::Subjects,
    store::{KeyId, Store},
};
use niyanta_core::{
    Config as CoreConfig, Coordinator, ExitReason,
    ids::{Generation, Incarnation},
    time::WallTime,
};
use std::sync::Arc;
use tokio::{
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::Instant,
};

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

/// Subscribes, and starts the driver in a task of its own.
///
/// # Errors
/// When a subscription is refused for good. A broker that is merely away is not an error.
pub async fn start(
    config: CoreConfig,
    identity: Identity,
    ports: DriverPorts,
) -> Result<DriverHandle, BrokerError> {
    let Assembled {
        driver,
        keeper,
        stop,
    } = assemble(config, identity, ports).await?;
    let leadership = driver.leadership.subscribe();
    let counts = driver.counts.subscribe();
    let task = tokio::spawn(async move {
        // Ends with this task, however it ends.
        let mut beside = JoinSet::new();
        beside.spawn(keeper.run());
        driver.run().await
    });
    Ok(DriverHandle {
        stop,
        leadership,
        counts,
        task,
    })
}

/// A driver that nobody holds any more must not go on leading.
impl Drop for DriverHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A driver that does not run yet, and what runs beside it.
pub(super) struct Assembled {
    pub(super) driver: Driver,
    keeper: LogKeeper,
    stop: watch::Sender<bool>,
}

#[expect(clippy::too_many_lines, reason = "the parts are named once, in a row")]
pub(super) async fn assemble(
    config: CoreConfig,
    identity: Identity,
    ports: DriverPorts,
) -> Result<Assembled, BrokerError> {
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
        leadership: leadership_seen,
    };
    let lease_told = (config.heartbeat_timeout, config.heartbeat_interval());
    let born = clock.now();
    #[cfg(planted)]
    crate::watch::show(&crate::watch::Inside::Made {
        who: &identity.incarnation,
        now: born,
        config: &config,
    });
    let coordinator = Coordinator::new(config, born);
    let (counts, _) = watch::channel(coordinator.status());
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
        writes: Writes::default(),
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
    Ok(Assembled {
        driver,
        keeper,
        stop: stop_sender,
    })
}
