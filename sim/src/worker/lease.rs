//! A worker's lease, by its own clock.

use niyanta_core::{
    ids::MessageSequence,
    time::{Duration, Timestamp},
};
use std::collections::BTreeMap;

/// The lease, and the heartbeats it may be counted from.
#[derive(Debug, Default)]
pub(super) struct Lease {
    until: Timestamp,
    length: Duration,
    answered: MessageSequence,
    /// How often to send heartbeats.
    pub(super) beat_every: Duration,
    sent: BTreeMap<MessageSequence, Timestamp>,
}

impl Lease {
    pub(super) const fn until(&self) -> Timestamp {
        self.until
    }

    /// Early enough that everything has ended by the lease's end.
    pub(super) fn kill_at(&self) -> Timestamp {
        self.until.minus(Duration::from_millis(50))
    }

    /// A heartbeat, or a registration, was sent.
    pub(super) fn note_sent(&mut self, sequence: MessageSequence, at: Timestamp) {
        self.sent.insert(sequence, at);
        while self.sent.len() > SENT_KEPT {
            self.sent.pop_first();
        }
    }

    /// The heartbeat of this sequence, sent at `from`, was answered with this length.
    pub(super) fn renew(&mut self, sequence: MessageSequence, from: Timestamp, length: Duration) {
        self.length = length;
        if sequence >= self.answered {
            self.answered = sequence;
            self.until = from.plus(length);
        }
    }

    /// Takes an assignment for the answer to the heartbeat it names; false when that was sent longer
    /// ago than the lease lasts, or is not known.
    pub(super) fn covers(&mut self, now: Timestamp, sequence: MessageSequence) -> bool {
        let Some(sent) = self.sent.get(&sequence).copied() else {
            return false;
        };
        if self.length.is_zero() || sent.plus(self.length) <= now {
            return false;
        }
        self.renew(sequence, sent, self.length);
        true
    }

    pub(super) const fn length(&self) -> Duration {
        self.length
    }

    /// Covers anything: a wrong variant.
    pub(super) fn stretch(&mut self, now: Timestamp) {
        self.until = self.until.max(now.plus(self.length));
    }
}

const SENT_KEPT: usize = 64;
