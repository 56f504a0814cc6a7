//! A coordinator of a small world: the production core, and the little of its driver that matters.

use crate::scope::Scope;
use bytes::Bytes;
use niyanta_core::{
    Config, Coordinator, Effect, Event, Request, WorkerMessage,
    ids::{Generation, Incarnation, RequestId},
    time::Timestamp,
};
use std::{collections::VecDeque, sync::Arc};

/// A question on its way to the database.
#[derive(Debug, Clone)]
pub struct Question {
    /// When it was asked.
    pub asked: Timestamp,
    /// What.
    pub effect: Arc<Effect>,
}

/// The connections of a driver: each carries one question after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Line {
    /// The lease's.
    Lease,
    /// Commits and fences.
    Commit,
    /// Snapshots and loads.
    Load,
}

impl Line {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Lease, Self::Commit, Self::Load];

    /// The one that carries this; nothing when it is no question.
    #[must_use]
    pub const fn of(effect: &Effect) -> Option<Self> {
        match effect {
            Effect::TakeLease { .. }
            | Effect::ReadLease { .. }
            | Effect::RenewLease { .. }
            | Effect::ResignLease { .. } => Some(Self::Lease),
            Effect::Persist(_) | Effect::ReadFence { .. } => Some(Self::Commit),
            Effect::LoadSnapshot { .. } | Effect::Load { .. } => Some(Self::Load),
            Effect::AnnounceResignation { .. }
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
}

/// Who waits for a reply.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Which worker process, by its place.
    pub process: usize,
    /// Which message of it.
    pub message_id: Option<String>,
    /// It was a heartbeat.
    pub is_heartbeat: bool,
}

/// A coordinator.
#[derive(Debug, Clone)]
pub struct Node {
    /// The state machine.
    pub core: Coordinator,
    /// This start of it.
    pub incarnation: Incarnation,
    /// How often it was started.
    pub starts: u32,
    /// Questions on their way, by line.
    pub lines: [VecDeque<Question>; 3],
    /// Statements that nobody waits for any more, and that may be carried out all the same.
    pub orphans: Vec<Question>,
    /// Requests that are not answered.
    pub askers: Vec<(RequestId, Asker)>,
    /// The greatest term it has begun.
    pub term: Generation,
    next_request: u64,
}

/// How a coordinator of this place is named at this start.
fn name(place: usize, starts: u32) -> Incarnation {
    match format!("c{place}-{starts}").parse() {
        Ok(name) => name,
        Err(invalid) => unreachable!("{invalid}"),
    }
}

impl Node {
    /// A coordinator that is just started.
    #[must_use]
    pub fn start(place: usize, starts: u32, now: Timestamp) -> Self {
        let incarnation = name(place, starts);
        let config = Config {
            enable_ha: true,
            leader_lease_ttl: Scope::LEADER_TTL,
            scheduler_interval: Scope::SWEEP,
            heartbeat_timeout: Scope::WORKER_LEASE,
            worker_dead_threshold: Scope::DEAD_AFTER,
            ..Config::new(incarnation.clone(), 7)
        };
        Self {
            core: Coordinator::new(config, now),
            incarnation,
            starts,
            lines: Default::default(),
            orphans: Vec::new(),
            askers: Vec::new(),
            term: Generation::ZERO,
            next_request: 0,
        }
    }

    /// A request as core is told of it.
    pub fn request(
        &mut self,
        incoming: &runtime::protocol::Incoming,
        process: usize,
        body: WorkerMessage,
    ) -> Event {
        self.next_request += 1;
        let reply_to = RequestId(self.next_request);
        let asker = Asker {
            process,
            message_id: incoming.message_id.clone(),
            is_heartbeat: matches!(body, WorkerMessage::Heartbeat { .. }),
        };
        self.askers.push((reply_to, asker));
        Event::Request(Request {
            reply_to,
            worker: incoming.worker.clone(),
            incarnation: incoming.incarnation.clone(),
            generation_seen: incoming.generation_seen,
            sequence: incoming.sequence,
            body,
        })
    }

    /// Whoever waits for that reply waits no more.
    pub fn take_asker(&mut self, to: RequestId) -> Option<Asker> {
        let at = self.askers.iter().position(|(id, _)| *id == to)?;
        Some(self.askers.remove(at).1)
    }

    /// Whether it must be woken.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.core
            .next_deadline()
            .is_some_and(|deadline| deadline.at <= now)
    }
}

/// How long the driver waits for an answer at the most; nothing when it waits as long as it takes.
#[must_use]
pub const fn within(effect: &Effect) -> Option<niyanta_core::time::Duration> {
    match effect {
        Effect::TakeLease { within, .. }
        | Effect::ReadLease { within, .. }
        | Effect::RenewLease { within, .. } => Some(*within),
        Effect::ResignLease { .. }
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
        | Effect::Assign { .. }
        | Effect::Stop { .. }
        | Effect::DrainWorker { .. }
        | Effect::Exit { .. } => None,
    }
}

/// A command as bytes, addressed; nothing when this is no command.
#[must_use]
pub fn command(
    node: &Node,
    database: &crate::database::Database,
    effect: &Effect,
) -> Option<(niyanta_core::ids::WorkerId, Bytes)> {
    let label = node.incarnation.as_str();
    let origin = origin(label);
    match effect {
        Effect::Assign {
            generation,
            worker,
            incarnation,
            workload,
            attempt,
            heartbeat_sequence,
        } => {
            // The driver reads the assignment's row first, and sends nothing when it is gone.
            let row = database.workloads.get(workload)?;
            let row = runtime::store::AssignmentRow {
                workload: *workload,
                attempt: *attempt,
                workload_type: row.workload_type.clone(),
                config_json: serde_json::Value::Null,
                resource_limits: serde_json::Value::Null,
                input_params: serde_json::Value::Null,
                checkpoint_interval_sec: 60,
                checkpoint: None,
                timeout_seconds: 3_600,
                on_lease_loss: row.on_lease_loss,
            };
            let bytes = runtime::protocol::assign(
                &origin,
                incarnation,
                *generation,
                *heartbeat_sequence,
                &row,
            );
            Some((worker.clone(), bytes))
        }
        Effect::Stop {
            generation,
            worker,
            incarnation,
            order,
        } => {
            let bytes = runtime::protocol::stop(&origin, incarnation, *generation, order);
            Some((worker.clone(), bytes))
        }
        Effect::DrainWorker {
            generation,
            worker,
            incarnation,
            deadline,
        } => {
            let bytes = runtime::protocol::drain(&origin, incarnation, *generation, *deadline);
            Some((worker.clone(), bytes))
        }
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
        | Effect::Exit { .. } => None,
    }
}

/// Who speaks. Message ids matter to nobody here.
pub(crate) const fn origin(label: &str) -> runtime::protocol::CoordinatorOrigin<'_> {
    runtime::protocol::CoordinatorOrigin {
        coordinator_id: label,
        message_id: "m",
        now: niyanta_core::time::WallTime(0),
    }
}
