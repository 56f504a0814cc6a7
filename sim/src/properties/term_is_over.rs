//! P17: nothing of an ended term acts afterwards.

use super::{Observation, Property, View};
use niyanta_core::{Effect, ids::Generation};
use std::collections::BTreeMap;

/// P17.
#[derive(Default)]
pub(crate) struct TermIsOver {
    nodes: BTreeMap<usize, Terms>,
}

#[derive(Default, Clone, Copy)]
struct Terms {
    leads: Option<Generation>,
    ended: Generation,
}

impl Property for TermIsOver {
    const NAME: &'static str = "P17";

    fn observe(&mut self, _view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::CoordinatorStarted { place, .. } => {
                self.nodes.insert(*place, Terms::default());
                Ok(())
            }
            Observation::Handled {
                place,
                term,
                effects,
                ..
            } => {
                let terms = self.nodes.entry(*place).or_default();
                let late = effects.iter().find_map(|effect| {
                    effect
                        .term()
                        .filter(|g| *g <= terms.ended)
                        .map(|g| (effect, g))
                });
                if let Some(leads) = terms.leads
                    && Some(leads) != *term
                {
                    terms.ended = terms.ended.max(leads);
                }
                terms.leads = *term;
                late.map_or(Ok(()), |(effect, g)| Err(wording(*place, effect, g)))
            }
            Observation::CarriedOut { place, effect } => {
                let terms = self.nodes.entry(*place).or_default();
                match effect.term() {
                    Some(g) if g <= terms.ended => Err(wording(*place, effect, g)),
                    Some(_) | None => Ok(()),
                }
            }
            Observation::Spoken { place, generation } => {
                let terms = self.nodes.entry(*place).or_default();
                if *generation <= terms.ended {
                    return Err(format!("c{place}: speaks for ended term {generation}"));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn wording(place: usize, effect: &Effect, generation: Generation) -> String {
    format!("c{place}: {} of ended term {generation}", effect.kind())
}
