//! Anything may happen in any order: core keeps its invariants, and the store what it is owed.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod rig;

use niyanta_core::{
    Content, Coordinator, Effect, Event, PersistOutcome, WorkerMessage,
    fleet::{ReportedStatus, WorkerDesired},
    ids::{Attempt, Generation, WorkloadId},
    rng::Rng,
    snapshot::SnapshotError,
    status::Role,
    time::{Duration, Timestamp},
    workload::{Cause, Desired, ErrorType, OnLeaseLoss, Status},
};
use rig::{SECOND, World, store::wall};

fn pick(rng: &mut Rng, bound: u64) -> u64 {
    rng.number() % bound
}

fn any<T: Copy>(rng: &mut Rng, values: &[T]) -> T {
    values[usize::try_from(pick(rng, values.len() as u64)).unwrap()]
}

/// A report on some attempt, right or wrong.
fn any_report(world: &World, rng: &mut Rng) -> WorkerMessage {
    let workload = WorkloadId(u128::from(1 + pick(rng, 12)));
    let known = world.store.workloads.get(&workload);
    let last = known.map_or(Attempt::ZERO, |row| row.leader.attempt);
    let attempt = if pick(rng, 4) == 0 {
        Attempt(last.0 / 2)
    } else {
        last
    };
    let contents = [
        Content::Absent,
        Content::Stored,
        Content::NotOpen,
        Content::Refused,
    ];
    let content = any(rng, &contents);
    match pick(rng, 6) {
        0 => WorkerMessage::Started { workload, attempt },
        1 => WorkerMessage::Checkpoint {
            workload,
            attempt,
            checkpoint_sequence: pick(rng, 5),
            content,
        },
        2 => WorkerMessage::Completed {
            workload,
            attempt,
            content,
        },
        3 | 4 => WorkerMessage::Failed {
            workload,
            attempt,
            error_type: any(
                rng,
                &[
                    ErrorType::Transient,
                    ErrorType::Permanent,
                    ErrorType::Timeout,
                ],
            ),
            content,
        },
        _ => WorkerMessage::Stopped {
            workload,
            attempt,
            cause: any(rng, Cause::ALL),
        },
    }
}

fn any_step(world: &mut World, rng: &mut Rng, spawned: &mut u64) {
    match pick(rng, 24) {
        0..=4 => customer_acts(world, rng),
        5..=15 => worker_acts(world, rng, spawned),
        16..=21 => something_fails(world, rng),
        _ => world.advance(Duration::from_millis(1 + pick(rng, 20_000))),
    }
}

fn customer_acts(world: &mut World, rng: &mut Rng) {
    let number = 1 + u128::from(pick(rng, 12));
    let Some(row) = world.store.workloads.get(&WorkloadId(number)) else {
        world.store.on_lease_loss = any(rng, OnLeaseLoss::ALL);
        world.submit(number);
        return;
    };
    let (id, leader, desired) = (row.id, &row.leader, row.desired);
    if !leader.status.is_terminal() && desired != Desired::Cancel {
        let stays = [Desired::Run, Desired::Pause];
        let ends = pick(rng, 5) == 0;
        let desired = if ends {
            Desired::Cancel
        } else {
            any(rng, &stays)
        };
        world.wish(id, desired);
    }
}

fn worker_acts(world: &mut World, rng: &mut Rng, spawned: &mut u64) {
    let name = format!("w{}", pick(rng, 3));
    let old = world.agents.get(&name).map(|a| a.incarnation.to_string());
    let act = pick(rng, 11);
    if act < 2 || old.is_none() {
        *spawned += 1;
        world.spawn(&name, &format!("{name}-{spawned}"));
        let replaces = old.filter(|_| pick(rng, 2) == 0);
        let capacity = 1 + u32::try_from(pick(rng, 3)).unwrap();
        world.register_as(&name, capacity, replaces.as_deref());
        return;
    }
    match act {
        2 => {
            let status = any(rng, ReportedStatus::ALL);
            let id = WorkloadId(1 + u128::from(pick(rng, 12)));
            let attempt = Attempt(u32::try_from(pick(rng, 4)).unwrap());
            world.agent(&name).running.push((id, attempt));
            world.heartbeat_as(&name, status);
        }
        3 => world.agent(&name).is_silent ^= true,
        4 => world.agent(&name).obeys ^= true,
        5 if pick(rng, 3) == 0 => {
            world.ask(&name, WorkerMessage::Deregister);
        }
        _ => {
            let report = any_report(world, rng);
            world.ask(&name, report);
        }
    }
}

fn something_fails(world: &mut World, rng: &mut Rng) {
    let name = format!("w{}", pick(rng, 3));
    match pick(rng, 7) {
        0 if world.store.worker(&name).is_some() => {
            let wishes = [
                WorkerDesired::Run,
                WorkerDesired::Drain,
                WorkerDesired::Remove,
            ];
            let desired = any(rng, &wishes);
            let deadline = (pick(rng, 2) == 0).then(|| wall(world.now.plus(20 * SECOND)));
            world.store.wish_worker(&name, desired, deadline);
            world.happen(Event::WorkersHinted);
        }
        1 => {
            world.holds_batches = !world.holds_batches;
            if !world.holds_batches {
                world.release();
            }
        }
        2 => {
            let outcomes = [
                (PersistOutcome::Unknown, true),
                (PersistOutcome::Unknown, false),
                (PersistOutcome::LockTimeout, false),
                (PersistOutcome::Short, false),
                (PersistOutcome::Refused, false),
            ];
            world.outcomes.push_back(any(rng, &outcomes));
        }
        3 => {
            world.holds_loads = !world.holds_loads;
            for event in std::mem::take(&mut world.held_loads) {
                world.happen(event);
            }
        }
        4 => world.happen(Event::ListeningInterrupted),
        5 if pick(rng, 6) == 0 => world.freeze(Duration::from_secs(pick(rng, 20))),
        6 if pick(rng, 6) == 0 => {
            let above = world.store.fence.generation.next();
            world.happen(Event::GenerationSeen(above));
        }
        _ => world.tick(),
    }
}

