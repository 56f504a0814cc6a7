//! What a seed means: who is there, how they are configured, and what goes wrong when.
//!
//! A swarm: each seed turns a random subset of the faults on, at random rates. What is great enough to
//! be told in a story is drawn here, before the run begins; what comes up while it goes on is left to
//! the [`Decider`](crate::decision::Decider).

mod check;
mod draw;
mod errands;
mod fixed;

pub use errands::{Affinity, Does, Errand, Job};

use crate::{
    clock::{Clock, Moment},
    model::broker::Direction,
    worker::Profile,
};
use niyanta_core::{
    ids::{CustomerId, WorkloadType},
    time::Duration,
};
use serde::{Deserialize, Serialize};
use sim_probes::Bug;

/// One run, from its seed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Plan {
    /// Seeds what each process draws for itself, such as its jitter.
    #[serde(with = "crate::schedule::text")]
    pub seed: u64,
    /// What is done wrong on purpose.
    #[serde(skip)]
    pub bug: Option<Bug>,
    /// One for each coordinator.
    pub coordinators: Vec<CoordinatorPlan>,
    /// Whether they know of each other.
    pub enable_ha: bool,
    /// One for each worker process.
    pub workers: Vec<WorkerPlan>,
    /// One for each customer, who is one client.
    pub customers: Vec<CustomerPlan>,
    /// All types of work there are.
    #[serde(with = "crate::schedule::text::list")]
    pub types: Vec<WorkloadType>,
    /// Rates of small faults.
    #[serde(default, skip_serializing_if = "Rates::are_none")]
    pub rates: Rates,
    /// What clients do, by time.
    pub errands: Vec<Errand>,
    /// Great faults, by time.
    pub strikes: Vec<Strike>,
    /// What operators do, by time.
    pub operations: Vec<(Moment, Operation)>,
    /// How fast the database's clock runs.
    pub database_drift_ppm: i64,
    /// When everything heals.
    pub heal_at: Moment,
}

/// One coordinator's configuration and clock.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CoordinatorPlan {
    /// It is not there: its place is kept, so that the names of the others stay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
    /// Its clock.
    pub clock: Clock,
    /// `leader_lease_ttl`.
    #[serde(with = "crate::schedule::text::span")]
    pub ttl: Duration,
    /// `heartbeat_timeout`.
    #[serde(with = "crate::schedule::text::span")]
    pub heartbeat_timeout: Duration,
    /// `heartbeat_timeout` of the processes after the first: a rolling change.
    #[serde(with = "crate::schedule::text::span")]
    pub later_heartbeat_timeout: Duration,
    /// `worker_dead_threshold`.
    #[serde(with = "crate::schedule::text::span")]
    pub dead_threshold: Duration,
    /// `scheduler_interval`.
    #[serde(with = "crate::schedule::text::span")]
    pub interval: Duration,
    /// `batch_size`.
    pub batch_size: u32,
    /// `window_per_class`.
    pub window: u32,
    /// `load_limit`.
    pub load_limit: u32,
    /// `retry_backoff_cap`.
    #[serde(with = "crate::schedule::text::span")]
    pub backoff_cap: Duration,
    /// `worker_loss_limit`.
    pub loss_limit: u32,
    /// How far from the broker it stands.
    #[serde(with = "crate::schedule::text::span")]
    pub lag: Duration,
    /// It is of a newer version, and says more than this one understands.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub speaks_newer: bool,
}

/// One worker process and its clock.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WorkerPlan {
    /// It is not there: its place is kept, so that the names of the others stay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
    /// What it is.
    pub profile: Profile,
    /// Its clock.
    pub clock: Clock,
    /// When it first starts.
    pub starts_at: Moment,
    /// Whether it remembers the incarnation before it.
    pub remembers: bool,
    /// It is of a newer version, and says more than this one understands.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub speaks_newer: bool,
}

/// One customer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CustomerPlan {
    /// Who.
    #[serde(with = "crate::schedule::text")]
    pub id: CustomerId,
    /// Its share.
    pub weight: u32,
    /// Most open attempts.
    pub max_running: u32,
    /// Most workloads in the queue.
    pub max_queued: u64,
}

