//! What coordinators do, as the production sources show it on this thread.

use super::Checker;
use crate::properties::Observation;
use niyanta_core::{ids::Incarnation, invariants};
use runtime::watch::{self, Inside};

impl Checker {
    /// Sees what goes on inside every process of this thread, until this is dropped.
    pub fn watch_this_thread(&self) -> Watching {
        let checker = self.clone();
        watch::watched_by(Some(Box::new(move |inside| checker.inside(inside))));
        Watching
    }

    /// A coordinator's process starts; its core is made later.
    pub fn coordinator_starts(&self, place: usize, incarnation: &Incarnation) {
        let mut seen = self.seen();
        seen.places.retain(|_, other| *other != place);
        seen.places.insert(incarnation.clone(), place);
    }

    /// A coordinator's process is gone.
    pub fn coordinator_gone(&self, place: usize) {
        self.seen().places.retain(|_, other| *other != place);
        self.observe(&Observation::CoordinatorGone { place });
    }

    fn inside(&self, inside: &Inside<'_>) {
        match inside {
            Inside::Made { who, now, config } => {
                if let Some(place) = self.place_of(who) {
                    self.observe(&Observation::CoordinatorStarted {
                        place,
                        config,
                        local: *now,
                    });
                }
            }
            Inside::Handled {
                who,
                now,
                event,
                effects,
                core,
            } => {
                let Some(place) = self.place_of(who) else {
                    return;
                };
                self.observe(&Observation::Handled {
                    place,
                    local: *now,
                    event,
                    effects,
                    term: crate::machine::term(core, *now),
                    broken: &invariants::check(core),
                });
            }
            Inside::CarriedOut { who, effect } => {
                if let Some(place) = self.place_of(who) {
                    self.observe(&Observation::CarriedOut { place, effect });
                }
            }
            Inside::WorkerStepped {
                worker,
                event,
                actions,
                machine,
                ..
            } => self.worker_stepped(worker, event, actions, machine.incarnation()),
        }
    }

    fn place_of(&self, incarnation: &Incarnation) -> Option<usize> {
        self.seen().places.get(incarnation).copied()
    }
}

/// Ends the watch of this thread when it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Watching;

impl Drop for Watching {
    fn drop(&mut self) {
        watch::watched_by(None);
    }
}
