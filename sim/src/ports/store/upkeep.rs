//! What is counted of customers, and what would be removed for its age.
//!
//! Counts are made from the rows when asked: a model has few. Removing is not modelled: no run lasts
//! as long as anything is kept, which is asserted, so a run that does must bring the model first.

use super::SimStore;
use niyanta_core::{ids::CustomerId, time::WallTime, workload::Status};
use runtime::store::{Retire, StatsGroup, StatsQuery, StatsRow};
use std::collections::BTreeMap;

impl SimStore {
    pub(super) fn count(&self, customer: CustomerId, query: &StatsQuery) -> Vec<StatsRow> {
        let database = self.lock();
        let mut groups = BTreeMap::new();
        for found in database.model.workloads() {
            let row = &found.row;
            let Some(papers) = database.shelf.papers.get(&row.id) else {
                continue;
            };
            if row.customer != customer {
                continue;
            }
            let mut add = |at: WallTime, count: &dyn Fn(&mut StatsRow)| {
                let hour = WallTime(at.0 - at.0.rem_euclid(HOUR));
                if hour >= query.from && hour < query.to {
                    let key = match query.group {
                        StatsGroup::Hour => (Some(hour), None),
                        StatsGroup::Day => (Some(WallTime(at.0 - at.0.rem_euclid(DAY))), None),
                        StatsGroup::WorkloadType => (None, Some(row.workload_type.to_string())),
                    };
                    count(groups.entry(key).or_default());
                }
            };
            let moments = papers.moments;
            add(moments.created, &|group| group.submitted += 1);
            let Some(completed) = moments.completed else {
                continue;
            };
            let started = moments.started.unwrap_or(completed);
            add(completed, &|group| {
                match row.leader.status {
                    Status::Completed => group.completed += 1,
                    Status::Failed => group.failed += 1,
                    Status::Cancelled => group.cancelled += 1,
                    Status::Pending
                    | Status::Scheduled
                    | Status::Running
                    | Status::Paused
                    | Status::Redistributing => {}
                }
                group.run_micros += completed.0 - started.0;
            });
        }
        let rows = groups
            .into_iter()
            .map(|((start, workload_type), counts)| StatsRow {
                start,
                workload_type,
                ..counts
            });
        rows.collect()
    }

    pub(super) fn remove_old(&self, what: &Retire) -> u64 {
        let now = self.database_time();
        let mut database = self.lock();
        match *what {
            Retire::Coordinators(age) => {
                let coordinators = &mut database.shelf.coordinators;
                let before = coordinators.len();
                coordinators.retain(|_, seen| seen.last_seen >= now.minus(age));
                (before - coordinators.len()) as u64
            }
            Retire::Workloads(age) => {
                let papers = database.shelf.papers.values();
                let mut ends = papers.filter_map(|papers| papers.moments.completed);
                assert!(
                    ends.all(|end| end >= now.minus(age)),
                    "the model does not remove workloads"
                );
                0
            }
            Retire::Idempotency(age) | Retire::Logs(age) | Retire::Hours(age) => {
                let papers = database.shelf.papers.values();
                let first = papers.map(|papers| papers.moments.created).min();
                assert!(
                    first.is_none_or(|first| first >= now.minus(age)),
                    "the model does not remove what is old"
                );
                0
            }
        }
    }
}

/// In microseconds.
const HOUR: i64 = 3_600_000_000;
/// In microseconds.
const DAY: i64 = 24 * HOUR;
