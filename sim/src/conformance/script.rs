//! The words of a script, and of what came of it: plain numbers and texts that mean the same on
//! every side, and that can be kept in a file.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// So many clients, numbered from 0, each with at most one operation under way.
pub const NODES: usize = 4;
/// So many customers, numbered from 1.
pub const CUSTOMERS: u8 = 2;
/// How many workloads each customer's queue holds.
pub const ROOM: [u32; 2] = [2, 100];
/// So many workload ids, numbered from 1.
pub const WORKLOADS: u8 = 6;
/// So many worker ids, numbered from 1.
pub const WORKERS: u8 = 3;

/// What several clients do, one step after the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    /// The steps. Each is over when everybody has ended, or cannot go on alone.
    pub steps: Vec<Step>,
}

/// One thing that happens. A step that makes no sense as things stand is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// An idle client begins an operation.
    Send {
        /// Who.
        node: usize,
        /// What becomes of the first statement on its way.
        how: How,
        /// What.
        op: Op,
    },
    /// What was held back of the client's message comes; a stranger commits.
    GoOn {
        /// Whose.
        node: usize,
    },
    /// The connection ends, with what is not committed on it.
    Cut {
        /// Whose.
        node: usize,
    },
    /// The client loses a connection on which a statement waits; the server does not notice.
    Abandon {
        /// Whose.
        node: usize,
    },
    /// The server gives up a statement that waits.
    Cancel {
        /// Whose.
        node: usize,
    },
}

/// What becomes of a statement on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It arrives, and its answer too.
    Whole,
    /// All of it but the end of its message arrives: it is executed, and not committed.
    NoSync,
    /// It arrives; its answer, and the connection, are lost.
    AnswerLost,
    /// The connection is lost before it.
    NeverSent,
}

/// An operation of a coordinator, or of a stranger who locks rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "the fields are those of the store's operations"
)]
pub enum Op {
    /// Take the lease, for an hour or for no time at all.
    TakeLease {
        above: u64,
        own: Option<u64>,
        force: bool,
        long: bool,
    },
    /// Read the lease row.
    ReadLease,
    /// Renew the lease.
    RenewLease { generation: u64, long: bool },
    /// Give the lease up.
    ResignLease { generation: u64 },
    /// Commit a batch.
    Persist(BatchWords),
    /// Read the fence row.
    ReadFence,
    /// Read what a term begins with.
    Snapshot { limit: u32 },
    /// Load rows.
    Load { what: LoadWords, limit: u32 },
    /// Note why workloads wait: (workload, attempt, a number).
    Reasons(Vec<(u8, u32, u32)>),
    /// Note that workers were heard: (worker, start).
    Heartbeats(Vec<(u8, u8)>),
    /// Write what a report carries.
    Content {
        workload: u8,
        attempt: u32,
        worker: (u8, u8),
        checkpoint: Option<u64>,
        bad: bool,
    },
    /// Submit a workload.
    Submit {
        customer: u8,
        workload: u8,
        key: Option<u8>,
        priority: u16,
    },
    /// Wish something of a workload.
    Wish {
        customer: u8,
        workload: u8,
        desired: String,
        upon: u64,
    },
    /// Wish something of a worker.
    WishWorker {
        worker: u8,
        desired: String,
        upon: (u8, u64),
        deadline: bool,
    },
    /// Read a workload.
    Get { customer: u8, workload: u8 },
    /// A stranger locks these rows, one after the other, and leaves its transaction open.
    Hold(Vec<Held>),
}

/// A row that a stranger locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Held {
    /// The lease row.
    Lease,
    /// The fence row.
    Fence,
    /// A workload's.
    Workload(u8),
    /// A worker's.
    Worker(u8),
    /// What is wished of a worker.
    WorkerWish(u8),
    /// A customer's counter of submissions.
    Submitted(u8),
    /// A customer's counters of the leader.
    Moved(u8),
    /// The number of the last admin audit event.
    AdminAudit,
}

/// A batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of a batch")]
pub struct BatchWords {
    pub generation: u64,
    /// Whose incarnation it carries.
    pub node: usize,
    pub number: u64,
    pub moves: Vec<MoveWords>,
    pub workers: Vec<WorkerWords>,
    pub counters: Vec<CounterWords>,
}

/// A workload's write in a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of a workload's write")]
pub struct MoveWords {
    pub workload: u8,
    pub customer: u8,
    pub from: (String, u32),
    pub to: (String, u32),
    /// The worker and its start that hold the attempt.
    pub worker: Option<(u8, u8)>,
    pub wish_seen: u64,
    /// Seconds since 1970; moments before 2000 and after 2090 only, so that none is the present.
    pub eligible: i64,
    pub stopping: Option<String>,
    pub error: Option<String>,
    /// The audit events.
    pub kinds: Vec<String>,
}

/// A worker's write in a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of a worker's write")]
pub enum WorkerWords {
    /// Its row is written.
    Put {
        worker: u8,
        /// Which start of it.
        start: u8,
        status: String,
        wish_seen: u64,
        registered: bool,
        /// It holds a text that no column can hold.
        bad: bool,
    },
    /// Its row is deleted.
    Remove { worker: u8 },
}

/// A customer's counters in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of a batch's counters")]
pub struct CounterWords {
    pub customer: u8,
    pub left_queue: u64,
    pub running: i64,
}

/// Which rows are loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadWords {
    /// These workloads.
    Workloads(Vec<u8>),
    /// Workloads with wishes that the leader has not seen.
    Wishes,
    /// A customer's waiting workloads.
    Backlog(u8),
    /// Waiting workloads, from the first, or from this customer on.
    Sweep(Option<u8>),
    /// What became eligible after and until, in seconds since 1970.
    Eligible(i64, i64),
    /// Workers with wishes that the leader has not seen.
    WorkerWishes,
    /// Customers.
    Customers(Vec<u8>),
}

/// What can be seen when nobody can go on alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Observation {
    /// Who came to an end in this step, and with what.
    pub ended: BTreeMap<usize, String>,
    /// Whose statement waits for a lock.
    pub waiting: Vec<usize>,
    /// Whose statement, or stranger's transaction, is done but for its commit.
    pub parked: Vec<usize>,
}

/// What came of a script.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Transcript {
    /// After each step; then after the connection of each client that is parked has ended.
    pub seen: Vec<Observation>,
    /// All rows afterwards, in order.
    pub tables: Vec<String>,
}

impl Script {
    /// The steps of the end: whoever is still parked loses the connection.
    pub fn endings() -> impl Iterator<Item = Step> {
        (0..NODES).map(|node| Step::Cut { node })
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            let line = serde_json::to_string(step).map_err(|_| fmt::Error)?;
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

impl FromStr for Script {
    type Err = serde_json::Error;

    /// A step a line; empty lines and those that begin with `#` are passed over.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let steps = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(Self { steps })
    }
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (node, what) in &self.ended {
            write!(f, "[{node} ended: {what}] ")?;
        }
        write!(f, "waiting {:?}, parked {:?}", self.waiting, self.parked)
    }
}
