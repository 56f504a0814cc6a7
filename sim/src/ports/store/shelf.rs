//! What the store model does not hold: bytes, texts, and when people's moments were.
//!
//! Follows what the model commits; decides nothing, and is never asked what a workload may do.

use crate::model::store::Change;
use niyanta_core::{
    batch::{Actor, Batch, WorkerWrite, WorkloadWrite},
    ids::{Attempt, CustomerId, Incarnation, WorkerId, WorkloadId},
    time::WallTime,
};
use runtime::store::{
    AdminAuditRow, ConfigId, ConfigRow, CoordinatorRecord, CustomerRecord, Json, KeyId, KeyRow,
    LogLine, Revision,
};
use std::collections::BTreeMap;

/// Everything beside the model.
#[derive(Clone, Default)]
pub(super) struct Shelf {
    pub(super) papers: BTreeMap<WorkloadId, Papers>,
    /// What the submission that is being run says of its workload.
    pub(super) submitting: Option<Box<Papers>>,
    /// Who wishes, and why, in the statement that is being run.
    pub(super) wishing: Option<Hand>,
    /// Idempotency keys: the number that the model knows each by, and the hash of its body.
    pub(super) keys_of_bodies: BTreeMap<(CustomerId, String), (u64, [u8; 32], WorkloadId)>,
    pub(super) next_number: u64,
    pub(super) configs: BTreeMap<(CustomerId, ConfigId), ConfigRow>,
    pub(super) customers: BTreeMap<CustomerId, Account>,
    pub(super) keys: BTreeMap<KeyId, KeyRow>,
    pub(super) admin_audit: Vec<AdminAuditRow>,
    pub(super) coordinators: BTreeMap<Incarnation, Presence>,
    pub(super) workers: BTreeMap<WorkerId, Sighting>,
}

/// What is kept of one workload.
#[derive(Debug, Clone)]
pub(super) struct Papers {
    pub(super) config: ConfigId,
    pub(super) actor: String,
    pub(super) input_params: Json,
    pub(super) config_json: Json,
    pub(super) resource_limits: Json,
    pub(super) checkpoint_interval_sec: u32,
    pub(super) timeout_seconds: u32,
    pub(super) affinity_rules: Option<Json>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) moments: Moments,
    pub(super) progress: Option<(f64, Option<String>)>,
    pub(super) result: Option<(Attempt, Json)>,
    pub(super) error: Option<(Attempt, String)>,
    pub(super) checkpoint: Option<(Attempt, u64, String)>,
    /// One for each audit event of the model, in order.
    pub(super) hands: Vec<Hand>,
    pub(super) logs: BTreeMap<(Attempt, u64), LogLine>,
}

/// When things happened to a workload, by the database's clock.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moments {
    pub(super) created: WallTime,
    pub(super) scheduled: Option<WallTime>,
    pub(super) started: Option<WallTime>,
    pub(super) completed: Option<WallTime>,
    pub(super) updated: WallTime,
}

/// Whose hand an audit event is in, and when.
#[derive(Debug, Clone)]
pub(super) struct Hand {
    pub(super) at: WallTime,
    pub(super) actor_type: &'static str,
    pub(super) actor_id: Option<String>,
    pub(super) reason: Option<String>,
}

/// A customer, beside its counters.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) record: CustomerRecord,
    pub(super) revision: Revision,
    pub(super) created_at: WallTime,
}

/// A coordinator that was seen.
#[derive(Debug, Clone)]
pub(super) struct Presence {
    pub(super) record: CoordinatorRecord,
    pub(super) started_at: WallTime,
    pub(super) last_seen: WallTime,
}

/// When a worker was seen.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sighting {
    pub(super) registered_at: WallTime,
    pub(super) last_heartbeat: Option<WallTime>,
}

impl Shelf {
    /// Keeps in step with what the model committed at `now`.
    pub(super) fn follow(&mut self, now: WallTime, change: &Change) {
        match change {
            Change::Lease { .. } | Change::Limited { .. } => {}
            Change::Batch { batch, time, .. } => self.follow_batch(*time, batch),
            Change::Submitted { workload, .. } => {
                if let Some(mut papers) = self.submitting.take() {
                    papers.moments.created = now;
                    papers.moments.updated = now;
                    papers.hands = vec![user(now, papers.actor.clone(), None)];
                    self.papers.insert(*workload, *papers);
                }
            }
            Change::Wished { workload, .. } => {
                let hand = self.wishing.take().map(|hand| Hand { at: now, ..hand });
                if let Some(papers) = self.papers.get_mut(workload) {
                    papers.moments.updated = now;
                    papers.hands.extend(hand);
                }
            }
        }
    }

    fn follow_batch(&mut self, time: WallTime, batch: &Batch) {
        for write in &batch.workloads {
            if let Some(papers) = self.papers.get_mut(&write.id) {
                papers.follow(time, batch, write);
            }
        }
        for write in &batch.workers {
            match write {
                WorkerWrite::Put(record) => {
                    let seen = self.workers.entry(record.worker.clone()).or_default();
                    if record.stamp_registered {
                        seen.registered_at = time;
                        seen.last_heartbeat = Some(time);
                    }
                }
                WorkerWrite::Remove { worker } => {
                    self.workers.remove(worker);
                }
            }
        }
    }
}

impl Papers {
    fn follow(&mut self, time: WallTime, batch: &Batch, write: &WorkloadWrite) {
        let moments = &mut self.moments;
        moments.updated = time;
        if write.stamp_scheduled {
            moments.scheduled = Some(time);
            moments.started = None;
        }
        if write.stamp_started {
            moments.started = Some(time);
        }
        if write.stamp_completed {
            moments.completed = Some(time);
        }
        for step in &write.steps {
            let (actor_type, actor_id) = match &step.actor {
                Actor::Coordinator => ("coordinator", Some(batch.incarnation.to_string())),
                Actor::Worker(worker) => ("worker", Some(worker.to_string())),
                Actor::System => ("system", None),
            };
            self.hands.push(Hand {
                at: time,
                actor_type,
                actor_id,
                reason: None,
            });
        }
    }
}

/// A user's hand.
pub(super) const fn user(at: WallTime, key: String, reason: Option<String>) -> Hand {
    Hand {
        at,
        actor_type: "user",
        actor_id: Some(key),
        reason,
    }
}
