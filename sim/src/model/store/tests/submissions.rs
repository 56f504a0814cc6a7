//! Keys, admission, and ids that are sent twice.

use super::{
    super::{Answer, Failure, Program, SqlError, Statement, Step, SubmitAnswer, WishAnswer},
    rig::{Rig, submit, wish, wish_upon},
};
use niyanta_core::{ids::WorkloadId, workload::Desired};
use std::sync::Arc;

/// A customer of the rig has three workloads in a queue of four.
fn created(reply: &Result<Answer, SqlError>) -> bool {
    matches!(reply, Ok(Answer::Created(Some(_))))
}

fn nothing(reply: &Result<Answer, SqlError>) -> bool {
    matches!(reply, Ok(Answer::Created(None)))
}

fn there(outcome: &Result<Answer, Failure>) -> Option<u128> {
    match outcome {
        Ok(Answer::Submitted(SubmitAnswer::There(id))) => Some(id.0),
        Ok(Answer::Submitted(SubmitAnswer::QueueFull)) => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_submissions_take_the_last_room_and_one_is_refused() {
    let mut rig = Rig::new();
    let first = rig.parks(submit(4, None));
    let second = rig.waits(submit(5, None));
    assert!(created(&rig.commits(first)));
    assert!(nothing(&rig.goes_on(second)));
    assert_eq!(rig.store.workloads().count(), 4);
}

#[test]
fn a_submission_with_a_key_that_finds_the_room_taken_leaves_no_key() {
    let mut rig = Rig::new();
    let first = rig.parks(submit(4, None));
    let second = rig.waits(submit(5, Some(7)));
    rig.commits(first).unwrap();
    assert_eq!(rig.goes_on(second).unwrap_err(), SqlError::QueueFilled);
    let answer = rig.store.execute(rig.now, &submit(5, Some(7)));
    assert_eq!(there(&answer), None);
}

#[test]
fn two_submissions_with_one_key_make_one_workload() {
    let mut rig = Rig::new();
    let first = rig.parks(submit(4, Some(7)));
    let second = rig.waits(submit(5, Some(7)));
    assert!(created(&rig.commits(first)));
    assert!(nothing(&rig.goes_on(second)));
    let answer = rig.store.execute(rig.now, &submit(5, Some(7)));
    assert_eq!(there(&answer), Some(4));
}

#[test]
fn a_key_whose_first_submission_is_undone_is_free() {
    let mut rig = Rig::new();
    let first = rig.parks(submit(4, Some(7)));
    let second = rig.waits(submit(5, Some(7)));
    rig.store.close(first);
    assert!(created(&rig.goes_on(second)));
    assert!(rig.store.workload(WorkloadId(4)).is_none());
}

#[test]
fn an_id_that_is_sent_again_while_the_first_is_under_way_is_refused_and_then_found() {
    let mut rig = Rig::with_room_for(9);
    let first = rig.parks(submit(4, None));
    let second = rig.waits(submit(4, None));
    rig.commits(first).unwrap();
    let reply = rig.goes_on(second);
    assert_eq!(*reply.as_ref().unwrap_err(), SqlError::Unique);
    let mut program = Program::new(Arc::new(submit(4, None)));
    let step = program.replied(reply);
    let Step::Send(look) = step else {
        panic!("{step:?}")
    };
    let found = rig.does(Statement::clone(&look));
    let step = program.replied(found);
    let Step::Finish(outcome) = step else {
        panic!("{step:?}")
    };
    assert_eq!(there(&outcome), Some(4));
}

#[test]
fn a_lost_answer_of_a_write_is_unknown_and_of_a_read_is_not() {
    let program = Program::new(Arc::new(submit(4, None)));
    assert!(matches!(
        program.lost(),
        Step::Finish(Err(Failure::Unknown))
    ));
    let mut program = Program::new(Arc::new(submit(4, None)));
    let step = program.replied(Ok(Answer::Created(None)));
    assert!(matches!(step, Step::Send(_)), "it looks why");
    assert!(matches!(
        program.lost(),
        Step::Finish(Err(Failure::Unavailable))
    ));
}

#[test]
fn a_wish_that_was_not_written_says_why() {
    let mut rig = Rig::new();
    rig.does(wish(1, Desired::Cancel)).unwrap();
    let again = rig.store.execute(rig.now, &wish(1, Desired::Cancel));
    assert!(matches!(
        again,
        Ok(Answer::Wished(WishAnswer::Recorded { version: 2, .. }))
    ));
    let undo = rig.store.execute(rig.now, &wish(1, Desired::Run));
    assert!(matches!(undo, Ok(Answer::Wished(WishAnswer::Conflict))));
    let other = rig.store.execute(rig.now, &wish(9, Desired::Run));
    assert!(matches!(other, Ok(Answer::Wished(WishAnswer::NotFound))));
}

#[test]
fn a_wish_that_lands_after_another_was_made_upon_what_is_no_more() {
    let mut rig = Rig::new();
    rig.does(wish(1, Desired::Pause)).unwrap();
    let late = rig.parks(wish_upon(1, Desired::Run, 1));
    let again = rig.waits(wish_upon(1, Desired::Run, 1));
    rig.commits(late).unwrap();
    let told = rig.goes_on(again);
    assert!(matches!(told, Ok(Answer::WishWritten(None))), "one lands");
    rig.does(wish_upon(1, Desired::Pause, 2)).unwrap();
    let later = rig.store.execute(rig.now, &wish_upon(1, Desired::Run, 1));
    assert!(matches!(later, Ok(Answer::Wished(WishAnswer::Overtaken))));
    let found = rig.store.workload(WorkloadId(1)).unwrap();
    assert_eq!((found.row.desired, found.version), (Desired::Pause, 4));
}