/// Small faults, each of a thousand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Rates {
    /// Messages lost.
    pub loss: u64,
    /// Messages doubled.
    pub doubled: u64,
    /// Messages that are slow.
    pub slow: u64,
    /// A slow message takes up to so many milliseconds.
    pub slow_up_to_ms: u64,
    /// Statements that are not executed, and fail.
    pub not_executed: u64,
    /// Statements that are executed, and whose answer is lost.
    pub answer_lost: u64,
    /// Statements that are executed after they were given up.
    pub orphaned: u64,
    /// Statements that take long.
    pub slow_statement: u64,
    /// Statements that give others a turn while they hold rows.
    pub halting: u64,
    /// Statements that lack the end of their message, and are executed but not committed.
    pub torn: u64,
    /// Reports and registrations with a text that no column can hold.
    pub bad: u64,
    /// Client calls that never come back.
    pub call_lost: u64,
}

impl Rates {
    fn are_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A great fault.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Strike {
    /// Not before this moment.
    pub at: Moment,
    /// Only when this is in flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub during: Option<InFlight>,
    /// What happens.
    pub blow: Blow,
}

/// Something that is under way, and worth interrupting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum InFlight {
    /// A takeover was sent.
    LeaseTaking,
    /// A takeover was executed and is not answered.
    LeaseTaken,
    /// A snapshot was asked for.
    SnapshotLoading,
    /// A batch was sent and is not executed.
    BatchSent,
    /// A batch was executed and is not answered.
    BatchExecuted,
    /// An assignment is about to be sent.
    Assigning,
    /// A leader has decided something and carried nothing out.
    Decided,
    /// A submission was executed and is not answered.
    SubmissionExecuted,
    /// A renewal was sent.
    RenewalSent,
    /// A wish was executed and is not answered.
    WishExecuted,
    /// A report's content is being written.
    ContentWriting,
    /// A heartbeat is under way.
    HeartbeatSent,
}

impl InFlight {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::LeaseTaking,
        Self::LeaseTaken,
        Self::SnapshotLoading,
        Self::BatchSent,
        Self::BatchExecuted,
        Self::Assigning,
        Self::Decided,
        Self::SubmissionExecuted,
        Self::RenewalSent,
        Self::WishExecuted,
        Self::ContentWriting,
        Self::HeartbeatSent,
    ];
}

