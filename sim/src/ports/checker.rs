//! What is seen where production code runs on simulated time, told to the properties.
//!
//! The same property files that judge the event simulation judge runs of the production driver, API
//! and worker: this turns commits of the store model, what drivers handled and carried out, what
//! workers truly ran and what callers were told into their observations. It also chains every one of
//! them into the run's hash. Owns no judgement but two that need what only this level has: a
//! submission that was denied and lands later under an id that its caller never learned, and what
//! another customer's key was shown (P18).

mod calls;
mod drivers;
mod work;

pub use calls::{Asked, CALL_LABEL, submission_of};
pub use drivers::Watching;
pub use work::Running;

use super::{
    SimStore, Time,
    store::{Database, Witness},
};
use crate::{
    clock::{Clock, Moment},
    model::store::{Change, LeaseStep, Store as Model},
    plan::Plan,
    properties::{Observation, Properties, Violation},
    trace::{Line, Trace},
};
use niyanta_core::{
    ids::{Generation, Incarnation, WorkerId, WorkloadId},
    time::Duration,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Sees a run. Clones see the same one.
#[derive(Clone)]
pub struct Checker {
    store: SimStore,
    time: Time,
    seen: Arc<Mutex<Seen>>,
}

/// What was seen so far.
struct Seen {
    properties: Properties,
    own: Option<Violation>,
    trace: Trace,
    now: Moment,
    counts: Counts,
    leader: Option<(Incarnation, Generation)>,
    /// Submissions that were denied, by the label they carried.
    denied: BTreeSet<u64>,
    /// What submissions made, by the label they carried.
    made: BTreeMap<u64, WorkloadId>,
    last_call: u64,
    /// Where each living coordinator's process is.
    places: BTreeMap<Incarnation, usize>,
    /// Submissions, by the label they carry.
    asked: BTreeMap<u64, Asked>,
    /// Where each worker is, and its clock.
    worker_places: BTreeMap<WorkerId, (usize, Clock)>,
    /// The incarnation that is alive at each worker's place.
    workers: BTreeMap<usize, Incarnation>,
    /// When the worker at a place was scheduled again, if it ever was paused.
    resumed: BTreeMap<usize, Moment>,
}

/// How much happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Times that another process took the lease than the one that held it.
    pub leader_changes: u64,
    /// Batches that landed.
    pub batches: u64,
    /// Submissions that landed.
    pub submissions: u64,
    /// Attempts that workers began.
    pub attempts: u64,
    /// Calls that were answered.
    pub calls: u64,
    /// Calls whose outcome their caller does not know.
    pub unknown_calls: u64,
    /// Observations.
    pub steps: u64,
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checker")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

impl Checker {
    /// Sees everything that this store commits from now on, and what it is shown. The plan says what
    /// properties may know of the run.
    #[must_use]
    pub fn new(plan: &Plan, store: SimStore, time: Time, story: bool) -> Self {
        let seen = Seen {
            properties: Properties::new(plan),
            own: None,
            trace: Trace::new(story),
            now: Moment::default(),
            counts: Counts::default(),
            leader: None,
            denied: BTreeSet::new(),
            made: BTreeMap::new(),
            last_call: 0,
            asked: BTreeMap::new(),
            places: BTreeMap::new(),
            worker_places: BTreeMap::new(),
            workers: BTreeMap::new(),
            resumed: BTreeMap::new(),
        };
        let seen = Arc::new(Mutex::new(seen));
        store.witnessed_by(Box::new(Landings(Arc::clone(&seen))));
        Self { store, time, seen }
    }

    /// Shows something to all properties.
    pub fn observe(&self, observation: &Observation<'_>) {
        let now = self.time.now();
        self.store
            .look(|database| self.seen().observe(now, database.model(), observation));
    }

    /// Who holds the lease, as the database last had it.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        let seen = self.seen();
        let (incarnation, _) = seen.leader.as_ref()?;
        seen.places.get(incarnation).copied()
    }

    /// True time.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.time.now()
    }

    /// Where true time comes from.
    #[must_use]
    pub fn time(&self) -> Time {
        self.time.clone()
    }

    /// The first property that did not hold.
    #[must_use]
    pub fn violation(&self) -> Option<Violation> {
        let seen = self.seen();
        let first = seen.properties.violation().or(seen.own.as_ref());
        first.cloned()
    }

    /// The chained hash of all observations.
    #[must_use]
    pub fn hash(&self) -> u128 {
        self.seen().trace.hash()
    }

    /// How much happened.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let seen = self.seen();
        Counts {
            steps: seen.trace.steps(),
            ..seen.counts
        }
    }

    /// The story so far, if one is told.
    #[must_use]
    pub fn story(&self) -> Vec<Line> {
        self.seen().trace.story().to_vec()
    }

    /// Adds to the story and the hash what the simulation itself does.
    pub fn tell(&self, who: &str, text: &str) {
        let now = self.time.now();
        let mut seen = self.seen();
        let now = seen.step(now);
        seen.trace.fold_debug(&text);
        seen.trace.tell(now, who, || text.to_owned());
    }

    /// Everything stands still and is as it should be.
    pub fn settled(&self) {
        self.observe(&Observation::Settled);
    }

    /// Something did not come to rest within the bound.
    pub fn stuck(&self, why: &str, bound: Duration) {
        self.observe(&Observation::Stuck { why, bound });
    }

    /// A property that only this level can judge did not hold.
    pub fn violate(&self, property: &'static str, what: String) {
        let now = self.time.now();
        self.seen().violate(now, property, what);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the database, as no party of the simulation can.
    pub fn look<T>(&self, look: impl FnOnce(&Database) -> T) -> T {
        self.store.look(look)
    }
}

