//! What core asks the database for: one load of each kind in flight, answers matched and judged.
//!
//! Owns wants, flights and the requests that wait for a row. Keeps: an answer says nothing of a
//! workload that this term wrote since the load was issued, because it may be older than memory.

use super::term::Term;
use crate::{
    Effect, Request,
    ids::{BatchNumber, CustomerId, LoadId, WorkloadId},
    persist::Commits,
    probes::{mark, planted},
    scheduling::{Refill, SortKey},
    snapshot::{Load, Loaded, SweepCursor, WorkloadRow},
    time::{Duration, Timestamp, WallTime},
    workload::Workload,
};
use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};

#[derive(Debug, Clone)]
pub(crate) struct Loads {
    next: LoadId,
    flights: BTreeMap<Kind, Flight>,
    wants: Wants,
    /// Requests that wait for the row of a workload that is not in memory.
    parked: BTreeMap<WorkloadId, Vec<Request>>,
    parked_len: usize,
    /// Workloads that left memory since the oldest load in flight was issued, and the last batch
    /// that wrote them.
    retired: BTreeMap<WorkloadId, BatchNumber>,
    retry_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Workloads,
    Wishes,
    WorkerWishes,
    Customers,
    Backlog,
    Eligible,
    Sweep,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Workloads,
        Self::Wishes,
        Self::WorkerWishes,
        Self::Customers,
        Self::Backlog,
        Self::Eligible,
        Self::Sweep,
    ];
}

#[derive(Debug, Clone)]
struct Flight {
    id: LoadId,
    what: Load,
    /// Applied when it was issued: later writes may be missing from the answer.
    as_of: BatchNumber,
}

#[derive(Debug, Clone)]
struct Wants {
    workloads: BTreeSet<WorkloadId>,
    customers: BTreeSet<CustomerId>,
    wishes: bool,
    worker_wishes: bool,
    /// The next page of each, once this batch is applied: until then a page would show the same rows.
    more_wishes: Option<BatchNumber>,
    more_worker_wishes: Option<BatchNumber>,
    sweep: bool,
    sweep_after: Option<SweepCursor>,
    eligible: bool,
    eligible_after: WallTime,
    refills: VecDeque<Refill>,
}

impl Loads {
    pub(super) fn new(next: LoadId, sweep_after: Option<SweepCursor>, read_at: WallTime) -> Self {
        Self {
            next,
            flights: BTreeMap::new(),
            wants: Wants {
                workloads: BTreeSet::new(),
                customers: BTreeSet::new(),
                wishes: true,
                worker_wishes: true,
                more_wishes: None,
                more_worker_wishes: None,
                sweep: false,
                sweep_after,
                eligible: true,
                eligible_after: read_at.minus(LATE_COMMITS),
                refills: VecDeque::new(),
            },
            parked: BTreeMap::new(),
            parked_len: 0,
            retired: BTreeMap::new(),
            retry_at: None,
        }
    }

    pub(super) const fn next_id(&self) -> LoadId {
        self.next
    }

    pub(super) const fn retry_at(&self) -> Option<Timestamp> {
        self.retry_at
    }

    pub(super) fn into_parked(self) -> impl Iterator<Item = crate::ids::RequestId> {
        let requests = self.parked.into_values().flatten();
        requests.map(|request| request.reply_to)
    }

    pub(super) const fn parked_len(&self) -> usize {
        self.parked_len
    }

    pub(super) fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// The periodic wants: wishes unseen, what became eligible, one page of the sweep.
    pub(super) fn want_sweep(&mut self) {
        if planted!(SweepForgotten) {
            return;
        }
        self.wants.wishes = true;
        self.wants.worker_wishes = true;
        self.wants.eligible = true;
        self.wants.sweep = true;
    }

    pub(super) const fn want_worker_wishes(&mut self) {
        self.wants.worker_wishes = true;
    }

    /// A hint. Dropped when too many wait: the sweep finds what hints miss.
    pub(super) fn want_workload(&mut self, id: WorkloadId) {
        if self.wants.workloads.len() < HINTS_MAX {
            self.wants.workloads.insert(id);
        }
    }

    pub(super) fn want_customer(&mut self, id: CustomerId) {
        if self.wants.customers.len() < HINTS_MAX {
            self.wants.customers.insert(id);
        }
    }

