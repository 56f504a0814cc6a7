//! One attempt as it truly runs: a child process with a script.

use crate::{
    clock::Moment,
    decision::{Choice, Decider, Occasion, Who},
};
use niyanta_core::{ids::WorkloadId, time::Duration, workload::ErrorType};

/// What a child will do, drawn when it begins.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    /// How it ends if nobody stops it.
    pub end: End,
    /// How long it runs until then.
    pub length: Duration,
    /// How long between its checkpoints.
    pub checkpoint_every: Duration,
    /// It says how far it is, and writes log lines.
    pub talks: bool,
}

/// How a child ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It completes.
    Completes,
    /// It fails, and may be tried again or not.
    Fails(ErrorType),
    /// It completes with a result that the protocol refuses.
    CompletesUnspeakably,
    /// It hangs until it is stopped.
    Never,
}

/// How a child takes a request to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopManner {
    /// Ends after this long.
    After(Duration),
    /// Does not care: it must be killed.
    Ignores,
}

/// A child process.
#[derive(Debug, Clone, Copy)]
pub struct Child {
    /// What it does.
    pub script: Script,
    /// Where it is.
    pub stage: Stage,
    /// It goes on when its worker's lease ends.
    pub outlives_lease: bool,
    /// When it writes its next checkpoint.
    pub next_checkpoint: Moment,
    /// When something of it is due; a later note to wake it is void.
    pub wake_at: Moment,
    /// How many checkpoints it has written.
    pub checkpoints: u32,
}

/// Where a child is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Runs until then.
    Running {
        /// When it comes to its own end.
        until: Moment,
    },
    /// Was asked to stop, and ends then.
    Stopping {
        /// When it has stopped.
        until: Moment,
    },
    /// Was asked to stop, and does not care.
    Deaf,
    /// Was killed, and is gone then.
    Dying {
        /// When it is gone.
        until: Moment,
    },
}

impl Child {
    /// A child that begins now.
    #[must_use]
    pub fn begin(now: Moment, script: Script, outlives_lease: bool) -> Self {
        let until = match script.end {
            End::Never => Moment(u64::MAX),
            End::Completes | End::Fails(_) | End::CompletesUnspeakably => now.plus(script.length),
        };
        let next_checkpoint = now.plus(script.checkpoint_every);
        Self {
            script,
            stage: Stage::Running { until },
            outlives_lease,
            next_checkpoint,
            wake_at: until.min(next_checkpoint),
            checkpoints: 0,
        }
    }

    /// When something of it is due.
    #[must_use]
    pub fn next(&self) -> Moment {
        match self.stage {
            Stage::Running { until } => until.min(self.next_checkpoint),
            Stage::Stopping { until } | Stage::Dying { until } => until,
            Stage::Deaf => Moment(u64::MAX),
        }
    }

    /// It was not asked to stop.
    #[must_use]
    pub const fn is_undisturbed(&self) -> bool {
        matches!(self.stage, Stage::Running { .. })
    }
}

impl Script {
    /// Chooses what a child will do.
    #[must_use]
    pub fn choose(decider: &mut Decider, workload: WorkloadId) -> Self {
        let point = decider.occasion(Occasion::Run, Who::submission(workload));
        let end = decider.pick(point, Choice::RunEnd, |rng| match rng.below(40) {
            0 | 1 => 2,
            2..=6 => 1,
            7 => 3,
            8 => 4,
            _ => 0,
        });
        let shortest = Duration::from_millis(20);
        let length = decider.delay(point, Choice::RunLength, shortest, |rng| {
            let longest = match rng.below(20) {
                0..=13 => Duration::from_millis(1_500),
                14..=17 => Duration::from_secs(12),
                _ => RUN_LONGEST,
            };
            rng.duration(shortest, longest)
        });
        let (early, late) = (Duration::from_millis(500), Duration::from_secs(3));
        let checkpoint_every = decider.delay_up_to(point, Choice::RunCheckpoint, early, late);
        let talks = decider.pick(point, Choice::RunTalk, |rng| u32::from(rng.per_mille(100)));
        Self {
            end: match end {
                0 => End::Completes,
                1 => End::Fails(ErrorType::Transient),
                2 => End::Fails(ErrorType::Permanent),
                3 => End::Never,
                _ => End::CompletesUnspeakably,
            },
            length,
            checkpoint_every,
            talks: talks > 0,
        }
    }
}

impl StopManner {
    /// Chooses how a child takes a request to stop.
    #[must_use]
    pub fn choose(decider: &mut Decider, workload: WorkloadId) -> Self {
        let point = decider.occasion(Occasion::Stop, Who::submission(workload));
        let ignores = decider.pick(point, Choice::StopManner, |rng| {
            u32::from(rng.per_mille(100))
        });
        if ignores > 0 {
            return Self::Ignores;
        }
        let shortest = Duration::from_millis(1);
        let length = decider.delay(point, Choice::StopLength, shortest, |rng| {
            let slow = rng.per_mille(450);
            let longest = Duration::from_millis(if slow { 2_000 } else { 60 });
            rng.duration(shortest, longest)
        });
        Self::After(length)
    }
}

/// No child runs longer by itself; one that hangs runs until its time-out.
pub const RUN_LONGEST: Duration = Duration::from_secs(40);
/// A killed child is gone within this.
pub const KILL_LONGEST: Duration = Duration::from_millis(30);