impl Seen {
    /// Parties run one after the other within a moment of the simulation's, so that their clocks may
    /// seem to go back by it: what is seen later did not happen earlier.
    fn step(&mut self, now: Moment) -> Moment {
        self.now = self.now.max(now);
        self.trace.step(self.now);
        self.now
    }

    fn observe(&mut self, now: Moment, store: &Model, observation: &Observation<'_>) {
        let now = self.step(now);
        self.trace.fold_debug(observation);
        if self.trace.is_told() {
            self.trace.tell(now, "seen", || words(observation));
        }
        self.properties
            .observe(now, store, observation, &mut self.trace);
    }

    fn violate(&mut self, now: Moment, property: &'static str, what: String) {
        let at = self.step(now);
        let step = self.trace.steps();
        self.trace
            .tell(at, property, || format!("VIOLATED: {what}"));
        self.own.get_or_insert(Violation {
            property,
            at,
            step,
            what,
        });
    }

    fn count(&mut self, change: &Change) {
        match change {
            Change::Lease {
                step: LeaseStep::Taken { .. },
                after,
                ..
            } => {
                let before = self.leader.as_ref().map(|(who, _)| who);
                let is_other = before.is_some_and(|who| *who != after.incarnation);
                self.counts.leader_changes += u64::from(is_other);
                self.leader = Some((after.incarnation.clone(), after.generation));
            }
            Change::Batch { .. } => self.counts.batches += 1,
            Change::Submitted { .. } => self.counts.submissions += 1,
            Change::Lease { .. } | Change::Wished { .. } | Change::Limited { .. } => {}
        }
    }
}

/// The store's witness.
struct Landings(Arc<Mutex<Seen>>);

impl Witness for Landings {
    fn committed(&mut self, now: Moment, database: &Database, change: &Change) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.count(change);
        seen.observe(now, database.model(), &Observation::Committed { change });
        if let Change::Submitted { workload, .. } = change {
            seen.landed(now, database, *workload);
        }
    }
}

/// An observation in a line.
fn words(observation: &Observation<'_>) -> String {
    let mut text = format!("{observation:?}");
    if let Some((end, _)) = text.char_indices().nth(LINE_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

const LINE_MAX: usize = 400;
