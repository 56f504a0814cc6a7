//! P15: nothing is taken from a worker, and none is called DEAD, for a silence that the leader did
//! not listen through.

use super::{Observation, Property, View};
use niyanta_core::{
    Config, Effect, Event, ReplyStatus, WorkerMessage,
    batch::{Actor, AuditDetails, Batch, WorkerWrite, WorkloadWrite},
    fleet::{WorkerDesired, WorkerStatus},
    ids::{BatchNumber, Generation, Incarnation, RequestId, WorkerId},
    snapshot::WorkerRow,
    time::{Duration, Timestamp},
    workload::Cause,
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
    /// The longest that it listened in this term without a gap.
    listened: Duration,
    /// Words that renew a lease, until they are answered, and when they were read.
    unanswered: BTreeMap<RequestId, ((WorkerId, Incarnation), Timestamp)>,
    /// Whom it was told to remove: an operator may have thought better of it since.
    removed: BTreeSet<(WorkerId, Incarnation)>,
}

#[derive(Default, Clone, Copy)]
struct Heard {
    at: Timestamp,
    /// When the last word was read that the leader answered otherwise than with its end.
    renewed: Timestamp,
    /// Its longest silence in this term that was listened through.
    longest: Duration,
    /// Its word was read in this term, whenever it arrived.
    was_read: bool,
    /// It deregistered, or another said that it replaces it.
    said_goodbye: bool,
    /// The leader told it that it has ended: what it says renews nothing.
    ended: bool,
}

