//! The leader's commits.

use crate::rig::{Rig, assigned, batch, ended, id, incarnation, put_worker, step, take, worker};
use crate::stores::on_every_store;
use niyanta_core::{
    batch::{AuditDetails, CounterWrite, WorkerWrite},
    ids::{BatchNumber, CustomerId, Generation, WishRevision},
    scheduling::PendingReason,
    snapshot::Load,
    workload::{AuditKind, Desired, Status},
};
use runtime::store::{Commit, KeyId, TakeLease, Wish, WishOutcome, WorkerFilter};
use std::sync::Arc;

on_every_store! {
    a_batch_moves_rows_audit_workers_and_counters
    a_repeat_changes_nothing
    another_term_or_number_changes_nothing
    a_row_that_differs_undoes_the_whole_batch
    a_missing_counter_or_worker_undoes_the_whole_batch
    folded_steps_are_numbered_in_order
    wishes_between_batches_keep_the_audit_dense
    a_worker_is_put_again_and_removed
}

async fn a_batch_moves_rows_audit_workers_and_counters(rig: Rig) {
    rig.submit(2).await;
    let generation = rig.lead().await;
    let reason = PendingReason::NoCapacity { capable: 3 };
    let attempt = rig.row(1).await.leader.attempt;
    rig.store
        .record_pending_reasons(&[(id(1), attempt, reason)])
        .await
        .unwrap();
    assert!(rig.view(1).await.pending_reason.is_some());
    let mut batch = rig.assignment(generation, 1, &[1, 2]).await;
    batch.workers.push(put_worker("w1", "w1.1"));
    assert_eq!(
        rig.store.commit(&Arc::new(batch)).await.unwrap(),
        Commit::Applied
    );
    let view = rig.view(1).await;
    assert_eq!((view.status, view.version), (Status::Scheduled, 2));
    assert_eq!(view.worker_id, Some(worker("w1")));
    assert_eq!(view.pending_reason, None);
    assert!(view.scheduled_at.is_some() && view.started_at.is_none());
    assert_eq!(
        rig.dense_audit(1).await,
        [AuditKind::Created, AuditKind::Scheduled]
    );
    let customer = rig.store.customer(rig.customer).await.unwrap().unwrap();
    assert_eq!((customer.running, customer.queued), (2, 0));
    let events = rig
        .store
        .audit(rig.customer, id(1), 1, 10)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(events[0].generation, generation);
    assert_eq!(events[0].actor_type, "coordinator");
    assert_eq!(events[0].details["incarnation"], "w1.1");
    let workers = rig
        .store
        .workers(&WorkerFilter::default(), None, 10)
        .await
        .unwrap();
    assert_eq!(workers[0].running.len(), 2);
    assert_eq!(workers[0].capabilities.len(), 2);
    let fence = rig.store.read_fence().await.unwrap();
    assert_eq!(fence.applied, BatchNumber(1));
    let snapshot = rig.store.snapshot(10).await.unwrap().value;
    assert_eq!((snapshot.open.len(), snapshot.waiting.len()), (2, 0));
    assert_eq!((snapshot.workers.len(), snapshot.customers.len()), (1, 1));
}

async fn a_repeat_changes_nothing(rig: Rig) {
    rig.submit(1).await;
    let generation = rig.lead().await;
    let batch = Arc::new(rig.assignment(generation, 1, &[1]).await);
    assert_eq!(rig.store.commit(&batch).await.unwrap(), Commit::Applied);
    assert_eq!(rig.store.commit(&batch).await.unwrap(), Commit::NotApplied);
    assert_eq!(rig.view(1).await.version, 2);
}

async fn another_term_or_number_changes_nothing(rig: Rig) {
    rig.submit(1).await;
    let generation = rig.lead().await;
    let sent = rig.assignment(generation, 1, &[1]).await;
    let mut skipped = sent.clone();
    skipped.number = BatchNumber(2);
    assert_eq!(
        rig.store.commit(&Arc::new(skipped)).await.unwrap(),
        Commit::NotApplied
    );
    let mut foreign = sent.clone();
    foreign.incarnation = incarnation("other");
    assert_eq!(
        rig.store.commit(&Arc::new(foreign)).await.unwrap(),
        Commit::NotApplied
    );
    let forced = TakeLease {
        force: true,
        ..take("other")
    };
    rig.store.take_lease(forced).await.unwrap();
    assert_eq!(
        rig.store.commit(&Arc::new(sent)).await.unwrap(),
        Commit::NotApplied
    );
    assert_eq!(rig.view(1).await.status, Status::Pending);
}

async fn a_row_that_differs_undoes_the_whole_batch(rig: Rig) {
    rig.submit(3).await;
    let generation = rig.lead().await;
    let mut batch = rig.assignment(generation, 1, &[1, 2, 3]).await;
    batch.workloads[1].from_status = Status::Paused;
    let batch = Arc::new(batch);
    assert_eq!(rig.store.commit(&batch).await.unwrap(), Commit::Short);
    assert_eq!(rig.view(1).await.status, Status::Pending);
    assert_eq!(rig.dense_audit(1).await, [AuditKind::Created]);
    assert_eq!(
        rig.store.read_fence().await.unwrap().applied,
        BatchNumber(0)
    );
    let customer = rig.store.customer(rig.customer).await.unwrap().unwrap();
    assert_eq!((customer.running, customer.queued), (0, 3));
}

