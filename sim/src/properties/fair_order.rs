//! P23: bounded wait.
//!
//! - A workload's key follows from its priority and the moment from which it is eligible.
//! - FIFO at equal key: within a class no workload is placed before one of a smaller key that was in
//!   the leader's sight.
//! - Every placeable workload is considered within the stated number of sweeps: none that could be
//!   placed throughout ([`round_of_sweep`](super::sight::round_of_sweep)) still waits.
//! - Shares follow the weights: a customer is given a slot only while its share (running by weight)
//!   is not above that of another whose workload could have had that slot, give or take the one
//!   slot that is given.

use super::{
    Observation, Property, View,
    ledger::{Queue, opens, pairs},
    sight::Sight,
};
use crate::{
    clock::Moment,
    model::store::{Change, Moved},
};
use niyanta_core::{
    Config,
    batch::{Batch, WorkerRecord, WorkloadWrite},
    fleet::{WorkerDesired, WorkerStatus},
    ids::{CustomerId, WorkerId, WorkloadId, WorkloadType},
    scheduling::Tags,
    snapshot::WorkloadRow,
    time::{Duration, WallTime},
};
use std::collections::{BTreeMap, BTreeSet};

/// P23.
#[derive(Default)]
pub(crate) struct FairOrder {
    sight: Sight,
    /// Since when a worker has had room, taken new work, and been the same incarnation.
    room: BTreeMap<WorkerId, Moment>,
    /// Since when a customer has been below its limit.
    below: BTreeMap<CustomerId, Moment>,
    /// Types that somebody of the customer must not stand beside.
    shunned: BTreeSet<(CustomerId, WorkloadType)>,
    /// When something was taken from each queue last.
    taken: BTreeMap<Queue, Moment>,
    looked_at: Moment,
}

impl Property for FairOrder {
    const NAME: &'static str = "P23";

    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        self.sight.observe(view, observation);
        match observation {
            Observation::Committed {
                change:
                    Change::Submitted {
                        workload, customer, ..
                    },
            } => {
                if let Some(found) = view.store.workload(*workload) {
                    let types = found.row.affinity.anti.workload_types.iter();
                    self.shunned
                        .extend(types.map(|kind| (*customer, kind.clone())));
                }
                Ok(())
            }
            Observation::Committed {
                change: Change::Batch { batch, time, moved },
            } => {
                self.note_room(view, batch, moved);
                self.note_taken(view, batch);
                batch
                    .workloads
                    .iter()
                    .try_for_each(|w| check_key(view, w))?;
                if let Some((_, bound)) = self.sight.owes(view) {
                    for (write, moved) in pairs(&batch.workloads, moved) {
                        if opens(write) {
                            check_order(view, write, moved, *time, bound)?;
                            self.check_share(view, batch, write, *time, bound)?;
                        }
                    }
                }
                Ok(())
            }
            Observation::Committed {
                change: Change::Limited { customer },
            } => {
                // Whoever had room under the old limits is looked at anew under these.
                self.below.insert(*customer, NEVER);
                self.note_below(view, *customer);
                Ok(())
            }
            Observation::Handled { .. } if view.now.since(self.looked_at) > LOOK_EVERY => {
                self.looked_at = view.now;
                self.check_overlooked(view)
            }
            _ => Ok(()),
        }
    }
}

/// Its place in the order is what its priority and its waiting say, for as long as it lives.
fn check_key(view: View<'_>, write: &WorkloadWrite) -> Result<(), String> {
    let Some(found) = view.store.workload(write.id) else {
        return Ok(());
    };
    let head_start = Config::AGEING_PER_PRIORITY * u32::from(found.row.priority);
    let eligible = write.to.eligible_at;
    if eligible.minus(head_start).0 != write.to.sort_key {
        return Err(format!(
            "{} of priority {} is eligible from {eligible:?} on and stands at {}",
            write.id, found.row.priority, write.to.sort_key
        ));
    }
    Ok(())
}

