//! Logs, as pages and as a stream.

use super::*;
use crate::store::{LogLine, LogRow};
use futures::StreamExt as _;

fn line(attempt: u32, sequence: u64) -> LogRow {
    LogRow {
        sequence,
        attempt: Attempt(attempt),
        line: LogLine {
            timestamp: WallTime(0),
            level: "info".to_owned(),
            message: format!("line {attempt}.{sequence}\nwith a break"),
        },
    }
}

fn add(rig: &Rig, row: LogRow) {
    rig.store.logs.lock().unwrap().push(row);
}

fn end(rig: &Rig, status: Status) {
    rig.store
        .workloads
        .lock()
        .unwrap()
        .insert((OWN, WORKLOAD), workload(status));
}

#[tokio::test]
async fn pages_follow_each_other() {
    let rig = Rig::new();
    for (attempt, sequence) in [(1, 1), (1, 2), (2, 1)] {
        add(&rig, line(attempt, sequence));
    }
    let uri = format!("/v1/workloads/{WORKLOAD}/logs?limit=2");
    let first = rig.get(&uri).await.json();
    assert_eq!(first["logs"].as_array().unwrap().len(), 2);
    assert_eq!(first["pagination"]["has_more"], json!(true));
    let cursor = first["pagination"]["next_cursor"].as_str().unwrap();
    let second = rig.get(&format!("{uri}&cursor={cursor}")).await.json();
    assert_eq!(second["logs"][0]["attempt"], json!(2));
    assert_eq!(
        second["pagination"],
        json!({"next_cursor": null, "has_more": false})
    );
    let other = rig
        .get(&format!("{uri}&cursor={cursor}&since=2020-01-01T00:00:00Z"))
        .await;
    other.refuses(400, "INVALID_INPUT");
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_until_the_workload_has_ended_and_its_lines_are_in() {
    let rig = Rig::new();
    end(&rig, Status::Running);
    add(&rig, line(1, 1));
    let uri = format!("/v1/workloads/{WORKLOAD}/logs?follow=true");
    let late = async {
        sleep(Duration::from_secs(40)).await;
        add(&rig, line(1, 2));
        end(&rig, Status::Completed);
        sleep(Duration::from_millis(1_500)).await;
        add(&rig, line(1, 3));
    };
    let (answer, ()) = tokio::join!(rig.get(&uri), late);
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let events: Vec<&str> = answer
        .text
        .split("\n\n")
        .filter(|e| e.contains("event:"))
        .collect();
    assert_eq!(events.len(), 4, "{}", answer.text);
    assert!(events[1].contains("line 1.2\\nwith") && events[2].contains("line 1.3"));
    assert!(events[3].contains("event: end") && events[3].contains("COMPLETED"));

    let id = events[0]
        .lines()
        .find_map(|line| line.strip_prefix("id: "))
        .unwrap();
    let resumed = request("GET", &uri, &rig.own).header("last-event-id", id);
    let resumed = rig.send(resumed.body(Body::empty()).unwrap()).await;
    assert!(!resumed.text.contains("line 1.1") && resumed.text.contains("line 1.2"));
}

#[tokio::test(start_paused = true)]
async fn a_stream_looks_in_turn_with_others_and_ends_at_a_stop_all_the_same() {
    let rig = Rig::new();
    end(&rig, Status::Running);
    add(&rig, line(1, 1));
    let mut turns = Vec::new();
    for _ in 0..places::LOOKS_MAX {
        turns.push(rig.state.places.looks.turn().await.unwrap());
    }
    let uri = format!("/v1/workloads/{WORKLOAD}/logs?follow=true");
    let follow = || async {
        let request = request("GET", &uri, &rig.own).body(Body::empty()).unwrap();
        let response = router(rig.state.clone()).oneshot(request).await.unwrap();
        response.into_body().into_data_stream()
    };
    let (mut body, mut other) = (follow().await, follow().await);
    let start = Instant::now();
    let others = async {
        sleep(Duration::from_secs(7)).await;
        drop(turns.pop());
    };
    let (first, ()) = tokio::join!(body.next(), others);
    assert!(String::from_utf8_lossy(&first.unwrap().unwrap()).contains("line 1.1"));
    assert_eq!(start.elapsed().as_secs(), 7);

    turns.push(rig.state.places.looks.turn().await.unwrap());
    rig.status.send_modify(|known| known.stopping = true);
    assert!(other.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_the_process_stops() {
    let rig = Rig::new();
    end(&rig, Status::Running);
    let uri = format!("/v1/workloads/{WORKLOAD}/logs?follow=true");
    let request = request("GET", &uri, &rig.own).body(Body::empty()).unwrap();
    let response = router(rig.state.clone()).oneshot(request).await.unwrap();
    let mut body = response.into_body().into_data_stream();
    let start = Instant::now();
    let stop = async {
        sleep(Duration::from_secs(2)).await;
        rig.status.send_modify(|known| known.stopping = true);
    };
    let (end, ()) = tokio::join!(body.next(), stop);
    assert!(end.is_none());
    assert_eq!(start.elapsed().as_secs(), 2);
}

#[tokio::test]
async fn nobody_elses_logs_are_found() {
    let rig = Rig::new();
    for query in ["", "?follow=true"] {
        let uri = format!("/v1/workloads/{}/logs{query}", WorkloadId(99));
        rig.get(&uri).await.refuses(404, "NOT_FOUND");
    }
}
