//! What each verb makes of the world.

use super::{
    lies,
    node::Line,
    process::Process,
    step::{Step, Verb},
    world::{World, name},
};
use niyanta_core::{
    Content, Effect, Event, PersistOutcome, WorkerMessage,
    batch::LeaderHalf,
    fleet::{ReportedStatus, WorkerDesired},
    ids::{Attempt, CustomerId, Generation, PlacementClass, WishRevision, WorkloadId},
    scheduling::{AffinityRules, AntiAffinity, SortKey, WorkerAffinity},
    snapshot::WorkloadRow,
    time::Duration,
    workload::{Cause, Desired, ErrorType, OnLeaseLoss, Status},
};
use std::sync::Arc;

/// Lets one step happen.
pub fn take(world: &mut World, step: Step) {
    let Step { verb, a, b, c } = step;
    let place = usize::from(a) % World::NODES;
    let number = usize::from(a) % World::WORKERS;
    match verb {
        Verb::Submit => submit(world, a, b, c),
        Verb::Wish => wish(world, a, b, c),
        Verb::Hint => hint(world, a, b, c),
        Verb::WishWorker => wish_worker(world, number, b, c),
        Verb::Start => start(world, number, b, c),
        Verb::Register => world.register(number, None),
        Verb::Heartbeat => heartbeat(world, number, b, c),
        Verb::Report => report(world, number, b, c),
        Verb::Repeat => repeat(world, number, c),
        Verb::Leave => {
            world.say(number, WorkerMessage::Deregister);
            world.run();
        }
        Verb::Mood => mood(world, number, b),
        Verb::Pass => world.pass(Duration::from_millis(u64::from(a) * 16 + u64::from(b % 16))),
        Verb::PassLong => world.pass(Duration::from_secs(1 + u64::from(a % 128))),
        Verb::Freeze => freeze(world, place, b),
        Verb::Crash => world.restart(place),
        Verb::Hold => hold(world, place, b),
        Verb::Answer => answer(world, place, b, c),
        Verb::Orphan => orphan(world, place, b),
        Verb::Outcome => outcome(world, place, b),
        Verb::Broker => world.nodes[place].is_deaf = b % 2 == 1,
        Verb::Interrupted => world.happen(place, Event::ListeningInterrupted),
        Verb::Heard => {
            let above = world.store.fence.generation.0 + u64::from(b % 4);
            world.happen(
                place,
                Event::GenerationSeen(Generation(above.saturating_sub(2))),
            );
        }
        Verb::Resigned => {
            let above = world.store.fence.generation.0 + u64::from(b % 2);
            world.happen(place, Event::LeaderResigned(Generation(above)));
        }
        Verb::Shutdown => world.happen(place, Event::ShutdownRequested),
        Verb::Backwards => {
            let then = world.now.minus(Duration::from_millis(u64::from(b) * 64));
            let heard_until = then.plus(world.nodes[place].offset);
            if !world.nodes[place].is_frozen {
                world.handle(place, then, Event::Tick { heard_until });
                world.run();
            }
        }
        Verb::Limit => limit(world, a, b),
        Verb::Lie => lies::tell(world, place, b, c),
    }
}

/// Everything that was held or broken heals, and time passes.
pub fn settle(world: &mut World) {
    for place in 0..World::NODES {
        let node = &mut world.nodes[place];
        node.is_deaf = false;
        node.outcomes.clear();
        freeze(world, place, 0);
        hold(world, place, 0);
    }
    for _ in 0..8 {
        world.pass(Duration::from_secs(4));
    }
    (0..World::NODES).for_each(|place| world.judge_whole(place));
}

fn workload(world: &World, which: u8) -> Option<WorkloadId> {
    let index = usize::from(which).checked_rem(world.store.workloads.len())?;
    world.store.workloads.keys().nth(index).copied()
}

/// Customer, kind and rules in the first byte; priority; what else in the last.
fn submit(world: &mut World, a: u8, b: u8, c: u8) {
    if world.store.workloads.len() >= WORKLOADS_MAX {
        return;
    }
    let id = WorkloadId(1 + world.store.workloads.len() as u128);
    let kind = if a & 4 == 0 { "a" } else { "b" };
    let priority = u16::from(b % 8) * 100;
    let submitted = world.store.wall(world.now);
    let delays = [0, 0, 0, 700, 5_000, 60_000, 600_000, 0];
    let delay = Duration::from_millis(delays[usize::from(c & 7)]);
    let eligible_at = submitted.plus(delay);
    let row = WorkloadRow {
        id,
        customer: CustomerId((a % World::CUSTOMERS).into()),
        workload_type: name(kind),
        affinity: Arc::new(rules(a >> 3)),
        class: PlacementClass(i64::from(a >> 2)),
        priority,
        max_retries: u32::from(c >> 3) % 3,
        timeout: Duration::from_secs([2, 30, 3_600][usize::from(b >> 3) % 3]),
        on_lease_loss: OnLeaseLoss::ALL[usize::from(b >> 5) % OnLeaseLoss::ALL.len()],
        run_after: (c & 7 != 0).then_some(eligible_at),
        desired: Desired::Run,
        wish_revision: WishRevision::ZERO,
        leader: LeaderHalf {
            status: Status::Pending,
            attempt: Attempt::ZERO,
            worker: None,
            retry_count: 0,
            loss_count: 0,
            eligible_at,
            sort_key: SortKey::new(eligible_at, priority).0,
            backoff_until: None,
            wish_seen: WishRevision::ZERO,
            stopping: None,
            error_type: None,
        },
        checkpoint: None,
        started_at: None,
    };
    world.store.workloads.insert(id, row);
    if c < 128 {
        hint_all(world, &Event::WorkloadsHinted(vec![id]));
    }
}

