//! How attempts end, and what is said of it.

use super::{
    super::*,
    rig::{Rig, WORKLOAD, secs},
};
use crate::protocol::{Body, Incoming};
use niyanta_core::{
    StopOrder, WorkerMessage,
    workload::{ErrorType, OnLeaseLoss},
};
use serde_json::json;

/// A worker with a confirmed attempt 1.
fn running() -> Rig {
    running_with(|_| {})
}

fn running_with(change: impl FnOnce(&mut Rig)) -> Rig {
    let mut rig = Rig::registered();
    change(&mut rig);
    rig.assign(1);
    let started = rig.sent().pop().unwrap();
    rig.answer_ok(&started);
    rig.actions.clear();
    rig
}

fn report(rig: &mut Rig) -> Incoming {
    let mut sent = rig.sent();
    sent.retain(|sent| sent.body.is_last_report());
    assert_eq!(sent.len(), 1, "{sent:?}");
    sent.remove(0)
}

fn stopped_cause(incoming: &Incoming) -> Cause {
    let Body::Plain(WorkerMessage::Stopped { cause, .. }) = incoming.body else {
        panic!("not a stopped report: {incoming:?}");
    };
    cause
}

#[test]
fn a_completion_is_repeated_until_answered_and_listed_till_then() {
    let mut rig = running();
    rig.ended(1, Outcome::Completed(Some(json!({ "x": 1 }))));
    let first = report(&mut rig);
    let Body::Outcome {
        result_data,
        error_type: None,
        ..
    } = &first.body
    else {
        panic!("not a completion");
    };
    assert_eq!(result_data, &Some(json!({ "x": 1 })));
    assert_eq!(rig.machine.running().count(), 1);
    rig.run_to_deadline();
    assert_eq!(report(&mut rig), first);
    rig.answer_ok(&first);
    assert_eq!(rig.machine.running().count(), 0);
    // The old assignment, late, does not bring it back.
    rig.assign(1);
    assert!(rig.started().is_empty());
}

#[test]
fn a_result_that_is_too_large_fails_for_good() {
    let mut rig = running();
    rig.ended(1, Outcome::Completed(Some(json!("x".repeat(300_000)))));
    let failed = report(&mut rig);
    assert!(matches!(
        failed.body,
        Body::Outcome {
            error_type: Some(ErrorType::Permanent),
            ..
        }
    ));
    assert_eq!(failed.refused, None);
}

#[test]
fn a_stale_start_is_killed_and_forgotten() {
    let mut rig = Rig::registered();
    rig.assign(1);
    let started = rig.sent().pop().unwrap();
    rig.answer(started.sequence, AnswerStatus::Stale);
    assert_eq!(rig.kills(), [1]);
    assert_eq!(rig.machine.running().count(), 0);
    // Its successor waits until it is dead.
    rig.started();
    rig.assign(2);
    assert!(rig.started().is_empty());
    rig.ended(1, Outcome::Killed);
    assert!(rig.sent().is_empty());
    rig.assign(2);
    assert_eq!(rig.started(), [2]);
}

#[test]
fn a_stop_is_asked_for_once_and_its_deadline_only_comes_nearer() {
    let mut rig = running();
    let from = rig.now;
    rig.stop(1, Cause::Paused, secs(10));
    rig.stop(1, Cause::Cancelled, secs(30));
    assert_eq!(rig.stops(), [(1, Cause::Paused)]);
    rig.stop(1, Cause::Cancelled, secs(5));
    rig.run_until(from.plus(Duration::from_millis(4_999)));
    assert!(rig.kills().is_empty());
    rig.run_until(from.plus(secs(5)));
    assert_eq!(rig.kills(), [1]);
    rig.sent();
    rig.ended(1, Outcome::Killed);
    assert_eq!(stopped_cause(&report(&mut rig)), Cause::Paused);
}

