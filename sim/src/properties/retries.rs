//! P22: attempts by failure at most 1 + max_retries; losses and back-offs within their limits.
//!
//! Counts failures and losses from the audit trail itself, not from the counters that the leader
//! keeps.

use super::{Observation, Property, View, ledger::pairs};
use crate::model::store::{Change, Moved};
use niyanta_core::{
    batch::{Actor, AuditDetails, AuditStep, WorkloadWrite},
    ids::{Attempt, WorkloadId},
    time::WallTime,
    workload::{AuditKind, Cause, ErrorType, Status},
};
use std::collections::BTreeMap;

/// P22.
#[derive(Default)]
pub(crate) struct Retries {
    failures: BTreeMap<WorkloadId, u32>,
    losses: BTreeMap<WorkloadId, Losses>,
}

/// Losses in a row.
#[derive(Default, Clone, Copy)]
struct Losses {
    count: u32,
    /// The last checkpoint at the last of them: a newer one begins a new row.
    checkpoint: Option<(Attempt, u64)>,
}

impl Property for Retries {
    const NAME: &'static str = "P22";

    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::Committed {
            change: Change::Batch { batch, time, moved },
        } = observation
        else {
            return Ok(());
        };
        for (write, moved) in pairs(&batch.workloads, moved) {
            self.check(view, *time, write, moved)?;
        }
        Ok(())
    }
}

impl Retries {
    fn check(
        &mut self,
        view: View<'_>,
        time: WallTime,
        write: &WorkloadWrite,
        moved: &Moved,
    ) -> Result<(), String> {
        let id = write.id;
        let Some(found) = view.store.workload(id) else {
            return Ok(());
        };
        let allowed = found.row.max_retries;
        let mut status = moved.before.status;
        for step in &write.steps {
            self.count_failure(id, step, allowed)?;
            if is_loss(step) && status == Status::Running && was_undisturbed(write, moved) {
                self.count_loss(id, found.row.checkpoint);
            }
            status = super::legal_moves::reached(step.kind);
        }
        let failures = self.failures.get(&id).copied().unwrap_or_default();
        if write.to.retry_count != failures {
            return Err(format!(
                "{id}: {} failures are kept, {failures} were recorded",
                write.to.retry_count
            ));
        }
        let plans = view.plan.coordinators.iter();
        let limit = plans.clone().map(|plan| plan.loss_limit).max().unwrap_or(0);
        let losses = self.losses.get(&id).map_or(0, |losses| losses.count);
        let goes_on = write.to.status == Status::Pending && losses >= limit;
        // The last loss that is allowed ends it, with the attempt that was lost.
        let kept = write.to.loss_count >= limit.max(1) && !write.to.status.is_terminal();
        if goes_on || kept || write.to.loss_count > limit {
            return Err(format!(
                "{id}: {losses} losses in a row ({} are kept), {limit} end it",
                write.to.loss_count
            ));
        }
        let cap = plans.map(|plan| plan.backoff_cap).max().unwrap_or_default();
        let latest = time.plus(cap);
        let steps = view.plan.steps_clock();
        if !steps && write.to.backoff_until.is_some_and(|until| until > latest) {
            return Err(format!("{id}: a back-off beyond its cap"));
        }
        Ok(())
    }

    fn count_loss(&mut self, id: WorkloadId, checkpoint: Option<(Attempt, u64)>) {
        let losses = self.losses.entry(id).or_default();
        let is_newer = checkpoint > losses.checkpoint;
        losses.count = if is_newer { 1 } else { losses.count + 1 };
        losses.checkpoint = checkpoint;
    }

    fn count_failure(
        &mut self,
        id: WorkloadId,
        step: &AuditStep,
        allowed: u32,
    ) -> Result<(), String> {
        let failures = self.failures.entry(id).or_default();
        match (step.kind, &step.details) {
            (_, AuditDetails::Retrying { retry, .. }) => {
                *failures += 1;
                if *failures > allowed || *failures != *retry {
                    return Err(format!(
                        "{id}: retry {retry} after {failures} failures, {allowed} retries are allowed"
                    ));
                }
                Ok(())
            }
            (AuditKind::Retrying, _) => Err(format!("{id}: a retry without its number")),
            (
                AuditKind::Failed,
                AuditDetails::Failed {
                    error_type: ErrorType::Transient | ErrorType::Timeout,
                },
            ) if *failures < allowed => Err(format!(
                "{id} failed for good after {failures} retries, {allowed} are allowed"
            )),
            _ => Ok(()),
        }
    }
}

/// Time decided that the worker is lost.
fn is_loss(step: &AuditStep) -> bool {
    let lost = matches!(
        step.details,
        AuditDetails::Stopped {
            cause: Cause::LeaseLost,
            ..
        }
    );
    lost && !matches!(step.actor, Actor::Worker(_))
}

/// Nobody wanted it stopped, as far as the commits tell: what is being stopped and lost counts for
/// nothing.
fn was_undisturbed(write: &WorkloadWrite, moved: &Moved) -> bool {
    moved.before.stopping.is_none() && moved.before.wish_seen == write.to.wish_seen
}
