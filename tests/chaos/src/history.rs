//! What happened, as records in a file, one a line.
//!
//! Owns the records' shapes, and writing and reading them. All moments are of [`super::clock`], but
//! for those of the tables, which are the wall clock's; the head says how to get from one to the
//! other.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::sync::Mutex;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// One line of a history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "r", rename_all = "snake_case")]
pub enum Record {
    /// The first one: what was run.
    Head(Head),
    /// What a customer asked, and what became of it.
    Asked(Asked),
    /// A process started, ended, was stopped or goes on.
    Process(ProcessEvent),
    /// A worker's diary: an attempt began or ended.
    Diary(DiaryEntry),
    /// What a nemesis did: for people, and for counting.
    Strike(Struck),
    /// Who leads, as the lease's row has it. Recorded when it changes.
    Lease(LeaseSeen),
    /// A workload's row at the end.
    Workload(WorkloadRow),
    /// One row of the audit at the end.
    Audit(AuditRow),
    /// A worker's row at the end.
    Worker(WorkerRow),
    /// A customer's counters at the end.
    Counters(CountersRow),
}

/// What was run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Of all random choices.
    pub seed: u64,
    /// How long faults and load lasted.
    pub seconds: u64,
    /// What is to be added to a moment of the wall clock.
    pub from_wall: i64,
    /// Slots of each worker.
    pub capacity: u32,
    /// What each type's workers can run: every worker has the type `chaos`.
    pub customers: Vec<CustomerLimits>,
}

/// A customer and its limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomerLimits {
    /// `cus_…` as digits alone.
    pub customer: String,
    /// Most open attempts.
    pub running: u64,
    /// Most that were never assigned.
    pub queued: u64,
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is done.
    Ok,
    /// It is not done, and never will be: 4xx and 503.
    Failed,
    /// It may be either: 500, 504, a broken connection.
    Unknown,
}

/// One request of a customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Which of the customers' tasks.
    pub by: u32,
    /// `cus_…` as digits alone.
    pub customer: String,
    /// When it was sent.
    pub from: i64,
    /// When its answer was there, or was no longer waited for.
    pub to: i64,
    /// Which coordinator was asked.
    pub node: usize,
    /// What was asked.
    pub what: What,
    /// What became of it.
    pub outcome: Outcome,
    /// HTTP status; 0 without an answer.
    pub status: u16,
    /// The workload that the answer is about.
    pub workload: Option<String>,
    /// Its version there.
    pub version: Option<u64>,
}

/// What a customer asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A submission, under this idempotency key, which is a label of the workload too.
    Submit {
        /// The key.
        key: String,
    },
    /// `cancel`, `pause` or `resume`, with this reason, which nobody else gives.
    Wish {
        /// Which.
        verb: String,
        /// The reason.
        reason: String,
    },
    /// The workload as it is.
    Read,
}

/// What happened to a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessEvent {
    /// Name and number of its start, `w1#3`.
    pub process: String,
    /// When: after it, but for a stop (before) and a start (before).
    pub at: i64,
    /// What.
    pub what: Happened,
}

/// See [`ProcessEvent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happened {
    /// It is being started.
    Started,
    /// It has ended, because it was killed or told to.
    Ended,
    /// It was told to stop, did not in time, and was killed.
    EndedLate,
    /// It has ended, and nobody had asked it to.
    EndedUnasked,
    /// It is stopped where it is.
    Stopped,
    /// It goes on.
    GoesOn,
}

/// One line of a worker's diary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiaryEntry {
    /// Name and number of its start, `w1#3`.
    pub process: String,
    /// `wl_…`.
    pub workload: String,
    /// Which attempt.
    pub attempt: u64,
    /// When.
    pub at: i64,
    /// Nothing at its start; how it ended at its end.
    pub ended: Option<String>,
}

/// A strike of a nemesis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Struck {
    /// When it began.
    pub from: i64,
    /// When it was over.
    pub to: i64,
    /// Which kind, for counting.
    pub kind: String,
    /// What it did, in words; why not, when it was skipped.
    pub text: String,
    /// Its target was struck already.
    pub was_skipped: bool,
}

/// The lease's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseSeen {
    /// When it was read.
    pub at: i64,
    /// Its generation.
    pub generation: i64,
    /// Whose.
    pub incarnation: String,
    /// By label.
    pub holder: String,
}

/// A workload's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadRow {
    /// `wl_…`.
    pub id: String,
    /// Digits alone.
    pub customer: String,
    /// Status.
    pub status: String,
    /// Wish.
    pub desired: String,
    /// Last attempt.
    pub attempt: u64,
    /// Number of its last audit event.
    pub version: u64,
    /// Retries that count.
    pub retry_count: u64,
    /// How many are allowed.
    pub max_retries: u64,
    /// Not before this moment of the wall clock.
    pub run_after: Option<i64>,
    /// The label `key`: what it was submitted under.
    pub key: Option<String>,
    /// The label `means`: what its handler was told to do.
    pub means: Option<String>,
}

/// A row of the audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    /// `wl_…`.
    pub workload: String,
    /// 1, 2, 3 …
    pub sequence: u64,
    /// Without `workload.`.
    pub kind: String,
    /// Of the wall clock.
    pub at: i64,
    /// The attempt.
    pub attempt: u64,
    /// The term; 0 for what a user did.
    pub generation: i64,
    /// To whom, of `scheduled`.
    pub worker: Option<String>,
    /// Which start of it, of `scheduled`.
    pub incarnation: Option<String>,
    /// Why, of a wish.
    pub reason: Option<String>,
    /// How long it waits, of `retrying`.
    pub backoff_ms: Option<i64>,
}

/// A worker's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerRow {
    /// Its id.
    pub worker: String,
    /// Its status.
    pub status: String,
}

/// A customer's counters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountersRow {
    /// Digits alone.
    pub customer: String,
    /// Submissions.
    pub submitted: i64,
    /// What left the queue.
    pub left_queue: i64,
    /// Open attempts.
    pub running: i64,
}

/// Appends records to a file. Many tasks may share it.
#[derive(Debug)]
pub struct Recorder(Mutex<BufWriter<File>>);

impl Recorder {
    /// A new, empty history.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| path.display().to_string())?;
        Ok(Self(Mutex::new(BufWriter::new(file))))
    }

    /// Appends one.
    pub fn record(&self, record: &Record) {
        let mut line = serde_json::to_vec(record).unwrap();
        line.push(b'\n');
        self.0.lock().unwrap().write_all(&line).unwrap();
    }

    /// Writes out what is still held back.
    pub fn flush(&self) {
        self.0.lock().unwrap().flush().unwrap();
    }
}

/// Reads a history back.
///
/// # Errors
/// When the file cannot be read, or is none: the line is named.
pub fn load(path: &Path) -> anyhow::Result<Vec<Record>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let mut records = Vec::new();
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let at = || format!("{}:{}", path.display(), number + 1);
        records.push(serde_json::from_str(&line.with_context(at)?).with_context(at)?);
    }
    Ok(records)
}