#[test]
fn whatever_happens_the_invariants_hold_and_then_everything_comes_right() {
    for seed in 0..60 {
        let mut rng = Rng::new(seed).child("anything");
        let mut world = World::new();
        let mut spawned = 0;
        for _ in 0..400 {
            any_step(&mut world, &mut rng, &mut spawned);
        }
        heal(&mut world);
        for row in world.store.workloads.values() {
            let leader = &row.leader;
            let wished = match row.desired {
                Desired::Run => leader.status != Status::Paused,
                Desired::Pause => leader.status == Status::Paused || leader.status.is_terminal(),
                Desired::Cancel => leader.status.is_terminal(),
            };
            assert!(wished, "seed {seed}: {} is {}", row.id, leader.status);
            assert_ne!(
                leader.status,
                Status::Redistributing,
                "seed {seed}: {}",
                row.id
            );
            assert_ne!(
                leader.status,
                Status::Pending,
                "seed {seed}: {row:?} {:?} {:?}",
                world.core.status(),
                world.store.worker("fresh")
            );
            assert_eq!(leader.wish_seen, row.wish_revision, "seed {seed}");
            assert!(leader.retry_count <= row.max_retries, "P22");
        }
    }
}

/// Faults stop, the old workers are gone, and there is room on a new one.
fn heal(world: &mut World) {
    world.outcomes.clear();
    world.holds_loads = false;
    for event in std::mem::take(&mut world.held_loads) {
        world.happen(event);
    }
    world.release();
    for agent in world.agents.values_mut() {
        agent.is_silent = true;
    }
    world.advance(30 * SECOND);
    world.spawn("fresh", "fresh-1");
    world.register_as("fresh", 100, None);
    world.advance(20 * SECOND);
    if world.store.worker("fresh").is_none() {
        world.register_as("fresh", 100, None);
    }
    world.advance(700 * SECOND);
}

#[test]
fn the_same_events_give_the_same_effects() {
    let run = || {
        let mut rng = Rng::new(5).child("anything");
        let mut world = World::new();
        let mut spawned = 0;
        for _ in 0..300 {
            any_step(&mut world, &mut rng, &mut spawned);
        }
        (
            format!("{:?}", world.told),
            format!("{:?}", world.store.batches),
        )
    };
    assert_eq!(run(), run());
}

#[test]
fn durable_data_that_cannot_be_true_is_told_and_nothing_is_decided_on_it() {
    let mut world = World::new();
    world.join("w1");
    let id = world.submit(1);
    let mut store = world.store;
    store.resign();
    store.workloads.get_mut(&id).unwrap().leader.worker = None;
    let mut world = World::with(rig::config(), store);
    let status = world.core.status();
    assert_eq!(status.role, Role::Rebuilding);
    assert_eq!(
        status.snapshot_error,
        Some(SnapshotError::WorkerMismatch(id))
    );
    world.advance(30 * SECOND);
    assert_eq!(world.core.status().role, Role::Rebuilding);
    let row = world.store.workloads.get_mut(&id).unwrap();
    row.leader.worker = Some(("w1".parse().unwrap(), "w1-1".parse().unwrap()));
    world.advance(11 * SECOND);
    assert_eq!(world.core.status().snapshot_error, None);
    assert_eq!(world.core.status().role, Role::Leading);
}

#[test]
fn a_row_that_is_being_stopped_without_an_attempt_is_told_and_nothing_is_decided_on_it() {
    let mut world = World::new();
    let id = world.submit(1);
    let mut store = world.store;
    store.resign();
    store.workloads.get_mut(&id).unwrap().leader.stopping = Some(Cause::Paused);
    let world = World::with(rig::config(), store);
    let status = world.core.status();
    assert_eq!(status.role, Role::Rebuilding);
    let error = Some(SnapshotError::StopWithoutAttempt(id));
    assert_eq!(status.snapshot_error, error);
}

#[test]
fn a_node_that_does_not_lead_stays_silent() {
    let mut core = Coordinator::new(rig::config(), Timestamp(1));
    let mut world = World::new();
    world.spawn("w1", "w1-1");
    let (to, event) = world.request("w1", WorkerMessage::Deregister);
    let mut effects = Vec::new();
    core.handle(Timestamp(2), event, &mut effects);
    assert!(effects.contains(&Effect::Forget { to }));
    assert!(
        !effects
            .iter()
            .any(|effect| matches!(effect, Effect::Reply { .. }))
    );
}

#[test]
fn a_leader_that_is_asked_to_stop_resigns_and_takes_no_lease_again() {
    let mut world = World::new();
    world.join("w1");
    world.happen(Event::ShutdownRequested);
    assert!(world.store.lease.resigned);
    assert_eq!(world.core.status().role, Role::Following);
    world.advance(100 * SECOND);
    assert_eq!(world.store.lease.generation, Generation(5));
}
