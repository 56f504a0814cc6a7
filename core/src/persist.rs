//! The one commit path of a term: one batch in flight, the next one gathering behind it.
//!
//! Owns folding (at most one net write for a row, every audit step kept), numbering, what is sent
//! again and when, and the answers to workers that wait for a commit. Does not know why anything is
//! written, nor what follows from a commit: whoever gathers a change learns the number of its batch,
//! and acts on it once that number is applied.
//!
//! Invariants: a number is bound to one content (P1); an answer leaves only after the batch that it
//! depends on (P5); no assignment shares a batch with a later word on its worker, which waits for
//! the next one (P14).

use crate::{
    Config, ReplyStatus,
    batch::{AuditStep, Batch, CounterWrite, LeaderHalf, WorkerRecord, WorkerWrite, WorkloadWrite},
    event::PersistOutcome,
    ids::{
        Attempt, BatchNumber, CustomerId, Generation, Incarnation, MessageSequence, RequestId,
        WorkerId, WorkloadId,
    },
    probes::{mark, planted},
    snapshot::FenceRow,
    time::{Duration, Timestamp},
    workload::Status,
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};

/// The commits of one term.
#[derive(Debug, Clone)]
pub(crate) struct Commits {
    generation: Generation,
    incarnation: Incarnation,
    applied: BatchNumber,
    flight: Option<Flight>,
    gathering: Gathering,
}

/// What one change adds to the gathering batch.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) id: WorkloadId,
    pub(crate) customer: CustomerId,
    /// Status and attempt before the change.
    pub(crate) from: (Status, Attempt),
    pub(crate) to: LeaderHalf,
    pub(crate) step: Option<AuditStep>,
    pub(crate) stamp: Option<Stamp>,
    /// It left the queue for the first time.
    pub(crate) left_queue: bool,
    /// Change of its customer's open attempts.
    pub(crate) running: i64,
}

/// Which moment a change sets to the database's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stamp {
    Scheduled,
    Started,
    Completed,
}

/// The request that a change came from, as careful mode names an offender.
pub(crate) type Source = (WorkerId, Incarnation, MessageSequence);

/// An answer that waits for a commit.
#[derive(Debug, Clone)]
pub(crate) struct PendingReply {
    pub(crate) to: RequestId,
    pub(crate) worker: WorkerId,
    /// The incarnation that asks to be registered, if that is what it asks.
    pub(crate) registers: Option<Incarnation>,
    pub(crate) status: ReplyStatus,
}

#[derive(Debug, Clone)]
struct Flight {
    batch: Arc<Batch>,
    replies: Vec<PendingReply>,
    sources: BTreeSet<Source>,
    state: FlightState,
    tries: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FlightState {
    /// Its answer is awaited.
    Sent,
    /// It is sent again then.
    ResendAt(Timestamp),
    /// Its fate is read from the fence.
    FenceAsked,
    /// The fence is read again then.
    AskFenceAt(Timestamp),
}

#[derive(Debug, Clone, Default)]
struct Gathering {
    workloads: BTreeMap<WorkloadId, Gathered>,
    workers: BTreeMap<WorkerId, WorkerWrite>,
    /// Writes of workers that are assigned something in this batch: for the next one.
    later: BTreeMap<WorkerId, WorkerWrite>,
    assigned: BTreeSet<WorkerId>,
    assignments: u32,
    replies: Vec<PendingReply>,
    /// Answers that wait for `later` as well.
    later_replies: Vec<PendingReply>,
    sources: BTreeSet<Source>,
}

#[derive(Debug, Clone)]
struct Gathered {
    write: WorkloadWrite,
    left_queue: u64,
    running: i64,
}

/// What an answer about a batch means.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// About nothing that is awaited.
    Ignored,
    /// It is in the database; these wait for it.
    Applied(Arc<Batch>, Vec<PendingReply>),
    /// Send the very same batch again.
    Resend(Arc<Batch>),
    /// Something is due later.
    Later,
    /// Read the fence about this batch.
    ReadFence(BatchNumber),
    /// The term is over: doubt about what is in the database.
    Doubt,
    /// The term is over: another one commits.
    Fenced,
    /// The term is over: the database refuses something of this batch.
    Refused(Arc<Batch>, BTreeSet<Source>),
}

