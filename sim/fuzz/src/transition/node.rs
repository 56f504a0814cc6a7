//! A coordinator of the world: the production core, and the little of its driver that matters.

use niyanta_core::{
    Config, Coordinator, Effect, Event, PersistOutcome,
    ids::{AskId, BatchNumber, Generation, Incarnation, LoadId, RequestId},
    time::{Duration, Timestamp},
};
use std::collections::{BTreeSet, VecDeque};

/// The connections of a driver: each carries one question after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// The lease's.
    Lease,
    /// Commits and fences.
    Commit,
    /// Snapshots and loads.
    Load,
}

impl Line {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Lease, Self::Commit, Self::Load];

    /// The one that carries this; nothing when it is no question.
    #[must_use]
    pub const fn of(effect: &Effect) -> Option<Self> {
        match effect {
            Effect::TakeLease { .. }
            | Effect::ReadLease { .. }
            | Effect::RenewLease { .. }
            | Effect::ResignLease { .. } => Some(Self::Lease),
            Effect::Persist(_) | Effect::ReadFence { .. } => Some(Self::Commit),
            Effect::LoadSnapshot { .. } | Effect::Load { .. } => Some(Self::Load),
            Effect::AnnounceResignation { .. }
            | Effect::AnnounceLeader { .. }
            | Effect::ProbeBroker { .. }
            | Effect::RecordPendingReasons { .. }
            | Effect::RecordHeartbeats { .. }
            | Effect::Reply { .. }
            | Effect::Forget { .. }
            | Effect::Assign { .. }
            | Effect::Stop { .. }
            | Effect::DrainWorker { .. }
            | Effect::Exit { .. } => None,
        }
    }
}

/// What a coordinator last asked for, for those who want to lie about it.
#[derive(Debug, Default)]
pub struct Asked {
    /// Of the lease.
    pub ask: AskId,
    /// For rows.
    pub load: LoadId,
    /// To be committed.
    pub batch: BatchNumber,
}

/// A coordinator.
#[derive(Debug)]
pub struct Node {
    /// The state machine.
    pub core: Coordinator,
    /// This start of it.
    pub incarnation: Incarnation,
    /// How far its clock is from the world's.
    pub offset: Duration,
    /// How often it was started.
    pub starts: u32,
    /// It is not scheduled.
    pub is_frozen: bool,
    /// The broker does not carry its words.
    pub is_deaf: bool,
    /// The lines whose questions wait.
    pub holds: [bool; 3],
    /// Questions that wait, in the order they were asked.
    pub waiting: VecDeque<Effect>,
    /// Statements that nobody waits for any more, and that may be carried out all the same; with
    /// who asked, who may be dead.
    pub orphans: VecDeque<(Incarnation, Effect)>,
    /// What comes while it is not scheduled.
    pub missed: VecDeque<Event>,
    /// What its next batches are answered, and whether they are applied.
    pub outcomes: VecDeque<(PersistOutcome, bool)>,
    /// Requests that are not answered.
    pub requests: BTreeSet<RequestId>,
    /// The greatest term that it has spoken in.
    pub term: Generation,
    /// What it asked last.
    pub asked: Asked,
}

impl Node {
    /// A coordinator that is just started.
    #[must_use]
    pub fn start(place: usize, starts: u32, base: &Config, now: Timestamp) -> Self {
        let incarnation: Incarnation = super::world::name(&format!("c{place}-{starts}"));
        let config = Config {
            incarnation: incarnation.clone(),
            seed: base.seed.wrapping_add(u64::try_from(place).unwrap_or(0)),
            ..base.clone()
        };
        // Nobody's clock has to do with another's.
        let offset = Duration::from_secs(1_000) * u32::try_from(place).unwrap_or(0);
        Self {
            core: Coordinator::new(config, now.plus(offset)),
            incarnation,
            offset,
            starts,
            is_frozen: false,
            is_deaf: false,
            holds: [false; 3],
            waiting: VecDeque::new(),
            orphans: VecDeque::new(),
            missed: VecDeque::new(),
            outcomes: VecDeque::new(),
            requests: BTreeSet::new(),
            term: Generation::ZERO,
            asked: Asked::default(),
        }
    }

    /// When it wants to be woken, by the world's clock.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        let deadline = self.core.next_deadline().filter(|_| !self.is_frozen)?;
        Some(deadline.at.minus(self.offset))
    }

    /// Nobody waits for this statement any more; it may be carried out later.
    pub fn give_up(&mut self, effect: Effect) {
        self.orphans.push_back((self.incarnation.clone(), effect));
        if self.orphans.len() > ORPHANS_MAX {
            self.orphans.pop_front();
        }
    }

    /// Notes what is asked.
    pub fn note(&mut self, effect: &Effect) {
        match effect {
            Effect::TakeLease { ask, .. }
            | Effect::ReadLease { ask, .. }
            | Effect::RenewLease { ask, .. } => self.asked.ask = *ask,
            Effect::Load { load, .. } => self.asked.load = *load,
            Effect::Persist(batch) => self.asked.batch = batch.number,
            Effect::ResignLease { .. }
            | Effect::AnnounceResignation { .. }
            | Effect::AnnounceLeader { .. }
            | Effect::ProbeBroker { .. }
            | Effect::LoadSnapshot { .. }
            | Effect::ReadFence { .. }
            | Effect::RecordPendingReasons { .. }
            | Effect::RecordHeartbeats { .. }
            | Effect::Reply { .. }
            | Effect::Forget { .. }
            | Effect::Assign { .. }
            | Effect::Stop { .. }
            | Effect::DrainWorker { .. }
            | Effect::Exit { .. } => {}
        }
    }
}

/// Statements that were given up and may still be carried out.
const ORPHANS_MAX: usize = 16;
