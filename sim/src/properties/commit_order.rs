//! P1: commits are ordered by generation; each batch lands once, with the content core gave it.

use super::{Observation, Property, View};
use crate::model::store::Change;
use niyanta_core::{
    Effect,
    batch::Batch,
    ids::{BatchNumber, Generation, Incarnation},
};
use std::{collections::BTreeMap, sync::Arc};

/// P1.
#[derive(Default)]
pub(crate) struct CommitOrder {
    given: BTreeMap<(Generation, Incarnation, BatchNumber), Arc<Batch>>,
    last: (Generation, BatchNumber),
}

impl Property for CommitOrder {
    const NAME: &'static str = "P1";

    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Handled { place, effects, .. } => self.note(*place, effects),
            Observation::Committed {
                change: Change::Batch { batch, .. },
            } => self.check(view, batch),
            Observation::FailedOver { fence } => {
                self.last = (fence.generation, fence.applied);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl CommitOrder {
    fn note(&mut self, place: usize, effects: &[Effect]) -> Result<(), String> {
        for effect in effects {
            let Effect::Persist(batch) = effect else {
                continue;
            };
            let incarnation = batch.incarnation.clone();
            let key = (batch.generation, incarnation, batch.number);
            let first = self
                .given
                .entry(key.clone())
                .or_insert_with(|| Arc::clone(batch));
            if first != batch {
                return Err(format!(
                    "c{place} gave batch {} of term {} two contents",
                    key.2, key.0
                ));
            }
        }
        Ok(())
    }

    fn check(&mut self, view: View<'_>, batch: &Arc<Batch>) -> Result<(), String> {
        let key = (batch.generation, batch.number);
        let name = format!("batch {} of term {}", key.1, key.0);
        let given = (key.0, batch.incarnation.clone(), key.1);
        if self.given.get(&given).is_none_or(|given| given != batch) {
            return Err(format!(
                "{name} landed with a content that core did not give"
            ));
        }
        if key <= self.last {
            return Err(format!(
                "{name} landed after batch {} of term {}",
                self.last.1, self.last.0
            ));
        }
        if batch.generation < view.store.lease().generation {
            return Err(format!(
                "{name} landed after term {} was taken",
                view.store.lease().generation
            ));
        }
        let holder = view.store.lease();
        if batch.generation == holder.generation && batch.incarnation != holder.incarnation {
            return Err(format!(
                "{name} of {} landed in the term of {}",
                batch.incarnation, holder.incarnation
            ));
        }
        let follows = key.0 == self.last.0 && key.1 == self.last.1.next();
        let begins = key.0 > self.last.0 && key.1 == BatchNumber(1);
        if !follows && !begins {
            return Err(format!("{name} landed out of turn"));
        }
        self.last = key;
        Ok(())
    }
}
