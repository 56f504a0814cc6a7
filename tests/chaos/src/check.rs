//! The judge: what must hold of a history, whoever made it.
//!
//! Owns the evidence, put in order once, and one file for each group of properties. Names of
//! properties are those of the simulator's. Knows nothing of how a run is made: a history from a
//! file is judged just so, and its tests plant wrong histories of every kind.
//!
//! What a signal paused is cut out of what a process did. A process that wakes needs a moment to
//! see that it has slept: [`WAKING`] is granted to it, and to no other.

mod endings;
mod limits;
mod reads;
mod runs;
mod submissions;
#[cfg(test)]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test looks for the one kind of record it breaks"
)]
mod tests;
mod trails;

use std::collections::BTreeMap;
use std::fmt;

use super::clock::{MILLISECOND, SECOND};
use super::history::{
    Asked, AuditRow, CountersRow, DiaryEntry, Happened, Head, LeaseSeen, Outcome, ProcessEvent,
    Record, Struck, What, WorkerRow, WorkloadRow,
};

/// How long a process that was stopped may go on with what it must not do any more.
pub const WAKING: i64 = SECOND;
/// How far the moments of two processes, or of a row and its commit, may lie apart.
pub const SLACK: i64 = 100 * MILLISECOND;

/// A property that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which, as `P10`.
    pub property: &'static str,
    /// What was seen.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.property, self.text)
    }
}

/// What the judge says.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// Empty when everything holds.
    pub violations: Vec<Violation>,
    /// What was looked at, for people.
    pub figures: BTreeMap<String, u64>,
}

/// One run of an attempt in a worker process.
#[derive(Debug, Clone)]
struct Run<'a> {
    process: &'a str,
    workload: &'a str,
    attempt: u64,
    from: i64,
    to: i64,
    ended: Option<&'a str>,
}

/// The records, in order.
struct Evidence<'a> {
    head: &'a Head,
    asked: Vec<&'a Asked>,
    workloads: BTreeMap<&'a str, &'a WorkloadRow>,
    /// By workload, by number.
    trails: BTreeMap<&'a str, Vec<&'a AuditRow>>,
    /// By workload, by moment.
    runs: BTreeMap<&'a str, Vec<Run<'a>>>,
    /// When each process stood still.
    pauses: BTreeMap<&'a str, Vec<(i64, i64)>>,
    processes: Vec<&'a ProcessEvent>,
    leases: Vec<&'a LeaseSeen>,
    strikes: Vec<&'a Struck>,
    workers: Vec<&'a WorkerRow>,
    counters: Vec<&'a CountersRow>,
}

/// Judges a history.
///
/// # Panics
/// When it has no head.
#[must_use]
pub fn check(records: &[Record]) -> Verdict {
    let evidence = Evidence::gather(records);
    let mut found = Vec::new();
    submissions::check(&evidence, &mut found);
    trails::check(&evidence, &mut found);
    runs::check(&evidence, &mut found);
    limits::check(&evidence, &mut found);
    reads::check(&evidence, &mut found);
    endings::check(&evidence, &mut found);
    Verdict {
        violations: found,
        figures: evidence.figures(),
    }
}

impl<'a> Evidence<'a> {
    fn gather(records: &'a [Record]) -> Self {
        let head = records.iter().find_map(|record| {
            if let Record::Head(head) = record {
                return Some(head);
            }
            None
        });
        let mut this = Self {
            head: head.expect("a history begins with its head"),
            asked: Vec::new(),
            workloads: BTreeMap::new(),
            trails: BTreeMap::new(),
            runs: BTreeMap::new(),
            pauses: BTreeMap::new(),
            processes: Vec::new(),
            leases: Vec::new(),
            strikes: Vec::new(),
            workers: Vec::new(),
            counters: Vec::new(),
        };
        let mut diary = Vec::new();
        for record in records {
            match record {
                Record::Head(_) => {}
                Record::Asked(asked) => this.asked.push(asked),
                Record::Process(event) => this.processes.push(event),
                Record::Diary(entry) => diary.push(entry),
                Record::Strike(struck) => this.strikes.push(struck),
                Record::Lease(seen) => this.leases.push(seen),
                Record::Workload(row) => {
                    this.workloads.insert(&row.id, row);
                }
                Record::Audit(row) => this.trails.entry(&row.workload).or_default().push(row),
                Record::Worker(row) => this.workers.push(row),
                Record::Counters(row) => this.counters.push(row),
            }
        }
        for trail in this.trails.values_mut() {
            trail.sort_by_key(|event| event.sequence);
        }
        this.asked.sort_by_key(|asked| asked.from);
        this.find_pauses();
        this.find_runs(&diary);
        this
    }

