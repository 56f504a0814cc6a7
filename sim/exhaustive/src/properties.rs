//! What must hold after every step of a small world, in the numbers of the design.
//!
//! P1 needs no watcher here: the database of a small world is honest about its fence, and whether
//! the real one is, is shown against the real one.

use crate::{
    database::{Database, RETRIES_MAX, wall},
    scope::Scope,
    world::World,
};
use niyanta_core::{
    Effect,
    batch::{Batch, WorkerWrite, WorkloadWrite},
    fleet::WorkerStatus,
    ids::{Attempt, Incarnation, WorkerId, WorkloadId},
    time::Timestamp,
    workload::{Desired, Status},
};
use std::collections::{BTreeMap, BTreeSet};

/// Something that must never be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which property.
    pub property: &'static str,
    /// What was seen.
    pub detail: String,
}

impl Violation {
    pub(crate) const fn new(property: &'static str, detail: String) -> Self {
        Self { property, detail }
    }
}

/// What is so outside of any coordinator, at this moment.
#[derive(Debug, Default)]
pub struct Truth {
    /// What truly runs, and in which process.
    pub running: BTreeMap<(WorkloadId, Attempt), Vec<(WorkerId, Incarnation)>>,
    /// What has truly come to its own end.
    pub finished: BTreeSet<(WorkloadId, Attempt)>,
}

/// Looks at a batch that is about to be applied.
pub(crate) fn before_commit(
    database: &Database,
    batch: &Batch,
    now: Timestamp,
    truth: &Truth,
) -> Result<(), Violation> {
    for write in &batch.workloads {
        let Some(row) = database.workloads.get(&write.id) else {
            continue;
        };
        let (from, to) = (row.leader.status, write.to.status);
        let about = format!(
            "{} {from}/{} to {to}/{}",
            write.id, row.leader.attempt, write.to.attempt
        );
        if from.is_terminal() && from != to {
            return Err(Violation::new("P6", about));
        }
        let is_done = to == Status::Completed && from != Status::Completed;
        if is_done && !truth.finished.contains(&(write.id, write.to.attempt)) {
            return Err(Violation::new(
                "P7",
                format!("{about}: that attempt never completed"),
            ));
        }
        let closes = from.has_open_attempt()
            && (!to.has_open_attempt() || write.to.attempt != row.leader.attempt);
        if closes && truth.running.contains_key(&(write.id, row.leader.attempt)) {
            return Err(Violation::new("P9", format!("{about}: it still runs")));
        }
        if from != to && write.steps.is_empty() {
            return Err(Violation::new(
                "P16",
                format!("{about}: nothing in the audit trail"),
            ));
        }
        if write.to.retry_count > RETRIES_MAX {
            return Err(Violation::new("P22", about));
        }
        if write.stamp_scheduled {
            assignment(database, batch, write, now)?;
        }
    }
    let new = database.taken_at.plus(Scope::WORKER_LEASE);
    for write in &batch.workers {
        if let WorkerWrite::Put(record) = write
            && record.status == WorkerStatus::Dead
            && now < new
        {
            let detail = format!("{} is DEAD for a leader that has just begun", record.worker);
            return Err(Violation::new("P15", detail));
        }
    }
    Ok(())
}

fn assignment(
    database: &Database,
    batch: &Batch,
    write: &WorkloadWrite,
    now: Timestamp,
) -> Result<(), Violation> {
    let Some((worker, incarnation)) = &write.to.worker else {
        return Ok(());
    };
    let about = format!("{} goes to {worker}", write.id);
    let row = database.workers.get(worker);
    let fit = row.is_some_and(|row| {
        row.record.status == WorkerStatus::Healthy && row.record.incarnation == *incarnation
    });
    let touched = batch.workers.iter().any(|put| match put {
        WorkerWrite::Put(record) => {
            record.worker == *worker && record.status != WorkerStatus::Healthy
        }
        WorkerWrite::Remove { worker: removed } => removed == worker,
    });
    if !fit || touched {
        return Err(Violation::new(
            "P14",
            format!("{about}, which is not HEALTHY"),
        ));
    }
    if let Some(row) = database.workloads.get(&write.id) {
        let waits = row
            .leader
            .backoff_until
            .is_some_and(|until| wall(now) < until);
        if waits {
            return Err(Violation::new(
                "P21",
                format!("{about} within its back-off"),
            ));
        }
    }
    Ok(())
}

