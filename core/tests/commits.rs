//! The one commit path: what waits for it, and what becomes of a term when it goes wrong.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod rig;

use niyanta_core::{
    Effect, Event, PersistOutcome, ReplyStatus, WorkerMessage,
    ids::{Attempt, BatchNumber, Generation},
    status::Role,
    time::Duration,
    workload::{AuditKind, Cause, Desired, Status},
};
use rig::{SECOND, World};

#[test]
fn nothing_is_told_before_its_commit_is_answered() {
    let mut world = World::new();
    world.join("w1");
    world.holds_batches = true;
    let id = world.submit(1);
    assert_eq!(world.assignments(id), 0);
    world.release();
    assert_eq!(world.assignments(id), 1);

    world.holds_batches = true;
    let reply = world.complete("w1", id);
    assert_eq!(reply, None, "the answer waits");
    world.advance(SECOND);
    assert_eq!(world.complete("w1", id), None, "so does the repeat's");
    world.release();
    assert_eq!(world.status(id), Status::Completed);
    let ok = world
        .replies
        .values()
        .filter(|reply| reply.status == ReplyStatus::Ok);
    assert!(ok.count() >= 3, "registration and both reports");
}

#[test]
fn what_comes_during_a_flight_gathers_into_one_net_write() {
    let mut world = World::new();
    world.join("w1");
    world.agent("w1").obeys = false;
    let id = world.submit(1);
    world.holds_batches = true;
    let other = world.submit(2);
    let started = WorkerMessage::Started {
        workload: id,
        attempt: Attempt(1),
    };
    assert_eq!(world.ask("w1", started), None);
    assert_eq!(world.complete("w1", id), None);
    world.wish(other, Desired::Cancel);
    world.release();
    world.advance(SECOND);
    let last = world
        .store
        .batches
        .iter()
        .rev()
        .find(|b| b.audit_len() >= 2)
        .unwrap();
    let write = last.workloads.iter().find(|write| write.id == id).unwrap();
    assert_eq!(write.from_status, Status::Scheduled);
    let kinds: Vec<_> = write.steps.iter().map(|step| step.kind).collect();
    assert_eq!(kinds, [AuditKind::Started, AuditKind::Completed]);
    assert!(write.stamp_started && write.stamp_completed);
    assert_eq!(world.assignments(other), 0, "cancelled before it was told");
    assert_eq!(world.told_stop(other), Some(Cause::Cancelled));
}

#[test]
fn a_lost_answer_sends_the_very_same_batch_again() {
    let mut world = World::new();
    world.join("w1");
    // It was applied, and the answer lost: the repeat is not applied, the fence says that it was.
    world.outcomes.push_back((PersistOutcome::Unknown, true));
    let id = world.submit(1);
    assert_eq!(world.status(id), Status::Running);
    assert_eq!(world.assignments(id), 1);
    assert_eq!(world.generations.len(), 1, "no term ended");
    // It was not applied: the repeat is.
    world.outcomes.push_back((PersistOutcome::Unknown, false));
    let other = world.submit(2);
    assert_eq!(world.status(other), Status::Running);
}

#[test]
fn a_lock_timeout_ends_no_term() {
    let mut world = World::new();
    world.join("w1");
    for _ in 0..4 {
        world
            .outcomes
            .push_back((PersistOutcome::LockTimeout, false));
    }
    let id = world.submit(1);
    assert_eq!(world.status(id), Status::Pending);
    world.advance(2 * SECOND);
    assert_eq!(world.status(id), Status::Running);
    assert_eq!(world.generations.len(), 1);
}

#[test]
fn a_short_count_drops_the_term_and_builds_anew_above_it() {
    let mut world = World::new();
    world.join("w1");
    world.outcomes.push_back((PersistOutcome::Short, false));
    let id = world.submit(1);
    world.advance(20 * SECOND);
    world.generations.dedup();
    assert_eq!(world.generations, [Generation(5), Generation(6)]);
    assert_eq!(world.status(id), Status::Running);
}

#[test]
fn an_answer_about_another_batch_is_not_used() {
    let mut world = World::new();
    world.join("w1");
    world.holds_batches = true;
    let id = world.submit(1);
    let batch = world.held[0].clone();
    world.answer(Generation(4), batch.number, PersistOutcome::Applied);
    world.answer(batch.generation, BatchNumber(77), PersistOutcome::Applied);
    assert_eq!(world.assignments(id), 0);
    world.release();
    assert_eq!(world.assignments(id), 1);
}

#[test]
fn a_fenced_term_says_nothing_more() {
    let mut world = World::new();
    world.join("w1");
    world.holds_batches = true;
    let id = world.submit(1);
    assert_eq!(world.complete("w1", id), None);
    let batch = world.held.remove(0);
    world.store.fence.generation = Generation(50);
    world.store.fence.incarnation = "another".parse().unwrap();
    world.store.lease.generation = Generation(50);
    world.store.lease.incarnation = "another".parse().unwrap();
    world.store.lease_ends = world.now.plus(100 * SECOND);
    let forgotten = world.forgotten.len();
    world.answer(batch.generation, batch.number, PersistOutcome::NotApplied);
    assert_eq!(world.core.status().role, Role::Following);
    assert!(
        world.forgotten.len() > forgotten,
        "waiting requests are let go of"
    );
    world.answer(batch.generation, batch.number, PersistOutcome::Applied);
    world.advance(30 * SECOND);
    assert_eq!(world.assignments(id), 0);
    assert_eq!(world.generations.len(), 1);
}

