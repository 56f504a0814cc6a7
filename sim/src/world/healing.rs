//! The second half of a run: everything heals, and progress must follow within a bound that is
//! computed from the configuration.

use super::{Occurrence, World};
use crate::{
    bound::{self, Bound},
    clock::Moment,
    plan::{Blow, CoordinatorPlan, FOR_GOOD, Operation},
    properties::Observation,
};
use niyanta_core::{
    batch::WorkerRecord,
    fleet::{WorkerDesired, WorkerStatus},
    snapshot::WorkloadRow,
    time::Duration,
    workload::{Desired, Status},
};
use std::{collections::BTreeMap, sync::Arc};

impl World {
    pub(super) fn heal(&mut self) {
        self.is_healed = true;
        self.armed.clear();
        self.broker.heal();
        self.trace
            .tell(self.now, "fault", || "everything heals".to_owned());
        let soon = Duration::from_millis(500);
        for place in 0..self.nodes.len() {
            self.after(soon, Occurrence::StartCoordinator(place));
        }
        for place in 0..self.hosts.len() {
            if !self.is_gone_for_good(place) {
                self.after(soon, Occurrence::StartWorker(place));
            }
            self.after(soon, Occurrence::Operate(Operation::Undrain { place }));
        }
        self.progress_bound = self.bound().total();
        self.after(soon / 2, Occurrence::LookWhetherSettled);
    }

    pub(super) fn look_whether_settled(&mut self) {
        let leaders = (0..self.nodes.len()).filter(|place| self.leads(*place));
        if self.led_after.is_none() && leaders.count() == 1 {
            self.led_after = Some(self.now.since(self.plan.heal_at));
        }
        let why_not = self.why_not_settled();
        let since_heal = self.now.since(self.plan.heal_at);
        if why_not.is_none() {
            self.counts.settled_after = since_heal;
            self.is_finished = true;
            self.observe(&Observation::Settled);
            return;
        }
        // What is done meanwhile takes nothing off what was to be done.
        let bound = self.bound();
        self.progress_bound = self.progress_bound.max(bound.total());
        self.look_for_unconfirmed(bound.confirmation());
        let bound = self.progress_bound;
        if since_heal > bound && self.plan.loses_commits() {
            self.is_finished = true;
            return;
        }
        if since_heal > bound {
            self.observe(&Observation::Stuck {
                why: why_not.as_deref().unwrap_or_default(),
                bound,
            });
            return;
        }
        self.after(Duration::from_millis(250), Occurrence::LookWhetherSettled);
    }

    /// An assignment that nobody confirms, once all hear each other, is a slot that is lost until the
    /// attempt's time-out.
    fn look_for_unconfirmed(&mut self, bound: Duration) {
        let now = self.now;
        let open = self.store.open_workloads().map(|found| &found.row);
        let scheduled: BTreeMap<_, _> = open
            .filter(|row| row.leader.status == Status::Scheduled)
            .map(|row| {
                let key = (row.id, row.leader.attempt);
                (key, self.unconfirmed.get(&key).copied().unwrap_or(now))
            })
            .collect();
        self.unconfirmed = scheduled;
        let oldest = self.unconfirmed.iter().min_by_key(|(_, since)| **since);
        if let Some(((id, attempt), since)) = oldest
            && now.since(*since) > bound
            && !self.plan.loses_commits()
        {
            let why = format!("{id} attempt {attempt} is neither confirmed nor taken back");
            self.observe(&Observation::Stuck { why: &why, bound });
        }
    }

    /// Everything must have settled this long after healing.
    fn bound(&self) -> Bound {
        let plans = || self.plan.coordinators.iter();
        let most = |length: fn(&CoordinatorPlan) -> Duration| {
            plans().map(length).max().unwrap_or_default()
        };
        let told = self
            .store
            .workers()
            .map(|entry| entry.row.record.longest_lease);
        let lease = most(|plan| plan.heartbeat_timeout.max(plan.later_heartbeat_timeout));
        let open: Vec<&WorkloadRow> = self
            .store
            .workloads()
            .map(|found| &found.row)
            .filter(|row| !row.leader.status.is_terminal())
            .collect();
        // One attempt for each failure that is allowed, and one for what healing itself disturbs.
        let left = open.iter().map(|row| {
            let retries = row.max_retries.saturating_sub(row.leader.retry_count);
            retries + 2
        });
        let longest_run = open.iter().map(|row| row.timeout).max();
        let slots = open.iter().filter_map(|row| self.slots_of(row)).min();
        bound::progress(&bound::Facts {
            ttl: most(|plan| plan.ttl),
            lease: told.fold(lease, Duration::max),
            dead_threshold: most(|plan| plan.dead_threshold),
            interval: most(|plan| plan.interval),
            backoff_cap: most(|plan| plan.backoff_cap),
            load_limit: plans().map(|plan| plan.load_limit).min().unwrap_or(1),
            open: u32::try_from(open.len()).unwrap_or(u32::MAX),
            attempts_left: left.sum(),
            longest_run: longest_run.unwrap_or_default(),
            slots: slots.unwrap_or(1),
            set_back: self.plan.set_back(),
        })
    }

