//! The rules of the worker's side, each told with a leader made of the real encoder and decoder.
#![allow(clippy::unwrap_used, reason = "tests")]

mod ends;
mod rig;

use super::*;
use crate::protocol::{Body, Incoming};
use niyanta_core::WorkerMessage;
use rig::{Rig, WORKLOAD, secs};

#[test]
fn a_registration_is_repeated_with_the_same_bytes_until_it_is_answered() {
    let mut rig = Rig::new();
    rig.tick();
    let first = rig.sent_bytes().pop().unwrap();
    let mut moments = Vec::new();
    while moments.len() < 5 {
        rig.run_to_deadline();
        for bytes in rig.sent_bytes() {
            assert_eq!(bytes, first);
            moments.push(rig.now);
        }
    }
    let waits: Vec<f64> = moments
        .windows(2)
        .map(|pair| pair[1].since(pair[0]).as_secs_f64())
        .collect();
    assert!((3.5..4.5).contains(&waits[0]), "{waits:?}");
    assert!((6.5..8.9).contains(&waits[1]), "{waits:?}");
    assert!(
        waits[2..].iter().all(|wait| (8.9..10.5).contains(wait)),
        "{waits:?}"
    );
}

#[test]
fn the_lease_counts_from_the_first_sending_of_the_registration() {
    let mut rig = Rig::new();
    rig.tick();
    let sent = rig.sent().pop().unwrap();
    rig.advance(secs(3));
    rig.answer_ok(&sent);
    assert!(rig.machine.is_registered());
    // 60 s from the first sending, less a twentieth for the dying.
    assert_eq!(rig.leases(), [Timestamp::ZERO.plus(secs(57))]);
}

#[test]
fn heartbeats_come_as_often_as_told_and_are_new_each_time() {
    let mut rig = Rig::registered();
    let mut beats = Vec::new();
    for _ in 0..4 {
        rig.run_to_deadline();
        for sent in rig.sent() {
            assert!(sent.body.is_heartbeat());
            beats.push((rig.now, sent.sequence, sent.message_id));
        }
    }
    for pair in beats.windows(2) {
        let wait = pair[1].0.since(pair[0].0).as_secs_f64();
        assert!((13.4..16.6).contains(&wait), "{wait}");
        assert!(pair[1].1 > pair[0].1);
        assert_ne!(pair[1].2, pair[0].2);
    }
}

#[test]
fn an_assignment_is_started_confirmed_and_listed() {
    let mut rig = Rig::registered();
    rig.assign(1);
    assert_eq!(rig.started(), [1]);
    let sent = rig.sent().pop().unwrap();
    assert!(matches!(
        sent.body,
        Body::Plain(WorkerMessage::Started {
            attempt: Attempt(1),
            ..
        })
    ));
    let beat = rig.next_heartbeat();
    assert_eq!(beat, vec![(WORKLOAD, Attempt(1))]);
    // Doubled, or older: nothing.
    rig.assign(1);
    assert!(rig.started().is_empty());
}

#[test]
fn an_assignment_that_rests_on_an_old_heartbeat_is_ignored() {
    let mut rig = Rig::registered();
    let old = rig.last_heartbeat;
    for _ in 0..8 {
        rig.beat();
    }
    rig.assign_after(1, old);
    assert!(rig.started().is_empty());
    rig.assign(1);
    assert_eq!(rig.started(), [1]);
}

#[test]
fn an_assignment_is_an_answer_to_its_heartbeat() {
    let mut rig = Rig::registered();
    let beat = rig.heartbeat_unanswered();
    rig.leases();
    rig.assign_after(1, beat);
    assert_eq!(rig.leases().len(), 1);
}

#[test]
fn words_of_older_leaders_and_for_other_incarnations_are_ignored() {
    let mut rig = Rig::registered();
    rig.generation = Generation(5);
    rig.hear_elected();
    rig.generation = Generation(4);
    rig.assign(1);
    assert!(rig.started().is_empty());
    let beat = rig.heartbeat_unanswered();
    rig.leases();
    rig.answer_heartbeat(beat, AnswerStatus::Ok);
    assert!(rig.leases().is_empty());

    rig.generation = Generation(5);
    rig.other_incarnation = true;
    rig.assign(1);
    assert!(rig.started().is_empty());
    rig.other_incarnation = false;
    rig.assign(1);
    assert_eq!(rig.started(), [1]);
    let sent = rig.sent().pop().unwrap();
    assert_eq!(sent.generation_seen, Generation(5));
}

