//! What the database answers to those who read: the snapshot of a term, and loads in pages.

use super::store::{Store, waits};
use niyanta_core::{
    ids::{CustomerId, PlacementClass, WorkloadId},
    snapshot::{CustomerRow, Load, Loaded, Snapshot, SweepCursor, WorkerRow, WorkloadRow},
    time::{Duration, WallTime},
};
use std::collections::BTreeSet;

type Place = (CustomerId, PlacementClass, i64, WorkloadId);

fn place(row: &WorkloadRow) -> Place {
    (row.customer, row.class, row.leader.sort_key, row.id)
}

fn cursor(row: &WorkloadRow) -> SweepCursor {
    SweepCursor {
        customer: row.customer,
        class: row.class,
        sort_key: row.leader.sort_key,
        workload: row.id,
    }
}

impl Store {
    fn waiting(&self) -> Vec<&WorkloadRow> {
        let mut rows: Vec<_> = self.workloads.values().filter(|row| waits(row)).collect();
        rows.sort_by_key(|row| place(row));
        rows
    }

    fn customers_of(&self, rows: &[WorkloadRow]) -> Vec<CustomerRow> {
        let ids: BTreeSet<_> = rows.iter().map(|row| row.customer).collect();
        let found = ids.iter().filter_map(|id| self.customers.get(id));
        found.cloned().collect()
    }

    /// Everything a term begins with.
    #[must_use]
    pub fn snapshot(&self, longest_ttl: Duration, limit: u32) -> Snapshot {
        let all = self.waiting();
        let page: Vec<_> = all
            .iter()
            .take(index(limit))
            .map(|row| (*row).clone())
            .collect();
        let more = all.len() > page.len();
        let next = page.last().filter(|_| more).map(cursor);
        let open: Vec<_> = self.open().cloned().collect();
        Snapshot {
            fence: self.fence.clone(),
            longest_ttl,
            workers: self.workers.values().cloned().collect(),
            customers: self.customers.values().cloned().collect(),
            open,
            waiting: page,
            next,
        }
    }

    /// One page of rows.
    #[must_use]
    pub fn load(&self, what: &Load, limit: u32, now: WallTime) -> Loaded {
        let rows = self.rows(what, now);
        let complete = rows.len() <= index(limit);
        let workloads: Vec<_> = rows.into_iter().take(index(limit)).cloned().collect();
        let customers = match what {
            Load::Customers(ids) => {
                let found = ids.iter().filter_map(|id| self.customers.get(id));
                found.cloned().collect()
            }
            Load::Workloads(_)
            | Load::Wishes
            | Load::Backlog { .. }
            | Load::Sweep { .. }
            | Load::Eligible { .. }
            | Load::WorkerWishes => self.customers_of(&workloads),
        };
        let workers = if matches!(what, Load::WorkerWishes) {
            let unseen = |row: &&WorkerRow| row.wish_revision != row.record.wish_seen;
            self.workers.values().filter(unseen).cloned().collect()
        } else {
            Vec::new()
        };
        Loaded {
            workloads,
            workers,
            customers,
            complete,
        }
    }

    fn rows(&self, what: &Load, now: WallTime) -> Vec<&WorkloadRow> {
        match what {
            Load::Workloads(ids) => {
                let found = ids.iter().filter_map(|id| self.workloads.get(id));
                found.collect()
            }
            Load::Wishes => {
                let unseen = |row: &&WorkloadRow| {
                    row.wish_revision != row.leader.wish_seen && !row.leader.status.is_terminal()
                };
                self.workloads.values().filter(unseen).collect()
            }
            Load::Backlog {
                customer,
                class,
                after,
            } => {
                let mut rows = self.waiting();
                rows.retain(|row| {
                    let place = (row.leader.sort_key, row.id);
                    row.customer == *customer
                        && row.class == *class
                        && row.leader.eligible_at <= now
                        && after.is_none_or(|after| place > after)
                });
                rows
            }
            Load::Sweep { after } => {
                let mut rows = self.waiting();
                rows.retain(|row| after.is_none_or(|after| cursor(row) > after));
                rows
            }
            Load::Eligible { after, until } => {
                let mut rows = self.waiting();
                rows.retain(|row| {
                    row.leader.eligible_at > *after && row.leader.eligible_at <= *until
                });
                rows.sort_by_key(|row| (row.leader.eligible_at, row.id));
                rows
            }
            Load::WorkerWishes | Load::Customers(_) => Vec::new(),
        }
    }
}

fn index(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
