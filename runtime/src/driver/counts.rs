//! What is counted of commits and answers, under labels that nobody outside chooses.

use crate::metrics as names;
use niyanta_core::{
    ReplyStatus,
    batch::{Batch, WorkloadWrite},
    workload::AuditKind,
};

/// A batch was applied: assignments, and attempts that are over.
pub(super) fn committed(batch: &Batch) {
    for write in &batch.workloads {
        let assigned = write
            .steps
            .iter()
            .filter(|step| step.kind == AuditKind::Scheduled);
        metrics::counter!(names::ASSIGNMENTS).increment(assigned.count() as u64);
        for how in ended(write) {
            metrics::counter!(names::ENDED_ATTEMPTS, "how" => how).increment(1);
        }
    }
}

/// A worker's message was answered.
pub(super) fn answered(kind: &'static str, status: &ReplyStatus) {
    let answer = match status {
        ReplyStatus::Ok => "ok",
        ReplyStatus::OkContentRefused => "ok_content_refused",
        ReplyStatus::Stale => "stale",
        ReplyStatus::UnknownWorker => "unknown_worker",
        ReplyStatus::IdInUse { .. } => "id_in_use",
        ReplyStatus::IncarnationEnded | ReplyStatus::Refused => "rejected",
    };
    message(kind, answer);
}

/// A worker's message was understood; `none` is the answer to one that gets none.
pub(super) fn message(kind: &'static str, answer: &'static str) {
    metrics::counter!(names::WORKER_MESSAGES, "type" => kind, "answer" => answer).increment(1);
}

/// How each attempt ended that a write closes: several may, when it folds many steps.
fn ended(write: &WorkloadWrite) -> Vec<&'static str> {
    let mut is_open = write.from_status.has_open_attempt();
    let mut ends = Vec::new();
    for step in &write.steps {
        let how = match step.kind {
            AuditKind::Scheduled => {
                is_open = true;
                continue;
            }
            AuditKind::Created
            | AuditKind::Started
            | AuditKind::Redistributing
            | AuditKind::PauseRequested
            | AuditKind::CancelRequested
            | AuditKind::ResumeRequested => continue,
            AuditKind::Completed => "completed",
            AuditKind::Failed => "failed",
            AuditKind::Retrying => "retrying",
            AuditKind::Requeued => "requeued",
            AuditKind::Paused => "paused",
            AuditKind::Cancelled => "cancelled",
        };
        if is_open {
            ends.push(how);
        }
        is_open = false;
    }
    ends
}
