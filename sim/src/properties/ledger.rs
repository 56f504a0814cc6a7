//! What the commits add up to, reckoned from them alone.
//!
//! Owns the counts that properties would otherwise have to scan the database for: who has which
//! attempts open, how long queues are, what waits in which order. Knows a commit before the
//! properties look at it.

use crate::model::store::{Change, Moved, Store};
use niyanta_core::{
    batch::{LeaderHalf, WorkloadWrite},
    ids::{CustomerId, Incarnation, PlacementClass, WorkerId, WorkloadId},
    time::WallTime,
    workload::{Desired, Status},
};
use std::collections::{BTreeMap, BTreeSet};

/// What the commits add up to.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: BTreeMap<WorkloadId, Entry>,
    open: BTreeMap<WorkerId, BTreeMap<WorkloadId, Incarnation>>,
    tallies: BTreeMap<CustomerId, Tally>,
    waiting: BTreeMap<Queue, BTreeSet<(i64, WorkloadId)>>,
    waiting_count: usize,
}

/// The workloads that are placed in one order.
pub(crate) type Queue = (CustomerId, PlacementClass);

/// What is known of a workload.
#[derive(Debug, Clone)]
struct Entry {
    queue: Queue,
    leader: LeaderHalf,
    desired: Desired,
    /// When its status or its wish changed last.
    since: WallTime,
}

/// What is known of a customer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Never assigned, and not ended.
    pub(crate) queued: u64,
    /// Open attempts.
    pub(crate) running: u64,
    /// Assigned at least once, or ended.
    pub(crate) left: u64,
    /// Wait to run.
    pub(crate) waiting: u64,
}

impl Ledger {
    /// What the rows of a database add up to: after it lost commits, nothing else is known.
    pub(super) fn of(store: &Store) -> Self {
        let mut ledger = Self::default();
        for id in store.workloads().map(|found| found.row.id) {
            if let Some(entry) = Entry::of(store, id) {
                ledger.put(id, entry);
            }
        }
        ledger
    }

    /// The attempts of a worker id that are open, with the incarnation that each belongs to.
    pub(crate) fn open_on(
        &self,
        worker: &WorkerId,
    ) -> impl Iterator<Item = (&WorkloadId, &Incarnation)> {
        self.open.get(worker).into_iter().flatten()
    }

    /// A customer's counts.
    pub(crate) fn tally(&self, customer: CustomerId) -> Tally {
        self.tallies.get(&customer).copied().unwrap_or_default()
    }

    /// All customers that ever submitted.
    pub(crate) fn customers(&self) -> impl Iterator<Item = (CustomerId, Tally)> {
        self.tallies.iter().map(|(id, tally)| (*id, *tally))
    }

