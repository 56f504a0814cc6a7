//! How large a world is, and how much may go wrong in it.

use niyanta_core::time::Duration;

/// The bounds of a world. Everything within them is tried, in every order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// What it is called.
    pub name: &'static str,
    /// Coordinators.
    pub nodes: usize,
    /// Workers, each with room for [`Scope::CAPACITY`].
    pub workers: usize,
    /// Workloads, submitted before anything goes wrong.
    pub workloads: usize,
    /// Readings of the database, and heartbeats with their answers, take no time and are not lost:
    /// what is then left to try in every order are the writes, and what decides something.
    pub is_prompt: bool,
    /// What may go wrong or be wished, and how often.
    pub budget: Budget,
}

/// How often each thing may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    /// A coordinator or a worker dies, and is started again.
    pub crashes: u8,
    /// Time jumps while things are under way: past a lease, or within one while an answer is awaited.
    pub lapses: u8,
    /// A message is lost.
    pub lost: u8,
    /// A message arrives twice.
    pub doubled: u8,
    /// A statement's answer is lost; it was carried out, or not, or will be later.
    pub unknown: u8,
    /// An attempt fails instead of completing.
    pub failures: u8,
    /// The customer cancels a workload.
    pub cancels: u8,
    /// The customer pauses a workload.
    pub pauses: u8,
    /// The customer lets a workload run again.
    pub resumes: u8,
    /// An operator drains a worker.
    pub drains: u8,
    /// A second process is started under the id of a live worker.
    pub seconds: u8,
    /// Steps of the grid that time may pass while nothing is under way.
    pub passes: u8,
}

impl Scope {
    /// How much a worker can run at once.
    pub const CAPACITY: u32 = 1;
    /// Of the leader's lease.
    pub const LEADER_TTL: Duration = Duration::from_secs(3);
    /// Of a worker's lease.
    pub const WORKER_LEASE: Duration = Duration::from_secs(6);
    /// After so long a silence a worker is DEAD.
    pub const DEAD_AFTER: Duration = Duration::from_secs(9);
    /// Between two sweeps.
    pub const SWEEP: Duration = Duration::from_secs(5);
    /// Time passes in these steps: what is due within one is due at once.
    pub const GRID: Duration = Duration::from_millis(500);
    /// A short lapse: shorter than any time-out of a question.
    pub const SHORT: Duration = Duration::from_millis(900);

    /// A world by its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name == name)
    }

    const PLAIN: Self = Self {
        name: "plain",
        nodes: 2,
        workers: 2,
        workloads: 1,
        is_prompt: true,
        budget: NOTHING,
    };

    /// Every world that is searched, the smallest first.
    pub const ALL: [Self; 9] = [
        Self {
            name: "faithful",
            is_prompt: false,
            budget: Budget {
                passes: 4,
                ..NOTHING
            },
            ..Self::PLAIN
        },
        Self {
            name: "cancel",
            budget: Budget {
                cancels: 1,
                lapses: 1,
                passes: 2,
                ..NOTHING
            },
            ..Self::PLAIN
        },
        Self {
            name: "pause",
            budget: Budget {
                pauses: 1,
                cancels: 1,
                resumes: 1,
                passes: 1,
                ..NOTHING
            },
            ..Self::PLAIN
        },
        Self {
            name: "drain",
            budget: Budget {
                drains: 1,
                lapses: 1,
                passes: 2,
                ..NOTHING
            },
            ..Self::PLAIN
        },
        Self {
            name: "second",
            workers: 1,
            budget: Budget {
                seconds: 1,
                lapses: 1,
                passes: 2,
                ..NOTHING
            },
            ..Self::PLAIN
        },
        Self {
            name: "unknown",
            budget: Budget {
                unknown: 1,
                doubled: 1,
                failures: 1,
                passes: 2,
                ..NOTHING
            },
            ..Self::PLAIN
        },
        Self {
            name: "lapses",
            budget: Budget {
                lapses: 2,
                lost: 1,
                passes: 2,
                ..NOTHING
            },
            ..Self::PLAIN
        },
        Self {
            name: "crash",
            budget: Budget {
                crashes: 1,
                lapses: 1,
                lost: 1,
                doubled: 1,
                passes: 3,
                ..NOTHING
            },
            ..Self::PLAIN
        },
        Self {
            name: "two",
            workloads: 2,
            budget: Budget {
                crashes: 1,
                lapses: 1,
                passes: 2,
                ..NOTHING
            },
            ..Self::PLAIN
        },
    ];
}

const NOTHING: Budget = Budget {
    crashes: 0,
    lapses: 0,
    lost: 0,
    doubled: 0,
    unknown: 0,
    failures: 0,
    cancels: 0,
    pauses: 0,
    resumes: 0,
    drains: 0,
    seconds: 0,
    passes: 0,
};
