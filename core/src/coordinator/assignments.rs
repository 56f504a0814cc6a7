//! Giving work to workers, and taking it back: the words that go out, again until they got there.
//!
//! Owns placements turned into changes, and the timers of open attempts. Which workload goes where
//! is the scheduler's.

use super::term::{Step, Term};
use crate::{
    Effect, StopOrder,
    batch::{Actor, AuditDetails},
    fleet::Presence,
    ids::WorkloadId,
    probes::{mark, planted},
    scheduling::Placement,
    time::Duration,
    workload::{Cause, Move, Open, Over, Status, Workload},
};
use alloc::vec::Vec;

impl Term {
    /// Takes one bounded scheduling step, when the gathering batch has room for placements.
    pub(super) fn plan(&mut self, effects: &mut Vec<Effect>) {
        let limit = self
            .config
            .batch_size
            .saturating_sub(self.commits.assignments());
        let budget = usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .min(self.room());
        self.pace.eligible_at = None;
        self.pace.plan_more = false;
        if budget == 0 {
            // The answer to the batch in flight makes room, and plans again.
            return;
        }
        let wall = self.wall();
        let plan = self.scheduler.plan(wall, budget);
        self.pace.plan_more = plan.more && plan.placements.len() < budget;
        self.pace.eligible_at = plan
            .next_eligible
            .map(|at| self.clock.when(at).max(self.now));
        for placement in plan.placements {
            let id = placement.workload;
            self.assign(placement);
            if planted!(AssignedBeforeCommit) {
                self.send_first(id, effects);
            }
        }
        let mut reasons = Vec::new();
        for (id, reason) in plan.reasons {
            let Some(workload) = self.workloads.get(&id) else {
                continue;
            };
            if self.is_committed(workload.written) {
                reasons.push((id, workload.attempt(), reason));
            } else {
                // The row does not say PENDING yet, and would not take it.
                self.scheduler.retract(id);
            }
        }
        if !reasons.is_empty() {
            effects.push(Effect::RecordPendingReasons {
                generation: self.generation,
                reasons,
            });
        }
        self.loads.want_refills(plan.refills);
    }

    fn assign(&mut self, placement: Placement) {
        let (id, worker) = (placement.workload, placement.worker);
        let target = self.fleet.get(&worker).filter(|w| w.is_placeable());
        let workload = self.workloads.get(&id).filter(|w| w.waits());
        let (Some(target), Some(workload)) = (target, workload) else {
            self.scheduler.vacate(id);
            return self.reconsider(id);
        };
        let incarnation = target.record.incarnation.clone();
        let details = AuditDetails::Assigned {
            worker: worker.clone(),
            incarnation: incarnation.clone(),
            checkpoint: workload.row.checkpoint,
        };
        let step = Step::with(Move::Assign, Actor::Coordinator, details);
        self.change(id, Some(step), |leader| {
            leader.attempt = leader.attempt.next();
            leader.worker = Some((worker, incarnation));
            leader.backoff_until = None;
            leader.stopping = None;
        });
    }

    /// Sends what a commit made tellable, if it was not sent yet.
    pub(super) fn send_first(&mut self, id: WorkloadId, effects: &mut Vec<Effect>) {
        let Some(workload) = self.workloads.get(&id) else {
            return;
        };
        let unsent = workload
            .open
            .as_ref()
            .is_some_and(|open| open.next_send.is_none());
        if unsent {
            self.send(id, effects);
        }
    }

    /// Sends the stop or the assignment that is committed, and sets when it is sent again.
    fn send(&mut self, id: WorkloadId, effects: &mut Vec<Effect>) {
        let Some(workload) = self.workloads.get(&id) else {
            return;
        };
        let word = if workload.stopping().is_some() {
            self.stop_word(id, workload)
        } else if workload.status() == Status::Scheduled {
            self.assign_word(id, workload)
        } else {
            None
        };
        let applied = self.commits.applied();
        let config = &self.config;
        let Some(workload) = self.workloads.get_mut(&id) else {
            return;
        };
        let (status, stopping) = (workload.status(), workload.stopping());
        let Some(open) = &mut workload.open else {
            return;
        };
        let awaits_commit = match stopping {
            Some(_) => open.stop_in > applied,
            None => {
                let is_open = open.opened_in <= applied || planted!(AssignedBeforeCommit);
                status != Status::Scheduled || !is_open
            }
        };
        if awaits_commit {
            open.next_send = None;
        } else {
            // Also when there is nobody to send it to yet: an unheard worker may speak.
            open.note_sent(config, self.now);
            let is_assignment = stopping.is_none();
            if planted!(HandOverBelieved) && is_assignment {
                open.next_send = None;
            }
            if planted!(StopToldOnce) && !is_assignment {
                open.next_send = None;
            }
        }
        effects.extend(word);
    }

