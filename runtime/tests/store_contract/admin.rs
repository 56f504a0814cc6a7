//! Customers, keys, configs, workers and coordinators.

use crate::rig::{Rig, batch, config_record, ended, incarnation, page, put_worker, worker};
use crate::stores::on_every_store;
use niyanta_core::{
    batch::WorkerWrite,
    fleet::{WorkerDesired, WorkerStatus},
    ids::{CustomerId, WishRevision},
    snapshot::Load,
    time::{Duration, WallTime},
    workload::{AuditKind, Status},
};
use runtime::store::{
    AdminActor, Commit, ConfigId, ConfigRecord, CoordinatorRecord, CreateConfig, CustomerPatch,
    DeleteConfig, KeyId, KeyRecord, KeyRow, PatchCustomer, ReplaceConfig, Revision, Tier,
    WorkerFilter, WorkerView, WorkerWish, WorkerWishOutcome,
};
use std::sync::Arc;

on_every_store! {
    a_customer_is_patched_and_listed
    a_key_is_found_by_its_hash
    a_key_is_revoked_once
    configs_keep_their_types_apart
    a_change_that_lands_late_is_void
    a_config_in_use_is_not_deleted
    operators_wishes_reach_the_leader
    an_operators_sending_that_lands_late_is_void
    coordinators_come_and_go
}

async fn a_customer_is_patched_and_listed(rig: Rig) {
    let patch = CustomerPatch {
        name: Some(String::from("new")),
        tier: Some(Tier::Premium),
        max_queue_depth: Some(Some(3)),
        ..CustomerPatch::default()
    };
    let actor = AdminActor::Key(KeyId(1));
    let view = rig.patch(&patch).await;
    assert_eq!((view.name.as_str(), view.tier), ("new", Tier::Premium));
    assert_eq!(
        (
            view.limits.max_queue_depth,
            view.limits.max_concurrent_workloads
        ),
        (3, 500)
    );
    let back = CustomerPatch {
        max_queue_depth: Some(None),
        ..CustomerPatch::default()
    };
    rig.patch(&back).await;
    let listed = rig.store.customers(&page(10)).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].limits.max_queue_depth, 2_000);
    let nobody = rig
        .store
        .patch_customer(CustomerId(404), &back, Revision::ZERO, &actor)
        .await
        .unwrap();
    assert_eq!(nobody, PatchCustomer::NotFound);
    let audit = rig.store.admin_audit(None, 10).await.unwrap();
    let actions: Vec<&str> = audit.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(
        actions,
        ["customer.created", "customer.updated", "customer.updated"]
    );
    assert_eq!(
        audit.iter().map(|event| event.sequence).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert_eq!(audit[1].actor_id, KeyId(1).to_string());
    assert_eq!(audit[1].details["max_queue_depth"], 3);
    assert_eq!(rig.store.admin_audit(Some(2), 10).await.unwrap().len(), 1);
}

fn key(number: u8, customer: Option<CustomerId>) -> KeyRecord {
    KeyRecord {
        id: KeyId(number.into()),
        customer,
        name: String::from("k"),
        prefix: String::from("nyt_ab"),
        secret_hash: [number; 32],
        expires_at: None,
    }
}

async fn create_key(rig: &Rig, record: KeyRecord) -> Option<KeyRow> {
    let actor = AdminActor::CommandLine;
    rig.store.create_key(&record, &actor).await.unwrap()
}

