//! A workload's way through a term: wishes, outcomes, losses.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod rig;

use niyanta_core::{
    Content, ReplyStatus, WorkerMessage,
    ids::Attempt,
    time::Duration,
    workload::{AuditKind, Cause, Desired, ErrorType, OnLeaseLoss, Status},
};
use rig::{SECOND, World};

#[test]
fn a_submitted_workload_is_assigned_started_and_completed() {
    let mut world = World::new();
    world.join("w1");
    let id = world.submit(1);
    assert_eq!(world.status(id), Status::Running);
    assert_eq!(world.complete("w1", id), Some(ReplyStatus::Ok));
    assert_eq!(world.status(id), Status::Completed);
    let trail = [
        AuditKind::Created,
        AuditKind::Scheduled,
        AuditKind::Started,
        AuditKind::Completed,
    ];
    assert_eq!(world.store.audit[&id], trail);
    assert_eq!(world.store.left_queue, 1);
}

#[test]
fn what_waited_for_a_worker_is_assigned_when_one_comes() {
    let mut world = World::new();
    let ids: Vec<_> = (1..=5).map(|n| world.submit(n)).collect();
    world.join("w1");
    let running = ids
        .iter()
        .filter(|id| world.status(**id) == Status::Running);
    assert_eq!(running.count(), 2, "two slots");
    assert_eq!(world.complete("w1", ids[0]), Some(ReplyStatus::Ok));
    assert_eq!(world.status(ids[2]), Status::Running);
}

#[test]
fn a_lost_hint_is_found_by_the_sweep() {
    let mut world = World::new();
    world.join("w1");
    let id = world.store.submit(1, world.now);
    world.advance(6 * SECOND);
    assert_eq!(world.status(id), Status::Running);
    world.store.wish(id, Desired::Cancel);
    world.advance(6 * SECOND);
    assert_eq!(world.status(id), Status::Cancelled);
}

#[test]
fn wishes_on_a_waiting_workload_come_true_at_once() {
    let mut world = World::new();
    let id = world.submit(1);
    world.wish(id, Desired::Pause);
    assert_eq!(world.status(id), Status::Paused);
    world.join("w1");
    assert_eq!(world.status(id), Status::Paused);
    world.wish(id, Desired::Run);
    assert_eq!(world.status(id), Status::Running);
    let other = world.submit(2);
    let third = world.submit(3);
    world.wish(third, Desired::Cancel);
    assert_eq!(world.status(other), Status::Running);
    assert_eq!(world.status(third), Status::Cancelled);
    assert_eq!(world.store.left_queue, 3);
}

#[test]
fn a_running_workload_is_cancelled_only_when_its_worker_has_stopped_it() {
    let mut world = World::new();
    world.join("w1");
    let id = world.submit(1);
    world.agent("w1").obeys = false;
    world.wish(id, Desired::Cancel);
    assert_eq!(world.status(id), Status::Running);
    assert_eq!(world.told_stop(id), Some(Cause::Cancelled));
    let reply = world.heartbeat("w1").unwrap();
    assert_eq!(reply.stop.len(), 1, "the stop list repeats it");
    assert_eq!(
        world.stopped("w1", id, Cause::Cancelled),
        Some(ReplyStatus::Ok)
    );
    assert_eq!(world.status(id), Status::Cancelled);
    assert_eq!(
        world.stopped("w1", id, Cause::Cancelled),
        Some(ReplyStatus::Ok),
        "a repeat"
    );
}

#[test]
fn a_cancel_of_a_cut_off_worker_is_true_at_its_lease_end_and_not_before() {
    let mut world = World::new();
    world.join("w1");
    let id = world.submit(1);
    world.agent("w1").is_silent = true;
    world.wish(id, Desired::Cancel);
    world.advance(60 * SECOND);
    assert_eq!(world.status(id), Status::Running);
    world.advance(4 * SECOND);
    assert_eq!(world.status(id), Status::Cancelled);
}

#[test]
fn resume_during_a_pause_stops_first_and_then_starts_anew() {
    let mut world = World::new();
    world.join("w1");
    let id = world.submit(1);
    world.agent("w1").obeys = false;
    world.wish(id, Desired::Pause);
    world.wish(id, Desired::Run);
    assert_eq!(world.status(id), Status::Running);
    world.agent("w1").obeys = true;
    assert_eq!(
        world.stopped("w1", id, Cause::Paused),
        Some(ReplyStatus::Ok)
    );
    assert_eq!(
        (world.status(id), world.attempt(id)),
        (Status::Running, Attempt(2))
    );
}