    pub(super) fn want_refills(&mut self, refills: Vec<Refill>) {
        self.wants.refills.extend(refills);
    }

    /// Keeps a request until the row of its workload is known. Gives it back when there is no room.
    pub(super) fn park(&mut self, id: WorkloadId, request: Request) -> Option<Request> {
        if self.parked_len >= PARKED_MAX {
            return Some(request);
        }
        self.parked_len += 1;
        self.parked.entry(id).or_default().push(request);
        self.wants.workloads.insert(id);
        None
    }

    /// A workload leaves memory; `written` is the last batch that wrote it.
    pub(super) fn note_retired(&mut self, id: WorkloadId, written: BatchNumber) {
        if self.flights.is_empty() || written == BatchNumber::ZERO {
            return;
        }
        self.retired.insert(id, written);
        if self.retired.len() > RETIRED_MAX {
            // The answers on their way can no longer be judged: they count as failed.
            for kind in Kind::ALL {
                if let Some(flight) = self.flights.remove(&kind) {
                    self.want_again(flight.what);
                }
            }
            self.retired.clear();
        }
    }

    fn is_stale(&self, id: WorkloadId, as_of: BatchNumber) -> bool {
        self.retired
            .get(&id)
            .is_some_and(|written| *written > as_of)
    }

    fn want_again(&mut self, what: Load) {
        match what {
            Load::Workloads(ids) => self.wants.workloads.extend(ids),
            Load::Wishes => self.wants.wishes = true,
            Load::WorkerWishes => self.wants.worker_wishes = true,
            Load::Customers(ids) => self.wants.customers.extend(ids),
            Load::Backlog {
                customer,
                class,
                after,
            } => self.wants.refills.push_front(Refill {
                customer,
                class,
                after: after.map(|(key, id)| (SortKey(key), id)),
            }),
            Load::Eligible { .. } => self.wants.eligible = true,
            Load::Sweep { .. } => self.wants.sweep = true,
        }
    }

    fn wanted(
        &mut self,
        kind: Kind,
        wall: WallTime,
        horizon: Duration,
        limit: usize,
    ) -> Option<Load> {
        let wants = &mut self.wants;
        match kind {
            Kind::Workloads => take_some(&mut wants.workloads, limit).map(Load::Workloads),
            Kind::Wishes => core::mem::take(&mut wants.wishes).then_some(Load::Wishes),
            Kind::WorkerWishes => {
                core::mem::take(&mut wants.worker_wishes).then_some(Load::WorkerWishes)
            }
            Kind::Customers => take_some(&mut wants.customers, limit).map(Load::Customers),
            Kind::Backlog => wants.refills.pop_front().map(|refill| Load::Backlog {
                customer: refill.customer,
                class: refill.class,
                after: refill.after.map(|(key, id)| (key.0, id)),
            }),
            Kind::Eligible => core::mem::take(&mut wants.eligible).then(|| Load::Eligible {
                after: wants.eligible_after,
                until: wall.plus(horizon),
            }),
            Kind::Sweep => core::mem::take(&mut wants.sweep).then_some(Load::Sweep {
                after: wants.sweep_after,
            }),
        }
    }

    /// Issues what is wanted, one load of each kind at a time.
    fn issue(
        &mut self,
        commits: &Commits,
        wall: WallTime,
        horizon: Duration,
        limit: u32,
    ) -> Vec<(LoadId, Load)> {
        let count = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut issued = Vec::new();
        self.wants.note_applied(commits.applied());
        for kind in Kind::ALL {
            if self.flights.contains_key(&kind) {
                continue;
            }
            let Some(what) = self.wanted(kind, wall, horizon, count) else {
                continue;
            };
            self.next = self.next.next();
            issued.push((self.next, what.clone()));
            let flight = Flight {
                id: self.next,
                what,
                as_of: commits.applied(),
            };
            self.flights.insert(kind, flight);
        }
        issued
    }

    fn land(&mut self, id: LoadId) -> Option<Flight> {
        let kind = self
            .flights
            .iter()
            .find(|(_, flight)| flight.id == id)
            .map(|(kind, _)| *kind)?;
        self.flights.remove(&kind)
    }
}

