//! What is written beside the batch.

use crate::rig::{Rig, batch, ended, id, incarnation, put_worker, worker};
use crate::stores::on_every_store;
use niyanta_core::{
    ids::{Attempt, WorkloadId},
    scheduling::{PendingCode, PendingReason},
    time::{Duration, WallTime},
    workload::{AuditKind, ErrorType, Status},
};
use runtime::store::{
    CheckpointReport, Commit, LogFilter, LogLine, LogReport, OutcomeReport, ProgressReport,
    StoreError, WorkerFilter, Written, words::LOG_LINES_KEPT,
};
use serde_json::json;
use std::sync::Arc;

on_every_store! {
    an_outcome_is_told_when_its_attempt_is_over
    a_checkpoint_is_kept_if_it_is_newer
    progress_and_reasons_are_noted_where_they_hold
    log_lines_are_kept_once_and_in_order
    log_lines_are_taken_from_their_worker_alone
    only_the_newest_log_lines_of_a_workload_are_kept
    a_completed_workload_has_progressed_to_the_end
    heartbeats_are_noted_for_their_incarnation
}

fn outcome(attempt: u32) -> OutcomeReport {
    OutcomeReport {
        workload: id(1),
        attempt: Attempt(attempt),
        incarnation: incarnation("w1.1"),
        result_data: Some(json!({ "x": 1 })),
        error_message: Some(String::from("it broke")),
    }
}

async fn an_outcome_is_told_when_its_attempt_is_over(rig: Rig) {
    rig.submit(1).await;
    let generation = rig.lead().await;
    assert_eq!(
        rig.store.put_outcome(&outcome(1)).await.unwrap(),
        Written::NotOpen
    );
    rig.assign(generation, 1, &[1]).await;
    assert_eq!(
        rig.store.put_outcome(&outcome(2)).await.unwrap(),
        Written::NotOpen
    );
    let mut foreign = outcome(1);
    foreign.incarnation = incarnation("w1.2");
    assert_eq!(
        rig.store.put_outcome(&foreign).await.unwrap(),
        Written::NotOpen
    );
    let mut null = outcome(1);
    null.error_message = Some(String::from("\u{0}"));
    assert!(matches!(
        rig.store.put_outcome(&null).await,
        Err(StoreError::Refused(_))
    ));
    for _ in 0..2 {
        assert_eq!(
            rig.store.put_outcome(&outcome(1)).await.unwrap(),
            Written::Stored
        );
    }
    assert_eq!(rig.view(1).await.result_data, None);
    let mut end = batch(generation, 2);
    let mut write = ended(&rig.row(1).await, Status::Failed, AuditKind::Failed);
    write.to.error_type = Some(ErrorType::Permanent);
    end.workloads.push(write);
    assert_eq!(
        rig.store.commit(&Arc::new(end)).await.unwrap(),
        Commit::Applied
    );
    let view = rig.view(1).await;
    assert_eq!(view.result_data, Some(json!({ "x": 1 })));
    assert_eq!(view.error_message.as_deref(), Some("it broke"));
    assert_eq!(
        rig.store.put_outcome(&outcome(1)).await.unwrap(),
        Written::NotOpen
    );
}

