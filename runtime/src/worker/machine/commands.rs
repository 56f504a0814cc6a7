//! What leaders tell a worker to do.

use super::{
    Action, Machine, Phase,
    attempts::{Held, Stage},
    requests::About,
};
use crate::probes::{mark, planted};
use crate::protocol::{Assignment, Command, of, wire};
use niyanta_core::{StopOrder, time::Timestamp, workload::Cause};

impl Machine {
    pub(super) fn on_command(
        &mut self,
        now: Timestamp,
        command: Command,
        actions: &mut Vec<Action>,
    ) {
        match command {
            Command::Assign(assignment) => self.on_assign(now, assignment, actions),
            Command::Stop(order) => self.on_stop(now, &order, actions),
            Command::Drain => {
                tracing::info!(worker = %self.settings.worker, "being drained: what runs here will be stopped when the leader says so");
            }
        }
    }

    fn on_assign(
        &mut self,
        now: Timestamp,
        assignment: Box<Assignment>,
        actions: &mut Vec<Action>,
    ) {
        let is_known_to_leader = matches!(self.phase, Phase::Registered(_) | Phase::Registering);
        let (workload, attempt) = (assignment.workload, assignment.attempt);
        let known = self.known.get(&workload).map(|known| known.attempt);
        let known = known.filter(|_| !planted!(EndedAttemptForgotten));
        if !self.lease.covers(assignment.heartbeat_sequence, now) {
            mark!(AssignmentOutlivedItsHeartbeat);
        }
        if known.is_some_and(|known| attempt < known) {
            mark!(OlderAssignment);
        }
        if !is_known_to_leader
            || !self.lease.covers(assignment.heartbeat_sequence, now)
            || known.is_some_and(|known| attempt <= known)
        {
            return;
        }
        // The processes of an older attempt, or of one that is not ours any more, are still dying.
        // The leader repeats itself.
        let is_dying = |held: &Held| held.is_running();
        if self.held.get(&workload).is_some_and(is_dying) {
            mark!(AssignedWhileDying);
            return;
        }
        let mut alive = self.held.values().filter(|held| held.is_running());
        let is_full = alive.by_ref().count() >= self.settings.capacity as usize;
        if is_full && self.held.values().any(|held| held.is_forgotten) {
            return;
        }
        self.extend_lease(now, assignment.heartbeat_sequence, actions);
        if let Some(older) = self.held.remove(&workload) {
            self.requests
                .retain(|_, pending| !pending.about.is_of(workload, older.attempt));
        }
        self.remember(workload, attempt);
        let mut held = Held::new(now, &assignment);
        let refusal = if self.shutdown.is_some() {
            Some(Cause::Drained)
        } else if is_full
            || !self
                .settings
                .capabilities
                .contains(&assignment.workload_type)
        {
            Some(Cause::Refused)
        } else {
            None
        };
        if let Some(cause) = refusal {
            mark!(AssignmentRefused);
            held.stage = Stage::Reported;
            self.held.insert(workload, held);
            self.report_stopped(now, workload, attempt, cause, actions);
            return;
        }
        self.held.insert(workload, held);
        actions.push(Action::Start(assignment));
        let about = About::Started(workload, attempt);
        let body = of(workload, attempt);
        self.request(now, about, "workload.started", body, actions);
    }

    pub(super) fn on_stop(&mut self, now: Timestamp, order: &StopOrder, actions: &mut Vec<Action>) {
        let (workload, attempt) = (order.workload, order.attempt);
        if let Some(held) = self.held.get_mut(&workload)
            && held.attempt == attempt
        {
            // The leader asks after it: it is to hear of its end after all.
            held.is_forgotten = false;
            let deadline = now.plus(order.deadline);
            self.begin_stop(workload, order.cause, deadline, actions);
            return;
        }
        mark!(StopOfUnknownAttempt);
        if planted!(UnknownStopIgnored) {
            return;
        }
        self.remember(workload, attempt);
        let about = About::LastReport(workload, attempt);
        let is_said = self.requests.values().any(|pending| pending.about == about);
        if !is_said {
            self.report_stopped(now, workload, attempt, order.cause, actions);
        }
    }

    pub(super) fn report_stopped(
        &mut self,
        now: Timestamp,
        workload: niyanta_core::ids::WorkloadId,
        attempt: niyanta_core::ids::Attempt,
        cause: Cause,
        actions: &mut Vec<Action>,
    ) {
        let body = wire::Stopped {
            of: of(workload, attempt),
            cause: cause.to_string(),
            checkpoint_sequence: None,
        };
        let about = About::LastReport(workload, attempt);
        self.request(now, about, "workload.stopped", body, actions);
    }
}
