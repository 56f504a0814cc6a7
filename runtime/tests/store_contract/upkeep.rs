//! Counts by the hour, and the removal of what is old.

use crate::rig::{Rig, batch, ended, id, incarnation};
use crate::stores::on_every_store;
use niyanta_core::{
    ids::{Attempt, BatchNumber},
    time::{Duration, WallTime},
    workload::{AuditKind, Status},
};
use runtime::store::{
    CheckpointReport, LogFilter, LogLine, LogReport, OutcomeReport, Retire, StatsGroup, StatsQuery,
    StatsRow, SubmitOutcome, Written,
};
use serde_json::json;
use std::sync::Arc;

on_every_store! {
    what_happens_is_counted_by_hour_day_and_type
    an_undone_submission_or_batch_counts_nothing
    ended_workloads_go_with_all_that_is_theirs
    idempotency_records_go_alone_when_they_are_old
    old_lines_go_and_new_ones_find_a_day
}

const DAY: Duration = Duration::from_secs(86_400);

/// Workloads 1 to 3 with keys; 1 completed and 2 failed, after a line, a checkpoint and a result each.
async fn story(rig: &Rig) {
    for number in 1..=3 {
        let mut sent = rig.submission(number);
        sent.idempotency = Some((format!("k{number}"), [1; 32]));
        assert!(matches!(
            rig.submit_one(sent).await,
            SubmitOutcome::Created(_)
        ));
    }
    let generation = rig.lead().await;
    rig.assign(generation, 1, &[1, 2]).await;
    for number in [1, 2] {
        assert_eq!(put_line(rig, number, 1).await, Written::Stored);
        let (workload, attempt, incarnation) = (id(number), Attempt(1), incarnation("w1.1"));
        let checkpoint = CheckpointReport {
            workload,
            attempt,
            incarnation: incarnation.clone(),
            checkpoint_sequence: 1,
            data: String::from("AA=="),
        };
        let outcome = OutcomeReport {
            workload,
            attempt,
            incarnation,
            result_data: Some(json!({ "n": 1 })),
            error_message: None,
        };
        assert_eq!(
            rig.store.put_checkpoint(&checkpoint).await.unwrap(),
            Written::Stored
        );
        assert_eq!(
            rig.store.put_outcome(&outcome).await.unwrap(),
            Written::Stored
        );
    }
    let mut end = batch(generation, 2);
    let (one, two) = (rig.row(1).await, rig.row(2).await);
    end.workloads
        .push(ended(&one, Status::Completed, AuditKind::Completed));
    end.workloads
        .push(ended(&two, Status::Failed, AuditKind::Failed));
    let end = Arc::new(end);
    rig.store.commit(&end).await.unwrap();
    rig.store.commit(&end).await.unwrap();
}

async fn put_line(rig: &Rig, number: u128, sequence: u64) -> Written {
    let report = LogReport {
        workload: id(number),
        attempt: Attempt(1),
        incarnation: incarnation("w1.1"),
        first_sequence: sequence,
        lines: vec![LogLine {
            timestamp: WallTime(1),
            level: String::from("info"),
            message: String::from("hello"),
        }],
    };
    rig.store.put_logs(&report).await.unwrap()
}

async fn counts(rig: &Rig, group: StatsGroup) -> Vec<StatsRow> {
    let query = StatsQuery {
        from: WallTime(0),
        to: WallTime(i64::MAX / 4),
        group,
    };
    rig.store
        .customer_stats(rig.customer, &query)
        .await
        .unwrap()
}