async fn a_checkpoint_is_kept_if_it_is_newer(rig: Rig) {
    rig.submit(1).await;
    let generation = rig.lead().await;
    rig.assign(generation, 1, &[1]).await;
    let checkpoint = |sequence: u64| CheckpointReport {
        workload: id(1),
        attempt: Attempt(1),
        incarnation: incarnation("w1.1"),
        checkpoint_sequence: sequence,
        data: format!("data{sequence}"),
    };
    assert_eq!(
        rig.store.put_checkpoint(&checkpoint(2)).await.unwrap(),
        Written::Stored
    );
    assert_eq!(
        rig.store.put_checkpoint(&checkpoint(2)).await.unwrap(),
        Written::Stored
    );
    assert_eq!(
        rig.store.put_checkpoint(&checkpoint(1)).await.unwrap(),
        Written::NotOpen
    );
    let wanted: Vec<(WorkloadId, Attempt)> = vec![
        (id(1), Attempt(1)),
        (id(1), Attempt(2)),
        (id(404), Attempt(1)),
    ];
    let rows = rig.store.assignments(&wanted).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(
        rows[0].checkpoint,
        Some((Attempt(1), 2, String::from("data2")))
    );
    assert_eq!(rows[0].config_json, json!({ "a": [1, 2.5, "x"] }));
    assert_eq!(rows[0].input_params, json!({ "seconds": "1" }));
    assert_eq!(rig.row(1).await.checkpoint, Some((Attempt(1), 2)));
}

async fn progress_and_reasons_are_noted_where_they_hold(rig: Rig) {
    rig.submit(2).await;
    let generation = rig.lead().await;
    rig.assign(generation, 1, &[1]).await;
    let progress = |workload: u128, percent: f64| ProgressReport {
        workload: id(workload),
        attempt: Attempt(1),
        incarnation: incarnation("w1.1"),
        percent,
        message: Some(String::from("on the way")),
    };
    rig.store
        .put_progress(&[progress(1, 12.5), progress(2, 50.0)])
        .await
        .unwrap();
    let view = rig.view(1).await;
    assert_eq!((view.progress_percent, view.version), (Some(12.5), 2));
    assert_eq!(rig.view(2).await.progress_percent, None);
    let reason = PendingReason::CustomerLimit {
        running: 3,
        limit: 3,
    };
    let reasons = [(id(1), Attempt(1), reason), (id(2), Attempt(0), reason)];
    rig.store.record_pending_reasons(&reasons).await.unwrap();
    assert_eq!(rig.view(1).await.pending_reason, None);
    let noted = rig.view(2).await.pending_reason.unwrap();
    assert_eq!(noted.0, PendingCode::CustomerLimit);
    assert!(noted.1.contains("at most 3"), "{}", noted.1);
}

fn lines(first: u64, count: u64) -> LogReport {
    let line = |number: u64| LogLine {
        timestamp: WallTime(1_000_000 * i64::try_from(number).unwrap()),
        level: String::from("info"),
        message: format!("line {number}"),
    };
    LogReport {
        workload: id(1),
        attempt: Attempt(1),
        incarnation: incarnation("w1.1"),
        first_sequence: first,
        lines: (first..first + count).map(line).collect(),
    }
}

async fn read_lines(rig: &Rig, filter: &LogFilter) -> Vec<u64> {
    let rows = rig.store.logs(rig.customer, id(1), filter, 100).await;
    rows.unwrap()
        .unwrap()
        .iter()
        .map(|row| row.sequence)
        .collect()
}

async fn log_lines_are_kept_once_and_in_order(rig: Rig) {
    rig.submit(1).await;
    let generation = rig.lead().await;
    rig.assign(generation, 1, &[1]).await;
    let stored = rig.store.put_logs(&lines(1, 3)).await.unwrap();
    assert_eq!(stored, Written::Stored);
    let stored = rig.store.put_logs(&lines(2, 4)).await.unwrap();
    assert_eq!(stored, Written::Stored);
    assert_eq!(
        read_lines(&rig, &LogFilter::default()).await,
        [1, 2, 3, 4, 5]
    );
    let some = LogFilter {
        after: Some((Attempt(1), 1)),
        since: Some(WallTime(3_000_000)),
        until: Some(WallTime(5_000_000)),
    };
    assert_eq!(read_lines(&rig, &some).await, [3, 4]);
    let foreign = rig
        .store
        .logs(rig.customer, id(404), &some, 1)
        .await
        .unwrap();
    assert!(foreign.is_none());
}

