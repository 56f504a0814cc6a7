//! Workloads, their audit and their logs, as customers read them.

use super::{Database, SimStore, misheard, shelf::Papers};
use crate::model::store::{Answer, Statement};
use niyanta_core::{
    ids::{Attempt, CustomerId, Generation, WorkloadId, WorkloadType},
    time::WallTime,
    workload::{ErrorType, Status},
};
use runtime::store::{
    AuditRow, ConfigRow, LogFilter, LogRow, Page, StoreError, WorkloadFilter, WorkloadView, words,
};
use serde_json::json;
use sim_probes::{Bug, is_planted};

impl SimStore {
    pub(super) fn read_workload(
        &self,
        customer: CustomerId,
        workload: WorkloadId,
    ) -> Result<Option<WorkloadView>, StoreError> {
        // Whether it is there to be read is the model's to say.
        match self.run(&Statement::Get { customer, workload })? {
            Answer::Got(Some(_)) => Ok(self.lock().view(customer, workload)),
            Answer::Got(None) => Ok(None),
            other => Err(misheard("workload", &other)),
        }
    }

    pub(super) fn list_workloads(
        &self,
        customer: CustomerId,
        filter: &WorkloadFilter,
        page: &Page,
    ) -> Vec<WorkloadView> {
        let database = self.lock();
        let forgets = is_planted(Bug::ListForgetsCustomer) && *filter != WorkloadFilter::default();
        let views = database.model.workloads().filter_map(|found| {
            let owner = if forgets {
                found.row.customer
            } else {
                customer
            };
            database.view(owner, found.row.id)
        });
        let wanted = views.filter(|view| fits(filter, view)).collect();
        cut(page, wanted, |view| (view.created_at, view.id.0))
    }

    pub(super) fn read_audit(
        &self,
        customer: CustomerId,
        workload: WorkloadId,
        after: i64,
        limit: u32,
    ) -> Option<Vec<AuditRow>> {
        let database = self.lock();
        let found = database.model.workload(workload)?;
        if found.row.customer != customer {
            return None;
        }
        let papers = database.shelf.papers.get(&workload)?;
        let rows = found.audit.iter().zip(&papers.hands).map(|(event, hand)| {
            let reason = hand.reason.as_ref();
            AuditRow {
                sequence: signed(event.number),
                kind: event.kind,
                timestamp: hand.at,
                actor_type: hand.actor_type.to_owned(),
                actor_id: hand.actor_id.clone(),
                attempt: event.attempt,
                generation: event.generation.unwrap_or(Generation::ZERO),
                details: reason.map_or_else(
                    || words::audit_details(&event.details),
                    |reason| json!({ "reason": reason }),
                ),
            }
        });
        let after = rows.filter(|row| row.sequence > after);
        Some(after.take(wide(limit)).collect())
    }

    pub(super) fn read_logs(
        &self,
        customer: CustomerId,
        workload: WorkloadId,
        filter: &LogFilter,
        limit: u32,
    ) -> Option<Vec<LogRow>> {
        let database = self.lock();
        let found = database.model.workload(workload)?;
        if found.row.customer != customer {
            return None;
        }
        let papers = database.shelf.papers.get(&workload)?;
        let wanted = papers.logs.iter().filter(|(place, line)| {
            filter.after.is_none_or(|after| **place > after)
                && filter.since.is_none_or(|since| line.timestamp >= since)
                && filter.until.is_none_or(|until| line.timestamp < until)
        });
        let rows = wanted.map(|((attempt, sequence), line)| LogRow {
            sequence: *sequence,
            attempt: *attempt,
            line: line.clone(),
        });
        Some(rows.take(wide(limit)).collect())
    }

    pub(super) fn list_configs(&self, customer: CustomerId, page: &Page) -> Vec<ConfigRow> {
        let database = self.lock();
        let mine = database.shelf.configs.iter();
        let mine = mine.filter(|((owner, _), _)| *owner == customer);
        let mine = mine.map(|(_, row)| row.clone()).collect();
        cut(page, mine, |row| (row.created_at, row.record.id.0))
    }
}

