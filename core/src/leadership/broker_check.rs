//! Whether the broker carries our words to ourselves: the proof that a leader's words go anywhere.
//!
//! A probe is sent each third of the lease, in both roles. A probe that comes back proves that the
//! broker carried words sent at the moment when the probe was.

use crate::time::{Duration, Timestamp};

/// Probes that may still come back; older ones would prove nothing recent.
const REMEMBERED: usize = 4;

#[derive(Debug, Clone)]
pub(super) struct BrokerCheck {
    interval: Duration,
    next: Timestamp,
    sent: [Option<(u64, Timestamp)>; REMEMBERED],
    last_proof: Option<Timestamp>,
}

impl BrokerCheck {
    pub(super) const fn new(interval: Duration) -> Self {
        Self {
            interval,
            next: Timestamp::ZERO,
            sent: [None; REMEMBERED],
            last_proof: None,
        }
    }

    pub(super) const fn due(&self) -> Timestamp {
        self.next
    }

    pub(super) fn send(&mut self, nonce: u64, now: Timestamp) {
        self.next = now.plus(self.interval);
        self.sent.rotate_right(1);
        self.sent[0] = Some((nonce, now));
    }

    /// Whether this was one of ours.
    pub(super) fn hear(&mut self, nonce: u64) -> bool {
        let probe = self.sent.iter().flatten().find(|(sent, _)| *sent == nonce);
        let proof = probe.map(|(_, at)| *at);
        self.last_proof = self.last_proof.max(proof);
        proof.is_some()
    }

    pub(super) const fn last_proof(&self) -> Option<Timestamp> {
        self.last_proof
    }

    #[cfg(test)]
    pub(super) const fn latest(&self) -> Option<(u64, Timestamp)> {
        self.sent[0]
    }
}