/// Where it may run.
fn rules(which: u8) -> AffinityRules {
    let zone = |zone: &str| [("zone".into(), zone.into())].into();
    let mut rules = AffinityRules::default();
    match which % 8 {
        1 => rules.hard.worker_tags = zone("x"),
        2 => rules.soft.worker_tags = zone("y"),
        3 => rules.anti.worker_tags = zone("x"),
        4 => rules.anti.workload_types = [name("a")].into(),
        5 => {
            rules.hard = WorkerAffinity {
                worker_id: Some(World::worker(1)),
                ..WorkerAffinity::default()
            };
        }
        6 => {
            rules.anti = AntiAffinity {
                workload_types: [name("a"), name("b")].into(),
                worker_tags: zone("y"),
            };
        }
        _ => {}
    }
    rules
}

fn wish(world: &mut World, a: u8, b: u8, c: u8) {
    let Some(id) = workload(world, a) else { return };
    world
        .store
        .wish(id, Desired::ALL[usize::from(b) % Desired::ALL.len()]);
    if c % 4 != 3 {
        hint_all(world, &Event::WorkloadsHinted(vec![id]));
    }
}

fn hint(world: &mut World, a: u8, b: u8, c: u8) {
    let some = workload(world, a).unwrap_or_else(|| WorkloadId(u128::from(a) << 64));
    let event = match b % 4 {
        0 => Event::WorkloadsHinted(vec![some]),
        1 => {
            let unknown = (0..u128::from(c)).map(|n| WorkloadId(1_000 + n));
            Event::WorkloadsHinted(unknown.collect())
        }
        2 => Event::WorkersHinted,
        _ => Event::CustomersHinted(vec![CustomerId((c % 5).into())]),
    };
    hint_all(world, &event);
}

/// Every coordinator that the broker carries it to hears it.
fn hint_all(world: &mut World, event: &Event) {
    for place in 0..World::NODES {
        if !world.nodes[place].is_deaf {
            world.queue(place, event.clone());
        }
    }
    world.run();
}

fn wish_worker(world: &mut World, number: usize, b: u8, c: u8) {
    let desired = WorkerDesired::ALL[usize::from(b) % WorkerDesired::ALL.len()];
    let deadline = (c % 2 == 1).then(|| {
        world
            .store
            .wall(world.now)
            .plus(Duration::from_secs(u64::from(c)))
    });
    world
        .store
        .wish_worker(&World::worker(number), desired, deadline);
    hint_all(world, &Event::WorkersHinted);
}

fn start(world: &mut World, number: usize, b: u8, c: u8) {
    let old = world.spawn(number, b);
    let knows = c.is_multiple_of(2);
    world.register(number, old.filter(|_| knows));
}

fn heartbeat(world: &mut World, number: usize, b: u8, c: u8) {
    let claimed = workload(world, c).filter(|_| b & 2 != 0);
    let attempt = claimed.map(|id| world.store.workloads[&id].leader.attempt);
    if let Some(process) = &mut world.processes[number] {
        if let (Some(id), Some(attempt)) = (claimed, attempt) {
            let odd = Attempt(attempt.0.saturating_sub(u32::from(b >> 2 & 1)));
            let run = (id, odd);
            if !process.running.contains(&run) && process.running.len() < CLAIMED_MAX {
                process.running.push(run);
            }
        }
        if b & 8 != 0 {
            process.running.clear();
        }
    }
    world.heartbeat(number, ReportedStatus::ALL[usize::from(b & 1)]);
}

/// A report on an attempt that is the workload's own, an older or a later one, or never was.
fn report(world: &mut World, number: usize, b: u8, c: u8) {
    let Some(workload) = workload(world, b) else {
        return;
    };
    let current = world.store.workloads[&workload].leader.attempt;
    let attempt = match c >> 6 {
        0 | 1 => current,
        2 => Attempt(current.0.saturating_sub(1)),
        _ => current.next(),
    };
    let contents = [
        Content::Absent,
        Content::Stored,
        Content::NotOpen,
        Content::Refused,
    ];
    let content = contents[usize::from(c >> 3) % 4];
    let errors = [
        ErrorType::Transient,
        ErrorType::Permanent,
        ErrorType::Timeout,
    ];
    let body = match c % 6 {
        0 => WorkerMessage::Started { workload, attempt },
        1 => WorkerMessage::Completed {
            workload,
            attempt,
            content,
        },
        2 | 3 => WorkerMessage::Failed {
            workload,
            attempt,
            error_type: errors[usize::from(c >> 3) % 3],
            content,
        },
        4 => WorkerMessage::Stopped {
            workload,
            attempt,
            cause: Cause::ALL[usize::from(c >> 3) % Cause::ALL.len()],
        },
        _ => {
            let checkpoint_sequence = u64::from(c >> 3);
            if content == Content::Stored
                && let Some(row) = world.store.workloads.get_mut(&workload)
            {
                row.checkpoint = row.checkpoint.max(Some((attempt, checkpoint_sequence)));
            }
            WorkerMessage::Checkpoint {
                workload,
                attempt,
                checkpoint_sequence,
                content,
            }
        }
    };
    if !matches!(
        body,
        WorkerMessage::Started { .. } | WorkerMessage::Checkpoint { .. }
    ) && let Some(process) = &mut world.processes[number]
    {
        process.running.retain(|run| *run != (workload, attempt));
    }
    world.say(number, body);
    world.run();
}

