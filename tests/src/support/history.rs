//! The audit trail of one workload, and what must hold of every one.

use chrono::{DateTime, Utc};
use serde_json::Value;

/// The audit events of one workload, in order.
#[derive(Debug, Clone)]
pub struct History {
    workload_id: String,
    /// The events as the API gives them.
    pub events: Vec<Value>,
}

impl History {
    pub(crate) fn new(workload_id: &str, events: Vec<Value>) -> Self {
        Self {
            workload_id: workload_id.to_owned(),
            events,
        }
    }

    /// Asserts what holds of every trail: numbered 1, 2, 3 … `version` without a gap, created
    /// first, at most one end and nothing but wishes after it, generations and attempts of the
    /// leader's events never falling, each attempt scheduled once.
    pub fn assert_sound(&self, version: u64) {
        let numbers: Vec<u64> = self
            .events
            .iter()
            .map(|event| event["sequence"].as_u64().unwrap())
            .collect();
        assert_eq!(numbers, (1..=version).collect::<Vec<_>>(), "{self:#?}");
        assert_eq!(
            self.events[0]["event_type"], "workload.created",
            "{self:#?}"
        );
        let ends: Vec<usize> = self.positions(|kind| {
            matches!(
                kind,
                "workload.completed" | "workload.failed" | "workload.cancelled"
            )
        });
        assert!(ends.len() <= 1, "ended more than once: {self:#?}");
        if let Some(end) = ends.first() {
            let after = &self.events[end + 1..];
            let only_wishes = after.iter().all(|event| {
                event["event_type"]
                    .as_str()
                    .unwrap()
                    .ends_with("_requested")
            });
            assert!(only_wishes, "something happened after the end: {self:#?}");
        }
        self.assert_never_falls("generation");
        self.assert_never_falls("attempt");
        let attempts = self.scheduled_attempts();
        let expected: Vec<u64> = (1..=attempts.len() as u64).collect();
        assert_eq!(
            attempts, expected,
            "attempts are numbered from 1, never reused: {self:#?}"
        );
    }

    /// How many events of this type.
    #[must_use]
    pub fn count(&self, event_type: &str) -> usize {
        self.positions(|kind| kind == event_type).len()
    }

    /// The attempts of its `workload.scheduled` events, in order.
    #[must_use]
    pub fn scheduled_attempts(&self) -> Vec<u64> {
        self.of_type("workload.scheduled")
            .map(|event| event["attempt"].as_u64().unwrap())
            .collect()
    }

    /// Events of one type.
    pub fn of_type<'a>(&'a self, event_type: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events
            .iter()
            .filter(move |event| event["event_type"] == event_type)
    }

    /// When this event was recorded.
    #[must_use]
    pub fn time_of(event: &Value) -> DateTime<Utc> {
        let text = event["timestamp"].as_str().unwrap();
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn positions(&self, wanted: impl Fn(&str) -> bool) -> Vec<usize> {
        let matching = |event: &Value| event["event_type"].as_str().is_some_and(&wanted);
        (0..self.events.len())
            .filter(|&index| matching(&self.events[index]))
            .collect()
    }

    fn assert_never_falls(&self, field: &str) {
        let by_leader = self
            .events
            .iter()
            .filter(|event| event["actor_type"] != "user")
            .collect::<Vec<_>>();
        let values: Vec<u64> = by_leader
            .iter()
            .filter_map(|event| event[field].as_u64())
            .collect();
        assert!(
            values.is_sorted(),
            "{field} falls in the trail of {}: {self:#?}",
            self.workload_id
        );
    }
}