/// Who is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Target {
    /// Whoever holds the lease.
    Leader,
    /// This one.
    Place(usize),
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Blow {
    /// A coordinator dies, and is started again.
    CrashCoordinator {
        /// Which.
        who: Target,
        /// After this long.
        #[serde(with = "crate::schedule::text::span")]
        down: Duration,
    },
    /// A coordinator is asked to stop, and is started again.
    ShutDownCoordinator {
        /// Which.
        who: Target,
        /// After this long.
        #[serde(with = "crate::schedule::text::span")]
        down: Duration,
    },
    /// A coordinator is not scheduled.
    PauseCoordinator {
        /// Which.
        who: Target,
        /// For this long.
        #[serde(with = "crate::schedule::text::span")]
        length: Duration,
    },
    /// A coordinator does not get to read its messages, though it is scheduled.
    Overload {
        /// Which.
        who: Target,
        /// For this long.
        #[serde(with = "crate::schedule::text::span")]
        length: Duration,
    },
    /// A coordinator is cut off from the broker.
    CutFromBroker {
        /// Which.
        who: Target,
        /// In this direction.
        direction: Direction,
        /// For this long.
        #[serde(with = "crate::schedule::text::span")]
        length: Duration,
    },
    /// A coordinator is cut off from the database.
    CutFromStore {
        /// Which.
        who: Target,
        /// In this direction.
        direction: Direction,
        /// For this long.
        #[serde(with = "crate::schedule::text::span")]
        length: Duration,
    },
    /// The database executes nothing.
    StallStore {
        /// For this long.
        #[serde(with = "crate::schedule::text::span")]
        length: Duration,
    },
    /// The broker goes down and comes back; everybody's connection to it is gone meanwhile.
    RestartBroker {
        /// After this long.
        #[serde(with = "crate::schedule::text::span")]
        down: Duration,
    },
    /// What a coordinator and a worker send each other is lost, in this direction of the
    /// coordinator's.
    CutFromWorker {
        /// Which.
        who: Target,
        /// From whom.
        place: usize,
        /// In this direction.
        direction: Direction,
        /// For this long.
        #[serde(with = "crate::schedule::text::span")]
        length: Duration,
    },
    /// Some connections to the broker clog one after the other, and are free again in another order.
    Swizzle {
        /// Which, and in which order.
        order: u32,
        /// For this long, all of it.
        #[serde(with = "crate::schedule::text::span")]
        length: Duration,
    },
    /// A coordinator dies, is started again, and dies again.
    CrashTwice {
        /// Which.
        who: Target,
        /// After this long it is started, each time.
        #[serde(with = "crate::schedule::text::span")]
        down: Duration,
        /// So long after its start it dies again.
        #[serde(with = "crate::schedule::text::span")]
        lives: Duration,
    },
    /// The database's clock is set forward, or back.
    StepDatabaseClock {
        /// By so many milliseconds.
        millis: i32,
    },
    /// The database takes no more than so many connections.
    LimitConnections {
        /// This many.
        limit: usize,
        /// For this long.
        #[serde(with = "crate::schedule::text::span")]
        length: Duration,
    },
    /// The database goes on from a copy that misses the last commits.
    FailOver {
        /// So many.
        commits: usize,
        /// After this long it can be reached.
        #[serde(with = "crate::schedule::text::span")]
        down: Duration,
    },
    /// The database goes down and comes back; every connection to it is gone.
    RestartStore {
        /// After this long.
        #[serde(with = "crate::schedule::text::span")]
        down: Duration,
    },
    /// A worker dies with its children, and is started again.
    CrashWorker {
        /// Which.
        place: usize,
        /// After this long.
        #[serde(with = "crate::schedule::text::span")]
        down: Duration,
    },
    /// A worker is asked to stop, and is started again.
    ShutDownWorker {
        /// Which.
        place: usize,
        /// After this long.
        #[serde(with = "crate::schedule::text::span")]
        down: Duration,
    },
    /// A worker is not scheduled.
    PauseWorker {
        /// Which.
        place: usize,
        /// For this long.
        #[serde(with = "crate::schedule::text::span")]
        length: Duration,
        /// Its children and their guards go on.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        alone: bool,
    },
    /// What is sent to a worker is slow, and then nothing that it sends arrives.
    FadeWorker {
        /// Which.
        place: usize,
        /// How slow.
        #[serde(with = "crate::schedule::text::span")]
        lag: Duration,
        /// For this long, and the cut begins half-way.
        #[serde(with = "crate::schedule::text::span")]
        length: Duration,
    },
    /// A worker is cut off from the broker.
    CutWorker {
        /// Which.
        place: usize,
        /// In this direction.
        direction: Direction,
        /// For this long.
        #[serde(with = "crate::schedule::text::span")]
        length: Duration,
    },
}

/// What lasts as long as this does not heal.
pub const FOR_GOOD: Duration = Duration::from_secs(86_400);

/// What operators do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Operation {
    /// Drain the worker at this place.
    Drain {
        /// Whose id.
        place: usize,
        /// With this deadline.
        #[serde(
            default,
            with = "crate::schedule::text::optional_span",
            skip_serializing_if = "Option::is_none"
        )]
        deadline: Option<Duration>,
    },
    /// Undrain it.
    Undrain {
        /// Whose id.
        place: usize,
    },
    /// Remove it.
    Remove {
        /// Whose id.
        place: usize,
    },
    /// Cancel everything of a customer.
    CancelAll {
        /// By its place.
        customer: usize,
    },
    /// Give a customer other limits.
    ChangeLimits {
        /// By its place.
        customer: usize,
        /// Most open attempts.
        max_running: u32,
        /// Most workloads in the queue.
        max_queued: u64,
    },
}

impl Plan {
    /// The database may lose its last commits: what it promised then does not hold for ever.
    #[must_use]
    pub fn loses_commits(&self) -> bool {
        let mut blows = self.strikes.iter().map(|strike| strike.blow);
        blows.any(|blow| matches!(blow, Blow::FailOver { .. }))
    }

    /// How far the database's clock may be set back, all together.
    #[must_use]
    pub fn set_back(&self) -> Duration {
        let blows = self.strikes.iter().map(|strike| strike.blow);
        blows
            .map(|blow| {
                let Blow::StepDatabaseClock { millis } = blow else {
                    return Duration::ZERO;
                };
                Duration::from_millis(millis.min(0).unsigned_abs().into())
            })
            .sum()
    }

    /// The database's clock may be set.
    #[must_use]
    pub fn steps_clock(&self) -> bool {
        let mut blows = self.strikes.iter().map(|strike| strike.blow);
        blows.any(|blow| matches!(blow, Blow::StepDatabaseClock { .. }))
    }
}