impl Wants {
    /// Pages that waited for a batch are wanted once it is applied.
    fn note_applied(&mut self, applied: BatchNumber) {
        let is_due = |number: &mut BatchNumber| *number <= applied;
        self.wishes |= self.more_wishes.take_if(is_due).is_some();
        self.worker_wishes |= self.more_worker_wishes.take_if(is_due).is_some();
    }
}

impl Term {
    pub(super) fn issue_loads(&mut self, effects: &mut Vec<Effect>) {
        if self.loads.retry_at.is_some_and(|at| at > self.now) || self.end.is_some() {
            return;
        }
        self.loads.retry_at = None;
        let (wall, limit) = (self.wall(), self.config.load_limit);
        let horizon = self.config.scheduler_interval * 2;
        for (load, what) in self.loads.issue(&self.commits, wall, horizon, limit) {
            effects.push(Effect::Load {
                load,
                generation: self.generation,
                what,
                limit,
            });
        }
    }

    pub(super) fn on_loaded(
        &mut self,
        load: LoadId,
        rows: Option<Loaded>,
        database_time: WallTime,
        effects: &mut Vec<Effect>,
    ) {
        let Some(flight) = self.loads.land(load) else {
            return;
        };
        let Some(rows) = rows else {
            mark!(LoadFailed);
            self.loads.want_again(flight.what);
            self.loads.retry_at = Some(self.now.plus(RETRY_AFTER));
            return;
        };
        self.note_clock(database_time);
        self.set_customers(&rows.customers);
        let last = rows.workloads.last().map(cursor);
        let complete = rows.complete;
        self.absorb_workers(rows.workers);
        for row in rows.workloads {
            self.absorb(row, flight.as_of);
        }
        self.note_answered(&flight, last, complete, database_time);
        if let Load::Workloads(ids) = &flight.what {
            self.resume_parked(ids, flight.as_of, effects);
        }
        if self.loads.flights.is_empty() {
            self.loads.retired.clear();
        }
    }

    /// Where each kind of load goes on.
    fn note_answered(
        &mut self,
        flight: &Flight,
        last: Option<(SweepCursor, WallTime)>,
        complete: bool,
        database_time: WallTime,
    ) {
        let more = self.more_from(flight.as_of).filter(|_| !complete);
        let wants = &mut self.loads.wants;
        match &flight.what {
            Load::Workloads(_) | Load::Customers(_) => {}
            Load::Wishes => wants.more_wishes = more,
            Load::WorkerWishes => wants.more_worker_wishes = more,
            Load::Backlog {
                customer, class, ..
            } => self.scheduler.note_refilled(*customer, *class, complete),
            Load::Sweep { .. } => {
                let ends = complete || planted!(SweepSeesOnePage);
                wants.sweep_after = if ends { None } else { last.map(|(c, _)| c) };
            }
            Load::Eligible { after, .. } => {
                wants.eligible_after = match last {
                    Some((_, eligible_at)) if !complete => {
                        wants.eligible = true;
                        // The last moment may have more than the limit let through; a page of one
                        // moment alone is left to the sweep.
                        let before = WallTime(eligible_at.0.saturating_sub(1));
                        if before > *after { before } else { eligible_at }
                    }
                    Some(_) | None => database_time.minus(LATE_COMMITS),
                };
            }
        }
    }

    /// The batch after which a page of wishes shows others than the one that was read when `as_of`
    /// was applied. None when nothing on its way changes that: the next sweep looks again.
    fn more_from(&self, as_of: BatchNumber) -> Option<BatchNumber> {
        let applied = self.commits.applied();
        let since = Some(applied).filter(|applied| *applied > as_of);
        self.commits.awaited().or(since)
    }

