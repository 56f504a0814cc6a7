//! The database: rows, locks, and connections on which statements make their way.
//!
//! Executes what the production store sends to Postgres, statement by statement, with row locks and
//! waiting, the newest version judged again after a wait, counts that undo, keys that refuse, and
//! connections that die. Does not know time passing: whoever drives it says when a statement comes,
//! how far it goes at a time, and when one has waited too long. Does not decide anything: what a row
//! means is `niyanta_core`'s. [`Change`]s tell the properties what was committed.
//!
//! ```text
//! open ─▶ receive(statement, pace) ─┬─▶ Ended: committed or undone, with the reply
//!                                   ├─▶ Halted ── proceed ─▶ …
//!                                   └─▶ Waits ─┬─ Granted ── proceed ─▶ …
//!                                              └─ cancel(LockTimeout) ─▶ Ended
//! ```

mod api;
mod beside;
mod commit;
mod lease;
mod locks;
mod program;
mod read;
mod rows;
mod session;
mod statement;
mod tables;
#[cfg(test)]
mod tests;
mod transaction;

pub use locks::RowKey;
pub use program::{Failure, Lane, Program, Step};
pub use rows::{
    AuditRow, Change, CounterRow, Lease, LeaseStep, Moved, Submission, Tally, WorkerEntry,
    WorkerWish, Workload,
};
pub use session::{News, Pace, SessionId, SqlError, Standing, Turn};
pub use statement::{
    Answer, AssignmentAsk, ContentWrite, Look, RenewLease, Statement, SubmitAnswer, TakeLease,
    Wish, WishAnswer, WishWorker, WorkerWishAnswer,
};

use crate::clock::{Moment, WallClock};
use locks::Locks;
use niyanta_core::{
    ids::{CustomerId, WorkerId, WorkloadId},
    snapshot::{FenceRow, Snapshot},
    time::{Duration, WallTime},
};
use session::Session;
use sim_probes::{Bug, is_planted};
use std::{cell::RefCell, collections::VecDeque, sync::Arc};
use tables::Tables;
use transaction::Transaction;

/// The database.
#[derive(Debug)]
pub struct Store {
    clock: WallClock,
    tables: Tables,
    locks: Locks,
    sessions: Vec<(u32, Option<Session>)>,
    free: Vec<u32>,
    /// No more connections than this.
    limit: usize,
    news: VecDeque<News>,
    changes: Vec<Change>,
    /// What a copy that is behind would show: the state before each of the last commits.
    copies: Option<VecDeque<Tables>>,
    /// What a wrong variant shows instead of the present.
    before_last_batch: Option<Box<Snapshot>>,
    /// How far a wrong variant has read what is new.
    read_by_cursor: RefCell<read::Cursor>,
}

impl Store {
    /// An empty database, as the migrations leave it.
    #[must_use]
    pub fn new(clock: WallClock) -> Self {
        Self {
            clock,
            tables: Tables::new(),
            locks: Locks::default(),
            sessions: Vec::new(),
            free: Vec::new(),
            limit: CONNECTIONS_MAX,
            news: VecDeque::new(),
            changes: Vec::new(),
            copies: None,
            before_last_batch: None,
            read_by_cursor: RefCell::default(),
        }
    }

