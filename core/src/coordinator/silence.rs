//! Workers that are not heard: quiet, past their lease, dead.
//!
//! Owns the verdicts and what they end. Keeps: judged only up to what has been listened to (P15), and
//! the end of a lease is the one thing that silence proves (design, section 5).

use super::term::Term;
use crate::{
    fleet::{Presence, Silence, Worker},
    ids::WorkerId,
    probes::{mark, planted},
    time::{Duration, Timestamp},
    workload::{OnLeaseLoss, Over},
};

impl Term {
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
        self.show_placeable(id);
    }

    /// The lease is over, with its margin: so is everything that ends with it.
    fn lapse(&mut self, id: &WorkerId) {
        let Some(worker) = self.fleet.get_mut(id) else {
            return;
        };
        if worker.presence == Presence::Lapsed {
            return;
        }
        if worker.presence == Presence::Unheard {
            mark!(UnheardWorkerLapsed);
        }
        worker.presence = Presence::Lapsed;
        let ends_all = worker.is_dead();
        self.show_placeable(id);
        self.call_over(id, Over::Lost, |policy| {
            ends_all || policy == OnLeaseLoss::Stop
        });
    }

    /// Silent for too long: DEAD, and everything of it is given away.
    fn bury(&mut self, id: &WorkerId) {
        if self.fleet.get(id).is_some_and(Worker::is_dead) {
            return;
        }
        mark!(WorkerCalledDead);
        self.end_incarnation(id);
        if planted!(DeadKeepsContinuing) {
            return;
        }
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
}
