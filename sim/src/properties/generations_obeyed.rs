//! P4: no receiver obeys a leader older than the newest it has seen.

use super::{Observation, Property, View};
use crate::worker::Deed;
use niyanta_core::{
    Event,
    ids::{Generation, Incarnation, MessageSequence},
};
use std::collections::BTreeMap;

/// P4.
#[derive(Default)]
pub(crate) struct GenerationsObeyed {
    /// The last new message of each worker's process.
    last_said: BTreeMap<usize, (Incarnation, MessageSequence)>,
    /// The highest term that each coordinator was shown.
    shown: BTreeMap<usize, Generation>,
}

impl Property for GenerationsObeyed {
    const NAME: &'static str = "P4";

    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Worker {
                place,
                deed: Deed::ObeyedOld { generation, seen },
                ..
            } => Err(format!(
                "w{place} obeyed term {generation} having seen term {seen}"
            )),
            Observation::Worker {
                place,
                deed: Deed::Said(said),
                ..
            } => {
                let Ok(incoming) = &said.read else {
                    return Ok(());
                };
                let new = (incoming.incarnation.clone(), incoming.sequence);
                let is_repeat = self.last_said.get(place).is_some_and(|(last, sequence)| {
                    *last == incoming.incarnation && *sequence >= incoming.sequence
                });
                let seen = view.truth.heard(*place);
                if is_repeat || incoming.refused.is_some() {
                    return Ok(());
                }
                self.last_said.insert(*place, new);
                if incoming.generation_seen < seen {
                    return Err(format!(
                        "w{place} says that it saw term {} and has seen term {seen}",
                        incoming.generation_seen
                    ));
                }
                Ok(())
            }
            Observation::WorkerGone { place, .. } => {
                self.last_said.remove(place);
                Ok(())
            }
            Observation::CoordinatorStarted { place, .. } => {
                self.shown.remove(place);
                Ok(())
            }
            Observation::Handled {
                place, event, term, ..
            } => self.check_leader(*place, event, *term),
            _ => Ok(()),
        }
    }
}

impl GenerationsObeyed {
    /// Who was shown a higher term leads its own no more.
    fn check_leader(
        &mut self,
        place: usize,
        event: &Event,
        term: Option<Generation>,
    ) -> Result<(), String> {
        let shown = match event {
            Event::Request(request) => Some(request.generation_seen),
            Event::GenerationSeen(generation) => Some(*generation),
            Event::LeaseRefused { row, .. } | Event::LeaseRead { row, .. } => Some(row.generation),
            _ => None,
        };
        let highest = self.shown.entry(place).or_default();
        *highest = shown.map_or(*highest, |shown| (*highest).max(shown));
        match term {
            Some(term) if term < *highest => Err(format!(
                "c{place} leads term {term} having been shown term {highest}"
            )),
            Some(_) | None => Ok(()),
        }
    }
}
