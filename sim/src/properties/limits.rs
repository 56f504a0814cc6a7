//! P13: neither queue nor running attempts of a customer go above their limits.
//!
//! The queue is held to the limit in the database at the submission's commit. Assignments are held
//! to the highest limit that the leader had been told while the batch gathered: a limit that is lowered
//! meanwhile takes nothing back.

use super::{Observation, Property, View, ledger::opens};
use crate::model::store::Change;
use niyanta_core::{
    Effect, Event,
    batch::Batch,
    ids::{BatchNumber, CustomerId, Generation},
    snapshot::CustomerRow,
};
use std::collections::BTreeMap;

/// P13.
#[derive(Default)]
pub(crate) struct Limits {
    /// What each coordinator was told, in its term.
    told: BTreeMap<usize, BTreeMap<CustomerId, Told>>,
    /// The last batch that each gave away.
    last: BTreeMap<usize, (Generation, BatchNumber)>,
    /// What held for the batches that were given away and have not landed.
    given: BTreeMap<(Generation, BatchNumber), BTreeMap<CustomerId, u32>>,
}

/// A limit as a coordinator was told of it.
#[derive(Clone, Copy)]
struct Told {
    last: u32,
    /// The highest since it gave away a batch: what it decides meanwhile gathers in the next.
    highest: u32,
}

impl Property for Limits {
    const NAME: &'static str = "P13";

    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::CoordinatorStarted { place, .. } => {
                self.told.remove(place);
                Ok(())
            }
            Observation::Handled {
                place,
                event,
                effects,
                ..
            } => {
                self.note(*place, event, effects);
                Ok(())
            }
            Observation::Committed {
                change: Change::Submitted { customer, .. },
            } => {
                check_queue(view, *customer)?;
                check_queue_limit(view, *customer)
            }
            Observation::Committed {
                change: Change::Batch { batch, .. },
            } => self.check_running(view, batch),
            Observation::Settled => view
                .ledger
                .customers()
                .try_for_each(|(customer, _)| check_queue(view, customer)),
            _ => Ok(()),
        }
    }
}

impl Limits {
    fn note(&mut self, place: usize, event: &Event, effects: &[Effect]) {
        match event {
            Event::SnapshotLoaded { snapshot, .. } => {
                self.told.remove(&place);
                self.hear(place, &snapshot.customers);
            }
            Event::Loaded {
                rows: Some(rows), ..
            } => self.hear(place, &rows.customers),
            _ => {}
        }
        for effect in effects {
            let Effect::Persist(batch) = effect else {
                continue;
            };
            let key = (batch.generation, batch.number);
            // Sent again it is still what it was when it was decided.
            if self.last.insert(place, key) == Some(key) {
                continue;
            }
            let Some(told) = self.told.get_mut(&place) else {
                continue;
            };
            let opened = batch.workloads.iter().filter(|write| opens(write));
            let limits: BTreeMap<_, _> = opened
                .filter_map(|write| Some((write.customer, told.get(&write.customer)?.highest)))
                .collect();
            if !limits.is_empty() {
                self.given.insert(key, limits);
            }
            for limit in told.values_mut() {
                limit.highest = limit.last;
            }
        }
    }

    fn hear(&mut self, place: usize, rows: &[CustomerRow]) {
        if rows.is_empty() {
            return;
        }
        let told = self.told.entry(place).or_default();
        for row in rows {
            let last = row.max_running;
            let before = told.get(&row.id).map_or(last, |before| before.highest);
            let highest = last.max(before);
            told.insert(row.id, Told { last, highest });
        }
    }

    fn check_running(&mut self, view: View<'_>, batch: &Batch) -> Result<(), String> {
        let key = (batch.generation, batch.number);
        let limits = self.given.remove(&key).unwrap_or_default();
        // What an older term gave away lands no more.
        self.given = self.given.split_off(&(batch.generation, BatchNumber::ZERO));
        for (customer, limit) in limits {
            let running = view.ledger.tally(customer).running;
            if running > u64::from(limit) {
                return Err(format!(
                    "{customer} has {running} open attempts, {limit} are allowed"
                ));
            }
        }
        Ok(())
    }
}

fn check_queue_limit(view: View<'_>, customer: CustomerId) -> Result<(), String> {
    let queued = view.ledger.tally(customer).queued;
    let limit = view.customer(customer).map_or(0, |row| row.max_queued);
    if queued > limit {
        return Err(format!(
            "{customer} has {queued} queued, {limit} are allowed"
        ));
    }
    Ok(())
}

/// What is counted is what is there: a place that nothing stands in would be lost for good.
fn check_queue(view: View<'_>, customer: CustomerId) -> Result<(), String> {
    let queued = view.ledger.tally(customer).queued;
    let Some(row) = view.customer(customer) else {
        return Ok(());
    };
    let counted = row.submitted.saturating_sub(row.left_queue);
    if counted != queued {
        return Err(format!(
            "{customer} has {queued} queued, and {counted} are counted"
        ));
    }
    Ok(())
}
