//! What a workload can become, as data. Every change of status in core goes through [`target`].
//!
//! Owns which moves exist and where they lead (P6). Does not own when a move is made: that an
//! attempt is over before a terminal status, PAUSED or PENDING (P9) is the coordinator's to prove.
//!
//! ```text
//!                assign  start  complete fail   retry   redistribute requeue pause  resume  cancel
//! PENDING        SCHED   -      -        -      -       -            -       PAUSED -       CANCELLED
//! SCHEDULED      -       RUNN   -        FAILED PENDING REDIST       -       PAUSED -       CANCELLED
//! RUNNING        -       -      COMPL    FAILED PENDING REDIST       -       PAUSED -       CANCELLED
//! REDISTRIBUTING -       -      COMPL    FAILED PENDING -            PENDING PAUSED -       CANCELLED
//! PAUSED         -       -      -        -      -       -            -       -      PENDING CANCELLED
//! terminal       -       -      -        -      -       -            -       -      -       -
//! ```
//!
//! A report that ends an attempt straight from SCHEDULED first implies its start where the contract
//! says so (`completed`); a failure to start at all is a failure of a SCHEDULED one.

use super::{AuditKind, Status};

/// Why a workload's status changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Move {
    /// A new attempt is given to a worker.
    Assign,
    /// Its worker confirmed it.
    Start,
    /// Its worker finished it.
    Complete,
    /// It failed for good, or its workers were lost too often.
    Fail,
    /// It failed, and may be tried again.
    Retry,
    /// Its attempt is being moved, or was lost.
    Redistribute,
    /// Its moved or lost attempt is over.
    Requeue,
    /// It waits, or its attempt is over, and it is wished to pause.
    Pause,
    /// It is paused, and wished to run.
    Resume,
    /// It has no attempt that is not over, and is wished to end.
    Cancel,
}

impl Move {
    /// The audit event that records it.
    pub(crate) const fn audit_kind(self) -> AuditKind {
        match self {
            Self::Assign => AuditKind::Scheduled,
            Self::Start => AuditKind::Started,
            Self::Complete => AuditKind::Completed,
            Self::Fail => AuditKind::Failed,
            Self::Retry => AuditKind::Retrying,
            Self::Redistribute => AuditKind::Redistributing,
            Self::Requeue | Self::Resume => AuditKind::Requeued,
            Self::Pause => AuditKind::Paused,
            Self::Cancel => AuditKind::Cancelled,
        }
    }
}

/// Where `step` leads from `from`; nothing when there is no such move.
pub(crate) fn target(from: Status, step: Move) -> Option<Status> {
    TABLE
        .iter()
        .find(|(status, cause, _)| *status == from && *cause == step)
        .map(|(_, _, to)| *to)
}

const TABLE: &[(Status, Move, Status)] = &[
    (Status::Pending, Move::Assign, Status::Scheduled),
    (Status::Pending, Move::Pause, Status::Paused),
    (Status::Pending, Move::Cancel, Status::Cancelled),
    (Status::Scheduled, Move::Start, Status::Running),
    (Status::Scheduled, Move::Fail, Status::Failed),
    (Status::Scheduled, Move::Retry, Status::Pending),
    (
        Status::Scheduled,
        Move::Redistribute,
        Status::Redistributing,
    ),
    (Status::Scheduled, Move::Pause, Status::Paused),
    (Status::Scheduled, Move::Cancel, Status::Cancelled),
    (Status::Running, Move::Complete, Status::Completed),
    (Status::Running, Move::Fail, Status::Failed),
    (Status::Running, Move::Retry, Status::Pending),
    (Status::Running, Move::Redistribute, Status::Redistributing),
    (Status::Running, Move::Pause, Status::Paused),
    (Status::Running, Move::Cancel, Status::Cancelled),
    (Status::Redistributing, Move::Complete, Status::Completed),
    (Status::Redistributing, Move::Fail, Status::Failed),
    (Status::Redistributing, Move::Retry, Status::Pending),
    (Status::Redistributing, Move::Requeue, Status::Pending),
    (Status::Redistributing, Move::Pause, Status::Paused),
    (Status::Redistributing, Move::Cancel, Status::Cancelled),
    (Status::Paused, Move::Resume, Status::Pending),
    (Status::Paused, Move::Cancel, Status::Cancelled),
];

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const MOVES: [(&str, Move); 10] = [
        ("assign", Move::Assign),
        ("start", Move::Start),
        ("complete", Move::Complete),
        ("fail", Move::Fail),
        ("retry", Move::Retry),
        ("redistribute", Move::Redistribute),
        ("requeue", Move::Requeue),
        ("pause", Move::Pause),
        ("resume", Move::Resume),
        ("cancel", Move::Cancel),
    ];

    /// The picture in this file's header, read as data.
    fn picture() -> Vec<Vec<&'static str>> {
        let source = include_str!("transition.rs");
        let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
        let rows = lines
            .skip_while(|line| !line.contains("```text"))
            .skip(1)
            .take_while(|line| !line.contains("```"));
        rows.map(|row| row.split_whitespace().collect()).collect()
    }

    #[test]
    fn every_status_and_move_leads_where_the_documented_table_says() {
        let rows = picture();
        let heads: Vec<&str> = MOVES.iter().map(|(name, _)| *name).collect();
        assert_eq!(rows[0], heads);
        let mut legal = 0;
        for status in Status::ALL {
            let name = if status.is_terminal() {
                "terminal"
            } else {
                status.as_str()
            };
            let row = rows.iter().find(|row| row[0] == name);
            let cells = &row.map(|row| row[1..].to_vec()).unwrap_or_default();
            assert_eq!(cells.len(), MOVES.len(), "{name}");
            for ((_, step), cell) in MOVES.iter().zip(cells) {
                match target(*status, *step) {
                    Some(to) => {
                        legal += 1;
                        assert!(to.as_str().starts_with(cell), "{status} {step:?}: {to}");
                    }
                    None => assert_eq!(*cell, "-", "{status} {step:?}"),
                }
            }
        }
        assert_eq!(legal, TABLE.len(), "a pair is in the table twice");
    }
}
