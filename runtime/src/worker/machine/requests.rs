//! What was asked and is not answered: repeated, the same bytes, until it is.

use super::{Action, Event, Machine, Phase};
use crate::probes::{mark, planted};
use crate::protocol::{Answer, AnswerStatus, Word, read_word};
use bytes::Bytes;
use niyanta_core::{
    ids::{Attempt, WorkloadId},
    time::{Duration, Timestamp},
};
use serde::Serialize;

/// A request without an answer.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) about: About,
    bytes: Bytes,
    pub(super) next_at: Timestamp,
    delay: Duration,
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    Register,
    Deregister,
    Started(WorkloadId, Attempt),
    Checkpoint(WorkloadId, Attempt, u64),
    LastReport(WorkloadId, Attempt),
    Log(WorkloadId, Attempt),
}

impl About {
    pub(super) const fn is_last_report(self) -> bool {
        matches!(self, Self::LastReport(..))
    }

    /// Whether it speaks of this attempt, other than through its logs.
    pub(super) fn is_of(self, workload: WorkloadId, attempt: Attempt) -> bool {
        match self {
            Self::Started(w, a) | Self::Checkpoint(w, a, _) | Self::LastReport(w, a) => {
                (w, a) == (workload, attempt)
            }
            Self::Register | Self::Deregister | Self::Log(..) => false,
        }
    }
}

impl Machine {
    /// Sends a request, and remembers to repeat it.
    pub(super) fn request<B: Serialize>(
        &mut self,
        now: Timestamp,
        about: About,
        kind: &str,
        body: B,
        actions: &mut Vec<Action>,
    ) -> u64 {
        let (sequence, bytes) = self.encode(kind, body);
        actions.push(Action::Send {
            is_log: matches!(about, About::Log(..)),
            wants_answer: true,
            bytes: bytes.clone(),
        });
        let wait = self.jittered(FIRST_REPEAT);
        let pending = Pending {
            about,
            bytes,
            next_at: now.plus(wait),
            delay: FIRST_REPEAT,
        };
        self.requests.insert(sequence, pending);
        sequence
    }

    pub(super) fn repeat_requests(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let due: Vec<u64> = self
            .requests
            .iter()
            .filter(|(_, pending)| now >= pending.next_at)
            .map(|(sequence, _)| *sequence)
            .collect();
        for sequence in due {
            let jitter = self.random_below(JITTER);
            let Some(pending) = self.requests.get_mut(&sequence) else {
                continue;
            };
            if planted!(LostReportNotRepeated) && pending.about.is_last_report() {
                pending.next_at = Timestamp::MAX;
                continue;
            }
            if pending.about.is_last_report() {
                mark!(WorkerRepeatsLastReport);
            }
            pending.delay = (pending.delay * 2).min(LAST_REPEAT);
            pending.next_at = now.plus(pending.delay - pending.delay / 10 + jitter);
            actions.push(Action::Send {
                is_log: matches!(pending.about, About::Log(..)),
                wants_answer: true,
                bytes: pending.bytes.clone(),
            });
        }
    }

    /// Bytes arrived, whatever they are.
    pub(super) fn on_heard(&mut self, now: Timestamp, bytes: &Bytes, actions: &mut Vec<Action>) {
        match read_word(bytes) {
            None => tracing::debug!("heard something that this version does not understand"),
            Some(Word::LeaderElected(generation)) => {
                if generation >= self.generation {
                    self.generation = generation;
                    self.speak_soon(now, super::ELECTION_SPREAD);
                }
            }
            Some(Word::Command {
                incarnation,
                generation,
                command,
            }) => {
                let is_current = generation >= self.generation || planted!(WorkerIgnoresGeneration);
                if !is_current {
                    mark!(OlderLeaderCommands);
                }
                if incarnation == self.incarnation && is_current {
                    self.generation = self.generation.max(generation);
                    self.on_command(now, command, actions);
                }
            }
            Some(Word::Answer(answer)) => self.on_answer(now, answer, actions),
        }
    }

