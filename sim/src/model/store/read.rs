//! What a term reads: its snapshot, and rows it asks for later.
//!
//! A snapshot is one read-only transaction and shows one moment. A load is three statements on one
//! connection (the clock, the rows, their customers), and somebody may commit between them.

use super::{
    Store,
    statement::Answer,
    tables::place,
    transaction::{Next, Transaction},
};
use niyanta_core::{
    ids::{Attempt, CustomerId, Generation, LoadId, PlacementClass, WorkloadId},
    snapshot::{CustomerRow, Load, Loaded, Snapshot, SweepCursor, WorkloadRow},
    time::WallTime,
};
use sim_probes::{Bug, is_planted};
use std::collections::BTreeSet;

/// How far a wrong reader of new rows has come.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    known: BTreeSet<WorkloadId>,
    passed: WallTime,
}

impl Store {
    pub(super) fn snapshot(&self, time: WallTime, generation: Generation, limit: u32) -> Answer {
        let stale = self
            .before_last_batch
            .as_ref()
            .filter(|_| self.shows_stale_snapshots());
        let snapshot = match stale {
            Some(before) => Box::new(Snapshot {
                fence: self.tables.fence.clone(),
                ..Snapshot::clone(before)
            }),
            None => Box::new(self.snapshot_rows(limit)),
        };
        Answer::Snapshot {
            generation,
            snapshot,
            time,
        }
    }

    pub(super) fn snapshot_rows(&self, limit: u32) -> Snapshot {
        let tables = &self.tables;
        let open: Vec<WorkloadRow> = self.rows_of(tables.open.iter().copied()).collect();
        let (mut waiting, complete) = self.sweep(None, limit);
        let customers = self.customers_of(open.iter().chain(&waiting));
        waiting.truncate(index(limit));
        let next = waiting.last().filter(|_| !complete).map(place);
        Snapshot {
            fence: tables.fence.clone(),
            longest_ttl: tables.lease.longest_ttl,
            workers: tables
                .workers
                .values()
                .map(|found| found.row.clone())
                .collect(),
            customers,
            open,
            waiting,
            next,
        }
    }

    pub(super) fn load(
        &self,
        tx: &mut Transaction,
        load: LoadId,
        what: &Load,
        limit: u32,
        time: WallTime,
    ) -> Next {
        match tx.cursor {
            0 => {
                (tx.judged_at, tx.cursor) = (time, 1);
                Next::Breath
            }
            1 => {
                let rows = self.loaded(what, limit, time);
                tx.answer = Some(Answer::Loaded {
                    load,
                    rows: Box::new(rows),
                    time: tx.judged_at,
                });
                tx.cursor = 2;
                Next::Breath
            }
            _ => {
                let mut answer = tx.answer.take();
                if let Some(Answer::Loaded { rows, .. }) = &mut answer {
                    rows.customers = if let Load::Customers(ids) = what {
                        self.limits_of(ids.iter())
                    } else {
                        self.customers_of(rows.workloads.iter())
                    };
                    rows.workloads.truncate(index(limit));
                    rows.workers.truncate(index(limit));
                }
                Next::Done(answer.unwrap_or(Answer::Done))
            }
        }
    }

