//! A worker's process in a small world: the production machine, and children that do as told.

use crate::scope::Scope;
use bytes::Bytes;
use niyanta_core::{
    ids::{Attempt, Incarnation, WorkerId, WorkloadId, WorkloadType},
    time::{Timestamp, WallTime},
};
use runtime::worker::machine::{Action, Event, Machine, Outcome, Settings};
use std::collections::BTreeSet;

/// A process.
#[derive(Debug, Clone)]
pub struct Process {
    /// Under which id.
    pub worker: WorkerId,
    /// The state machine.
    pub machine: Machine,
    /// How often a process was started at this place.
    pub starts: u32,
    /// What its children run.
    pub running: BTreeSet<(WorkloadId, Attempt)>,
    /// When the guards end the children, whether or not the process is scheduled.
    pub guarded_until: Timestamp,
    /// It wanted to end.
    pub is_gone: bool,
}

/// What every worker here can run.
#[must_use]
pub fn kind() -> WorkloadType {
    match "sleep".parse() {
        Ok(kind) => kind,
        Err(invalid) => unreachable!("{invalid}"),
    }
}

/// The id of the worker with this number.
#[must_use]
pub fn id(number: usize) -> WorkerId {
    match format!("w{number}").parse() {
        Ok(id) => id,
        Err(invalid) => unreachable!("{invalid}"),
    }
}

fn name(place: usize, starts: u32) -> Incarnation {
    match format!("p{place}-{starts}").parse() {
        Ok(name) => name,
        Err(invalid) => unreachable!("{invalid}"),
    }
}

impl Process {
    /// A process that is just started, and knows nothing of any before it.
    #[must_use]
    pub fn start(place: usize, worker: WorkerId, starts: u32) -> Self {
        let settings = Settings {
            worker: worker.clone(),
            incarnation: name(place, starts),
            capabilities: [kind()].into(),
            capacity: Scope::CAPACITY,
            tags: Default::default(),
            version: "1".to_owned(),
            replaces: None,
            seed: 3,
        };
        Self {
            worker,
            machine: Machine::new(settings),
            starts,
            running: BTreeSet::new(),
            guarded_until: Timestamp::ZERO,
            is_gone: false,
        }
    }

    /// Whether it must be woken.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.machine.next_deadline().is_some_and(|at| at <= now)
    }

    /// Hands something to the machine, lets the children do as they are told, and gives what it says.
    pub fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Bytes> {
        let mut said = Vec::new();
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let mut actions = Vec::new();
            self.machine.handle(now, WallTime(0), event, &mut actions);
            for action in actions {
                match action {
                    Action::Send { is_log, bytes, .. } => {
                        if !is_log {
                            said.push(bytes);
                        }
                    }
                    Action::Start(assignment) => {
                        self.running
                            .insert((assignment.workload, assignment.attempt));
                    }
                    Action::Stop {
                        workload, attempt, ..
                    } => {
                        self.running.remove(&(workload, attempt));
                        events.push(ended(workload, attempt, Outcome::Stopped));
                    }
                    Action::Kill { workload, attempt } => {
                        self.running.remove(&(workload, attempt));
                        events.push(ended(workload, attempt, Outcome::Killed));
                    }
                    Action::LeaseExtended(until) => self.guarded_until = until,
                    Action::Exit { .. } => self.is_gone = true,
                }
            }
        }
        said
    }
}

/// An attempt has come to this end.
#[must_use]
pub const fn ended(workload: WorkloadId, attempt: Attempt, outcome: Outcome) -> Event {
    Event::Ended {
        workload,
        attempt,
        outcome,
    }
}
