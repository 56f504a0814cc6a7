//! What goes into and comes out of the [`Store`](super::Store): rows as the API half sees them.
//!
//! JSON columns travel as parsed values; adapters neither read nor change them.

use super::Revision;
use niyanta_core::{
    fleet::{WorkerDesired, WorkerStatus},
    ids::{
        Attempt, CustomerId, Generation, Incarnation, InvalidId, PlacementClass, WishRevision,
        WorkerId, WorkloadId, WorkloadType,
    },
    scheduling::{AffinityRules, PendingCode},
    time::WallTime,
    workload::{AuditKind, Desired, ErrorType, OnLeaseLoss, Status},
};
use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

/// A JSON value without U+0000 in any text of it.
pub type Json = serde_json::Value;

/// A 128-bit identifier with a printed prefix.
macro_rules! row_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{:032x}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let invalid = InvalidId {
                    kind: $kind,
                    allowed: concat!($prefix, " and 32 lower-case hexadecimal digits"),
                };
                let Some(hex) = text.strip_prefix($prefix) else {
                    return Err(invalid);
                };
                let digits = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
                if hex.len() != 32 || !hex.bytes().all(digits) {
                    return Err(invalid);
                }
                u128::from_str_radix(hex, 16).map(Self).map_err(|_| invalid)
            }
        }
    };
}

row_id!(
    /// A workload config: `wlcfg_` and 32 hexadecimal digits.
    ConfigId, "wlcfg_", "workload config id"
);
row_id!(
    /// An API key (not its secret): `key_` and 32 hexadecimal digits.
    KeyId, "key_", "key id"
);

/// A place in a list ordered by (`created_at`, id), and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Beyond this (created_at, id), in the direction of the order.
    pub after: Option<(WallTime, u128)>,
    /// Most rows. Callers ask for one more than they show, to know whether there are more.
    pub limit: u32,
    /// Oldest first; else newest first.
    pub ascending: bool,
    /// Only rows committed no later than the first page: the upper bound of `created_at` that a
    /// cursor carries.
    pub until: Option<WallTime>,
}

/// Whether a guarded write found its attempt open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Written, or had already.
    Stored,
    /// That attempt of that incarnation is not open (or a newer checkpoint is there).
    NotOpen,
}

/// What `workload.completed` and `workload.failed` carry.
#[derive(Debug, Clone, PartialEq)]
pub struct OutcomeReport {
    /// Which workload.
    pub workload: WorkloadId,
    /// Which attempt.
    pub attempt: Attempt,
    /// Whose.
    pub incarnation: Incarnation,
    /// The result, if any.
    pub result_data: Option<Json>,
    /// The error in words, if any.
    pub error_message: Option<String>,
}

/// What `workload.checkpoint` carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointReport {
    /// Which workload.
    pub workload: WorkloadId,
    /// Which attempt.
    pub attempt: Attempt,
    /// Whose.
    pub incarnation: Incarnation,
    /// Its number within the attempt.
    pub checkpoint_sequence: u64,
    /// The data, as base64 text, as it came.
    pub data: String,
}

/// What `workload.progress` carries.
#[derive(Debug, Clone, PartialEq)]
pub struct ProgressReport {
    /// Which workload.
    pub workload: WorkloadId,
    /// Which attempt.
    pub attempt: Attempt,
    /// Whose.
    pub incarnation: Incarnation,
    /// 0 to 100.
    pub percent: f64,
    /// In words.
    pub message: Option<String>,
}

/// What `workload.log` carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogReport {
    /// Which workload.
    pub workload: WorkloadId,
    /// Which attempt.
    pub attempt: Attempt,
    /// Whose.
    pub incarnation: Incarnation,
    /// The number of the first line within the attempt; the others follow.
    pub first_sequence: u64,
    /// The lines.
    pub lines: Vec<LogLine>,
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When, by the worker's clock.
    pub timestamp: WallTime,
    /// `debug`, `info`, `warn` or `error`; what the worker said.
    pub level: String,
    /// At most 8 KiB.
    pub message: String,
}

/// What `workload.assign` carries beside what core says.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct AssignmentRow {
    /// Which workload.
    pub workload: WorkloadId,
    /// The open attempt.
    pub attempt: Attempt,
    /// What kind of work.
    pub workload_type: WorkloadType,
    /// From its config, as copied at submission.
    pub config_json: Json,
    /// From its config, as copied at submission: `{cpu_cores, memory_mb, disk_mb}`.
    pub resource_limits: Json,
    /// From its submission.
    pub input_params: Json,
    /// How often to checkpoint.
    pub checkpoint_interval_sec: u32,
    /// The last checkpoint: attempt, sequence, base64 data.
    pub checkpoint: Option<(Attempt, u64, String)>,
    /// Most time for one attempt.
    pub timeout_seconds: u32,
    /// What to do when the lease ends.
    pub on_lease_loss: OnLeaseLoss,
}