impl Property for SilenceHeard {
    const NAME: &'static str = "P15";

    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::CoordinatorStarted { place, config, .. } => {
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
            Observation::WordReached { place, said } => {
                let local = view.plan.coordinators[*place].clock.read(view.now);
                // Reports say nothing of the lease: only what renews it breaks a silence.
                if let (Some(ear), Ok(who), true) =
                    (self.nodes.get_mut(place), &said.read, said.renews_lease())
                {
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
                ear.unanswered.clear();
                ear.listened = Duration::ZERO;
            }
            Event::Request(request) if matches!(request.body, WorkerMessage::Deregister) => {
                let key = (request.worker.clone(), request.incarnation.clone());
                ear.last.entry(key).or_default().said_goodbye = true;
            }
            Event::SnapshotLoaded { snapshot, .. } => ear.note_removed(&snapshot.workers),
            Event::Loaded {
                rows: Some(rows), ..
            } => ear.note_removed(&rows.workers),
            Event::Request(request)
                if matches!(
                    request.body,
                    WorkerMessage::Heartbeat { .. } | WorkerMessage::Register { .. }
                ) =>
            {
                if let WorkerMessage::Register {
                    replaces: Some(replaces),
                    ..
                } = &request.body
                {
                    let key = (request.worker.clone(), replaces.clone());
                    ear.last.entry(key).or_default().said_goodbye = true;
                }
                let key = (request.worker.clone(), request.incarnation.clone());
                ear.last.entry(key.clone()).or_default().was_read = true;
                ear.unanswered.insert(request.reply_to, (key, local));
            }
            _ => {}
        }
        for effect in effects {
            if let Effect::Reply { to, reply, .. } = effect {
                ear.note_answered(*to, &reply.status);
            }
            if let Effect::Forget { to } = effect {
                ear.unanswered.remove(to);
            }
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
                ear.check_dead(view, place, local, write)?;
            }
            for write in &batch.workloads {
                ear.check_taken(view, place, local, batch, write)?;
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
        for row in removed {
            let worker = &row.record.worker;
            // The row may be older than a registration that this leader has read: the wish is for it too.
            let read = self.last.iter().filter(|(_, heard)| heard.was_read);
            let read = read.filter(|((id, _), _)| id == worker).map(|(key, _)| key);
            self.removed.extend(read.cloned());
            let key = (worker.clone(), row.record.incarnation.clone());
            self.removed.insert(key);
        }
    }

    /// A leader may answer long after it has read.
    fn note_answered(&mut self, to: RequestId, status: &ReplyStatus) {
        let Some((who, read_at)) = self.unanswered.remove(&to) else {
            return;
        };
        let removed = self.removed.contains(&who);
        let heard = self.last.entry(who).or_default();
        if *status == ReplyStatus::IncarnationEnded {
            heard.ended = true;
            heard.at = heard.renewed;
        } else {
            heard.renewed = read_at;
            if removed {
                heard.at = heard.at.max(read_at);
            }
        }
    }

    fn interrupt(&mut self, local: Timestamp) {
        let since = self.listening_since;
        self.listened = self.listened.max(local.since(since));
        for heard in self.last.values_mut() {
            heard.longest = heard.longest.max(local.since(heard.at.max(since)));
        }
        self.listening_since = local;
    }

    fn hear(&mut self, who: (WorkerId, Incarnation), local: Timestamp) {
        let since = self.listening_since;
        let removed = self.removed.contains(&who);
        let heard = self.last.entry(who).or_default();
        heard.longest = heard.longest.max(local.since(heard.at.max(since)));
        // Whom the leader was told to remove it answers no more, and what it does not answer renews
        // nothing; the batch that says so may take long to land.
        if !heard.ended && !removed {
            heard.at = local;
        }
    }

    /// The longest silence of a worker in this term that was listened through; whether it was heard
    /// in it; nothing when it said goodbye.
    fn silence(
        &self,
        worker: &WorkerId,
        incarnation: &Incarnation,
        local: Timestamp,
    ) -> Option<(Duration, bool)> {
        let listens = local.since(self.listening_since);
        let Some(heard) = self.last.get(&(worker.clone(), incarnation.clone())) else {
            return Some((self.listened.max(listens), false));
        };
        if heard.said_goodbye {
            return None;
        }
        let now = local.since(heard.at.max(self.listening_since));
        let was_heard = heard.was_read || heard.at > Timestamp::ZERO;
        Some((heard.longest.max(now), was_heard))
    }

    fn check_dead(
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
        let Some((silence, _)) = self.silence(&record.worker, &record.incarnation, local) else {
            return Ok(());
        };
        if silence >= self.threshold {
            return Ok(());
        }
        Err(format!(
            "c{place} calls {} dead after {silence:?} of {:?}",
            record.worker, self.threshold
        ))
    }

    /// An attempt that is called lost: its worker's lease and the margin have passed in silence,
    /// unless that incarnation had ended otherwise.
    fn check_taken(
        &self,
        view: View<'_>,
        place: usize,
        local: Timestamp,
        batch: &Batch,
        write: &WorkloadWrite,
    ) -> Result<(), String> {
        let is_lost = |details: &AuditDetails| {
            matches!(
                details,
                AuditDetails::Stopped {
                    cause: Cause::LeaseLost,
                    ..
                }
            )
        };
        // Later attempts began and ended in the leader's memory: nothing was ever given to their workers.
        let mut of_holder = write
            .steps
            .iter()
            .filter(|step| step.attempt == write.from_attempt);
        let lost =
            of_holder.any(|step| is_lost(&step.details) && !matches!(step.actor, Actor::Worker(_)));
        let holder = view.ledger.leader(write.id);
        let holder = holder.and_then(|leader| leader.worker.as_ref());
        let (true, Some((worker, incarnation))) = (lost, holder) else {
            return Ok(());
        };
        let row = view.store.worker(worker).map(|found| &found.row);
        let Some(row) = row.filter(|row| row.record.incarnation == *incarnation) else {
            return Ok(());
        };
        let written = batch.workers.iter().find(|write| write.worker() == worker);
        let replaced = written.is_some_and(|write| match write {
            WorkerWrite::Put(record) => record.incarnation != *incarnation,
            WorkerWrite::Remove { .. } => true,
        });
        let Some((silence, was_heard)) = self.silence(worker, incarnation, local) else {
            return Ok(());
        };
        if replaced {
            return Ok(());
        }
        let lease = Config::with_drift_margin(row.record.longest_lease);
        let grace = if was_heard {
            Duration::ZERO
        } else {
            view.store.lease().longest_ttl
        };
        if silence >= lease + grace {
            return Ok(());
        }
        Err(format!(
            "c{place} takes {} from {worker} after {silence:?} of {:?}",
            write.id,
            lease + grace
        ))
    }
}
