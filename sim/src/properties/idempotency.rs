//! P11: one workload per (customer, idempotency key), and every answer under the key names it.

use super::{Observation, Property, View};
use crate::{
    model::store::Change,
    world::{ApiAnswer, ApiAsk},
};
use niyanta_core::ids::{CustomerId, WorkloadId};
use std::collections::BTreeMap;

/// P11.
#[derive(Default)]
pub(crate) struct OnePerKey {
    keys: BTreeMap<(CustomerId, u64), WorkloadId>,
}

impl Property for OnePerKey {
    const NAME: &'static str = "P11";

    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Committed {
                change:
                    Change::Submitted {
                        customer,
                        key: Some(key),
                        workload,
                    },
            } => match self.keys.insert((*customer, *key), *workload) {
                Some(first) if first != *workload => Err(format!(
                    "{workload} is the second under key {key} of {customer}, after {first}"
                )),
                Some(_) | None => Ok(()),
            },
            Observation::CallAnswered { call, answer } => {
                let (
                    ApiAsk::Submit {
                        row,
                        key: Some(key),
                    },
                    ApiAnswer::Submitted(told),
                ) = (&call.ask, answer)
                else {
                    return Ok(());
                };
                // That it is another customer's is P18's to say.
                let owner = view.ledger.queue(*told).map(|(owner, _)| owner);
                if owner.is_some_and(|owner| owner != row.customer) {
                    return Ok(());
                }
                match self.keys.get(&(row.customer, *key)) {
                    Some(made) if made == told => Ok(()),
                    Some(made) => Err(format!(
                        "key {key} of {} made {made}, and {told} is answered",
                        row.customer
                    )),
                    None => Err(format!(
                        "{told} is answered under key {key} of {}, which made nothing",
                        row.customer
                    )),
                }
            }
            _ => Ok(()),
        }
    }
}
