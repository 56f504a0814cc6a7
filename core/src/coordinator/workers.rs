//! Workers come, speak, fall silent and go.
//!
//! Owns registration, heartbeats, deregistration and the judgement of silences. What becomes of an
//! attempt once it is over is `outcomes`'s.

use super::term::Term;
use crate::{
    Config, Effect, Reply, ReplyStatus, Request, StopOrder,
    batch::{Actor, WorkerRecord, WorkerWrite},
    event::WorkerMessage,
    fleet::{Committed, Presence, ReportedStatus, Silence, Worker, WorkerDesired, WorkerStatus},
    ids::{Attempt, BatchNumber, Incarnation, WishRevision, WorkerId, WorkloadId},
    scheduling::{Tags, WorkerView},
    time::{Duration, Timestamp},
    workload::{Cause, Move, OnLeaseLoss, Over, Status},
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
    /// The incarnation that has it is over, or was said to be.
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
            Claim::Successor => self.succeed(request, registration),
            Claim::Ended => {
                return self.reply_after(request, ReplyStatus::IncarnationEnded, effects);
            }
            Claim::Held(until) => {
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
        if is_replaced || worker.is_dead() || worker.presence == Presence::Lapsed {
            return Claim::Successor;
        }
        Claim::Held(self.fleet.lease_end(worker))
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
        self.call_over(&request.worker, Over::Lost, |_| true);
        self.enlist(request, registration, desired, revision, drain_deadline);
    }

    pub(super) fn on_heartbeat(
        &mut self,
        request: &Request,
        says: ReportedStatus,
        running: &[(WorkloadId, Attempt)],
        effects: &mut Vec<Effect>,
    ) {
        let ended = self.fleet.has_ended(&request.worker, &request.incarnation);
        let known = self.fleet.get(&request.worker);
        let Some(worker) = known.filter(|w| w.is_current(&request.incarnation) && !ended) else {
            if ended {
                return self.reply_after(request, ReplyStatus::IncarnationEnded, effects);
            }
            return self.reply_plain(request, ReplyStatus::UnknownWorker, effects);
        };
        if worker.is_dead() {
            return self.reply_after(request, ReplyStatus::IncarnationEnded, effects);
        }
        if worker
            .committed
            .as_ref()
            .is_none_or(|c| c.incarnation != request.incarnation)
        {
            // Its registration is on its way to the database, and answered then.
            return effects.push(Effect::Forget {
                to: request.reply_to,
            });
        }
        let is_newest = worker
            .last_sequence()
            .is_none_or(|last| request.sequence > last);
        self.hear(request, says);
        self.repeat_drain(request, says, effects);
        let stop = if is_newest {
            self.compare(request, running)
        } else {
            Vec::new()
        };
        let Some(worker) = self.fleet.get(&request.worker) else {
            return;
        };
        let lease = worker.lease_to_tell(&self.config);
        effects.push(Effect::Reply {
            to: request.reply_to,
            generation: self.generation,
            reply: Reply {
                status: ReplyStatus::Ok,
                lease,
                heartbeat: lease / 4,
                stop,
            },
        });
    }

    /// Takes in a heartbeat's state; what it changes in the row is gathered, its answer waits for
    /// nothing.
    pub(super) fn hear(&mut self, request: &Request, says: ReportedStatus) {
        let room = self.room();
        let Some(worker) = self.fleet.get_mut(&request.worker) else {
            return;
        };
        worker.hear(self.now, request.sequence, says);
        let lease_grew = worker.record.longest_lease < self.config.heartbeat_timeout;
        let status_moves = worker.status_due() != worker.record.status;
        if (lease_grew || status_moves) && room > 0 {
            worker.record.longest_lease = worker
                .record
                .longest_lease
                .max(self.config.heartbeat_timeout);
            self.put_worker(&request.worker);
        }
        self.fleet.schedule(&self.config, &request.worker);
        self.show_worker(&request.worker);
    }

    /// A worker that is being emptied is told so with each heartbeat that does not say it knows.
    fn repeat_drain(&self, request: &Request, says: ReportedStatus, effects: &mut Vec<Effect>) {
        let Some(worker) = self.fleet.get(&request.worker) else {
            return;
        };
        let is_committed = self.is_committed(worker.written);
        let drains = worker.desired == WorkerDesired::Drain && says == ReportedStatus::Healthy;
        if drains && is_committed {
            effects.push(self.drain_effect(worker));
        }
    }

    fn drain_effect(&self, worker: &Worker) -> Effect {
        Effect::DrainWorker {
            generation: self.generation,
            worker: worker.record.worker.clone(),
            incarnation: worker.record.incarnation.clone(),
            deadline: worker.drain_deadline.map(|at| at.since(self.wall())),
        }
    }

    /// Compares what a worker says it runs with what is its own: being listed implies started, and
    /// what is not its own is to stop. Not being listed means nothing.
    fn compare(&mut self, request: &Request, running: &[(WorkloadId, Attempt)]) -> Vec<StopOrder> {
        let mut stop = Vec::new();
        for &(id, attempt) in running {
            let workload = self.workloads.get(&id);
            let own = workload.is_some_and(|w| {
                w.open_by(&request.worker, &request.incarnation, attempt)
                    .is_some()
            });
            let is_settled = workload.is_none_or(|w| self.is_committed(w.written));
            if own {
                self.note_listed(id, &request.worker);
            } else if is_settled && !self.endings.is_reported(id, attempt) {
                stop.push(StopOrder {
                    workload: id,
                    attempt,
                    cause: Cause::Superseded,
                    deadline: Config::STOP_DEADLINE,
                });
            }
        }
        for id in self.open_on(&request.worker) {
            stop.extend(self.stop_order(id, &request.incarnation));
        }
        stop
    }

    fn note_listed(&mut self, id: WorkloadId, worker: &WorkerId) {
        let is_told = self.workloads.get(&id).is_some_and(|workload| {
            let told = workload.open.as_ref().and_then(|open| open.told_at);
            workload.status() == Status::Scheduled && told.is_some()
        });
        if is_told && self.room() > 0 {
            let actor = Actor::Worker(worker.clone());
            self.change(id, Some(super::term::Step::new(Move::Start, actor)), |_| {});
        }
    }

    /// The committed order to stop a workload's open attempt, if there is one for this incarnation.
    pub(super) fn stop_order(
        &self,
        id: WorkloadId,
        incarnation: &Incarnation,
    ) -> Option<StopOrder> {
        let workload = self.workloads.get(&id)?;
        let open = workload.open.as_ref()?;
        let cause = workload.stopping()?;
        let is_due = open.incarnation == *incarnation && self.is_committed(open.stop_in);
        is_due.then_some(StopOrder {
            workload: id,
            attempt: workload.attempt(),
            cause,
            deadline: Config::STOP_DEADLINE,
        })
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
        worker.record.status = worker.status_due();
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
        let Some(worker) = self.fleet.get_mut(id) else {
            return;
        };
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
        self.show_worker(id);
        self.drop_row_if_done(id);
    }

    /// Looks at the silences that are due; they are judged up to what has been listened to.
    pub(super) fn on_silences_due(&mut self, heard_until: Timestamp) {
        while let Some(id) = self.fleet.silences.pop_due(heard_until) {
            if self.room() == 0 {
                self.fleet
                    .silences
                    .set(id, self.now.plus(Duration::from_millis(100)));
                break;
            }
            match self.fleet.judge(&self.config, &id, heard_until) {
                Silence::Short => {}
                Silence::Quiet => self.note_quiet(&id),
                Silence::LeaseOver => self.lapse(&id),
                Silence::Dead => {
                    self.lapse(&id);
                    self.bury(&id);
                }
            }
            self.fleet.schedule(&self.config, &id);
        }
        self.pace.judge_at = self.now.plus(Duration::from_millis(10));
    }

    fn note_quiet(&mut self, id: &WorkerId) {
        if let Some(worker) = self.fleet.get_mut(id)
            && let Presence::Heard { is_quiet, .. } = &mut worker.presence
        {
            *is_quiet = true;
        }
        self.show_worker(id);
    }

    /// The lease is over, with its margin: so is everything that ends with it.
    fn lapse(&mut self, id: &WorkerId) {
        let Some(worker) = self.fleet.get_mut(id) else {
            return;
        };
        if worker.presence == Presence::Lapsed {
            return;
        }
        worker.presence = Presence::Lapsed;
        let ends_all = worker.is_dead();
        self.show_worker(id);
        self.call_over(id, Over::Lost, |policy| {
            ends_all || policy == OnLeaseLoss::Stop
        });
    }

    /// Silent for too long: DEAD, and everything of it is given away.
    fn bury(&mut self, id: &WorkerId) {
        if self.fleet.get(id).is_some_and(Worker::is_dead) {
            return;
        }
        self.end_incarnation(id);
        self.call_over(id, Over::Lost, |_| true);
    }

    /// Attempts of a worker's current incarnation are proven to be over.
    pub(super) fn call_over(
        &mut self,
        id: &WorkerId,
        over: Over,
        includes: impl Fn(OnLeaseLoss) -> bool,
    ) {
        for workload in self.open_on(id) {
            let Some(held) = self.workloads.get_mut(&workload) else {
                continue;
            };
            let (attempt, policy) = (held.attempt(), held.row.on_lease_loss);
            if let Some(open) = &mut held.open
                && !open.is_over
                && includes(policy)
            {
                open.is_over = true;
                self.over.push_back((workload, attempt, over));
            }
        }
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

    fn reply_plain(&self, request: &Request, status: ReplyStatus, effects: &mut Vec<Effect>) {
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