#[test]
fn a_completion_wins_over_a_pause() {
    let mut world = World::new();
    world.join("w1");
    let id = world.submit(1);
    world.agent("w1").obeys = false;
    world.wish(id, Desired::Pause);
    assert_eq!(world.complete("w1", id), Some(ReplyStatus::Ok));
    assert_eq!(world.status(id), Status::Completed);
}

#[test]
fn transient_failures_are_retried_within_their_limit() {
    let mut world = World::new();
    world.join("w1");
    world.store.max_retries = 2;
    let id = world.submit(1);
    for retry in 1..=2 {
        assert_eq!(
            world.fail("w1", id, ErrorType::Transient),
            Some(ReplyStatus::Ok)
        );
        assert_eq!(world.store.row(id).leader.retry_count, retry);
        world.advance(10 * SECOND);
        assert_eq!(world.status(id), Status::Running);
    }
    assert_eq!(
        world.fail("w1", id, ErrorType::Timeout),
        Some(ReplyStatus::Ok)
    );
    assert_eq!(world.status(id), Status::Failed);
    assert_eq!(world.store.error_type(id), Some(ErrorType::Timeout));
    assert_eq!(world.attempt(id), Attempt(3));
}

#[test]
fn a_permanent_failure_and_a_refused_result_are_final() {
    let mut world = World::new();
    world.join("w1");
    let id = world.submit(1);
    assert_eq!(
        world.fail("w1", id, ErrorType::Permanent),
        Some(ReplyStatus::Ok)
    );
    assert_eq!(world.status(id), Status::Failed);
    let other = world.submit(2);
    let report = WorkerMessage::Completed {
        workload: other,
        attempt: Attempt(1),
        content: Content::Refused,
    };
    let first = world.ask("w1", report.clone());
    assert_eq!(first, Some(ReplyStatus::OkContentRefused));
    assert_eq!(world.ask("w1", report), Some(ReplyStatus::OkContentRefused));
    assert_eq!(world.status(other), Status::Failed);
}

#[test]
fn a_lost_worker_gives_its_work_away_after_the_lease_and_its_margin() {
    let mut world = World::new();
    world.join("w1");
    let id = world.submit(1);
    world.agent("w1").is_silent = true;
    world.join("w2");
    // 60 s and 2 % + 1 s.
    world.advance(Duration::from_millis(62_100));
    assert_eq!(world.attempt(id), Attempt(1));
    world.advance(Duration::from_millis(200));
    assert_eq!(
        (world.status(id), world.attempt(id)),
        (Status::Running, Attempt(2))
    );
    assert_eq!(world.store.row(id).leader.loss_count, 1);
    let reply = world.ask(
        "w1",
        WorkerMessage::Completed {
            workload: id,
            attempt: Attempt(1),
            content: Content::NotOpen,
        },
    );
    assert_eq!(reply, Some(ReplyStatus::Stale));
}

#[test]
fn a_workload_that_kills_its_workers_stops_doing_so() {
    let mut world = World::new();
    world.join("w1");
    let id = world.submit(1);
    for start in 2..=6 {
        assert_eq!(world.status(id), Status::Running, "{start}");
        let old = format!("w1-{}", start - 1);
        world.spawn("w1", &format!("w1-{start}"));
        assert_eq!(
            world.register_as("w1", 2, Some(&old)),
            Some(ReplyStatus::Ok)
        );
    }
    assert_eq!(world.status(id), Status::Failed);
    assert_eq!(world.store.error_type(id), Some(ErrorType::WorkerLost));
}

#[test]
fn a_newer_checkpoint_forgives_lost_workers() {
    let mut world = World::new();
    world.join("w1");
    let id = world.submit(1);
    world.spawn("w1", "w1-2");
    world.register_as("w1", 2, Some("w1-1"));
    assert_eq!(world.store.row(id).leader.loss_count, 1);
    let checkpoint = |sequence| WorkerMessage::Checkpoint {
        workload: id,
        attempt: Attempt(2),
        checkpoint_sequence: sequence,
        content: Content::Stored,
    };
    assert_eq!(world.ask("w1", checkpoint(3)), Some(ReplyStatus::Ok));
    assert_eq!(world.store.row(id).leader.loss_count, 0);
    assert_eq!(world.ask("w1", checkpoint(1)), Some(ReplyStatus::Ok));
}

#[test]
fn work_that_outlives_its_lease_is_given_away_when_its_worker_is_dead() {
    let mut world = World::new();
    world.store.on_lease_loss = OnLeaseLoss::Continue;
    world.join("w1");
    let id = world.submit(1);
    world.agent("w1").is_silent = true;
    world.join("w2");
    world.advance(80 * SECOND);
    assert_eq!(
        (world.status(id), world.attempt(id)),
        (Status::Running, Attempt(1))
    );
    world.advance(11 * SECOND);
    assert_eq!(world.attempt(id), Attempt(2));
}

