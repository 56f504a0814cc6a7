//! Statements of the API's half: submissions and wishes, each a write by nobody but the API.

use super::{
    Store,
    rows::{AuditRow, Change, Submission, Workload},
    statement::{Answer, SubmitAnswer, WishAnswer},
};
use niyanta_core::{
    batch::{AuditDetails, LeaderHalf},
    config::Config,
    fleet::WorkerDesired,
    ids::{Attempt, CustomerId, WishRevision, WorkerId, WorkloadId},
    time::{Duration, WallTime},
    workload::{AuditKind, Desired, Status},
};
use sim_probes::{Bug, is_planted};

impl Store {
    pub(super) fn submit(&mut self, time: WallTime, submission: &Submission) -> Answer {
        let row = &submission.row;
        if self.workloads.contains_key(&row.id) {
            return Answer::Submitted(SubmitAnswer::There(row.id));
        }
        let key = submission.key.map(|key| (row.customer, key));
        if let Some(key) = key
            && !is_planted(Bug::KeyIgnored)
            && let Some(first) = self.keys.get(&key)
        {
            return Answer::Submitted(SubmitAnswer::There(*first));
        }
        let unlimited = is_planted(Bug::QuotaIgnored);
        let Some(counters) = self.customers.get_mut(&row.customer) else {
            return Answer::Submitted(SubmitAnswer::QueueFull);
        };
        if !unlimited && counters.submitted - counters.left_queue >= counters.max_queued {
            return Answer::Submitted(SubmitAnswer::QueueFull);
        }
        counters.submitted += 1;
        if let Some(key) = key {
            self.keys.insert(key, row.id);
        }
        self.changes.push(Change::Submitted {
            workload: row.id,
            customer: row.customer,
            key: submission.key,
        });
        let workload = made(time, submission);
        self.workloads.insert(row.id, workload);
        Answer::Submitted(SubmitAnswer::There(row.id))
    }

    pub(super) fn wish(
        &mut self,
        time: WallTime,
        customer: CustomerId,
        workload: WorkloadId,
        desired: Desired,
    ) -> Answer {
        let undoes = is_planted(Bug::ResumeUndoesCancel);
        let skips = is_planted(Bug::WishSkipsVersion);
        let Some(found) = self.workloads.get_mut(&workload) else {
            return Answer::Wished(WishAnswer::NotFound);
        };
        if found.row.customer != customer {
            return Answer::Wished(WishAnswer::NotFound);
        }
        let status = found.row.leader.status;
        let recorded = |found: &Workload, is_true| {
            Answer::Wished(WishAnswer::Recorded {
                revision: found.row.wish_revision,
                version: found.version,
                is_true,
            })
        };
        if status.is_terminal() {
            let same = desired == Desired::Cancel && status == Status::Cancelled;
            return if same {
                recorded(found, true)
            } else {
                Answer::Wished(WishAnswer::Conflict)
            };
        }
        if found.row.desired == desired {
            let is_true = match desired {
                Desired::Cancel => false,
                Desired::Pause => status == Status::Paused,
                Desired::Run => status != Status::Paused && found.row.leader.stopping.is_none(),
            };
            return recorded(found, is_true);
        }
        if found.row.desired == Desired::Cancel && !undoes {
            return Answer::Wished(WishAnswer::Conflict);
        }
        found.waits_since = Some(time);
        let before = found.row.desired;
        let before_version = found.version;
        found.row.desired = desired;
        found.row.wish_revision = found.row.wish_revision.next();
        if !skips {
            found.version += 1;
        }
        found.audit.push(AuditRow {
            number: before_version + 1,
            kind: match desired {
                Desired::Cancel => AuditKind::CancelRequested,
                Desired::Pause => AuditKind::PauseRequested,
                Desired::Run => AuditKind::ResumeRequested,
            },
            actor: None,
            attempt: found.row.leader.attempt,
            generation: None,
            details: AuditDetails::None,
        });
        let answer = recorded(found, false);
        self.changes.push(Change::Wished {
            workload,
            before,
            before_version,
        });
        answer
    }

    pub(super) fn wish_worker(
        &mut self,
        time: WallTime,
        worker: &WorkerId,
        desired: WorkerDesired,
        deadline: Option<Duration>,
    ) -> Answer {
        let Some(found) = self.workers.get_mut(worker) else {
            return Answer::WorkerWished(false);
        };
        let removed = found.row.desired == WorkerDesired::Remove;
        if !removed {
            found.row.desired = desired;
            found.row.wish_revision = found.row.wish_revision.next();
            found.row.drain_deadline = deadline
                .filter(|_| desired == WorkerDesired::Drain)
                .map(|deadline| time.plus(deadline));
        }
        Answer::WorkerWished(true)
    }

    pub(super) fn get(&self, customer: CustomerId, workload: WorkloadId) -> Answer {
        let lags = is_planted(Bug::StaleReads);
        let found = self
            .workloads
            .get(&workload)
            .filter(|found| found.row.customer == customer)
            .filter(|found| !lags || found.version > 1);
        Answer::Got(found.map(|found| (found.row.leader.status, found.row.desired, found.version)))
    }
}

/// The row that a submission makes.
fn made(time: WallTime, submission: &Submission) -> Workload {
    let mut row = submission.row.clone();
    let eligible_at = row.run_after.map_or(time, |after| after.max(time));
    let ageing = Config::AGEING_PER_PRIORITY.as_micros() * u128::from(row.priority);
    row.desired = Desired::Run;
    row.wish_revision = WishRevision::ZERO;
    row.leader = LeaderHalf {
        status: Status::Pending,
        attempt: Attempt::ZERO,
        worker: None,
        retry_count: 0,
        loss_count: 0,
        eligible_at,
        sort_key: eligible_at.0 - i64::try_from(ageing).unwrap_or(i64::MAX),
        backoff_until: None,
        wish_seen: WishRevision::ZERO,
        stopping: None,
        error_type: None,
    };
    Workload {
        row,
        version: 1,
        audit: vec![AuditRow {
            number: 1,
            kind: AuditKind::Created,
            actor: None,
            attempt: Attempt::ZERO,
            generation: None,
            details: AuditDetails::None,
        }],
        pending_reason: None,
        waits_since: Some(time),
        result_of: None,
    }
}
