//! Wishes for workloads.

use crate::rig::{Rig, batch, ended, id};
use crate::stores::on_every_store;
use niyanta_core::{
    batch::CounterWrite,
    ids::{CustomerId, WishRevision},
    snapshot::Load,
    workload::{AuditKind, Desired, Status},
};
use runtime::store::{Commit, KeyId, StoreError, Wish, WishOutcome};
use std::sync::Arc;

on_every_store! {
    a_wish_is_written_once_and_seen_by_the_leader
    cancel_is_never_undone
    a_terminal_workload_refuses_wishes
    a_wish_for_another_version_is_refused
    nobody_wishes_for_anothers_workload
    a_sending_that_lands_after_another_wish_is_void
    of_wishes_upon_one_revision_one_is_written
}

/// A wish upon the first revision.
fn wish(rig: &Rig, desired: Desired) -> Wish {
    wish_upon(rig, desired, 0)
}

fn wish_upon(rig: &Rig, desired: Desired, revision: u64) -> Wish {
    Wish {
        customer: rig.customer,
        workload: id(1),
        desired,
        upon: WishRevision(revision),
        actor: KeyId(9),
        reason: Some(String::from("because")),
        if_version: None,
    }
}

async fn a_wish_is_written_once_and_seen_by_the_leader(rig: Rig) {
    rig.submit(2).await;
    assert!(
        rig.store
            .load(&Load::Wishes, 10)
            .await
            .unwrap()
            .value
            .workloads
            .is_empty()
    );
    let outcome = rig.store.wish(&wish(&rig, Desired::Pause)).await.unwrap();
    let WishOutcome::Written(view) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((view.desired, view.version), (Desired::Pause, 2));
    let again = rig.store.wish(&wish(&rig, Desired::Pause)).await.unwrap();
    assert!(matches!(again, WishOutcome::Already(view) if view.version == 2));
    assert_eq!(
        rig.dense_audit(1).await,
        [AuditKind::Created, AuditKind::PauseRequested]
    );
    let events = rig
        .store
        .audit(rig.customer, id(1), 1, 10)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(events[0].details["reason"], "because");
    assert_eq!(events[0].actor_id, Some(KeyId(9).to_string()));
    let unseen = rig
        .store
        .load(&Load::Wishes, 10)
        .await
        .unwrap()
        .value
        .workloads;
    assert_eq!(unseen.len(), 1);
    assert_eq!(unseen[0].wish_revision, WishRevision(1));
    let generation = rig.lead().await;
    let mut seen = batch(generation, 1);
    let mut write = ended(&unseen[0], Status::Paused, AuditKind::Paused);
    write.to.wish_seen = WishRevision(1);
    seen.workloads.push(write);
    assert_eq!(
        rig.store.commit(&Arc::new(seen)).await.unwrap(),
        Commit::Applied
    );
    assert!(
        rig.store
            .load(&Load::Wishes, 10)
            .await
            .unwrap()
            .value
            .workloads
            .is_empty()
    );
    let sweep = rig
        .store
        .load(&Load::Sweep { after: None }, 10)
        .await
        .unwrap()
        .value;
    assert_eq!(
        sweep.workloads.iter().map(|row| row.id).collect::<Vec<_>>(),
        [id(2)]
    );
}

async fn cancel_is_never_undone(rig: Rig) {
    rig.submit(1).await;
    rig.store.wish(&wish(&rig, Desired::Cancel)).await.unwrap();
    for desired in [Desired::Run, Desired::Pause] {
        let outcome = rig.store.wish(&wish(&rig, desired)).await.unwrap();
        assert!(matches!(outcome, WishOutcome::Refused(view) if view.version == 2));
    }
    let again = rig.store.wish(&wish(&rig, Desired::Cancel)).await.unwrap();
    assert!(matches!(again, WishOutcome::Already(_)));
}