    fn loaded(&self, what: &Load, limit: u32, time: WallTime) -> Loaded {
        let mut rows = Loaded {
            complete: true,
            ..Loaded::default()
        };
        match what {
            Load::Workloads(ids) => {
                let mut ids = ids.clone();
                ids.sort_unstable();
                ids.dedup();
                (rows.workloads, rows.complete) = cut(self.rows_of(ids.into_iter()), limit);
            }
            Load::Wishes => {
                let unseen = self.tables.unseen.iter().copied();
                (rows.workloads, rows.complete) = cut(self.rows_of(unseen), limit);
            }
            Load::Backlog {
                customer,
                class,
                after,
            } => {
                let found = self
                    .waiting_in(*customer, *class)
                    .filter(|row| row.leader.eligible_at <= time)
                    .filter(|row| after.is_none_or(|after| (row.leader.sort_key, row.id) > after));
                (rows.workloads, rows.complete) = cut(found.cloned(), limit);
            }
            Load::Sweep { after } => {
                (rows.workloads, rows.complete) = self.sweep(*after, limit);
                if is_planted(Bug::CursorSkipsLateCommits) {
                    self.forget_late_commits(&mut rows.workloads);
                }
            }
            Load::Eligible { after, until } => {
                let waiting = self.tables.waiting.iter().map(|place| place.workload);
                let mut found: Vec<&WorkloadRow> = waiting
                    .filter_map(|id| self.tables.workloads.get(&id).map(|found| &found.row))
                    .filter(|row| row.leader.eligible_at > *after)
                    .filter(|row| row.leader.eligible_at <= *until)
                    .collect();
                found.sort_by_key(|row| (row.leader.eligible_at, row.id));
                (rows.workloads, rows.complete) = cut(found.into_iter().cloned(), limit);
            }
            Load::WorkerWishes => {
                let unseen = self
                    .tables
                    .workers
                    .values()
                    .filter(|found| found.row.record.wish_seen != found.row.wish_revision)
                    .filter(|found| self.tables.wishes.contains_key(&found.row.record.worker))
                    .map(|found| found.row.clone());
                (rows.workers, rows.complete) = cut(unseen, limit);
            }
            Load::Customers(_) => {}
        }
        rows
    }

    fn rows_of(&self, ids: impl Iterator<Item = WorkloadId>) -> impl Iterator<Item = WorkloadRow> {
        ids.filter_map(|id| {
            self.tables
                .workloads
                .get(&id)
                .map(|found| found.row.clone())
        })
    }

    /// What waits to run in one class, by key.
    fn waiting_in(
        &self,
        customer: CustomerId,
        class: PlacementClass,
    ) -> impl Iterator<Item = &WorkloadRow> {
        let bound = |sort_key, workload| SweepCursor {
            customer,
            class,
            sort_key,
            workload: WorkloadId(workload),
        };
        self.tables
            .waiting
            .range(bound(i64::MIN, 0)..=bound(i64::MAX, u128::MAX))
            .filter_map(|place| self.tables.workloads.get(&place.workload))
            .map(|found| &found.row)
    }

    fn sweep(&self, after: Option<SweepCursor>, limit: u32) -> (Vec<WorkloadRow>, bool) {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let ids = self.tables.waiting.range((from, Unbounded));
        cut(self.rows_of(ids.map(|place| place.workload)), limit)
    }

    /// A planted bug: what never ran is read past a cursor, in the order of its admission, which is
    /// not the order of the commits.
    fn forget_late_commits(&self, rows: &mut Vec<WorkloadRow>) {
        let mut read = self.read_by_cursor.borrow_mut();
        let (known, passed) = (read.known.clone(), read.passed);
        rows.retain(|row| {
            let is_new = row.leader.attempt == Attempt::ZERO;
            !is_new || known.contains(&row.id) || row.leader.eligible_at > passed
        });
        for row in rows {
            read.known.insert(row.id);
            read.passed = read.passed.max(row.leader.eligible_at);
        }
    }

    fn customers_of<'a>(&self, rows: impl Iterator<Item = &'a WorkloadRow>) -> Vec<CustomerRow> {
        let ids: BTreeSet<CustomerId> = rows.map(|row| row.customer).collect();
        self.limits_of(ids.iter())
    }

    fn limits_of<'a>(&self, ids: impl Iterator<Item = &'a CustomerId>) -> Vec<CustomerRow> {
        ids.filter_map(|id| self.tables.customers.get(id))
            .map(|found| found.limits.clone())
            .collect()
    }
}

/// At most one row more than the limit, which says that there are more. Whoever asked leaves it out,
/// but not before the customers of all rows are read.
fn cut<T>(rows: impl Iterator<Item = T>, limit: u32) -> (Vec<T>, bool) {
    let rows: Vec<T> = rows.take(index(limit).saturating_add(1)).collect();
    let complete = rows.len() <= index(limit);
    (rows, complete)
}

fn index(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
