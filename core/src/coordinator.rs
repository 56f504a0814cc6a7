//! The root machine: one line for every event, and the hand-offs between who leads and what the
//! leader does.
//!
//! Owns the order of things: the own lease is judged first, and a term that is over is dropped whole
//! before anything else; then the event; then what follows from it. Does not own any decision of a
//! term ([`term`]) or about the lease ([`crate::leadership`]).

mod assignments;
mod commits;
mod heartbeats;
mod leading;
mod loads;
mod outcomes;
mod quarantine;
mod rebuild;
mod reports;
mod requests;
mod silence;
mod sweeps;
pub(crate) mod term;
mod wishes;
mod workers;

use crate::{
    Config, Effect, Event,
    ids::{Generation, LoadId},
    leadership::Leadership,
    snapshot::{LeaseRow, Snapshot, SnapshotError},
    status::Status,
    time::{Timestamp, WallTime},
    timer::{Deadline, Timer},
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use quarantine::Quarantine;
use rebuild::{Outset, Rebuild};
use term::{End, Term};

/// The decisions of one coordinator.
///
/// [`Coordinator::handle`] is the only mutator and cannot fail; it appends what is to be done to a
/// buffer that its caller owns. The caller wakes at [`Coordinator::next_deadline`] and hands over an
/// [`Event::Tick`]. The same events at the same moments give the same effects, always.
///
/// Time must not go backwards between calls; if it does, the latest moment seen stands.
#[derive(Debug, Clone)]
pub struct Coordinator {
    config: Arc<Config>,
    now: Timestamp,
    leadership: Leadership,
    /// What the lease row said when it was last seen in other hands.
    lease_row: Option<LeaseRow>,
    role: Role,
    next_load: LoadId,
    quarantine: Quarantine,
    snapshot_error: Option<SnapshotError>,
}

/// What this node does about workloads.
#[derive(Debug, Clone)]
enum Role {
    /// Nothing: it does not lead.
    Following,
    /// It leads, and waits for its snapshot.
    Rebuilding(Rebuild),
    /// It leads.
    Leading(Box<Term>),
}

impl Coordinator {
    /// A coordinator that leads nothing yet. Its first deadline is at once.
    #[must_use]
    pub fn new(config: Config, now: Timestamp) -> Self {
        Self {
            leadership: Leadership::new(&config),
            lease_row: None,
            config: Arc::new(config),
            now,
            role: Role::Following,
            next_load: LoadId::ZERO,
            quarantine: Quarantine::default(),
            snapshot_error: None,
        }
    }

    /// Takes in what happened at `now`, and appends what is to be done, in order.
    pub fn handle(&mut self, now: Timestamp, event: Event, effects: &mut Vec<Effect>) {
        let lag = now.since(self.now);
        self.now = self.now.max(now);
        self.lead(effects, Leadership::on_tick);
        if let Role::Leading(term) = &mut self.role {
            term.now = self.now;
            if lag > Config::LISTENING_LAG_MAX {
                term.on_interrupted();
            }
        }
        self.dispatch(event, effects);
        self.conclude(effects);
    }

    fn dispatch(&mut self, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Tick { heard_until } => self.on_tick(heard_until, effects),
            Event::LeaseRefused { ask, row, .. } => self.on_lease_refused(ask, row, effects),
            Event::LeaseRead { ask, row, .. } => self.on_lease_read(ask, row, effects),
            Event::LeaseRenewed {
                ask,
                generation,
                database_time,
            } => self.on_lease_renewed(ask, generation, database_time, effects),
            Event::LeaseTaken { .. }
            | Event::LeaseUnknown { .. }
            | Event::LeaseLost { .. }
            | Event::LeaseUnanswered { .. }
            | Event::LeaseResigned { .. }
            | Event::LeaderResigned(_)
            | Event::GenerationSeen(_)
            | Event::ProbeHeard { .. }
            | Event::ShutdownRequested => self.on_lease_event(&event, effects),
            Event::SnapshotLoaded {
                generation,
                snapshot,
                database_time,
            } => self.on_snapshot(generation, *snapshot, database_time, effects),
            Event::SnapshotFailed { generation } => self.on_snapshot_failed(generation),
            Event::PersistAnswered {
                generation,
                number,
                outcome,
            } => self.with_term(generation, |term| {
                term.on_persist_answered(number, outcome, effects);
            }),
            Event::FenceRead { generation, row } => {
                self.with_term(generation, |term| term.on_fence_read(row.as_ref(), effects));
            }
            Event::Loaded {
                load,
                rows,
                database_time,
            } => self.while_leading(|term| {
                term.on_loaded(load, rows.map(|rows| *rows), database_time, effects);
            }),
            Event::Request(request) => self.on_request(request, effects),
            Event::WorkloadsHinted(ids) => self.while_leading(|term| term.on_hinted(ids)),
            Event::WorkersHinted => self.while_leading(|term| term.loads.want_worker_wishes()),
            Event::CustomersHinted(ids) => {
                self.while_leading(|term| {
                    ids.into_iter().for_each(|id| term.loads.want_customer(id))
                });
            }
            Event::ListeningInterrupted => self.while_leading(Term::on_interrupted),
        }
    }

    /// When to wake, and why.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Deadline> {
        let lease = self.leadership.next_deadline().map(|at| Deadline {
            at,
            timer: Timer::Lease,
        });
        let role = match &self.role {
            Role::Following => None,
            Role::Rebuilding(rebuild) => rebuild.retry_at.map(|at| Deadline {
                at,
                timer: Timer::Snapshot,
            }),
            Role::Leading(term) => term.next_deadline(),
        };
        lease.into_iter().chain(role).min()
    }

    /// Whether this node may act as leader at `now`: its lease lasts. (It may still be rebuilding.)
    #[must_use]
    pub fn is_leader(&self, now: Timestamp) -> bool {
        self.leads(now).is_some()
    }

    /// The term that this node leads and until when, if nothing renews its lease. It may lie in the
    /// past: [`Self::is_leader`] says whether it still counts.
    #[must_use]
    pub fn lease(&self) -> Option<(Generation, Timestamp)> {
        self.leadership.term().zip(self.leadership.trusted_until())
    }

    /// The term that it may act in, as of the last event; cheap, unlike [`Self::status`].
    #[must_use]
    pub fn generation(&self) -> Option<Generation> {
        self.leads(self.now)
    }

    /// The greatest generation that this node has heard of.
    #[must_use]
    pub const fn generation_heard(&self) -> Generation {
        self.leadership.heard()
    }

    /// Who leads, as far as is known: this node, or whom the lease row named when it was last read.
    #[must_use]
    pub fn leader(&self) -> Option<&crate::ids::Incarnation> {
        if self.leads(self.now).is_some() {
            return Some(&self.config.incarnation);
        }
        self.lease_row.as_ref().map(|row| &row.incarnation)
    }

    /// What an operator may see of the decisions.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::of(self)
    }

    /// The term, while there is one that may act.
    pub(crate) fn term(&self) -> Option<&Term> {
        match &self.role {
            Role::Leading(term) => Some(term),
            Role::Following | Role::Rebuilding(_) => None,
        }
    }

    pub(crate) fn incarnation(&self) -> &crate::ids::Incarnation {
        &self.config.incarnation
    }

    pub(crate) const fn is_rebuilding(&self) -> bool {
        matches!(self.role, Role::Rebuilding(_))
    }

    /// The term that this node may act in at `now`.
    pub(crate) fn leads(&self, now: Timestamp) -> Option<Generation> {
        let trusted = self
            .leadership
            .trusted_until()
            .is_some_and(|until| now < until);
        self.leadership.term().filter(|_| trusted)
    }

    pub(crate) const fn lease_row(&self) -> Option<&LeaseRow> {
        self.lease_row.as_ref()
    }

    pub(crate) const fn now(&self) -> Timestamp {
        self.now
    }

    pub(crate) const fn snapshot_error(&self) -> Option<&SnapshotError> {
        self.snapshot_error.as_ref()
    }

    fn on_tick(&mut self, heard_until: Timestamp, effects: &mut Vec<Effect>) {
        let now = self.now;
        let mut loads = false;
        match &mut self.role {
            Role::Following => {}
            Role::Rebuilding(rebuild) => {
                loads = rebuild.retry_at.take_if(|at| *at <= now).is_some();
            }
            Role::Leading(term) => term.on_tick(heard_until, effects),
        }
        if loads {
            self.load_snapshot(effects);
        }
    }

    fn on_request(&mut self, request: crate::Request, effects: &mut Vec<Effect>) {
        let seen = request.generation_seen;
        self.lead(effects, |l, now, steps| {
            l.on_peer_generation(seen, now, steps)
        });
        match &mut self.role {
            Role::Leading(term) => term.on_request(request, effects),
            Role::Following | Role::Rebuilding(_) => effects.push(Effect::Forget {
                to: request.reply_to,
            }),
        }
    }

    fn load_snapshot(&self, effects: &mut Vec<Effect>) {
        if let Role::Rebuilding(rebuild) = &self.role {
            effects.push(Effect::LoadSnapshot {
                generation: rebuild.generation,
                limit: self.config.load_limit,
            });
        }
    }

    fn on_snapshot_failed(&mut self, generation: Generation) {
        if let Role::Rebuilding(rebuild) = &mut self.role
            && rebuild.generation == generation
        {
            rebuild.note_failed(self.now);
        }
    }

    fn on_snapshot(
        &mut self,
        generation: Generation,
        snapshot: Snapshot,
        database_time: WallTime,
        effects: &mut Vec<Effect>,
    ) {
        let Role::Rebuilding(rebuild) = &self.role else {
            return;
        };
        if rebuild.generation != generation {
            return;
        }
        let outset = Outset {
            config: Arc::clone(&self.config),
            generation,
            now: self.now,
            database_time,
            next_load: self.next_load,
            quarantine: self.quarantine.clone(),
        };
        match Term::begin(outset, snapshot) {
            Ok(term) => {
                self.snapshot_error = None;
                self.role = Role::Leading(Box::new(term));
                effects.push(Effect::AnnounceLeader { generation });
            }
            Err(SnapshotError::NotOurs(_)) => self.end_term(End::Fenced(generation), effects),
            Err(error) => {
                // Nothing was decided under this generation: it may look again later.
                self.snapshot_error = Some(error);
                let again = self.now.plus(self.config.leader_lease_ttl);
                if let Role::Rebuilding(rebuild) = &mut self.role {
                    rebuild.retry_at = Some(again);
                }
            }
        }
    }

    /// Ends what must end, then lets the term do what follows from the event.
    fn conclude(&mut self, effects: &mut Vec<Effect>) {
        let Role::Leading(term) = &mut self.role else {
            return;
        };
        term.conclude(effects);
        if let Some(end) = term.end.take() {
            self.end_term(end, effects);
        }
    }

    fn while_leading(&mut self, then: impl FnOnce(&mut Term)) {
        if let Role::Leading(term) = &mut self.role {
            then(term);
        }
    }

    /// For answers that name their term: an older one's say nothing.
    fn with_term(&mut self, generation: Generation, then: impl FnOnce(&mut Term)) {
        if let Role::Leading(term) = &mut self.role
            && term.generation == generation
        {
            then(term);
        }
    }
}

impl Term {
    fn on_hinted(&mut self, ids: Vec<crate::ids::WorkloadId>) {
        for id in ids {
            self.loads.want_workload(id);
        }
    }

    /// Words of workers may have been missed.
    fn on_interrupted(&mut self) {
        let now = self.now;
        self.fleet.restart_silences(&self.config, now);
    }
}
