//! P20: the same stream gives the same effects.
//!
//! In a part of the runs each core has a twin that is handed the same events at the same times. What
//! depends on anything else (an address, a clock, an order that is not one) shows as a difference.

use super::{Observation, Property, View};
use niyanta_core::{Coordinator, Effect};
use std::collections::BTreeMap;

/// P20.
#[derive(Default)]
pub(crate) struct SameEffects {
    twins: BTreeMap<usize, Coordinator>,
    effects: Vec<Effect>,
}

impl Property for SameEffects {
    const NAME: &'static str = "P20";

    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::CoordinatorStarted {
                place,
                config,
                local,
            } => {
                if view.plan.seed.is_multiple_of(SAMPLE) {
                    let twin = Coordinator::new(Clone::clone(*config), *local);
                    self.twins.insert(*place, twin);
                }
                Ok(())
            }
            Observation::CoordinatorGone { place } => {
                self.twins.remove(place);
                Ok(())
            }
            Observation::Handled {
                place,
                local,
                event,
                effects,
                ..
            } => {
                let Some(twin) = self.twins.get_mut(place) else {
                    return Ok(());
                };
                self.effects.clear();
                twin.handle(*local, Clone::clone(*event), &mut self.effects);
                compare(*place, effects, &self.effects)
            }
            _ => Ok(()),
        }
    }
}

fn compare(place: usize, first: &[Effect], second: &[Effect]) -> Result<(), String> {
    if first == second {
        return Ok(());
    }
    let differs = first.iter().zip(second).find(|(a, b)| a != b);
    Err(match differs {
        Some((a, b)) => format!("c{place} wants {a:?}, and its twin {b:?}"),
        None => format!(
            "c{place} wants {} things, and its twin {}",
            first.len(),
            second.len()
        ),
    })
}

/// One run in so many has twins.
const SAMPLE: u64 = 16;