impl Commits {
    /// A term that goes on after the batch `applied`: nothing of it, as terms begin.
    pub(crate) fn new(
        generation: Generation,
        incarnation: Incarnation,
        applied: BatchNumber,
    ) -> Self {
        Self {
            generation,
            incarnation,
            applied,
            flight: None,
            gathering: Gathering::default(),
        }
    }

    /// Gathers a change of a workload; gives the number of the batch that will carry it.
    pub(crate) fn change(&mut self, change: Change) -> BatchNumber {
        let gathered = self
            .gathering
            .workloads
            .entry(change.id)
            .or_insert_with(|| Gathered::first(&change));
        let write = &mut gathered.write;
        if let Some(stamp) = change.stamp {
            stamp_write(write, stamp);
        }
        if change.stamp == Some(Stamp::Scheduled) {
            self.gathering.assignments += 1;
            if let Some((worker, _)) = &change.to.worker {
                self.gathering.assigned.insert(worker.clone());
            }
        }
        write.to = change.to;
        write.steps.extend(change.step);
        if write.steps.len() > 2 {
            mark!(StepsFolded);
        }
        gathered.left_queue += u64::from(change.left_queue);
        gathered.running += change.running;
        self.gathering_number()
    }

    /// Gathers the net write of a worker's row; gives the number of the batch that will carry it.
    pub(crate) fn put_worker(&mut self, write: WorkerWrite) -> BatchNumber {
        let worker = write.worker().clone();
        let gathering = &mut self.gathering;
        if gathering.assigned.contains(&worker) {
            mark!(WorkerWriteWaitsBehindAssignment);
        }
        if gathering.assigned.contains(&worker) && !planted!(DrainSharesBatch) {
            let before = gathering.later.remove(&worker);
            gathering.later.insert(worker, keep_stamp(write, before));
            return self.gathering_number().next();
        }
        let before = gathering.workers.remove(&worker);
        gathering.workers.insert(worker, keep_stamp(write, before));
        self.gathering_number()
    }

    /// Answers once everything that is decided by now is committed: at once when nothing is open.
    pub(crate) fn reply_after(&mut self, reply: PendingReply) -> Option<PendingReply> {
        if !self.gathering.later.is_empty() {
            self.gathering.later_replies.push(reply);
        } else if !self.gathering.is_empty() {
            self.gathering.replies.push(reply);
        } else if let Some(flight) = &mut self.flight {
            flight.replies.push(reply);
        } else {
            return Some(reply);
        }
        None
    }

    /// Names the request whose changes were gathered since.
    pub(crate) fn note_source(&mut self, source: Source) {
        if !self.gathering.is_empty() {
            self.gathering.sources.insert(source);
        }
    }

    /// Sends the gathered batch, when none is in flight.
    pub(crate) fn submit(&mut self) -> Option<Arc<Batch>> {
        if self.flight.is_some() || self.gathering.is_empty() {
            return None;
        }
        let gathering = core::mem::take(&mut self.gathering);
        self.gathering.workers = gathering.later;
        self.gathering.replies = gathering.later_replies;
        let counters = counters(&gathering.workloads);
        let batch = Arc::new(Batch {
            generation: self.generation,
            incarnation: self.incarnation.clone(),
            number: self.applied.next(),
            workloads: gathering.workloads.into_values().map(|g| g.write).collect(),
            workers: gathering.workers.into_values().collect(),
            counters,
        });
        assert!(
            batch.rows() <= Config::BATCH_ROWS_MAX,
            "a batch is within its bound: whoever gathers asks for room first"
        );
        self.flight = Some(Flight {
            batch: Arc::clone(&batch),
            replies: gathering.replies,
            sources: gathering.sources,
            state: FlightState::Sent,
            tries: 0,
        });
        Some(batch)
    }