#[test]
fn a_refused_assignment_waits_a_little_and_counts_nowhere() {
    let mut world = World::new();
    world.join("w1");
    let id = world.submit(1);
    assert_eq!(
        world.stopped("w1", id, Cause::Refused),
        Some(ReplyStatus::Ok)
    );
    assert_eq!(world.status(id), Status::Pending);
    world.advance(2 * SECOND);
    let leader = &world.store.row(id).leader;
    assert_eq!(
        (leader.status, leader.attempt),
        (Status::Running, Attempt(2))
    );
    assert_eq!((leader.retry_count, leader.loss_count), (0, 0));
}

#[test]
fn the_leader_stops_what_outran_its_timeout() {
    let mut world = World::new();
    world.store.timeout = 20 * SECOND;
    world.join("w1");
    let id = world.submit(1);
    world.advance(45 * SECOND);
    assert_eq!(world.told_stop(id), None);
    world.advance(10 * SECOND);
    assert_eq!(world.told_stop(id), Some(Cause::TimedOut));
    assert_eq!(world.store.row(id).leader.retry_count, 1);
}

#[test]
fn an_assignment_nobody_confirms_is_repeated_and_then_taken_back() {
    let mut world = World::new();
    world.join("w1");
    world.agent("w1").obeys = false;
    let id = world.submit(1);
    world.advance(10 * SECOND);
    assert!(world.assignments(id) >= 3, "{}", world.assignments(id));
    assert_eq!(world.status(id), Status::Scheduled);
    world.advance(60 * SECOND);
    assert_eq!(world.status(id), Status::Redistributing);
    assert_eq!(world.told_stop(id), Some(Cause::Superseded));
    world.agent("w1").obeys = true;
    assert_eq!(
        world.stopped("w1", id, Cause::Superseded),
        Some(ReplyStatus::Ok)
    );
    assert_eq!(
        (world.status(id), world.attempt(id)),
        (Status::Running, Attempt(2))
    );
    assert_eq!(world.store.row(id).leader.loss_count, 0);
}

#[test]
fn being_listed_means_started_and_not_being_listed_means_nothing() {
    let mut world = World::new();
    world.join("w1");
    world.agent("w1").obeys = false;
    let id = world.submit(1);
    world.heartbeat("w1");
    assert_eq!(world.status(id), Status::Scheduled);
    world.agent("w1").running.push((id, Attempt(1)));
    world.heartbeat("w1");
    assert_eq!(world.status(id), Status::Running);
    world.agent("w1").running.push((id, Attempt(7)));
    let reply = world.heartbeat("w1").unwrap();
    assert_eq!(reply.stop[0].attempt, Attempt(7));
    assert_eq!(reply.stop[0].cause, Cause::Superseded);
}

#[test]
fn a_paused_workload_was_stopped_first_and_resumes_as_a_new_attempt() {
    let mut world = World::new();
    world.join("w1");
    let id = world.submit(1);
    world.wish(id, Desired::Pause);
    assert_eq!(world.status(id), Status::Paused);
    assert_eq!(world.told_stop(id), Some(Cause::Paused));
    world.advance(10 * SECOND);
    world.wish(id, Desired::Run);
    assert_eq!(
        (world.status(id), world.attempt(id)),
        (Status::Running, Attempt(2))
    );
    world.wish(id, Desired::Cancel);
    assert_eq!(world.status(id), Status::Cancelled);
}

#[test]
fn a_refused_checkpoint_is_refused_alone_and_the_attempt_goes_on() {
    let mut world = World::new();
    world.join("w1");
    let id = world.submit(1);
    let checkpoint = WorkerMessage::Checkpoint {
        workload: id,
        attempt: Attempt(1),
        checkpoint_sequence: 1,
        content: Content::Refused,
    };
    assert_eq!(world.ask("w1", checkpoint), Some(ReplyStatus::Refused));
    assert_eq!(world.status(id), Status::Running);
    assert_eq!(world.complete("w1", id), Some(ReplyStatus::Ok));
}

#[test]
fn a_cancel_before_the_assignment_was_told_waits_for_the_worker_to_deny_it() {
    let mut world = World::new();
    world.join("w1");
    world.agent("w1").obeys = false;
    world.holds_batches = true;
    let id = world.submit(1);
    world.wish(id, Desired::Cancel);
    world.release();
    assert_eq!(world.assignments(id), 0);
    assert_eq!(world.status(id), Status::Scheduled);
    assert_eq!(
        world.stopped("w1", id, Cause::Cancelled),
        Some(ReplyStatus::Ok)
    );
    assert_eq!(world.status(id), Status::Cancelled);
}
