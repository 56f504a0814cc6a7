//! Reports whose bytes are being written, before core hears of them.
//!
//! Bounds their number, and knows since when the oldest is on its way: what arrived and was not
//! handed over is no silence (P15), whether it lies unread or waits for the database.

use niyanta_core::time::Timestamp;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Writes at once.
const WRITES_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct Writes {
    slots: Arc<Semaphore>,
    last: u64,
    since: Arc<Mutex<BTreeMap<u64, Timestamp>>>,
}

/// One report on its way; over when dropped, however its write went.
#[derive(Debug)]
pub(super) struct Writing {
    number: u64,
    since: Arc<Mutex<BTreeMap<u64, Timestamp>>>,
    _slot: OwnedSemaphorePermit,
}

impl Default for Writes {
    fn default() -> Self {
        Self {
            slots: Arc::new(Semaphore::new(WRITES_MAX)),
            last: 0,
            since: Arc::default(),
        }
    }
}

impl Writes {
    /// Begins to write a report that arrived after `heard_until`; nothing when too many are.
    pub(super) fn begin(&mut self, heard_until: Timestamp) -> Option<Writing> {
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        self.last += 1;
        lock(&self.since).insert(self.last, heard_until);
        Some(Writing {
            number: self.last,
            since: Arc::clone(&self.since),
            _slot: slot,
        })
    }

    /// `drained`, or earlier: up to when everything that arrived was also handed over.
    pub(super) fn heard_until(&self, drained: Timestamp) -> Timestamp {
        let oldest = lock(&self.since).values().min().copied();
        oldest.map_or(drained, |oldest| oldest.min(drained))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        lock(&self.since).remove(&self.number);
    }
}

/// A poisoned lock holds plain moments that are always whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_oldest_report_that_is_being_written_holds_back_what_counts_as_heard() {
        let mut writes = Writes::default();
        assert_eq!(writes.heard_until(Timestamp(9)), Timestamp(9));
        let first = writes.begin(Timestamp(1)).unwrap();
        let second = writes.begin(Timestamp(2)).unwrap();
        assert_eq!(writes.heard_until(Timestamp(9)), Timestamp(1));
        drop(first);
        assert_eq!(writes.heard_until(Timestamp(9)), Timestamp(2));
        drop(second);
        assert_eq!(writes.heard_until(Timestamp(9)), Timestamp(9));
    }

    #[test]
    fn only_so_many_are_written_at_once() {
        let mut writes = Writes::default();
        let held: Vec<_> = (0..WRITES_MAX)
            .map(|_| writes.begin(Timestamp(1)).unwrap())
            .collect();
        assert!(writes.begin(Timestamp(1)).is_none());
        drop(held);
        assert!(writes.begin(Timestamp(1)).is_some());
    }
}
