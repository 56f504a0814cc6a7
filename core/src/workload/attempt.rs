//! What a term remembers of a workload beside its row, and of its open attempt.

use crate::{
    Config,
    ids::{Attempt, BatchNumber, Incarnation, WorkerId},
    probes::planted,
    snapshot::WorkloadRow,
    time::{DatabaseClock, Duration, Timestamp},
    workload::{Cause, Desired, Status},
};

/// A workload in the memory of a term: its row as it will be once everything gathered is committed.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) row: WorkloadRow,
    /// The last batch of this term that writes it; none yet when zero.
    pub(crate) written: BatchNumber,
    /// Some exactly when the status has an open attempt.
    pub(crate) open: Option<Open>,
}

/// An attempt that is not known to be over.
#[derive(Debug, Clone)]
pub(crate) struct Open {
    pub(crate) worker: WorkerId,
    pub(crate) incarnation: Incarnation,
    /// The batch that opened it; zero when an earlier term did.
    pub(crate) opened_in: BatchNumber,
    /// The batch that ordered its stop, if it is being stopped; zero when an earlier term did.
    pub(crate) stop_in: BatchNumber,
    /// Since when its worker may know it by this term's words.
    pub(crate) told_at: Option<Timestamp>,
    /// When the assignment or the stop is sent again; none before its commit and once confirmed.
    pub(crate) next_send: Option<Timestamp>,
    /// Doubles with each sending, up to the heartbeat interval.
    pub(crate) interval: Duration,
    /// A proof that it is over is known and waits for room in a batch.
    pub(crate) is_over: bool,
}

/// Which proof says that an attempt is over, when it is not a report of its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// Its worker says that it stopped it.
    Stopped(Cause),
    /// Its worker's lease has ended, or another process replaced the worker's.
    Lost,
    /// Its worker says that it runs nothing any more.
    Left,
}

impl Open {
    pub(crate) const FIRST_INTERVAL: Duration = Duration::from_secs(1);

    pub(crate) const fn new(
        worker: WorkerId,
        incarnation: Incarnation,
        opened_in: BatchNumber,
    ) -> Self {
        Self {
            worker,
            incarnation,
            opened_in,
            stop_in: BatchNumber::ZERO,
            told_at: None,
            next_send: None,
            interval: Self::FIRST_INTERVAL,
            is_over: false,
        }
    }

    /// Something was sent: again after a while.
    pub(crate) fn note_sent(&mut self, config: &Config, now: Timestamp) {
        self.told_at.get_or_insert(now);
        self.next_send = Some(now.plus(self.interval));
        let longest = config.heartbeat_interval().max(Self::FIRST_INTERVAL);
        self.interval = (self.interval * 2).min(longest);
    }

    pub(crate) fn is_of(&self, worker: &WorkerId, incarnation: &Incarnation) -> bool {
        self.worker == *worker && self.incarnation == *incarnation
    }
}

impl Workload {
    pub(crate) const fn new(row: WorkloadRow) -> Self {
        Self {
            row,
            written: BatchNumber::ZERO,
            open: None,
        }
    }

    pub(crate) const fn status(&self) -> Status {
        self.row.leader.status
    }

    pub(crate) const fn attempt(&self) -> Attempt {
        self.row.leader.attempt
    }

    pub(crate) const fn stopping(&self) -> Option<Cause> {
        self.row.leader.stopping
    }

    /// It waits for a worker, as far as the database will say.
    pub(crate) fn waits(&self) -> bool {
        self.status() == Status::Pending && self.row.desired == Desired::Run
    }

    /// Its open attempt, when it is this one of this process.
    pub(crate) fn open_by(
        &self,
        worker: &WorkerId,
        incarnation: &Incarnation,
        attempt: Attempt,
    ) -> Option<&Open> {
        let mine = self.attempt() == attempt;
        let open = self.open.as_ref()?;
        (mine && open.is_of(worker, incarnation)).then_some(open)
    }

    /// When an assignment that its living worker never confirmed is given up.
    pub(crate) fn unconfirmed_at(&self, config: &Config) -> Option<Timestamp> {
        let open = self.open.as_ref()?;
        let waits = self.status() == Status::Scheduled
            && self.stopping().is_none()
            && !planted!(HandOverBelieved);
        let lease = Config::with_drift_margin(config.heartbeat_timeout);
        waits.then_some(open.told_at?.plus(lease))
    }

    /// When a started attempt has run for longer than its worker should have let it.
    pub(crate) fn overdue_at(&self, clock: DatabaseClock) -> Option<Timestamp> {
        let runs = self.status() == Status::Running && self.stopping().is_none();
        let limit = self.row.timeout.saturating_add(TIMEOUT_GRACE);
        runs.then_some(clock.when(self.row.started_at?.plus(limit)))
    }

    /// The next moment at which something is to be done about the open attempt.
    pub(crate) fn due(&self, config: &Config, clock: DatabaseClock) -> Option<Timestamp> {
        let sending = self.open.as_ref()?.next_send;
        [sending, self.unconfirmed_at(config), self.overdue_at(clock)]
            .into_iter()
            .flatten()
            .min()
    }
}

/// What a worker has, beyond its own timer, to report that an attempt timed out.
const TIMEOUT_GRACE: Duration = Duration::from_secs(30);
