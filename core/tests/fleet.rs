//! Workers come, fall silent, are drained and removed.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod rig;

use niyanta_core::{
    Event, ReplyStatus, Request, WorkerMessage,
    fleet::{ReportedStatus, WorkerDesired, WorkerStatus},
    ids::{Attempt, Generation, MessageSequence, RequestId},
    time::Duration,
    workload::{Cause, ErrorType, Status},
};
use rig::{SECOND, World, store::wall};

fn status(world: &World, name: &str) -> Option<WorkerStatus> {
    world.store.worker(name).map(|row| row.record.status)
}

#[test]
fn a_second_process_under_a_live_id_is_refused_until_the_lease_is_over() {
    let mut world = World::new();
    world.join("w1");
    let first = world.agents["w1"].clone();
    world.spawn("w1", "w1-2");
    let Some(ReplyStatus::IdInUse { retry_after }) = world.register("w1") else {
        unreachable!("the id is in use");
    };
    assert!(
        retry_after > 60 * SECOND && retry_after < 63 * SECOND,
        "{retry_after:?}"
    );
    world.agent("w1").is_silent = true;
    world.advance(retry_after + SECOND);
    assert_eq!(world.register("w1"), Some(ReplyStatus::Ok));
    // The first one is over for good.
    world.agents.insert("w1".into(), first);
    world.agent("w1").sequence = 90;
    let reply = world.heartbeat("w1").unwrap();
    assert_eq!(reply.status, ReplyStatus::IncarnationEnded);
    assert_eq!(world.register("w1"), Some(ReplyStatus::IncarnationEnded));
}

#[test]
fn a_process_that_replaces_its_predecessor_is_proof_that_its_attempts_are_over() {
    let mut world = World::new();
    world.join("w1");
    let id = world.submit(1);
    world.spawn("w1", "w1-2");
    assert_eq!(
        world.register_as("w1", 2, Some("w1-1")),
        Some(ReplyStatus::Ok)
    );
    assert_eq!(
        (world.status(id), world.attempt(id)),
        (Status::Running, Attempt(2))
    );
}

#[test]
fn a_repeated_registration_is_idempotent_and_renews_capabilities() {
    let mut world = World::new();
    world.join("w1");
    let (batches, (_, event)) = (world.store.batches.len(), {
        world.request("w1", register(2, "sleep"))
    });
    world.happen(event.clone());
    world.happen(event);
    assert!(world.store.batches.len() <= batches + 1);
    assert_eq!(
        world.ask("w1", register(5, "hash_tree")),
        Some(ReplyStatus::Ok)
    );
    let record = &world.store.worker("w1").unwrap().record;
    assert_eq!(record.capacity, 5);
    assert!(record.capabilities.contains(&"hash_tree".parse().unwrap()));
}

fn register(capacity: u32, workload_type: &str) -> WorkerMessage {
    WorkerMessage::Register {
        capabilities: [workload_type.parse().unwrap()].into(),
        capacity,
        tags: std::collections::BTreeMap::new(),
        version: "1".into(),
        replaces: None,
    }
}

#[test]
fn an_unknown_worker_is_told_to_register() {
    let mut world = World::new();
    world.spawn("w1", "w1-1");
    let reply = world.heartbeat("w1").unwrap();
    assert_eq!(reply.status, ReplyStatus::UnknownWorker);
}

#[test]
fn a_silent_worker_is_dead_after_the_threshold_and_for_good() {
    let mut world = World::new();
    world.join("w1");
    world.agent("w1").is_silent = true;
    world.advance(89 * SECOND);
    assert_eq!(status(&world, "w1"), Some(WorkerStatus::Healthy));
    world.advance(2 * SECOND);
    assert_eq!(status(&world, "w1"), Some(WorkerStatus::Dead));
    let reply = world.heartbeat("w1").unwrap();
    assert_eq!(reply.status, ReplyStatus::IncarnationEnded);
    assert_eq!(world.register("w1"), Some(ReplyStatus::IncarnationEnded));
    let mut world = world.succeed("leader-2");
    assert_eq!(
        world.register("w1"),
        Some(ReplyStatus::IncarnationEnded),
        "across leaders"
    );
    world.spawn("w1", "w1-2");
    assert_eq!(world.register("w1"), Some(ReplyStatus::Ok));
    assert_eq!(status(&world, "w1"), Some(WorkerStatus::Healthy));
}