    /// How many slots a workload may use, if any: one at a time when it does not bear neighbours.
    fn slots_of(&self, row: &WorkloadRow) -> Option<u32> {
        let workers = self.store.workers().map(|entry| &entry.row.record);
        let comes_back = |record: &WorkerRecord| {
            let mut places = (0..self.hosts.len()).filter(|place| !self.is_gone_for_good(*place));
            places.any(|place| self.hosts[place].plan.profile.worker == record.worker)
        };
        let room: u32 = workers
            .filter(|record| may_run(row, record) && comes_back(record))
            .map(|record| record.capacity)
            .sum();
        let limits = self.store.customers();
        let limit = limits
            .filter(|limits| limits.limits.id == row.customer)
            .map(|limits| limits.limits.max_running)
            .min();
        let room = room.min(limit.unwrap_or(1));
        let is_shy = !row.affinity.anti.workload_types.is_empty();
        (room > 0).then_some(if is_shy { 1 } else { room })
    }

    fn why_not_settled(&self) -> Option<String> {
        let now = self.store.time(self.now);
        let lease = self.store.lease();
        if lease.expires_at <= now || lease.resigned {
            return Some("nobody holds the lease".to_owned());
        }
        let Some(leader) = self.leader_place() else {
            return Some(format!("{} holds the lease and is gone", lease.incarnation));
        };
        let others = (0..self.nodes.len()).filter(|place| *place != leader);
        if let Some(other) = others.into_iter().find(|place| self.leads(*place)) {
            return Some(format!("c{leader} holds the lease, and c{other} leads too"));
        }
        let term = self.term_of(leader);
        if term != Some(lease.generation) {
            return Some(format!("c{leader} holds the lease and does not lead"));
        }
        let broken = self
            .store
            .workloads()
            .find_map(|found| self.why_workload_not_settled(&found.row, found.pending_reason));
        broken.or_else(|| self.why_workers_not_settled())
    }

    fn why_workload_not_settled(
        &self,
        row: &WorkloadRow,
        reason: Option<niyanta_core::scheduling::PendingReason>,
    ) -> Option<String> {
        let leader = &row.leader;
        if leader.status.is_terminal() {
            return None;
        }
        let id = row.id;
        if leader.wish_seen != row.wish_revision {
            return Some(format!("{id}: its wish ({}) was not seen", row.desired));
        }
        match (leader.status, row.desired) {
            (Status::Paused, Desired::Pause) => None,
            (Status::Pending, Desired::Run) => match reason {
                // Beyond a small window a reason is only found in its turn.
                None if self.has_small_windows() => self.why_untrue(row, None),
                None => Some(format!("{id} waits, and nobody says why")),
                Some(reason) => self.why_untrue(row, Some(reason)),
            },
            (status, desired) => Some(format!("{id} is {status} and wished to {desired}")),
        }
    }

    /// Says what is wrong with a reason to wait, when everything else stands still.
    fn why_untrue(
        &self,
        row: &WorkloadRow,
        reason: Option<niyanta_core::scheduling::PendingReason>,
    ) -> Option<String> {
        let id = row.id;
        let placeable = self
            .store
            .workers()
            .any(|worker| may_run(row, &worker.row.record));
        placeable.then(|| format!("{id} waits ({reason:?}) though a worker could run it"))
    }

    fn has_small_windows(&self) -> bool {
        self.plan.coordinators.iter().any(|plan| plan.window < 256)
    }

    fn why_workers_not_settled(&self) -> Option<String> {
        for worker in self.store.workers() {
            let row = &worker.row;
            let id = &row.record.worker;
            if row.record.wish_seen != row.wish_revision {
                return Some(format!("{id}: its wish ({}) was not seen", row.desired));
            }
            if row.desired == WorkerDesired::Remove {
                return Some(format!("{id} is wished away and still there"));
            }
        }
        let waiting = self.hosts.iter().enumerate().find(|(_, host)| {
            let worker = host.worker.as_ref();
            worker.is_some_and(|worker| !worker.children.is_empty())
        });
        waiting.map(|(place, _)| format!("w{place} still runs something"))
    }

    /// Whether the worker that runs here is one that crashed and never comes back.
    fn is_gone_for_good(&self, place: usize) -> bool {
        let gone = self.plan.strikes.iter().any(|strike| {
            matches!(strike.blow, Blow::CrashWorker { place: who, down } if who == place && down >= FOR_GOOD)
        });
        gone && self.hosts[place].worker.is_none()
    }

    /// How long something that was cut or paused now stays so: not beyond healing, unless it never
    /// heals.
    pub(super) fn until_healed(&self, length: Duration) -> Duration {
        if length >= FOR_GOOD {
            return length;
        }
        let left = self.plan.heal_at.since(self.now.max(Moment(0)));
        length.min(left)
    }
}

/// A worker may run it, for all that can be known.
fn may_run(row: &WorkloadRow, record: &WorkerRecord) -> bool {
    let (hard, anti) = (&row.affinity.hard, &row.affinity.anti.worker_tags);
    let has = |(name, value): (&Arc<str>, &Arc<str>)| record.tags.get(name) == Some(value);
    record.status == WorkerStatus::Healthy
        && record.capabilities.contains(&row.workload_type)
        && hard
            .worker_id
            .as_ref()
            .is_none_or(|id| *id == record.worker)
        && hard.worker_tags.iter().all(has)
        && (anti.is_empty() || !anti.iter().all(has))
}
