//! What a run looks like: bars, arrows and statements, gathered while its story is told.
//!
//! Sees what the properties see, and what is sent. Owns no judgement and no layout: the page draws
//! it. Nothing is gathered in a run that is not told.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what does not last is told in the story, and not drawn as a bar"
)]

use crate::{
    clock::{Clock, Moment},
    model::store::{Change, Lease},
    properties::Observation,
    story::job,
    worker::Deed,
};
use niyanta_core::{
    ids::{Attempt, Generation, WorkloadId},
    time::{Duration, Timestamp},
};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// Everything that can be drawn of a run.
#[derive(Debug, Default, Serialize)]
pub struct Picture {
    /// What lasts.
    pub bars: Vec<Bar>,
    /// What travels.
    pub arrows: Vec<Arrow>,
    /// What is asked of the database.
    pub statements: Vec<Asked>,
    #[serde(skip)]
    open: BTreeMap<(String, Kind, u64), Bar>,
    #[serde(skip)]
    by_id: BTreeMap<u64, usize>,
}

/// Something that lasts.
#[derive(Debug, Clone, Serialize)]
pub struct Bar {
    /// Whose lane.
    pub lane: String,
    /// What it is.
    pub kind: Kind,
    /// From when.
    #[serde(serialize_with = "micros")]
    pub from: Moment,
    /// Until when.
    #[serde(serialize_with = "micros")]
    pub to: Moment,
    /// In a few words.
    pub label: String,
    /// Which term it is of; 0 when of none.
    pub term: u64,
}

/// What a bar is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A process is there.
    Process,
    /// A process is not scheduled.
    Pause,
    /// A coordinator takes itself for the leader.
    Leads,
    /// The database says who leads.
    Lease,
    /// A worker may run what it was given.
    WorkerLease,
    /// An attempt truly runs.
    Attempt,
}

/// Something that travels through the broker, or a call.
#[derive(Debug, Clone, Serialize)]
pub struct Arrow {
    /// From which lane.
    pub from: String,
    /// To which lane.
    pub to: String,
    /// When it is sent.
    #[serde(serialize_with = "micros")]
    pub sent: Moment,
    /// When it arrives; never if it is lost.
    #[serde(serialize_with = "optional_micros")]
    pub arrives: Option<Moment>,
    /// What it says.
    pub text: String,
}

/// A statement on its way to the database and back.
#[derive(Debug, Clone, Serialize)]
pub struct Asked {
    /// By whom.
    pub who: String,
    /// What it says.
    pub text: String,
    /// What was chosen to become of it.
    pub fate: &'static str,
    /// When it is sent.
    #[serde(serialize_with = "micros")]
    pub sent: Moment,
    /// When it is executed, if it is.
    #[serde(serialize_with = "optional_micros")]
    pub executed: Option<Moment>,
    /// What the database answered.
    pub answer: String,
    /// When its asker has the answer, if it gets one.
    #[serde(serialize_with = "optional_micros")]
    pub answered: Option<Moment>,
    /// When its asker stops waiting, if it does.
    #[serde(serialize_with = "optional_micros")]
    pub gave_up: Option<Moment>,
}

impl Picture {
    /// A message or a call is sent.
    pub(crate) fn arrow(&mut self, arrow: Arrow) {
        self.arrows.push(arrow);
    }

    /// A statement is sent.
    pub(crate) fn asked(&mut self, id: u64, asked: Asked) {
        self.by_id.insert(id, self.statements.len());
        self.statements.push(asked);
    }

    /// Something became of a statement.
    pub(crate) fn became(&mut self, id: u64, note: impl FnOnce(&mut Asked)) {
        let index = self.by_id.get(&id);
        if let Some(asked) = index.and_then(|index| self.statements.get_mut(*index)) {
            note(asked);
        }
    }

    /// Whatever still lasts, lasts until now.
    pub(crate) fn end(&mut self, now: Moment) {
        for (_, mut bar) in std::mem::take(&mut self.open) {
            if !matches!(bar.kind, Kind::Lease | Kind::WorkerLease) {
                bar.to = now;
            }
            self.bars.push(bar);
        }
    }

    /// Looks at what the properties look at; they reckon until when the worker at a place holds its
    /// lease.
    pub(crate) fn observe(
        &mut self,
        now: Moment,
        observation: &Observation<'_>,
        lease_until: impl Fn(usize) -> Timestamp,
    ) {
        match observation {
            Observation::CoordinatorStarted { place, config, .. } => {
                let label = format!("process {}", config.incarnation);
                self.begin(format!("c{place}"), Kind::Process, 0, now, label, 0);
            }
            Observation::CoordinatorGone { place } => {
                self.close(&format!("c{place}"), Kind::Process, 0, now);
                self.close(&format!("c{place}"), Kind::Leads, 0, now);
            }
            Observation::CoordinatorResumed { place, paused } => {
                let began = Moment(now.0.saturating_sub(nanos(*paused)));
                let lane = format!("c{place}");
                self.begin(
                    lane.clone(),
                    Kind::Pause,
                    0,
                    began,
                    "not scheduled".to_owned(),
                    0,
                );
                self.close(&lane, Kind::Pause, 0, now);
            }
            Observation::Handled { place, term, .. } => self.leads(now, *place, *term),
            Observation::Committed {
                change: Change::Lease { time, after, .. },
            } => {
                let left = u64::try_from(after.expires_at.0.saturating_sub(time.0)).unwrap_or(0);
                self.lease(now, after, now.plus(Duration::from_micros(left)));
            }
            Observation::Worker {
                place,
                incarnation,
                clock,
                deed,
            } => {
                let lane = format!("w{place}");
                let label = format!("process {incarnation}");
                if !self.is_open(&lane, Kind::Process, 0) {
                    self.begin(lane, Kind::Process, 0, now, label, 0);
                }
                self.deed(now, *place, deed);
                self.worker_lease(now, *place, *clock, lease_until(*place));
            }
            Observation::WorkerStands { place, clock } => {
                self.worker_lease(now, *place, *clock, lease_until(*place));
            }
            Observation::WorkerGone { place, .. } => self.worker_gone(now, *place),
            _ => {}
        }
    }

