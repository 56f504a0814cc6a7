//! Operations of a coordinator as the statements that the Postgres adapter makes of them.
//!
//! Owns what the adapter does between two statements: a takeover that took nothing reads the row; a
//! submission or a wish that wrote nothing looks why; who does not get a lock in time ends the
//! connections that hold locks while their client sleeps, and sends the same once more. Decides
//! nothing else. What an error means follows from whether the statement writes.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "only a few kinds of statement come to what is special here"
)]

use super::{
    session::SqlError,
    statement::{Answer, ContentWrite, Look, Statement, SubmitAnswer, Wish, WishAnswer},
};
use niyanta_core::{
    Content, PersistOutcome,
    workload::{Desired, Status},
};
use std::sync::Arc;

/// Which connections a statement uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Everybody's.
    Api,
    /// The leader's commits.
    Commit,
    /// The lease's.
    Lease,
}

impl Lane {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Api, Self::Commit, Self::Lease];
}

/// Why an operation has no answer, by what its caller may conclude.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Certainly not done.
    Unavailable,
    /// Certainly not done: a row was not had in time.
    LockTimeout,
    /// It was done, was not, or will be.
    Unknown,
    /// Certainly not done: a value is refused.
    Refused,
}

/// What the adapter does next.
#[derive(Debug)]
pub enum Step {
    /// Sends this.
    Send(Arc<Statement>),
    /// Looks for sleepers, on a connection of everybody's lane.
    EndSleepers,
    /// Has come to its end.
    Finish(Result<Answer, Failure>),
}

/// An operation on its way.
#[derive(Debug, Clone)]
pub struct Program {
    asked: Arc<Statement>,
    sent: Arc<Statement>,
    tries: u32,
    has_swept: bool,
    is_noted: bool,
}

impl Program {
    /// An operation that has sent its first statement.
    #[must_use]
    pub fn new(asked: Arc<Statement>) -> Self {
        Self {
            sent: Arc::clone(&asked),
            asked,
            tries: 1,
            has_swept: false,
            is_noted: false,
        }
    }

    /// What was asked for.
    #[must_use]
    pub const fn asked(&self) -> &Arc<Statement> {
        &self.asked
    }

    /// The statement that is under way.
    #[must_use]
    pub const fn sent(&self) -> &Arc<Statement> {
        &self.sent
    }

    /// The statement that was sent came back.
    pub fn replied(&mut self, reply: Result<Answer, SqlError>) -> Step {
        match reply {
            Ok(answer) => self.answered(answer),
            Err(SqlError::Short) => self.short(),
            Err(SqlError::QueueFilled | SqlError::Unique) if self.is_submission() => self.look(),
            Err(SqlError::LockTimeout | SqlError::Deadlock) => {
                if self.sent.waits_past_sleepers() && !self.has_swept {
                    self.has_swept = true;
                    Step::EndSleepers
                } else {
                    Step::Finish(Err(Failure::LockTimeout))
                }
            }
            Err(SqlError::Data) => self.refused(),
            Err(SqlError::Unique) => Step::Finish(Err(Failure::Refused)),
            Err(SqlError::Terminated) => self.lost(),
            Err(
                SqlError::StatementTimeout | SqlError::TooManyConnections | SqlError::QueueFilled,
            ) => Step::Finish(Err(Failure::Unavailable)),
        }
    }

    /// So many sleepers were ended; nothing when nobody could look.
    pub fn swept(&mut self, ended: Option<usize>) -> Step {
        match ended {
            Some(ended) if ended > 0 => Step::Send(Arc::clone(&self.sent)),
            Some(_) | None => Step::Finish(Err(Failure::LockTimeout)),
        }
    }

    /// The connection broke, or its answer was awaited too long.
    #[must_use]
    pub fn lost(&self) -> Step {
        Step::Finish(Err(if self.sent.writes() {
            Failure::Unknown
        } else {
            Failure::Unavailable
        }))
    }

    fn is_submission(&self) -> bool {
        matches!(&*self.sent, Statement::Submit(_))
    }

    fn short(&self) -> Step {
        match &*self.sent {
            Statement::Persist(batch) => Step::Finish(Ok(Answer::Persist {
                generation: batch.generation,
                number: batch.number,
                outcome: PersistOutcome::Short,
            })),
            _ => Step::Finish(Err(Failure::Unavailable)),
        }
    }

    /// A note takes the place of a last report's content that is refused.
    fn refused(&mut self) -> Step {
        match &*self.sent {
            Statement::Content(content) if content.checkpoint.is_none() => {
                let note = ContentWrite {
                    is_bad: false,
                    ..content.clone()
                };
                self.is_noted = true;
                self.send(Statement::Content(note))
            }
            Statement::Content(_) => Step::Finish(Ok(Answer::Content(Content::Refused))),
            _ => Step::Finish(Err(Failure::Refused)),
        }
    }

