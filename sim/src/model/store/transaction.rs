//! A statement on its way: which rows it has locked, what it will write, and where it stands.
//!
//! As Postgres does at READ COMMITTED: what a statement reads it sees as it was when the statement
//! began; a row that it writes is judged as it was then, locked, and judged again if somebody
//! changed it meanwhile. What it writes is seen by nobody before it commits. Rejected: versions of
//! every row, to read the past from. A statement notes the past that it will need when it begins,
//! and needs none when it begins and ends at one instant.

use super::{
    Store,
    locks::RowKey,
    session::{News, Pace, SessionId, SqlError, Standing, Turn},
    statement::{Answer, Statement},
    tables::Write,
};
use crate::clock::Moment;
use niyanta_core::time::WallTime;
use std::sync::Arc;

/// A statement that has begun.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) statement: Arc<Statement>,
    pub(super) standing: Standing,
    pub(super) begun: Moment,
    /// Nobody else has a turn before its end: what it reads cannot change under it.
    pub(super) at_once: bool,
    /// How far it is; what the number means is each statement's own.
    pub(super) cursor: usize,
    /// The row at the cursor is locked.
    pub(super) has_row: bool,
    /// The number of the last change of the row that is being waited for, as first seen.
    pub(super) stamp: u64,
    /// `clock_timestamp()` as it was when the row at the cursor was judged.
    pub(super) judged_at: WallTime,
    /// Which rows were as it wants them when it began.
    pub(super) snapshot: Vec<bool>,
    pub(super) noted: u64,
    pub(super) writes: Vec<Write>,
    pub(super) answer: Option<Answer>,
    held: Vec<RowKey>,
    /// So many of `held` stand in the table of locks.
    registered: usize,
    waits_for: Option<RowKey>,
}

/// What a statement needs next.
pub(super) enum Next {
    /// This row, locked.
    Lock(RowKey),
    /// Nothing, but others may have a turn.
    Breath,
    /// It is executed, and may commit.
    Done(Answer),
    /// It is undone.
    Failed(SqlError),
}

impl Transaction {
    pub(super) const fn new(statement: Arc<Statement>, begun: Moment, at_once: bool) -> Self {
        Self {
            statement,
            standing: Standing::Halted,
            begun,
            at_once,
            cursor: 0,
            has_row: false,
            stamp: 0,
            judged_at: WallTime(0),
            snapshot: Vec::new(),
            noted: 0,
            writes: Vec::new(),
            answer: None,
            held: Vec::new(),
            registered: 0,
            waits_for: None,
        }
    }

    /// It has locked or written something.
    pub(super) const fn has_locks(&self) -> bool {
        !self.held.is_empty()
    }
}

impl Store {
    /// Executes a statement as far as it may go.
    pub(super) fn run(&mut self, id: SessionId, now: Moment, pace: Pace) {
        let Some(mut tx) = self.take_transaction(id) else {
            return;
        };
        let time = self.clock.read(now);
        let mut left = match pace {
            Pace::After(rows) => rows,
            Pace::Whole | Pace::BeforeCommit | Pace::NoSync => u32::MAX,
        };
        loop {
            let next = self.step(&mut tx, time);
            match next {
                Next::Lock(key) => {
                    if !self.acquire(id, &mut tx, key) {
                        return self.put_aside(id, tx, Standing::Waiting, Turn::Waits);
                    }
                }
                Next::Breath => {}
                Next::Done(answer) => {
                    tx.answer = Some(answer);
                    let standing = match pace {
                        Pace::Whole | Pace::After(_) => {
                            return self.commit_transaction(id, *tx, now);
                        }
                        Pace::BeforeCommit => Standing::BeforeCommit,
                        Pace::NoSync => Standing::NoSync,
                    };
                    return self.put_aside(id, tx, standing, Turn::Halted);
                }
                Next::Failed(error) => return self.end(id, *tx, Err(error)),
            }
            left = left.saturating_sub(1);
            if left == 0 {
                return self.put_aside(id, tx, Standing::Halted, Turn::Halted);
            }
        }
    }

    /// Goes on with what was put aside.
    pub(super) fn go_on(&mut self, id: SessionId, now: Moment, pace: Pace) {
        match self.standing(id) {
            Standing::Halted | Standing::Granted => self.run(id, now, pace),
            Standing::BeforeCommit | Standing::NoSync => {
                if let Some(tx) = self.take_transaction(id) {
                    self.commit_transaction(id, *tx, now);
                }
            }
            Standing::Idle | Standing::Waiting | Standing::Gone => {}
        }
    }

    /// Undoes a statement.
    pub(super) fn undo(&mut self, id: SessionId, error: SqlError) {
        if let Some(tx) = self.take_transaction(id) {
            self.end(id, *tx, Err(error));
        }
    }

    fn take_transaction(&mut self, id: SessionId) -> Option<Box<Transaction>> {
        self.session_mut(id)?.transaction.take()
    }

    fn put_aside(
        &mut self,
        id: SessionId,
        mut tx: Box<Transaction>,
        standing: Standing,
        what: Turn,
    ) {
        tx.at_once = false;
        tx.standing = standing;
        for key in &tx.held[tx.registered..] {
            self.locks.hold(key.clone(), id);
        }
        tx.registered = tx.held.len();
        if let Some(session) = self.session_mut(id) {
            session.transaction = Some(tx);
        }
        self.news.push_back(News { session: id, what });
    }

