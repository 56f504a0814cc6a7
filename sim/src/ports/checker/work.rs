//! What workers hear, say and truly run: the first two as their machines show them, the last as their
//! handlers tell.

use super::Checker;
use crate::{
    clock::Clock,
    message::{Answered, Command, Inbox, Order, Said},
    properties::Observation,
    worker::Deed,
};
use bytes::Bytes;
use niyanta_core::{
    Reply, ReplyStatus,
    ids::{Attempt, Generation, Incarnation, MessageSequence, WorkerId, WorkloadId},
    time::Duration,
};
use runtime::{
    protocol::{self, Answer, AnswerStatus, Word},
    worker::machine::{Action, Event},
};
use std::{fmt, sync::Arc};

/// An attempt that truly runs, until this is dropped.
pub struct Running {
    checker: Checker,
    place: usize,
    incarnation: Incarnation,
    clock: Clock,
    workload: WorkloadId,
    attempt: Attempt,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("place", &self.place)
            .field("workload", &self.workload)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

impl Running {
    /// The worker at a place begins to run an attempt that this term assigned.
    pub fn begin(
        checker: &Checker,
        (place, clock): (usize, Clock),
        (workload, attempt, generation): (WorkloadId, Attempt, Generation),
        outlives_lease: bool,
    ) -> Self {
        let running = Self {
            checker: checker.clone(),
            place,
            incarnation: checker.incarnation_at(place),
            clock,
            workload,
            attempt,
        };
        checker.seen().counts.attempts += 1;
        running.show(&Deed::Began {
            workload,
            attempt,
            outlives_lease,
        });
        checker.tell("worker", &format!("w{place} obeys term {generation}"));
        running
    }

    /// It comes to its own end.
    pub fn finished(&self, completed: bool) {
        self.show(&Deed::Finished {
            workload: self.workload,
            attempt: self.attempt,
            completed,
        });
    }

    /// It still runs, and its worker has had time to stop it if it had to.
    pub fn stands(&self) {
        let resumed = self.checker.seen().resumed.get(&self.place).copied();
        if resumed.is_some_and(|at| self.checker.now().since(at) < GETS_UP) {
            return;
        }
        self.checker.observe(&Observation::WorkerStands {
            place: self.place,
            clock: self.clock,
        });
    }

    fn show(&self, deed: &Deed) {
        self.checker.observe(&Observation::Worker {
            place: self.place,
            incarnation: &self.incarnation,
            clock: self.clock,
            deed,
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.show(&Deed::Ended(self.workload, self.attempt));
    }
}

impl Checker {
    /// A worker's process starts at a place.
    pub fn worker_started(&self, place: usize, worker: &WorkerId, clock: Clock) {
        let mut seen = self.seen();
        seen.worker_places.insert(worker.clone(), (place, clock));
        drop(seen);
        self.tell("worker", &format!("w{place} starts"));
    }

    /// The worker at a place is scheduled again.
    pub fn worker_resumed(&self, place: usize) {
        let now = self.now();
        self.seen().resumed.insert(place, now);
        self.observe(&Observation::WorkerResumed { place });
    }

    /// The worker at a place is gone, with all its children.
    pub fn worker_gone(&self, place: usize) {
        let gone = self.seen().workers.remove(&place);
        if let Some(incarnation) = gone {
            let incarnation = &incarnation;
            self.observe(&Observation::WorkerGone { place, incarnation });
        }
    }

    /// A worker's machine took a step: it may have begun a new incarnation by it.
    pub(super) fn worker_stepped(
        &self,
        worker: &WorkerId,
        event: &Event,
        actions: &[Action],
        incarnation: &Incarnation,
    ) {
        let found = self.seen().worker_places.get(worker).copied();
        let Some((place, clock)) = found else {
            return;
        };
        let before = self.seen().workers.get(&place).cloned();
        if before.as_ref() != Some(incarnation) {
            self.seen().workers.insert(place, incarnation.clone());
        }
        let show = |incarnation: &Incarnation, deed: &Deed| {
            self.observe(&Observation::Worker {
                place,
                incarnation,
                clock,
                deed,
            });
        };
        if let (Event::Heard(bytes), Some(before)) = (event, &before)
            && let Some(deed) = heard(bytes, place, worker, before)
        {
            show(before, &deed);
        }
        for action in actions {
            if let Action::Send { is_log, bytes, .. } = action {
                let said = Said {
                    inbox: Inbox { place, epoch: 0 },
                    is_log: *is_log,
                    read: protocol::decode(bytes),
                    bytes: bytes.clone(),
                };
                show(incarnation, &Deed::Said(Arc::new(said)));
            }
        }
    }

    fn incarnation_at(&self, place: usize) -> Incarnation {
        let known = self.seen().workers.get(&place).cloned();
        known.unwrap_or_else(|| match "unknown".parse() {
            Ok(nobody) => nobody,
            Err(_) => unreachable!("a valid incarnation"),
        })
    }
}

/// What an incarnation of a worker hears that is meant for it.
fn heard(bytes: &Bytes, place: usize, worker: &WorkerId, own: &Incarnation) -> Option<Deed> {
    match protocol::read_word(bytes)? {
        Word::Answer(answer) => {
            let (incarnation, sequence) = answer.correlation_id.rsplit_once(':')?;
            let answered = Answered {
                inbox: Inbox { place, epoch: 0 },
                incarnation: Some(incarnation.parse().ok()?),
                sequence: MessageSequence(sequence.parse().ok()?),
                generation: answer.generation,
                reply: reply(&answer),
                bytes: bytes.clone(),
            };
            (incarnation == own.as_str()).then(|| Deed::HeardAnswer(Arc::new(answered)))
        }
        Word::Command {
            incarnation,
            generation,
            command,
        } => {
            let order = match command {
                protocol::Command::Assign(assignment) => Order::Assign {
                    workload: assignment.workload,
                    attempt: assignment.attempt,
                    heartbeat_sequence: MessageSequence(assignment.heartbeat_sequence),
                },
                protocol::Command::Stop(order) => Order::Stop(order),
                protocol::Command::Drain => Order::Drain { deadline: None },
            };
            let command = Command {
                generation,
                worker: worker.clone(),
                incarnation: incarnation.clone(),
                order,
                bytes: bytes.clone(),
            };
            (incarnation == *own).then(|| Deed::HeardCommand(Arc::new(command)))
        }
        Word::LeaderElected(generation) => Some(Deed::HeardElected(generation)),
    }
}

/// What core answered, as far as the worker is told; nothing of logs, which core is not asked about.
fn reply(answer: &Answer) -> Option<Reply> {
    let status = match answer.status {
        AnswerStatus::Ok => ReplyStatus::Ok,
        AnswerStatus::Stale => ReplyStatus::Stale,
        AnswerStatus::UnknownWorker => ReplyStatus::UnknownWorker,
        AnswerStatus::IdInUse { retry_after } => ReplyStatus::IdInUse { retry_after },
        AnswerStatus::IncarnationEnded => ReplyStatus::IncarnationEnded,
        AnswerStatus::Rejected => ReplyStatus::Refused,
    };
    Some(Reply {
        status,
        lease: answer.lease?,
        heartbeat: answer.heartbeat.unwrap_or_default(),
        stop: answer.stop.clone(),
    })
}

/// A process that is scheduled again needs a moment to see what it must stop.
const GETS_UP: Duration = Duration::from_millis(10);