    fn stop_word(&self, id: WorkloadId, workload: &Workload) -> Option<Effect> {
        let open = workload.open.as_ref()?;
        let order: StopOrder = self.stop_order(id, &open.incarnation)?;
        Some(Effect::Stop {
            generation: self.generation,
            worker: open.worker.clone(),
            incarnation: open.incarnation.clone(),
            order,
        })
    }

    fn assign_word(&self, id: WorkloadId, workload: &Workload) -> Option<Effect> {
        let is_told = self.is_told(workload) || planted!(AssignedBeforeCommit);
        let open = workload.open.as_ref().filter(|_| is_told)?;
        let worker = self.fleet.get(&open.worker)?;
        let heartbeat_sequence = worker.last_sequence()?;
        (worker.is_current(&open.incarnation) && !worker.is_dead()).then(|| Effect::Assign {
            generation: self.generation,
            worker: open.worker.clone(),
            incarnation: open.incarnation.clone(),
            workload: id,
            attempt: workload.attempt(),
            heartbeat_sequence,
        })
    }

    pub(super) fn on_attempts_due(&mut self, effects: &mut Vec<Effect>) {
        while let Some(id) = self.attempts.pop_due(self.now) {
            if self.room() == 0 {
                self.attempts
                    .set(id, self.now.plus(Duration::from_millis(100)));
                break;
            }
            self.on_attempt_due(id, effects);
            self.set_due(id);
        }
    }

    fn on_attempt_due(&mut self, id: WorkloadId, effects: &mut Vec<Effect>) {
        let Some(workload) = self.workloads.get(&id) else {
            return;
        };
        let now = self.now;
        let is_past = |at: Option<crate::time::Timestamp>| at.is_some_and(|at| at <= now);
        if is_past(workload.overdue_at(self.clock)) {
            mark!(LeaderTimedOutAttempt);
            return self.begin_stop(id, Cause::TimedOut, false);
        }
        let longest = self.config.heartbeat_interval().max(Open::FIRST_INTERVAL);
        let is_told_often = workload.stopping().is_some()
            && (workload.open.as_ref()).is_some_and(|open| open.interval >= longest);
        if planted!(TerminalByTimeout) && is_told_often {
            return self.close(id, Over::Lost, Actor::System);
        }
        if is_past(workload.unconfirmed_at(&self.config)) {
            return self.on_unconfirmed(id);
        }
        let sending = workload.open.as_ref().and_then(|open| open.next_send);
        if is_past(sending) {
            self.send(id, effects);
        }
    }

    /// A lease has passed without a word about an assignment. A living worker is told to drop it;
    /// of a silent one the end of its lease will tell.
    fn on_unconfirmed(&mut self, id: WorkloadId) {
        let Some(open) = self.workloads.get(&id).and_then(|w| w.open.as_ref()) else {
            return;
        };
        let lives = self.fleet.get(&open.worker).is_some_and(|worker| {
            let speaks = matches!(
                worker.presence,
                Presence::Heard {
                    is_quiet: false,
                    ..
                }
            );
            speaks && worker.is_current(&open.incarnation)
        });
        if planted!(UnconfirmedGivenAway) {
            return self.close(id, Over::Lost, Actor::System);
        }
        if lives {
            mark!(UnconfirmedTakenBack);
            return self.begin_stop(id, Cause::Superseded, true);
        }
        mark!(UnconfirmedBySilent);
        let now = self.now;
        if let Some(open) = self.workloads.get_mut(&id).and_then(|w| w.open.as_mut()) {
            open.told_at = Some(now);
            open.interval = Open::FIRST_INTERVAL;
        }
    }
}