#[test]
fn a_stop_in_the_answer_to_a_heartbeat_counts_like_any() {
    let mut rig = running();
    let beat = rig.heartbeat_unanswered();
    let order = StopOrder {
        workload: WORKLOAD,
        attempt: Attempt(1),
        cause: Cause::Cancelled,
        deadline: secs(30),
    };
    rig.answer_with(beat, AnswerStatus::Ok, vec![order]);
    assert_eq!(rig.stops(), [(1, Cause::Cancelled)]);
    rig.ended(1, Outcome::Completed(None));
    assert!(matches!(report(&mut rig).body, Body::Outcome { .. }));
}

#[test]
fn a_stop_for_an_attempt_that_never_came_is_answered_and_remembered() {
    let mut rig = Rig::registered();
    rig.stop(3, Cause::Superseded, secs(30));
    let answer = report(&mut rig);
    assert_eq!(stopped_cause(&answer), Cause::Superseded);
    rig.stop(3, Cause::Superseded, secs(30));
    assert!(rig.sent().is_empty(), "it is being repeated already");
    rig.assign(3);
    assert!(rig.started().is_empty());
    rig.answer_ok(&answer);
    rig.assign(4);
    assert_eq!(rig.started(), [4]);
}

#[test]
fn the_last_checkpoint_is_answered_before_the_end_is_told() {
    let mut rig = running();
    rig.stop(1, Cause::Paused, secs(30));
    rig.handle(Event::Checkpoint {
        workload: WORKLOAD,
        attempt: Attempt(1),
        data: b"here".to_vec(),
    });
    let checkpoint = rig.sent().pop().unwrap();
    rig.ended(1, Outcome::Stopped);
    assert!(rig.sent().is_empty());
    rig.answer_ok(&checkpoint);
    let bytes = rig.sent_bytes().pop().unwrap();
    let sent: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(sent["type"], "workload.stopped");
    assert_eq!(sent["payload"]["checkpoint_sequence"], 1);
}

#[test]
fn an_unanswered_checkpoint_does_not_hold_up_the_end_for_ever() {
    let mut rig = running();
    rig.handle(Event::Checkpoint {
        workload: WORKLOAD,
        attempt: Attempt(1),
        data: b"here".to_vec(),
    });
    rig.ended(
        1,
        Outcome::Failed {
            error_type: ErrorType::Transient,
            message: "no\0t good".to_owned(),
        },
    );
    let from = rig.now;
    rig.sent();
    rig.run_until(from.plus(secs(20)));
    let failed = report(&mut rig);
    let Body::Outcome {
        error_message,
        error_type: Some(ErrorType::Transient),
        ..
    } = failed.body
    else {
        panic!("not a failure");
    };
    assert_eq!(error_message.unwrap(), "no\u{fffd}t good");
}

#[test]
fn what_runs_too_long_fails_with_a_timeout() {
    let mut rig = running_with(|rig| rig.timeout_seconds = 5);
    let from = rig.now;
    rig.run_until(from.plus(secs(5)));
    assert_eq!(rig.stops(), [(1, Cause::TimedOut)]);
    rig.run_until(from.plus(secs(15)));
    assert_eq!(rig.kills(), [1]);
    rig.sent();
    rig.ended(1, Outcome::Killed);
    assert!(matches!(
        report(&mut rig).body,
        Body::Outcome {
            error_type: Some(ErrorType::Timeout),
            ..
        }
    ));
}

#[test]
fn everything_has_ended_by_the_end_of_the_lease() {
    let mut rig = running();
    rig.run_until(Timestamp::ZERO.plus(Duration::from_millis(47_999)));
    assert!(rig.stops().is_empty());
    rig.run_until(Timestamp::ZERO.plus(secs(48)));
    assert_eq!(rig.stops(), [(1, Cause::LeaseLost)]);
    rig.run_until(Timestamp::ZERO.plus(secs(57)));
    assert_eq!(rig.kills(), [1]);
    rig.sent();
    rig.ended(1, Outcome::Killed);
    assert_eq!(stopped_cause(&report(&mut rig)), Cause::LeaseLost);
}

