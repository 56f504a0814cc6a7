//! Wrong variants of the models and of the driver that the simulator mirrors, chosen at run time.
//!
//! They prove that the properties can see: each must be caught by a named one. They live in this
//! crate alone; no production crate knows of them.

/// One thing done wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Batches land whatever the fence says.
    FenceIgnored,
    /// The fence compares the number, not the term.
    FenceIgnoresTerm,
    /// A repeated batch is applied again.
    RepeatApplied,
    /// A batch whose rows do not match lands as far as it goes.
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
    /// The driver carries out effects of ended terms.
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
}
