//! What the words of a script mean to `niyanta_core`, and how its answers are told.
//!
//! Compiled twice: over the planted core for the model, and over the production core beside the
//! real databases, so that both sides mean the same by a word. Hence it names nothing but
//! `niyanta_core` and the words.

use super::script::{BatchWords, LoadWords, MoveWords, WorkerWords};
use niyanta_core::{
    batch::{
        Actor, AuditDetails, AuditStep, Batch, CounterWrite, LeaderHalf, WorkerRecord, WorkerWrite,
        WorkloadWrite,
    },
    ids::{
        Attempt, BatchNumber, CustomerId, Generation, Incarnation, PlacementClass, WishRevision,
        WorkerId, WorkloadId, WorkloadType,
    },
    scheduling::PendingReason,
    snapshot::{LeaseRow, Load, SweepCursor},
    time::{Duration, WallTime},
    workload::{AuditKind, ErrorType},
};
use std::{fmt, str::FromStr};

/// Every workload's type.
pub(super) const TYPE: &str = "conform";
/// Every workload's class.
pub(super) const CLASS: PlacementClass = PlacementClass(7);
/// Every workload's retries.
pub(super) const MAX_RETRIES: u32 = 3;
/// Every workload's seconds.
pub(super) const TIMEOUT_SECONDS: u32 = 60;
/// A lease that outlasts every script.
const LONG: Duration = Duration::from_secs(3_600);

/// A word of a script as what it stands for. A script that holds no such word is not one.
pub(super) fn word<T: FromStr>(text: &str) -> T
where
    T::Err: fmt::Debug,
{
    match text.parse() {
        Ok(word) => word,
        Err(error) => panic!("a script says `{text}`: {error:?}"),
    }
}

/// The incarnation of a client.
pub(super) fn node(number: usize) -> Incarnation {
    word(&format!("n{number}"))
}

/// The id of a worker.
pub(super) fn worker(number: u8) -> WorkerId {
    word(&format!("w{number}"))
}

/// The incarnation of a start of a worker.
pub(super) fn start((number, start): (u8, u8)) -> Incarnation {
    word(&format!("w{number}.{start}"))
}

/// The id of a customer.
pub(super) fn customer(number: u8) -> CustomerId {
    CustomerId(number.into())
}

/// The id of a workload.
pub(super) fn workload(number: u8) -> WorkloadId {
    WorkloadId(number.into())
}

/// The type of all workloads.
pub(super) fn kind() -> WorkloadType {
    word(TYPE)
}

/// How long a lease is taken for.
pub(super) const fn ttl(long: bool) -> Duration {
    if long { LONG } else { Duration::ZERO }
}

/// A reason why a workload waits.
pub(super) const fn reason(number: u32) -> PendingReason {
    PendingReason::NoCapacity { capable: number }
}

/// The rows that are to be loaded.
pub(super) fn load(words: &LoadWords) -> Load {
    let at = |seconds: i64| WallTime(seconds * 1_000_000);
    match words {
        LoadWords::Workloads(ids) => Load::Workloads(ids.iter().copied().map(workload).collect()),
        LoadWords::Wishes => Load::Wishes,
        LoadWords::Backlog(of) => Load::Backlog {
            customer: customer(*of),
            class: CLASS,
            after: None,
        },
        LoadWords::Sweep(from) => Load::Sweep {
            after: from.map(|from| SweepCursor {
                customer: customer(from),
                class: CLASS,
                sort_key: i64::MIN,
                workload: WorkloadId(0),
            }),
        },
        LoadWords::Eligible(after, until) => Load::Eligible {
            after: at(*after),
            until: at(*until),
        },
        LoadWords::WorkerWishes => Load::WorkerWishes,
        LoadWords::Customers(ids) => Load::Customers(ids.iter().copied().map(customer).collect()),
    }
}

/// A batch.
pub(super) fn batch(words: &BatchWords) -> Batch {
    Batch {
        generation: Generation(words.generation),
        incarnation: node(words.node),
        number: BatchNumber(words.number),
        workloads: words.moves.iter().map(move_of).collect(),
        workers: words.workers.iter().map(worker_write).collect(),
        counters: words
            .counters
            .iter()
            .map(|it| CounterWrite {
                customer: customer(it.customer),
                left_queue: it.left_queue,
                running: it.running,
            })
            .collect(),
    }
}