    fn answered(&mut self, answer: Answer) -> Step {
        match (&*self.asked, answer) {
            (Statement::Content(_), Answer::Content(_)) if self.is_noted => {
                Step::Finish(Ok(Answer::Content(Content::Refused)))
            }
            (Statement::TakeLease(take), Answer::NotTaken { .. }) => {
                self.send(Statement::ReadLease { ask: take.ask })
            }
            (Statement::Submit(_), Answer::Created(Some(id))) => {
                Step::Finish(Ok(Answer::Submitted(SubmitAnswer::There(id))))
            }
            (Statement::Submit(_), Answer::Created(None)) => self.look(),
            (
                Statement::Submit(submission),
                Answer::WhyNot {
                    own,
                    first,
                    has_room,
                },
            ) => {
                let there = own.then_some(submission.row.id).or(first);
                if let Some(there) = there {
                    return Step::Finish(Ok(Answer::Submitted(SubmitAnswer::There(there))));
                }
                if !has_room || self.tries >= SUBMISSION_TRIES {
                    return Step::Finish(Ok(Answer::Submitted(SubmitAnswer::QueueFull)));
                }
                self.again()
            }
            (Statement::Wish(_), Answer::WishWritten(Some((revision, version)))) => {
                Step::Finish(Ok(Answer::Wished(WishAnswer::Recorded {
                    revision,
                    version,
                    is_true: false,
                })))
            }
            (Statement::Wish(wish), Answer::WishWritten(None)) => {
                let (customer, workload) = (wish.customer, wish.workload);
                self.send(Statement::Look { customer, workload })
            }
            (Statement::Wish(wish), Answer::Looked(row)) => match refusal(wish, row) {
                Some(answer) => Step::Finish(Ok(Answer::Wished(answer))),
                None if self.tries >= WISH_TRIES => Step::Finish(Err(Failure::Unavailable)),
                None => self.again(),
            },
            (_, answer) => Step::Finish(Ok(answer)),
        }
    }

    fn look(&mut self) -> Step {
        match &*self.asked {
            Statement::Submit(submission) => {
                let submission = Arc::clone(submission);
                self.send(Statement::WhyNot(submission))
            }
            _ => Step::Finish(Err(Failure::Unavailable)),
        }
    }

    fn send(&mut self, statement: Statement) -> Step {
        self.sent = Arc::new(statement);
        Step::Send(Arc::clone(&self.sent))
    }

    fn again(&mut self) -> Step {
        self.tries += 1;
        self.has_swept = false;
        self.sent = Arc::clone(&self.asked);
        Step::Send(Arc::clone(&self.sent))
    }
}

impl Statement {
    /// Which connections it uses.
    #[must_use]
    pub const fn lane(&self) -> Lane {
        match self {
            Self::TakeLease(_)
            | Self::ReadLease { .. }
            | Self::RenewLease(_)
            | Self::ResignLease { .. } => Lane::Lease,
            Self::Persist(_) | Self::ReadFence { .. } => Lane::Commit,
            Self::Snapshot { .. }
            | Self::Load { .. }
            | Self::PendingReasons(_)
            | Self::Heartbeats(_)
            | Self::Content(_)
            | Self::Logs
            | Self::Assignment(_)
            | Self::List { .. }
            | Self::ChangeLimits { .. }
            | Self::Submit(_)
            | Self::Wish(_)
            | Self::WishWorker(_)
            | Self::Get { .. }
            | Self::WhyNot(_)
            | Self::Look { .. }
            | Self::Hold(_) => Lane::Api,
        }
    }

    /// Without an answer nobody knows whether it was done.
    #[must_use]
    pub const fn writes(&self) -> bool {
        !matches!(
            self,
            Self::ReadLease { .. }
                | Self::ReadFence { .. }
                | Self::Snapshot { .. }
                | Self::Load { .. }
                | Self::Get { .. }
                | Self::List { .. }
                | Self::Assignment(_)
                | Self::WhyNot(_)
                | Self::Look { .. }
        )
    }

    /// Whoever does not get a lock for it looks for sleepers.
    #[must_use]
    pub const fn waits_past_sleepers(&self) -> bool {
        matches!(
            self,
            Self::TakeLease(_)
                | Self::RenewLease(_)
                | Self::Persist(_)
                | Self::Submit(_)
                | Self::Wish(_)
                | Self::WishWorker(_)
        )
    }
}

/// Why a wish was not written, judged by the row as it is; nothing when it could be.
fn refusal(wish: &Wish, row: Option<Look>) -> Option<WishAnswer> {
    let Some(row) = row else {
        return Some(WishAnswer::NotFound);
    };
    let recorded = |is_true| WishAnswer::Recorded {
        revision: row.revision,
        version: row.version,
        is_true,
    };
    if row.status.is_terminal() {
        let same = row.status == Status::Cancelled && wish.desired == Desired::Cancel;
        return Some(if same {
            recorded(true)
        } else {
            WishAnswer::Conflict
        });
    }
    if row.desired == wish.desired {
        return Some(recorded(match wish.desired {
            Desired::Cancel => false,
            Desired::Pause => row.status == Status::Paused,
            Desired::Run => row.status != Status::Paused && !row.is_stopping,
        }));
    }
    if row.desired == Desired::Cancel {
        return Some(WishAnswer::Conflict);
    }
    (row.revision != wish.upon).then_some(WishAnswer::Overtaken)
}

/// A submission that finds neither room nor a reason is judged again this often.
const SUBMISSION_TRIES: u32 = 3;

/// A wish that could be written, but was not because the row moved, is tried again this often.
const WISH_TRIES: u32 = 8;