/// None of a smaller key in the same class, long in sight, is passed over.
fn check_order(
    view: View<'_>,
    write: &WorkloadWrite,
    moved: &Moved,
    time: WallTime,
    bound: Duration,
) -> Result<(), String> {
    let Some(queue) = view.ledger.queue(write.id) else {
        return Ok(());
    };
    let key = (moved.before.sort_key, write.id);
    let ahead = view
        .ledger
        .waiting_in(queue)
        .take_while(|other| **other < key);
    for (_, other) in ahead {
        if waits_longer(view, *other, time, bound) {
            return Err(format!(
                "{} overtakes {other}, which waits before it",
                write.id
            ));
        }
    }
    Ok(())
}

/// It could have been placed for longer than this.
fn waits_longer(view: View<'_>, id: WorkloadId, time: WallTime, bound: Duration) -> bool {
    let since = view.ledger.since(id).unwrap_or(time);
    let eligible = view
        .ledger
        .leader(id)
        .map_or(time, |leader| leader.eligible_at);
    time.since(since.max(eligible)) > bound
}

impl FairOrder {
    /// Nobody else whose share is smaller could have had that slot.
    fn check_share(
        &self,
        view: View<'_>,
        batch: &Batch,
        write: &WorkloadWrite,
        time: WallTime,
        bound: Duration,
    ) -> Result<(), String> {
        let Some((worker, _)) = &write.to.worker else {
            return Ok(());
        };
        let (Some(entry), Some(mine)) = (view.store.worker(worker), view.customer(write.customer))
        else {
            return Ok(());
        };
        let my_running = view.ledger.tally(write.customer).running.saturating_sub(1);
        for ((customer, class), waiting) in view.ledger.waiting() {
            let Some(&(_, first)) = waiting.first() else {
                continue;
            };
            if customer == write.customer || !waits_longer(view, first, time, bound) {
                continue;
            }
            let Some(other) = view.customer(customer) else {
                continue;
            };
            // What ended within the batch may have run on when the slot was given.
            let ended = ended_in(batch, customer);
            let running = view.ledger.tally(customer).running + ended;
            if running * u64::from(mine.limits.weight)
                >= my_running * u64::from(other.limits.weight)
            {
                continue;
            }
            let below = running < u64::from(other.limits.max_running)
                && self.is_below(view, customer, bound);
            let queue = (customer, class);
            let below = below && !self.is_drained(view, queue);
            if below && self.fits(view, queue, first, &entry.row.record) {
                return Err(format!(
                    "{} gets a slot of {worker} with {my_running} running at weight {}, while {first} of {customer} waits with {running} at weight {}",
                    write.id, mine.limits.weight, other.limits.weight
                ));
            }
        }
        Ok(())
    }

    /// Something was taken from a queue lately: the leader may not hold what stands behind it yet.
    fn is_drained(&self, view: View<'_>, queue: Queue) -> bool {
        let taken = self.taken.get(&queue);
        taken.is_some_and(|last| view.now.since(*last) <= RELOAD)
    }

    fn note_taken(&mut self, view: View<'_>, batch: &Batch) {
        for write in batch.workloads.iter().filter(|write| opens(write)) {
            if let Some(queue) = view.ledger.queue(write.id) {
                self.taken.insert(queue, view.now);
            }
        }
    }

    fn is_below(&self, view: View<'_>, customer: CustomerId, bound: Duration) -> bool {
        let since = self.below.get(&customer);
        since.is_none_or(|since| view.now.since(*since) > bound)
    }

    /// Whether a workload may run on a worker that has room.
    fn fits(&self, view: View<'_>, queue: Queue, id: WorkloadId, record: &WorkerRecord) -> bool {
        let Some(row) = view.store.workload(id).map(|found| &found.row) else {
            return false;
        };
        let shy = !row.affinity.anti.workload_types.is_empty()
            || self.shunned.contains(&(queue.0, row.workload_type.clone()));
        !shy && may_run(row, record)
    }

    fn note_room(&mut self, view: View<'_>, batch: &Batch, moved: &[Moved]) {
        let written = batch.workers.iter().map(|write| write.worker());
        let left = moved
            .iter()
            .filter_map(|moved| moved.before.worker.as_ref());
        let taken = batch.workloads.iter().filter_map(|w| w.to.worker.as_ref());
        let touched = written
            .chain(left.map(|(worker, _)| worker))
            .chain(taken.map(|(worker, _)| worker));
        let mut last = None;
        for worker in touched {
            if last.replace(worker) != Some(worker) {
                self.note_worker(view, batch, worker);
            }
        }
        for write in &batch.workloads {
            self.note_below(view, write.customer);
        }
    }

