//! What is written beside the batch: contents of reports, guarded by the open attempt.

use super::{Database, SimStore, misheard};
use crate::model::store::{Answer, ContentWrite, Statement};
use niyanta_core::{
    Content,
    batch::AuditDetails,
    ids::{Attempt, Incarnation, WorkerId, WorkloadId},
    time::Duration,
    workload::AuditKind,
};
use runtime::store::{
    AssignmentRow, CheckpointReport, LogReport, OutcomeReport, ProgressReport, StoreError, Written,
    words,
};

impl SimStore {
    pub(super) fn write_outcome(&self, it: &OutcomeReport) -> Result<Written, StoreError> {
        if let Some(result) = &it.result_data {
            words::check_json(result)?;
        }
        if let Some(message) = &it.error_message {
            words::check_text(message)?;
        }
        let now = self.time.now();
        let mut database = self.lock();
        let write = ContentWrite {
            workload: it.workload,
            attempt: it.attempt,
            incarnation: it.incarnation.clone(),
            checkpoint: None,
            is_bad: false,
        };
        let written = written(&database.run(now, &Statement::Content(write))?)?;
        if written == Written::Stored
            && let Some(papers) = database.shelf.papers.get_mut(&it.workload)
        {
            if let Some(result) = &it.result_data {
                papers.result = Some((it.attempt, result.clone()));
            }
            if let Some(message) = &it.error_message {
                papers.error = Some((it.attempt, message.clone()));
            }
        }
        Ok(written)
    }

    pub(super) fn write_checkpoint(&self, it: &CheckpointReport) -> Result<Written, StoreError> {
        words::check_text(&it.data)?;
        let now = self.time.now();
        let mut database = self.lock();
        let write = ContentWrite {
            workload: it.workload,
            attempt: it.attempt,
            incarnation: it.incarnation.clone(),
            checkpoint: Some(it.checkpoint_sequence),
            is_bad: false,
        };
        let written = written(&database.run(now, &Statement::Content(write))?)?;
        if written == Written::Stored
            && let Some(papers) = database.shelf.papers.get_mut(&it.workload)
        {
            papers.checkpoint = Some((it.attempt, it.checkpoint_sequence, it.data.clone()));
        }
        Ok(written)
    }

    pub(super) fn write_progress(&self, progress: &[ProgressReport]) -> Result<(), StoreError> {
        for it in progress {
            it.message.as_deref().map_or(Ok(()), words::check_text)?;
        }
        let mut database = self.lock();
        for it in progress {
            if database.is_open(it.workload, it.attempt, &it.incarnation)
                && let Some(papers) = database.shelf.papers.get_mut(&it.workload)
            {
                papers.progress = Some((it.percent, it.message.clone()));
            }
        }
        Ok(())
    }

    pub(super) fn write_logs(&self, it: &LogReport) -> Result<Written, StoreError> {
        for line in &it.lines {
            words::check_log_message(&line.message)?;
            words::check_text(&line.level)?;
        }
        let mut database = self.lock();
        if !database.was_open(it.workload, it.attempt, &it.incarnation) {
            return Ok(Written::NotOpen);
        }
        if let Some(papers) = database.shelf.papers.get_mut(&it.workload) {
            for (sequence, line) in (it.first_sequence..).zip(&it.lines) {
                let place = (it.attempt, sequence);
                papers.logs.entry(place).or_insert_with(|| line.clone());
            }
            if words::trims_logs(it) {
                while papers.logs.len() > words::LOG_LINES_KEPT as usize {
                    papers.logs.pop_first();
                }
            }
        }
        Ok(Written::Stored)
    }

    pub(super) fn read_assignments(&self, wanted: &[(WorkloadId, Attempt)]) -> Vec<AssignmentRow> {
        let database = self.lock();
        let rows = wanted.iter().filter_map(|(id, attempt)| {
            let row = &database.model.workload(*id)?.row;
            let papers = database.shelf.papers.get(id)?;
            (row.leader.attempt == *attempt && row.leader.worker.is_some()).then(|| AssignmentRow {
                workload: *id,
                attempt: *attempt,
                workload_type: row.workload_type.clone(),
                config_json: papers.config_json.clone(),
                resource_limits: papers.resource_limits.clone(),
                input_params: papers.input_params.clone(),
                checkpoint_interval_sec: papers.checkpoint_interval_sec,
                checkpoint: papers.checkpoint.clone(),
                timeout_seconds: papers.timeout_seconds,
                on_lease_loss: row.on_lease_loss,
            })
        });
        rows.collect()
    }

    pub(super) fn note_heartbeats(&self, heard: &[(WorkerId, Incarnation, Duration)]) {
        let now = self.database_time();
        let mut database = self.lock();
        for (worker, incarnation, age) in heard {
            let is_this = database
                .model
                .worker(worker)
                .is_some_and(|found| found.row.record.incarnation == *incarnation);
            if is_this && let Some(seen) = database.shelf.workers.get_mut(worker) {
                seen.last_heartbeat = seen.last_heartbeat.max(Some(now.minus(*age)));
            }
        }
    }
}

impl Database {
    fn is_open(&self, id: WorkloadId, attempt: Attempt, incarnation: &Incarnation) -> bool {
        self.model.workload(id).is_some_and(|found| {
            let leader = &found.row.leader;
            let holder = leader.worker.as_ref().map(|(_, incarnation)| incarnation);
            leader.attempt == attempt && holder == Some(incarnation)
        })
    }

    /// The attempt is, or by the audit was, that incarnation's.
    fn was_open(&self, id: WorkloadId, attempt: Attempt, incarnation: &Incarnation) -> bool {
        let was = |details: &AuditDetails| matches!(details, AuditDetails::Assigned { incarnation: to, .. } if to == incarnation);
        self.is_open(id, attempt, incarnation)
            || self.model.workload(id).is_some_and(|found| {
                found.audit.iter().any(|event| {
                    event.kind == AuditKind::Scheduled
                        && event.attempt == attempt
                        && was(&event.details)
                })
            })
    }
}

fn written(answer: &Answer) -> Result<Written, StoreError> {
    match answer {
        Answer::Content(Content::Stored) => Ok(Written::Stored),
        Answer::Content(Content::NotOpen) => Ok(Written::NotOpen),
        Answer::Content(Content::Refused) => Err(StoreError::Refused("a value".into())),
        other => Err(misheard("a content", other)),
    }
}