#[test]
fn a_silence_that_the_leader_did_not_listen_through_begins_anew() {
    let mut world = World::new();
    world.join("w1");
    let id = world.submit(1);
    world.agent("w1").is_silent = true;
    world.advance(50 * SECOND);
    world.happen(Event::ListeningInterrupted);
    world.advance(60 * SECOND);
    assert_eq!(world.status(id), Status::Running);
    world.advance(5 * SECOND);
    assert_eq!(world.status(id), Status::Pending);
}

#[test]
fn a_leader_that_was_not_scheduled_has_not_listened() {
    let mut world = World::new();
    world.join("w1");
    let id = world.submit(1);
    world.agent("w1").is_silent = true;
    world.advance(58 * SECOND);
    world.freeze(4 * SECOND);
    world.advance(50 * SECOND);
    assert_eq!(world.status(id), Status::Running);
    world.advance(15 * SECOND);
    assert_eq!(world.status(id), Status::Pending);
}

#[test]
fn a_tick_is_judged_only_up_to_what_was_heard() {
    let mut world = World::new();
    world.join("w1");
    let id = world.submit(1);
    world.agent("w1").is_silent = true;
    let listened = world.now.plus(50 * SECOND);
    world.advance(50 * SECOND);
    for _ in 0..200 {
        world.now = world.now.plus(Duration::from_millis(400));
        world.happen(Event::Tick {
            heard_until: listened,
        });
    }
    assert_eq!(world.status(id), Status::Running);
    world.advance(SECOND);
    assert_eq!(world.status(id), Status::Pending);
}

#[test]
fn a_drained_worker_finishes_what_it_has_and_gets_nothing_new() {
    let mut world = World::new();
    world.join("w1");
    let id = world.submit(1);
    world.store.wish_worker("w1", WorkerDesired::Drain, None);
    world.happen(Event::WorkersHinted);
    assert_eq!(status(&world, "w1"), Some(WorkerStatus::Draining));
    let other = world.submit(2);
    world.advance(100 * SECOND);
    assert_eq!(
        (world.status(id), world.status(other)),
        (Status::Running, Status::Pending)
    );
    world.store.wish_worker("w1", WorkerDesired::Run, None);
    world.happen(Event::WorkersHinted);
    assert_eq!(world.status(other), Status::Running);
}

#[test]
fn a_drain_with_a_deadline_moves_what_still_runs() {
    let mut world = World::new();
    world.join("w1");
    let id = world.submit(1);
    world.join("w2");
    let deadline = wall(world.now.plus(20 * SECOND));
    world
        .store
        .wish_worker("w1", WorkerDesired::Drain, Some(deadline));
    world.happen(Event::WorkersHinted);
    world.advance(19 * SECOND);
    assert_eq!(world.attempt(id), Attempt(1));
    world.advance(3 * SECOND);
    assert_eq!(
        (world.status(id), world.attempt(id)),
        (Status::Running, Attempt(2))
    );
    assert_eq!(world.told_stop(id), Some(Cause::Drained));
    assert_eq!(world.store.row(id).leader.loss_count, 0);
    world.spawn("w1", "w1-2");
    world.register_as("w1", 2, Some("w1-1"));
    assert_eq!(
        status(&world, "w1"),
        Some(WorkerStatus::Draining),
        "belongs to the id"
    );
}

