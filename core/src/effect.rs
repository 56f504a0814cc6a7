//! Everything a coordinator does to the outside world, in the imperative.
//!
//! The driver carries effects out in the order of the buffer and decides nothing. An effect that
//! belongs to a term is dropped when that term is over ([`Effect::term`]).

use crate::{
    Event, PersistOutcome,
    batch::Batch,
    ids::{
        AskId, Attempt, BatchNumber, Generation, Incarnation, LoadId, MessageSequence, RequestId,
        WorkerId, WorkloadId,
    },
    scheduling::PendingReason,
    snapshot::Load,
    time::{Duration, WallTime},
    workload::Cause,
};
use alloc::{sync::Arc, vec::Vec};

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Take the lease in one statement, if it has ended or was resigned, or is at `own`. Answered by
    /// `LeaseTaken`, `LeaseRefused` or `LeaseUnknown`.
    TakeLease {
        /// Names the question.
        ask: AskId,
        /// The new term is above this one, and above the row's.
        above: Generation,
        /// The term that the row is known to carry for our incarnation, if any.
        own: Option<Generation>,
        /// Take it whatever the row says: there are no other coordinators.
        force: bool,
        /// How long the lease is to last.
        ttl: Duration,
        /// Give up waiting for the answer after this long.
        within: Duration,
    },
    /// Read the lease row in a new statement. Answered by `LeaseRead` or `LeaseUnanswered`.
    ReadLease {
        /// Names the question.
        ask: AskId,
        /// Give up waiting for the answer after this long.
        within: Duration,
    },
    /// Renew the lease of this term. Answered by `LeaseRenewed`, `LeaseLost` or `LeaseUnanswered`.
    RenewLease {
        /// Names the question.
        ask: AskId,
        /// The term.
        generation: Generation,
        /// How long the lease is to last from now.
        ttl: Duration,
        /// Give up waiting for the answer after this long.
        within: Duration,
    },
    /// Mark the lease of this term as resigned. The term is already over in core.
    ResignLease {
        /// The term that is given up.
        generation: Generation,
    },
    /// Tell the other coordinators that the term was resigned, after `ResignLease` was answered.
    AnnounceResignation {
        /// The term that was given up.
        generation: Generation,
    },
    /// Broadcast `leader.elected`.
    AnnounceLeader {
        /// The term that began.
        generation: Generation,
    },
    /// Send ourselves a word through the broker. Heard again, it is `ProbeHeard`.
    ProbeBroker {
        /// Names the probe.
        nonce: u64,
    },

    /// Read the snapshot in a transaction that begins now. Answered by `SnapshotLoaded` or
    /// `SnapshotFailed`.
    LoadSnapshot {
        /// The term it is read for.
        generation: Generation,
        /// Most waiting workloads in it.
        limit: u32,
    },
    /// Commit this batch; the very same value may be sent again. Answered by `PersistAnswered`.
    Persist(Arc<Batch>),
    /// Read the fence in a new statement. Answered by `FenceRead`.
    ReadFence {
        /// The term that asks.
        generation: Generation,
        /// The batch whose fate is in doubt.
        number: BatchNumber,
    },
    /// Load rows. Answered by `Loaded`.
    Load {
        /// Names the load.
        load: LoadId,
        /// The term that asks.
        generation: Generation,
        /// Which rows.
        what: Load,
        /// Most rows in the answer.
        limit: u32,
    },
    /// Note why workloads wait. Advisory: neither fenced nor answered; written only where the
    /// workload is still PENDING with that attempt.
    RecordPendingReasons {
        /// The term that says so.
        generation: Generation,
        /// Workload, its last attempt, and the reason.
        reasons: Vec<(WorkloadId, Attempt, PendingReason)>,
    },
    /// Note when workers were last heard. Advisory: neither fenced nor answered; written only where
    /// the incarnation is still that worker's.
    RecordHeartbeats {
        /// The term that says so.
        generation: Generation,
        /// Worker, incarnation, and how long ago it was heard.
        heard: Vec<(WorkerId, Incarnation, Duration)>,
    },

    /// Answer a worker's request.
    Reply {
        /// Which request.
        to: RequestId,
        /// The term that answers.
        generation: Generation,
        /// The answer.
        reply: Reply,
    },
    /// Never answer this request: the worker will repeat it, or somebody else answers.
    Forget {
        /// Which request.
        to: RequestId,
    },
    /// Send `workload.assign`. Its commit has landed; it is sent again from state until the worker's
    /// words show that it got there.
    Assign {
        /// The term that assigns.
        generation: Generation,
        /// Whom.
        worker: WorkerId,
        /// Which start of its process.
        incarnation: Incarnation,
        /// Which workload.
        workload: WorkloadId,
        /// Which attempt.
        attempt: Attempt,
        /// The last heartbeat, or registration, heard from this incarnation.
        heartbeat_sequence: MessageSequence,
    },
    /// Send `workload.stop`.
    Stop {
        /// The term that stops.
        generation: Generation,
        /// Whom.
        worker: WorkerId,
        /// Which start of its process.
        incarnation: Incarnation,
        /// What.
        order: StopOrder,
    },
    /// Send `worker.drain`.
    DrainWorker {
        /// The term that drains.
        generation: Generation,
        /// Whom.
        worker: WorkerId,
        /// Which start of its process.
        incarnation: Incarnation,
        /// After this long, what still runs is moved.
        deadline: Option<Duration>,
    },
    /// End the process with this message: it must not go on.
    Exit {
        /// Why.
        reason: ExitReason,
    },
}

