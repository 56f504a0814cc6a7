//! Workers come and go, and their rows with them.
//!
//! Owns registration, deregistration, and every write of a worker's row. What a worker says is
//! `heartbeats`'s, what its silence means `silence`'s, and what becomes of an attempt that is over
//! `outcomes`'s. Keeps: one incarnation at a time has an id, and one that ended never comes back.

use super::term::Term;
use crate::{
    Effect, ReplyStatus, Request,
    batch::{WorkerRecord, WorkerWrite},
    event::WorkerMessage,
    fleet::{Committed, Presence, ReportedStatus, Worker, WorkerDesired, WorkerStatus},
    ids::{BatchNumber, Incarnation, WishRevision, WorkerId, WorkloadId},
    probes::{mark, planted},
    scheduling::{Tags, WorkerView},
    time::{Duration, Timestamp},
    workload::Over,
};
use alloc::{collections::BTreeSet, sync::Arc, vec::Vec};

/// What a registration says.
pub(super) struct Registration {
    pub(super) capabilities: BTreeSet<crate::ids::WorkloadType>,
    pub(super) capacity: u32,
    pub(super) tags: Tags,
    pub(super) version: Arc<str>,
    pub(super) replaces: Option<Incarnation>,
}

/// Whether a registration may take a worker id.
enum Claim {
    /// Nobody has the id.
    Free,
    /// It is registered already.
    Own,
    /// All of the incarnation that has it is over, or was said to be.
    Successor,
    /// The sender's incarnation is over for good.
    Ended,
    /// Another process may hold it until then.
    Held(Timestamp),
    /// Its row is on its way out.
    Leaving,
}

impl Term {
    pub(super) fn on_register(
        &mut self,
        request: &Request,
        registration: Registration,
        effects: &mut Vec<Effect>,
    ) {
        match self.claim(request, registration.replaces.as_ref()) {
            Claim::Free => self.enlist(
                request,
                registration,
                WorkerDesired::Run,
                WishRevision::ZERO,
                None,
            ),
            Claim::Own => self.refresh_registration(request, registration),
            Claim::Successor => {
                mark!(ProcessReplaced);
                self.succeed(request, registration);
            }
            Claim::Ended => {
                return self.reply_after(request, ReplyStatus::IncarnationEnded, effects);
            }
            Claim::Held(until) => {
                mark!(IdHeldByAnother);
                self.heed_successor(request, registration.replaces.as_ref());
                let retry_after = until.since(self.now).max(Duration::from_secs(1));
                return self.reply_plain(request, ReplyStatus::IdInUse { retry_after }, effects);
            }
            Claim::Leaving => {
                return effects.push(Effect::Forget {
                    to: request.reply_to,
                });
            }
        }
        if planted!(RegisteredBeforeCommit) {
            return self.reply_plain(request, ReplyStatus::Ok, effects);
        }
        self.reply_after(request, ReplyStatus::Ok, effects);
    }

    /// A removed incarnation that is said to be replaced runs nothing any more; its row goes then.
    fn heed_successor(&mut self, request: &Request, replaces: Option<&Incarnation>) {
        let holder = self.fleet.get(&request.worker);
        if holder.is_some_and(|worker| replaces == Some(&worker.record.incarnation)) {
            self.call_over(&request.worker, Over::Lost, |_| true);
        }
    }

    fn claim(&self, request: &Request, replaces: Option<&Incarnation>) -> Claim {
        if self.fleet.has_ended(&request.worker, &request.incarnation) {
            return Claim::Ended;
        }
        let Some(worker) = self.fleet.get(&request.worker) else {
            return Claim::Free;
        };
        if worker.is_leaving {
            return Claim::Leaving;
        }
        if worker.is_current(&request.incarnation) {
            return if worker.is_dead() {
                Claim::Ended
            } else {
                Claim::Own
            };
        }
        let is_replaced = replaces == Some(&worker.record.incarnation);
        if worker.is_dead() && worker.desired == WorkerDesired::Remove {
            // The row must go first, and takes the wish to remove with it.
            return Claim::Held(if is_replaced {
                self.now
            } else {
                self.fleet.lease_end(worker)
            });
        }
        if planted!(SecondProcessTakesOver)
            || is_replaced
            || worker.presence == Presence::Lapsed
            || worker.is_dead() && !self.may_run(&request.worker)
        {
            return Claim::Successor;
        }
        Claim::Held(self.fleet.lease_end(worker))
    }

    /// Whether an attempt of a worker is not proven to be over. A DEAD row alone proves nothing: an
    /// operator removes whom he likes.
    fn may_run(&self, id: &WorkerId) -> bool {
        let held = self.open_on(id).into_iter();
        let mut open = held.filter_map(|workload| self.workloads.get(&workload)?.open.as_ref());
        open.any(|open| !open.is_over)
    }

