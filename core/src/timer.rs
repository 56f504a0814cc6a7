//! When core wants to be woken, and why.
//!
//! Owns the reasons and the one structure that keeps many moments with their minimum at hand. Does
//! not wake anybody: a driver reads [`crate::Coordinator::next_deadline`] and answers with a `Tick`.
//! Named timers as effects were rejected: setting and cancelling them would race with their expiry.

use crate::time::Timestamp;
use alloc::collections::{BTreeMap, BTreeSet};

/// The moment of the next wake-up, and its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub timer: Timer,
}

/// Why core wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The lease must be looked at, taken, renewed, proven through the broker, or has ended.
    Lease,
    /// The snapshot failed to load and is asked for again.
    Snapshot,
    /// A batch, or a reading of the fence, is sent again.
    Commit,
    /// A worker may have been silent for too long.
    Silence,
    /// An assignment or a stop is sent again, or an attempt has run or waited too long.
    Attempt,
    /// A worker's drain reaches its deadline.
    Drain,
    /// A waiting workload becomes eligible.
    Eligible,
    /// A load that failed is asked for again.
    Load,
    /// The safety sweep.
    Sweep,
    /// The term is announced again: known workers are unheard.
    Announce,
    /// Heartbeats heard are recorded.
    Record,
    /// A leader is scheduled at least this often, or it has not listened.
    Listen,
}

/// Moments by key, each key at most once, the earliest at hand.
#[derive(Debug, Clone)]
pub(crate) struct Agenda<K> {
    order: BTreeSet<(Timestamp, K)>,
    moments: BTreeMap<K, Timestamp>,
}

impl<K: Ord + Clone> Agenda<K> {
    pub(crate) const fn new() -> Self {
        Self {
            order: BTreeSet::new(),
            moments: BTreeMap::new(),
        }
    }

    /// Puts `key` at `at`, wherever it was.
    pub(crate) fn set(&mut self, key: K, at: Timestamp) {
        if let Some(old) = self.moments.insert(key.clone(), at) {
            if old == at {
                return;
            }
            self.order.remove(&(old, key.clone()));
        }
        self.order.insert((at, key));
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(old) = self.moments.remove(key) {
            self.order.remove(&(old, key.clone()));
        }
    }

    /// The earliest moment.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes the earliest key that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.moments.remove(&key);
        Some(key)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.moments.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_due_once_at_its_last_moment() {
        let mut agenda = Agenda::new();
        agenda.set("a", Timestamp(5));
        agenda.set("b", Timestamp(3));
        agenda.set("a", Timestamp(1));
        assert_eq!(agenda.next(), Some(Timestamp(1)));
        assert_eq!(agenda.pop_due(Timestamp(4)), Some("a"));
        assert_eq!(agenda.pop_due(Timestamp(4)), Some("b"));
        assert_eq!(agenda.pop_due(Timestamp(4)), None);
        agenda.set("c", Timestamp(9));
        agenda.remove(&"c");
        assert_eq!((agenda.next(), agenda.len()), (None, 0));
    }
}