async fn a_key_is_found_by_its_hash(rig: Rig) {
    let mine = Some(rig.customer);
    let made = create_key(&rig, key(1, mine)).await.unwrap();
    assert_eq!(create_key(&rig, key(1, mine)).await, Some(made));
    create_key(&rig, key(2, None)).await.unwrap();
    let stranger = Some(CustomerId(404));
    assert_eq!(create_key(&rig, key(3, stranger)).await, None);
    let found = rig.store.find_key(&[1; 32]).await.unwrap().unwrap();
    assert_eq!(found.customer, mine);
    assert!(rig.store.find_key(&[9; 32]).await.unwrap().is_none());
    let used = [(KeyId(1), WallTime(50)), (KeyId(404), WallTime(1))];
    rig.store.record_key_use(&used).await.unwrap();
    let keys = rig.store.keys(mine, &page(10)).await.unwrap().unwrap();
    assert_eq!((keys.len(), keys[0].last_used_at), (1, Some(WallTime(50))));
    let admins = rig.store.keys(None, &page(10)).await.unwrap().unwrap();
    assert_eq!(admins.len(), 1);
    assert!(rig.store.keys(stranger, &page(10)).await.unwrap().is_none());
}

async fn a_key_is_revoked_once(rig: Rig) {
    create_key(&rig, key(1, Some(rig.customer))).await.unwrap();
    let actor = AdminActor::CommandLine;
    let first = rig.store.revoke_key(KeyId(1), &actor).await.unwrap();
    assert!(first.as_ref().unwrap().revoked_at.is_some());
    let again = rig.store.revoke_key(KeyId(1), &actor).await.unwrap();
    assert_eq!(again, first);
    let nothing = rig.store.revoke_key(KeyId(404), &actor).await.unwrap();
    assert!(nothing.is_none());
    let audit = rig.store.admin_audit(Some(1), 10).await.unwrap();
    let actions: Vec<&str> = audit.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(actions, ["key.created", "key.revoked"]);
}

async fn create(rig: &Rig, record: &ConfigRecord, upon: u64) -> CreateConfig {
    let sent = rig
        .store
        .create_config(rig.customer, record, Revision(upon));
    sent.await.unwrap()
}

async fn replace(rig: &Rig, record: &ConfigRecord, upon: u64) -> ReplaceConfig {
    let sent = rig
        .store
        .replace_config(rig.customer, record, Revision(upon));
    sent.await.unwrap()
}

async fn configs_keep_their_types_apart(rig: Rig) {
    let taken = config_record(ConfigId(71), "sleep");
    assert_eq!(create(&rig, &taken, 0).await, CreateConfig::TypeTaken);
    let second = config_record(ConfigId(72), "exec");
    let answer = create(&rig, &second, 0).await;
    let CreateConfig::Created(row) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(row.record, second);
    let again = create(&rig, &second, 0).await;
    assert_eq!(again, CreateConfig::Created(row));
    let clash = config_record(ConfigId(72), "sleep");
    assert_eq!(replace(&rig, &clash, 0).await, ReplaceConfig::TypeTaken);
    let moved = config_record(ConfigId(72), "other");
    let answer = replace(&rig, &moved, 0).await;
    assert!(matches!(answer, ReplaceConfig::Replaced(row) if row.record == moved));
    let nothing = config_record(ConfigId(404), "more");
    assert_eq!(replace(&rig, &nothing, 0).await, ReplaceConfig::NotFound);
    assert_eq!(
        rig.store
            .configs(rig.customer, &page(10))
            .await
            .unwrap()
            .len(),
        2
    );
    assert!(
        rig.store
            .config(CustomerId(8), ConfigId(72))
            .await
            .unwrap()
            .is_none()
    );
}

