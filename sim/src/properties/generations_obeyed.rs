//! P4: no receiver obeys a leader older than the newest it has seen.

use super::{Observation, Property, View};
use crate::worker::Deed;

/// P4.
#[derive(Default)]
pub(crate) struct GenerationsObeyed;

impl Property for GenerationsObeyed {
    const NAME: &'static str = "P4";

    fn observe(&mut self, _view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        if let Observation::Worker {
            place,
            deed: Deed::Obeyed { generation, seen },
            ..
        } = observation
            && generation < seen
        {
            return Err(format!(
                "w{place} obeyed term {generation} having seen {seen}"
            ));
        }
        Ok(())
    }
}