async fn log_lines_are_taken_from_their_worker_alone(rig: Rig) {
    rig.submit(1).await;
    let generation = rig.lead().await;
    rig.assign(generation, 1, &[1]).await;
    let mut end = batch(generation, 2);
    let row = rig.row(1).await;
    end.workloads
        .push(ended(&row, Status::Completed, AuditKind::Completed));
    let answer = rig.store.commit(&Arc::new(end)).await.unwrap();
    assert_eq!(answer, Commit::Applied);
    // The attempt has been this worker's: its last lines may come late.
    let late = rig.store.put_logs(&lines(1, 4)).await.unwrap();
    assert_eq!(late, Written::Stored);
    let mut foreign = lines(9, 1);
    foreign.incarnation = incarnation("w2.1");
    let answer = rig.store.put_logs(&foreign).await.unwrap();
    assert_eq!(answer, Written::NotOpen);
    let mut long = lines(9, 1);
    long.lines[0].message = "x".repeat(8 * 1024 + 1);
    let answer = rig.store.put_logs(&long).await;
    assert!(matches!(answer, Err(StoreError::Refused(_))));
}

async fn only_the_newest_log_lines_of_a_workload_are_kept(rig: Rig) {
    rig.submit(1).await;
    let generation = rig.lead().await;
    rig.assign(generation, 1, &[1]).await;
    let kept = u64::from(LOG_LINES_KEPT);
    let last = 2 * kept;
    for first in (1..last).step_by(500) {
        let stored = rig.store.put_logs(&lines(first, 500)).await.unwrap();
        assert_eq!(stored, Written::Stored);
    }
    let oldest = read_lines(&rig, &LogFilter::default()).await[0];
    let there = last - oldest + 1;
    assert!(
        (kept..kept + 2_000).contains(&there),
        "{there} lines are there"
    );
    let after = |sequence| LogFilter {
        after: Some((Attempt(1), sequence)),
        ..LogFilter::default()
    };
    let newest = read_lines(&rig, &after(last - 3)).await;
    assert_eq!(newest, [last - 2, last - 1, last]);
}

async fn a_completed_workload_has_progressed_to_the_end(rig: Rig) {
    rig.submit(2).await;
    let generation = rig.lead().await;
    rig.assign(generation, 1, &[1, 2]).await;
    let mut end = batch(generation, 2);
    for (number, status, kind) in [
        (1, Status::Completed, AuditKind::Completed),
        (2, Status::Failed, AuditKind::Failed),
    ] {
        let row = rig.row(number).await;
        end.workloads.push(ended(&row, status, kind));
    }
    let answer = rig.store.commit(&Arc::new(end)).await.unwrap();
    assert_eq!(answer, Commit::Applied);
    assert_eq!(rig.view(1).await.progress_percent, Some(100.0));
    assert_eq!(rig.view(2).await.progress_percent, None);
}

async fn heartbeats_are_noted_for_their_incarnation(rig: Rig) {
    let generation = rig.lead().await;
    let mut put = batch(generation, 1);
    put.workers.push(put_worker("w1", "w1.1"));
    assert_eq!(
        rig.store.commit(&Arc::new(put)).await.unwrap(),
        Commit::Applied
    );
    let all = WorkerFilter::default();
    let before = rig.store.workers(&all, None, 10).await.unwrap()[0]
        .last_heartbeat
        .unwrap();
    let heard = |name: &str| [(worker("w1"), incarnation(name), Duration::ZERO)];
    rig.store.record_heartbeats(&heard("w1.0")).await.unwrap();
    let same = rig.store.workers(&all, None, 10).await.unwrap()[0]
        .last_heartbeat
        .unwrap();
    assert_eq!(same, before);
    rig.store.record_heartbeats(&heard("w1.1")).await.unwrap();
    let after = rig.store.workers(&all, None, 10).await.unwrap()[0]
        .last_heartbeat
        .unwrap();
    assert!(after > before);
}