    /// Puts a new incarnation on the list.
    fn enlist(
        &mut self,
        request: &Request,
        registration: Registration,
        desired: WorkerDesired,
        wish_revision: WishRevision,
        drain_deadline: Option<crate::time::WallTime>,
    ) {
        let status = match desired {
            WorkerDesired::Run | WorkerDesired::Remove => WorkerStatus::Healthy,
            WorkerDesired::Drain => WorkerStatus::Draining,
        };
        let mut worker = Worker {
            record: WorkerRecord {
                worker: request.worker.clone(),
                incarnation: request.incarnation.clone(),
                status,
                capabilities: registration.capabilities,
                capacity: registration.capacity,
                tags: registration.tags,
                version: registration.version,
                longest_lease: self.config.heartbeat_timeout,
                wish_seen: wish_revision,
                stamp_registered: true,
            },
            desired,
            wish_revision,
            drain_deadline,
            written: BatchNumber::ZERO,
            committed: None,
            presence: Presence::Unheard,
            silent_since: self.now,
            status_moves: false,
            said_goodbye: false,
            is_leaving: false,
        };
        worker.hear(self.now, request.sequence, ReportedStatus::Healthy);
        self.fleet.insert(&self.config, worker);
        self.put_worker(&request.worker);
        self.show_worker(&request.worker);
        self.set_drain(&request.worker);
    }

    /// The same incarnation registers again: a repeat, or it was told to.
    fn refresh_registration(&mut self, request: &Request, registration: Registration) {
        let Some(worker) = self.fleet.get_mut(&request.worker) else {
            return;
        };
        let is_newest = worker
            .last_sequence()
            .is_none_or(|last| request.sequence >= last);
        worker.hear(self.now, request.sequence, ReportedStatus::Healthy);
        if is_newest {
            let record = &mut worker.record;
            let before = record.clone();
            record.capabilities = registration.capabilities;
            record.capacity = registration.capacity;
            record.tags = registration.tags;
            record.version = registration.version;
            record.longest_lease = record.longest_lease.max(self.config.heartbeat_timeout);
            if *record != before || worker.status_due() != worker.record.status {
                self.put_worker(&request.worker);
            }
        }
        self.fleet.schedule(&self.config, &request.worker);
        self.show_worker(&request.worker);
    }

    /// Another incarnation takes the id: what the last one had is over.
    fn succeed(&mut self, request: &Request, registration: Registration) {
        let Some(worker) = self.fleet.get(&request.worker) else {
            return;
        };
        let (desired, revision) = (worker.desired, worker.wish_revision);
        let drain_deadline = worker.drain_deadline;
        let old = worker.record.incarnation.clone();
        self.fleet.note_ended(&request.worker, old);
        if !planted!(SuccessorKeepsAttempts) {
            self.call_over(&request.worker, Over::Lost, |_| true);
        }
        self.enlist(request, registration, desired, revision, drain_deadline);
    }

    /// It says that everything of it has ended.
    pub(super) fn on_deregister(&mut self, request: &Request, effects: &mut Vec<Effect>) {
        let known = self.fleet.get(&request.worker);
        let is_current = known.is_some_and(|worker| worker.is_current(&request.incarnation));
        if !is_current {
            // It has left already, or was never here: both are what it asks for.
            return self.reply_after(request, ReplyStatus::Ok, effects);
        }
        if let Some(worker) = self.fleet.get_mut(&request.worker) {
            worker.said_goodbye = true;
        }
        self.call_over(&request.worker, Over::Left, |_| true);
        self.end_incarnation(&request.worker);
        self.drop_row_if_done(&request.worker);
        self.reply_after(request, ReplyStatus::Ok, effects);
    }

    /// Ends the incarnation that has this id: its row says DEAD, it may not speak again.
    pub(super) fn end_incarnation(&mut self, id: &WorkerId) {
        let Some(worker) = self.fleet.get_mut(id) else {
            return;
        };
        if worker.is_dead() {
            return self.put_worker(id);
        }
        worker.record.status = WorkerStatus::Dead;
        self.put_worker(id);
        self.set_drain(id);
        self.show_worker(id);
    }

