//! Any sequence of events leaves the coordinator's state sound: after every one,
//! `invariants::check` finds nothing, nothing is told before it is stored, and nothing panics.
//!
//! Stands on the little world of core's own tests: an honest store, workers that obey or do not.
//! The bytes choose what happens next, so that libFuzzer can learn which orders reach new code.
//!
//! Run: `cargo +nightly fuzz run transition -s none`
#![no_main]

#[path = "../../core/tests/rig/mod.rs"]
mod rig;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use niyanta_core::fleet::{ReportedStatus, WorkerDesired};
use niyanta_core::ids::{Attempt, Generation, WorkloadId};
use niyanta_core::time::Duration;
use niyanta_core::workload::{Cause, Desired, ErrorType};
use niyanta_core::{Content, Event, PersistOutcome, WorkerMessage};
use rig::World;

/// What happens next. Small numbers name workloads and workers modulo those there are.
#[derive(Debug, Arbitrary)]
enum Step {
    Submit,
    Hint(u8),
    Wish(u8, u8),
    Join(u8),
    Restart(u8, bool),
    Leave(u8),
    Silence(u8, bool),
    Disobey(u8, bool),
    Heartbeat(u8, bool),
    Report(u8, u8, u8, u8),
    WishWorker(u8, u8),
    Milliseconds(u16),
    Seconds(u8),
    Freeze(u8),
    HoldBatches,
    ReleaseBatches,
    NextOutcome(u8, bool),
    HoldLoads,
    ReleaseLoads,
    DeafStore(bool),
    ListeningInterrupted,
    GenerationSeen(u8),
    Resigned,
    Succeed,
    Shutdown,
}

const WORKERS: [&str; 3] = ["w1", "w2", "w3"];
const STEPS_MAX: usize = 200;

fuzz_target!(|steps: Vec<Step>| {
    let mut world = World::new();
    let mut starts = 0;
    for step in steps.iter().take(STEPS_MAX) {
        starts += 1;
        world = take(world, step, starts);
    }
    settle(&mut world);
});

/// One step. `start` names new incarnations.
fn take(mut world: World, step: &Step, start: usize) -> World {
    match *step {
        Step::Submit => {
            let number = world.store.workloads.len() as u128 + 1;
            world.submit(number);
        }
        Step::Hint(which) => {
            let ids = workload(&world, which).into_iter().collect();
            world.happen(Event::WorkloadsHinted(ids));
        }
        Step::Wish(which, wish) => wish_for(&mut world, which, wish),
        Step::Join(which) => {
            world.spawn(worker(which), &format!("{}-{start}", worker(which)));
            world.register(worker(which));
        }
        Step::Restart(which, knows) => restart(&mut world, worker(which), start, knows),
        Step::Leave(which) => speak(&mut world, which, WorkerMessage::Deregister),
        Step::Silence(which, silent) => with_agent(&mut world, which, |a| a.is_silent = silent),
        Step::Disobey(which, obeys) => with_agent(&mut world, which, |a| a.obeys = obeys),
        Step::Heartbeat(which, draining) => {
            let status = if draining {
                ReportedStatus::Draining
            } else {
                ReportedStatus::Healthy
            };
            if world.agents.contains_key(worker(which)) {
                world.heartbeat_as(worker(which), status);
            }
        }
        Step::Report(which, of, kind, attempt) => report(&mut world, which, of, kind, attempt),
        Step::WishWorker(which, wish) => {
            let name = worker(which);
            let wishes = [
                WorkerDesired::Run,
                WorkerDesired::Drain,
                WorkerDesired::Remove,
            ];
            if world.store.worker(name).is_some() {
                world
                    .store
                    .wish_worker(name, wishes[usize::from(wish) % 3], None);
                world.happen(Event::WorkersHinted);
            }
        }
        Step::Milliseconds(span) => world.advance(Duration::from_millis(span.into())),
        Step::Seconds(span) => world.advance(Duration::from_secs(span.into())),
        Step::Freeze(span) => world.freeze(Duration::from_secs(span.into())),
        Step::HoldBatches => world.holds_batches = true,
        Step::ReleaseBatches => world.release(),
        Step::NextOutcome(outcome, applies) => world.outcomes.extend(outcome_of(outcome, applies)),
        Step::HoldLoads => world.holds_loads = true,
        Step::ReleaseLoads => {
            world.holds_loads = false;
            for event in std::mem::take(&mut world.held_loads) {
                world.happen(event);
            }
        }
        Step::DeafStore(deaf) => world.store_is_deaf = deaf,
        Step::ListeningInterrupted => world.happen(Event::ListeningInterrupted),
        Step::GenerationSeen(seen) => {
            world.happen(Event::GenerationSeen(Generation(seen.into())));
        }
        Step::Resigned => {
            let generation = world.store.fence.generation;
            world.happen(Event::LeaderResigned(generation));
        }
        Step::Succeed => world = world.succeed(&format!("leader-{start}")),
        Step::Shutdown => world.happen(Event::ShutdownRequested),
    }
    world
}

