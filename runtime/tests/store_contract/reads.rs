//! Lists for customers, and what the leader loads.

use crate::rig::{Rig, id, page};
use crate::stores::on_every_store;
use niyanta_core::{
    ids::PlacementClass,
    snapshot::{Load, SweepCursor},
    time::{Duration, WallTime},
    workload::Status,
};
use runtime::store::{Page, WorkloadFilter};

on_every_store! {
    lists_are_filtered_and_paged_both_ways
    the_sweep_goes_on_where_it_stopped
    a_backlog_holds_what_is_eligible_in_order
    what_becomes_eligible_is_loaded_once
}

async fn list(rig: &Rig, filter: &WorkloadFilter, page: &Page) -> Vec<u128> {
    let rows = rig
        .store
        .workloads(rig.customer, filter, page)
        .await
        .unwrap();
    rows.into_iter().map(|row| row.id.0).collect()
}

async fn lists_are_filtered_and_paged_both_ways(rig: Rig) {
    for number in 1..=4 {
        let mut sent = rig.submission(number);
        sent.labels
            .insert(String::from("parity"), (number % 2).to_string());
        rig.submit_one(sent).await;
    }
    let generation = rig.lead().await;
    rig.assign(generation, 1, &[4]).await;
    let all = WorkloadFilter::default();
    assert_eq!(list(&rig, &all, &page(10)).await, [1, 2, 3, 4]);
    let down = Page {
        ascending: false,
        ..page(2)
    };
    assert_eq!(list(&rig, &all, &down).await, [4, 3]);
    let third = rig.view(3).await;
    let next = Page {
        after: Some((third.created_at, 3)),
        ..down
    };
    assert_eq!(list(&rig, &all, &next).await, [2, 1]);
    let until = Page {
        until: Some(rig.view(2).await.created_at),
        ..page(10)
    };
    assert_eq!(list(&rig, &all, &until).await, [1, 2]);
    let mut odd = WorkloadFilter::default();
    odd.labels.insert(String::from("parity"), String::from("1"));
    assert_eq!(list(&rig, &odd, &page(10)).await, [1, 3]);
    let waiting = WorkloadFilter {
        status: vec![Status::Pending, Status::Paused],
        ..odd
    };
    assert_eq!(list(&rig, &waiting, &page(10)).await, [1, 3]);
    let open = WorkloadFilter {
        status: vec![Status::Scheduled],
        ..WorkloadFilter::default()
    };
    assert_eq!(list(&rig, &open, &page(10)).await, [4]);
    let typed = WorkloadFilter {
        workload_type: Some("other".parse().unwrap()),
        ..WorkloadFilter::default()
    };
    assert!(list(&rig, &typed, &page(10)).await.is_empty());
    let after = WorkloadFilter {
        created_after: Some(third.created_at),
        ..all
    };
    assert_eq!(list(&rig, &after, &page(10)).await, [4]);
}

async fn the_sweep_goes_on_where_it_stopped(rig: Rig) {
    for number in 1..=5 {
        let mut sent = rig.submission(number);
        sent.class = PlacementClass(if number > 3 { -2 } else { 5 });
        rig.submit_one(sent).await;
    }
    let snapshot = rig.store.snapshot(2).await.unwrap().value;
    let (mut seen, mut next): (Vec<u128>, _) = (
        snapshot.waiting.iter().map(|row| row.id.0).collect(),
        snapshot.next,
    );
    while let Some(after) = next {
        let load = Load::Sweep { after: Some(after) };
        let loaded = rig.store.load(&load, 2).await.unwrap().value;
        seen.extend(loaded.workloads.iter().map(|row| row.id.0));
        next = loaded
            .workloads
            .last()
            .filter(|_| !loaded.complete)
            .map(|row| SweepCursor {
                customer: row.customer,
                class: row.class,
                sort_key: row.leader.sort_key,
                workload: row.id,
            });
        assert_eq!(loaded.customers.len(), 1);
    }
    assert_eq!(seen, [4, 5, 1, 2, 3]);
}

async fn a_backlog_holds_what_is_eligible_in_order(rig: Rig) {
    rig.submit(2).await;
    let mut urgent = rig.submission(3);
    urgent.priority = 900;
    rig.submit_one(urgent).await;
    let mut later = rig.submission(4);
    later.run_after = Some(rig.view(3).await.created_at.plus(Duration::from_secs(3600)));
    rig.submit_one(later).await;
    let load = |after| Load::Backlog {
        customer: rig.customer,
        class: PlacementClass(5),
        after,
    };
    let first = rig.store.load(&load(None), 2).await.unwrap().value;
    assert_eq!(
        first.workloads.iter().map(|row| row.id).collect::<Vec<_>>(),
        [id(3), id(1)]
    );
    assert!(!first.complete);
    let last = &first.workloads[1];
    let rest = load(Some((last.leader.sort_key, last.id)));
    let rest = rig.store.load(&rest, 2).await.unwrap().value;
    assert_eq!(
        rest.workloads.iter().map(|row| row.id).collect::<Vec<_>>(),
        [id(2)]
    );
    assert!(rest.complete);
}

async fn what_becomes_eligible_is_loaded_once(rig: Rig) {
    rig.submit(2).await;
    let (first, second) = (rig.row(1).await, rig.row(2).await);
    let load = |after, until| Load::Eligible { after, until };
    let both = load(WallTime(0), second.leader.eligible_at);
    let loaded = rig.store.load(&both, 10).await.unwrap();
    assert_eq!(loaded.value.workloads.len(), 2);
    assert!(loaded.database_time >= second.leader.eligible_at);
    let one = load(first.leader.eligible_at, second.leader.eligible_at);
    let loaded = rig.store.load(&one, 10).await.unwrap().value;
    assert_eq!(
        loaded
            .workloads
            .iter()
            .map(|row| row.id)
            .collect::<Vec<_>>(),
        [id(2)]
    );
    let customers = Load::Customers(vec![rig.customer]);
    let loaded = rig.store.load(&customers, 10).await.unwrap().value;
    assert_eq!(
        (loaded.customers[0].weight, loaded.customers[0].max_running),
        (10, 100)
    );
}
