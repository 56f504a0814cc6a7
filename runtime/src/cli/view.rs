//! The answers of a coordinator as far as tables show them.
//!
//! Lenient on purpose: a field that is missing or null shows as nothing, one that is new is
//! ignored, so that an older client can read a newer coordinator. With `--output json` these types
//! are not involved at all.

use chrono::DateTime;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::failure::{Failure, Outcome};

/// A workload.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Workload {
    pub(super) workload_id: String,
    #[serde(default)]
    pub(super) workload_type: Option<String>,
    pub(super) status: String,
    #[serde(default)]
    pub(super) pending_reason: Option<PendingReason>,
    #[serde(default)]
    pub(super) progress_percent: Option<f64>,
    #[serde(default)]
    pub(super) progress_message: Option<String>,
    #[serde(default)]
    pub(super) worker_id: Option<String>,
    #[serde(default)]
    pub(super) error_message: Option<String>,
    #[serde(default)]
    pub(super) error_type: Option<String>,
    #[serde(default)]
    pub(super) version: u64,
}

/// Why a workload waits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct PendingReason {
    pub(super) code: String,
    #[serde(default)]
    pub(super) detail: Option<String>,
}

impl PendingReason {
    /// `no_capable_worker - no worker runs video_encode`
    pub(super) fn text(&self) -> String {
        match self.detail.as_deref() {
            Some(detail) if !detail.is_empty() => format!("{} - {detail}", self.code),
            Some(_) | None => self.code.clone(),
        }
    }
}

impl Workload {
    /// Whether its status is final.
    pub(super) fn is_terminal(&self) -> bool {
        matches!(self.status.as_str(), "COMPLETED" | "FAILED" | "CANCELLED")
    }

    /// What there is to say about it beside its status: why it waits, what it does, why it failed.
    pub(super) fn remark(&self) -> String {
        if let Some(reason) = &self.pending_reason {
            return format!("waits: {}", reason.text());
        }
        // What an attempt said on its way is old news at the end.
        let said = self.progress_message.as_deref();
        let remark = self
            .error_message
            .as_deref()
            .or_else(|| said.filter(|_| !self.is_terminal()));
        remark.unwrap_or_default().to_owned()
    }
}

/// Reads what a table needs from an answer.
pub(super) fn read<T: DeserializeOwned>(value: &Value) -> Outcome<T> {
    T::deserialize(value).map_err(|error| {
        Failure::with_hint(
            format!("the answer is not as expected: {error}"),
            "is the client older or newer than the coordinator? --output json shows it as it is",
        )
    })
}

/// The entries of a list: under `name`, or under the one field that is a list.
pub(super) fn entries<'a>(list: &'a Value, name: &str) -> Outcome<&'a [Value]> {
    let only_list = || list.as_object()?.values().find(|value| value.is_array());
    list.get(name)
        .or_else(only_list)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .ok_or_else(|| Failure::failed(format!("the answer is not as expected: no {name} in it")))
}

/// The rows of a table: the given fields of each entry of a list.
pub(super) fn rows(list: &Value, name: &str, fields: &[&str]) -> Outcome<Vec<Vec<String>>> {
    let row = |entry: &Value| fields.iter().map(|field| text(&entry[*field])).collect();
    Ok(entries(list, name)?.iter().map(row).collect())
}

/// Everything that an answer says, in the given order and then whatever else it holds.
pub(super) fn details(value: &Value, order: &[&'static str]) -> Vec<(String, String)> {
    let Some(map) = value.as_object() else {
        return Vec::new();
    };
    let known = order.iter().filter_map(|name| map.get_key_value(*name));
    let others = map
        .iter()
        .filter(|(name, _)| !order.contains(&name.as_str()));
    known
        .chain(others)
        .map(|(name, value)| (name.clone(), text(value)))
        .filter(|(_, text)| !text.is_empty())
        .collect()
}

/// A moment to the second, as people read it.
pub(super) fn moment(text: &str) -> String {
    DateTime::parse_from_rfc3339(text).map_or_else(
        |_| text.to_owned(),
        |at| at.to_utc().format("%Y-%m-%d %H:%M:%SZ").to_string(),
    )
}

/// A field as text: nothing for null, also within an object, moments as people read them, words
/// without quotes.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if text.len() >= 20 && text.as_bytes()[10] == b'T' => moment(text),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => {
            let texts: Vec<String> = items.iter().map(text).collect();
            texts.join(", ")
        }
        Value::Object(map) => {
            if map
                .values()
                .all(|value| !value.is_object() && !value.is_array())
            {
                let pairs: Vec<String> = map
                    .iter()
                    .filter(|(_, value)| !value.is_null())
                    .map(|(key, value)| format!("{key}={}", text(value)))
                    .collect();
                pairs.join(", ")
            } else {
                value.to_string()
            }
        }
    }
}

/// A percentage without needless digits.
pub(super) fn percent(value: Option<f64>) -> String {
    value.map_or_else(String::new, |percent| format!("{percent:.0}%"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_waiting_workload_says_why() {
        let workload: Workload = read(&json!({
            "workload_id": "wl_1", "status": "PENDING", "from_the_future": [],
            "pending_reason": {"code": "no_capable_worker", "detail": "no worker runs x"},
        }))
        .unwrap();
        assert_eq!(
            workload.remark(),
            "waits: no_capable_worker - no worker runs x"
        );
    }

    #[test]
    fn fields_are_shown_as_people_read_them() {
        assert_eq!(
            text(&json!("2026-11-24T00:17:17.123456Z")),
            "2026-11-24 00:17:17Z"
        );
        let tags = json!({"zone": "a", "n": 1, "none": null});
        assert_eq!(text(&tags), "n=1, zone=a");
        assert_eq!(text(&json!({"none": null})), "");
        assert_eq!(text(&json!(["a", "b"])), "a, b");
        assert_eq!(text(&Value::Null), "");
    }
}
