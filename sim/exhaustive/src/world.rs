//! A small world, and everything that can happen next in it.
//!
//! Owns the state, the list of what is possible, and what each possibility makes of the state. Each
//! coordinator's questions go over three lines ([`Line`]), one after the other on each; everything
//! else is in any order. A broadcast reaches everybody at once, or nobody: who does not lead makes
//! nothing of a worker's words.

mod happening;
mod messages;
mod possible;
mod questions;

use crate::node::Line;
use crate::{
    database::Database,
    node::Node,
    part::{Part, print_of},
    properties::{self, Truth, Violation},
    scope::{Budget, Scope},
    worker::{self, Process},
};
use bytes::Bytes;
use niyanta_core::{
    ids::{Attempt, Generation, WorkerId, WorkloadId},
    time::Timestamp,
    workload::Desired,
};
use runtime::protocol::Incoming;
use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    hash::Hasher as _,
    sync::Arc,
};

/// Everything there is.
#[derive(Debug, Clone)]
pub struct World {
    /// What may still happen.
    pub left: Budget,
    /// Everybody's clock.
    pub now: Timestamp,
    /// The coordinators.
    pub nodes: Vec<Part<Node>>,
    /// The workers' processes.
    pub processes: Vec<Part<Process>>,
    /// The database.
    pub database: Part<Database>,
    /// What is on its way, in the order of the fingerprints.
    pub messages: Vec<Part<Message>>,
    /// What truly came to its own end.
    pub finished: BTreeSet<(WorkloadId, Attempt)>,
    /// Whose customer was told that it wants it cancelled (true) or paused.
    pub wished_away: BTreeMap<WorkloadId, bool>,
    /// Readings of the database, and heartbeats with their answers, take no time.
    pub is_prompt: bool,
    /// What is told of the last step, if anybody listens.
    pub tale: Option<Vec<String>>,
}

/// What is on its way.
#[derive(Debug, Clone)]
pub enum Message {
    /// A worker's words, to every coordinator.
    Said {
        /// From which process.
        process: usize,
        /// What a coordinator reads in it.
        incoming: Arc<Incoming>,
        /// Which copy.
        copy: u8,
    },
    /// To one process.
    Answer {
        /// Which.
        process: usize,
        /// It answers a heartbeat.
        is_heartbeat: bool,
        /// The words.
        bytes: Bytes,
    },
    /// To every process under an id.
    Command {
        /// The id.
        worker: WorkerId,
        /// The words.
        bytes: Bytes,
    },
    /// `leader.elected`, to everybody.
    Elected(Generation, Bytes),
    /// A leader gives up, to the coordinators.
    Resigned(Generation),
    /// Workloads were wished upon.
    Workloads(Vec<WorkloadId>),
    /// Something is wished of workers.
    Workers,
}

/// Something that can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A coordinator's deadline has come.
    Tick(u8),
    /// A worker's deadline has come.
    Wake(u8),
    /// The first question of a line is carried out and answered.
    Answer(u8, Line),
    /// The same, and a little time passes before the answer is there.
    AnswerLate(u8, Line),
    /// The first question of a line is carried out, and its answer is lost.
    LoseAnswer(u8, Line),
    /// The first question of a line is given up; it may be carried out later.
    GiveUp(u8, Line),
    /// A statement that nobody waits for is carried out.
    Orphan(u8, u8),
    /// A message arrives.
    Deliver(u8),
    /// A message is lost.
    Lose(u8),
    /// A message arrives, and will arrive again.
    Double(u8),
    /// An attempt comes to its own end.
    Complete(u8, WorkloadId, Attempt),
    /// An attempt fails.
    Fail(u8, WorkloadId, Attempt),
    /// Somebody wishes something.
    Wish(Wish),
    /// A process dies, or one too many is started.
    Process(ProcessFault),
    /// Time passes.
    Time(Time),
}

/// A wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// The customer's.
    Workload(WorkloadId, Desired),
    /// An operator drains.
    Drain(u8),
}

/// What befalls processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessFault {
    /// A coordinator dies, and is started again.
    Crash(u8),
    /// A worker's process dies with its children, and is started again.
    CrashWorker(u8),
    /// A second process is started under a live worker's id.
    Second(u8),
}

/// How time passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// A little, while things are under way.
    Pause,
    /// Until the leader's lease has ended, while things are under way.
    LeaseEnds,
    /// Until every worker's lease has ended, while things are under way.
    WorkersLeaseEnds,
    /// Nothing is under way: to what is due next.
    Pass,
}