#[test]
fn an_answered_heartbeat_keeps_the_work_going() {
    let mut rig = running();
    for _ in 0..20 {
        rig.beat();
    }
    assert!(rig.stops().is_empty() && rig.kills().is_empty());
}

#[test]
fn a_process_that_slept_through_its_lease_does_nothing_on_waking_but_kill() {
    let mut rig = running();
    rig.advance(secs(600));
    // The first thing it hears is an assignment, and its work says that it is done.
    rig.assign(2);
    assert_eq!(rig.kills(), [1]);
    assert!(rig.started().is_empty());
    rig.sent();
    rig.ended(1, Outcome::Completed(None));
    assert_eq!(stopped_cause(&report(&mut rig)), Cause::LeaseLost);
}

#[test]
fn work_that_outlives_the_lease_goes_on_and_is_offered_again() {
    let mut rig = running_with(|rig| rig.on_lease_loss = OnLeaseLoss::Continue);
    rig.run_until(Timestamp::ZERO.plus(secs(600)));
    assert!(rig.stops().is_empty() && rig.kills().is_empty());
    rig.sent();
    assert_eq!(rig.next_heartbeat(), [(WORKLOAD, Attempt(1))]);
}

#[test]
fn progress_is_said_once_a_second_at_most_and_the_last_counts() {
    let mut rig = running();
    let mut said = Vec::new();
    for step in 0..30_u32 {
        rig.advance(Duration::from_millis(100));
        rig.handle(Event::Progress {
            workload: WORKLOAD,
            attempt: Attempt(1),
            percent: f64::from(step),
            message: None,
        });
        for sent in rig.sent() {
            if let Body::Progress { percent, .. } = sent.body {
                said.push(percent);
            }
        }
    }
    assert_eq!(said, [0.0, 10.0, 20.0]);
}

#[test]
fn logs_are_numbered_kept_until_answered_and_drop_the_oldest() {
    let mut rig = running();
    let log = |rig: &mut Rig, message: &str| {
        rig.handle(Event::Log {
            workload: WORKLOAD,
            attempt: Attempt(1),
            level: "info",
            message: message.to_owned(),
        });
    };
    for line in 0..3 {
        log(&mut rig, &format!("line {line}"));
    }
    assert!(rig.sent().is_empty(), "it waits for more");
    rig.run_to_deadline();
    let first = rig.sent().pop().unwrap();
    let Body::Log {
        first_sequence: 1,
        lines,
        ..
    } = &first.body
    else {
        panic!("not a log: {first:?}");
    };
    assert_eq!(lines.len(), 3);
    // Unanswered; meanwhile far too much is said.
    for line in 0..12_000 {
        log(&mut rig, &format!("more {line}"));
    }
    rig.ended(1, Outcome::Completed(None));
    rig.sent();
    rig.answer_ok(&first);
    let second = rig.sent().pop().unwrap();
    let Body::Log {
        first_sequence,
        lines,
        ..
    } = &second.body
    else {
        panic!("not a log: {second:?}");
    };
    assert_eq!(*first_sequence, 4 + 2_000);
    assert_eq!(lines[0].message, "more 2000");
}

#[test]
fn a_very_long_line_is_said_in_parts() {
    let mut rig = running();
    rig.handle(Event::Log {
        workload: WORKLOAD,
        attempt: Attempt(1),
        level: "info",
        message: format!("{}\0", "é".repeat(10_000)),
    });
    rig.run_to_deadline();
    let sent = rig.sent().pop().unwrap();
    let Body::Log { lines, .. } = sent.body else {
        panic!("not a log");
    };
    assert_eq!(lines.len(), 3);
    assert!(lines[2].message.ends_with('\u{fffd}'));
}
