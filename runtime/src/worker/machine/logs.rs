//! What attempts said and no coordinator has answered for: bounded, oldest dropped first.
//!
//! Each line keeps its number, so that a dropped one leaves a gap that readers can see. Logs outlive
//! their attempt here: they are sent until they are answered.

use super::{Action, Machine, requests::About};
use crate::protocol::{LOG_LINE_BYTES_MAX, of, time, wire};
use niyanta_core::{
    ids::{Attempt, WorkloadId},
    time::{Duration, Timestamp, WallTime},
};
use std::collections::{BTreeMap, VecDeque};

type Key = (WorkloadId, Attempt);

/// The lines of every attempt.
#[derive(Debug, Clone, Default)]
pub(super) struct Logs(BTreeMap<Key, Buffer>);

#[derive(Debug, Clone, Default)]
struct Buffer {
    lines: VecDeque<wire::LogLine>,
    bytes: usize,
    /// The number of the first line in `lines`.
    first: u64,
    /// A batch is on its way.
    is_asking: bool,
    due: Timestamp,
}

impl Logs {
    pub(super) fn push(
        &mut self,
        now: Timestamp,
        key: Key,
        wall: WallTime,
        level: &'static str,
        message: &str,
    ) {
        let buffer = self.0.entry(key).or_insert_with(|| Buffer {
            first: 1,
            due: now.plus(GATHERING),
            ..Buffer::default()
        });
        if buffer.lines.is_empty() && !buffer.is_asking {
            buffer.due = now.plus(GATHERING);
        }
        for part in parts(&message.replace('\0', "\u{fffd}")) {
            buffer.bytes += part.len();
            buffer.lines.push_back(wire::LogLine {
                timestamp: time(wall),
                level: level.to_owned(),
                message: part.to_owned(),
            });
        }
        while buffer.lines.len() > LINES_MAX || buffer.bytes > BYTES_MAX {
            buffer.pop();
        }
    }

    pub(super) fn answered(&mut self, key: Key) {
        let Some(buffer) = self.0.get_mut(&key) else {
            return;
        };
        buffer.is_asking = false;
    }

    /// Nothing is left to say, as far as is known.
    pub(super) fn is_empty(&self) -> bool {
        self.0
            .values()
            .all(|buffer| buffer.lines.is_empty() && !buffer.is_asking)
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let due = |buffer: &&Buffer| !buffer.is_asking && !buffer.lines.is_empty();
        self.0.values().filter(due).map(|buffer| buffer.due).min()
    }

    /// Forgets what attempts said that are over and said everything.
    fn prune(&mut self, is_alive: impl Fn(Key) -> bool) {
        self.0
            .retain(|key, buffer| buffer.is_asking || !buffer.lines.is_empty() || is_alive(*key));
    }
}

impl Buffer {
    fn pop(&mut self) -> Option<wire::LogLine> {
        let line = self.lines.pop_front()?;
        self.bytes = self.bytes.saturating_sub(line.message.len());
        self.first += 1;
        Some(line)
    }

    /// As many lines as make a message of a good size.
    fn take_batch(&mut self) -> Vec<wire::LogLine> {
        let mut bytes = 0;
        let mut lines = Vec::new();
        while bytes < BATCH_BYTES && lines.len() < BATCH_LINES {
            let Some(line) = self.pop() else {
                break;
            };
            bytes += line.message.len();
            lines.push(line);
        }
        lines
    }
}

impl Machine {
    pub(super) fn send_logs(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let due = |(_, buffer): &(&Key, &Buffer)| {
            !buffer.is_asking && !buffer.lines.is_empty() && now >= buffer.due
        };
        let keys: Vec<Key> = self
            .logs
            .0
            .iter()
            .filter(due)
            .map(|(key, _)| *key)
            .collect();
        for (workload, attempt) in keys {
            let Some(buffer) = self.logs.0.get_mut(&(workload, attempt)) else {
                continue;
            };
            buffer.is_asking = true;
            let body = wire::Log {
                of: of(workload, attempt),
                first_sequence: buffer.first,
                lines: buffer.take_batch(),
            };
            let about = About::Log(workload, attempt);
            self.request(now, about, "workload.log", body, actions);
        }
        let held = &self.held;
        self.logs.prune(|(workload, attempt)| {
            held.get(&workload)
                .is_some_and(|held| held.attempt == attempt)
        });
    }
}

/// The parts of a message that each fit in a line of the protocol; at least one.
fn parts(message: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = message;
    while rest.len() > LOG_LINE_BYTES_MAX {
        let (part, more) = rest.split_at(rest.floor_char_boundary(LOG_LINE_BYTES_MAX));
        parts.push(part);
        rest = more;
    }
    parts.push(rest);
    parts
}

/// Waits this long for more lines before it sends some.
const GATHERING: Duration = Duration::from_millis(150);
const LINES_MAX: usize = 10_000;
const BYTES_MAX: usize = 4 * 1024 * 1024;
const BATCH_LINES: usize = 500;
/// JSON may need six bytes for one: well within a message even then.
const BATCH_BYTES: usize = 96 * 1024;