/// A sending that had no answer may land when its call was answered long ago.
async fn a_change_that_lands_late_is_void(rig: Rig) {
    // A replacement: its second sending landed, and then another's.
    let mine = ConfigRecord {
        max_retries: 1,
        ..config_record(rig.config, "sleep")
    };
    let theirs = ConfigRecord {
        max_retries: 2,
        ..mine.clone()
    };
    let answer = replace(&rig, &mine, 0).await;
    assert!(matches!(answer, ReplaceConfig::Replaced(row) if row.record == mine));
    let answer = replace(&rig, &theirs, 1).await;
    let ReplaceConfig::Replaced(last) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(last.revision, Revision(2));
    let late = replace(&rig, &mine, 0).await;
    assert_eq!(late, ReplaceConfig::Overtaken(last));

    // A change of a customer.
    let tier = |tier| CustomerPatch {
        tier: Some(tier),
        ..CustomerPatch::default()
    };
    let first = rig.patch(&tier(Tier::Premium)).await;
    let last = rig.patch(&tier(Tier::Free)).await;
    assert_eq!((first.revision, last.revision), (Revision(1), Revision(2)));
    let actor = AdminActor::CommandLine;
    let late = rig
        .store
        .patch_customer(rig.customer, &tier(Tier::Premium), Revision::ZERO, &actor)
        .await
        .unwrap();
    assert_eq!(late, PatchCustomer::Overtaken(Box::new(last)));
    let audit = rig.store.admin_audit(None, 10).await.unwrap();
    assert_eq!(audit.len(), 3);

    // A new config, which was deleted since.
    let new = config_record(ConfigId(72), "exec");
    assert_eq!(create(&rig, &new, 0).await, CreateConfig::Overtaken);
    let made = create(&rig, &new, 2).await;
    assert!(matches!(made, CreateConfig::Created(_)));
    let deleted = rig.store.delete_config(rig.customer, new.id).await;
    assert_eq!(deleted.unwrap(), DeleteConfig::Deleted);
    assert_eq!(create(&rig, &new, 2).await, CreateConfig::Overtaken);
    let found = rig.store.config(rig.customer, new.id).await.unwrap();
    assert!(found.is_none());
    let nobody = rig
        .store
        .create_config(CustomerId(404), &new, Revision::ZERO)
        .await;
    assert_eq!(nobody.unwrap(), CreateConfig::NoCustomer);
}

async fn a_config_in_use_is_not_deleted(rig: Rig) {
    rig.submit(1).await;
    let delete = || rig.store.delete_config(rig.customer, rig.config);
    assert_eq!(delete().await.unwrap(), DeleteConfig::InUse);
    let generation = rig.lead().await;
    let mut end = batch(generation, 1);
    end.workloads.push(ended(
        &rig.row(1).await,
        Status::Cancelled,
        AuditKind::Cancelled,
    ));
    assert_eq!(
        rig.store.commit(&Arc::new(end)).await.unwrap(),
        Commit::Applied
    );
    assert_eq!(delete().await.unwrap(), DeleteConfig::Deleted);
    assert_eq!(delete().await.unwrap(), DeleteConfig::NotFound);
}

async fn operators_wishes_reach_the_leader(rig: Rig) {
    let generation = rig.lead().await;
    let drain = WorkerWish {
        deadline: Some(Duration::from_secs(60)),
        ..wish_for_w1(WorkerDesired::Drain, 0)
    };
    assert_eq!(
        rig.store.wish_worker(&drain).await.unwrap(),
        WorkerWishOutcome::NotFound
    );
    assert_eq!(rig.store.worker(&worker("w1")).await.unwrap(), None);
    let mut put = batch(generation, 1);
    put.workers
        .extend([put_worker("w1", "w1.1"), put_worker("w2", "w2.1")]);
    assert_eq!(
        rig.store.commit(&Arc::new(put)).await.unwrap(),
        Commit::Applied
    );
    let view = written(&rig, &drain).await;
    assert_eq!(
        (view.desired, view.status),
        (WorkerDesired::Drain, WorkerStatus::Healthy)
    );
    let unseen = rig
        .store
        .load(&Load::WorkerWishes, 10)
        .await
        .unwrap()
        .value
        .workers;
    assert_eq!(unseen.len(), 1);
    assert_eq!(unseen[0].wish_revision, WishRevision(1));
    assert!(unseen[0].drain_deadline.is_some());
    let after = rig
        .store
        .workers(&WorkerFilter::default(), Some(&worker("w1")), 10)
        .await
        .unwrap();
    assert_eq!(after.len(), 1);
    let dead = WorkerFilter {
        status: vec![WorkerStatus::Dead],
    };
    assert!(rig.store.workers(&dead, None, 10).await.unwrap().is_empty());
    let seen = rig.store.worker(&worker("w1")).await.unwrap();
    assert_eq!(seen, Some(view));
    written(&rig, &wish_for_w1(WorkerDesired::Run, 1)).await;
    let audit = rig.store.admin_audit(Some(1), 10).await.unwrap();
    let actions: Vec<&str> = audit.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(actions, ["worker.drain", "worker.undrain"]);
}

