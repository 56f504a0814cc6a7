//! The worker's lease: until when, by its own clock, it may run what dies with the lease.

use crate::probes::planted;
use niyanta_core::time::{Duration, Timestamp};
use std::collections::BTreeMap;

/// Counted from the sending of the last heartbeat, or registration, that was answered.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    end: Option<Timestamp>,
    length: Option<Duration>,
    /// How often to send heartbeats.
    pub(super) heartbeat: Duration,
    sent: BTreeMap<u64, Timestamp>,
}

impl Default for Lease {
    fn default() -> Self {
        Self {
            end: None,
            length: None,
            heartbeat: HEARTBEAT_UNTIL_TOLD,
            sent: BTreeMap::new(),
        }
    }
}

impl Lease {
    /// A heartbeat, or the first sending of a registration.
    pub(super) fn sent(&mut self, sequence: u64, now: Timestamp) {
        self.sent.insert(sequence, now);
        if let Some(length) = self.length {
            self.sent.retain(|_, at| now.since(*at) <= length);
        }
    }

    pub(super) fn is_heartbeat(&self, sequence: u64) -> bool {
        self.sent.contains_key(&sequence)
    }

    /// What a leader tells of it.
    pub(super) fn told(&mut self, length: Duration, heartbeat: Option<Duration>) {
        self.length = Some(length);
        let most = length / 4;
        self.heartbeat = heartbeat.unwrap_or(most).min(most).max(HEARTBEAT_MIN);
    }

    /// That message was answered. True when the lease lasts longer for it.
    pub(super) fn answered(&mut self, sequence: u64, now: Timestamp) -> bool {
        let (Some(sent), Some(length)) = (self.sent.get(&sequence), self.length) else {
            return false;
        };
        let from = if planted!(WorkerLeaseFromAnswer) {
            now
        } else {
            *sent
        };
        let end = from.plus(length);
        let extends = self.end.is_none_or(|old| end > old);
        if extends {
            self.end = Some(end);
        }
        extends
    }

    /// Whether an assignment that rests on that heartbeat may still be obeyed.
    pub(super) fn covers(&self, sequence: u64, now: Timestamp) -> bool {
        let (Some(sent), Some(length)) = (self.sent.get(&sequence), self.length) else {
            return false;
        };
        if planted!(AssignmentStartsLease) {
            return true;
        }
        // What would have to stop at once is not worth starting.
        now < self.moment_to_stop(sent.plus(length))
    }

    pub(super) fn length(&self) -> Duration {
        self.length.unwrap_or_default()
    }

    /// From here on work that dies with the lease is being stopped.
    pub(super) fn stop_at(&self) -> Timestamp {
        self.end
            .map_or(Timestamp::ZERO, |end| self.moment_to_stop(end))
    }

    /// From here on it is killed: what is left of the lease is for the dying.
    pub(super) fn kill_at(&self) -> Timestamp {
        self.end
            .map_or(Timestamp::ZERO, |end| end.minus(self.length() / 20))
    }

    fn moment_to_stop(&self, end: Timestamp) -> Timestamp {
        end.minus(self.length() / 5)
    }
}

/// Nobody has said otherwise: often enough to be found soon.
const HEARTBEAT_UNTIL_TOLD: Duration = Duration::from_secs(2);
const HEARTBEAT_MIN: Duration = Duration::from_millis(50);
