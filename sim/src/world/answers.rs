//! What core hears of an answer, and of none.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most events do not carry the database's clock"
)]

use super::{World, operations::Purpose};
use crate::model::store::{Answer, Failure, Statement};
use niyanta_core::{Event, PersistOutcome, ids::AskId, snapshot::LeaseRow, time::WallTime};
use sim_probes::{Bug, is_planted};

/// What core hears of an answer.
pub(super) fn answered(answer: Answer, statement: &Statement) -> Option<Event> {
    Some(match answer {
        Answer::Taken {
            ask,
            generation,
            time,
        } => Event::LeaseTaken {
            ask,
            generation,
            database_time: time,
        },
        Answer::LeaseRow { ask, row, time } => lease_row(ask, row, time, statement),
        Answer::Renewed {
            ask,
            generation,
            matched: true,
            time,
        } => Event::LeaseRenewed {
            ask,
            generation,
            database_time: time,
        },
        Answer::Renewed {
            ask, generation, ..
        } => Event::LeaseLost { ask, generation },
        Answer::Resigned { generation } => Event::LeaseResigned { generation },
        Answer::Snapshot {
            generation,
            snapshot,
            time,
        } => Event::SnapshotLoaded {
            generation,
            snapshot,
            database_time: time,
        },
        Answer::Persist {
            generation,
            number,
            outcome,
        } => Event::PersistAnswered {
            generation,
            number,
            outcome,
        },
        Answer::Fence { generation, row } => Event::FenceRead {
            generation,
            row: Some(row),
        },
        Answer::Loaded { load, rows, time } => Event::Loaded {
            load,
            rows: Some(rows),
            database_time: time,
        },
        Answer::NotTaken { .. }
        | Answer::Done
        | Answer::Content(_)
        | Answer::Created(_)
        | Answer::WhyNot { .. }
        | Answer::Assignment(_)
        | Answer::Listed(_)
        | Answer::LimitsChanged
        | Answer::Submitted(_)
        | Answer::WishWritten(_)
        | Answer::Looked(_)
        | Answer::Wished(_)
        | Answer::WorkerWished(_)
        | Answer::Got(_) => return None,
    })
}

/// The lease row: refused when it was asked for, read when it was only looked at.
const fn lease_row(
    ask: AskId,
    row: LeaseRow,
    database_time: WallTime,
    statement: &Statement,
) -> Event {
    if matches!(statement, Statement::TakeLease(_)) {
        Event::LeaseRefused {
            ask,
            row,
            database_time,
        }
    } else {
        Event::LeaseRead {
            ask,
            row,
            database_time,
        }
    }
}

/// What core hears when no answer comes.
pub(super) fn unanswered(
    statement: &Statement,
    failure: Failure,
    database_time: WallTime,
) -> Option<Event> {
    Some(match statement {
        Statement::TakeLease(take) => Event::LeaseUnknown { ask: take.ask },
        Statement::ReadLease { ask } => Event::LeaseUnanswered { ask: *ask },
        Statement::RenewLease(renew) => Event::LeaseUnanswered { ask: renew.ask },
        Statement::ResignLease { generation, .. } => Event::LeaseResigned {
            generation: *generation,
        },
        Statement::Snapshot { generation, .. } => Event::SnapshotFailed {
            generation: *generation,
        },
        Statement::Persist(batch) => Event::PersistAnswered {
            generation: batch.generation,
            number: batch.number,
            outcome: match failure {
                Failure::Unknown => PersistOutcome::Unknown,
                Failure::Refused => PersistOutcome::Refused,
                // Certainly not applied: the same bytes are sent again after a moment.
                Failure::LockTimeout | Failure::Unavailable => PersistOutcome::LockTimeout,
            },
        },
        Statement::ReadFence { generation } => Event::FenceRead {
            generation: *generation,
            row: None,
        },
        Statement::Load { load, .. } => Event::Loaded {
            load: *load,
            rows: None,
            database_time,
        },
        Statement::PendingReasons(_)
        | Statement::Heartbeats(_)
        | Statement::Content(_)
        | Statement::Logs
        | Statement::Assignment(_)
        | Statement::List { .. }
        | Statement::ChangeLimits { .. }
        | Statement::Submit(_)
        | Statement::Wish(_)
        | Statement::WishWorker(_)
        | Statement::Get { .. }
        | Statement::WhyNot(_)
        | Statement::Look { .. }
        | Statement::Hold(_) => return None,
    })
}

/// The reading of the database's clock that an event carries.
pub(super) fn database_time(event: &Event) -> Option<WallTime> {
    match event {
        Event::LeaseTaken { database_time, .. }
        | Event::LeaseRefused { database_time, .. }
        | Event::LeaseRead { database_time, .. }
        | Event::LeaseRenewed { database_time, .. }
        | Event::SnapshotLoaded { database_time, .. }
        | Event::Loaded { database_time, .. } => Some(*database_time),
        _ => None,
    }
}

impl World {
    /// An operation has come to its end, for whoever waited for it.
    pub(super) fn read_answer(
        &mut self,
        place: usize,
        purpose: &Purpose,
        statement: &Statement,
        outcome: Result<Answer, Failure>,
    ) {
        match purpose {
            Purpose::Nothing => {}
            Purpose::Call(call) => self.continue_call(place, *call, outcome),
            Purpose::Report { said, ticket } => {
                self.finish_report(place, said, *ticket, outcome);
            }
            Purpose::Lines { said } => self.answer_lines(place, said, outcome.ok()),
            Purpose::Assignment(effect) => {
                // Without an answer the assignment is sent again from state.
                if let Ok(Answer::Assignment(Some(row))) = outcome
                    && effect.term() == self.term_of(place)
                {
                    self.send_assignment(place, effect, &row);
                }
            }
            Purpose::Core => {
                let process = self.nodes[place].process.as_ref();
                let known = process.map(|process| process.database_time);
                let event = match outcome {
                    Ok(answer) => answered(answer, statement),
                    Err(failure) => unanswered(statement, failure, known.unwrap_or_default()),
                };
                if let Some(event) = event {
                    self.hand_answer(place, event);
                }
            }
        }
        self.schedule_wake(place);
    }

    fn hand_answer(&mut self, place: usize, mut event: Event) {
        if let Event::PersistAnswered { outcome, .. } = &mut event
            && *outcome == PersistOutcome::Unknown
            && is_planted(Bug::UnknownIsApplied)
        {
            *outcome = PersistOutcome::Applied;
        }
        if let Some(process) = &mut self.nodes[place].process
            && let Some(time) = database_time(&event)
        {
            process.database_time = time;
        }
        if let Event::LeaseResigned { generation } = &event {
            self.note_resigned(place, *generation);
        }
        self.hand(place, &event);
    }
}
