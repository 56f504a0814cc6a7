//! What coordinators do, as the production sources show it on this thread.

use super::Checker;
use crate::{
    message::{Inbox, Said},
    properties::Observation,
};
use niyanta_core::{
    ids::{Generation, Incarnation},
    invariants,
    time::Duration,
};
use runtime::{
    broker::Message,
    protocol,
    watch::{self, Inside},
};

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

    /// A coordinator's process is scheduled again.
    pub fn coordinator_resumed(&self, place: usize, paused: Duration) {
        self.observe(&Observation::CoordinatorResumed { place, paused });
    }

    /// Something of a worker's lies in the subscription of a coordinator's process. What nobody can
    /// read breaks no silence.
    pub fn word_reached(&self, place: usize, message: &Message) {
        let read = protocol::decode(&message.payload);
        if read.is_err() {
            return;
        }
        let said = Said {
            inbox: Inbox { place, epoch: 0 },
            is_log: false,
            read,
            bytes: message.payload.clone(),
        };
        self.observe(&Observation::WordReached { place, said: &said });
    }

    /// Words may have been missed by a coordinator's process, and its connection knows.
    pub fn listening_interrupted(&self, place: usize) {
        self.observe(&Observation::ListeningInterrupted { place });
    }

    /// A coordinator's process hands a word of a term to the broker.
    pub fn spoken(&self, place: usize, generation: Generation) {
        self.observe(&Observation::Spoken { place, generation });
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
