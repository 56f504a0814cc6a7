//! What goes on inside, shown to the simulator that runs these sources: compiled for it alone.
//!
//! Owns one watcher for each thread. It sees what a machine was given and what it wants done, before
//! anything of that is carried out, and each effect when it is; nothing that it does comes back.
//! Properties that ask what a leader knew and decided need this; what was said and committed they
//! see at the ports.

use crate::worker::machine;
use niyanta_core::{
    Config, Coordinator, Effect, Event,
    ids::{Incarnation, WorkerId},
    time::Timestamp,
};
use std::cell::RefCell;

/// Something that happened inside a process.
#[derive(Debug)]
pub enum Inside<'a> {
    /// A coordinator's core was made.
    Made {
        /// Which start of a coordinator.
        who: &'a Incarnation,
        /// By its clock.
        now: Timestamp,
        /// With what.
        config: &'a Config,
    },
    /// A coordinator's core handled an event.
    Handled {
        /// Which start of a coordinator.
        who: &'a Incarnation,
        /// By its clock.
        now: Timestamp,
        /// The event.
        event: &'a Event,
        /// What it wants done.
        effects: &'a [Effect],
        /// The core, after it.
        core: &'a Coordinator,
    },
    /// A coordinator's driver carries an effect out.
    CarriedOut {
        /// Which start of a coordinator.
        who: &'a Incarnation,
        /// The effect.
        effect: &'a Effect,
    },
    /// A worker's machine handled an event.
    WorkerStepped {
        /// Which worker.
        worker: &'a WorkerId,
        /// By its clock.
        now: Timestamp,
        /// The event.
        event: &'a machine::Event,
        /// What it wants done.
        actions: &'a [machine::Action],
        /// The machine, after it.
        machine: &'a machine::Machine,
    },
}

type Watcher = Box<dyn FnMut(&Inside<'_>)>;

thread_local! {
    static WATCHER: RefCell<Option<Watcher>> = const { RefCell::new(None) };
}

/// Shows what happens on this thread to `watcher`, or to nobody.
pub fn watched_by(watcher: Option<Watcher>) {
    WATCHER.with_borrow_mut(|place| *place = watcher);
}

/// Shows this.
pub(crate) fn show(inside: &Inside<'_>) {
    WATCHER.with_borrow_mut(|watcher| {
        if let Some(watcher) = watcher {
            watcher(inside);
        }
    });
}
