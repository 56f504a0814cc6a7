//! The lease and the fence.

use crate::rig::{Rig, incarnation, take};
use crate::stores::on_every_store;
use niyanta_core::{ids::BatchNumber, ids::Generation, time::Duration};
use runtime::store::{LeaseAnswer, TakeLease};

on_every_store! {
    a_fresh_lease_is_taken_and_moves_the_fence
    a_held_lease_is_told_and_left_alone
    its_holder_takes_it_again_above_what_it_heard
    a_resigned_or_forced_lease_is_taken_at_once
    renewals_and_resignations_name_their_term
}

async fn a_fresh_lease_is_taken_and_moves_the_fence(rig: Rig) {
    let generation = rig.lead().await;
    let fence = rig.store.read_fence().await.unwrap();
    assert_eq!(fence.generation, generation);
    assert_eq!(fence.incarnation, incarnation("me"));
    assert_eq!(fence.applied, BatchNumber(0));
    let lease = rig.store.read_lease().await.unwrap();
    assert_eq!(lease.value.generation, generation);
    assert!(lease.value.remaining > Duration::from_secs(5));
    assert!(lease.database_time.0 > 1_600_000_000_000_000);
    let snapshot = rig.store.snapshot(10).await.unwrap().value;
    assert_eq!(snapshot.longest_ttl, Duration::from_secs(10));
    assert_eq!(snapshot.fence, fence);
}

async fn a_held_lease_is_told_and_left_alone(rig: Rig) {
    let generation = rig.lead().await;
    let answer = rig.store.take_lease(take("other")).await.unwrap().value;
    let LeaseAnswer::Held(row) = answer else {
        panic!("taken")
    };
    assert_eq!(
        (row.incarnation, row.generation),
        (incarnation("me"), generation)
    );
    assert!(!row.resigned);
    assert_eq!(rig.store.read_fence().await.unwrap().generation, generation);
}

async fn its_holder_takes_it_again_above_what_it_heard(rig: Rig) {
    let own = rig.lead().await;
    let wrong = TakeLease {
        own: Some(Generation(own.0 + 1)),
        ..take("me")
    };
    assert!(matches!(
        rig.store.take_lease(wrong).await.unwrap().value,
        LeaseAnswer::Held(_)
    ));
    let again = TakeLease {
        own: Some(own),
        above: Generation(40),
        ..take("me")
    };
    let answer = rig.store.take_lease(again).await.unwrap().value;
    assert_eq!(answer, LeaseAnswer::Taken(Generation(41)));
}

async fn a_resigned_or_forced_lease_is_taken_at_once(rig: Rig) {
    let first = rig.lead().await;
    let other = TakeLease {
        ttl: Duration::from_secs(3),
        ..take("other")
    };
    rig.store
        .resign_lease(&incarnation("me"), Generation(first.0 + 1))
        .await
        .unwrap();
    assert!(!rig.store.read_lease().await.unwrap().value.resigned);
    rig.store
        .resign_lease(&incarnation("me"), first)
        .await
        .unwrap();
    assert!(rig.store.read_lease().await.unwrap().value.resigned);
    let answer = rig.store.take_lease(other).await.unwrap().value;
    assert_eq!(answer, LeaseAnswer::Taken(first.next()));
    assert!(!rig.store.read_lease().await.unwrap().value.resigned);
    let forced = TakeLease {
        force: true,
        ..take("third")
    };
    let answer = rig.store.take_lease(forced).await.unwrap().value;
    assert_eq!(answer, LeaseAnswer::Taken(first.next().next()));
    let longest = rig.store.snapshot(1).await.unwrap().value.longest_ttl;
    assert_eq!(longest, Duration::from_secs(10));
}

async fn renewals_and_resignations_name_their_term(rig: Rig) {
    let generation = rig.lead().await;
    let me = incarnation("me");
    let ttl = Duration::from_secs(20);
    assert!(
        rig.store
            .renew_lease(&me, generation, ttl)
            .await
            .unwrap()
            .value
    );
    assert!(rig.store.read_lease().await.unwrap().value.remaining > Duration::from_secs(15));
    let late = Generation(generation.0 - 1);
    assert!(!rig.store.renew_lease(&me, late, ttl).await.unwrap().value);
    assert!(
        !rig.store
            .renew_lease(&incarnation("x"), generation, ttl)
            .await
            .unwrap()
            .value
    );
    rig.store.resign_lease(&me, generation).await.unwrap();
    assert!(
        !rig.store
            .renew_lease(&me, generation, ttl)
            .await
            .unwrap()
            .value
    );
}
