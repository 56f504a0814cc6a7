//! Connections as the database sees them, and what it says of them.

use super::{
    statement::{Answer, Statement},
    transaction::Transaction,
};
use std::sync::Arc;

/// One connection. Never used again for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId {
    pub(super) slot: u32,
    pub(super) serial: u32,
}

/// How far a statement goes before somebody else has a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// To its end, unless it has to wait for a row.
    Whole,
    /// Until it has locked this many more rows, or read this many more parts.
    After(u32),
    /// Everything but the commit: the server is slow.
    BeforeCommit,
    /// Everything but the commit: the end of the client's message has not come. No time-out of the
    /// server ends this.
    NoSync,
}

/// Why the database did not do it: nothing of the statement remains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SqlError {
    /// 55P03: a row was not had within the lock time-out.
    LockTimeout,
    /// 40P01: it would have waited for itself.
    Deadlock,
    /// 57014: it took too long.
    StatementTimeout,
    /// NY001: a count differs from what the leader expected.
    Short,
    /// NY002: the queue filled up while the submission waited.
    QueueFilled,
    /// 23505: such a key is there.
    Unique,
    /// 22021: a value that no text may hold.
    Data,
    /// 57P01, or the connection broke: the session is gone.
    Terminated,
    /// 53300: no more connections.
    TooManyConnections,
}

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Idle,
    /// Somebody else has a turn; it goes on when it is told to.
    Halted,
    /// It waits for a row.
    Waiting,
    /// It got the row that it waited for, and goes on when it is told to.
    Granted,
    /// All is done but the commit.
    BeforeCommit,
    /// All is done but the commit, for which it waits on its client.
    NoSync,
    /// The connection is gone.
    Gone,
}

/// Something that a connection's statement came to.
#[derive(Debug)]
pub struct News {
    /// Whose.
    pub session: SessionId,
    /// What.
    pub what: Turn,
}

/// How a statement's turn ended.
#[derive(Debug)]
pub enum Turn {
    /// It committed, or was undone.
    Ended {
        /// What it was.
        statement: Arc<Statement>,
        /// What goes back to the client.
        reply: Result<Answer, SqlError>,
    },
    /// It waits for a row.
    Waits,
    /// It has a row that it waited for.
    Granted,
    /// It was told to go no further.
    Halted,
}

/// A connection.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) transaction: Option<Box<Transaction>>,
}
