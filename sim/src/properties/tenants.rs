//! P18: no customer sees or moves another's data.
//!
//! Owner is who the database says; what was asked for, and by whom, is what the client did.

use super::{Observation, Property, View};
use crate::{
    model::store::Change,
    world::{ApiAnswer, ApiAsk, Call, Caller},
};
use niyanta_core::ids::{CustomerId, WorkloadId};
use std::collections::BTreeSet;

/// P18.
#[derive(Default)]
pub(crate) struct Tenants {
    /// Who has ever wished something of what.
    wishers: BTreeSet<(WorkloadId, CustomerId)>,
}

impl Property for Tenants {
    const NAME: &'static str = "P18";

    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::CallBegun { call } => {
                if let ApiAsk::Wish {
                    customer, workload, ..
                } = &call.ask
                {
                    self.wishers.insert((*workload, *customer));
                }
                Ok(())
            }
            Observation::Committed {
                change: Change::Wished { workload, .. },
            } => {
                let owner = view.ledger.queue(*workload).map(|(owner, _)| owner);
                match owner {
                    Some(owner) if !self.wishers.contains(&(*workload, owner)) => Err(format!(
                        "{workload} of {owner} was wished upon, and not by its owner"
                    )),
                    Some(_) | None => Ok(()),
                }
            }
            Observation::CallAnswered { call, answer } => check(view, call, answer),
            _ => Ok(()),
        }
    }
}

/// What is told to a customer is about its own workloads.
fn check(view: View<'_>, call: &Call, answer: &ApiAnswer) -> Result<(), String> {
    let Caller::Client(client) = call.caller else {
        return Ok(());
    };
    let caller = view.plan.customers[client].id;
    let check_own = |workload: WorkloadId| {
        let owner = view.ledger.queue(workload).map(|(owner, _)| owner);
        match owner {
            Some(owner) if owner != caller => Err(format!(
                "{caller} was told of {workload}, which is {owner}'s"
            )),
            Some(_) | None => Ok(()),
        }
    };
    match (&call.ask, answer) {
        (_, ApiAnswer::Submitted(workload)) => check_own(*workload),
        (ApiAsk::Get { workload, .. }, ApiAnswer::Got(..))
        | (ApiAsk::Wish { workload, .. }, ApiAnswer::Wished { .. } | ApiAnswer::Conflict) => {
            check_own(*workload)
        }
        (ApiAsk::List { .. }, ApiAnswer::Listed(rows)) => rows
            .iter()
            .try_for_each(|(workload, _)| check_own(*workload)),
        _ => Ok(()),
    }
}