/// Everything that was held or broken heals, and time passes: still nothing is unsound.
fn settle(world: &mut World) {
    world.outcomes.clear();
    world.store_is_deaf = false;
    world.holds_loads = false;
    for event in std::mem::take(&mut world.held_loads) {
        world.happen(event);
    }
    world.release();
    world.advance(Duration::from_secs(120));
}

fn worker(which: u8) -> &'static str {
    WORKERS[usize::from(which) % WORKERS.len()]
}

fn workload(world: &World, which: u8) -> Option<WorkloadId> {
    let ids: Vec<WorkloadId> = world.store.workloads.keys().copied().collect();
    let index = usize::from(which).checked_rem(ids.len())?;
    ids.get(index).copied()
}

fn with_agent(world: &mut World, which: u8, change: impl FnOnce(&mut rig::Agent)) {
    if let Some(agent) = world.agents.get_mut(worker(which)) {
        change(agent);
    }
}

fn speak(world: &mut World, which: u8, body: WorkerMessage) {
    if world.agents.contains_key(worker(which)) {
        world.ask(worker(which), body);
    }
}

/// A new process under an old id, which may know that the old one ended.
fn restart(world: &mut World, name: &'static str, start: usize, knows: bool) {
    let old = world
        .agents
        .get(name)
        .map(|agent| agent.incarnation.to_string());
    world.spawn(name, &format!("{name}-{start}"));
    world.register_as(name, 2, old.as_deref().filter(|_| knows));
}

fn wish_for(world: &mut World, which: u8, wish: u8) {
    let Some(id) = workload(world, which) else {
        return;
    };
    let row = world.store.row(id);
    // The API refuses what the contract refuses: cancel is absorbing, an end is final.
    if row.desired != Desired::Cancel && !row.leader.status.is_terminal() {
        let wishes = [Desired::Run, Desired::Pause, Desired::Cancel];
        world.wish(id, wishes[usize::from(wish) % 3]);
    }
}

/// A report on an attempt that is the workload's own, an older or a later one, or never was.
fn report(world: &mut World, which: u8, of: u8, kind: u8, attempt: u8) {
    let Some(id) = workload(world, of) else {
        return;
    };
    let current = world.attempt(id);
    let attempt = match attempt % 4 {
        0 | 1 => current,
        2 => Attempt(current.0.saturating_sub(1)),
        _ => current.next(),
    };
    let content = [
        Content::Absent,
        Content::Stored,
        Content::NotOpen,
        Content::Refused,
    ];
    let content = content[usize::from(kind >> 4) % 4];
    let error_type = [
        ErrorType::Transient,
        ErrorType::Permanent,
        ErrorType::Timeout,
    ];
    let error_type = error_type[usize::from(kind >> 6) % 3];
    let cause = Cause::ALL[usize::from(kind >> 4) % Cause::ALL.len()];
    let workload = id;
    let body = match kind % 5 {
        0 => WorkerMessage::Started { workload, attempt },
        1 => WorkerMessage::Completed {
            workload,
            attempt,
            content,
        },
        2 => WorkerMessage::Failed {
            workload,
            attempt,
            error_type,
            content,
        },
        3 => WorkerMessage::Stopped {
            workload,
            attempt,
            cause,
        },
        _ => WorkerMessage::Checkpoint {
            workload,
            attempt,
            checkpoint_sequence: u64::from(kind >> 3),
            content,
        },
    };
    if kind % 5 != 0 && kind % 5 != 4 {
        with_agent(world, which, |agent| {
            agent.running.retain(|run| *run != (id, attempt))
        });
    }
    speak(world, which, body);
}

/// What the next batch is answered. Only an unknown outcome may hide that it was applied.
fn outcome_of(outcome: u8, applies: bool) -> Option<(PersistOutcome, bool)> {
    let outcome = match outcome % 5 {
        0 => PersistOutcome::Unknown,
        1 => PersistOutcome::LockTimeout,
        2 => PersistOutcome::Refused,
        3 => PersistOutcome::Short,
        _ => return None,
    };
    Some((outcome, applies && outcome == PersistOutcome::Unknown))
}