/// A submission, complete: what the row will hold, but for what the config gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// Made before the statement: finding it proves success.
    pub id: WorkloadId,
    /// Whose.
    pub customer: CustomerId,
    /// Who asks, for the audit (`user`, the key's id).
    pub actor: KeyId,
    /// The key of the idempotency record, and the SHA-256 of the canonical body.
    pub idempotency: Option<(String, [u8; 32])>,
    /// What kind of work; must be one of the customer's configs.
    pub workload_type: WorkloadType,
    /// A JSON object.
    pub input_params: Json,
    /// 0 to 1,000.
    pub priority: u16,
    /// Where it may run.
    pub affinity: AffinityRules,
    /// As it was given, for answers; `None` when it was not.
    pub affinity_rules: Option<Json>,
    /// Hash of type and affinity.
    pub class: PlacementClass,
    /// Overrides the config's.
    pub timeout_seconds: Option<u32>,
    /// Overrides the config's.
    pub max_retries: Option<u32>,
    /// At most 32.
    pub labels: BTreeMap<String, String>,
    /// Not before.
    pub run_after: Option<WallTime>,
}

/// What became of a submission.
#[derive(Debug, Clone, PartialEq)]
pub enum SubmitOutcome {
    /// Created by this statement, or by an earlier sending of it (same id).
    Created(Box<WorkloadView>),
    /// The idempotency key names this workload, with the same body.
    Existing(Box<WorkloadView>),
    /// The idempotency key names a workload with another body.
    KeyReused,
    /// The customer has no such workload type.
    UnknownType,
    /// `submitted - left_queue` has reached the limit.
    QueueFull {
        /// The limit in force.
        limit: u32,
    },
}

/// A workload as its customer sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkloadView {
    /// Which workload.
    pub id: WorkloadId,
    /// Whose.
    pub customer: CustomerId,
    /// What kind of work.
    pub workload_type: WorkloadType,
    /// Where it is.
    pub status: Status,
    /// What is wanted.
    pub desired: Desired,
    /// How many wishes were written; not told to customers.
    pub wish_revision: WishRevision,
    /// Why it waits, as last recorded: code, and detail in words.
    pub pending_reason: Option<(PendingCode, String)>,
    /// 0 to 1,000.
    pub priority: u16,
    /// 0 to 100.
    pub progress_percent: Option<f64>,
    /// In words.
    pub progress_message: Option<String>,
    /// Of the open attempt.
    pub worker_id: Option<WorkerId>,
    /// The last attempt.
    pub attempt: Attempt,
    /// Failures that counted.
    pub retry_count: u32,
    /// Losses in a row.
    pub loss_count: u32,
    /// As submitted.
    pub input_params: Json,
    /// Of the last report that carried one.
    pub result_data: Option<Json>,
    /// Of the last failure, while it has not completed.
    pub error_message: Option<String>,
    /// Of the last failure, while it has not completed.
    pub error_type: Option<ErrorType>,
    /// As submitted.
    pub affinity_rules: Option<Json>,
    /// Most time for one attempt.
    pub timeout_seconds: u32,
    /// Most retries after failures.
    pub max_retries: u32,
    /// From its config.
    pub on_lease_loss: OnLeaseLoss,
    /// As submitted.
    pub labels: BTreeMap<String, String>,
    /// As submitted.
    pub run_after: Option<WallTime>,
    /// When the submission was committed.
    pub created_at: WallTime,
    /// When the last attempt was assigned.
    pub scheduled_at: Option<WallTime>,
    /// When the last attempt was confirmed.
    pub started_at: Option<WallTime>,
    /// When it ended.
    pub completed_at: Option<WallTime>,
    /// When anything of it last changed.
    pub updated_at: WallTime,
    /// The number of its last audit event.
    pub version: i64,
}

/// Which workloads to list. Empty lists: all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WorkloadFilter {
    /// Any of these.
    pub status: Vec<Status>,
    /// This type.
    pub workload_type: Option<WorkloadType>,
    /// All of these.
    pub labels: BTreeMap<String, String>,
    /// Created after.
    pub created_after: Option<WallTime>,
    /// Created before.
    pub created_before: Option<WallTime>,
}

/// One audit event of a workload.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRow {
    /// 1, 2, 3 … version.
    pub sequence: i64,
    /// What happened.
    pub kind: AuditKind,
    /// By the database's clock.
    pub timestamp: WallTime,
    /// `user`, `coordinator`, `worker` or `system`.
    pub actor_type: String,
    /// Which of them.
    pub actor_id: Option<String>,
    /// The attempt it concerns (0: before the first).
    pub attempt: Attempt,
    /// The term that committed it (0: the API did).
    pub generation: Generation,
    /// A JSON object.
    pub details: Json,
}