#[test]
fn a_removed_worker_leaves_the_list_with_its_last_attempt() {
    let mut world = World::new();
    world.join("w1");
    let id = world.submit(1);
    world.agent("w1").obeys = false;
    world.store.wish_worker("w1", WorkerDesired::Remove, None);
    world.happen(Event::WorkersHinted);
    assert_eq!(world.status(id), Status::Redistributing);
    assert_eq!(status(&world, "w1"), Some(WorkerStatus::Dead));
    let reply = world.heartbeat("w1").unwrap();
    assert_eq!(reply.status, ReplyStatus::IncarnationEnded);
    assert_eq!(
        world.stopped("w1", id, Cause::Drained),
        Some(ReplyStatus::Ok)
    );
    assert_eq!(world.status(id), Status::Pending);
    assert_eq!(status(&world, "w1"), None);
    assert_eq!(world.register("w1"), Some(ReplyStatus::IncarnationEnded));
    world.spawn("w1", "w1-2");
    assert_eq!(world.register("w1"), Some(ReplyStatus::Ok));
    assert_eq!(world.status(id), Status::Running);
}

#[test]
fn a_removed_and_silent_worker_leaves_at_its_lease_end() {
    let mut world = World::new();
    world.join("w1");
    let id = world.submit(1);
    world.agent("w1").is_silent = true;
    world.store.wish_worker("w1", WorkerDesired::Remove, None);
    world.happen(Event::WorkersHinted);
    world.advance(60 * SECOND);
    assert_eq!(world.status(id), Status::Redistributing);
    world.advance(5 * SECOND);
    assert_eq!(
        (world.status(id), status(&world, "w1")),
        (Status::Pending, None)
    );
    assert_eq!(
        world.store.row(id).leader.loss_count,
        0,
        "an operator's doing"
    );
}

#[test]
fn a_worker_that_deregisters_has_ended_everything() {
    let mut world = World::new();
    world.join("w1");
    let id = world.submit(1);
    world.agent("w1").is_silent = true;
    let (_, event) = world.request("w1", WorkerMessage::Deregister);
    world.happen(event);
    assert_eq!(
        (world.status(id), status(&world, "w1")),
        (Status::Pending, None)
    );
    assert_eq!(world.store.row(id).leader.loss_count, 0);
}

#[test]
fn a_worker_that_stops_itself_gets_nothing_new() {
    let mut world = World::new();
    world.join("w1");
    world.heartbeat_as("w1", ReportedStatus::Draining);
    assert_eq!(status(&world, "w1"), Some(WorkerStatus::Draining));
    let id = world.submit(1);
    assert_eq!(world.status(id), Status::Pending);
    world.heartbeat("w1");
    assert_eq!(world.status(id), Status::Running);
}

#[test]
fn an_older_heartbeat_changes_no_state() {
    let mut world = World::new();
    world.join("w1");
    let id = world.submit(1);
    world.agent("w1").sequence = 50;
    world.heartbeat("w1");
    world.happen(Event::Request(Request {
        reply_to: RequestId(999),
        worker: "w1".parse().unwrap(),
        incarnation: "w1-1".parse().unwrap(),
        generation_seen: Generation::ZERO,
        sequence: MessageSequence(3),
        body: WorkerMessage::Heartbeat {
            status: ReportedStatus::Draining,
            running: vec![(id, Attempt(9))],
        },
    }));
    assert!(world.replies[&RequestId(999)].stop.is_empty());
    assert_eq!(status(&world, "w1"), Some(WorkerStatus::Healthy));
}

#[test]
fn a_new_leader_gives_known_workers_their_longest_lease_and_its_own_ttl() {
    let mut world = World::new();
    world.join("w1");
    let id = world.submit(1);
    world.agent("w1").is_silent = true;
    let mut world = world.succeed("leader-2");
    world.join("w2");
    // (60 s + 10 s) and 2 % + 1 s.
    world.advance(Duration::from_millis(72_300));
    assert_eq!(
        (world.status(id), world.attempt(id)),
        (Status::Running, Attempt(1))
    );
    world.advance(SECOND);
    assert_eq!(world.attempt(id), Attempt(2));
}

