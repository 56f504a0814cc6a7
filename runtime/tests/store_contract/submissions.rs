//! Submissions: admission, idempotency, and what a repeat answers.

use crate::rig::{Rig, config_record, id, submission};
use crate::stores::on_every_store;
use niyanta_core::{
    ids::CustomerId,
    time::{Duration, WallTime},
    workload::{AuditKind, Desired, Status},
};
use runtime::store::{
    AdminActor, ConfigId, CustomerPatch, DeleteConfig, Revision, StoreError, SubmitOutcome,
};
use serde_json::json;
use std::sync::Arc;

on_every_store! {
    a_submission_is_there_as_it_was_given
    a_repeat_with_the_same_id_is_created_once
    an_idempotency_key_names_one_workload
    a_key_is_not_taken_by_a_refused_submission
    racing_submissions_with_one_key_make_one_workload
    an_unknown_type_is_refused
    sixteen_submitters_fill_a_queue_exactly
    text_with_u0000_is_refused
    several_submissions_have_an_outcome_each
}

async fn a_submission_is_there_as_it_was_given(rig: Rig) {
    let mut sent = rig.submission(1);
    sent.labels
        .insert(String::from("team"), String::from("blue"));
    sent.max_retries = Some(7);
    sent.affinity.hard.worker_id = Some("w9".parse().unwrap());
    sent.affinity
        .anti
        .workload_types
        .insert("exec".parse().unwrap());
    sent.affinity_rules = Some(json!({ "hard_affinity": { "worker_id": "w9" } }));
    let later = WallTime(i64::MAX / 4);
    sent.run_after = Some(later);
    let SubmitOutcome::Created(view) = rig.submit_one(sent.clone()).await else {
        panic!()
    };
    assert_eq!(*view, rig.view(1).await);
    assert_eq!(
        (view.status, view.desired, view.version),
        (Status::Pending, Desired::Run, 1)
    );
    assert_eq!(view.input_params, sent.input_params);
    assert_eq!((view.max_retries, view.timeout_seconds), (7, 3600));
    assert_eq!(
        (view.labels, view.affinity_rules),
        (sent.labels, sent.affinity_rules)
    );
    assert_eq!(view.run_after, Some(later));
    let row = rig.row(1).await;
    assert_eq!(*row.affinity, sent.affinity);
    assert_eq!(row.leader.eligible_at, later);
    assert_eq!(row.leader.sort_key, later.minus(Duration::from_secs(600)).0);
    assert_eq!(rig.dense_audit(1).await, [AuditKind::Created]);
    let foreign = rig.store.workload(CustomerId(8), id(1)).await.unwrap();
    assert!(foreign.is_none());
}

async fn a_repeat_with_the_same_id_is_created_once(rig: Rig) {
    rig.submit(1).await;
    let again = rig.submit_one(rig.submission(1)).await;
    assert!(matches!(again, SubmitOutcome::Created(view) if view.id == id(1)));
    let customer = rig.store.customer(rig.customer).await.unwrap().unwrap();
    assert_eq!(customer.queued, 1);
}

async fn an_idempotency_key_names_one_workload(rig: Rig) {
    let keyed = |number, hash: u8| {
        let mut sent = rig.submission(number);
        sent.idempotency = Some((String::from("k"), [hash; 32]));
        sent
    };
    assert!(matches!(
        rig.submit_one(keyed(1, 1)).await,
        SubmitOutcome::Created(_)
    ));
    assert!(matches!(
        rig.submit_one(keyed(1, 1)).await,
        SubmitOutcome::Created(_)
    ));
    let second = rig.submit_one(keyed(2, 1)).await;
    assert!(matches!(second, SubmitOutcome::Existing(view) if view.id == id(1)));
    assert_eq!(rig.submit_one(keyed(3, 2)).await, SubmitOutcome::KeyReused);
    let mut other = keyed(4, 2);
    other.customer = other_customer(&rig).await;
    assert!(matches!(
        rig.submit_one(other).await,
        SubmitOutcome::Created(_)
    ));
}

/// A second customer with a type of the same name.
async fn other_customer(rig: &Rig) -> CustomerId {
    let customer = CustomerId(8);
    let record = runtime::store::CustomerRecord {
        id: customer,
        name: String::from("eight"),
        tier: runtime::store::Tier::Free,
        overrides: runtime::store::LimitOverrides::default(),
    };
    rig.store
        .create_customer(&record, &AdminActor::CommandLine)
        .await
        .unwrap();
    rig.store
        .create_config(
            customer,
            &config_record(ConfigId(80), "sleep"),
            Revision::ZERO,
        )
        .await
        .unwrap();
    customer
}

async fn limit_queue(rig: &Rig, limit: u32) {
    let patch = CustomerPatch {
        max_queue_depth: Some(Some(limit)),
        ..CustomerPatch::default()
    };
    rig.patch(&patch).await;
}