async fn a_terminal_workload_refuses_wishes(rig: Rig) {
    rig.submit(1).await;
    let generation = rig.lead().await;
    rig.store.wish(&wish(&rig, Desired::Cancel)).await.unwrap();
    let mut end = batch(generation, 1);
    end.workloads.push(ended(
        &rig.row(1).await,
        Status::Cancelled,
        AuditKind::Cancelled,
    ));
    end.counters.push(CounterWrite {
        customer: rig.customer,
        left_queue: 1,
        running: 0,
    });
    assert_eq!(
        rig.store.commit(&Arc::new(end)).await.unwrap(),
        Commit::Applied
    );
    let same = rig.store.wish(&wish(&rig, Desired::Cancel)).await.unwrap();
    assert!(matches!(same, WishOutcome::TerminalSame(_)));
    let other = rig.store.wish(&wish(&rig, Desired::Run)).await.unwrap();
    assert!(matches!(other, WishOutcome::Refused(_)));
    assert_eq!(rig.dense_audit(1).await.len(), 3);
}

async fn a_wish_for_another_version_is_refused(rig: Rig) {
    rig.submit(1).await;
    let wrong = Wish {
        if_version: Some(vec![7, 8]),
        ..wish(&rig, Desired::Pause)
    };
    let outcome = rig.store.wish(&wrong).await.unwrap();
    assert!(matches!(outcome, WishOutcome::VersionMismatch(view) if view.version == 1));
    let right = Wish {
        if_version: Some(vec![7, 1]),
        ..wish(&rig, Desired::Pause)
    };
    assert!(matches!(
        rig.store.wish(&right).await.unwrap(),
        WishOutcome::Written(_)
    ));
}

async fn nobody_wishes_for_anothers_workload(rig: Rig) {
    rig.submit(1).await;
    let foreign = Wish {
        customer: CustomerId(8),
        ..wish(&rig, Desired::Cancel)
    };
    assert_eq!(
        rig.store.wish(&foreign).await.unwrap(),
        WishOutcome::NotFound
    );
    let null = Wish {
        reason: Some(String::from("\u{0}")),
        ..wish(&rig, Desired::Cancel)
    };
    assert!(matches!(
        rig.store.wish(&null).await,
        Err(StoreError::Refused(_))
    ));
    assert_eq!(rig.view(1).await.desired, Desired::Run);
}

/// A resume is sent, has no answer, is sent again and answered; a pause is acknowledged; then the
/// first sending lands.
async fn a_sending_that_lands_after_another_wish_is_void(rig: Rig) {
    rig.submit(1).await;
    let written = async |wish: Wish| {
        let outcome = rig.store.wish(&wish).await.unwrap();
        let WishOutcome::Written(view) = outcome else {
            panic!("{outcome:?}")
        };
        view.wish_revision
    };
    let seen = written(wish(&rig, Desired::Pause)).await;
    let resume = wish_upon(&rig, Desired::Run, seen.0);
    let seen = written(resume.clone()).await;
    let seen = written(wish_upon(&rig, Desired::Pause, seen.0)).await;
    let late = rig.store.wish(&resume).await.unwrap();
    let WishOutcome::Overtaken(view) = late else {
        panic!("{late:?}")
    };
    assert_eq!((view.desired, view.wish_revision), (Desired::Pause, seen));
    assert_eq!(rig.view(1).await.desired, Desired::Pause);
    assert_eq!(
        rig.dense_audit(1).await,
        [
            AuditKind::Created,
            AuditKind::PauseRequested,
            AuditKind::ResumeRequested,
            AuditKind::PauseRequested,
        ]
    );
}

async fn of_wishes_upon_one_revision_one_is_written(rig: Rig) {
    rig.submit(1).await;
    rig.store.wish(&wish(&rig, Desired::Pause)).await.unwrap();
    let sendings = (0..8).map(|number| {
        let desired = if number % 2 == 0 {
            Desired::Run
        } else {
            Desired::Cancel
        };
        let (store, wish) = (Arc::clone(&rig.store), wish_upon(&rig, desired, 1));
        tokio::spawn(async move { store.wish(&wish).await.unwrap() })
    });
    let mut written = 0;
    for sending in sendings.collect::<Vec<_>>() {
        match sending.await.unwrap() {
            WishOutcome::Written(view) => {
                written += 1;
                assert_eq!((view.wish_revision, view.version), (WishRevision(2), 3));
            }
            WishOutcome::Already(view)
            | WishOutcome::Overtaken(view)
            | WishOutcome::Refused(view) => assert_eq!(view.version, 3),
            other @ (WishOutcome::TerminalSame(_)
            | WishOutcome::VersionMismatch(_)
            | WishOutcome::NotFound) => panic!("{other:?}"),
        }
    }
    assert_eq!(written, 1);
    assert_eq!(rig.dense_audit(1).await.len(), 3);
}
