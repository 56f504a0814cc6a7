//! What an operator may see of the decisions: read-only, made anew for each asking.

use crate::{
    Coordinator,
    fleet::WorkerStatus,
    ids::{BatchNumber, Generation, Incarnation},
    snapshot::SnapshotError,
    time::Timestamp,
    timer::Deadline,
};

/// What a coordinator does about workloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It does not lead.
    Following,
    /// It leads, and reads the snapshot that its term begins with.
    Rebuilding,
    /// It leads.
    Leading,
}

/// A view of a [`Coordinator`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What it does.
    pub role: Role,
    /// Its own term, while its lease lasts.
    pub generation: Option<Generation>,
    /// Who leads, as far as is known: itself, or what the lease row said last.
    pub leader: Option<(Incarnation, Generation)>,
    /// When it wants to be woken, and why.
    pub deadline: Option<Deadline>,
    /// Why the last snapshot could not be used, while that stands.
    pub snapshot_error: Option<SnapshotError>,
    /// What the term holds, while it leads.
    pub term: Option<TermStatus>,
}

/// Counts of what a term holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TermStatus {
    /// Workers that take work, as gathered.
    pub workers_healthy: usize,
    /// Workers that take no new work.
    pub workers_draining: usize,
    /// Workers whose incarnation has ended.
    pub workers_dead: usize,
    /// Slots of the workers that take work.
    pub capacity: u64,
    /// Workers not heard in this term, of those that have not ended.
    pub workers_unheard: usize,
    /// Workloads with an open attempt.
    pub open_attempts: usize,
    /// Waiting workloads held in memory.
    pub waiting: usize,
    /// Workloads in memory.
    pub held: usize,
    /// The batch whose answer is awaited.
    pub batch_in_flight: Option<BatchNumber>,
    /// The last batch known to be applied.
    pub applied: BatchNumber,
    /// Answers to workers that wait for a commit.
    pub replies_waiting: usize,
    /// Requests that wait for a row.
    pub requests_parked: usize,
    /// Loads in flight.
    pub loads_in_flight: usize,
    /// The longest that a worker which has not ended has been silent, in milliseconds.
    pub longest_silence_ms: u64,
}

impl Status {
    pub(crate) fn of(coordinator: &Coordinator) -> Self {
        let now = coordinator.now();
        let term = coordinator.term();
        let role = match term {
            Some(_) => Role::Leading,
            None if coordinator.is_rebuilding() => Role::Rebuilding,
            None => Role::Following,
        };
        let generation = coordinator.leads(now);
        let own = generation.map(|generation| (coordinator.incarnation().clone(), generation));
        let heard = coordinator.lease_row();
        Self {
            role,
            generation,
            leader: own.or_else(|| heard.map(|row| (row.incarnation.clone(), row.generation))),
            deadline: coordinator.next_deadline(),
            snapshot_error: coordinator.snapshot_error().cloned(),
            term: term.map(|term| TermStatus::of(term, now)),
        }
    }
}

impl TermStatus {
    fn of(term: &crate::coordinator::term::Term, now: Timestamp) -> Self {
        let mut status = term.counts();
        for worker in term.workers() {
            match worker.record.status {
                WorkerStatus::Healthy => {
                    status.workers_healthy += 1;
                    status.capacity += u64::from(worker.record.capacity);
                }
                WorkerStatus::Draining => status.workers_draining += 1,
                WorkerStatus::Dead => status.workers_dead += 1,
            }
            status.workers_unheard += usize::from(worker.is_unheard());
            if !worker.is_dead() {
                let silence = now.since(worker.silent_since).as_millis();
                let silence = u64::try_from(silence).unwrap_or(u64::MAX);
                status.longest_silence_ms = status.longest_silence_ms.max(silence);
            }
        }
        status
    }
}
