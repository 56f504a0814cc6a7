//! What the store makes of each question but a commit.

use super::store::Store;
use niyanta_core::{
    Effect, Event,
    ids::Incarnation,
    time::{Duration, Timestamp},
};

impl Store {
    /// Carries out a question of `asker` and gives its answer; a batch is carried out elsewhere.
    pub fn answer(
        &mut self,
        asker: &Incarnation,
        effect: &Effect,
        now: Timestamp,
        longest_ttl: Duration,
    ) -> Option<Event> {
        let database_time = self.wall(now);
        match effect {
            Effect::TakeLease { .. } => self.answer_take(asker, effect, now),
            Effect::ReadLease { ask, .. } => Some(Event::LeaseRead {
                ask: *ask,
                row: self.lease_row(now),
                database_time,
            }),
            Effect::RenewLease {
                ask,
                generation,
                ttl,
                ..
            } => {
                let (ask, generation) = (*ask, *generation);
                if self.lease.generation != generation || self.lease.resigned {
                    return Some(Event::LeaseLost { ask, generation });
                }
                self.lease_ends = now.plus(*ttl);
                Some(Event::LeaseRenewed {
                    ask,
                    generation,
                    database_time,
                })
            }
            Effect::ResignLease { generation } => {
                self.lease.resigned |= self.lease.generation == *generation;
                Some(Event::LeaseResigned {
                    generation: *generation,
                })
            }
            Effect::LoadSnapshot { generation, limit } => Some(Event::SnapshotLoaded {
                generation: *generation,
                snapshot: Box::new(self.snapshot(longest_ttl, *limit)),
                database_time,
            }),
            Effect::ReadFence { generation, .. } => Some(Event::FenceRead {
                generation: *generation,
                row: Some(self.fence.clone()),
            }),
            Effect::Load {
                load, what, limit, ..
            } => Some(Event::Loaded {
                load: *load,
                rows: Some(Box::new(self.load(what, *limit, database_time))),
                database_time,
            }),
            Effect::Persist(_)
            | Effect::AnnounceResignation { .. }
            | Effect::AnnounceLeader { .. }
            | Effect::ProbeBroker { .. }
            | Effect::RecordPendingReasons { .. }
            | Effect::RecordHeartbeats { .. }
            | Effect::Reply { .. }
            | Effect::Forget { .. }
            | Effect::Assign { .. }
            | Effect::Stop { .. }
            | Effect::DrainWorker { .. }
            | Effect::Exit { .. } => None,
        }
    }

    fn answer_take(
        &mut self,
        asker: &Incarnation,
        effect: &Effect,
        now: Timestamp,
    ) -> Option<Event> {
        let Effect::TakeLease {
            ask,
            above,
            own,
            force,
            ttl,
            ..
        } = effect
        else {
            return None;
        };
        let (ask, database_time) = (*ask, self.wall(now));
        let may = |store: &Self| {
            let is_own = *own == Some(store.lease.generation);
            store.lease_ends < now || store.lease.resigned || is_own || *force
        };
        Some(match self.take(asker, *above, may, now.plus(*ttl)) {
            Some(generation) => Event::LeaseTaken {
                ask,
                generation,
                database_time,
            },
            None => Event::LeaseRefused {
                ask,
                row: self.lease_row(now),
                database_time,
            },
        })
    }
}
