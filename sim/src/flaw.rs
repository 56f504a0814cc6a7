//! Wrong variants of the models and of the driver that the simulator mirrors, chosen at run time.
//!
//! They prove that the properties can see: each must be caught by a named one. They live in this
//! crate alone; no production crate knows of them.

use std::str::FromStr;

/// One thing done wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Batches land whatever the fence says.
    FenceIgnored,
    /// The fence compares the number, not the term.
    FenceIgnoresTerm,
    /// A repeated batch is applied again.
    RepeatApplied,
    /// A batch whose rows do not match lands as far as it goes (and snapshots are stale, or none
    /// would be written).
    ShortIgnored,
    /// A renewal matches whoever asks.
    RenewalMatchesAnybody,
    /// The lease is taken although it has not ended.
    TakeoverIgnoresExpiry,
    /// A resignation deletes the lease row, so that generations begin anew.
    ResignationDeletesRow,
    /// A snapshot shows the state as it was before the last batch.
    StaleSnapshot,
    /// A wish does not count in `version`.
    WishSkipsVersion,
    /// A resume undoes a cancel.
    ResumeUndoesCancel,
    /// A submission is answered before it is written, and sometimes never is.
    AcknowledgedUnwritten,
    /// A submission whose outcome is unknown is answered 503.
    UnknownIsFailure,
    /// The queue limit is not looked at.
    QuotaIgnored,
    /// The idempotency key is not looked at.
    KeyIgnored,
    /// Reads come from a copy that is behind.
    StaleReads,
    /// A worker obeys whatever generation speaks.
    WorkerIgnoresGeneration,
    /// A worker counts its lease from the answer.
    WorkerLeaseFromAnswer,
    /// A worker goes on when its lease ends.
    WorkerOutlivesLease,
    /// A worker obeys assignments whose heartbeat is older than its lease.
    WorkerTakesStaleAssignments,
    /// A worker runs one more than it has room for, and says nothing when it starts.
    WorkerReportsUnfinished,
    /// The driver has a task that goes on sending when its term is over.
    EffectsOutliveTerm,
    /// The driver answers a lost commit with "applied".
    UnknownIsApplied,
    /// The driver carries assignments out before their commit is answered.
    AssignedBeforeCommit,
    /// The driver never tells that it may have missed words.
    InterruptionsHidden,
    /// The driver says that everything was heard while messages lie unread.
    UnreadIsHeard,
}

impl Flaw {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::FenceIgnored,
        Self::FenceIgnoresTerm,
        Self::RepeatApplied,
        Self::ShortIgnored,
        Self::RenewalMatchesAnybody,
        Self::TakeoverIgnoresExpiry,
        Self::ResignationDeletesRow,
        Self::StaleSnapshot,
        Self::WishSkipsVersion,
        Self::ResumeUndoesCancel,
        Self::AcknowledgedUnwritten,
        Self::UnknownIsFailure,
        Self::QuotaIgnored,
        Self::KeyIgnored,
        Self::StaleReads,
        Self::WorkerIgnoresGeneration,
        Self::WorkerLeaseFromAnswer,
        Self::WorkerOutlivesLease,
        Self::WorkerTakesStaleAssignments,
        Self::WorkerReportsUnfinished,
        Self::EffectsOutliveTerm,
        Self::UnknownIsApplied,
        Self::AssignedBeforeCommit,
        Self::InterruptionsHidden,
        Self::UnreadIsHeard,
    ];
    /// The properties of which one must catch it.
    #[must_use]
    pub const fn caught_by(self) -> &'static [&'static str] {
        match self {
            Self::FenceIgnored | Self::FenceIgnoresTerm | Self::RepeatApplied => &["P1"],
            Self::ShortIgnored => &["P16", "P6"],
            Self::RenewalMatchesAnybody | Self::TakeoverIgnoresExpiry => &["P3"],
            Self::ResignationDeletesRow => &["P2"],
            Self::StaleSnapshot => &["P7", "P12", "P13", "P15", "P16", "progress"],
            Self::WishSkipsVersion => &["P16"],
            Self::ResumeUndoesCancel | Self::AcknowledgedUnwritten | Self::UnknownIsFailure => {
                &["P10"]
            }
            Self::QuotaIgnored => &["P13"],
            Self::KeyIgnored => &["P11"],
            Self::StaleReads => &["P19"],
            Self::WorkerIgnoresGeneration => &["P4"],
            Self::WorkerLeaseFromAnswer | Self::WorkerOutlivesLease => &["P8", "P9"],
            Self::WorkerTakesStaleAssignments => &["P8", "P9"],
            Self::WorkerReportsUnfinished => &["P7"],
            Self::EffectsOutliveTerm => &["P17"],
            Self::UnknownIsApplied => &["P5", "P1", "P12"],
            Self::AssignedBeforeCommit => &["P5"],
            Self::InterruptionsHidden | Self::UnreadIsHeard => &["P15"],
        }
    }
}

impl FromStr for Flaw {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|flaw| format!("{flaw:?}") == name);
        found
            .copied()
            .ok_or_else(|| format!("one of {:?}", Self::ALL))
    }
}
