//! Rows made of bytes.

use arbitrary::Unstructured;
use niyanta_core::{
    batch::{LeaderHalf, WorkerRecord},
    fleet::{WorkerDesired, WorkerStatus},
    ids::{
        Attempt, BatchNumber, CustomerId, Generation, Incarnation, PlacementClass, WishRevision,
        WorkerId, WorkloadId,
    },
    scheduling::{AffinityRules, Tags},
    snapshot::{CustomerRow, FenceRow, Loaded, Snapshot, SweepCursor, WorkerRow, WorkloadRow},
    time::{Duration, WallTime},
    workload::{Cause, Desired, ErrorType, OnLeaseLoss, Status},
};
use std::{str::FromStr, sync::Arc};

/// An identifier from a text of the program's own.
pub(super) fn name<T: FromStr>(text: &str) -> T {
    match text.parse() {
        Ok(name) => name,
        Err(_) => unreachable!("{text} is an identifier"),
    }
}

/// A byte; zero when there are none left.
pub(super) fn number(u: &mut Unstructured<'_>) -> u8 {
    u.arbitrary().unwrap_or(0)
}

fn any<T: Copy>(u: &mut Unstructured<'_>, values: &[T]) -> T {
    values[usize::from(number(u)) % values.len()]
}

fn is(u: &mut Unstructured<'_>) -> bool {
    number(u) % 2 == 1
}

fn maybe<T>(u: &mut Unstructured<'_>, make: impl FnOnce(&mut Unstructured<'_>) -> T) -> Option<T> {
    is(u).then(|| make(u))
}

/// Small, or at an end of what a 32-bit column holds.
fn count(u: &mut Unstructured<'_>) -> u32 {
    const MAX: u32 = i32::MAX as u32;
    match number(u) {
        byte @ 0..200 => u32::from(byte % 8),
        200..228 => MAX,
        228..240 => MAX - 1,
        _ => u.arbitrary::<u32>().unwrap_or(0) & MAX,
    }
}

/// Small, or at an end of what a 64-bit column holds.
fn long(u: &mut Unstructured<'_>) -> u64 {
    const MAX: u64 = i64::MAX as u64;
    match number(u) {
        byte @ 0..200 => u64::from(byte % 8),
        200..228 => MAX,
        _ => u.arbitrary::<u64>().unwrap_or(0) & MAX,
    }
}

fn moment(u: &mut Unstructured<'_>) -> WallTime {
    let now = 1_700_000_000_000_000_i64;
    match number(u) {
        byte @ 0..200 => WallTime(now + i64::from(byte) * 500_000 - 20_000_000),
        200..220 => WallTime(i64::MAX),
        220..240 => WallTime(i64::MIN),
        _ => WallTime(u.arbitrary().unwrap_or(0)),
    }
}

fn span(u: &mut Unstructured<'_>) -> Duration {
    match number(u) {
        byte @ 0..200 => Duration::from_secs(byte.into()),
        200..228 => Duration::from_micros(i64::MAX as u64),
        _ => Duration::from_micros(long(u)),
    }
}

pub(super) fn workload(u: &mut Unstructured<'_>) -> WorkloadId {
    match number(u) {
        255 => WorkloadId(u128::MAX),
        byte => WorkloadId((byte % 8).into()),
    }
}

pub(super) fn attempt(u: &mut Unstructured<'_>) -> Attempt {
    Attempt(count(u))
}

pub(super) fn tags(u: &mut Unstructured<'_>) -> Tags {
    let zone = any(u, &["x", "y", ""]);
    let tag = (!zone.is_empty()).then(|| ("zone".into(), zone.into()));
    tag.into_iter().collect()
}

pub(super) fn process(u: &mut Unstructured<'_>) -> (WorkerId, Incarnation) {
    let (worker, start) = (any(u, &["w1", "w2", "w3"]), any(u, &["1", "2"]));
    (name(worker), name(&format!("{worker}-{start}")))
}

fn affinity(u: &mut Unstructured<'_>) -> AffinityRules {
    let mut rules = AffinityRules::default();
    match number(u) % 6 {
        1 => rules.hard.worker_tags = tags(u),
        2 => rules.soft.worker_tags = tags(u),
        3 => rules.anti.worker_tags = tags(u),
        4 => rules.anti.workload_types = [name("a")].into(),
        5 => rules.hard.worker_id = Some(process(u).0),
        _ => {}
    }
    rules
}

