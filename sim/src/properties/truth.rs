//! What truly runs where, whoever believes what.
//!
//! Reckons each worker's lease anew from what the worker sent and read, by the words of the protocol:
//! counted from the sending of the last answered heartbeat or registration. A worker that reckons
//! otherwise runs on without one.

use super::Observation;
use crate::{
    clock::{Clock, Moment},
    message::{Answered, Command, Order, Said},
    worker::Deed,
};
use niyanta_core::{
    ReplyStatus,
    ids::{Attempt, Generation, Incarnation, MessageSequence, WorkloadId},
    time::{Duration, Timestamp},
};
use std::collections::{BTreeMap, BTreeSet};

/// What truly runs.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    running: BTreeMap<(WorkloadId, usize), Running>,
    by_place: Vec<BTreeMap<WorkloadId, Attempt>>,
    finished: BTreeSet<(WorkloadId, Attempt, bool)>,
    leases: BTreeMap<usize, Lease>,
}

/// An attempt that runs.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    /// Where.
    pub(crate) place: usize,
    /// Which start of its worker.
    pub(crate) incarnation: Incarnation,
    /// Which attempt.
    pub(crate) attempt: Attempt,
    /// It may go on when the lease ends.
    pub(crate) outlives_lease: bool,
    /// Its killing was ordered then.
    pub(crate) dying_since: Option<Moment>,
}

/// A worker's lease, as an outsider reckons it.
#[derive(Debug)]
struct Lease {
    clock: Clock,
    incarnation: Incarnation,
    heard: Generation,
    length: Duration,
    until: Timestamp,
    sent: BTreeMap<MessageSequence, Timestamp>,
    /// What was said and has no answer yet: a second answer to anything but a heartbeat is old news.
    unanswered: BTreeSet<MessageSequence>,
    /// When its process was scheduled again after a pause.
    resumed_at: Option<Moment>,
}

impl Truth {
    /// Who runs this workload.
    pub(crate) fn running(&self, workload: WorkloadId) -> impl Iterator<Item = &Running> {
        self.running
            .range((workload, 0)..=(workload, usize::MAX))
            .map(|(_, running)| running)
    }

    /// What runs at a place.
    pub(crate) fn running_at(&self, place: usize) -> impl Iterator<Item = (WorkloadId, &Running)> {
        let here = self.by_place.get(place).into_iter().flatten();
        here.filter_map(move |(workload, _)| {
            let running = self.running.get(&(*workload, place))?;
            Some((*workload, running))
        })
    }

    /// Until when the worker at a place may run anything, by its own clock.
    pub(crate) fn lease_until(&self, place: usize) -> Timestamp {
        self.leases
            .get(&place)
            .map_or(Timestamp::ZERO, |lease| lease.until)
    }

    /// Whether the worker at a place may run anything, by its own clock.
    pub(crate) fn holds_lease(&self, place: usize, now: Moment) -> bool {
        self.leases
            .get(&place)
            .is_some_and(|lease| lease.clock.read(now) < lease.until)
    }

    /// When the process at a place was scheduled again, if it ever was paused.
    pub(crate) fn resumed_at(&self, place: usize) -> Option<Moment> {
        self.leases.get(&place)?.resumed_at
    }

    /// The highest term that the worker at a place has read of.
    pub(crate) fn heard(&self, place: usize) -> Generation {
        self.leases
            .get(&place)
            .map_or(Generation::ZERO, |lease| lease.heard)
    }

    /// Whether an attempt came to this end of its own.
    pub(crate) fn has_finished(
        &self,
        workload: WorkloadId,
        attempt: Attempt,
        completed: bool,
    ) -> bool {
        self.finished.contains(&(workload, attempt, completed))
    }

    pub(super) fn observe(&mut self, now: Moment, observation: &Observation<'_>) {
        match observation {
            Observation::Worker {
                place,
                incarnation,
                clock,
                deed,
            } => self.note(now, *place, incarnation, *clock, deed),
            Observation::WorkerResumed { place } => {
                if let Some(lease) = self.leases.get_mut(place) {
                    lease.resumed_at = Some(now);
                }
            }
            Observation::WorkerGone { place, .. } => {
                if let Some(here) = self.by_place.get_mut(*place) {
                    for workload in std::mem::take(here).into_keys() {
                        self.running.remove(&(workload, *place));
                    }
                }
                self.leases.remove(place);
            }
            _ => {}
        }
    }

