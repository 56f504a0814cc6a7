//! Arbitrary rows of the database give a typed error or a valid state: in the snapshot that a term
//! begins with, and in everything that it loads later.
//!
//! Rows are made of whatever the types allow, and of numbers up to what the columns hold; what no
//! column can hold is refused by the store before core sees it. After the snapshot the leader goes on
//! for a while, with commits that land, workers that speak, and loads that bring more such rows.

mod rows;

use arbitrary::Unstructured;
use niyanta_core::{
    Config, Content, Coordinator, Effect, Event, PersistOutcome, Request, WorkerMessage,
    fleet::ReportedStatus,
    ids::{Attempt, Generation, MessageSequence, RequestId, WorkloadId},
    invariants,
    time::{Duration, Timestamp, WallTime},
    workload::{Cause, ErrorType},
};
use std::collections::VecDeque;

/// Begins a term with arbitrary rows, and goes on for a while.
///
/// # Panics
/// When core does, or breaks an invariant.
pub fn run(bytes: &[u8]) {
    let mut u = Unstructured::new(bytes);
    // Whatever is missing is zero: an input that ends early is as good as any.
    let mut run = Run::new(&mut u);
    run.go();
}

struct Run<'a, 'b> {
    u: &'a mut Unstructured<'b>,
    core: Coordinator,
    now: Timestamp,
    requests: u64,
}

impl<'a, 'b> Run<'a, 'b> {
    fn new(u: &'a mut Unstructured<'b>) -> Self {
        let now = Timestamp(1_000_000_000_000);
        let config = Config {
            enable_ha: true,
            window_per_class: 2,
            load_limit: 4,
            ..Config::new(rows::name("leader"), 42)
        };
        Self {
            u,
            core: Coordinator::new(config, now),
            now,
            requests: 0,
        }
    }

    fn go(&mut self) {
        self.tick();
        for _ in 0..ROUNDS_MAX {
            if self.u.is_empty() {
                break;
            }
            match rows::number(self.u) % 4 {
                0 => self.speak(),
                1 => self.hint(),
                _ => self.wake(),
            }
        }
        self.wake();
    }

    fn tick(&mut self) {
        let heard_until = self.now;
        self.happen(Event::Tick { heard_until });
    }

    /// To the next deadline, or a little further than it.
    fn wake(&mut self) {
        let next = self
            .core
            .next_deadline()
            .map_or(self.now, |deadline| deadline.at);
        let late = Duration::from_millis(u64::from(rows::number(self.u)) * 8);
        self.now = self.now.max(next).plus(late);
        self.tick();
    }

    fn hint(&mut self) {
        let id = rows::workload(self.u);
        self.happen(Event::WorkloadsHinted(vec![id]));
    }

    /// A worker says something about a workload that may be one of the rows.
    fn speak(&mut self) {
        let (workload, attempt) = (rows::workload(self.u), rows::attempt(self.u));
        let content = Content::Absent;
        let body = match rows::number(self.u) % 8 {
            0 | 1 => WorkerMessage::Register {
                capabilities: [rows::name("a"), rows::name("b")].into(),
                capacity: 1 + u32::from(rows::number(self.u) % 4),
                tags: rows::tags(self.u),
                version: "1".into(),
                replaces: None,
            },
            2 => WorkerMessage::Heartbeat {
                status: ReportedStatus::Healthy,
                running: vec![(workload, attempt)],
            },
            3 => WorkerMessage::Started { workload, attempt },
            4 => WorkerMessage::Completed {
                workload,
                attempt,
                content,
            },
            5 => WorkerMessage::Failed {
                workload,
                attempt,
                error_type: ErrorType::Transient,
                content,
            },
            6 => WorkerMessage::Stopped {
                workload,
                attempt,
                cause: Cause::Drained,
            },
            _ => self.checkpoint(workload, attempt),
        };
        self.requests += 1;
        let (worker, incarnation) = rows::process(self.u);
        self.happen(Event::Request(Request {
            reply_to: RequestId(self.requests),
            worker,
            incarnation,
            generation_seen: Generation::ZERO,
            sequence: MessageSequence(self.requests),
            body,
        }));
    }

    fn checkpoint(&mut self, workload: WorkloadId, attempt: Attempt) -> WorkerMessage {
        WorkerMessage::Checkpoint {
            workload,
            attempt,
            checkpoint_sequence: rows::number(self.u).into(),
            content: Content::Stored,
        }
    }

    fn happen(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        let mut effects = Vec::new();
        for _ in 0..TURNS_MAX {
            let Some(event) = events.pop_front() else {
                break;
            };
            self.core.handle(self.now, event, &mut effects);
            let violations = invariants::check(&self.core);
            assert!(violations.is_empty(), "{violations:?}");
            for effect in effects.drain(..) {
                events.extend(self.answer(effect));
            }
        }
    }

    /// The lease is always had, every commit lands, and every row is as it comes.
    fn answer(&mut self, effect: Effect) -> Option<Event> {
        let database_time = WallTime(1_700_000_000_000_000);
        match effect {
            Effect::TakeLease { ask, above, .. } => Some(Event::LeaseTaken {
                ask,
                generation: above.next(),
                database_time,
            }),
            Effect::RenewLease {
                ask, generation, ..
            } => Some(Event::LeaseRenewed {
                ask,
                generation,
                database_time,
            }),
            Effect::LoadSnapshot { generation, .. } => Some(Event::SnapshotLoaded {
                generation,
                snapshot: Box::new(rows::snapshot(self.u, generation)),
                database_time,
            }),
            Effect::Persist(batch) => Some(Event::PersistAnswered {
                generation: batch.generation,
                number: batch.number,
                outcome: PersistOutcome::Applied,
            }),
            Effect::Load { load, .. } => Some(Event::Loaded {
                load,
                rows: Some(Box::new(rows::loaded(self.u))),
                database_time,
            }),
            Effect::ProbeBroker { nonce } => Some(Event::ProbeHeard { nonce }),
            Effect::ReadLease { .. }
            | Effect::ResignLease { .. }
            | Effect::AnnounceResignation { .. }
            | Effect::AnnounceLeader { .. }
            | Effect::ReadFence { .. }
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

/// What happens after the snapshot.
const ROUNDS_MAX: usize = 64;
/// Events that follow from one: rows that are never as core left them may be asked for for ever.
const TURNS_MAX: usize = 64;