/// The answer to a worker's request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reply {
    /// What the leader says.
    pub status: ReplyStatus,
    /// The worker's lease, from the sending of the request.
    pub lease: Duration,
    /// How often it is to send heartbeats.
    pub heartbeat: Duration,
    /// What it is to stop; only in answers to heartbeats.
    pub stop: Vec<StopOrder>,
}

/// The `status` of a reply.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReplyStatus {
    /// Done, durably; or heard.
    Ok,
    /// The attempt ended, though its content was refused.
    OkContentRefused,
    /// That attempt is no longer yours: stop and forget it.
    Stale,
    /// Register again with the same incarnation; running attempts go on.
    UnknownWorker,
    /// Another process holds this id.
    IdInUse {
        /// Register again after this long.
        retry_after: Duration,
    },
    /// Final: this incarnation has ended.
    IncarnationEnded,
    /// Final: the database refuses what the message carries.
    Refused,
}

/// One attempt to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StopOrder {
    /// Which workload.
    pub workload: WorkloadId,
    /// Which attempt.
    pub attempt: Attempt,
    /// Why.
    pub cause: Cause,
    /// From its receipt, it is killed after this long.
    pub deadline: Duration,
}

/// Why a process must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExitReason {
    /// Without `enable_ha` there must be no other coordinator, and there is one.
    FencedWithoutHa,
}

impl Effect {
    /// The term this effect belongs to; the driver drops it when that term is over.
    #[must_use]
    pub fn term(&self) -> Option<Generation> {
        match self {
            Self::TakeLease { .. }
            | Self::ReadLease { .. }
            | Self::ResignLease { .. }
            | Self::AnnounceResignation { .. }
            | Self::ProbeBroker { .. }
            | Self::Forget { .. }
            | Self::Exit { .. } => None,
            Self::RenewLease { generation, .. }
            | Self::AnnounceLeader { generation }
            | Self::LoadSnapshot { generation, .. }
            | Self::ReadFence { generation, .. }
            | Self::Load { generation, .. }
            | Self::RecordPendingReasons { generation, .. }
            | Self::RecordHeartbeats { generation, .. }
            | Self::Reply { generation, .. }
            | Self::Assign { generation, .. }
            | Self::Stop { generation, .. }
            | Self::DrainWorker { generation, .. } => Some(*generation),
            Self::Persist(batch) => Some(batch.generation),
        }
    }

    /// What core is told when this has no answer, or failed: nobody knows then whether it took effect.
    /// `database_time` is the last that is known of the database's clock. None for what asks nothing.
    #[must_use]
    pub fn unanswered(&self, database_time: WallTime) -> Option<Event> {
        match self {
            Self::TakeLease { ask, .. } => Some(Event::LeaseUnknown { ask: *ask }),
            Self::ReadLease { ask, .. } | Self::RenewLease { ask, .. } => {
                Some(Event::LeaseUnanswered { ask: *ask })
            }
            Self::ResignLease { generation } => Some(Event::LeaseResigned {
                generation: *generation,
            }),
            Self::LoadSnapshot { generation, .. } => Some(Event::SnapshotFailed {
                generation: *generation,
            }),
            Self::Persist(batch) => Some(Event::PersistAnswered {
                generation: batch.generation,
                number: batch.number,
                outcome: PersistOutcome::Unknown,
            }),
            Self::ReadFence { generation, .. } => Some(Event::FenceRead {
                generation: *generation,
                row: None,
            }),
            Self::Load { load, .. } => Some(Event::Loaded {
                load: *load,
                rows: None,
                database_time,
            }),
            Self::AnnounceResignation { .. }
            | Self::AnnounceLeader { .. }
            | Self::ProbeBroker { .. }
            | Self::RecordPendingReasons { .. }
            | Self::RecordHeartbeats { .. }
            | Self::Reply { .. }
            | Self::Forget { .. }
            | Self::Assign { .. }
            | Self::Stop { .. }
            | Self::DrainWorker { .. }
            | Self::Exit { .. } => None,
        }
    }

    /// The variant's name, for spans and counters.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::TakeLease { .. } => "take_lease",
            Self::ReadLease { .. } => "read_lease",
            Self::RenewLease { .. } => "renew_lease",
            Self::ResignLease { .. } => "resign_lease",
            Self::AnnounceResignation { .. } => "announce_resignation",
            Self::AnnounceLeader { .. } => "announce_leader",
            Self::ProbeBroker { .. } => "probe_broker",
            Self::LoadSnapshot { .. } => "load_snapshot",
            Self::Persist(_) => "persist",
            Self::ReadFence { .. } => "read_fence",
            Self::Load { .. } => "load",
            Self::RecordPendingReasons { .. } => "record_pending_reasons",
            Self::RecordHeartbeats { .. } => "record_heartbeats",
            Self::Reply { .. } => "reply",
            Self::Forget { .. } => "forget",
            Self::Assign { .. } => "assign",
            Self::Stop { .. } => "stop",
            Self::DrainWorker { .. } => "drain_worker",
            Self::Exit { .. } => "exit",
        }
    }
}
