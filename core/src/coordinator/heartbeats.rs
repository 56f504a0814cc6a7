//! What a worker says with each heartbeat, and what it is told in return.
//!
//! Owns the comparison of what a worker runs with what is its own. A heartbeat's answer waits for no
//! commit: it tells only what is committed already (P5), so a slow store shortens nobody's lease.

use super::term::{Step, Term};
use crate::{
    Config, Effect, Reply, ReplyStatus, Request, StopOrder,
    batch::Actor,
    fleet::{Presence, ReportedStatus, Worker, WorkerDesired, WorkerStatus},
    ids::{Attempt, Incarnation, WorkerId, WorkloadId},
    probes::{mark, planted},
    workload::{Cause, Move, Over, Status},
};
use alloc::vec::Vec;

impl Term {
    pub(super) fn on_heartbeat(
        &mut self,
        request: &Request,
        says: ReportedStatus,
        running: &[(WorkloadId, Attempt)],
        effects: &mut Vec<Effect>,
    ) {
        let ended = self.fleet.has_ended(&request.worker, &request.incarnation)
            && !planted!(LateHeartbeatRevives);
        let known = self.fleet.get(&request.worker);
        let Some(worker) = known.filter(|w| w.is_current(&request.incarnation) && !ended) else {
            if ended {
                mark!(EndedWorkerSpeaks);
                return self.reply_after(request, ReplyStatus::IncarnationEnded, effects);
            }
            return self.reply_plain(request, ReplyStatus::UnknownWorker, effects);
        };
        if worker.is_dead() && planted!(LateHeartbeatRevives) {
            let says = ReportedStatus::Healthy;
            if let Some(worker) = self.fleet.get_mut(&request.worker) {
                worker.record.status = WorkerStatus::Healthy;
                worker.hear(self.now, request.sequence, says);
            }
            self.put_worker(&request.worker);
            return effects.push(Effect::Forget {
                to: request.reply_to,
            });
        }
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
            mark!(OlderHeartbeat);
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
        if worker.presence == Presence::Lapsed {
            mark!(HeartbeatAfterLapse);
        }
        worker.hear(self.now, request.sequence, says);
        let lease_grew = worker.record.longest_lease < self.config.heartbeat_timeout
            && !planted!(LongestLeaseNotRaised);
        let status_moves = worker.status_due() != worker.record.status;
        if (lease_grew || status_moves) && room > 0 {
            worker.record.longest_lease = worker
                .record
                .longest_lease
                .max(self.config.heartbeat_timeout);
            self.put_worker(&request.worker);
        }
        self.fleet.schedule(&self.config, &request.worker);
        self.show_placeable(&request.worker);
    }

    /// A worker that is being emptied is told so with each heartbeat that does not say it knows.
    fn repeat_drain(&self, request: &Request, says: ReportedStatus, effects: &mut Vec<Effect>) {
        let Some(worker) = self.fleet.get(&request.worker) else {
            return;
        };
        let committed = worker.committed.as_ref();
        let is_committed = committed.is_some_and(|row| {
            row.status == WorkerStatus::Draining && row.incarnation == request.incarnation
        });
        let drains = worker.desired == WorkerDesired::Drain && says == ReportedStatus::Healthy;
        if drains && is_committed {
            effects.push(self.drain_effect(worker));
        }
    }

    pub(super) fn drain_effect(&self, worker: &Worker) -> Effect {
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
            } else if is_settled {
                mark!(RunsWhatIsNotItsOwn);
            }
            if !own && is_settled && !self.endings.is_reported(id, attempt) {
                stop.push(StopOrder {
                    workload: id,
                    attempt,
                    cause: Cause::Superseded,
                    deadline: Config::STOP_DEADLINE,
                });
            }
        }
        for id in self.open_on(&request.worker) {
            if planted!(UnlistedMeansEnded) && !running.iter().any(|(listed, _)| *listed == id) {
                let told = self.workloads.get(&id).and_then(|w| w.open.as_ref());
                if self.room() > 0 && told.is_some_and(|open| open.told_at.is_some()) {
                    self.close(id, Over::Lost, Actor::System);
                    continue;
                }
            }
            if !planted!(StopToldOnce) {
                stop.extend(self.stop_order(id, &request.incarnation));
            }
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
            self.change(id, Some(Step::new(Move::Start, actor)), |_| {});
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
}