    fn find_pauses(&mut self) {
        for event in &self.processes {
            let pauses = self.pauses.entry(&event.process).or_default();
            match event.what {
                Happened::Stopped => pauses.push((event.at, i64::MAX)),
                Happened::GoesOn => {
                    if let Some(last) = pauses.last_mut() {
                        last.1 = event.at;
                    }
                }
                Happened::Started
                | Happened::Ended
                | Happened::EndedLate
                | Happened::EndedUnasked => {}
            }
        }
    }

    /// A run without an end ended with its process.
    fn find_runs(&mut self, diary: &[&'a DiaryEntry]) {
        let mut ends: BTreeMap<&str, i64> = BTreeMap::new();
        for event in &self.processes {
            if matches!(
                event.what,
                Happened::Ended | Happened::EndedLate | Happened::EndedUnasked
            ) {
                ends.insert(&event.process, event.at);
            }
        }
        let mut open: BTreeMap<(&str, &str, u64), Run<'a>> = BTreeMap::new();
        for entry in diary {
            let key = (
                entry.process.as_str(),
                entry.workload.as_str(),
                entry.attempt,
            );
            if entry.ended.is_none() {
                let run = Run {
                    process: &entry.process,
                    workload: &entry.workload,
                    attempt: entry.attempt,
                    from: entry.at,
                    to: ends.get(key.0).copied().unwrap_or(i64::MAX),
                    ended: None,
                };
                // The same attempt twice in one process: both are kept, and found out.
                if let Some(before) = open.insert(key, run) {
                    self.runs.entry(before.workload).or_default().push(before);
                }
            } else if let Some(mut run) = open.remove(&key) {
                (run.to, run.ended) = (entry.at, entry.ended.as_deref());
                self.runs.entry(run.workload).or_default().push(run);
            }
        }
        for run in open.into_values() {
            self.runs.entry(run.workload).or_default().push(run);
        }
        for runs in self.runs.values_mut() {
            runs.sort_by_key(|run| run.from);
        }
    }

    /// A moment of the tables on the clock of the run.
    fn moment(&self, wall: i64) -> i64 {
        wall + self.head.from_wall
    }

    fn figures(&self) -> BTreeMap<String, u64> {
        let mut figures = BTreeMap::new();
        let mut count = |name: &str, count: usize| {
            figures.insert(name.to_owned(), count as u64);
        };
        let outcome = |wanted: Outcome, is_submission: bool| {
            let of_kind = self.asked.iter().filter(|asked| {
                is_submission == matches!(asked.what, What::Submit { .. })
                    && asked.outcome == wanted
            });
            of_kind.count()
        };
        count("submissions acknowledged", outcome(Outcome::Ok, true));
        count("submissions refused", outcome(Outcome::Failed, true));
        count("submissions unknown", outcome(Outcome::Unknown, true));
        count("wishes and reads answered", outcome(Outcome::Ok, false));
        count("workloads", self.workloads.len());
        count("audit events", self.trails.values().map(Vec::len).sum());
        count("runs in diaries", self.runs.values().map(Vec::len).sum());
        count("leadership terms", self.leases.len());
        for struck in self.strikes.iter().filter(|struck| !struck.was_skipped) {
            let name = format!("strike: {}", struck.kind);
            *figures.entry(name).or_insert(0) += 1;
        }
        figures
    }
}

/// Whether a status is final.
fn is_terminal(status: &str) -> bool {
    matches!(status, "COMPLETED" | "FAILED" | "CANCELLED")
}

/// Whether an audit event ends its workload.
fn is_end(kind: &str) -> bool {
    matches!(kind, "completed" | "failed" | "cancelled")
}

/// Whether an audit event is a wish.
fn is_wish(kind: &str) -> bool {
    kind.ends_with("_requested")
}
