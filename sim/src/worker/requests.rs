//! A worker's requests: sent, repeated until answered.

use super::{Standing, Worker};
use crate::message::{Carries, WorkerRequest};
use niyanta_core::{
    Request, WorkerMessage,
    ids::{Attempt, RequestId, WorkloadId},
    time::{Duration, Timestamp},
};
use std::sync::Arc;

/// A request that was not answered yet.
#[derive(Debug, Clone)]
pub(super) struct Unanswered {
    request: Arc<WorkerRequest>,
    first_sent: Timestamp,
    /// Nothing for a heartbeat: the next one takes its place.
    next_send: Option<Timestamp>,
    interval: Duration,
    /// The attempt whose last report this is.
    last_of: Option<(WorkloadId, Attempt)>,
}

impl Unanswered {
    pub(super) fn request(&self) -> &WorkerRequest {
        &self.request
    }

    pub(super) const fn first_sent(&self) -> Timestamp {
        self.first_sent
    }

    pub(super) const fn next_send(&self) -> Option<Timestamp> {
        self.next_send
    }

    pub(super) const fn last_of(&self) -> Option<(WorkloadId, Attempt)> {
        self.last_of
    }

    pub(super) fn delayed(mut self, now: Timestamp) -> Self {
        self.next_send = Some(now.plus(self.interval));
        self
    }
}

impl Worker {
    pub(super) fn register(&mut self, now: Timestamp) {
        if self.standing != Standing::Leaving {
            self.standing = Standing::Registering;
        }
        let body = WorkerMessage::Register {
            capabilities: self.profile.capabilities.clone(),
            capacity: self.profile.capacity,
            tags: self.profile.tags.clone(),
            version: "sim".into(),
            replaces: self.replaces.clone(),
        };
        self.ask(now, body, None);
        self.lease.note_sent(self.sequence, now);
    }

    pub(super) fn beat(&mut self, now: Timestamp) {
        self.forget_old_beats();
        let body = WorkerMessage::Heartbeat {
            status: self.reported_status(),
            running: self
                .runs
                .iter()
                .map(|(workload, run)| (*workload, run.attempt))
                .collect(),
        };
        self.ask(now, body, None);
        self.lease.note_sent(self.sequence, now);
        self.schedule_beat(now);
    }

    /// An answer may be late: the last few heartbeats are remembered, and none is sent again.
    fn forget_old_beats(&mut self) {
        let is_beat = |other: &Unanswered| other.next_send.is_none();
        let beats = self.unanswered.iter().filter(|(_, other)| is_beat(other));
        let old: Vec<u64> = beats
            .map(|(id, _)| *id)
            .rev()
            .skip(BEATS_KEPT - 1)
            .collect();
        self.unanswered.retain(|id, _| !old.contains(id));
    }

    pub(super) fn schedule_beat(&mut self, now: Timestamp) {
        let every = self.lease.beat_every;
        let wait = self.rng.duration(every * 9 / 10, every * 11 / 10);
        self.next_beat = now.plus(wait.max(Duration::from_millis(50)));
    }

    /// Sends a new request.
    pub(super) fn ask(
        &mut self,
        now: Timestamp,
        body: WorkerMessage,
        last_of: Option<(WorkloadId, Attempt)>,
    ) {
        self.sequence = self.sequence.next();
        self.next_message += 1;
        let carries = match &body {
            WorkerMessage::Checkpoint {
                checkpoint_sequence,
                ..
            } => Carries::Checkpoint(*checkpoint_sequence),
            WorkerMessage::Completed { .. } | WorkerMessage::Failed { .. } => Carries::Result,
            WorkerMessage::Register { .. }
            | WorkerMessage::Heartbeat { .. }
            | WorkerMessage::Started { .. }
            | WorkerMessage::Stopped { .. }
            | WorkerMessage::Deregister => Carries::Nothing,
        };
        let is_beat = matches!(body, WorkerMessage::Heartbeat { .. });
        let request = Arc::new(WorkerRequest {
            from: self.place,
            message_id: self.next_message,
            request: Request {
                reply_to: RequestId::ZERO,
                worker: self.profile.worker.clone(),
                incarnation: self.incarnation.clone(),
                generation_seen: self.seen,
                sequence: self.sequence,
                body,
            },
            carries,
        });
        let interval = FIRST_REPEAT;
        let unanswered = Unanswered {
            request: Arc::clone(&request),
            first_sent: now,
            next_send: (!is_beat).then(|| now.plus(interval)),
            interval,
            last_of,
        };
        self.unanswered.insert(self.next_message, unanswered);
        self.deeds.push(super::Deed::Send(request));
    }

    pub(super) fn repeat_requests(&mut self, now: Timestamp) {
        let mut again = Vec::new();
        for asked in self.unanswered.values_mut() {
            if asked.next_send.is_some_and(|at| at <= now) {
                asked.interval = (asked.interval * 2).min(LAST_REPEAT);
                let jitter = self.rng.duration(Duration::ZERO, asked.interval / 5);
                asked.next_send = Some(now.plus(asked.interval + jitter));
                again.push(Arc::clone(&asked.request));
            }
        }
        self.deeds.extend(again.into_iter().map(super::Deed::Send));
    }
}

const BEATS_KEPT: usize = 8;
const FIRST_REPEAT: Duration = Duration::from_secs(2);
const LAST_REPEAT: Duration = Duration::from_secs(10);