/// Which log lines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogFilter {
    /// Beyond this (attempt, sequence).
    pub after: Option<(Attempt, u64)>,
    /// Not earlier.
    pub since: Option<WallTime>,
    /// Earlier.
    pub until: Option<WallTime>,
}

/// One stored log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    /// Its number within the attempt.
    pub sequence: u64,
    /// The attempt it is of.
    pub attempt: Attempt,
    /// The line.
    pub line: LogLine,
}

/// A workload config, as created or replaced.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigRecord {
    /// Made before the statement.
    pub id: ConfigId,
    /// Unique for the customer.
    pub workload_type: WorkloadType,
    /// For people.
    pub description: Option<String>,
    /// A JSON object; handed to workers.
    pub config_json: Json,
    /// `{cpu_cores, memory_mb, disk_mb}`; handed to workers.
    pub resource_limits: Json,
    /// How often workers checkpoint.
    pub checkpoint_interval_sec: u32,
    /// 0 to 100.
    pub max_retries: u32,
    /// 1 to 2,592,000.
    pub timeout_seconds: u32,
    /// What workers do when their lease ends.
    pub on_lease_loss: OnLeaseLoss,
}

/// A stored workload config.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigRow {
    /// What it says.
    pub record: ConfigRecord,
    /// When it was created.
    pub created_at: WallTime,
    /// When it was last replaced.
    pub updated_at: WallTime,
    /// How often it was replaced; not told to customers.
    pub revision: Revision,
}

/// What became of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteConfig {
    /// Deleted.
    Deleted,
    /// A workload that has not ended uses it.
    InUse,
    /// The customer has no such config.
    NotFound,
}

/// Which workers to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WorkerFilter {
    /// Any of these; empty: all.
    pub status: Vec<WorkerStatus>,
}

/// A worker as operators see it.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerView {
    /// Which worker.
    pub worker: WorkerId,
    /// Which start of its process.
    pub incarnation: Incarnation,
    /// What the leader has committed about it.
    pub status: WorkerStatus,
    /// What operators want of it.
    pub desired: WorkerDesired,
    /// Which wish that is; not told to operators.
    pub wish_revision: WishRevision,
    /// What it can run.
    pub capabilities: Vec<WorkloadType>,
    /// How many attempts at once.
    pub capacity_total: u32,
    /// Its labels.
    pub tags: BTreeMap<Arc<str>, Arc<str>>,
    /// What it says of its software.
    pub version: String,
    /// As last recorded.
    pub last_heartbeat: Option<WallTime>,
    /// When this incarnation registered.
    pub registered_at: WallTime,
    /// Its open attempts.
    pub running: Vec<(WorkloadId, Attempt)>,
}

/// A customer's tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// `free`
    Free,
    /// `standard`
    Standard,
    /// `premium`
    Premium,
    /// `enterprise`
    Enterprise,
}

/// A customer's limits in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most open attempts at once.
    pub max_concurrent_workloads: u32,
    /// Most workloads that were never assigned and have not ended.
    pub max_queue_depth: u32,
    /// Requests a second.
    pub rate_limit_per_sec: u32,
    /// Requests at once.
    pub rate_limit_burst: u32,
}

impl Tier {
    /// Every tier, smallest first.
    pub const ALL: [Self; 4] = [Self::Free, Self::Standard, Self::Premium, Self::Enterprise];

    /// Its name in the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Standard => "standard",
            Self::Premium => "premium",
            Self::Enterprise => "enterprise",
        }
    }

    /// The limits that it sets, as the contract lists them.
    #[must_use]
    pub const fn limits(self) -> Limits {
        let (running, queued, rate, burst) = match self {
            Self::Free => (10, 50, 1, 5),
            Self::Standard => (100, 500, 10, 50),
            Self::Premium => (500, 2_000, 50, 200),
            Self::Enterprise => (2_000, 10_000, 200, 1_000),
        };
        Limits {
            max_concurrent_workloads: running,
            max_queue_depth: queued,
            rate_limit_per_sec: rate,
            rate_limit_burst: burst,
        }
    }

    /// Its share of running slots.
    #[must_use]
    pub const fn weight(self) -> u32 {
        match self {
            Self::Free => 1,
            Self::Standard => 10,
            Self::Premium => 50,
            Self::Enterprise => 100,
        }
    }
}

impl FromStr for Tier {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let found = Self::ALL.into_iter().find(|tier| tier.as_str() == text);
        found.ok_or(InvalidId {
            kind: "tier",
            allowed: "free, standard, premium or enterprise",
        })
    }
}