/// Upon a revision that its first start saw.
fn wish_for_w1(desired: WorkerDesired, revision: u64) -> WorkerWish {
    WorkerWish {
        worker: worker("w1"),
        desired,
        incarnation: incarnation("w1.1"),
        upon: WishRevision(revision),
        deadline: None,
        actor: AdminActor::CommandLine,
    }
}

async fn written(rig: &Rig, wish: &WorkerWish) -> WorkerView {
    match rig.store.wish_worker(wish).await.unwrap() {
        WorkerWishOutcome::Written(view) => *view,
        other @ (WorkerWishOutcome::Overtaken(_) | WorkerWishOutcome::NotFound) => {
            panic!("{other:?}")
        }
    }
}

/// A drain is sent, has no answer, is sent again and answered; an undrain is acknowledged; then the
/// first sending lands. So does a removal once the worker has left and come back.
async fn an_operators_sending_that_lands_late_is_void(rig: Rig) {
    let generation = rig.lead().await;
    let commit = async |number, write: WorkerWrite| {
        let mut next = batch(generation, number);
        next.workers.push(write);
        let done = rig.store.commit(&Arc::new(next)).await.unwrap();
        assert_eq!(done, Commit::Applied);
    };
    let desired = async || {
        rig.store
            .worker(&worker("w1"))
            .await
            .unwrap()
            .unwrap()
            .desired
    };
    commit(1, put_worker("w1", "w1.1")).await;
    let drain = wish_for_w1(WorkerDesired::Drain, 0);
    written(&rig, &drain).await;
    written(&rig, &wish_for_w1(WorkerDesired::Run, 1)).await;
    let late = rig.store.wish_worker(&drain).await.unwrap();
    assert!(matches!(late, WorkerWishOutcome::Overtaken(_)), "{late:?}");
    assert_eq!(desired().await, WorkerDesired::Run);
    let remove = wish_for_w1(WorkerDesired::Remove, 2);
    written(&rig, &remove).await;
    let gone = WorkerWrite::Remove {
        worker: worker("w1"),
    };
    commit(2, gone).await;
    commit(3, put_worker("w1", "w1.2")).await;
    for revision in [0, 2] {
        let late = WorkerWish {
            upon: WishRevision(revision),
            ..remove.clone()
        };
        let late = rig.store.wish_worker(&late).await.unwrap();
        assert!(matches!(late, WorkerWishOutcome::Overtaken(_)), "{late:?}");
    }
    assert_eq!(desired().await, WorkerDesired::Run);
    let audit = rig.store.admin_audit(Some(1), 10).await.unwrap();
    let actions: Vec<&str> = audit.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(actions, ["worker.drain", "worker.undrain", "worker.remove"]);
}

async fn coordinators_come_and_go(rig: Rig) {
    let record = |name: &str| CoordinatorRecord {
        coordinator_id: format!("label of {name}"),
        incarnation: incarnation(name),
        address: String::from("127.0.0.1:1"),
        version: String::from("0.1"),
    };
    rig.store.record_coordinator(&record("me")).await.unwrap();
    rig.store.record_coordinator(&record("you")).await.unwrap();
    rig.store.record_coordinator(&record("me")).await.unwrap();
    let generation = rig.lead().await;
    let rows = rig
        .store
        .coordinators(Duration::from_secs(60))
        .await
        .unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!((rows[0].is_leader, rows[0].generation), (true, generation));
    assert!(!rows[1].is_leader && rows[0].last_seen > rows[0].started_at);
    rig.store
        .remove_coordinator(&incarnation("me"))
        .await
        .unwrap();
    assert_eq!(
        rig.store
            .coordinators(Duration::from_secs(60))
            .await
            .unwrap()
            .len(),
        1
    );
}
