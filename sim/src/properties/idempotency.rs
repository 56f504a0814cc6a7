//! P11: one workload per (customer, idempotency key).

use super::{Observation, Property, View};
use crate::model::store::Change;
use niyanta_core::ids::CustomerId;
use std::collections::BTreeSet;

/// P11.
#[derive(Default)]
pub(crate) struct OnePerKey {
    keys: BTreeSet<(CustomerId, u64)>,
}

impl Property for OnePerKey {
    const NAME: &'static str = "P11";

    fn observe(&mut self, _view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        if let Observation::Committed {
            change:
                Change::Submitted {
                    customer,
                    key: Some(key),
                    workload,
                },
        } = observation
            && !self.keys.insert((*customer, *key))
        {
            return Err(format!(
                "{workload} is the second under key {key} of {customer}"
            ));
        }
        Ok(())
    }
}
