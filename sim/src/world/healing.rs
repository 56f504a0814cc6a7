//! The second half of a run: everything heals, and progress must follow within a bound that is
//! computed from the configuration.

use super::{Occurrence, World};
use crate::{
    clock::Moment,
    plan::{Blow, FOR_GOOD, Operation},
    properties::Observation,
};
use niyanta_core::{
    Config,
    fleet::{WorkerDesired, WorkerStatus},
    snapshot::WorkloadRow,
    time::Duration,
    workload::{Desired, Status},
};

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
        self.after(soon * 2, Occurrence::LookWhetherSettled);
    }

    pub(super) fn look_whether_settled(&mut self) {
        let why_not = self.why_not_settled();
        let since_heal = self.now.since(self.plan.heal_at);
        if why_not.is_none() {
            self.counts.settled_after = since_heal;
            self.is_finished = true;
            self.observe(&Observation::Settled);
            return;
        }
        let bound = self.bound();
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
        self.after(Duration::from_millis(500), Occurrence::LookWhetherSettled);
    }

    /// Everything must have settled this long after healing.
    fn bound(&self) -> Duration {
        let most = |length: fn(&crate::plan::CoordinatorPlan) -> Duration| {
            let lengths = self.plan.coordinators.iter().map(length);
            lengths.max().unwrap_or_default()
        };
        let ttl = most(|plan| plan.ttl);
        // An orphaned takeover may land once more; a deaf leader is given one more TTL.
        let election = ttl * 6 + Duration::from_secs(12);
        let dead = Config::with_drift_margin(most(|plan| plan.dead_threshold)) + ttl * 2;
        let sweeps = most(|plan| plan.interval) * 8;
        let backoff = most(|plan| plan.backoff_cap);
        // The slowest case is one slot for everything.
        let open = self
            .store
            .workloads()
            .filter(|found| !found.row.leader.status.is_terminal());
        let work: Duration = open
            .map(|found| (RUN_LONGEST + backoff) * (found.row.max_retries + 2))
            .sum();
        election + dead * 2 + sweeps + work + RUN_LONGEST
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
        let term = self.nodes[leader]
            .process
            .as_ref()
            .and_then(|process| super::node_term(&process.core));
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
        let placeable = self.store.workers().any(|worker| {
            let record = &worker.row.record;
            let hard = &row.affinity.hard;
            let anti = &row.affinity.anti.worker_tags;
            record.status == WorkerStatus::Healthy
                && record.capabilities.contains(&row.workload_type)
                && hard
                    .worker_id
                    .as_ref()
                    .is_none_or(|id| *id == record.worker)
                && hard
                    .worker_tags
                    .iter()
                    .all(|(k, v)| record.tags.get(k) == Some(v))
                && (anti.is_empty() || !anti.iter().all(|(k, v)| record.tags.get(k) == Some(v)))
        });
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
            host.worker
                .as_ref()
                .is_some_and(|worker| worker.runs().values().any(crate::worker::Run::is_executing))
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

/// The longest run of a simulated workload, with the time to stop it.
const RUN_LONGEST: Duration = Duration::from_millis(crate::worker::RUN_LONGEST_MS + 3_000);
