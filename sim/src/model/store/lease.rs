//! Statements on the lease row, and the takeover, which sets the fence with it.
//!
//! A takeover locks the lease row, then the fence row; a renewal the lease row alone; a commit the
//! fence row and never the lease's. What the lease is set to is reckoned when the row is judged: a
//! takeover that waits for an unchanged row writes an expiry from before the wait.

use super::{
    Store,
    locks::RowKey,
    rows::{Lease, LeaseStep},
    statement::{Answer, RenewLease, TakeLease},
    tables::Write,
    transaction::{Next, Transaction},
};
use niyanta_core::{
    ids::{AskId, BatchNumber, Generation, Incarnation},
    snapshot::FenceRow,
    time::{Duration, WallTime},
};
use sim_probes::{Bug, is_planted};

impl Store {
    pub(super) fn take_lease(
        &self,
        tx: &mut Transaction,
        take: &TakeLease,
        time: WallTime,
    ) -> Next {
        match tx.cursor {
            0 => {
                if !self.may_take(take, time) {
                    return Next::Done(Answer::NotTaken { ask: take.ask });
                }
                (tx.stamp, tx.judged_at, tx.cursor) = (self.tables.lease_stamp, time, 1);
                Next::Lock(RowKey::Lease)
            }
            1 => {
                if self.tables.lease_stamp != tx.stamp {
                    if !self.may_take(take, time) {
                        return Next::Done(Answer::NotTaken { ask: take.ask });
                    }
                    tx.judged_at = time;
                }
                let row = &self.tables.lease;
                let after = Lease {
                    incarnation: take.incarnation.clone(),
                    generation: row.generation.max(take.above).next(),
                    expires_at: tx.judged_at.plus(take.ttl),
                    resigned: false,
                    longest_ttl: row.longest_ttl.max(take.ttl),
                };
                tx.noted = after.generation.0;
                tx.writes.push(Write::Lease {
                    step: LeaseStep::Taken { forced: take.force },
                    by: take.incarnation.clone(),
                    after,
                });
                tx.cursor = 2;
                Next::Lock(RowKey::Fence)
            }
            _ => {
                let generation = Generation(tx.noted);
                tx.writes.push(Write::Fence(FenceRow {
                    generation,
                    incarnation: take.incarnation.clone(),
                    applied: BatchNumber::ZERO,
                }));
                Next::Done(Answer::Taken {
                    ask: take.ask,
                    generation,
                    time,
                })
            }
        }
    }

    fn may_take(&self, take: &TakeLease, time: WallTime) -> bool {
        let row = &self.tables.lease;
        let ended = row.expires_at < judged_by(take, time) || row.resigned;
        let own = row.incarnation == take.incarnation && Some(row.generation) == take.own;
        ended || own || take.force || is_planted(Bug::TakeoverIgnoresExpiry)
    }

    pub(super) fn read_lease(&self, time: WallTime, ask: AskId) -> Answer {
        Answer::LeaseRow {
            ask,
            row: self.tables.lease.shown(time),
            time,
        }
    }

    pub(super) fn renew_lease(
        &self,
        tx: &mut Transaction,
        renew: &RenewLease,
        time: WallTime,
    ) -> Next {
        let answer = |matched| Answer::Renewed {
            ask: renew.ask,
            generation: renew.generation,
            matched,
            time,
        };
        if tx.cursor == 0 {
            if !self.may_renew(renew) {
                return Next::Done(answer(false));
            }
            (tx.stamp, tx.judged_at, tx.cursor) = (self.tables.lease_stamp, time, 1);
            if is_planted(Bug::FenceAndLeaseShareRow) {
                return Next::Lock(RowKey::Fence);
            }
            return Next::Lock(RowKey::Lease);
        }
        if self.tables.lease_stamp != tx.stamp {
            if !self.may_renew(renew) {
                return Next::Done(answer(false));
            }
            tx.judged_at = time;
        }
        let row = &self.tables.lease;
        tx.writes.push(Write::Lease {
            step: LeaseStep::Renewed,
            by: renew.incarnation.clone(),
            after: Lease {
                expires_at: tx.judged_at.plus(renew.ttl),
                longest_ttl: row.longest_ttl.max(renew.ttl),
                ..row.clone()
            },
        });
        Next::Done(answer(true))
    }

    fn may_renew(&self, renew: &RenewLease) -> bool {
        let row = &self.tables.lease;
        let holds = row.generation == renew.generation && row.incarnation == renew.incarnation;
        (holds && !row.resigned) || is_planted(Bug::RenewalMatchesAnybody)
    }

    pub(super) fn resign_lease(
        &self,
        tx: &mut Transaction,
        incarnation: &Incarnation,
        generation: Generation,
    ) -> Next {
        let row = &self.tables.lease;
        let holds = row.generation == generation && row.incarnation == *incarnation;
        if tx.cursor == 0 && holds {
            tx.cursor = 1;
            return Next::Lock(RowKey::Lease);
        }
        if holds && !row.resigned {
            let forgotten = is_planted(Bug::ResignationDeletesRow);
            tx.writes.push(Write::Lease {
                step: LeaseStep::Resigned,
                by: incarnation.clone(),
                after: Lease {
                    resigned: true,
                    generation: if forgotten {
                        Generation::ZERO
                    } else {
                        generation
                    },
                    ..row.clone()
                },
            });
        }
        Next::Done(Answer::Resigned { generation })
    }
}

/// The clock that says whether a lease has ended: the database's, unless a candidate uses its own,
/// and that one is ahead on every second machine.
fn judged_by(take: &TakeLease, time: WallTime) -> WallTime {
    let place: u32 = take.incarnation.as_str().bytes().map(u32::from).sum();
    if is_planted(Bug::TakeoverByOwnClock) && !place.is_multiple_of(2) {
        return time.plus(Duration::from_secs(3_600));
    }
    time
}
