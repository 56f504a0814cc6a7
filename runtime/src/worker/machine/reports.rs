//! What attempts say while they run: checkpoints and progress, and the ends that wait for the answer
//! to a checkpoint.

use super::{
    Action, Machine,
    attempts::{Stage, clipped},
    requests::About,
};
use crate::protocol::{Answer, AnswerStatus, CHECKPOINT_BYTES_MAX, of, wire};
use base64::Engine as _;
use niyanta_core::{
    ids::{Attempt, WorkloadId},
    time::{Duration, Timestamp},
};

#[derive(Debug, Clone, Default)]
pub(super) struct Checkpoints {
    pub(super) last: u64,
    pub(super) in_flight: Option<u64>,
    /// Made while another is in flight; a newer one takes its place.
    pub(super) waiting: Option<Vec<u8>>,
    pub(super) answered: Option<u64>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    pub(super) latest: Option<(f64, Option<String>)>,
    pub(super) not_before: Timestamp,
}

impl Machine {
    pub(super) fn on_progress(
        &mut self,
        workload: WorkloadId,
        attempt: Attempt,
        percent: f64,
        message: Option<String>,
    ) {
        let held = self.held.get_mut(&workload);
        if let Some(held) = held.filter(|held| held.attempt == attempt && held.is_running()) {
            let percent = if percent.is_finite() { percent } else { 0.0 };
            let message = message.map(|message| clipped(&message));
            held.progress.latest = Some((percent.clamp(0.0, 100.0), message));
        }
    }

    pub(super) fn on_checkpoint(
        &mut self,
        now: Timestamp,
        workload: WorkloadId,
        attempt: Attempt,
        data: Vec<u8>,
        actions: &mut Vec<Action>,
    ) {
        let Some(held) = self.held.get_mut(&workload) else {
            return;
        };
        if held.attempt != attempt || held.is_forgotten || !held.is_running() {
            return;
        }
        if data.len().div_ceil(3) * 4 > CHECKPOINT_BYTES_MAX {
            tracing::warn!(%workload, bytes = data.len(), "a checkpoint is too large, the one before it stands");
            return;
        }
        if held.checkpoints.in_flight.is_some() {
            held.checkpoints.waiting = Some(data);
        } else {
            self.send_checkpoint(now, workload, &data, actions);
        }
    }

    fn send_checkpoint(
        &mut self,
        now: Timestamp,
        workload: WorkloadId,
        data: &[u8],
        actions: &mut Vec<Action>,
    ) {
        let Some(held) = self.held.get_mut(&workload) else {
            return;
        };
        held.checkpoints.last += 1;
        let number = held.checkpoints.last;
        held.checkpoints.in_flight = Some(number);
        let attempt = held.attempt;
        let body = wire::Checkpoint {
            of: of(workload, attempt),
            checkpoint_sequence: number,
            data: base64::engine::general_purpose::STANDARD.encode(data),
        };
        let about = About::Checkpoint(workload, attempt, number);
        self.request(now, about, "workload.checkpoint", body, actions);
    }

    pub(super) fn on_checkpoint_answered(
        &mut self,
        now: Timestamp,
        (workload, attempt): (WorkloadId, Attempt),
        number: u64,
        answer: &Answer,
        actions: &mut Vec<Action>,
    ) {
        if let AnswerStatus::Stale = answer.status {
            self.forget(now, workload, attempt, actions);
            return;
        }
        let Some(held) = self.held.get_mut(&workload) else {
            return;
        };
        if held.attempt != attempt || held.checkpoints.in_flight != Some(number) {
            return;
        }
        held.checkpoints.in_flight = None;
        if let AnswerStatus::Ok = answer.status {
            held.checkpoints.answered = Some(number);
        }
        if let Some(data) = held.checkpoints.waiting.take() {
            self.send_checkpoint(now, workload, &data, actions);
            return;
        }
        if let Stage::Closing(outcome, _) = &held.stage {
            let outcome = outcome.clone();
            self.report_end(now, workload, outcome, actions);
        }
    }

    /// Progress and logs that are due, and ends that waited long enough for their checkpoint.
    pub(super) fn send_what_attempts_say(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let workloads: Vec<_> = self.held.keys().copied().collect();
        for workload in workloads {
            self.send_progress(now, workload, actions);
            let stage = self.held.get(&workload).map(|held| &held.stage);
            if let Some(Stage::Closing(outcome, until)) = stage
                && now >= *until
            {
                let outcome = outcome.clone();
                self.report_end(now, workload, outcome, actions);
            }
        }
        self.send_logs(now, actions);
    }

    fn send_progress(&mut self, now: Timestamp, workload: WorkloadId, actions: &mut Vec<Action>) {
        let Some(held) = self.held.get_mut(&workload) else {
            return;
        };
        if held.is_forgotten || !held.is_running() || now < held.progress.not_before {
            return;
        }
        let Some((progress_percent, message)) = held.progress.latest.take() else {
            return;
        };
        held.progress.not_before = now.plus(PROGRESS_INTERVAL);
        let body = wire::Progress {
            of: of(workload, held.attempt),
            progress_percent,
            message,
        };
        let (_, bytes) = self.encode("workload.progress", body);
        actions.push(Action::Send {
            is_log: false,
            wants_answer: false,
            bytes,
        });
    }
}

const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
