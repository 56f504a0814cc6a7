//! What is written beside the batch: contents of reports, guarded by the open attempt; and notes,
//! which pass over rows that are locked.

use super::{
    Store,
    locks::RowKey,
    session::SqlError,
    statement::{Answer, AssignmentAsk, ContentWrite},
    tables::Write,
    transaction::{Next, Transaction},
};
use base64::Engine as _;
use niyanta_core::{
    Content,
    ids::{Attempt, Incarnation, WorkerId, WorkloadId},
    scheduling::PendingReason,
    snapshot::WorkloadRow,
    time::Duration,
    workload::Status,
};
use runtime::store::AssignmentRow;

impl Store {
    pub(super) fn write_content(&self, tx: &mut Transaction, write: &ContentWrite) -> Next {
        if write.is_bad {
            return Next::Failed(SqlError::Data);
        }
        if !self.is_open(write) {
            return Next::Done(Answer::Content(Content::NotOpen));
        }
        if tx.cursor == 0 {
            tx.cursor = 1;
            return Next::Lock(RowKey::Workload(write.workload));
        }
        tx.writes.push(Write::Content);
        Next::Done(Answer::Content(Content::Stored))
    }

    /// The attempt is that worker's, and no newer checkpoint is there.
    fn is_open(&self, write: &ContentWrite) -> bool {
        self.tables
            .workloads
            .get(&write.workload)
            .is_some_and(|found| {
                let leader = &found.row.leader;
                let newer = write
                    .checkpoint
                    .is_none_or(|sequence| found.row.checkpoint <= Some((write.attempt, sequence)));
                let theirs = leader
                    .worker
                    .as_ref()
                    .is_some_and(|(_, incarnation)| *incarnation == write.incarnation);
                leader.attempt == write.attempt && theirs && newer
            })
    }

    pub(super) fn assignment(&self, ask: &AssignmentAsk) -> Answer {
        let found = self.tables.workloads.get(&ask.workload).filter(|found| {
            let leader = &found.row.leader;
            leader.status.has_open_attempt() && leader.attempt == ask.attempt
        });
        Answer::Assignment(found.map(|found| Box::new(assignment_row(&found.row))))
    }

    pub(super) fn record_reasons(
        &self,
        tx: &mut Transaction,
        reasons: &[(WorkloadId, Attempt, PendingReason)],
    ) -> Next {
        if tx.has_row {
            tx.has_row = false;
            tx.writes.push(Write::Reason(tx.cursor - 1));
        }
        while let Some((workload, attempt, reason)) = reasons.get(tx.cursor) {
            tx.cursor += 1;
            let key = RowKey::Workload(*workload);
            let wanted = self.tables.workloads.get(workload).is_some_and(|found| {
                found.row.leader.status == Status::Pending
                    && found.row.leader.attempt == *attempt
                    && found.pending_reason != Some(*reason)
            });
            if wanted && (self.locks.is_empty() || self.locks.holder(&key).is_none()) {
                return Next::Lock(key);
            }
        }
        Next::Done(Answer::Done)
    }

    pub(super) fn record_heartbeats(
        &self,
        tx: &mut Transaction,
        heard: &[(WorkerId, Incarnation, Duration)],
    ) -> Next {
        if tx.has_row {
            tx.has_row = false;
            tx.writes.push(Write::Heard);
        }
        while let Some((worker, incarnation, _)) = heard.get(tx.cursor) {
            tx.cursor += 1;
            let wanted = self
                .tables
                .workers
                .get(worker)
                .is_some_and(|found| found.row.record.incarnation == *incarnation);
            if !wanted {
                continue;
            }
            let key = RowKey::Worker(worker.clone());
            if self.locks.is_empty() || self.locks.holder(&key).is_none() {
                return Next::Lock(key);
            }
        }
        Next::Done(Answer::Done)
    }
}

/// What a workload's assignment carries. No simulated workload has parameters.
fn assignment_row(row: &WorkloadRow) -> AssignmentRow {
    let empty = || serde_json::json!({});
    let checkpoint = row.checkpoint.map(|(attempt, sequence)| {
        let data = base64::engine::general_purpose::STANDARD.encode(sequence.to_be_bytes());
        (attempt, sequence, data)
    });
    AssignmentRow {
        workload: row.id,
        attempt: row.leader.attempt,
        workload_type: row.workload_type.clone(),
        config_json: empty(),
        resource_limits: empty(),
        input_params: empty(),
        checkpoint_interval_sec: 1,
        checkpoint,
        timeout_seconds: u32::try_from(row.timeout.as_secs()).unwrap_or(u32::MAX),
        on_lease_loss: row.on_lease_loss,
    }
}