fn repeat(world: &mut World, number: usize, c: u8) {
    let said = |process: &Process| process.last.clone();
    if let Some(body) = world.processes[number].as_ref().and_then(said) {
        let seen = world.store.fence.generation.0 + u64::from(c % 3);
        world.say_as(number, body, Generation(seen.saturating_sub(1)));
        world.run();
    }
}

fn mood(world: &mut World, number: usize, b: u8) {
    if let Some(process) = &mut world.processes[number] {
        process.is_silent = b & 1 != 0;
        process.obeys = b & 2 == 0;
    }
}

fn freeze(world: &mut World, place: usize, b: u8) {
    world.nodes[place].is_frozen = b % 2 == 1;
    if !world.nodes[place].is_frozen {
        for event in std::mem::take(&mut world.nodes[place].missed) {
            world.queue(place, event);
        }
        world.run();
    }
}

fn hold(world: &mut World, place: usize, b: u8) {
    let holds = [b & 1 != 0, b & 2 != 0, b & 4 != 0];
    world.nodes[place].holds = holds;
    let waiting = std::mem::take(&mut world.nodes[place].waiting);
    for effect in waiting {
        let held = Line::of(&effect).is_some_and(|line| holds[line as usize]);
        if held {
            world.nodes[place].waiting.push_back(effect);
        } else if let Some(event) = world.answer(place, &effect) {
            world.queue(place, event);
        }
    }
    world.run();
}

fn answer(world: &mut World, place: usize, b: u8, c: u8) {
    let waiting = world.nodes[place].waiting.len();
    let Some(index) = usize::from(b).checked_rem(waiting) else {
        return;
    };
    // Each line carries one question after the other: the first of the chosen one's line.
    let line = Line::of(&world.nodes[place].waiting[index]);
    let first = |effect: &Effect| Line::of(effect) == line;
    let Some(index) = world.nodes[place].waiting.iter().position(first) else {
        return;
    };
    let Some(effect) = world.nodes[place].waiting.remove(index) else {
        return;
    };
    match c % 4 {
        0 => {
            if let Some(event) = world.answer(place, &effect) {
                world.queue(place, event);
            }
        }
        // It is carried out, and its answer is lost.
        1 => {
            drop(world.answer(place, &effect));
            world.fail(place, &effect);
        }
        // It is given up, and may be carried out later.
        2 => {
            world.fail(place, &effect);
            world.nodes[place].give_up(effect);
        }
        _ => world.fail(place, &effect),
    }
    world.run();
}

fn orphan(world: &mut World, place: usize, b: u8) {
    let Some(index) = usize::from(b).checked_rem(world.nodes[place].orphans.len()) else {
        return;
    };
    if let Some((asker, effect)) = world.nodes[place].orphans.remove(index) {
        if let Effect::Persist(batch) = &effect {
            world.store.persist(batch, world.now);
        } else {
            let ttl = world.config.leader_lease_ttl;
            drop(world.store.answer(&asker, &effect, world.now, ttl));
        }
    }
}

/// What the next batch is answered. Only an unknown outcome may hide that it was applied.
fn outcome(world: &mut World, place: usize, b: u8) {
    let next = match b % 5 {
        0 => (PersistOutcome::Unknown, true),
        1 => (PersistOutcome::Unknown, false),
        2 => (PersistOutcome::LockTimeout, false),
        3 => (PersistOutcome::Refused, false),
        _ => (PersistOutcome::Short, false),
    };
    if world.nodes[place].outcomes.len() < OUTCOMES_MAX {
        world.nodes[place].outcomes.push_back(next);
    }
}

fn limit(world: &mut World, a: u8, b: u8) {
    let id = CustomerId((a % World::CUSTOMERS).into());
    if let Some(row) = world.store.customers.get_mut(&id) {
        row.max_running = u32::from(b % 4);
        row.weight = 1 + u32::from(b >> 2);
    }
    hint_all(world, &Event::CustomersHinted(vec![id]));
}

/// Workloads in one world.
const WORKLOADS_MAX: usize = 24;
/// What a process claims to run at the most.
const CLAIMED_MAX: usize = 16;
/// Outcomes that wait for a batch.
const OUTCOMES_MAX: usize = 4;
