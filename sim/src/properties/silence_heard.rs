//! P15: nobody is called DEAD for a silence that the leader did not listen through.

use super::{Observation, Property, View};
use niyanta_core::{
    Effect, Event, WorkerMessage,
    batch::WorkerWrite,
    fleet::{WorkerDesired, WorkerStatus},
    ids::{BatchNumber, Generation, Incarnation, WorkerId},
    snapshot::WorkerRow,
    time::{Duration, Timestamp},
};
use std::collections::{BTreeMap, BTreeSet};

/// P15.
#[derive(Default)]
pub(crate) struct SilenceHeard {
    nodes: BTreeMap<usize, Ear>,
}

/// What a coordinator heard.
#[derive(Default)]
struct Ear {
    threshold: Duration,
    listening_since: Timestamp,
    last: BTreeMap<(WorkerId, Incarnation), Heard>,
    /// The last batch that was looked at.
    checked: (Generation, BatchNumber),
    /// It listened long enough once in this term for those who said nothing in it.
    listened_long: bool,
    /// Whom it was told to remove: an operator may have thought better of it since.
    removed: BTreeSet<(WorkerId, Incarnation)>,
}

#[derive(Default, Clone, Copy)]
struct Heard {
    at: Timestamp,
    /// The silence was long enough once in this term.
    was_silent: bool,
    /// It deregistered.
    said_goodbye: bool,
}

impl Property for SilenceHeard {
    const NAME: &'static str = "P15";

    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::CoordinatorStarted { place, config } => {
                let ear = Ear {
                    threshold: config.worker_dead_threshold,
                    ..Ear::default()
                };
                self.nodes.insert(*place, ear);
                Ok(())
            }
            Observation::CoordinatorResumed { place, paused } => {
                let local = view.plan.coordinators[*place].clock.read(view.now);
                if let Some(ear) = self.nodes.get_mut(place)
                    && *paused > Duration::from_secs(2)
                {
                    ear.interrupt(local);
                }
                Ok(())
            }
            Observation::ListeningInterrupted { place } => {
                let local = view.plan.coordinators[*place].clock.read(view.now);
                if let Some(ear) = self.nodes.get_mut(place) {
                    ear.interrupt(local);
                }
                Ok(())
            }
            Observation::RequestReached { place, request } => {
                let local = view.plan.coordinators[*place].clock.read(view.now);
                if let Some(ear) = self.nodes.get_mut(place) {
                    let who = &request.request;
                    // Reports say nothing of the lease: only what renews it breaks a silence.
                    let renews = matches!(
                        who.body,
                        WorkerMessage::Heartbeat { .. } | WorkerMessage::Register { .. }
                    );
                    if !renews {
                        return Ok(());
                    }
                    ear.hear((who.worker.clone(), who.incarnation.clone()), local);
                }
                Ok(())
            }
            Observation::Handled {
                place,
                local,
                event,
                effects,
                ..
            } => self.handled(view, *place, *local, event, effects),
            _ => Ok(()),
        }
    }
}

impl SilenceHeard {
    fn handled(
        &mut self,
        view: View<'_>,
        place: usize,
        local: Timestamp,
        event: &Event,
        effects: &[Effect],
    ) -> Result<(), String> {
        let Some(ear) = self.nodes.get_mut(&place) else {
            return Ok(());
        };
        match event {
            Event::LeaseTaken { .. } => {
                ear.listening_since = local;
                ear.last.clear();
                ear.listened_long = false;
            }
            Event::Request(request) if matches!(request.body, WorkerMessage::Deregister) => {
                let key = (request.worker.clone(), request.incarnation.clone());
                ear.last.entry(key).or_default().said_goodbye = true;
            }
            Event::SnapshotLoaded { snapshot, .. } => ear.note_removed(&snapshot.workers),
            Event::Loaded {
                rows: Some(rows), ..
            } => ear.note_removed(&rows.workers),
            _ => {}
        }
        for effect in effects {
            let Effect::Persist(batch) = effect else {
                continue;
            };
            // A batch that is sent again was decided when it was sent first.
            let key = (batch.generation, batch.number);
            if key <= ear.checked {
                continue;
            }
            ear.checked = key;
            for write in &batch.workers {
                ear.check(view, place, local, write)?;
            }
        }
        Ok(())
    }
}

impl Ear {
    fn note_removed(&mut self, rows: &[WorkerRow]) {
        let removed = rows
            .iter()
            .filter(|row| row.desired == WorkerDesired::Remove);
        let keys = removed.map(|row| (row.record.worker.clone(), row.record.incarnation.clone()));
        self.removed.extend(keys);
    }

    fn interrupt(&mut self, local: Timestamp) {
        let (since, threshold) = (self.listening_since, self.threshold);
        self.listened_long |= local.since(since) >= threshold;
        for heard in self.last.values_mut() {
            heard.was_silent |= local.since(heard.at.max(since)) >= threshold;
        }
        self.listening_since = local;
    }

    fn hear(&mut self, who: (WorkerId, Incarnation), local: Timestamp) {
        let (since, threshold) = (self.listening_since, self.threshold);
        let heard = self.last.entry(who).or_default();
        heard.was_silent |= local.since(heard.at.max(since)) >= threshold;
        heard.at = local;
    }

    fn check(
        &self,
        view: View<'_>,
        place: usize,
        local: Timestamp,
        write: &WorkerWrite,
    ) -> Result<(), String> {
        let WorkerWrite::Put(record) = write else {
            return Ok(());
        };
        if record.status != WorkerStatus::Dead {
            return Ok(());
        }
        let before = view.store.worker(&record.worker).map(|found| &found.row);
        let key = (record.worker.clone(), record.incarnation.clone());
        let removed = self.removed.contains(&key);
        let was_dead = before.is_some_and(|row| row.record.status == WorkerStatus::Dead);
        if removed || was_dead {
            return Ok(());
        }
        let heard = self.last.get(&key).copied().unwrap_or_else(|| Heard {
            was_silent: self.listened_long,
            ..Heard::default()
        });
        let silence = local.since(heard.at.max(self.listening_since));
        if heard.was_silent || heard.said_goodbye || silence >= self.threshold {
            return Ok(());
        }
        Err(format!(
            "c{place} calls {} dead after {silence:?} of {:?}",
            record.worker, self.threshold
        ))
    }
}
