//! What to do when the database refuses a batch for its data: find the offender, set it aside.
//!
//! Owns what is known across terms: whether batches are to hold one change each (careful mode), and
//! what was found to be refused. Invariant: bounded; the oldest offender is forgotten first.

use crate::{
    batch::Batch,
    ids::WorkloadId,
    persist::Source,
    probes::mark,
    time::{Duration, Timestamp},
};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

#[derive(Debug, Clone, Default)]
pub(crate) struct Quarantine {
    /// Batches of one change that are still to land before batches gather again.
    careful: u32,
    sources: BTreeMap<Source, Strikes>,
    order: VecDeque<Source>,
    /// Workloads that nobody's request changed, left alone until then.
    workloads: BTreeMap<WorkloadId, Timestamp>,
}

/// How often a request was refused alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Strikes {
    /// Once: a last report ends its attempt with its content taken as refused.
    Once,
    /// Again, even so.
    Twice,
}

impl Quarantine {
    pub(crate) const fn is_careful(&self) -> bool {
        self.careful > 0
    }

    /// A batch landed.
    pub(crate) const fn note_landed(&mut self) {
        self.careful = self.careful.saturating_sub(1);
    }

    /// A batch was refused: its only source is the offender, or it must be found.
    pub(crate) fn note_refused(
        &mut self,
        batch: &Batch,
        sources: &BTreeSet<Source>,
        now: Timestamp,
    ) {
        if !self.is_careful() {
            mark!(BatchRefused);
            self.careful = CAREFUL_BATCHES;
            return;
        }
        self.careful = 0;
        mark!(OffenderFound);
        for source in sources {
            self.strike(source.clone());
        }
        self.workloads.retain(|_, until| *until > now);
        if sources.is_empty() && self.workloads.len() < OFFENDERS_MAX {
            let until = now.plus(LEFT_ALONE);
            let ids = batch.workloads.iter().map(|write| (write.id, until));
            self.workloads.extend(ids);
        }
    }

    fn strike(&mut self, source: Source) {
        if self.sources.insert(source.clone(), Strikes::Once).is_some() {
            self.sources.insert(source, Strikes::Twice);
            return;
        }
        self.order.push_back(source);
        if self.order.len() > OFFENDERS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.sources.remove(&oldest);
        }
    }

    pub(crate) fn strikes(&self, source: &Source) -> Option<Strikes> {
        self.sources.get(source).copied()
    }

    pub(crate) fn has_workload(&self, id: WorkloadId, now: Timestamp) -> bool {
        self.workloads.get(&id).is_some_and(|until| now < *until)
    }
}

/// Enough for everything that a full batch gathered from.
const CAREFUL_BATCHES: u32 = 2_000;
/// A workload whose change was refused is tried again after this: what refused it may be mended.
const LEFT_ALONE: Duration = Duration::from_secs(600);
const OFFENDERS_MAX: usize = 1_024;
