//! What a term reads: its snapshot, and rows it asks for later.

use super::{Store, rows::Workload, statement::Answer};
use niyanta_core::{
    ids::{CustomerId, Generation, LoadId},
    snapshot::{CustomerRow, Load, Loaded, Snapshot, SweepCursor, WorkloadRow},
    time::WallTime,
    workload::{Desired, Status},
};
use std::collections::BTreeSet;

impl Store {
    pub(super) fn snapshot(&self, time: WallTime, generation: Generation, limit: u32) -> Answer {
        let stale = self
            .before_last_batch
            .as_ref()
            .filter(|_| self.shows_stale_snapshots());
        let snapshot = match stale {
            Some(before) => Box::new(Snapshot {
                fence: self.fence.clone(),
                ..Snapshot::clone(before)
            }),
            None => Box::new(self.snapshot_rows(time, limit)),
        };
        Answer::Snapshot {
            generation,
            snapshot,
            time,
        }
    }

    pub(super) fn snapshot_rows(&self, _time: WallTime, limit: u32) -> Snapshot {
        let open: Vec<WorkloadRow> = self
            .workloads
            .values()
            .filter(|found| found.row.leader.status.has_open_attempt())
            .map(|found| found.row.clone())
            .collect();
        let (waiting, complete) = self.sweep(None, limit);
        let next = waiting.last().filter(|_| !complete).map(place);
        Snapshot {
            fence: self.fence.clone(),
            longest_ttl: self.lease.longest_ttl,
            workers: self
                .workers
                .values()
                .map(|found| found.row.clone())
                .collect(),
            customers: self.customers_of(open.iter().chain(&waiting)),
            open,
            waiting,
            next,
        }
    }

    pub(super) fn load(&self, time: WallTime, load: LoadId, what: &Load, limit: u32) -> Answer {
        let mut rows = Loaded {
            complete: true,
            ..Loaded::default()
        };
        match what {
            Load::Workloads(ids) => {
                let found = ids.iter().filter_map(|id| self.workloads.get(id));
                rows.workloads = found.map(|found| found.row.clone()).collect();
            }
            Load::Wishes => {
                let found = self
                    .workloads
                    .values()
                    .filter(|found| found.row.leader.wish_seen != found.row.wish_revision)
                    .map(|found| found.row.clone());
                (rows.workloads, rows.complete) = cut(found.collect(), limit);
            }
            Load::Backlog {
                customer,
                class,
                after,
            } => {
                let mut found: Vec<_> = self
                    .waiting()
                    .filter(|row| row.customer == *customer && row.class == *class)
                    .filter(|row| row.leader.eligible_at <= time)
                    .filter(|row| after.is_none_or(|after| (row.leader.sort_key, row.id) > after))
                    .cloned()
                    .collect();
                found.sort_by_key(|row| (row.leader.sort_key, row.id));
                (rows.workloads, rows.complete) = cut(found, limit);
            }
            Load::Sweep { after } => (rows.workloads, rows.complete) = self.sweep(*after, limit),
            Load::Eligible { after, until } => {
                let mut found: Vec<_> = self
                    .waiting()
                    .filter(|row| {
                        row.leader.eligible_at > *after && row.leader.eligible_at <= *until
                    })
                    .cloned()
                    .collect();
                found.sort_by_key(|row| (row.leader.eligible_at, row.id));
                (rows.workloads, rows.complete) = cut(found, limit);
            }
            Load::WorkerWishes => {
                rows.workers = self
                    .workers
                    .values()
                    .filter(|found| found.row.record.wish_seen != found.row.wish_revision)
                    .map(|found| found.row.clone())
                    .collect();
            }
            Load::Customers(ids) => {
                let found = ids.iter().filter_map(|id| self.customers.get(id));
                rows.customers = found.map(|found| found.limits.clone()).collect();
            }
        }
        if !matches!(what, Load::Customers(_)) {
            rows.customers = self.customers_of(rows.workloads.iter());
        }
        Answer::Loaded {
            load,
            rows: Box::new(rows),
            time,
        }
    }

    /// Everything that waits to run, in no order.
    fn waiting(&self) -> impl Iterator<Item = &WorkloadRow> {
        self.workloads
            .values()
            .map(|found: &Workload| &found.row)
            .filter(|row| row.leader.status == Status::Pending && row.desired == Desired::Run)
    }

    fn sweep(&self, after: Option<SweepCursor>, limit: u32) -> (Vec<WorkloadRow>, bool) {
        let mut found: Vec<_> = self
            .waiting()
            .filter(|row| after.is_none_or(|after| place(row) > after))
            .cloned()
            .collect();
        found.sort_by_key(place);
        cut(found, limit)
    }

    fn customers_of<'a>(&self, rows: impl Iterator<Item = &'a WorkloadRow>) -> Vec<CustomerRow> {
        let ids: BTreeSet<CustomerId> = rows.map(|row| row.customer).collect();
        ids.iter()
            .filter_map(|id| self.customers.get(id))
            .map(|found| found.limits.clone())
            .collect()
    }
}

fn place(row: &WorkloadRow) -> SweepCursor {
    SweepCursor {
        customer: row.customer,
        class: row.class,
        sort_key: row.leader.sort_key,
        workload: row.id,
    }
}

fn cut(mut rows: Vec<WorkloadRow>, limit: u32) -> (Vec<WorkloadRow>, bool) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let complete = rows.len() <= limit;
    rows.truncate(limit);
    (rows, complete)
}