    /// Takes in a row that was read when `as_of` was applied.
    fn absorb(&mut self, row: WorkloadRow, as_of: BatchNumber) {
        let id = row.id;
        if let Some(held) = self.workloads.get_mut(&id) {
            let is_newer = row.wish_revision > held.row.leader.wish_seen
                && row.wish_revision >= held.row.wish_revision;
            held.row.checkpoint = held.row.checkpoint.max(row.checkpoint);
            if is_newer {
                mark!(WishFoundBySweep);
            }
            if is_newer && planted!(WishSeenNotActedUpon) {
                held.row.desired = row.desired;
                held.row.wish_revision = row.wish_revision;
                self.change(id, None, |_| {});
            } else if is_newer && self.room() > 0 {
                self.take_wish(id, row.desired, row.wish_revision);
            } else if !is_newer && self.workloads.get(&id).is_some_and(Workload::waits) {
                self.offer_again(id);
            }
            return;
        }
        let is_valid = row.leader.worker.is_none()
            && row.leader.stopping.is_none()
            && !row.leader.status.has_open_attempt();
        if planted!(RetriesInMemoryOnly) && row.leader.backoff_until.is_some() {
            return;
        }
        if self.loads.is_stale(id, as_of) {
            mark!(LoadedRowWasOlder);
        }
        if self.loads.is_stale(id, as_of) || !is_valid || self.quarantine.has_workload(id, self.now)
        {
            return;
        }
        let wish_is_new = row.wish_revision > row.leader.wish_seen;
        self.workloads.insert(id, Workload::new(row));
        if wish_is_new {
            if self.room() > 0 {
                self.act_on_wish(id);
            }
        } else {
            self.reconsider(id);
        }
        self.retire_if_idle(id);
    }

    fn offer_again(&mut self, id: WorkloadId) {
        if !self.scheduler.holds(id) {
            self.reconsider(id);
            self.retire_if_idle(id);
        }
    }

    /// Lets go of a workload that needs no memory: nothing of it is open, waits or is on its way to
    /// the database.
    pub(super) fn retire_if_idle(&mut self, id: WorkloadId) {
        let Some(workload) = self.workloads.get(&id) else {
            return;
        };
        let written = workload.written;
        let is_needed = workload.open.is_some()
            || self.scheduler.holds(id)
            || self.loads.parked.contains_key(&id)
            || !self.is_committed(written);
        if is_needed {
            return;
        }
        self.workloads.remove(&id);
        self.loads.note_retired(id, written);
    }

    /// The scheduler gives up entries silently when a window overflows: memory follows in its time.
    pub(super) fn prune(&mut self) {
        if self.workloads.len() < self.pace.prune_at {
            return;
        }
        let ids: Vec<WorkloadId> = self.workloads.keys().copied().collect();
        for id in ids {
            self.retire_if_idle(id);
        }
        self.pace.prune_at = self.workloads.len() * 2 + PRUNE_SLACK;
    }

    fn resume_parked(&mut self, ids: &[WorkloadId], as_of: BatchNumber, effects: &mut Vec<Effect>) {
        for id in ids {
            let Some(requests) = self.loads.parked.remove(id) else {
                continue;
            };
            self.loads.parked_len -= requests.len();
            let is_stale = self.loads.is_stale(*id, as_of);
            for request in requests {
                if is_stale {
                    effects.push(Effect::Forget {
                        to: request.reply_to,
                    });
                } else {
                    self.on_report_about_loaded(request, effects);
                }
            }
            self.retire_if_idle(*id);
        }
    }
}

fn cursor(row: &WorkloadRow) -> (SweepCursor, WallTime) {
    let cursor = SweepCursor {
        customer: row.customer,
        class: row.class,
        sort_key: row.leader.sort_key,
        workload: row.id,
    };
    (cursor, row.leader.eligible_at)
}

fn take_some<T: Ord>(set: &mut BTreeSet<T>, limit: usize) -> Option<Vec<T>> {
    let mut taken = Vec::new();
    while taken.len() < limit
        && let Some(item) = set.pop_first()
    {
        taken.push(item);
    }
    (!taken.is_empty()).then_some(taken)
}

/// Hinted ids that wait to be loaded; above it hints are dropped.
const HINTS_MAX: usize = 10_000;
/// Requests that wait for a row; above it they are forgotten, and workers repeat them.
const PARKED_MAX: usize = 1_000;
/// Retired workloads remembered while a load is in flight.
const RETIRED_MAX: usize = 50_000;
/// Idle workloads tolerated in memory before they are looked for.
pub(super) const PRUNE_SLACK: usize = 4_096;
/// A load that failed is asked for again after this.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// A submission may become visible this long after the moment it carries.
const LATE_COMMITS: Duration = Duration::from_secs(10);
