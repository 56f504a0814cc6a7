//! The table of bugs.
//!
//! Numbers up to 64 are those of the published list of bugs that real coordinators shipped; from 101
//! on stand others of the same classes. A number is never given to another bug.

use super::{Home, Layer};

macro_rules! bugs {
    ($($(#[$doc:meta])+ $name:ident = $number:literal, $home:ident, [$($layer:ident),+], [$($property:literal),+];)+) => {
        /// One thing done wrong on purpose.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Bug {
            $($(#[$doc])+ $name = $number,)+
        }

        impl Bug {
            /// All of them, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Its number.
            #[must_use]
            pub const fn number(self) -> u16 {
                match self { $(Self::$name => $number,)+ }
            }

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// Where it is planted.
            #[must_use]
            pub const fn home(self) -> Home {
                match self { $(Self::$name => Home::$home,)+ }
            }

            /// What must catch it.
            #[must_use]
            pub const fn layers(self) -> &'static [Layer] {
                match self { $(Self::$name => &[$(Layer::$layer),+],)+ }
            }

            /// The properties of which one must say so.
            #[must_use]
            pub const fn properties(self) -> &'static [&'static str] {
                match self { $(Self::$name => &[$($property),+],)+ }
            }
        }
    };
}

bugs! {
    /// The lease is counted from the answer to a renewal, not from its sending.
    LeaseFromAnswer = 1, Core, [Events, Exhaustive], ["P3", "P4"];
    /// Moments are read from the wall clock, which may step.
    LeaseInWallClock = 2, Driver, [Events], ["P3"];
    /// Moments are read from a clock that stands still in suspend.
    LeaseStandsStill = 3, Driver, [Events], ["P3", "P4"];
    /// A renewal matches whoever asks.
    RenewalMatchesAnybody = 4, Model, [Events, Real], ["P3"];
    /// A resignation deletes the lease row, so that generations begin anew.
    ResignationDeletesRow = 5, Model, [Events, Real], ["P2"];
    /// The fence compares the generation alone, after a failover lost its last bump.
    FenceIgnoresIncarnation = 6, Model, [Events, Real], ["P1", "P2"];
    /// The fence is read without a lock that conflicts.
    FenceReadUnlocked = 7, Model, [Events, Real], ["P1"];
    /// Commits and renewals queue for one row.
    FenceAndLeaseShareRow = 8, Model, [Events, Real], ["progress"];
    /// Work that only a leader may do goes on when the lease has ended.
    WorkOutlivesLease = 9, Core, [Events, Exhaustive], ["P3", "P4", "P17"];
    /// Leadership is assumed before the acquisition is certain.
    LeaderBeforeCertain = 10, Core, [Events], ["P3"];
    /// A renewal is waited for without an end.
    RenewalWithoutTimeout = 11, Nowhere, [Events, Tasks], ["P3", "progress"];
    /// A process that leads again keeps what its last term had in mind.
    OldTermKept = 12, Nowhere, [Events, Exhaustive], ["P1", "P7", "P17"];
    /// The candidate judges the lease by its own wall clock.
    TakeoverByOwnClock = 13, Driver, [Events], ["P3"];
    /// The fence is checked before the wait for its row, not after.
    LeaseCheckedBeforeLock = 14, Model, [Events, Real], ["P1"];
    /// Assignments are told before their commit.
    AssignedBeforeCommit = 15, Core, [Events, Exhaustive], ["P5"];
    /// A batch that is sent again is applied again.
    CommitRepeatedBlindly = 16, Model, [Events, Real], ["P1", "P7", "P12", "P13"];
    /// A submission whose outcome is unknown is answered as failed.
    UnknownIsFailure = 17, Http, [Events, Wire, Real], ["P10"];
    /// An assignment is held to be delivered because it was published.
    HandOverBelieved = 18, Core, [Events, Real], ["progress"];
    /// A statement runs in a future that is dropped with its caller.
    StatementDropped = 19, Http, [Tasks, Real], ["P1", "P10"];
    /// New rows are read by a cursor that has passed those that commit late.
    CursorSkipsLateCommits = 20, Model, [Events, Real], ["progress"];
    /// A report counts whatever attempt it names.
    OldAttemptAccepted = 21, Core, [Events, Exhaustive], ["P7"];
    /// A late heartbeat makes a dead worker live again.
    LateHeartbeatRevives = 22, Core, [Events, Exhaustive], ["P7", "P8", "P9"];
    /// A worker that drains is given work.
    DrainedWorkerGetsWork = 23, Core, [Events, Exhaustive], ["P14"];
    /// A new leader counts the silence from before it led.
    NewLeaderCallsSilentDead = 24, Core, [Events, Exhaustive], ["P15"];
    /// A cancel that meets an assignment leaves its slot taken.
    CancelLeaksCapacity = 25, Core, [Events, Exhaustive], ["P12"];
    /// A pause that is answered after a cancel wins.
    PauseBeatsCancel = 26, Core, [Events, Exhaustive], ["P6", "P10", "progress"];
    /// A report that got lost is never sent again.
    LostReportNotRepeated = 27, Worker, [Events, Wire, Real], ["progress"];
    /// Words that we dropped ourselves count as silence.
    OverflowReadAsSilence = 28, Driver, [Events, Real], ["P15"];
    /// A completion that comes twice counts twice.
    DoubledCompletionCounts = 29, Core, [Events, Exhaustive], ["P12", "P13"];
    /// A worker obeys whatever generation speaks.
    WorkerIgnoresGeneration = 30, Worker, [Events], ["P4", "P8"];
    /// A task of an ended term goes on sending.
    TimerOutlivesTerm = 31, Driver, [Events, Exhaustive], ["P17"];
    /// Retries that wait are forgotten with the term.
    RetriesInMemoryOnly = 32, Core, [Events], ["progress"];
    /// Work is given away at the end of its lease, without a margin for drift.
    NoDriftMargin = 33, Core, [Events], ["P8", "P9"];
    /// A worker counts its lease from the answer.
    WorkerLeaseFromAnswer = 34, Worker, [Events], ["P8", "P9"];
    /// A workload is CANCELLED when its stop is sent.
    CancelledWhenSent = 35, Core, [Events, Exhaustive], ["P9"];
    /// A submission that fails late keeps its place in the queue.
    QuotaLeaksOnLateFailure = 36, Model, [Events, Real], ["P13", "progress"];
    /// The queue limit is checked in one statement and used in another.
    QuotaCheckedThenInserted = 37, Model, [Events, Real], ["P13"];
    /// The idempotency key is looked for in one statement and written in another.
    KeyCheckedThenInserted = 38, Model, [Events, Real], ["P11"];
    /// The idempotency record is written beside the workload, not with it.
    KeyInAnotherStatement = 39, Model, [Events, Real], ["P10", "P11"];
    /// An idempotency key is looked up without its customer.
    KeyWithoutCustomer = 40, Model, [Events, Real], ["P18"];
    /// Audit is written after the commit.
    AuditAfterCommit = 41, Model, [Events], ["P16"];
    /// Audit is numbered by a sequence.
    AuditFromSequence = 42, Model, [Events, Real], ["P16"];
    /// Reads come from a copy that is behind.
    StaleReads = 43, Model, [Events, Wire], ["P19"];
    /// A revoked key lives on in a cache.
    RevokedKeyCached = 44, Http, [Wire, Real], ["P18"];
    /// A list with a filter does not ask for its customer.
    ListForgetsCustomer = 45, Http, [Wire, Real], ["P18"];
    /// An order depends on where things lie in memory.
    OrderFromAddresses = 46, Core, [Events], ["P20"];
    /// A term that is rebuilt keeps its generation.
    RebuildKeepsGeneration = 47, Core, [Events, Real], ["P1", "P2", "P7"];
    /// A batch has two writes of one row.
    TwoWritesOfOneRow = 48, Nowhere, [Events, Real], ["P6", "P16", "P1"];
    /// A batch whose rows do not match lands as far as it goes.
    ShortCountIgnored = 49, Model, [Events, Real], ["P6", "P16"];
    /// Later parts of the statement look at the fence themselves.
    LaterPartsReadFence = 50, Nowhere, [Real], ["P1"];
    /// The snapshot shows the state as the takeover found it, without the last batch.
    SnapshotInTakeover = 51, Model, [Events, Real], ["P7", "P10", "P12", "P13", "P15", "P16", "progress"];
    /// A report that the database refuses blocks its batch for ever.
    RefusedReportBlocks = 52, Core, [Events, Real], ["progress"];
    /// A second process under a live id takes over at once.
    SecondProcessTakesOver = 53, Core, [Events, Exhaustive], ["P8", "P9"];
    /// An assignment is obeyed after the lease that it was based on.
    AssignmentStartsLease = 54, Worker, [Events, Exhaustive], ["P8", "P9"];
    /// What a heartbeat does not list is held to have ended.
    UnlistedMeansEnded = 55, Core, [Events, Exhaustive], ["P8", "P9"];
    /// The answers of an older leader are obeyed.
    OlderLeaderAnswersObeyed = 56, Worker, [Events], ["P4"];
    /// A new leader gives workers the grace of its own lease setting.
    GraceFromOwnSetting = 57, Core, [Events], ["P8", "P15", "P9"];
    /// A leader that the broker does not carry leads on.
    DeafLeaderLeadsOn = 58, Core, [Events], ["progress"];
    /// A resume undoes a cancel.
    ResumeUndoesCancel = 59, Model, [Events, Exhaustive], ["P10"];
    /// A stop that is not answered in time counts as done.
    TerminalByTimeout = 60, Core, [Events, Exhaustive], ["P9"];
    /// An unconfirmed assignment is given away when the lease that it was based on ends.
    UnconfirmedGivenAway = 61, Core, [Events, Exhaustive], ["P8", "P9", "P15"];
    /// The audit events of folded steps share a number.
    FoldedShareNumber = 62, Model, [Events, Real], ["P16"];
    /// A submission that is not found after an unknown outcome is answered 503.
    LookUpAnswersNotTaken = 63, Http, [Events, Real], ["P10"];
    /// Silence is judged while words lie unread.
    UnreadIsHeard = 64, Driver, [Events, Tasks], ["P15"];

    // Not in the published list.

    /// Batches land whatever the fence says.
    FenceIgnored = 101, Model, [Events], ["P1"];
    /// The fence compares the number, not the term.
    FenceIgnoresTerm = 102, Model, [Events], ["P1"];
    /// The lease is taken although it has not ended.
    TakeoverIgnoresExpiry = 103, Model, [Events], ["P3"];
    /// A wish does not count in `version`.
    WishSkipsVersion = 104, Model, [Events], ["P16"];
    /// A submission is answered before it is written, and sometimes never is.
    AcknowledgedUnwritten = 105, Http, [Events], ["P10"];
    /// The queue limit is not looked at.
    QuotaIgnored = 106, Model, [Events], ["P13"];
    /// The idempotency key is not looked at.
    KeyIgnored = 107, Model, [Events], ["P11"];
    /// A worker goes on when its lease ends.
    WorkerOutlivesLease = 108, Worker, [Events], ["P8", "P9"];
    /// A worker runs one more than it has room for, and says nothing when it starts.
    WorkerReportsUnfinished = 109, Worker, [Events], ["P7"];
    /// A lost commit is answered with "applied".
    UnknownIsApplied = 110, Driver, [Events], ["P5", "P1", "P12"];
    /// A submission whose outcome is unknown is answered as accepted.
    UnknownIsSuccess = 111, Http, [Events], ["P10"];
    /// A failure is tried again without end.
    RetriesUnlimited = 112, Core, [Events], ["P22"];
    /// The loss of a worker counts as a retry.
    LossCountsAsRetry = 113, Core, [Events], ["P22"];
    /// What hints miss is never looked for.
    SweepForgotten = 114, Core, [Events], ["progress"];
    /// A worker that was drained stays so.
    UndrainForgotten = 115, Core, [Events], ["progress"];
    /// A stop is told once, and its loss never noticed.
    StopToldOnce = 116, Core, [Events], ["progress", "P10"];
    /// A new leader does not add the longest TTL to the grace.
    GraceWithoutTtl = 117, Core, [Events], ["P8", "P9", "P15"];
    /// A back-off doubles beyond its cap.
    BackoffUncapped = 118, Core, [Events], ["P22"];
    /// A new leader forgets until when workloads wait.
    RunAfterIgnoredAtRebuild = 119, Core, [Events], ["P21"];
    /// Who avoids others is avoided by nobody.
    AntiAffinityOneWay = 120, Core, [Events], ["P21"];
    /// An audit event names the attempt before.
    AuditOfWrongAttempt = 121, Core, [Events], ["P16", "P7"];
    /// A longer lease is told before it is committed.
    LongestLeaseNotRaised = 122, Core, [Events], ["P5", "P8", "P9"];
    /// A workload that was tried loses its priority.
    PriorityForgotten = 123, Core, [Events], ["P23"];
    /// Shares do not follow the weights.
    WeightsIgnored = 124, Core, [Events], ["P23"];
    /// A workload is PAUSED while its attempt may run.
    PausedAtOnce = 125, Core, [Events], ["P9"];
    /// A drain lands in the batch of an assignment that it should come before or after.
    DrainSharesBatch = 126, Core, [Events], ["P14"];
    /// A workload that kills its workers goes on doing so.
    LossesUnlimited = 127, Core, [Events], ["P22"];
    /// The late answer to a take that was given up makes a leader.
    LateTakeLeads = 128, Core, [Events], ["P3"];
    /// A leader trusts its lease to the last moment.
    LeaderMarginForgotten = 129, Core, [Events], ["P3"];
    /// A slot is free when its stop is ordered.
    SlotFreedAtStop = 130, Core, [Events], ["P12"];
    /// What goes on without a lease is never given away.
    DeadKeepsContinuing = 131, Core, [Events], ["progress"];
    /// A registration is answered before its commit.
    RegisteredBeforeCommit = 133, Core, [Events], ["P5"];
    /// A report is answered before its commit.
    EndAnsweredBeforeCommit = 134, Core, [Events], ["P5"];
    /// A workload that ends in the queue keeps its place.
    QueueEndNotCounted = 135, Core, [Events], ["P12", "P13"];
    /// A customer has more open attempts than it may.
    CustomerLimitIgnored = 136, Core, [Events], ["P13"];
    /// What a replaced process ran is waited for.
    SuccessorKeepsAttempts = 138, Core, [Events], ["progress"];
    /// Every failure counts as the first.
    RetryCountForgotten = 145, Core, [Events], ["P22"];
    /// What is to be moved goes back to the queue at once.
    MovedWithoutProof = 148, Core, [Events], ["P9"];
    /// The sweep begins anew with every page.
    SweepSeesOnePage = 150, Core, [Events], ["progress"];
    /// A wish that the sweep finds is noted and not acted upon.
    WishSeenNotActedUpon = 157, Core, [Events], ["progress"];
    /// A worker runs an attempt again that it has ended.
    EndedAttemptForgotten = 160, Worker, [Events], ["P7", "P8", "P9"];
    /// A stop of what the worker never knew is not answered.
    UnknownStopIgnored = 161, Worker, [Events], ["progress"];
    /// An attempt is reported stopped while it is being stopped.
    StoppedBeforeItEnds = 162, Worker, [Events], ["P9", "P7"];
    /// What waits to be said is said although its term has ended meanwhile.
    OldTermSpoken = 171, Driver, [Tasks], ["P17", "P3", "P4"];
    /// An answer is taken and then waited over, where another input may come first.
    AnswerDroppedInSelect = 172, Driver, [Tasks], ["progress", "P23"];
    /// A task that panics leaves its question open.
    PanicSwallowed = 173, Driver, [Tasks], ["progress", "P23"];
}