#[test]
fn a_new_leader_assigns_only_to_those_it_has_heard() {
    let mut world = World::new();
    world.join("w1");
    world.agent("w1").is_silent = true;
    let mut world = world.succeed("leader-2");
    let id = world.submit(1);
    assert_eq!(world.status(id), Status::Pending);
    assert_eq!(world.generations.len(), 1);
    world.advance(8 * SECOND);
    assert_eq!(
        world.generations.len(),
        4,
        "announced at once and after 1, 2 and 4 s"
    );
    world.heartbeat("w1");
    assert_eq!(world.assignments(id), 1);
}

#[test]
fn a_new_leader_goes_on_with_what_the_last_one_began() {
    let mut world = World::new();
    world.join("w1");
    world.agent("w1").obeys = false;
    let unconfirmed = world.submit(1);
    world.agent("w1").obeys = true;
    let stopping = world.submit(2);
    world.agent("w1").obeys = false;
    world.wish(stopping, niyanta_core::workload::Desired::Cancel);
    let mut world = world.succeed("leader-2");
    world.agent("w1").obeys = true;
    world.heartbeat("w1");
    world.advance(3 * SECOND);
    assert_eq!(world.status(unconfirmed), Status::Running);
    assert_eq!(world.status(stopping), Status::Cancelled);
}

#[test]
fn the_repeat_of_a_last_report_is_ok_also_under_the_next_leader() {
    let mut world = World::new();
    world.join("w1");
    let done = world.submit(1);
    let failed = world.submit(2);
    world.complete("w1", done);
    world.fail("w1", failed, ErrorType::Permanent);
    let mut world = world.succeed("leader-2");
    assert_eq!(world.complete("w1", done), Some(ReplyStatus::Ok));
    assert_eq!(
        world.fail("w1", failed, ErrorType::Permanent),
        Some(ReplyStatus::Ok)
    );
    assert_eq!(
        world.fail("w1", done, ErrorType::Transient),
        Some(ReplyStatus::Stale)
    );
    let started = WorkerMessage::Started {
        workload: done,
        attempt: Attempt(1),
    };
    assert_eq!(world.ask("w1", started), Some(ReplyStatus::Stale));
}

#[test]
fn a_longer_lease_is_committed_before_it_is_told() {
    let mut world = World::new();
    world.join("w1");
    let mut store = world.store;
    store.resign();
    let config = niyanta_core::Config {
        heartbeat_timeout: 80 * SECOND,
        ..rig::config()
    };
    let agents = world.agents;
    world = World::with(config, store);
    world.agents = agents;
    world.agent("w1").next_heartbeat = world.now.plus(1_000 * SECOND);
    assert_eq!(world.heartbeat("w1").unwrap().lease, 60 * SECOND);
    assert_eq!(
        world.store.worker("w1").unwrap().record.longest_lease,
        80 * SECOND
    );
    assert_eq!(world.heartbeat("w1").unwrap().lease, 80 * SECOND);
}

#[test]
fn a_load_older_than_memory_says_nothing() {
    let mut world = World::new();
    world.holds_loads = true;
    let id = world.store.submit(1, world.now);
    world.happen(Event::WorkloadsHinted(vec![id]));
    let early = std::mem::take(&mut world.held_loads);
    world.holds_loads = false;
    world.join("w1");
    for event in early.clone() {
        world.happen(event);
    }
    world.advance(6 * SECOND);
    assert_eq!(world.status(id), Status::Running);
    world.complete("w1", id);
    for event in early {
        world.happen(event);
    }
    world.advance(SECOND);
    assert_eq!(
        (world.status(id), world.attempt(id)),
        (Status::Completed, Attempt(1))
    );
}