async fn a_key_is_not_taken_by_a_refused_submission(rig: Rig) {
    limit_queue(&rig, 1).await;
    rig.submit(1).await;
    let mut sent = rig.submission(2);
    sent.idempotency = Some((String::from("k"), [1; 32]));
    assert_eq!(
        rig.submit_one(sent.clone()).await,
        SubmitOutcome::QueueFull { limit: 1 }
    );
    limit_queue(&rig, 2).await;
    assert!(matches!(
        rig.submit_one(sent).await,
        SubmitOutcome::Created(_)
    ));
}

async fn racing_submissions_with_one_key_make_one_workload(rig: Rig) {
    let tasks: Vec<_> = (1..=8)
        .map(|number| {
            let (store, mut sent) = (Arc::clone(&rig.store), rig.submission(number));
            sent.idempotency = Some((String::from("k"), [1; 32]));
            tokio::spawn(async move { store.submit(&[sent]).await.pop().unwrap().unwrap() })
        })
        .collect();
    let (mut created, mut ids) = (0, Vec::new());
    for task in tasks {
        match task.await.unwrap() {
            SubmitOutcome::Created(view) => {
                created += 1;
                ids.push(view.id);
            }
            SubmitOutcome::Existing(view) => ids.push(view.id),
            SubmitOutcome::KeyReused
            | SubmitOutcome::UnknownType
            | SubmitOutcome::QueueFull { .. } => panic!("refused"),
        }
    }
    ids.dedup();
    assert_eq!((created, ids.len()), (1, 1));
    assert_eq!(
        rig.store
            .customer(rig.customer)
            .await
            .unwrap()
            .unwrap()
            .queued,
        1
    );
}

async fn an_unknown_type_is_refused(rig: Rig) {
    let mut sent = rig.submission(1);
    sent.workload_type = "other".parse().unwrap();
    assert_eq!(rig.submit_one(sent).await, SubmitOutcome::UnknownType);
    let stranger = submission(CustomerId(404), 2);
    assert_eq!(rig.submit_one(stranger).await, SubmitOutcome::UnknownType);
    let deleted = rig
        .store
        .delete_config(rig.customer, rig.config)
        .await
        .unwrap();
    assert_eq!(deleted, DeleteConfig::Deleted);
    assert_eq!(
        rig.submit_one(rig.submission(3)).await,
        SubmitOutcome::UnknownType
    );
}

async fn sixteen_submitters_fill_a_queue_exactly(rig: Rig) {
    limit_queue(&rig, 40).await;
    let tasks: Vec<_> = (0..16)
        .map(|who: u128| {
            let (store, customer) = (Arc::clone(&rig.store), rig.customer);
            tokio::spawn(async move {
                let mut created = 0;
                for number in 0..6 {
                    let mut sent = submission(customer, 1 + who * 100 + number);
                    // Every other one carries a key, so that both ways to be refused are walked.
                    sent.idempotency =
                        (number % 2 == 0).then(|| (format!("{who}/{number}"), [0; 32]));
                    match store.submit(&[sent]).await.pop().unwrap().unwrap() {
                        SubmitOutcome::Created(_) => created += 1,
                        SubmitOutcome::QueueFull { limit } => assert_eq!(limit, 40),
                        SubmitOutcome::Existing(_)
                        | SubmitOutcome::KeyReused
                        | SubmitOutcome::UnknownType => panic!("refused"),
                    }
                }
                created
            })
        })
        .collect();
    let mut created = 0;
    for task in tasks {
        created += task.await.unwrap();
    }
    assert_eq!(created, 40);
    assert_eq!(
        rig.store
            .customer(rig.customer)
            .await
            .unwrap()
            .unwrap()
            .queued,
        40
    );
}

async fn text_with_u0000_is_refused(rig: Rig) {
    let mut params = rig.submission(1);
    params.input_params = json!({ "deep": [{ "x": "a\u{0}b" }] });
    let mut key = rig.submission(2);
    key.idempotency = Some((String::from("a\u{0}"), [0; 32]));
    let mut label = rig.submission(3);
    label
        .labels
        .insert(String::from("a"), String::from("\u{0}"));
    for outcome in rig.store.submit(&[params, key, label]).await {
        assert!(
            matches!(outcome, Err(StoreError::Refused(_))),
            "{outcome:?}"
        );
    }
    assert_eq!(
        rig.store
            .customer(rig.customer)
            .await
            .unwrap()
            .unwrap()
            .queued,
        0
    );
}

async fn several_submissions_have_an_outcome_each(rig: Rig) {
    let mut wrong = rig.submission(2);
    wrong.workload_type = "other".parse().unwrap();
    let sent = [rig.submission(1), wrong, rig.submission(3)];
    let outcomes = rig.store.submit(&sent).await;
    assert!(matches!(&outcomes[0], Ok(SubmitOutcome::Created(view)) if view.id == id(1)));
    assert!(matches!(&outcomes[1], Ok(SubmitOutcome::UnknownType)));
    assert!(matches!(&outcomes[2], Ok(SubmitOutcome::Created(view)) if view.id == id(3)));
}