async fn what_happens_is_counted_by_hour_day_and_type(rig: Rig) {
    story(&rig).await;
    for group in [StatsGroup::Hour, StatsGroup::Day, StatsGroup::WorkloadType] {
        let rows = counts(&rig, group).await;
        let sum = |of: fn(&StatsRow) -> i64| rows.iter().map(of).sum::<i64>();
        let sums = [
            sum(|row| row.submitted),
            sum(|row| row.completed),
            sum(|row| row.failed),
            sum(|row| row.cancelled),
        ];
        assert_eq!(sums, [3, 1, 1, 0], "{group:?}");
        let unit = match group {
            StatsGroup::Hour => 3_600_000_000,
            StatsGroup::Day => 86_400_000_000,
            StatsGroup::WorkloadType => {
                assert_eq!((rows.len(), rows[0].start), (1, None));
                assert_eq!(rows[0].workload_type.as_deref(), Some("sleep"));
                continue;
            }
        };
        for row in &rows {
            assert_eq!(
                (row.start.unwrap().0 % unit, &row.workload_type),
                (0, &None)
            );
        }
    }
    let other = rig
        .store
        .customer_stats(
            niyanta_core::ids::CustomerId(8),
            &StatsQuery {
                from: WallTime(0),
                to: WallTime(i64::MAX / 4),
                group: StatsGroup::Hour,
            },
        )
        .await;
    assert_eq!(other.unwrap(), []);
    let first = counts(&rig, StatsGroup::Hour).await[0].start.unwrap();
    let before = StatsQuery {
        from: WallTime(0),
        to: first,
        group: StatsGroup::Hour,
    };
    let before = rig
        .store
        .customer_stats(rig.customer, &before)
        .await
        .unwrap();
    assert_eq!(before, [], "the end of a range is not in it");
}

async fn an_undone_submission_or_batch_counts_nothing(rig: Rig) {
    rig.submit(1).await;
    let mut again = rig.submission(1);
    again.idempotency = Some((String::from("k"), [1; 32]));
    rig.submit_one(again).await;
    let mut unknown = rig.submission(2);
    unknown.workload_type = "unknown".parse().unwrap();
    assert_eq!(rig.submit_one(unknown).await, SubmitOutcome::UnknownType);
    let generation = rig.lead().await;
    let mut short = batch(generation, 1);
    let row = rig.row(1).await;
    short
        .workloads
        .push(ended(&row, Status::Cancelled, AuditKind::Cancelled));
    let mut absent = ended(&row, Status::Cancelled, AuditKind::Cancelled);
    absent.id = id(99);
    short.workloads.push(absent);
    let outcome = rig.store.commit(&Arc::new(short.clone())).await.unwrap();
    assert_eq!(outcome, runtime::store::Commit::Short);
    short.generation = niyanta_core::ids::Generation(generation.0 + 1);
    short.number = BatchNumber(1);
    short.workloads.pop();
    rig.store.commit(&Arc::new(short)).await.unwrap();
    let rows = counts(&rig, StatsGroup::WorkloadType).await;
    assert_eq!((rows[0].submitted, rows[0].cancelled), (1, 0));
}

/// How many rows of this workload stand in every table that has any of it.
async fn left_of(rig: &Rig, number: u128) -> i64 {
    let tables = [
        "workload_payloads",
        "workload_outcomes",
        "checkpoints",
        "idempotency",
        "audit",
        "logs",
    ];
    let parts =
        tables.map(|table| format!("(select count(*) from {table} where workload_id = $1)"));
    let sum = format!(
        "select (select count(*) from workloads where id = $1) + {}",
        parts.join(" + ")
    );
    rig.count(sum, number).await
}

