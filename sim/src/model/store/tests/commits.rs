//! Batches beside wishes, and batches that do not fit.

use super::{
    super::{Answer, Pace, RowKey, SqlError, Standing, Statement},
    rig::{CUSTOMER, Rig, batch, hold, submit, wish},
};
use niyanta_core::{
    PersistOutcome,
    ids::{Attempt, WorkloadId},
    workload::{Desired, Status},
};
use std::sync::Arc;

fn applied(reply: &Result<Answer, SqlError>) -> bool {
    matches!(
        reply,
        Ok(Answer::Persist {
            outcome: PersistOutcome::Applied,
            ..
        })
    )
}

#[test]
fn a_batch_waits_for_a_wish_and_lands_on_top_of_it() {
    let mut rig = Rig::new();
    let wished = rig.parks(wish(1, Desired::Pause));
    let waiting = rig.waits(batch("a", 1, 1, &[1, 2]));
    rig.commits(wished).unwrap();
    assert!(applied(&rig.goes_on(waiting)));
    assert_eq!(rig.status(1), (Status::Cancelled, Attempt::ZERO, 3));
    assert_eq!(rig.status(2), (Status::Cancelled, Attempt::ZERO, 2));
    let row = rig.store.workload(WorkloadId(1)).unwrap();
    assert_eq!(row.row.desired, Desired::Pause, "the wish is kept");
    let numbers: Vec<u64> = row.audit.iter().map(|event| event.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
}

#[test]
fn a_wish_waits_for_a_batch_that_ends_its_workload_and_is_not_written() {
    let mut rig = Rig::new();
    let ending = rig.parks(batch("a", 1, 1, &[1]));
    let wished = rig.waits(wish(1, Desired::Pause));
    rig.commits(ending).unwrap();
    let answer = rig.goes_on(wished);
    assert!(matches!(answer, Ok(Answer::WishWritten(None))));
}

#[test]
fn a_batch_holds_the_fence_while_it_waits_for_a_row() {
    let mut rig = Rig::new();
    let parked = rig.parks(hold(RowKey::Workload(WorkloadId(2))));
    let waiting = rig.waits(batch("a", 1, 1, &[1, 2]));
    let behind = rig.waits(batch("a", 1, 1, &[1, 2]));
    rig.store.close(parked);
    assert!(applied(&rig.goes_on(waiting)));
    assert!(!applied(&rig.goes_on(behind)));
}

#[test]
fn a_batch_that_does_not_fit_changes_nothing_and_its_number_stays_free() {
    let mut rig = Rig::new();
    rig.does(batch("a", 1, 1, &[1])).unwrap();
    let before = rig.state();
    assert_eq!(
        rig.does(batch("a", 1, 2, &[1, 2])).unwrap_err(),
        SqlError::Short
    );
    assert_eq!(rig.state(), before);
    assert!(applied(&rig.does(batch("a", 1, 2, &[2]))));
}

#[test]
fn a_row_that_came_after_the_batch_began_is_missed() {
    let mut rig = Rig::new();
    let parked = rig.parks(hold(RowKey::Fence));
    let waiting = rig.waits(batch("a", 1, 1, &[4]));
    rig.does(submit(4, None)).unwrap();
    rig.store.close(parked);
    assert_eq!(rig.goes_on(waiting).unwrap_err(), SqlError::Short);
}

#[test]
fn a_batch_that_is_undone_while_it_halts_leaves_nothing_and_frees_its_rows() {
    let mut rig = Rig::new();
    let before = rig.state();
    let halted = rig.sends(batch("a", 1, 1, &[1, 2]), Pace::After(2));
    assert_eq!(rig.store.standing(halted), Standing::Halted);
    let wished = rig.waits(wish(1, Desired::Cancel));
    rig.store.cancel(halted, SqlError::StatementTimeout);
    assert_eq!(rig.reply(halted).unwrap_err(), SqlError::StatementTimeout);
    assert_eq!(rig.state(), before);
    rig.goes_on(wished).unwrap();
    assert_eq!(rig.status(1).2, 2);
}

#[test]
fn notes_pass_over_rows_that_are_locked() {
    let mut rig = Rig::new();
    let parked = rig.parks(wish(1, Desired::Pause));
    let reason = niyanta_core::scheduling::PendingReason::NoCapacity { capable: 1 };
    let notes = [1, 2].map(|id| (WorkloadId(id), Attempt::ZERO, reason));
    rig.does(Statement::PendingReasons(notes.to_vec())).unwrap();
    let noted = |rig: &Rig, id| rig.store.workload(WorkloadId(id)).unwrap().pending_reason;
    assert_eq!(noted(&rig, 1), None);
    assert_eq!(noted(&rig, 2), Some(reason));
    rig.commits(parked).unwrap();
}

#[test]
fn nobody_sees_what_is_not_committed() {
    let mut rig = Rig::new();
    let parked = rig.parks(wish(1, Desired::Cancel));
    let answer = rig.store.execute(
        rig.now,
        &Statement::Get {
            customer: CUSTOMER,
            workload: WorkloadId(1),
        },
    );
    assert!(matches!(
        answer,
        Ok(Answer::Got(Some((Status::Pending, Desired::Run, 1))))
    ));
    rig.commits(parked).unwrap();
    assert_eq!(
        rig.store.workload(WorkloadId(1)).unwrap().row.desired,
        Desired::Cancel
    );
}

#[test]
fn statements_that_wait_for_each_other_are_found() {
    let mut rig = Rig::new();
    let (one, two) = (RowKey::Lease, RowKey::Fence);
    let first = rig.sends(
        Statement::Hold(vec![one.clone(), two.clone()]),
        Pace::After(1),
    );
    let second = rig.sends(Statement::Hold(vec![two, one]), Pace::After(1));
    rig.store.proceed(rig.now, first, Pace::Whole);
    assert!(!rig.store.is_deadlocked(first));
    rig.store.proceed(rig.now, second, Pace::Whole);
    assert!(rig.store.is_deadlocked(second));
    rig.store.cancel(second, SqlError::Deadlock);
    assert_eq!(rig.store.standing(first), Standing::Granted);
}

#[test]
fn a_copy_that_is_behind_misses_the_last_commits() {
    let mut rig = Rig::new();
    rig.store.keep_copies();
    rig.does(batch("a", 1, 1, &[1])).unwrap();
    rig.does(batch("a", 1, 2, &[2])).unwrap();
    let id = rig.open();
    let parked = batch("a", 1, 3, &[3]);
    rig.store
        .receive(rig.now, id, Arc::new(parked), Pace::NoSync);
    assert_eq!(rig.store.fail_over(1), 1);
    assert_eq!(rig.store.standing(id), Standing::Gone);
    assert_eq!(rig.status(1).0, Status::Cancelled);
    assert_eq!(rig.status(2).0, Status::Pending);
    assert_eq!(rig.store.fence().applied.0, 1);
}
