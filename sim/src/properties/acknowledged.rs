//! P10: what was acknowledged is there; what was denied is not; a cancel is never undone.

use super::{Observation, Property, View};
use crate::{
    model::store::Change,
    world::{ApiAnswer, ApiAsk, Call},
};
use niyanta_core::{
    ids::{WishRevision, WorkloadId},
    workload::Desired,
};
use std::collections::{BTreeMap, BTreeSet};

/// P10.
#[derive(Default)]
pub(crate) struct Acknowledged {
    submitted: BTreeSet<WorkloadId>,
    denied: BTreeSet<WorkloadId>,
    wished: BTreeMap<WorkloadId, WishRevision>,
}

impl Property for Acknowledged {
    const NAME: &'static str = "P10";

    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::CallAnswered { call, answer } => self.note(view, call, answer),
            Observation::Committed {
                change: Change::Submitted { workload, .. },
            } if self.denied.contains(workload) => {
                Err(format!("{workload} was denied, and is there"))
            }
            Observation::Committed {
                change:
                    Change::Wished {
                        workload,
                        before: Desired::Cancel,
                        ..
                    },
            } => Err(format!("the cancel of {workload} was undone")),
            Observation::Settled | Observation::Stuck { .. } => self.check_all(view),
            _ => Ok(()),
        }
    }
}

impl Acknowledged {
    fn note(&mut self, view: View<'_>, call: &Call, answer: &ApiAnswer) -> Result<(), String> {
        match (&call.ask, answer) {
            (ApiAsk::Submit { row, .. }, ApiAnswer::Submitted(workload)) => {
                self.submitted.insert(*workload);
                if row.id != *workload {
                    // It was answered with what its key had made before: it makes nothing itself.
                    self.deny(view, row.id, answer)?;
                }
                check_there(view, *workload)
            }
            (ApiAsk::Submit { row, .. }, answer) if answer.denies() => {
                self.deny(view, row.id, answer)
            }
            (ApiAsk::Wish { workload, .. }, ApiAnswer::Wished { revision, .. }) => {
                let last = self.wished.entry(*workload).or_default();
                *last = (*revision).max(*last);
                check_wished(view, *workload, *revision)
            }
            _ => Ok(()),
        }
    }

    fn deny(&mut self, view: View<'_>, made: WorkloadId, answer: &ApiAnswer) -> Result<(), String> {
        self.denied.insert(made);
        match view.store.workload(made) {
            Some(_) => Err(format!("{made} is there, and was answered {answer:?}")),
            None => Ok(()),
        }
    }

    fn check_all(&self, view: View<'_>) -> Result<(), String> {
        for workload in &self.submitted {
            check_there(view, *workload)?;
        }
        for (workload, revision) in &self.wished {
            check_wished(view, *workload, *revision)?;
        }
        Ok(())
    }
}

fn check_there(view: View<'_>, workload: WorkloadId) -> Result<(), String> {
    match view.store.workload(workload) {
        Some(_) => Ok(()),
        None => Err(format!("{workload} was acknowledged, and is not there")),
    }
}

fn check_wished(
    view: View<'_>,
    workload: WorkloadId,
    revision: WishRevision,
) -> Result<(), String> {
    let found = view
        .store
        .workload(workload)
        .map(|found| found.row.wish_revision);
    if found >= Some(revision) {
        Ok(())
    } else {
        Err(format!(
            "wish {revision} of {workload} was acknowledged, {found:?} is there"
        ))
    }
}