    fn on_answer(&mut self, now: Timestamp, answer: Answer, actions: &mut Vec<Action>) {
        let own = answer
            .correlation_id
            .strip_prefix(self.incarnation.as_str());
        let number = own.and_then(|rest| rest.strip_prefix(':'));
        let Some(sequence) = number.and_then(|number| number.parse::<u64>().ok()) else {
            return;
        };
        if let Some(generation) = answer.generation {
            if generation < self.generation {
                mark!(OlderLeaderAnswers);
            }
            if generation < self.generation && !planted!(OlderLeaderAnswersObeyed) {
                return;
            }
            self.generation = self.generation.max(generation);
        }
        let about = self.requests.get(&sequence).map(|pending| pending.about);
        if about.is_none() && !self.lease.is_heartbeat(sequence) {
            return;
        }
        if let Some(About::Log(workload, attempt)) = about {
            self.requests.remove(&sequence);
            self.logs.answered((workload, attempt));
            return;
        }
        if let Some(length) = answer.lease {
            self.lease.told(length, answer.heartbeat);
        }
        // A leaving worker cares for nothing but the answers to what it said last.
        if !matches!(self.phase, Phase::Leaving(_))
            && !self.on_standing(now, sequence, answer.status, actions)
        {
            return;
        }
        self.requests.remove(&sequence);
        match about {
            None => self.on_heartbeat_answered(now, sequence, &answer, actions),
            Some(About::Register) => self.on_registered(now, sequence, &answer, actions),
            Some(About::Deregister) => self.leave(actions),
            Some(About::Log(..)) => {}
            Some(About::Started(workload, attempt)) => {
                self.on_started_answered(now, workload, attempt, answer.status, actions);
            }
            Some(About::Checkpoint(workload, attempt, number)) => {
                self.on_checkpoint_answered(now, (workload, attempt), number, &answer, actions);
            }
            Some(About::LastReport(workload, attempt)) => {
                self.on_last_report_answered(now, (workload, attempt), &answer);
            }
        }
    }

    fn on_registered(
        &mut self,
        now: Timestamp,
        sequence: u64,
        answer: &Answer,
        actions: &mut Vec<Action>,
    ) {
        if answer.status != AnswerStatus::Ok {
            let reason = answer.reason.clone();
            let reason = reason.unwrap_or_else(|| "the registration is refused".to_owned());
            self.exit(Some(reason), actions);
            return;
        }
        self.replaces = None;
        self.extend_lease(now, sequence, actions);
        // An answer that took long leaves a lease that is half over.
        let wait = self.jittered(self.lease.heartbeat);
        let is_fresh = now < self.lease.stop_at();
        self.phase = Phase::Registered(if is_fresh { now.plus(wait) } else { now });
        tracing::info!(worker = %self.settings.worker, incarnation = %self.incarnation, "registered");
    }

    fn on_heartbeat_answered(
        &mut self,
        now: Timestamp,
        sequence: u64,
        answer: &Answer,
        actions: &mut Vec<Action>,
    ) {
        if answer.status != AnswerStatus::Ok {
            tracing::warn!(reason = ?answer.reason, "a heartbeat was refused");
            return;
        }
        self.extend_lease(now, sequence, actions);
        for order in &answer.stop {
            self.on_stop(now, order, actions);
        }
    }

    pub(super) fn extend_lease(
        &mut self,
        now: Timestamp,
        sequence: u64,
        actions: &mut Vec<Action>,
    ) {
        if self.lease.answered(sequence, now) {
            actions.push(Action::LeaseExtended(self.lease.kill_at()));
        }
    }
}

impl Event {
    /// The variant's name, for spans.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Tick => "tick",
            Self::Connected => "connected",
            Self::Heard(_) => "heard",
            Self::Ended { .. } => "ended",
            Self::Progress { .. } => "progress",
            Self::Checkpoint { .. } => "checkpoint",
            Self::Log { .. } => "log",
            Self::ShutdownRequested(_) => "shutdown_requested",
        }
    }
}

const FIRST_REPEAT: Duration = Duration::from_secs(2);
const LAST_REPEAT: Duration = Duration::from_secs(10);
const JITTER: Duration = Duration::from_millis(400);