async fn ended_workloads_go_with_all_that_is_theirs(rig: Rig) {
    story(&rig).await;
    let counted = counts(&rig, StatsGroup::WorkloadType).await;
    assert_eq!(
        rig.store.retire(&Retire::Workloads(DAY), 10).await.unwrap(),
        0
    );
    assert_eq!(left_of(&rig, 1).await, 9);
    let now = Retire::Workloads(Duration::ZERO);
    assert_eq!(rig.store.retire(&now, 1).await.unwrap(), 1);
    assert_eq!(left_of(&rig, 1).await + left_of(&rig, 2).await, 9);
    assert_eq!(rig.store.retire(&now, 10).await.unwrap(), 1);
    assert_eq!(rig.store.retire(&now, 10).await.unwrap(), 0);
    assert_eq!((left_of(&rig, 1).await, left_of(&rig, 2).await), (0, 0));
    assert_eq!(left_of(&rig, 3).await, 4);
    assert!(
        rig.store
            .workload(rig.customer, id(1))
            .await
            .unwrap()
            .is_none()
    );
    // A late line of a workload that is gone is refused, and leaves nothing.
    assert_eq!(put_line(&rig, 1, 2).await, Written::NotOpen);
    assert_eq!(left_of(&rig, 1).await, 0);
    // Its key is free, and what was counted stays counted.
    let mut again = rig.submission(4);
    again.idempotency = Some((String::from("k1"), [2; 32]));
    assert!(matches!(
        rig.submit_one(again).await,
        SubmitOutcome::Created(_)
    ));
    let after = counts(&rig, StatsGroup::WorkloadType).await;
    assert_eq!(after[0].completed, counted[0].completed);
    assert_eq!(rig.store.retire(&Retire::Hours(DAY), 10).await.unwrap(), 0);
}

async fn idempotency_records_go_alone_when_they_are_old(rig: Rig) {
    story(&rig).await;
    assert_eq!(
        rig.store
            .retire(&Retire::Idempotency(DAY), 10)
            .await
            .unwrap(),
        0
    );
    let now = Retire::Idempotency(Duration::ZERO);
    assert_eq!(rig.store.retire(&now, 2).await.unwrap(), 2);
    assert_eq!(rig.store.retire(&now, 2).await.unwrap(), 1);
    assert_eq!(left_of(&rig, 3).await, 3);
    assert!(
        rig.store
            .workload(rig.customer, id(1))
            .await
            .unwrap()
            .is_some()
    );
    let mut again = rig.submission(5);
    again.idempotency = Some((String::from("k3"), [1; 32]));
    assert!(
        matches!(rig.submit_one(again).await, SubmitOutcome::Created(view) if view.id == id(5))
    );
}

async fn old_lines_go_and_new_ones_find_a_day(rig: Rig) {
    story(&rig).await;
    let is_sqlite = rig.url.starts_with("sqlite");
    if is_sqlite {
        rig.execute("update logs set day = 18000").await;
    } else {
        // As it is a month later: what was there at the migration lies wholly in the past.
        rig.execute("update logs_before set day = '2019-06-01'")
            .await;
        rig.execute("alter table logs detach partition logs_before")
            .await;
        rig.execute(
            "alter table logs attach partition logs_before for values from (minvalue) to \
             ('2020-01-01')",
        )
        .await;
        // A line of a day that nobody prepared.
        assert_eq!(put_line(&rig, 1, 2).await, Written::Stored);
        rig.execute("update logs_other set day = '2020-06-01'")
            .await;
    }
    let lines = |number| {
        let (store, customer) = (Arc::clone(&rig.store), rig.customer);
        async move {
            let filter = LogFilter::default();
            let rows = store.logs(customer, id(number), &filter, 10).await.unwrap();
            rows.unwrap().len()
        }
    };
    let aged = Retire::Logs(DAY * 30);
    let gone = rig.store.retire(&aged, 10).await.unwrap();
    assert_eq!(gone, 2, "two lines, or a partition and a line");
    assert_eq!((lines(1).await, lines(2).await), (0, 0));
    assert_eq!(put_line(&rig, 1, 3).await, Written::Stored);
    assert_eq!(put_line(&rig, 1, 3).await, Written::Stored);
    assert_eq!(lines(1).await, 1);
    assert_eq!(rig.store.retire(&aged, 10).await.unwrap(), 0);
    if !is_sqlite {
        let strays = "select count(*) from logs_other where workload_id = $1".to_owned();
        assert_eq!(
            rig.count(strays, 1).await,
            0,
            "today has a partition of its own"
        );
    }
}