impl Database {
    /// The customer's config of this type.
    pub(super) fn config_of(
        &self,
        customer: CustomerId,
        workload_type: &WorkloadType,
    ) -> Option<ConfigRow> {
        let mut mine = self.shelf.configs.iter();
        let found = mine.find(|((owner, _), row)| {
            *owner == customer && row.record.workload_type == *workload_type
        });
        found.map(|(_, row)| row.clone())
    }

    /// A workload as its customer sees it.
    pub(super) fn view(&self, customer: CustomerId, id: WorkloadId) -> Option<WorkloadView> {
        let found = self.model.workload(id)?;
        if found.row.customer != customer {
            return None;
        }
        let papers = self.shelf.papers.get(&id)?;
        let row = &found.row;
        let leader = &row.leader;
        let status = leader.status;
        // What an attempt's last report carried is told once the attempt is over.
        let told = |of: Attempt| of < leader.attempt || !status.has_open_attempt();
        let reason = found.pending_reason.as_ref();
        let (percent, message) = papers.progress.clone().unzip();
        Some(WorkloadView {
            id,
            customer,
            workload_type: row.workload_type.clone(),
            status,
            desired: row.desired,
            wish_revision: row.wish_revision,
            pending_reason: reason
                .filter(|_| status == Status::Pending)
                .map(|reason| (reason.code(), words::reason_text(reason))),
            priority: row.priority,
            progress_percent: match status {
                Status::Completed => Some(100.0),
                Status::Pending
                | Status::Scheduled
                | Status::Running
                | Status::Paused
                | Status::Redistributing
                | Status::Failed
                | Status::Cancelled => percent,
            },
            progress_message: message.flatten(),
            worker_id: leader.worker.as_ref().map(|(worker, _)| worker.clone()),
            attempt: leader.attempt,
            retry_count: leader.retry_count,
            loss_count: leader.loss_count,
            input_params: papers.input_params.clone(),
            result_data: papers
                .result
                .as_ref()
                .filter(|(of, _)| told(*of))
                .map(|(_, result)| result.clone()),
            error_message: error_message(papers, leader.error_type, told),
            error_type: leader.error_type,
            affinity_rules: papers.affinity_rules.clone(),
            timeout_seconds: papers.timeout_seconds,
            max_retries: row.max_retries,
            on_lease_loss: row.on_lease_loss,
            labels: papers.labels.clone(),
            run_after: row.run_after,
            created_at: papers.moments.created,
            scheduled_at: papers.moments.scheduled,
            started_at: papers.moments.started,
            completed_at: papers.moments.completed,
            updated_at: papers.moments.updated,
            version: signed(found.version),
        })
    }
}

fn error_message(
    papers: &Papers,
    error_type: Option<ErrorType>,
    told: impl Fn(Attempt) -> bool,
) -> Option<String> {
    match error_type? {
        ErrorType::WorkerLost => Some("the workers that ran it were lost".to_owned()),
        ErrorType::Transient | ErrorType::Permanent | ErrorType::Timeout => papers
            .error
            .as_ref()
            .filter(|(of, _)| told(*of))
            .map(|(_, message)| message.clone()),
    }
}

fn fits(filter: &WorkloadFilter, view: &WorkloadView) -> bool {
    let of_type = filter.workload_type.as_ref();
    let mut labels = filter.labels.iter();
    (filter.status.is_empty() || filter.status.contains(&view.status))
        && of_type.is_none_or(|of_type| *of_type == view.workload_type)
        && labels.all(|(name, value)| view.labels.get(name) == Some(value))
        && filter
            .created_after
            .is_none_or(|after| view.created_at > after)
        && filter
            .created_before
            .is_none_or(|before| view.created_at < before)
}

/// The rows of a page, in its order.
pub(super) fn cut<T>(
    page: &Page,
    mut rows: Vec<T>,
    place: impl Fn(&T) -> (WallTime, u128),
) -> Vec<T> {
    rows.sort_by_key(&place);
    if !page.ascending {
        rows.reverse();
    }
    rows.retain(|row| {
        let (at, id) = place(row);
        let beyond = page.after.is_none_or(|after| {
            if page.ascending {
                (at, id) > after
            } else {
                (at, id) < after
            }
        });
        beyond && page.until.is_none_or(|until| at <= until)
    });
    rows.truncate(wide(page.limit));
    rows
}

/// Versions are far below where this matters.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn wide(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