#[test]
fn a_fenced_coordinator_without_ha_exits() {
    let config = niyanta_core::Config {
        enable_ha: false,
        ..rig::config()
    };
    let mut world = World::with(config, rig::store::Store::new());
    world.join("w1");
    world.holds_batches = true;
    world.submit(1);
    let batch = world.held.remove(0);
    for generation in [
        &mut world.store.fence.generation,
        &mut world.store.lease.generation,
    ] {
        *generation = Generation(50);
    }
    world.store.fence.incarnation = "another".parse().unwrap();
    world.store.lease.incarnation = "another".parse().unwrap();
    world.store.lease_ends = world.now.plus(100 * SECOND);
    world.answer(batch.generation, batch.number, PersistOutcome::NotApplied);
    world.advance(2 * SECOND);
    assert_eq!(world.exits, 1);
}

#[test]
fn a_value_that_the_database_refuses_is_found_alone_and_answered() {
    let mut world = World::new();
    world.join("w1");
    world.spawn("w2", "w2-1");
    // The batch of the registration is refused, then it alone, in careful mode.
    world.outcomes.push_back((PersistOutcome::Refused, false));
    let (to, event) = world.request("w2", register());
    world.happen(event.clone());
    assert_eq!(world.replies.get(&to), None);
    world.advance(SECOND);
    world.outcomes.push_back((PersistOutcome::Refused, false));
    world.happen(event.clone());
    world.advance(SECOND);
    world.happen(event);
    assert_eq!(world.replies[&to].status, ReplyStatus::Refused);
    let id = world.submit(1);
    world.heartbeat("w1");
    world.advance(10 * SECOND);
    assert_eq!(
        world.status(id),
        Status::Running,
        "nobody else's work stopped"
    );
}

fn register() -> WorkerMessage {
    WorkerMessage::Register {
        capabilities: ["sleep".parse().unwrap()].into(),
        capacity: 1,
        tags: std::collections::BTreeMap::new(),
        version: "bad".into(),
        replaces: None,
    }
}

#[test]
fn a_term_past_its_own_deadline_judges_and_tells_nothing() {
    let mut world = World::new();
    world.join("w1");
    let id = world.submit(1);
    world.store_is_deaf = true;
    world.holds_batches = true;
    assert_eq!(world.complete("w1", id), None);
    let batch = world.held.remove(0);
    world.freeze(30 * SECOND);
    let told = world.told.len();
    world.store.persist(&batch, world.now);
    world.answer(batch.generation, batch.number, PersistOutcome::Applied);
    assert_eq!(world.told.len(), told);
    assert!(!world.core.is_leader(world.now));
    assert_eq!(world.core.status().role, Role::Following);
    assert!(
        world
            .replies
            .values()
            .all(|reply| reply.status == ReplyStatus::Ok)
    );
}

#[test]
fn a_term_above_its_own_ends_a_term() {
    let mut world = World::new();
    world.join("w1");
    world.happen(Event::GenerationSeen(Generation(40)));
    world.advance(SECOND);
    world.generations.dedup();
    assert_eq!(world.generations, [Generation(5), Generation(41)]);
}

#[test]
fn a_batch_is_bounded_and_the_rest_follows() {
    let mut world = World::new();
    world.holds_batches = true;
    for worker in 0..3 {
        world.spawn(&format!("w{worker}"), "i-1");
        world.register_as(&format!("w{worker}"), 1_000, None);
    }
    world.store.max_running = 3_000;
    world.release();
    for number in 1..=2_500 {
        world.store.submit(number, world.now);
    }
    world.advance(120 * SECOND);
    let open = world.core.status().term.unwrap().open_attempts;
    assert_eq!(open, 2_500);
    for worker in 0..3 {
        world.agent(&format!("w{worker}")).is_silent = true;
    }
    world.advance(100 * SECOND);
    assert_eq!(world.core.status().term.unwrap().open_attempts, 0);
    let most = world.store.batches.iter().map(|batch| batch.rows()).max();
    assert!(most <= Some(niyanta_core::Config::BATCH_ROWS_MAX));
    let assigns = world.store.batches.iter().map(|batch| {
        batch
            .workloads
            .iter()
            .filter(|write| write.stamp_scheduled)
            .count()
    });
    assert!(assigns.max() <= Some(100));
}

#[test]
fn a_drain_never_shares_a_batch_with_an_assignment_to_its_worker() {
    let mut world = World::new();
    world.join("w1");
    world.holds_batches = true;
    world.submit(1);
    world.submit(2);
    // The second assignment gathers; the drain must not ride with it (the store checks P14).
    world
        .store
        .wish_worker("w1", niyanta_core::fleet::WorkerDesired::Drain, None);
    world.happen(Event::WorkersHinted);
    world.release();
    world.advance(Duration::from_millis(10));
    let row = world.store.worker("w1").unwrap();
    assert_eq!(
        row.record.status,
        niyanta_core::fleet::WorkerStatus::Draining
    );
    let drained = |effect: &Effect| matches!(effect, Effect::DrainWorker { .. });
    assert!(world.told.iter().any(drained));
}

#[test]
fn a_page_of_wishes_is_not_read_again_while_its_commit_is_on_the_way() {
    let config = niyanta_core::Config {
        window_per_class: 2,
        load_limit: 2,
        ..rig::config()
    };
    let mut world = World::with(config, rig::store::Store::new());
    let ids: Vec<_> = (1..=5).map(|number| world.submit(number)).collect();
    world.advance(SECOND);
    world.holds_batches = true;
    for id in &ids {
        world.store.wish(*id, Desired::Cancel);
    }
    // The rig takes a leader that asks without end for a livelock.
    world.advance(6 * SECOND);
    assert!(!world.held.is_empty(), "the sweep found the first page");
    world.release();
    world.advance(Duration::from_millis(1));
    for id in ids {
        assert_eq!(world.status(id), Status::Cancelled, "{id}");
    }
}