fn move_of(words: &MoveWords) -> WorkloadWrite {
    let attempt = Attempt(words.to.1);
    let kinds: Vec<AuditKind> = words.kinds.iter().map(|it| word(it)).collect();
    let stamps = |kind| kinds.contains(&kind);
    let details = |kind: &AuditKind| match (kind, words.worker) {
        (AuditKind::Scheduled, Some(held)) => AuditDetails::Assigned {
            worker: worker(held.0),
            incarnation: start(held),
            checkpoint: None,
        },
        (AuditKind::Failed, _) => AuditDetails::Failed {
            error_type: ErrorType::Permanent,
        },
        _ => AuditDetails::None,
    };
    let actor = |kind: &AuditKind| match (kind, words.worker) {
        (AuditKind::Started, Some((number, _))) => Actor::Worker(worker(number)),
        (AuditKind::Redistributing, _) => Actor::System,
        _ => Actor::Coordinator,
    };
    WorkloadWrite {
        id: workload(words.workload),
        customer: customer(words.customer),
        from_status: word(&words.from.0),
        from_attempt: Attempt(words.from.1),
        to: LeaderHalf {
            status: word(&words.to.0),
            attempt,
            worker: words.worker.map(|held| (worker(held.0), start(held))),
            retry_count: 1,
            loss_count: 2,
            eligible_at: WallTime(words.eligible * 1_000_000),
            sort_key: words.eligible,
            backoff_until: None,
            wish_seen: WishRevision(words.wish_seen),
            stopping: words.stopping.as_deref().map(word),
            error_type: words.error.as_deref().map(word),
        },
        stamp_scheduled: stamps(AuditKind::Scheduled),
        stamp_started: stamps(AuditKind::Started),
        stamp_completed: word::<niyanta_core::workload::Status>(&words.to.0).is_terminal(),
        steps: kinds
            .iter()
            .map(|kind| AuditStep {
                kind: *kind,
                actor: actor(kind),
                attempt,
                details: details(kind),
            })
            .collect(),
    }
}

fn worker_write(words: &WorkerWords) -> WorkerWrite {
    match words {
        WorkerWords::Put {
            worker: number,
            start: nth,
            status,
            wish_seen,
            registered,
            bad,
        } => WorkerWrite::Put(WorkerRecord {
            worker: worker(*number),
            incarnation: start((*number, *nth)),
            status: word(status),
            capabilities: [kind()].into(),
            capacity: 4,
            tags: [("zone".into(), "a".into())].into(),
            version: if *bad { "1\0".into() } else { "1".into() },
            longest_lease: Duration::from_secs(30),
            wish_seen: WishRevision(*wish_seen),
            stamp_registered: *registered,
        }),
        WorkerWords::Remove { worker: number } => WorkerWrite::Remove {
            worker: worker(*number),
        },
    }
}

/// A lease row as it is told: what is left of a lease is all of it or nothing.
pub(super) fn lease_row(row: &LeaseRow) -> String {
    let long = row.remaining > Duration::from_secs(60);
    format!(
        "{} {} long={long} resigned={}",
        row.incarnation, row.generation, row.resigned
    )
}

/// A value of `niyanta_core` as it is told.
pub(super) fn told(value: &dyn fmt::Debug) -> String {
    timeless(&format!("{value:?}"))
}

/// A text in which every moment of these years, in microseconds since 1970, is `now`.
pub(super) fn timeless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(at);
        let end = from.find(|c: char| !c.is_ascii_digit());
        let (digits, after) = from.split_at(end.unwrap_or(from.len()));
        let is_now = digits
            .parse::<u128>()
            .is_ok_and(|number| (1_500_000_000_000_000..2_500_000_000_000_000).contains(&number));
        out.push_str(before);
        out.push_str(if is_now { "now" } else { digits });
        rest = after;
    }
    out.push_str(rest);
    out
}