#[test]
fn a_new_leader_hears_of_workers_within_a_moment() {
    let mut rig = Rig::registered();
    rig.generation = Generation(9);
    rig.hear_elected();
    let from = rig.now;
    rig.run_to_deadline();
    let sent = rig.sent().pop().unwrap();
    assert!(sent.body.is_heartbeat());
    assert!(rig.now.since(from) <= Duration::from_millis(200));
}

#[test]
fn a_type_that_is_not_known_is_refused_and_so_is_too_much() {
    let mut rig = Rig::registered();
    rig.workload_type = "other";
    rig.assign(1);
    assert_eq!(rig.last_stopped(), (Attempt(1), Cause::Refused));
    // Listed until the refusal is answered.
    assert_eq!(rig.next_heartbeat(), [(WORKLOAD, Attempt(1))]);
    rig.workload_type = "sleep";
    rig.assign(2);
    assert_eq!(rig.started(), [2]);
    rig.workload = WorkloadId(2);
    rig.assign(1);
    rig.workload = WorkloadId(3);
    rig.assign(1);
    assert_eq!(rig.started(), [1]);
    assert_eq!(rig.last_stopped(), (Attempt(1), Cause::Refused));
}

#[test]
fn an_unknown_worker_registers_again_and_goes_on_under_its_lease() {
    let mut rig = Rig::registered();
    rig.assign(1);
    rig.actions.clear();
    let incarnation = rig.machine.incarnation().clone();
    let beat = rig.heartbeat_unanswered();
    rig.answer_heartbeat(beat, AnswerStatus::UnknownWorker);
    let sent = rig.sent().pop().unwrap();
    assert!(matches!(
        sent.body,
        Body::Plain(WorkerMessage::Register { .. })
    ));
    assert_eq!(sent.incarnation, incarnation);
    assert!(rig.kills().is_empty() && rig.stops().is_empty());
    rig.answer_ok(&sent);
    assert!(rig.machine.is_registered());
    // What was answered before does not count again.
    rig.answer_heartbeat(beat, AnswerStatus::UnknownWorker);
    assert!(rig.machine.is_registered());
}

#[test]
fn an_id_in_use_is_asked_for_again_when_told_and_nothing_runs_meanwhile() {
    let mut rig = Rig::new();
    rig.tick();
    let first = rig.sent().pop().unwrap();
    rig.answer(
        first.sequence,
        AnswerStatus::IdInUse {
            retry_after: secs(7),
        },
    );
    rig.assign(1);
    assert!(rig.started().is_empty());
    let from = rig.now;
    rig.run_to_deadline();
    let second = rig.sent().pop().unwrap();
    assert_eq!(rig.now.since(from), secs(7));
    assert_eq!(second.incarnation, first.incarnation);
    assert_ne!(second.message_id, first.message_id);
}

#[test]
fn an_ended_incarnation_kills_everything_and_begins_anew() {
    let mut rig = Rig::registered();
    rig.assign(1);
    rig.actions.clear();
    let old = rig.machine.incarnation().clone();
    let beat = rig.heartbeat_unanswered();
    rig.answer_heartbeat(beat, AnswerStatus::IncarnationEnded);
    assert_eq!(rig.kills(), [1]);
    assert!(rig.sent().is_empty());
    rig.ended(1, Outcome::Killed);
    let sent = rig.sent().pop().unwrap();
    assert_ne!(sent.incarnation, old);
    let Body::Plain(WorkerMessage::Register { replaces, .. }) = sent.body else {
        panic!("not a registration");
    };
    assert_eq!(replaces, Some(old));
}