impl Step {
    /// The message that it is about, by its place.
    #[must_use]
    pub fn message(self) -> Option<usize> {
        if let Self::Deliver(index) | Self::Lose(index) | Self::Double(index) = self {
            Some(index.into())
        } else {
            None
        }
    }
}

impl World {
    /// A world in which nobody has been woken.
    #[must_use]
    pub fn new(scope: &Scope) -> Self {
        let now = Timestamp(1_000_000_000_000);
        let nobody = match "nobody".parse() {
            Ok(nobody) => nobody,
            Err(invalid) => unreachable!("{invalid}"),
        };
        Self {
            left: scope.budget,
            now,
            nodes: (0..scope.nodes)
                .map(|place| Part::new(Node::start(place, 1, now)))
                .collect(),
            processes: (0..scope.workers)
                .map(|place| Part::new(Process::start(place, worker::id(place), 1)))
                .collect(),
            database: Part::new(Database::new(&nobody)),
            messages: Vec::new(),
            finished: BTreeSet::new(),
            wished_away: BTreeMap::new(),
            is_prompt: scope.is_prompt,
            tale: None,
        }
    }

    /// The world in which a leader leads, every worker is registered, nothing is under way, and the
    /// workloads have just been submitted.
    ///
    /// # Errors
    /// When that is already wrong.
    pub fn settled(scope: &Scope) -> Result<Self, Violation> {
        let mut world = Self::new(scope);
        world.left = Budget {
            passes: u8::MAX,
            ..Budget::default()
        };
        while !(world.is_quiet() && world.database.workers.len() == scope.workers) {
            let steps = world.steps();
            let step = steps.first().copied().unwrap_or(Step::Time(Time::Pass));
            world = world.after(step)?;
            world.left.passes = u8::MAX;
        }
        let now = world.now;
        let ids: Vec<_> = (1..=scope.workloads)
            .map(|n| WorkloadId(n as u128))
            .collect();
        world.database.change(|database| {
            for id in &ids {
                database.submit(id.0, now, &worker::kind());
            }
        });
        world.send(Message::Workloads(ids));
        world.left = scope.budget;
        Ok(world)
    }

    /// One number for this state.
    #[must_use]
    pub fn print(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.now.0);
        self.nodes
            .iter()
            .for_each(|node| hasher.write_u64(node.print()));
        self.processes
            .iter()
            .for_each(|process| hasher.write_u64(process.print()));
        hasher.write_u64(self.database.print());
        self.messages
            .iter()
            .for_each(|message| hasher.write_u64(message.print()));
        hasher.write_u64(print_of(&(&self.left, &self.finished, &self.wished_away)));
        hasher.finish()
    }

    /// What truly is.
    #[must_use]
    pub fn truth(&self) -> Truth {
        let mut truth = Truth {
            finished: self.finished.clone(),
            ..Truth::default()
        };
        for process in self
            .processes
            .iter()
            .filter(|process| self.now < process.guarded_until)
        {
            for run in &process.running {
                let who = (
                    process.worker.clone(),
                    process.machine.incarnation().clone(),
                );
                truth.running.entry(*run).or_default().push(who);
            }
        }
        truth
    }

    /// Nothing is under way, and nobody is due.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.messages.is_empty()
            && !self
                .nodes
                .iter()
                .any(|node| node.is_due(self.now) || node.lines.iter().any(|line| !line.is_empty()))
            && !self
                .processes
                .iter()
                .any(|process| process.is_due(self.now))
    }

    fn is_done(&self) -> bool {
        self.database
            .workloads
            .values()
            .all(|row| row.leader.status.is_terminal())
            && !self.database.workloads.is_empty()
    }

    /// The world in which this has happened.
    ///
    /// # Errors
    /// What became untrue by it.
    pub fn after(&self, step: Step) -> Result<Self, Violation> {
        let mut world = self.clone();
        world.tale = self.tale.as_ref().map(|_| Vec::new());
        world.take(step)?;
        properties::of_world(&world)?;
        if world.is_quiet() {
            properties::at_rest(&world)?;
        }
        Ok(world)
    }

    fn tell(&mut self, words: impl FnOnce() -> String) {
        if let Some(tale) = &mut self.tale {
            tale.push(words());
        }
    }
}
