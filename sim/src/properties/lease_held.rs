//! P3: a node acts as leader only before its own deadline; nobody takes over before the lease ends.

use super::{Observation, Property, View};
use crate::model::store::{Change, Lease, LeaseStep};
use niyanta_core::{
    Effect, Event,
    ids::{AskId, Generation, Incarnation},
    time::{Duration, Timestamp, WallTime},
};
use std::collections::BTreeMap;

/// P3.
#[derive(Default)]
pub(crate) struct LeaseHeld {
    nodes: BTreeMap<usize, Shadow>,
}

/// What an outsider knows of a node's lease.
#[derive(Default)]
struct Shadow {
    incarnation: Option<Incarnation>,
    margin: Duration,
    /// When each question was sent, and for how long it asks.
    asked: BTreeMap<AskId, (Timestamp, Duration)>,
    /// The last take whose outcome is not known.
    term: Option<(Generation, Timestamp)>,
}

impl Property for LeaseHeld {
    const NAME: &'static str = "P3";

    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::CoordinatorStarted { place, config, .. } => {
                let shadow = Shadow {
                    incarnation: Some(config.incarnation.clone()),
                    margin: config.leader_margin(),
                    ..Shadow::default()
                };
                self.nodes.insert(*place, shadow);
                Ok(())
            }
            Observation::CoordinatorGone { place } => {
                self.nodes.remove(place);
                Ok(())
            }
            Observation::Handled {
                place,
                event,
                effects,
                term,
                ..
            } => {
                // What its clock ought to say, whatever the driver read.
                let local = view.plan.coordinators[*place].clock.read(view.now);
                let Some(shadow) = self.nodes.get_mut(place) else {
                    return Ok(());
                };
                shadow.hear(event);
                let acted = shadow.check(*place, local, effects);
                shadow.note(local, effects);
                if term.is_none() {
                    shadow.term = None;
                }
                acted
            }
            Observation::Spoken { place, generation } => {
                let local = view.plan.coordinators[*place].clock.read(view.now);
                let term = self.nodes.get(place).and_then(|shadow| shadow.term);
                match term {
                    Some((term, until)) if term == *generation && local >= until => Err(format!(
                        "c{place} speaks for term {term} {:?} after its own deadline",
                        local.since(until)
                    )),
                    Some(_) | None => Ok(()),
                }
            }
            Observation::Committed {
                change:
                    Change::Lease {
                        step,
                        time,
                        by,
                        before,
                        after,
                    },
            } => self.check_row(view, *step, *time, by, before, after),
            _ => Ok(()),
        }
    }
}

impl Shadow {
    fn hear(&mut self, event: &Event) {
        let (ask, generation) = match event {
            Event::LeaseTaken {
                ask, generation, ..
            }
            | Event::LeaseRenewed {
                ask, generation, ..
            } => (*ask, *generation),
            _ => return,
        };
        // An answer about an older term may come late: it says nothing about this one.
        if self.term.is_some_and(|(term, _)| term > generation) {
            return;
        }
        if let Some((sent, ttl)) = self.asked.get(&ask) {
            let until = sent.plus(*ttl).minus(self.margin);
            let known = self.term.filter(|(term, _)| *term == generation);
            let until = known.map_or(until, |(_, other)| other.max(until));
            self.term = Some((generation, until));
        }
    }

    fn note(&mut self, local: Timestamp, effects: &[Effect]) {
        for effect in effects {
            if let Effect::TakeLease { ask, ttl, .. } | Effect::RenewLease { ask, ttl, .. } = effect
            {
                self.asked.insert(*ask, (local, *ttl));
            }
        }
    }

    fn check(&self, place: usize, local: Timestamp, effects: &[Effect]) -> Result<(), String> {
        let acts = |effect: &&Effect| {
            matches!(
                effect,
                Effect::Persist(_)
                    | Effect::Reply { .. }
                    | Effect::Assign { .. }
                    | Effect::Stop { .. }
                    | Effect::DrainWorker { .. }
                    | Effect::AnnounceLeader { .. }
            )
        };
        let Some(effect) = effects.iter().find(acts) else {
            return Ok(());
        };
        match self.term {
            None => Err(format!("c{place} acts ({}) without a lease", effect.kind())),
            Some((term, _)) if effect.term() != Some(term) => Err(format!(
                "c{place} acts ({}) for {:?} while it has the lease of term {term}",
                effect.kind(),
                effect.term()
            )),
            Some((_, until)) if local >= until => Err(format!(
                "c{place} acts ({}) {:?} after its own deadline",
                effect.kind(),
                local.since(until)
            )),
            Some(_) => Ok(()),
        }
    }
}

impl LeaseHeld {
    fn check_row(
        &self,
        view: View<'_>,
        step: LeaseStep,
        time: WallTime,
        by: &Incarnation,
        before: &Lease,
        after: &Lease,
    ) -> Result<(), String> {
        match step {
            LeaseStep::Resigned => Ok(()),
            LeaseStep::Renewed if before.incarnation != *by || before.resigned => {
                Err(format!("{by} renewed the lease of {}", before.incarnation))
            }
            LeaseStep::Renewed | LeaseStep::Taken { forced: true } => Ok(()),
            LeaseStep::Taken { forced: false } => {
                if before.expires_at >= time && !before.resigned && before.incarnation != *by {
                    return Err(format!(
                        "{by} took the lease of {} before its end",
                        before.incarnation
                    ));
                }
                self.check_others(view, by, after)
            }
        }
    }

    /// At a takeover nobody else may believe that it leads.
    fn check_others(&self, view: View<'_>, by: &Incarnation, after: &Lease) -> Result<(), String> {
        for (place, shadow) in &self.nodes {
            if shadow.incarnation.as_ref() == Some(by) {
                continue;
            }
            let Some((term, until)) = shadow.term else {
                continue;
            };
            let clock = view.plan.coordinators[*place].clock;
            if clock.read(view.now) < until {
                return Err(format!(
                    "{by} took term {} while c{place} trusts its lease of term {term}",
                    after.generation
                ));
            }
        }
        Ok(())
    }
}