    /// What waits, by queue; each in its order.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (Queue, &BTreeSet<(i64, WorkloadId)>)> {
        self.waiting
            .iter()
            .map(|(queue, waiting)| (*queue, waiting))
    }

    /// What waits in one queue, in its order.
    pub(crate) fn waiting_in(&self, queue: Queue) -> impl Iterator<Item = &(i64, WorkloadId)> {
        self.waiting.get(&queue).into_iter().flatten()
    }

    /// How many wait.
    pub(crate) const fn waiting_count(&self) -> usize {
        self.waiting_count
    }

    /// The leader's half of a workload, as committed.
    pub(crate) fn leader(&self, id: WorkloadId) -> Option<&LeaderHalf> {
        self.entries.get(&id).map(|entry| &entry.leader)
    }

    /// The queue of a workload.
    pub(crate) fn queue(&self, id: WorkloadId) -> Option<Queue> {
        self.entries.get(&id).map(|entry| entry.queue)
    }

    /// When its status or its wish changed last.
    pub(crate) fn since(&self, id: WorkloadId) -> Option<WallTime> {
        self.entries.get(&id).map(|entry| entry.since)
    }

    pub(super) fn note(&mut self, store: &Store, change: &Change) {
        match change {
            Change::Submitted { workload, .. } => {
                if let Some(entry) = Entry::of(store, *workload) {
                    self.put(*workload, entry);
                }
            }
            Change::Limited { .. } => {}
            Change::Wished { workload, .. } => {
                let (Some(found), Some(entry)) =
                    (store.workload(*workload), self.entries.get(workload))
                else {
                    return;
                };
                let entry = Entry {
                    desired: found.row.desired,
                    since: found.waits_since.unwrap_or_default(),
                    ..entry.clone()
                };
                self.put(*workload, entry);
            }
            Change::Batch { batch, time, moved } => {
                for (write, _) in pairs(&batch.workloads, moved) {
                    if let Some(entry) = self.entries.get(&write.id) {
                        let entry = Entry {
                            leader: write.to.clone(),
                            since: *time,
                            ..entry.clone()
                        };
                        self.put(write.id, entry);
                    }
                }
            }
            Change::Lease { .. } => {}
        }
    }

    fn put(&mut self, id: WorkloadId, entry: Entry) {
        self.take(id);
        let tally = self.tallies.entry(entry.queue.0).or_default();
        let leader = &entry.leader;
        let has_left = leader.attempt.0 > 0 || leader.status.is_terminal();
        tally.left += u64::from(has_left);
        tally.queued += u64::from(!has_left);
        if let Some((worker, incarnation)) = &leader.worker
            && leader.status.has_open_attempt()
        {
            tally.running += 1;
            let open = self.open.entry(worker.clone()).or_default();
            open.insert(id, incarnation.clone());
        }
        if entry.waits() {
            tally.waiting += 1;
            self.waiting_count += 1;
            let waiting = self.waiting.entry(entry.queue).or_default();
            waiting.insert((leader.sort_key, id));
        }
        self.entries.insert(id, entry);
    }

    fn take(&mut self, id: WorkloadId) {
        let Some(entry) = self.entries.remove(&id) else {
            return;
        };
        let tally = self.tallies.entry(entry.queue.0).or_default();
        let leader = &entry.leader;
        let has_left = leader.attempt.0 > 0 || leader.status.is_terminal();
        tally.left -= u64::from(has_left);
        tally.queued -= u64::from(!has_left);
        if let Some((worker, _)) = &leader.worker
            && leader.status.has_open_attempt()
        {
            tally.running -= 1;
            if let Some(open) = self.open.get_mut(worker) {
                open.remove(&id);
            }
        }
        if entry.waits() {
            tally.waiting -= 1;
            self.waiting_count -= 1;
            if let Some(waiting) = self.waiting.get_mut(&entry.queue) {
                waiting.remove(&(leader.sort_key, id));
            }
        }
    }
}

impl Entry {
    fn of(store: &Store, id: WorkloadId) -> Option<Self> {
        let found = store.workload(id)?;
        Some(Self {
            queue: (found.row.customer, found.row.class),
            leader: found.row.leader.clone(),
            desired: found.row.desired,
            since: found.waits_since.unwrap_or_default(),
        })
    }

    fn waits(&self) -> bool {
        self.leader.status == Status::Pending && self.desired == Desired::Run
    }
}

/// Each write of a batch with what it did. A store that writes less than it was given is found by
/// P16; here it only must not mix them up.
pub(crate) fn pairs<'a>(
    writes: &'a [WorkloadWrite],
    moved: &'a [Moved],
) -> impl Iterator<Item = (&'a WorkloadWrite, &'a Moved)> {
    let mut rest = moved.iter().peekable();
    writes.iter().filter_map(move |write| {
        let next = rest.next_if(|moved| moved.workload == write.id)?;
        Some((write, next))
    })
}

/// A write that opens an attempt.
pub(crate) fn opens(write: &WorkloadWrite) -> bool {
    write.to.attempt > write.from_attempt && write.to.status.has_open_attempt()
}
