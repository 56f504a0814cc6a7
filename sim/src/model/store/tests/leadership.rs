//! Lease and fence under each other's locks.

use super::{
    super::{Answer, Lane, Pace, Program, RowKey, SqlError, Standing, Statement, Step},
    rig::{Rig, batch, hold, name, renew, take},
};
use niyanta_core::{PersistOutcome, ids::Generation, time::Duration};
use std::sync::Arc;

fn outcome(reply: Result<Answer, SqlError>) -> PersistOutcome {
    match reply {
        Ok(Answer::Persist { outcome, .. }) => outcome,
        other => panic!("{other:?}"),
    }
}

fn taken(reply: Result<Answer, SqlError>) -> Option<u64> {
    match reply {
        Ok(Answer::Taken { generation, .. }) => Some(generation.0),
        Ok(Answer::NotTaken { .. }) => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_batch_that_waited_for_a_takeover_changes_nothing() {
    let mut rig = Rig::new();
    rig.later(4_000);
    let takeover = rig.parks(take("b", None));
    let stale = rig.waits(batch("a", 1, 1, &[1, 2]));
    assert_eq!(taken(rig.commits(takeover)), Some(2));
    let before = rig.state();
    assert_eq!(outcome(rig.goes_on(stale)), PersistOutcome::NotApplied);
    assert_eq!(rig.state(), before);
}

#[test]
fn a_batch_that_waited_for_a_takeover_which_is_undone_lands() {
    let mut rig = Rig::new();
    rig.later(4_000);
    let takeover = rig.parks(take("b", None));
    let batch = rig.waits(batch("a", 1, 1, &[1, 2]));
    rig.store.close(takeover);
    assert_eq!(outcome(rig.goes_on(batch)), PersistOutcome::Applied);
}

#[test]
fn a_takeover_waits_for_a_batch_and_the_next_batch_of_the_old_term_does_nothing() {
    let mut rig = Rig::new();
    rig.later(4_000);
    let first = rig.parks(batch("a", 1, 1, &[1]));
    let takeover = rig.waits(take("b", None));
    assert_eq!(outcome(rig.commits(first)), PersistOutcome::Applied);
    assert_eq!(taken(rig.goes_on(takeover)), Some(2));
    assert_eq!(
        outcome(rig.does(batch("a", 1, 2, &[2]))),
        PersistOutcome::NotApplied
    );
}

#[test]
fn a_fence_that_did_not_match_at_first_is_not_waited_for() {
    let mut rig = Rig::new();
    let parked = rig.parks(hold(RowKey::Fence));
    let early = rig.does(batch("a", 1, 2, &[1]));
    assert_eq!(outcome(early), PersistOutcome::NotApplied);
    rig.store.close(parked);
}

#[test]
fn a_repeat_waits_for_its_original_and_a_plain_read_shows_the_fence_before() {
    let mut rig = Rig::new();
    let original = rig.parks(batch("a", 1, 1, &[1]));
    let repeat = rig.waits(batch("a", 1, 1, &[1]));
    let read = rig.does(Statement::ReadFence {
        generation: Generation(1),
    });
    assert!(matches!(read, Ok(Answer::Fence { row, .. }) if row.applied.0 == 0));
    assert_eq!(outcome(rig.commits(original)), PersistOutcome::Applied);
    assert_eq!(outcome(rig.goes_on(repeat)), PersistOutcome::NotApplied);
    assert_eq!(rig.batches(), 1);
}

#[test]
fn the_fence_binds_a_number_to_the_first_content_that_lands() {
    let mut rig = Rig::new();
    rig.later(4_000);
    assert_eq!(taken(rig.does(take("a", Some(1)))), Some(2));
    assert_eq!(
        outcome(rig.does(batch("a", 2, 1, &[2]))),
        PersistOutcome::Applied
    );
    let late = rig.does(batch("a", 2, 1, &[1]));
    assert_eq!(outcome(late), PersistOutcome::NotApplied);
}

#[test]
fn two_candidates_meet_on_the_lease_row_and_one_wins() {
    let mut rig = Rig::new();
    rig.later(4_000);
    let first = rig.parks(take("b", None));
    let second = rig.waits(take("c", None));
    assert_eq!(taken(rig.commits(first)), Some(2));
    assert_eq!(taken(rig.goes_on(second)), None);
    assert_eq!(rig.store.lease().incarnation, name("b"));
}

#[test]
fn who_waits_gets_the_row_in_the_order_of_asking() {
    let mut rig = Rig::new();
    rig.later(4_000);
    let first = rig.parks(take("b", None));
    let second = rig.waits(take("c", None));
    let third = rig.waits(take("d", None));
    rig.store.close(first);
    assert_eq!(rig.store.standing(third), Standing::Waiting);
    assert_eq!(taken(rig.goes_on(second)), Some(2));
    assert_eq!(taken(rig.goes_on(third)), None);
}

#[test]
fn a_renewal_that_waited_for_a_takeover_hits_nobody() {
    let mut rig = Rig::new();
    rig.later(4_000);
    let takeover = rig.parks(take("b", None));
    let renewal = rig.waits(renew("a", 1));
    rig.commits(takeover).unwrap();
    let answer = rig.goes_on(renewal);
    assert!(matches!(answer, Ok(Answer::Renewed { matched: false, .. })));
}

#[test]
fn a_renewal_that_waited_for_an_unchanged_row_is_reckoned_from_before_the_wait() {
    let mut rig = Rig::new();
    let parked = rig.parks(hold(RowKey::Lease));
    let renewal = rig.waits(renew("a", 1));
    let began = rig.store.time(rig.now);
    rig.later(700);
    rig.store.close(parked);
    rig.goes_on(renewal).unwrap();
    assert_eq!(
        rig.store.lease().expires_at,
        began.plus(Duration::from_secs(3))
    );
}

#[test]
fn a_renewal_that_waited_for_a_changed_row_is_reckoned_from_after_the_wait() {
    let mut rig = Rig::new();
    let first = rig.parks(renew("a", 1));
    let second = rig.waits(renew("a", 1));
    rig.later(700);
    rig.commits(first).unwrap();
    let after = rig.store.time(rig.now);
    rig.goes_on(second).unwrap();
    assert_eq!(
        rig.store.lease().expires_at,
        after.plus(Duration::from_secs(3))
    );
}

#[test]
fn a_renewal_never_waits_for_a_commit() {
    let mut rig = Rig::new();
    let parked = rig.parks(batch("a", 1, 1, &[1, 2, 3]));
    let answer = rig.does(renew("a", 1));
    assert!(matches!(answer, Ok(Answer::Renewed { matched: true, .. })));
    assert_eq!(outcome(rig.commits(parked)), PersistOutcome::Applied);
}

#[test]
fn a_client_asleep_before_the_end_of_its_message_is_ended_by_whoever_waits_in_vain() {
    let mut rig = Rig::new();
    rig.later(4_000);
    let asleep = rig.parks(batch("a", 1, 1, &[1]));
    rig.store.cancel(asleep, SqlError::StatementTimeout);
    assert_eq!(
        rig.store.standing(asleep),
        Standing::NoSync,
        "no time-out of the server ends it"
    );
    let takeover = rig.waits(take("b", None));
    rig.store.cancel(takeover, SqlError::LockTimeout);
    let reply = rig.reply(takeover);
    let mut program = Program::new(Arc::new(take("b", None)));
    assert!(matches!(program.replied(reply), Step::EndSleepers));
    let longest = Duration::from_secs(2);
    assert!(rig.store.end_sleepers(rig.now, longest).is_empty(), "early");
    rig.later(2_001);
    let ended = rig.store.end_sleepers(rig.now, longest);
    assert_eq!(ended, [asleep]);
    let Step::Send(again) = program.swept(Some(ended.len())) else {
        panic!("it is sent once more")
    };
    let id = rig.open();
    rig.store.receive(rig.now, id, again, Pace::Whole);
    assert_eq!(taken(rig.reply(id)), Some(2));
    assert_eq!(rig.batches(), 0, "what slept was undone");
}

#[test]
fn a_takeover_that_takes_nothing_reads_the_row_in_a_new_statement() {
    let rig = Rig::new();
    let mut program = Program::new(Arc::new(take("b", None)));
    let Statement::TakeLease(asked) = take("b", None) else {
        unreachable!()
    };
    let step = program.replied(Ok(Answer::NotTaken { ask: asked.ask }));
    let Step::Send(next) = step else {
        panic!("{step:?}")
    };
    assert!(matches!(*next, Statement::ReadLease { .. }));
    assert_eq!(next.lane(), Lane::Lease);
    assert_eq!(rig.store.lease().generation, Generation(1));
}
