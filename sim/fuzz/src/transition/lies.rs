//! Events that no sane world produces: answers to questions that were not asked, and rows that
//! cannot be.
//!
//! Core must neither panic on them nor lose its own order. What the store then holds says nothing
//! any more, so nothing that compares with it is judged afterwards.

use super::world::World;
use niyanta_core::{
    Event, PersistOutcome,
    ids::{AskId, Attempt, BatchNumber, Generation, LoadId, WishRevision, WorkerId, WorkloadId},
    snapshot::{FenceRow, LeaseRow, Loaded, WorkloadRow},
    time::{Duration, Timestamp, WallTime},
    workload::{Cause, Desired, Status},
};

/// Tells a coordinator something that is not so.
pub fn tell(world: &mut World, place: usize, b: u8, c: u8) {
    world.lie();
    if let Some(event) = lie(world, place, b, c) {
        world.happen(place, event);
    }
}

fn lie(world: &mut World, place: usize, b: u8, c: u8) -> Option<Event> {
    let node = &world.nodes[place];
    let generation = odd_generation(node.core.generation().unwrap_or(node.term), c);
    let database_time = odd_time(world.store.wall(world.now), c);
    let number = odd_number(node.asked.batch, c);
    Some(match b % 16 {
        0 => Event::PersistAnswered {
            generation,
            number,
            outcome: OUTCOMES[usize::from(c >> 4) % OUTCOMES.len()],
        },
        1 => Event::FenceRead {
            generation,
            row: (c & 64 == 0).then(|| FenceRow {
                generation,
                incarnation: node.incarnation.clone(),
                applied: number,
            }),
        },
        9 => Event::LeaseResigned { generation },
        10 => Event::ProbeHeard { nonce: c.into() },
        11 => Event::Tick {
            heard_until: [Timestamp::ZERO, Timestamp::MAX, Timestamp(1 << 62)][usize::from(c) % 3],
        },
        12 => {
            let ttl = world.config.leader_lease_ttl;
            let mut snapshot = world.store.snapshot(ttl, u32::from(c));
            let rows = snapshot.open.iter_mut().chain(&mut snapshot.waiting);
            rows.for_each(|row| twist(row, c));
            if c & 128 != 0 {
                snapshot.workers.clear();
            }
            Event::SnapshotLoaded {
                generation,
                snapshot: Box::new(snapshot),
                database_time,
            }
        }
        13 | 14 => Event::Loaded {
            load: LoadId(node.asked.load.0.saturating_sub(u64::from(c >> 5))),
            rows: (c & 16 == 0).then(|| Box::new(odd_rows(world, c))),
            database_time,
        },
        15 => {
            world.store.wall_step = [0, -(1 << 40), 1 << 40, i64::MAX][usize::from(c) % 4];
            return None;
        }
        lease => about_lease(world, place, lease, c),
    })
}

/// An answer about the lease that nobody waits for, or that is not so.
fn about_lease(world: &World, place: usize, kind: u8, c: u8) -> Event {
    let node = &world.nodes[place];
    let generation = odd_generation(node.core.generation().unwrap_or(node.term), c);
    let ask = AskId(node.asked.ask.0.saturating_sub(u64::from(c % 3)));
    let database_time = odd_time(world.store.wall(world.now), c);
    let lasts = [Duration::ZERO, Duration::MAX, Duration::from_secs(1)];
    let row = LeaseRow {
        incarnation: node.incarnation.clone(),
        generation,
        remaining: lasts[usize::from(c) % 3],
        resigned: c & 8 != 0,
    };
    match kind {
        2 => Event::LeaseTaken {
            ask,
            generation,
            database_time,
        },
        3 => Event::LeaseRenewed {
            ask,
            generation,
            database_time,
        },
        4 => Event::LeaseRead {
            ask,
            row,
            database_time,
        },
        5 => Event::LeaseRefused {
            ask,
            row,
            database_time,
        },
        6 => Event::LeaseLost { ask, generation },
        7 => Event::LeaseUnknown { ask },
        _ => Event::LeaseUnanswered { ask },
    }
}

const OUTCOMES: [PersistOutcome; 6] = [
    PersistOutcome::Applied,
    PersistOutcome::NotApplied,
    PersistOutcome::Short,
    PersistOutcome::Refused,
    PersistOutcome::LockTimeout,
    PersistOutcome::Unknown,
];

fn odd_generation(own: Generation, c: u8) -> Generation {
    // Every edge refuses more than this.
    const MAX: u64 = (i64::MAX as u64) - (1 << 40);
    match c % 5 {
        0 | 1 => own,
        2 => Generation(own.0.saturating_sub(1)),
        3 => Generation(own.0 + 1),
        _ => Generation(MAX),
    }
}

fn odd_number(last: BatchNumber, c: u8) -> BatchNumber {
    match c >> 3 & 3 {
        0 | 1 => last,
        2 => BatchNumber(last.0.saturating_sub(1)),
        _ => BatchNumber(last.0 + 1),
    }
}

fn odd_time(now: WallTime, c: u8) -> WallTime {
    match c >> 6 {
        0 | 1 => now,
        2 => WallTime(i64::MIN),
        _ => WallTime(i64::MAX),
    }
}

fn odd_rows(world: &World, c: u8) -> Loaded {
    let mut workloads: Vec<_> = world.store.workloads.values().cloned().collect();
    workloads.iter_mut().for_each(|row| twist(row, c));
    Loaded {
        workloads,
        workers: world.store.workers.values().cloned().collect(),
        customers: Vec::new(),
        complete: c & 1 == 0,
    }
}

/// Makes one thing of a row as it cannot be.
fn twist(row: &mut WorkloadRow, c: u8) {
    let leader = &mut row.leader;
    match c % 20 {
        0 => leader.status = Status::ALL[usize::from(c >> 4) % Status::ALL.len()],
        1 => leader.attempt = Attempt(0),
        2 => leader.worker = None,
        3 => {
            let ghost: WorkerId = super::world::name("ghost");
            leader.worker = Some((ghost, super::world::name("ghost-1")));
        }
        4 => leader.retry_count = u32::MAX,
        5 => leader.loss_count = u32::MAX,
        6 => leader.eligible_at = WallTime(i64::MIN),
        7 => leader.eligible_at = WallTime(i64::MAX),
        8 => leader.sort_key = i64::MIN,
        9 => leader.sort_key = i64::MAX,
        10 => leader.backoff_until = Some(WallTime(i64::MAX)),
        11 => leader.wish_seen = WishRevision(u64::MAX),
        12 => row.wish_revision = WishRevision(u64::MAX),
        13 => leader.stopping = Some(Cause::Cancelled),
        14 => row.timeout = Duration::MAX,
        15 => row.max_retries = u32::MAX,
        16 => row.checkpoint = Some((Attempt(u32::MAX), u64::MAX)),
        17 => row.started_at = Some(WallTime(i64::MAX)),
        18 => row.desired = Desired::Cancel,
        _ => row.id = WorkloadId(u128::MAX),
    }
}