/// Overrides of a tier's limits; `None`: the tier's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimitOverrides {
    /// Most open attempts at once.
    pub max_concurrent_workloads: Option<u32>,
    /// Most queued.
    pub max_queue_depth: Option<u32>,
    /// Requests a second.
    pub rate_limit_per_sec: Option<u32>,
    /// Requests at once.
    pub rate_limit_burst: Option<u32>,
}

/// A new customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerRecord {
    /// Made before the statement.
    pub id: CustomerId,
    /// For people.
    pub name: String,
    /// Sets the limits.
    pub tier: Tier,
    /// Overrides them.
    pub overrides: LimitOverrides,
}

/// A change of a customer. Outer `None`: leave; inner `None`: back to the tier's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CustomerPatch {
    /// For people.
    pub name: Option<String>,
    /// Sets the limits.
    pub tier: Option<Tier>,
    /// Most open attempts at once.
    pub max_concurrent_workloads: Option<Option<u32>>,
    /// Most queued.
    pub max_queue_depth: Option<Option<u32>>,
    /// Requests a second.
    pub rate_limit_per_sec: Option<Option<u32>>,
    /// Requests at once.
    pub rate_limit_burst: Option<Option<u32>>,
}

impl CustomerPatch {
    /// Whether the customer is as this change would make it.
    #[must_use]
    pub fn is_in(&self, view: &CustomerView) -> bool {
        let is = &view.overrides;
        let limits = [
            (self.max_concurrent_workloads, is.max_concurrent_workloads),
            (self.max_queue_depth, is.max_queue_depth),
            (self.rate_limit_per_sec, is.rate_limit_per_sec),
            (self.rate_limit_burst, is.rate_limit_burst),
        ];
        self.name.as_ref().is_none_or(|name| *name == view.name)
            && self.tier.is_none_or(|tier| tier == view.tier)
            && limits
                .into_iter()
                .all(|(wanted, is)| wanted.is_none_or(|wanted| wanted == is))
    }
}

/// A customer with limits in force and use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerView {
    /// Which customer.
    pub id: CustomerId,
    /// For people.
    pub name: String,
    /// Sets the limits.
    pub tier: Tier,
    /// In force: the tier's, or the override.
    pub limits: Limits,
    /// What overrides the tier's.
    pub overrides: LimitOverrides,
    /// Open attempts.
    pub running: i64,
    /// `submitted - left_queue`.
    pub queued: i64,
    /// When it was created.
    pub created_at: WallTime,
    /// How often it was changed, or lost a config; not told to anybody.
    pub revision: Revision,
}

/// A new key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Made before the statement.
    pub id: KeyId,
    /// Whose; `None`: an admin key.
    pub customer: Option<CustomerId>,
    /// For people.
    pub name: String,
    /// What may be shown of the secret.
    pub prefix: String,
    /// SHA-256 of the secret.
    pub secret_hash: [u8; 32],
    /// Stops working then.
    pub expires_at: Option<WallTime>,
}

/// A stored key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// Which key.
    pub id: KeyId,
    /// Whose; `None`: an admin key.
    pub customer: Option<CustomerId>,
    /// For people.
    pub name: String,
    /// What may be shown of the secret.
    pub prefix: String,
    /// SHA-256 of the secret.
    pub secret_hash: [u8; 32],
    /// When it was created.
    pub created_at: WallTime,
    /// Stops working then.
    pub expires_at: Option<WallTime>,
    /// As last recorded.
    pub last_used_at: Option<WallTime>,
    /// Stopped working then.
    pub revoked_at: Option<WallTime>,
}

/// Who of the operators acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminActor {
    /// By an admin key.
    Key(KeyId),
    /// From the command line with access to the database.
    CommandLine,
}

/// One thing that an admin did.
#[derive(Debug, Clone, PartialEq)]
pub struct AdminAuditRow {
    /// Orders them.
    pub sequence: i64,
    /// By the database's clock.
    pub timestamp: WallTime,
    /// Who.
    pub actor_id: String,
    /// What: `customer.created`, `customer.updated`, `key.created`, `key.revoked`,
    /// `worker.drain`, `worker.undrain`, `worker.remove`.
    pub action: String,
    /// To what: the id of the customer, key or worker.
    pub subject: String,
    /// A JSON object, without secrets.
    pub details: Json,
}

/// A coordinator that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoordinatorRecord {
    /// Its label.
    pub coordinator_id: String,
    /// This start of its process.
    pub incarnation: Incarnation,
    /// Where its API answers.
    pub address: String,
    /// Its software.
    pub version: String,
}

/// A coordinator as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoordinatorRow {
    /// What it says of itself.
    pub record: CoordinatorRecord,
    /// When this start of its process was first noted.
    pub started_at: WallTime,
    /// When it was last noted.
    pub last_seen: WallTime,
    /// Whether the lease row names it and holds.
    pub is_leader: bool,
    /// The term, if it leads; else 0.
    pub generation: Generation,
}
