//! What the leader has had time to see, as far as an outsider can tell.
//!
//! Fairness is owed among what the leader can know. It may know nothing of a workload whose hint was
//! lost until a sweep comes by its page, and sweeps of a leader that was just elected, was paused or
//! whose statements fail come late. So fairness is judged only while one leader has led without such
//! trouble for longer than a whole round of its sweep takes.

use super::{Observation, View};
use crate::clock::Moment;
use niyanta_core::{
    Event, PersistOutcome,
    ids::{Generation, Incarnation, WorkerId},
    time::Duration,
};
use std::collections::BTreeMap;

/// What the present leader has had time to see.
#[derive(Debug, Default)]
pub(crate) struct Sight {
    leader: Option<Leader>,
}

#[derive(Debug)]
struct Leader {
    place: usize,
    term: Generation,
    /// Since when nothing troubled it; nothing before its snapshot.
    calm_since: Option<Moment>,
    /// When it was last seen at work: it may be paused, or gone, for all that anybody knows.
    at_work: Moment,
    /// The most that waited at once since then.
    most_waiting: usize,
    /// When each incarnation was heard in this term: since when without a gap, and last.
    heard: BTreeMap<(WorkerId, Incarnation), (Moment, Moment)>,
}

impl Sight {
    pub(crate) fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) {
        match observation {
            Observation::Handled {
                place, event, term, ..
            } => self.handled(view, *place, event, *term),
            Observation::CoordinatorGone { place } => {
                self.leader.take_if(|leader| leader.place == *place);
            }
            Observation::CoordinatorResumed { place, .. }
            | Observation::ListeningInterrupted { place } => self.trouble(view, *place),
            Observation::WordReached { place, said } => {
                let Some(leader) = &mut self.leader else {
                    return;
                };
                if let (true, true, Ok(who)) =
                    (leader.place == *place, said.renews_lease(), &said.read)
                {
                    let key = (who.worker.clone(), who.incarnation.clone());
                    let heard = leader.heard.entry(key).or_insert((view.now, view.now));
                    if view.now.since(heard.1) > LONGEST_GAP {
                        heard.0 = view.now;
                    }
                    heard.1 = view.now;
                }
            }
            Observation::Committed { .. } => {
                if let Some(leader) = &mut self.leader {
                    let waiting = view.ledger.waiting_count();
                    leader.most_waiting = leader.most_waiting.max(waiting);
                }
            }
            _ => {}
        }
    }

    fn handled(&mut self, view: View<'_>, place: usize, event: &Event, term: Option<Generation>) {
        let Some(term) = term else {
            self.leader.take_if(|leader| leader.place == place);
            return;
        };
        let is_new = self
            .leader
            .as_ref()
            .is_none_or(|leader| (leader.place, leader.term) != (place, term));
        if is_new {
            self.leader = Some(Leader {
                place,
                term,
                calm_since: None,
                at_work: view.now,
                most_waiting: 0,
                heard: BTreeMap::new(),
            });
        }
        let troubles = match event {
            Event::Loaded { rows: None, .. }
            | Event::LeaseUnanswered { .. }
            | Event::SnapshotFailed { .. }
            | Event::SnapshotLoaded { .. } => true,
            Event::PersistAnswered { outcome, .. } => *outcome != PersistOutcome::Applied,
            _ => false,
        };
        let was_away = self.is_away(view);
        if troubles || was_away {
            self.trouble(view, place);
        }
        if let Some(leader) = &mut self.leader {
            leader.at_work = view.now;
        }
        if let (Some(leader), Event::SnapshotLoaded { .. }) = (&mut self.leader, event) {
            leader.calm_since = Some(view.now);
        }
    }

    fn trouble(&mut self, view: View<'_>, place: usize) {
        if let Some(leader) = &mut self.leader
            && leader.place == place
        {
            leader.calm_since = leader.calm_since.map(|_| view.now);
            leader.most_waiting = view.ledger.waiting_count();
        }
    }

    /// The leader has not even made a sweep lately.
    fn is_away(&self, view: View<'_>) -> bool {
        self.leader.as_ref().is_some_and(|leader| {
            let interval = view.plan.coordinators[leader.place].interval;
            view.now.since(leader.at_work) > interval * 2
        })
    }

    /// Where the leader runs, and how long whatever waits must have waited, in its clock or any
    /// other, to have been in its sight; nothing while it owes nothing.
    pub(crate) fn owes(&self, view: View<'_>) -> Option<(usize, Duration)> {
        let leader = self.leader.as_ref().filter(|_| !self.is_away(view))?;
        let calm = view.now.since(leader.calm_since?);
        let bound = round_of_sweep(view, leader.place, leader.most_waiting);
        (calm > bound).then_some((leader.place, bound))
    }

    /// Since when the leader has heard from an incarnation without a long gap.
    pub(crate) fn heard_since(
        &self,
        view: View<'_>,
        worker: &WorkerId,
        incarnation: &Incarnation,
    ) -> Option<Moment> {
        let leader = self.leader.as_ref()?;
        let key = (worker.clone(), incarnation.clone());
        let (since, last) = leader.heard.get(&key)?;
        (view.now.since(*last) <= LONGEST_GAP).then_some(*since)
    }
}

/// Within this every workload that waits was considered: each sweep reads one page of `load_limit`,
/// so a round takes as many sweeps as there are pages, one more because it may just have begun, and
/// one for the page that is being read; then the load and the commit must be answered.
pub(crate) fn round_of_sweep(view: View<'_>, place: usize, waiting: usize) -> Duration {
    let plan = &view.plan.coordinators[place];
    let page = usize::try_from(plan.load_limit)
        .unwrap_or(usize::MAX)
        .max(1);
    let pages = u32::try_from(waiting.div_ceil(page)).unwrap_or(u32::MAX);
    // Its clock may be slow by a hundredth.
    let sweeps = plan.interval * (pages + 2);
    sweeps + sweeps / 100 + STATEMENT_TIMEOUT * 2
}

/// Workers that are silent for longer may be out of the leader's sight: less than half a lease.
const LONGEST_GAP: Duration = Duration::from_millis(1_600);

/// An answer that takes longer is given up.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(3);
