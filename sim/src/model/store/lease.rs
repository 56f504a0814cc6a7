//! Statements on the lease row, and the takeover, which sets the fence with it.

use super::{
    Store,
    rows::{Change, Lease, LeaseStep},
    statement::{Answer, TakeLease},
};
use niyanta_core::{
    ids::{AskId, BatchNumber, Generation, Incarnation},
    snapshot::FenceRow,
    time::{Duration, WallTime},
};
use sim_probes::{Bug, is_planted};

impl Store {
    pub(super) fn take_lease(&mut self, time: WallTime, take: &TakeLease) -> Answer {
        let row = &self.lease;
        let ended = row.expires_at < time || row.resigned;
        let own = row.incarnation == take.incarnation && Some(row.generation) == take.own;
        let flawed = is_planted(Bug::TakeoverIgnoresExpiry);
        if !(ended || own || take.force || flawed) {
            return Answer::LeaseRow {
                ask: take.ask,
                row: row.shown(time),
                time,
            };
        }
        let generation = row.generation.max(take.above).next();
        let after = Lease {
            incarnation: take.incarnation.clone(),
            generation,
            expires_at: time.plus(take.ttl),
            resigned: false,
            longest_ttl: row.longest_ttl.max(take.ttl),
        };
        self.fence = FenceRow {
            generation,
            incarnation: take.incarnation.clone(),
            applied: BatchNumber::ZERO,
        };
        let step = LeaseStep::Taken { forced: take.force };
        self.change_lease(step, time, take.incarnation.clone(), after);
        Answer::Taken {
            ask: take.ask,
            generation,
            time,
        }
    }

    pub(super) fn read_lease(&self, time: WallTime, ask: AskId) -> Answer {
        Answer::LeaseRow {
            ask,
            row: self.lease.shown(time),
            time,
        }
    }

    pub(super) fn renew_lease(
        &mut self,
        time: WallTime,
        ask: AskId,
        incarnation: &Incarnation,
        generation: Generation,
        ttl: Duration,
    ) -> Answer {
        let holds = self.lease.generation == generation && self.lease.incarnation == *incarnation;
        let anybody = is_planted(Bug::RenewalMatchesAnybody);
        let matched = anybody || (holds && !self.lease.resigned);
        if matched {
            let after = Lease {
                expires_at: time.plus(ttl),
                ..self.lease.clone()
            };
            self.change_lease(LeaseStep::Renewed, time, incarnation.clone(), after);
        }
        Answer::Renewed {
            ask,
            generation,
            matched,
            time,
        }
    }

    pub(super) fn resign_lease(
        &mut self,
        incarnation: &Incarnation,
        generation: Generation,
    ) -> Answer {
        let holds = self.lease.generation == generation && self.lease.incarnation == *incarnation;
        if holds && !self.lease.resigned {
            let forgotten = is_planted(Bug::ResignationDeletesRow);
            let after = Lease {
                resigned: true,
                generation: if forgotten {
                    Generation::ZERO
                } else {
                    generation
                },
                ..self.lease.clone()
            };
            let time = self.lease.expires_at;
            self.change_lease(LeaseStep::Resigned, time, incarnation.clone(), after);
        }
        Answer::Resigned { generation }
    }

    fn change_lease(&mut self, step: LeaseStep, time: WallTime, by: Incarnation, after: Lease) {
        let before = std::mem::replace(&mut self.lease, after.clone());
        self.changes.push(Change::Lease {
            step,
            time,
            by,
            before,
            after,
        });
    }
}