    /// The store answered a sending of batch `number`.
    pub(crate) fn on_answer(
        &mut self,
        now: Timestamp,
        number: BatchNumber,
        outcome: PersistOutcome,
    ) -> Verdict {
        let Some(flight) = &mut self.flight else {
            return Verdict::Ignored;
        };
        if flight.batch.number != number {
            return Verdict::Ignored;
        }
        match outcome {
            PersistOutcome::Applied => self.land(),
            PersistOutcome::NotApplied => {
                flight.state = FlightState::FenceAsked;
                Verdict::ReadFence(number)
            }
            PersistOutcome::Short => Verdict::Doubt,
            PersistOutcome::Refused if planted!(RefusedReportBlocks) => {
                flight.tries += 1;
                flight.state = FlightState::ResendAt(now.plus(resend_backoff(flight.tries)));
                Verdict::Later
            }
            PersistOutcome::Refused => {
                Verdict::Refused(Arc::clone(&flight.batch), flight.sources.clone())
            }
            PersistOutcome::Unknown if flight.tries == 0 => {
                mark!(BatchSentAgain);
                flight.tries = 1;
                flight.state = FlightState::Sent;
                Verdict::Resend(Arc::clone(&flight.batch))
            }
            PersistOutcome::Unknown | PersistOutcome::LockTimeout => {
                flight.tries += 1;
                flight.state = FlightState::ResendAt(now.plus(resend_backoff(flight.tries)));
                Verdict::Later
            }
        }
    }

    /// The fence was read in a statement that began after the batch was sent.
    pub(crate) fn on_fence(&mut self, now: Timestamp, row: Option<&FenceRow>) -> Verdict {
        let Some(flight) = &mut self.flight else {
            return Verdict::Ignored;
        };
        if flight.state != FlightState::FenceAsked {
            return Verdict::Ignored;
        }
        let Some(row) = row else {
            flight.tries += 1;
            flight.state = FlightState::AskFenceAt(now.plus(resend_backoff(flight.tries)));
            return Verdict::Later;
        };
        if row.generation != self.generation || row.incarnation != self.incarnation {
            mark!(FencedWithBatchInFlight);
            return Verdict::Fenced;
        }
        if row.applied == flight.batch.number {
            mark!(BatchFoundApplied);
            return self.land();
        }
        Verdict::Doubt
    }

    /// Time came for what was put off.
    pub(crate) fn on_time(&mut self, now: Timestamp) -> Verdict {
        let Some(flight) = &mut self.flight else {
            return Verdict::Ignored;
        };
        match flight.state {
            FlightState::ResendAt(at) if at <= now => {
                flight.state = FlightState::Sent;
                Verdict::Resend(Arc::clone(&flight.batch))
            }
            FlightState::AskFenceAt(at) if at <= now => {
                flight.state = FlightState::FenceAsked;
                Verdict::ReadFence(flight.batch.number)
            }
            FlightState::Sent
            | FlightState::FenceAsked
            | FlightState::ResendAt(_)
            | FlightState::AskFenceAt(_) => Verdict::Ignored,
        }
    }

    fn land(&mut self) -> Verdict {
        let Some(flight) = self.flight.take() else {
            return Verdict::Ignored;
        };
        self.applied = flight.batch.number;
        Verdict::Applied(flight.batch, flight.replies)
    }

    /// Every answer that still waits: nobody will give it.
    pub(crate) fn into_unanswered(self) -> impl Iterator<Item = RequestId> {
        let flying = self.flight.into_iter().flat_map(|flight| flight.replies);
        flying
            .chain(self.gathering.replies)
            .chain(self.gathering.later_replies)
            .map(|pending| pending.to)
    }

    pub(crate) const fn applied(&self) -> BatchNumber {
        self.applied
    }

    /// The batch that gathers.
    pub(crate) const fn gathering_number(&self) -> BatchNumber {
        let next = self.applied.next();
        if self.flight.is_some() {
            next.next()
        } else {
            next
        }
    }

