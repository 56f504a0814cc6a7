//! P2: (generation, incarnation) is unique and generation only grows.

use super::{Observation, Property, View};
use crate::model::store::{Change, LeaseStep};
use niyanta_core::ids::Generation;

/// P2.
#[derive(Default)]
pub(crate) struct UniqueTerms {
    highest: Generation,
}

impl Property for UniqueTerms {
    const NAME: &'static str = "P2";

    fn observe(&mut self, _view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::Committed {
            change: Change::Lease {
                step, after, by, ..
            },
        } = observation
        else {
            return Ok(());
        };
        if matches!(step, LeaseStep::Taken { .. }) {
            if after.generation <= self.highest {
                return Err(format!(
                    "{by} took term {} after term {}",
                    after.generation, self.highest
                ));
            }
            self.highest = after.generation;
        }
        Ok(())
    }
}