    fn note(
        &mut self,
        now: Moment,
        place: usize,
        incarnation: &Incarnation,
        clock: Clock,
        deed: &Deed,
    ) {
        match deed {
            Deed::Said(said) => self.lease(place, incarnation, clock).sent(now, said),
            Deed::HeardAnswer(answer) => self.lease(place, incarnation, clock).answered(answer),
            Deed::HeardCommand(command) => {
                self.lease(place, incarnation, clock).commanded(command);
            }
            Deed::HeardElected(generation) => {
                let lease = self.lease(place, incarnation, clock);
                lease.heard = lease.heard.max(*generation);
            }
            Deed::Began {
                workload,
                attempt,
                outlives_lease,
            } => {
                let running = Running {
                    place,
                    incarnation: incarnation.clone(),
                    attempt: *attempt,
                    outlives_lease: *outlives_lease,
                    dying_since: None,
                };
                self.running.insert((*workload, place), running);
                if self.by_place.len() <= place {
                    self.by_place.resize_with(place + 1, BTreeMap::new);
                }
                self.by_place[place].insert(*workload, *attempt);
            }
            Deed::Killing(workload, attempt) => {
                if let Some(running) = self.running.get_mut(&(*workload, place))
                    && running.attempt == *attempt
                {
                    running.dying_since.get_or_insert(now);
                }
            }
            Deed::Finished {
                workload,
                attempt,
                completed,
            } => {
                self.finished.insert((*workload, *attempt, *completed));
            }
            Deed::Ended(workload, attempt) => {
                let here = self.by_place.get_mut(place);
                if here.is_some_and(|here| here.get(workload) == Some(attempt)) {
                    self.by_place[place].remove(workload);
                    self.running.remove(&(*workload, place));
                }
            }
            Deed::ObeyedOld { .. } | Deed::Exit { .. } => {}
        }
    }

    /// The lease of this incarnation; a new one has none, but knows the same terms.
    fn lease(&mut self, place: usize, incarnation: &Incarnation, clock: Clock) -> &mut Lease {
        let new = |heard, resumed_at| Lease {
            clock,
            incarnation: incarnation.clone(),
            heard,
            length: Duration::ZERO,
            until: Timestamp::ZERO,
            sent: BTreeMap::new(),
            unanswered: BTreeSet::new(),
            resumed_at,
        };
        let lease = self
            .leases
            .entry(place)
            .or_insert_with(|| new(Generation::ZERO, None));
        if lease.incarnation != *incarnation {
            *lease = new(lease.heard, lease.resumed_at);
        }
        lease
    }
}

impl Lease {
    fn sent(&mut self, now: Moment, said: &Said) {
        let Ok(incoming) = &said.read else { return };
        if incoming.incarnation != self.incarnation {
            return;
        }
        self.unanswered.insert(incoming.sequence);
        if !said.renews_lease() {
            return;
        }
        let local = self.clock.read(now);
        // A repeat counts from its first sending.
        self.sent.entry(incoming.sequence).or_insert(local);
        while self.sent.len() > SENT_KEPT {
            self.sent.pop_first();
        }
    }

    fn answered(&mut self, answer: &Answered) {
        let (Some(generation), Some(reply)) = (answer.generation, &answer.reply) else {
            return;
        };
        self.heard = self.heard.max(generation);
        let is_first = self.unanswered.remove(&answer.sequence);
        if !is_first && !self.sent.contains_key(&answer.sequence) {
            return;
        }
        self.length = reply.lease;
        let renewed = matches!(
            reply.status,
            ReplyStatus::Ok | ReplyStatus::OkContentRefused
        );
        if renewed {
            self.renew(answer.sequence);
        }
    }

    fn commanded(&mut self, command: &Command) {
        self.heard = self.heard.max(command.generation);
        let Order::Assign {
            heartbeat_sequence, ..
        } = command.order
        else {
            return;
        };
        self.renew(heartbeat_sequence);
    }

    fn renew(&mut self, sequence: MessageSequence) {
        if let Some(sent) = self.sent.get(&sequence) {
            self.until = self.until.max(sent.plus(self.length));
        }
    }
}

/// More than anybody sends within a lease.
const SENT_KEPT: usize = 128;