fn leader(u: &mut Unstructured<'_>, status: Status) -> LeaderHalf {
    // Most rows agree with themselves, so that most terms begin.
    let has_worker = if number(u) < 250 {
        status.has_open_attempt()
    } else {
        is(u)
    };
    LeaderHalf {
        status,
        attempt: attempt(u),
        worker: has_worker.then(|| process(u)),
        retry_count: count(u),
        loss_count: count(u),
        eligible_at: moment(u),
        sort_key: moment(u).0,
        backoff_until: maybe(u, moment),
        wish_seen: WishRevision(long(u)),
        stopping: maybe(u, |u| any(u, Cause::ALL)),
        error_type: maybe(u, |u| any(u, ErrorType::ALL)),
    }
}

fn row(u: &mut Unstructured<'_>, statuses: &[Status]) -> WorkloadRow {
    let status = any(u, statuses);
    WorkloadRow {
        id: workload(u),
        customer: CustomerId((number(u) % 3).into()),
        workload_type: name(any(u, &["a", "b"])),
        affinity: Arc::new(affinity(u)),
        class: PlacementClass((number(u) % 3).into()),
        priority: u16::from(number(u)) * 4,
        max_retries: count(u),
        timeout: span(u),
        on_lease_loss: any(u, OnLeaseLoss::ALL),
        run_after: maybe(u, moment),
        desired: any(u, Desired::ALL),
        wish_revision: WishRevision(long(u)),
        leader: leader(u, status),
        checkpoint: maybe(u, |u| (attempt(u), long(u))),
        started_at: maybe(u, moment),
    }
}

fn worker(u: &mut Unstructured<'_>) -> WorkerRow {
    let (worker, incarnation) = process(u);
    WorkerRow {
        record: WorkerRecord {
            worker,
            incarnation,
            status: any(u, WorkerStatus::ALL),
            capabilities: [name(any(u, &["a", "b"]))].into(),
            capacity: count(u),
            tags: tags(u),
            version: "1".into(),
            longest_lease: span(u),
            wish_seen: WishRevision(long(u)),
            stamp_registered: is(u),
        },
        desired: any(u, WorkerDesired::ALL),
        wish_revision: WishRevision(long(u)),
        drain_deadline: maybe(u, moment),
    }
}

fn some<T>(
    u: &mut Unstructured<'_>,
    most: u8,
    mut make: impl FnMut(&mut Unstructured<'_>) -> T,
) -> Vec<T> {
    let count = number(u) % (most + 1);
    (0..count).map(|_| make(u)).collect()
}

fn customer(u: &mut Unstructured<'_>) -> CustomerRow {
    CustomerRow {
        id: CustomerId((number(u) % 3).into()),
        weight: count(u),
        max_running: count(u),
    }
}

/// What a term begins with.
pub(super) fn snapshot(u: &mut Unstructured<'_>, generation: Generation) -> Snapshot {
    let is_foreign = number(u) == 255;
    Snapshot {
        fence: FenceRow {
            generation: if is_foreign {
                generation.next()
            } else {
                generation
            },
            incarnation: name("leader"),
            applied: BatchNumber(u64::from(number(u) == 255)),
        },
        longest_ttl: span(u),
        workers: some(u, 4, worker),
        open: some(u, 6, |u| {
            let open = [Status::Scheduled, Status::Running, Status::Redistributing];
            let statuses = if number(u) < 240 { &open } else { Status::ALL };
            row(u, statuses)
        }),
        customers: some(u, 3, customer),
        waiting: some(u, 4, |u| {
            let statuses = if number(u) < 240 {
                &[Status::Pending]
            } else {
                Status::ALL
            };
            row(u, statuses)
        }),
        next: maybe(u, |u| SweepCursor {
            customer: CustomerId(0),
            class: PlacementClass(0),
            sort_key: moment(u).0,
            workload: workload(u),
        }),
    }
}

/// What it loads later.
pub(super) fn loaded(u: &mut Unstructured<'_>) -> Loaded {
    Loaded {
        workloads: some(u, 4, |u| row(u, Status::ALL)),
        workers: some(u, 2, worker),
        customers: some(u, 2, customer),
        complete: !is(u),
    }
}
