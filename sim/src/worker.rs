//! A worker: the production machine of the reference worker, and the children that it runs.
//!
//! Owns what the machine's shell would own: the machine, its settings and its children's scripts.
//! Decides nothing about leases, reports or registration: that is [`runtime::worker::machine`]'s,
//! fed with the bytes that arrive and asked what to do. Properties do not look in here: they see
//! [`Deed`]s, which are what somebody beside the machine could note down.

mod child;

pub use child::{Child, End, KILL_LONGEST, RUN_LONGEST, Script, Stage, StopManner};

use crate::{
    message::{Answered, Command, Said},
    trace::Trace,
};
use niyanta_core::{
    ids::{Attempt, Generation, Incarnation, WorkerId, WorkloadId, WorkloadType},
    scheduling::Tags,
    time::{Timestamp, WallTime},
};
use runtime::worker::machine::{Action, Event, Machine, Settings};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What a worker process is told by its deployment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Profile {
    /// Its id; two processes may have the same by mistake.
    #[serde(with = "crate::schedule::text")]
    pub worker: WorkerId,
    /// What it can run.
    #[serde(with = "crate::schedule::text::list")]
    pub capabilities: BTreeSet<WorkloadType>,
    /// How many at once.
    pub capacity: u32,
    /// Its labels.
    pub tags: Tags,
}

/// What a worker truly heard, said and did.
#[derive(Debug, Clone)]
pub enum Deed {
    /// It sent this to the coordinators.
    Said(Arc<Said>),
    /// An answer to a request of this incarnation was read.
    HeardAnswer(Arc<Answered>),
    /// A command for this incarnation was read.
    HeardCommand(Arc<Command>),
    /// `leader.elected` was read.
    HeardElected(Generation),
    /// What was read last came from this term, a higher one had been read before, and something
    /// came of it all the same.
    ObeyedOld {
        /// The term that spoke.
        generation: Generation,
        /// The highest read before.
        seen: Generation,
    },
    /// A child began to run an attempt.
    Began {
        /// Which workload.
        workload: WorkloadId,
        /// Which attempt.
        attempt: Attempt,
        /// It goes on when the lease ends.
        outlives_lease: bool,
    },
    /// A child came to its own end.
    Finished {
        /// Which workload.
        workload: WorkloadId,
        /// Which attempt.
        attempt: Attempt,
        /// It did its work.
        completed: bool,
    },
    /// A child is being killed.
    Killing(WorkloadId, Attempt),
    /// A child runs no more.
    Ended(WorkloadId, Attempt),
    /// The process ends because it wants to.
    Exit {
        /// The leader refused it.
        refused: bool,
    },
}

impl Deed {
    /// Folds it into the hash of a run.
    pub fn fold_into(&self, trace: &mut Trace) {
        let of = |workload: &WorkloadId, attempt: &Attempt| {
            let low = u64::try_from(workload.0 & u128::from(u64::MAX)).unwrap_or(0);
            low ^ u64::from(attempt.0) << 48
        };
        match self {
            Self::Said(said) => {
                trace.fold(1);
                trace.fold_bytes(&said.bytes);
            }
            Self::HeardAnswer(answered) => {
                trace.fold(2);
                trace.fold(answered.sequence.0);
            }
            Self::HeardCommand(command) => {
                trace.fold(3);
                trace.fold(command.generation.0);
            }
            Self::HeardElected(generation) => {
                trace.fold(4);
                trace.fold(generation.0);
            }
            Self::ObeyedOld { generation, .. } => {
                trace.fold(5);
                trace.fold(generation.0);
            }
            Self::Began {
                workload, attempt, ..
            } => {
                trace.fold(6);
                trace.fold(of(workload, attempt));
            }
            Self::Finished {
                workload, attempt, ..
            } => {
                trace.fold(7);
                trace.fold(of(workload, attempt));
            }
            Self::Killing(workload, attempt) => {
                trace.fold(8);
                trace.fold(of(workload, attempt));
            }
            Self::Ended(workload, attempt) => {
                trace.fold(9);
                trace.fold(of(workload, attempt));
            }
            Self::Exit { refused } => {
                trace.fold(10);
                trace.fold(u64::from(*refused));
            }
        }
    }
}

/// One process of a worker, with its children.
#[derive(Debug)]
pub struct Worker {
    profile: Profile,
    machine: Machine,
    /// The highest term that it has read of.
    seen: Generation,
    /// When its guards kill what dies with the lease, whether or not it is scheduled.
    pub guarded_until: Timestamp,
    /// What truly runs.
    pub children: BTreeMap<(WorkloadId, Attempt), Child>,
}

impl Worker {
    /// A process that has not said anything yet.
    #[must_use]
    pub fn start(
        profile: Profile,
        incarnation: Incarnation,
        replaces: Option<Incarnation>,
        seed: u64,
    ) -> Self {
        let settings = Settings {
            worker: profile.worker.clone(),
            incarnation,
            capabilities: profile.capabilities.clone(),
            capacity: profile.capacity,
            tags: profile
                .tags
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            version: "sim".to_owned(),
            replaces,
            seed,
        };
        Self {
            profile,
            machine: Machine::new(settings),
            seen: Generation::ZERO,
            guarded_until: Timestamp::ZERO,
            children: BTreeMap::new(),
        }
    }

    /// Hands something to the machine.
    pub fn handle(
        &mut self,
        now: Timestamp,
        wall: WallTime,
        event: Event,
        actions: &mut Vec<Action>,
    ) {
        self.machine.handle(now, wall, event, actions);
    }

    /// Notes that a word of this term was read; gives the highest read before.
    pub fn note_generation(&mut self, generation: Generation) -> Generation {
        let before = self.seen;
        self.seen = before.max(generation);
        before
    }

    /// What an outsider can see of the machine beside its actions.
    #[must_use]
    pub fn face(&self) -> Face {
        Face {
            deadline: self.machine.next_deadline(),
            running: self.machine.running().collect(),
            registered: self.machine.is_registered(),
            incarnation: self.machine.incarnation().clone(),
        }
    }

    /// When it must be woken next.
    #[must_use]
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.machine.next_deadline()
    }

    /// This start of it, as the leader knows it.
    #[must_use]
    pub const fn incarnation(&self) -> &Incarnation {
        self.machine.incarnation()
    }

    /// What the deployment says of it.
    #[must_use]
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }
}

/// What can be asked of a machine: two that are equal stand the same for everybody outside.
#[derive(Debug, PartialEq, Eq)]
pub struct Face {
    deadline: Option<Timestamp>,
    running: Vec<(WorkloadId, Attempt)>,
    registered: bool,
    incarnation: Incarnation,
}