async fn a_missing_counter_or_worker_undoes_the_whole_batch(rig: Rig) {
    let generation = rig.lead().await;
    let mut counters = batch(generation, 1);
    counters.workers.push(put_worker("w1", "w1.1"));
    counters.counters.push(CounterWrite {
        customer: CustomerId(404),
        left_queue: 1,
        running: 1,
    });
    assert_eq!(
        rig.store.commit(&Arc::new(counters)).await.unwrap(),
        Commit::Short
    );
    let mut removal = batch(generation, 1);
    removal.workers.push(WorkerWrite::Remove {
        worker: worker("w404"),
    });
    assert_eq!(
        rig.store.commit(&Arc::new(removal)).await.unwrap(),
        Commit::Short
    );
    assert!(
        rig.store
            .workers(&WorkerFilter::default(), None, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn folded_steps_are_numbered_in_order(rig: Rig) {
    rig.submit(1).await;
    let generation = rig.lead().await;
    let mut folded = rig.assignment(generation, 1, &[1]).await;
    let write = &mut folded.workloads[0];
    let attempt = write.to.attempt;
    write.to.status = Status::Completed;
    write.to.worker = None;
    write.stamp_started = true;
    write.stamp_completed = true;
    write
        .steps
        .push(step(AuditKind::Started, attempt, AuditDetails::None));
    write
        .steps
        .push(step(AuditKind::Completed, attempt, AuditDetails::None));
    assert_eq!(
        rig.store.commit(&Arc::new(folded)).await.unwrap(),
        Commit::Applied
    );
    let view = rig.view(1).await;
    assert_eq!((view.status, view.version), (Status::Completed, 4));
    assert!(view.started_at.is_some() && view.completed_at.is_some());
    let kinds = rig.dense_audit(1).await;
    assert_eq!(
        kinds,
        [
            AuditKind::Created,
            AuditKind::Scheduled,
            AuditKind::Started,
            AuditKind::Completed
        ]
    );
}

async fn wishes_between_batches_keep_the_audit_dense(rig: Rig) {
    rig.submit(1).await;
    let generation = rig.lead().await;
    let store = Arc::clone(&rig.store);
    let customer = rig.customer;
    let wishes = tokio::spawn(async move {
        for turn in 0..40_u32 {
            let desired = if turn % 2 == 0 {
                Desired::Pause
            } else {
                Desired::Run
            };
            let wish = Wish {
                customer,
                workload: id(1),
                desired,
                upon: WishRevision(turn.into()),
                actor: KeyId(9),
                reason: None,
                if_version: None,
            };
            let outcome = store.wish(&wish).await.unwrap();
            assert!(matches!(outcome, WishOutcome::Written(_)), "{outcome:?}");
        }
    });
    for number in 1..=40 {
        let row = rig.row(1).await;
        let write = if row.leader.worker.is_none() {
            assigned(&row)
        } else {
            ended(&row, Status::Pending, AuditKind::Requeued)
        };
        let mut next = batch(generation, number);
        next.workloads.push(write);
        assert_eq!(
            rig.store.commit(&Arc::new(next)).await.unwrap(),
            Commit::Applied
        );
    }
    wishes.await.unwrap();
    assert_eq!(rig.view(1).await.version, 81);
    rig.dense_audit(1).await;
    assert_eq!(rig.row(1).await.wish_revision.0, 40);
}

async fn a_worker_is_put_again_and_removed(rig: Rig) {
    let generation = rig.lead().await;
    let mut first = batch(generation, 1);
    first.workers.push(put_worker("w1", "w1.1"));
    assert_eq!(
        rig.store.commit(&Arc::new(first)).await.unwrap(),
        Commit::Applied
    );
    let before = rig
        .store
        .workers(&WorkerFilter::default(), None, 10)
        .await
        .unwrap();
    let mut again = batch(generation, 2);
    let WorkerWrite::Put(mut record) = put_worker("w1", "w1.1") else {
        unreachable!()
    };
    record.capacity = 9;
    record.stamp_registered = false;
    again.workers.push(WorkerWrite::Put(record));
    assert_eq!(
        rig.store.commit(&Arc::new(again)).await.unwrap(),
        Commit::Applied
    );
    let after = rig
        .store
        .workers(&WorkerFilter::default(), None, 10)
        .await
        .unwrap();
    assert_eq!(after[0].capacity_total, 9);
    assert_eq!(after[0].registered_at, before[0].registered_at);
    let mut removal = batch(generation, 3);
    removal.workers.push(WorkerWrite::Remove {
        worker: worker("w1"),
    });
    assert_eq!(
        rig.store.commit(&Arc::new(removal)).await.unwrap(),
        Commit::Applied
    );
    assert!(
        rig.store
            .snapshot(1)
            .await
            .unwrap()
            .value
            .workers
            .is_empty()
    );
    let unseen = rig.store.load(&Load::WorkerWishes, 10).await.unwrap();
    assert!(unseen.value.complete && unseen.value.workers.is_empty());
    assert_ne!(generation, Generation(0));
}
