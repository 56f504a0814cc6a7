//! What core hears of an answer, and of none.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most events do not carry the database's clock"
)]

use crate::model::store::{Answer, Statement};
use niyanta_core::{Event, PersistOutcome, ids::AskId, snapshot::LeaseRow, time::WallTime};

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
        // A lock time-out of a statement on the lease: not applied, which core hears as no answer.
        Answer::Done => return unanswered(statement, WallTime(0)),
        Answer::Content(_)
        | Answer::Submitted(_)
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
pub(super) fn unanswered(statement: &Statement, database_time: WallTime) -> Option<Event> {
    Some(match statement {
        Statement::TakeLease(take) => Event::LeaseUnknown { ask: take.ask },
        Statement::ReadLease { ask } | Statement::RenewLease { ask, .. } => {
            Event::LeaseUnanswered { ask: *ask }
        }
        Statement::ResignLease { generation, .. } => Event::LeaseResigned {
            generation: *generation,
        },
        Statement::Snapshot { generation, .. } => Event::SnapshotFailed {
            generation: *generation,
        },
        Statement::Persist(batch) => Event::PersistAnswered {
            generation: batch.generation,
            number: batch.number,
            outcome: PersistOutcome::Unknown,
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
        | Statement::Heartbeats
        | Statement::Content(_)
        | Statement::Submit(_)
        | Statement::Wish { .. }
        | Statement::WishWorker { .. }
        | Statement::Get { .. } => return None,
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