    fn leads(&mut self, now: Moment, place: usize, term: Option<Generation>) {
        let lane = format!("c{place}");
        let open = self.open.get(&(lane.clone(), Kind::Leads, 0));
        let before = open.map(|bar| bar.term);
        let term = term.map(|term| term.0);
        if before == term {
            return;
        }
        self.close(&lane, Kind::Leads, 0, now);
        if let Some(term) = term {
            self.begin(
                lane,
                Kind::Leads,
                0,
                now,
                format!("leads term {term}"),
                term,
            );
        }
    }

    fn lease(&mut self, now: Moment, row: &Lease, until: Moment) {
        let (lane, term) = ("store".to_owned(), row.generation.0);
        let key = (lane.clone(), Kind::Lease, 0);
        if self.open.get(&key).is_some_and(|bar| bar.term != term) {
            // Taken over: what was promised to the one before stays to be seen.
            self.bars.extend(self.open.remove(&key));
        }
        if row.resigned {
            self.close("store", Kind::Lease, 0, now);
            return;
        }
        if let Some(bar) = self.open.get_mut(&key)
            && bar.to >= now
        {
            bar.to = until;
            return;
        }
        self.bars.extend(self.open.remove(&key));
        let label = format!("lease of {} (term {term})", row.incarnation);
        self.begin(lane, Kind::Lease, 0, now, label, term);
        if let Some(bar) = self.open.get_mut(&key) {
            bar.to = until;
        }
    }

    fn worker_lease(&mut self, now: Moment, place: usize, clock: Clock, until: Timestamp) {
        let until = clock.when(until);
        let key = (format!("w{place}"), Kind::WorkerLease, 0);
        if until <= now {
            return;
        }
        match self.open.get_mut(&key) {
            Some(bar) if bar.to >= now => bar.to = bar.to.max(until),
            Some(_) | None => {
                self.bars.extend(self.open.remove(&key));
                let label = "its lease, by its own clock".to_owned();
                self.begin(key.0.clone(), Kind::WorkerLease, 0, now, label, 0);
                if let Some(bar) = self.open.get_mut(&key) {
                    bar.to = until;
                }
            }
        }
    }

    fn deed(&mut self, now: Moment, place: usize, deed: &Deed) {
        let lane = format!("w{place}");
        match deed {
            Deed::Began {
                workload, attempt, ..
            } => {
                let label = format!("{} attempt {attempt}", job(*workload));
                self.begin(
                    lane,
                    Kind::Attempt,
                    named(*workload, *attempt),
                    now,
                    label,
                    0,
                );
            }
            Deed::Ended(workload, attempt) => {
                self.close(&lane, Kind::Attempt, named(*workload, *attempt), now);
            }
            _ => {}
        }
    }

    fn worker_gone(&mut self, now: Moment, place: usize) {
        let lane = format!("w{place}");
        let of_it: Vec<_> = self
            .open
            .keys()
            .filter(|key| key.0 == lane)
            .cloned()
            .collect();
        for (lane, kind, id) in of_it {
            self.close(&lane, kind, id, now);
        }
    }

    fn is_open(&self, lane: &str, kind: Kind, id: u64) -> bool {
        self.open.contains_key(&(lane.to_owned(), kind, id))
    }

    fn begin(&mut self, lane: String, kind: Kind, id: u64, from: Moment, label: String, term: u64) {
        let bar = Bar {
            lane: lane.clone(),
            kind,
            from,
            to: from,
            label,
            term,
        };
        self.open.insert((lane, kind, id), bar);
    }

    fn close(&mut self, lane: &str, kind: Kind, id: u64, now: Moment) {
        if let Some(mut bar) = self.open.remove(&(lane.to_owned(), kind, id)) {
            bar.to = now;
            self.bars.push(bar);
        }
    }
}

fn named(workload: WorkloadId, attempt: Attempt) -> u64 {
    let low = workload.0 & u128::from(u32::MAX);
    u64::try_from(low).unwrap_or(0) << 32 | u64::from(attempt.0)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn micros<S: Serializer>(moment: &Moment, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(moment.0 / 1_000)
}

#[expect(clippy::ref_option, reason = "serde hands a reference to the field")]
fn optional_micros<S: Serializer>(
    moment: &Option<Moment>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match moment {
        Some(moment) => micros(moment, serializer),
        None => serializer.serialize_none(),
    }
}