/// Looks at the rows after a commit.
pub(crate) fn after_commit(database: &Database) -> Result<(), Violation> {
    let open = database.open().count();
    if i64::try_from(open) != Ok(database.running) {
        let detail = format!(
            "{open} attempts are open, the counter says {}",
            database.running
        );
        return Err(Violation::new("P12", detail));
    }
    let left = database.workloads.values();
    let left =
        left.filter(|row| row.leader.attempt > Attempt::ZERO || row.leader.status.is_terminal());
    let left = left.count();
    if u64::try_from(left) != Ok(database.left_queue) {
        let detail = format!(
            "{left} workloads left the queue, the counter says {}",
            database.left_queue
        );
        return Err(Violation::new("P13", detail));
    }
    let mut used: BTreeMap<&WorkerId, u32> = BTreeMap::new();
    for row in database.open() {
        if let Some((worker, _)) = &row.leader.worker {
            *used.entry(worker).or_default() += 1;
        }
    }
    match used.into_iter().find(|(_, used)| *used > Scope::CAPACITY) {
        Some((worker, used)) => Err(Violation::new(
            "P12",
            format!("{used} attempts are open on {worker}"),
        )),
        None => Ok(()),
    }
}

/// What is told is in the database.
pub(crate) fn told(database: &Database, effect: &Effect) -> Result<(), Violation> {
    let true_of = match effect {
        Effect::Assign {
            worker,
            incarnation,
            workload,
            attempt,
            ..
        } => database.workloads.get(workload).is_some_and(|row| {
            // It may have ended since; then it must have been so.
            row.leader.attempt > *attempt
                || (row.leader.attempt == *attempt
                    && row
                        .leader
                        .worker
                        .as_ref()
                        .is_none_or(|holder| *holder == (worker.clone(), incarnation.clone())))
        }),
        Effect::DrainWorker { worker, .. } => database
            .workers
            .get(worker)
            .is_none_or(|row| row.record.status != WorkerStatus::Healthy),
        Effect::TakeLease { .. }
        | Effect::ReadLease { .. }
        | Effect::RenewLease { .. }
        | Effect::ResignLease { .. }
        | Effect::AnnounceResignation { .. }
        | Effect::AnnounceLeader { .. }
        | Effect::ProbeBroker { .. }
        | Effect::LoadSnapshot { .. }
        | Effect::Persist(_)
        | Effect::ReadFence { .. }
        | Effect::Load { .. }
        | Effect::RecordPendingReasons { .. }
        | Effect::RecordHeartbeats { .. }
        | Effect::Reply { .. }
        | Effect::Forget { .. }
        | Effect::Stop { .. }
        | Effect::Exit { .. } => true,
    };
    if true_of {
        Ok(())
    } else {
        Err(Violation::new(
            "P5",
            format!("{effect:?} is told, and not in the database"),
        ))
    }
}

/// Looks at a whole world.
pub(crate) fn of_world(world: &World) -> Result<(), Violation> {
    for node in &world.nodes {
        let leads = node
            .core
            .is_leader(world.now)
            .then(|| node.core.lease())
            .flatten();
        if let Some((generation, _)) = leads
            && generation != world.database.lease.generation
        {
            let detail = format!(
                "{} acts in term {generation} while term {} is another's",
                node.incarnation, world.database.lease.generation
            );
            return Err(Violation::new("P3", detail));
        }
    }
    let truth = world.truth();
    let mut holders: BTreeMap<WorkloadId, usize> = BTreeMap::new();
    for ((workload, attempt), processes) in &truth.running {
        let holders = holders.entry(*workload).or_default();
        *holders += processes.len();
        if *holders > 1 {
            return Err(Violation::new(
                "P8",
                format!("{workload} runs in two processes"),
            ));
        }
        let open = world.database.workloads.get(workload).is_some_and(|row| {
            row.leader.attempt == *attempt && row.leader.status.has_open_attempt()
        });
        if !open {
            let detail = format!("{workload} attempt {attempt} is over in the database and runs");
            return Err(Violation::new("P9", detail));
        }
    }
    Ok(())
}

/// Looks at a world in which nothing is under way.
pub(crate) fn at_rest(world: &World) -> Result<(), Violation> {
    for (id, cancelled) in &world.wished_away {
        let Some(row) = world.database.workloads.get(id) else {
            continue;
        };
        if *cancelled && row.desired != Desired::Cancel {
            return Err(Violation::new(
                "P10",
                format!("{id}: an acknowledged cancel is gone"),
            ));
        }
        let idle = row.leader.wish_seen == row.wish_revision;
        if *cancelled && idle && row.leader.status == Status::Paused {
            return Err(Violation::new(
                "P10",
                format!("{id} is cancelled, and stays PAUSED"),
            ));
        }
    }
    Ok(())
}
