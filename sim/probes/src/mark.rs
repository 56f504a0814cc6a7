//! The situations that a run should get into.
//!
//! Owns their names and a small set of them. A situation is marked where it is certain that it has
//! come about, not where it is brought about.

macro_rules! marks {
    ($($name:ident = $words:literal;)+) => {
        /// A situation that matters.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Mark {
            $(#[doc = $words] $name,)+
        }

        impl Mark {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What has come about.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self { $(Self::$name => $words,)+ }
            }
        }
    };
}

marks! {
    CommitAppliedAnswerLost = "a batch was applied, and its answer was lost";
    FencedWithBatchInFlight = "a leader was fenced with a batch in flight";
    CancelMetAssignment = "a cancel met an assignment";
    TakeOutnumbered = "a take was granted below a term that was heard of";
    TakeAnsweredTooLate = "a take was answered when its lease was over";
    TakenWhenStopped = "a take was granted to a process that is stopping";
    TakeGrantedAndGivenUp = "a take was granted after it had been given up";
    TakeUnknown = "whether a take took effect was unknown";
    TakeNeverAnswered = "a take was not answered for a whole lease";
    RenewalMatchedNothing = "a renewal matched no row";
    RenewalUnanswered = "a renewal had no answer";
    LeaderOutnumbered = "a leader heard of a term above its own";
    ResignationHeard = "a candidate heard that the leader gave up";
    LeaderFenced = "a leader was fenced";
    LeaderGaveUpLease = "a leader resigned";
    LeaseLapsed = "a lease lapsed";
    DeafLeaderGaveUp = "a leader that heard nothing of itself gave up";
    BatchSentAgain = "a batch was sent again after an unknown outcome";
    BatchFoundApplied = "a batch that was sent again had been applied";
    WorkerWriteWaitsBehindAssignment = "a word on a worker waited behind an assignment to it";
    StepsFolded = "three steps of a workload were folded into one write";
    BatchRefused = "a batch was refused for its data";
    OffenderFound = "what was refused was found";
    SnapshotFailed = "a snapshot could not be read";
    UnheardWorkerLapsed = "a worker that a leader never heard was past its grace";
    WorkerCalledDead = "a worker was called DEAD";
    EndedWorkerSpeaks = "a worker spoke whose incarnation had ended";
    OlderHeartbeat = "a heartbeat was overtaken by a newer one";
    HeartbeatAfterLapse = "a worker was heard again after its lease";
    RunsWhatIsNotItsOwn = "a worker listed what is not its own";
    LeaderTimedOutAttempt = "the leader timed an attempt out that its worker had not";
    UnconfirmedTakenBack = "an assignment was taken back that a living worker did not confirm";
    UnconfirmedBySilent = "an assignment was not confirmed by a worker that had fallen silent";
    ProcessReplaced = "a process took the place of another";
    IdHeldByAnother = "a process asked for an id that another held";
    ReportWaitsForRow = "a report waited for its workload's row";
    LastReportRepeated = "a report that had ended its attempt came again";
    LastReportWithoutContent = "a last report counted without its content";
    ReportOfOlderAttempt = "a report named an attempt that is not open";
    CancelOvertookPause = "a cancel overtook a pause";
    WorkerLostTooOften = "a workload lost its workers too often";
    PauseProvenBySilence = "a pause became true by the end of a lease";
    CancelMetFailure = "a cancel met a failure";
    RetriesSpent = "the last retry failed";
    MovedAtDrainDeadline = "work was moved at the deadline of a drain";
    RemovedWithWork = "a worker was removed with work on it";
    WishFoundBySweep = "a wish was found without its hint";
    LoadFailed = "a question for rows had no answer";
    LoadedRowWasOlder = "a loaded row was older than memory";
    OlderLeaderCommands = "a worker heard a command of an older leader";
    OlderLeaderAnswers = "a worker heard an answer of an older leader";
    WorkerRepeatsLastReport = "a worker repeated its last report";
    AssignmentOutlivedItsHeartbeat = "an assignment arrived after the lease that it rests on";
    OlderAssignment = "an assignment arrived after a newer one of its workload";
    AssignedWhileDying = "an attempt was assigned while the one before was dying";
    AssignmentRefused = "a worker refused an assignment";
    StopOfUnknownAttempt = "a worker was told to stop what it never knew";
    WorkerForgetsAttempt = "a worker was told that what it runs is not its own any more";
    WorkerWaitsForItsId = "a worker waited for its id";
    WorkerBeginsAnew = "a worker began anew after its incarnation had ended";
    WorkerWokeAfterLease = "a worker woke after its lease, with work";
}

/// A set of marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks(u128);

impl Marks {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// Every mark there is.
    #[must_use]
    pub fn all() -> Self {
        Mark::ALL
            .iter()
            .fold(Self::NONE, |all, &mark| all.with(mark))
    }

    /// These and one more.
    #[inline]
    #[must_use]
    pub const fn with(self, mark: Mark) -> Self {
        Self(self.0 | 1 << mark as u8)
    }

    /// These and those.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether one is among them.
    #[must_use]
    pub const fn contains(self, mark: Mark) -> bool {
        self.0 & (1 << mark as u8) != 0
    }

    /// One after the other.
    pub fn iter(self) -> impl Iterator<Item = Mark> {
        Mark::ALL
            .iter()
            .copied()
            .filter(move |&mark| self.contains(mark))
    }
}