#[test]
fn a_refused_registration_ends_the_process() {
    let mut rig = Rig::new();
    rig.tick();
    let sent = rig.sent().pop().unwrap();
    rig.answer(sent.sequence, AnswerStatus::Rejected);
    let exit = rig.actions.pop().unwrap();
    assert!(matches!(exit, Action::Exit { refused: Some(_) }));
    assert_eq!(rig.machine.next_deadline(), None);
}

#[test]
fn a_stopping_worker_drains_reports_and_deregisters() {
    let mut rig = Rig::registered();
    rig.assign(1);
    let started = rig.sent().pop().unwrap();
    rig.answer_ok(&started);
    rig.handle(Event::ShutdownRequested(secs(30)));
    assert_eq!(rig.stops(), [(1, Cause::Drained)]);
    let beat = rig.sent().pop().unwrap();
    let Body::Plain(WorkerMessage::Heartbeat { status, .. }) = beat.body else {
        panic!("not a heartbeat");
    };
    assert_eq!(status, niyanta_core::fleet::ReportedStatus::Draining);
    rig.workload = WorkloadId(2);
    rig.assign(1);
    let refused = rig.sent().pop().unwrap();
    assert!(matches!(
        refused.body,
        Body::Plain(WorkerMessage::Stopped {
            cause: Cause::Drained,
            ..
        })
    ));
    rig.answer_ok(&refused);
    rig.workload = WORKLOAD;
    rig.ended(1, Outcome::Stopped);
    let report = rig.sent().pop().unwrap();
    rig.answer_ok(&report);
    let farewell = rig.sent().pop().unwrap();
    assert!(matches!(
        farewell.body,
        Body::Plain(WorkerMessage::Deregister)
    ));
    rig.answer_ok(&farewell);
    assert!(matches!(
        rig.actions.pop().unwrap(),
        Action::Exit { refused: None }
    ));
}

#[test]
fn a_stopping_worker_answers_an_assignment_with_drained_and_does_not_run_it() {
    let mut rig = Rig::registered();
    rig.assign(1);
    assert_eq!(rig.started(), [1]);
    rig.handle(Event::ShutdownRequested(secs(30)));
    rig.sent();
    rig.workload = WorkloadId(2);
    rig.assign(1);
    assert!(rig.started().is_empty());
    assert_eq!(rig.last_stopped(), (Attempt(1), Cause::Drained));
    rig.assign(1);
    rig.assign(2);
    assert!(rig.started().is_empty(), "nor any later attempt");
    assert_eq!(rig.last_stopped(), (Attempt(2), Cause::Drained));
}

#[test]
fn a_worker_that_stops_while_nobody_answers_ends_all_the_same() {
    let mut rig = Rig::registered();
    rig.assign(1);
    rig.handle(Event::ShutdownRequested(secs(30)));
    let from = rig.now;
    while rig.machine.next_deadline().is_some() {
        rig.run_to_deadline();
    }
    assert_eq!(rig.kills(), [1]);
    assert!(rig.now.since(from) <= secs(36), "{:?}", rig.now.since(from));
}

#[test]
fn nothing_spins() {
    let mut rig = Rig::registered();
    rig.assign(1);
    let mut steps = 0;
    let end = rig.now.plus(secs(120));
    while rig.now < end && rig.machine.next_deadline().is_some() {
        rig.run_to_deadline();
        steps += 1;
    }
    assert!(steps < 200, "{steps} steps in two minutes");
}

#[test]
fn the_goodbye_waits_until_what_is_killed_is_gone() {
    let mut rig = Rig::registered();
    rig.assign(1);
    let started = rig.sent().pop().unwrap();
    rig.answer_ok(&started);
    rig.handle(Event::ShutdownRequested(secs(2)));
    rig.sent();
    rig.advance(secs(2));
    rig.tick();
    assert_eq!(rig.kills(), [1]);
    let says_goodbye = |rig: &mut Rig| {
        let goodbye = |said: &Incoming| matches!(said.body, Body::Plain(WorkerMessage::Deregister));
        rig.sent().iter().any(goodbye)
    };
    assert!(!says_goodbye(&mut rig), "it is still dying");
    rig.ended(1, Outcome::Killed);
    assert!(says_goodbye(&mut rig));
}