    /// The same rows, for whoever changes them and takes it back: nobody is connected.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self {
            tables: self.tables.clone(),
            ..Self::new(self.clock)
        }
    }

    /// Adds a customer.
    pub fn add_customer(&mut self, row: CounterRow) {
        self.tables.customers.insert(row.limits.id, row);
    }

    /// Refuses connections above this number.
    pub const fn limit_connections(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Keeps what a copy that is a few commits behind would show.
    pub fn keep_copies(&mut self) {
        self.copies = Some(VecDeque::new());
    }

    /// Opens a connection.
    pub fn open(&mut self) -> Result<SessionId, SqlError> {
        if self.sessions.len() - self.free.len() >= self.limit {
            return Err(SqlError::TooManyConnections);
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.sessions.push((0, None));
                u32::try_from(self.sessions.len() - 1).unwrap_or(u32::MAX)
            }
        };
        let (serial, session) = &mut self.sessions[slot as usize];
        *serial += 1;
        *session = Some(Session::default());
        let serial = *serial;
        Ok(SessionId { slot, serial })
    }

    /// A statement arrives on an idle connection, and is executed as far as it may go at once.
    pub fn receive(&mut self, now: Moment, id: SessionId, statement: Arc<Statement>, pace: Pace) {
        let at_once = pace == Pace::Whole && self.locks.is_empty();
        let Some(session) = self.session_mut(id) else {
            return;
        };
        if session.transaction.is_none() {
            session.transaction = Some(Box::new(Transaction::new(statement, now, at_once)));
            self.run(id, now, pace);
        }
    }

    /// A statement that halted, or got the row it waited for, goes on.
    pub fn proceed(&mut self, now: Moment, id: SessionId, pace: Pace) {
        self.go_on(id, now, pace);
    }

    /// A statement is undone for this reason, unless it has ended or waits on its client alone.
    pub fn cancel(&mut self, id: SessionId, why: SqlError) {
        match self.standing(id) {
            Standing::Halted | Standing::Waiting | Standing::Granted | Standing::BeforeCommit => {
                self.undo(id, why);
            }
            Standing::Idle | Standing::NoSync | Standing::Gone => {}
        }
    }

    /// A connection ends, and with it what it had not committed.
    pub fn close(&mut self, id: SessionId) {
        if self.session_mut(id).is_none() {
            return;
        }
        self.undo(id, SqlError::Terminated);
        self.sessions[id.slot as usize].1 = None;
        self.free.push(id.slot);
    }

    /// Ends connections that hold locks and have waited on their client for longer than that.
    pub fn end_sleepers(&mut self, now: Moment, longest: Duration) -> Vec<SessionId> {
        let asleep: Vec<SessionId> = self
            .live_sessions()
            .filter(|id| {
                self.transaction(*id).is_some_and(|tx| {
                    tx.standing == Standing::NoSync
                        && tx.has_locks()
                        && now.since(tx.begun) > longest
                })
            })
            .collect();
        for id in &asleep {
            self.close(*id);
        }
        asleep
    }

    /// All connections that are open.
    pub fn live_sessions(&self) -> impl Iterator<Item = SessionId> {
        let numbered = (0u32..).zip(&self.sessions);
        numbered.filter_map(|(slot, (serial, session))| {
            session.as_ref().map(|_| SessionId {
                slot,
                serial: *serial,
            })
        })
    }

    /// The database goes on from a copy that misses the last commits, so many of them. All
    /// connections are gone before. Says how many were lost.
    pub fn fail_over(&mut self, commits: usize) -> usize {
        for id in self.live_sessions().collect::<Vec<_>>() {
            self.close(id);
        }
        let Some(copies) = &mut self.copies else {
            return 0;
        };
        let lost = commits.min(copies.len());
        let kept = copies.len() - lost;
        if let Some(copy) = copies.drain(kept..).next() {
            self.tables = copy;
        }
        lost
    }

    /// The database's clock jumps.
    pub const fn step_clock(&mut self, micros: i64) {
        self.clock.step(micros);
    }

    /// What a connection is doing.
    #[must_use]
    pub fn standing(&self, id: SessionId) -> Standing {
        match self.sessions.get(id.slot as usize) {
            Some((serial, Some(session))) if *serial == id.serial => session
                .transaction
                .as_ref()
                .map_or(Standing::Idle, |tx| tx.standing),
            Some(_) | None => Standing::Gone,
        }
    }

    /// What happened to statements since the last call, oldest first.
    pub fn next_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// Whether a statement that waits can never get its row.
    #[must_use]
    pub fn is_deadlocked(&self, id: SessionId) -> bool {
        self.standing(id) == Standing::Waiting && self.waits_in_a_circle(id)
    }

    /// Executes an operation from its first statement to its last at one instant, on a connection of
    /// its own. A statement that would have to wait for a row fails as if it had waited in vain.
    pub fn execute(&mut self, now: Moment, statement: &Statement) -> Result<Answer, Failure> {
        let Ok(id) = self.open() else {
            return Err(Failure::Unavailable);
        };
        let mut program = Program::new(Arc::new(statement.clone()));
        let mut step = Step::Send(Arc::clone(program.sent()));
        let outcome = loop {
            step = match step {
                Step::Send(statement) => {
                    self.receive(now, id, statement, Pace::Whole);
                    self.cancel(id, SqlError::LockTimeout);
                    let reply = self.take_reply(id);
                    program.replied(reply.unwrap_or(Err(SqlError::Terminated)))
                }
                Step::EndSleepers => program.swept(Some(0)),
                Step::Finish(outcome) => break outcome,
            };
        };
        self.close(id);
        outcome
    }

    /// Takes the reply of a connection's statement out of the news.
    fn take_reply(&mut self, id: SessionId) -> Option<Result<Answer, SqlError>> {
        let mut found = None;
        self.news.retain_mut(|news| {
            if news.session != id {
                return true;
            }
            if let Turn::Ended { reply, .. } = &mut news.what {
                found = Some(std::mem::replace(reply, Err(SqlError::Terminated)));
            }
            false
        });
        found
    }

    /// What was committed since the last call.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// The database's clock.
    #[must_use]
    pub fn time(&self, now: Moment) -> WallTime {
        self.clock.read(now)
    }

    /// The lease row.
    #[must_use]
    pub const fn lease(&self) -> &Lease {
        &self.tables.lease
    }

    /// The fence row.
    #[must_use]
    pub const fn fence(&self) -> &FenceRow {
        &self.tables.fence
    }

    /// One workload.
    #[must_use]
    pub fn workload(&self, id: WorkloadId) -> Option<&Workload> {
        self.tables.workloads.get(&id)
    }

    /// All workloads.
    pub fn workloads(&self) -> impl Iterator<Item = &Workload> {
        self.tables.workloads.values()
    }

    /// The workloads with an open attempt.
    pub fn open_workloads(&self) -> impl Iterator<Item = &Workload> {
        let open = self.tables.open.iter();
        open.filter_map(|id| self.tables.workloads.get(id))
    }

    /// The workloads that wait to run.
    pub fn waiting_workloads(&self) -> impl Iterator<Item = &Workload> {
        let waiting = self.tables.waiting.iter();
        waiting.filter_map(|place| self.tables.workloads.get(&place.workload))
    }

    /// One worker.
    #[must_use]
    pub fn worker(&self, id: &WorkerId) -> Option<&WorkerEntry> {
        self.tables.workers.get(id)
    }

    /// All workers.
    pub fn workers(&self) -> impl Iterator<Item = &WorkerEntry> {
        self.tables.workers.values()
    }

    /// What is wished of workers, by their ids.
    pub fn worker_wishes(&self) -> impl Iterator<Item = (&WorkerId, &WorkerWish)> {
        self.tables.wishes.iter()
    }

    /// The idempotency records: whose, which key, and the workload it names.
    pub fn keys(&self) -> impl Iterator<Item = (CustomerId, u64, WorkloadId)> {
        let keys = self.tables.keys.iter();
        keys.map(|((customer, key), id)| (*customer, *key, *id))
    }

    /// One customer.
    #[must_use]
    pub fn customer(&self, id: CustomerId) -> Option<&CounterRow> {
        self.tables.customers.get(&id)
    }

    /// All customers.
    pub fn customers(&self) -> impl Iterator<Item = &CounterRow> {
        self.tables.customers.values()
    }

    fn session_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        let (serial, session) = self.sessions.get_mut(id.slot as usize)?;
        session.as_mut().filter(|_| *serial == id.serial)
    }

    fn transaction(&self, id: SessionId) -> Option<&Transaction> {
        let (serial, session) = self.sessions.get(id.slot as usize)?;
        let session = session.as_ref().filter(|_| *serial == id.serial)?;
        session.transaction.as_deref()
    }

    fn transaction_mut(&mut self, id: SessionId) -> Option<&mut Transaction> {
        self.session_mut(id)?.transaction.as_deref_mut()
    }

    fn keep_copy(&mut self) {
        if let Some(copies) = &mut self.copies {
            copies.push_back(self.tables.clone());
            if copies.len() > COPIES_MAX {
                copies.pop_front();
            }
        }
    }

    /// A leader never writes a batch that does not match, unless it was shown what is not.
    fn shows_stale_snapshots(&self) -> bool {
        is_planted(Bug::SnapshotInTakeover) || is_planted(Bug::ShortCountIgnored)
    }
}

/// `max_connections`, when nothing else is said.
const CONNECTIONS_MAX: usize = 1_000;

/// No copy is further behind than this many commits.
const COPIES_MAX: usize = 12;