    fn note_below(&mut self, view: View<'_>, customer: CustomerId) {
        let running = view.ledger.tally(customer).running;
        let limit = view.customer(customer);
        let below = limit.is_some_and(|row| running < u64::from(row.limits.max_running));
        let since = self.below.entry(customer).or_default();
        *since = match (below, *since) {
            (false, _) => NEVER,
            (true, NEVER) => view.now,
            (true, since) => since,
        };
    }

    fn note_worker(&mut self, view: View<'_>, batch: &Batch, worker: &WorkerId) {
        let has_room = view.store.worker(worker).is_some_and(|entry| {
            let open = view.ledger.open_on(worker).count();
            let total = usize::try_from(entry.row.record.capacity).unwrap_or(usize::MAX);
            open < total
                && entry.row.record.status == WorkerStatus::Healthy
                && entry.row.desired == WorkerDesired::Run
        });
        let rewritten = batch.workers.iter().any(|write| write.worker() == worker);
        if !has_room {
            self.room.remove(worker);
        } else if rewritten {
            self.room.insert(worker.clone(), view.now);
        } else {
            self.room.entry(worker.clone()).or_insert(view.now);
        }
    }

    /// Nothing waits that could have been placed all the time.
    fn check_overlooked(&self, view: View<'_>) -> Result<(), String> {
        let Some((_, bound)) = self.sight.owes(view) else {
            return Ok(());
        };
        let time = view.store.time(view.now);
        for (queue, waiting) in view.ledger.waiting() {
            if !self.is_below(view, queue.0, bound) {
                continue;
            }
            for (_, id) in waiting {
                if !waits_longer(view, *id, time, bound) {
                    continue;
                }
                if let Some(worker) = self.had_room(view, queue, *id, bound) {
                    return Err(format!(
                        "{id} waits, and {worker} could have run it for more than {bound:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// A worker that could have run it for longer than the bound.
    fn had_room(
        &self,
        view: View<'_>,
        queue: Queue,
        id: WorkloadId,
        bound: Duration,
    ) -> Option<WorkerId> {
        let long = |since: Moment| view.now.since(since) > bound;
        let with_room = self.room.iter().filter(|(_, since)| long(**since));
        with_room
            .filter_map(|(worker, _)| Some((worker, view.store.worker(worker)?)))
            .find(|(worker, entry)| {
                let record = &entry.row.record;
                let heard = self.sight.heard_since(view, worker, &record.incarnation);
                heard.is_some_and(long)
                    && entry.row.desired == WorkerDesired::Run
                    && self.fits(view, queue, id, record)
            })
            .map(|(worker, _)| worker.clone())
    }
}

/// How many attempts of a customer a batch ended.
fn ended_in(batch: &Batch, customer: CustomerId) -> u64 {
    let writes = batch.workloads.iter().filter(|w| w.customer == customer);
    let ended = writes.filter(|write| {
        write.from_status.has_open_attempt()
            && !(write.to.status.has_open_attempt() && write.to.attempt == write.from_attempt)
    });
    u64::try_from(ended.count()).unwrap_or(0)
}

fn may_run(row: &WorkloadRow, record: &WorkerRecord) -> bool {
    let (hard, anti) = (&row.affinity.hard, &row.affinity.anti.worker_tags);
    record.status == WorkerStatus::Healthy
        && record.capabilities.contains(&row.workload_type)
        && hard
            .worker_id
            .as_ref()
            .is_none_or(|id| *id == record.worker)
        && has_all(&record.tags, &hard.worker_tags)
        && (anti.is_empty() || !has_all(&record.tags, anti))
}

fn has_all(tags: &Tags, wanted: &Tags) -> bool {
    wanted
        .iter()
        .all(|(name, value)| tags.get(name) == Some(value))
}

/// Later than anything.
const NEVER: Moment = Moment(u64::MAX);
/// What was taken out of the leader's sight is replaced within this, or a statement has failed.
const RELOAD: Duration = Duration::from_secs(3);
/// How often what waits is looked through.
const LOOK_EVERY: Duration = Duration::from_secs(2);