    /// True when the row is had.
    fn acquire(&mut self, id: SessionId, tx: &mut Transaction, key: RowKey) -> bool {
        tx.has_row = true;
        let held_by = if self.locks.is_empty() {
            None
        } else {
            self.locks.holder(&key)
        };
        match held_by {
            None => {
                if !tx.held.contains(&key) {
                    tx.held.push(key);
                }
                true
            }
            Some(holder) if holder == id => true,
            Some(_) => {
                self.locks.wait(&key, id);
                tx.waits_for = Some(key);
                false
            }
        }
    }

    /// Whether waiting can never end: a circle of statements, each waiting for the next.
    pub(super) fn waits_in_a_circle(&self, id: SessionId) -> bool {
        let mut at = id;
        for _ in 0..self.sessions.len() {
            let waits_for = self
                .transaction(at)
                .filter(|tx| tx.standing == Standing::Waiting)
                .and_then(|tx| tx.waits_for.as_ref());
            let Some(holder) = waits_for.and_then(|key| self.locks.holder(key)) else {
                return false;
            };
            if holder == id {
                return true;
            }
            at = holder;
        }
        false
    }

    /// A renewal waits for a row that a batch holds: a busy database would cost the leader its lease.
    #[must_use]
    pub fn renewal_waits_for_batch(&self, id: SessionId) -> bool {
        let holder = self.transaction(id).and_then(|tx| {
            let renews = matches!(*tx.statement, Statement::RenewLease(_));
            let waits_for = tx.waits_for.as_ref().filter(|_| renews)?;
            self.transaction(self.locks.holder(waits_for)?)
        });
        holder.is_some_and(|tx| matches!(*tx.statement, Statement::Persist(_)))
    }

    fn commit_transaction(&mut self, id: SessionId, mut tx: Transaction, now: Moment) {
        let writes = std::mem::take(&mut tx.writes);
        if !writes.is_empty() {
            let time = self.clock.read(now);
            self.keep_copy();
            let changes = &mut self.changes;
            self.tables.apply(&tx.statement, writes, time, changes);
        }
        let reply = tx.answer.take().ok_or(SqlError::Terminated);
        self.end(id, tx, reply);
    }

    fn end(&mut self, id: SessionId, tx: Transaction, reply: Result<Answer, SqlError>) {
        if tx.standing == Standing::Waiting {
            self.locks.leave(id);
        }
        if tx.registered > 0 || tx.standing == Standing::Granted {
            let mut granted = Vec::new();
            self.locks.release(id, |next| granted.push(next));
            for next in granted {
                self.grant(next);
            }
        }
        let statement = tx.statement;
        self.news.push_back(News {
            session: id,
            what: Turn::Ended { statement, reply },
        });
    }

    fn grant(&mut self, id: SessionId) {
        let Some(tx) = self.transaction_mut(id) else {
            return;
        };
        tx.standing = Standing::Granted;
        if let Some(key) = tx.waits_for.take() {
            tx.held.push(key);
            tx.registered = tx.held.len();
        }
        self.news.push_back(News {
            session: id,
            what: Turn::Granted,
        });
    }

    fn step(&mut self, tx: &mut Transaction, time: WallTime) -> Next {
        let statement = Arc::clone(&tx.statement);
        match &*statement {
            Statement::TakeLease(take) => self.take_lease(tx, take, time),
            Statement::RenewLease(renew) => self.renew_lease(tx, renew, time),
            Statement::ResignLease {
                incarnation,
                generation,
            } => self.resign_lease(tx, incarnation, *generation),
            Statement::Persist(batch) => self.commit_batch(tx, batch, time),
            Statement::Content(content) => self.write_content(tx, content),
            Statement::Submit(submission) => self.submit(tx, submission, time),
            Statement::Wish(wish) => self.wish(tx, wish, time),
            Statement::WishWorker(wish) => self.wish_worker(tx, wish, time),
            Statement::PendingReasons(reasons) => self.record_reasons(tx, reasons),
            Statement::Heartbeats(heard) => self.record_heartbeats(tx, heard),
            Statement::Hold(rows) => hold(tx, rows),
            Statement::Load { load, what, limit } => self.load(tx, *load, what, *limit, time),
            Statement::ReadLease { ask } => Next::Done(self.read_lease(time, *ask)),
            Statement::Snapshot { generation, limit } => {
                Next::Done(self.snapshot(time, *generation, *limit))
            }
            Statement::ReadFence { generation } => Next::Done(Answer::Fence {
                generation: *generation,
                row: self.tables.fence.clone(),
            }),
            Statement::WhyNot(submission) => Next::Done(self.why_not(submission)),
            Statement::Look { customer, workload } => Next::Done(self.look(*customer, *workload)),
            Statement::Get { customer, workload } => Next::Done(self.get(*customer, *workload)),
            Statement::List { customer } => Next::Done(self.list(*customer)),
            Statement::Assignment(ask) => Next::Done(self.assignment(ask)),
            Statement::Logs => Next::Done(Answer::Done),
            Statement::ChangeLimits { .. } => {
                tx.writes.push(Write::Limits);
                Next::Done(Answer::LimitsChanged)
            }
        }
    }
}

/// `select … for update` in a transaction that its client leaves open: what a test parks with.
fn hold(tx: &mut Transaction, rows: &[RowKey]) -> Next {
    let at = tx.cursor;
    tx.cursor += 1;
    rows.get(at)
        .map_or(Next::Done(Answer::Done), |row| Next::Lock(row.clone()))
}