    /// Deletes the row of an incarnation that has ended by wish, once its last attempt is over.
    pub(super) fn drop_row_if_done(&mut self, id: &WorkerId) {
        let has_open = self.by_worker.contains_key(id);
        let Some(worker) = self.fleet.get_mut(id) else {
            return;
        };
        let goes = worker.desired == WorkerDesired::Remove || worker.has_left();
        if worker.is_ghost() && !has_open {
            return self.fleet.remove(id);
        }
        let is_ready = worker.is_dead() && !has_open && worker.committed.is_some();
        if !goes || !is_ready || worker.is_leaving || self.room() == 0 {
            return;
        }
        let Some(worker) = self.fleet.get_mut(id) else {
            return;
        };
        worker.is_leaving = true;
        worker.written = self
            .commits
            .put_worker(WorkerWrite::Remove { worker: id.clone() });
        self.scheduler.remove_worker(id);
        self.fleet.schedule(&self.config, id);
    }

    /// Gathers a worker's row as memory has it.
    pub(super) fn put_worker(&mut self, id: &WorkerId) {
        let Some(worker) = self.fleet.get_mut(id) else {
            return;
        };
        if worker.is_leaving {
            // Its deletion is gathered or on its way, and must not be written over.
            return;
        }
        let due = worker.status_due();
        worker.status_moves |= worker.record.status != due;
        worker.record.status = due;
        worker.record.wish_seen = worker.wish_revision;
        let record = worker.record.clone();
        worker.record.stamp_registered = false;
        worker.written = self.commits.put_worker(WorkerWrite::Put(record));
        self.show_worker(id);
    }

    /// Shows a worker to the scheduler as it may be used.
    pub(super) fn show_worker(&mut self, id: &WorkerId) {
        let Some(worker) = self.fleet.get(id) else {
            return;
        };
        let view = WorkerView {
            capabilities: worker.record.capabilities.clone(),
            capacity: worker.record.capacity,
            tags: worker.record.tags.clone(),
        };
        let placeable = worker.is_placeable();
        self.scheduler.set_worker(id.clone(), view, placeable);
    }

    /// Tells the scheduler whether a worker that it knows may be used.
    pub(super) fn show_placeable(&mut self, id: &WorkerId) {
        let placeable = self.fleet.get(id).is_some_and(Worker::is_placeable);
        self.scheduler.set_placeable(id, placeable);
    }

    /// A worker's row is in the database as it was gathered.
    pub(super) fn settle_worker(&mut self, write: &WorkerWrite, effects: &mut Vec<Effect>) {
        let id = write.worker();
        let record = match write {
            WorkerWrite::Put(record) => record,
            WorkerWrite::Remove { .. } => {
                if self.fleet.get(id).is_some_and(|worker| worker.is_leaving) {
                    self.fleet.remove(id);
                }
                return;
            }
        };
        let applied = self.commits.applied();
        let Some(worker) = self.fleet.get_mut(id) else {
            return;
        };
        worker.status_moves &= worker.written > applied;
        let was = worker
            .committed
            .as_ref()
            .map(|c| (c.status, c.incarnation.clone()));
        worker.committed = Some(Committed {
            incarnation: record.incarnation.clone(),
            status: record.status,
            longest_lease: record.longest_lease,
        });
        let now_drains = record.status == WorkerStatus::Draining
            && worker.desired == WorkerDesired::Drain
            && was != Some((WorkerStatus::Draining, record.incarnation.clone()));
        if now_drains && let Some(worker) = self.fleet.get(id) {
            effects.push(self.drain_effect(worker));
        }
        self.show_placeable(id);
        self.drop_row_if_done(id);
    }

    /// The workloads whose open attempt is on this worker id.
    pub(super) fn open_on(&self, id: &WorkerId) -> Vec<WorkloadId> {
        let held = self.by_worker.get(id);
        held.map(|held| held.iter().copied().collect())
            .unwrap_or_default()
    }

    pub(crate) fn has_open(&self, worker: &WorkerId, id: WorkloadId) -> bool {
        let held = self.by_worker.get(worker);
        held.is_some_and(|held| held.contains(&id))
    }

    pub(super) fn attempts_open(&self) -> usize {
        self.by_worker.values().map(BTreeSet::len).sum()
    }

    pub(super) fn reply_plain(
        &self,
        request: &Request,
        status: ReplyStatus,
        effects: &mut Vec<Effect>,
    ) {
        let pending = crate::persist::PendingReply {
            to: request.reply_to,
            worker: request.worker.clone(),
            registers: None,
            status,
        };
        self.reply_now(pending, effects);
    }
}

impl Registration {
    /// The registration in a message, if it is one.
    pub(super) fn of(message: &WorkerMessage) -> Option<Self> {
        let WorkerMessage::Register {
            capabilities,
            capacity,
            tags,
            version,
            replaces,
        } = message
        else {
            return None;
        };
        Some(Self {
            capabilities: capabilities.clone(),
            capacity: *capacity,
            tags: tags.clone(),
            version: Arc::clone(version),
            replaces: replaces.clone(),
        })
    }
}