    pub(crate) fn in_flight(&self) -> Option<BatchNumber> {
        self.flight.as_ref().map(|flight| flight.batch.number)
    }

    /// The last batch that is on its way or gathers, if any is.
    pub(crate) fn awaited(&self) -> Option<BatchNumber> {
        if !self.gathering.later.is_empty() {
            Some(self.gathering_number().next())
        } else if !self.gathering.is_empty() {
            Some(self.gathering_number())
        } else {
            self.in_flight()
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.flight.is_none() && self.gathering.is_empty()
    }

    /// Changes of workloads that the gathering batch still takes. Each may bring a counter.
    pub(crate) fn room(&self) -> usize {
        let gathering = &self.gathering;
        let taken = 2 * gathering.workloads.len() + gathering.workers.len() + gathering.later.len();
        Config::BATCH_ROWS_MAX.saturating_sub(taken) / 2
    }

    /// Assignments in the gathering batch.
    pub(crate) const fn assignments(&self) -> u32 {
        self.gathering.assignments
    }

    /// Answers that wait, in flight and gathering.
    pub(crate) fn waiting_replies(&self) -> usize {
        let flying = self.flight.as_ref().map_or(0, |f| f.replies.len());
        flying + self.gathering.replies.len() + self.gathering.later_replies.len()
    }

    /// When something is to be sent again.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        match self.flight.as_ref()?.state {
            FlightState::Sent | FlightState::FenceAsked => None,
            FlightState::ResendAt(at) | FlightState::AskFenceAt(at) => Some(at),
        }
    }
}

impl Gathering {
    fn is_empty(&self) -> bool {
        self.workloads.is_empty() && self.workers.is_empty()
    }
}

impl Gathered {
    fn first(change: &Change) -> Self {
        Self {
            write: WorkloadWrite {
                id: change.id,
                customer: change.customer,
                from_status: change.from.0,
                from_attempt: change.from.1,
                to: change.to.clone(),
                stamp_scheduled: false,
                stamp_started: false,
                stamp_completed: false,
                steps: Vec::new(),
            },
            left_queue: 0,
            running: 0,
        }
    }
}

/// A new attempt has not started, whatever an older one in the same batch did.
const fn stamp_write(write: &mut WorkloadWrite, stamp: Stamp) {
    match stamp {
        Stamp::Scheduled => {
            write.stamp_scheduled = true;
            write.stamp_started = false;
        }
        Stamp::Started => write.stamp_started = true,
        Stamp::Completed => write.stamp_completed = true,
    }
}

/// The registration of an incarnation is stamped also when a later write of it takes its place.
fn keep_stamp(write: WorkerWrite, before: Option<WorkerWrite>) -> WorkerWrite {
    match (write, before) {
        (WorkerWrite::Put(record), Some(WorkerWrite::Put(old))) => {
            let same = record.incarnation == old.incarnation;
            WorkerWrite::Put(WorkerRecord {
                stamp_registered: record.stamp_registered || (same && old.stamp_registered),
                ..record
            })
        }
        (write, _) => write,
    }
}

fn counters(workloads: &BTreeMap<WorkloadId, Gathered>) -> Vec<CounterWrite> {
    let mut sums: BTreeMap<CustomerId, (u64, i64)> = BTreeMap::new();
    for gathered in workloads.values() {
        let sum = sums.entry(gathered.write.customer).or_default();
        sum.0 += gathered.left_queue;
        sum.1 += gathered.running;
    }
    sums.into_iter()
        .filter(|(_, sum)| *sum != (0, 0))
        .map(|(customer, (left_queue, running))| CounterWrite {
            customer,
            left_queue,
            running,
        })
        .collect()
}

/// 50 ms, doubling up to 1.6 s: a store that answers at once that it cannot must not be hammered.
fn resend_backoff(tries: u32) -> Duration {
    Duration::from_millis(25) * (1 << tries.min(6))
}
