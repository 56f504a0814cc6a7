//! What requests look like, for the document alone: bodies, queries and the words in them.
//!
//! Nothing is read through these types: [`super::json`] reads bodies, with all that is wrong at
//! once. Tests hold them against the readers, so that neither says what the other does not.
#![expect(dead_code, reason = "only their schemas are used")]

use crate::store::Json;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// Where a workload is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum WorkloadStatus {
    Pending,
    Scheduled,
    Running,
    Paused,
    Redistributing,
    Completed,
    Failed,
    Cancelled,
}

/// What is wanted of a workload.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WorkloadDesired {
    Run,
    Pause,
    Cancel,
}

/// Why a workload waits.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PendingReasonCode {
    NoCapableWorker,
    NoCapacity,
    Affinity,
    AntiAffinity,
    CustomerLimit,
    RetryBackoff,
    RunAfter,
    NotYetConsidered,
    NoLeader,
}

/// How an attempt failed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ErrorKind {
    Transient,
    Permanent,
    Timeout,
    WorkerLost,
}

/// What a worker does with its work when its lease ends.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnLeaseLossChoice {
    Stop,
    Continue,
}

/// Where a worker is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum WorkerState {
    Healthy,
    Draining,
    Dead,
}

/// What operators want of a worker.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WorkerWanted {
    Run,
    Drain,
    Remove,
}

/// Sets a customer's limits.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CustomerTier {
    Free,
    Standard,
    Premium,
    Enterprise,
}

/// Direction of a list.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    Asc,
    Desc,
}

/// An event of a stream of logs. What its data hold is added to the document by hand: see `openapi`.
#[derive(Serialize, ToSchema)]
pub(crate) struct LogsEvent {
    event: String,
    id: String,
    data: String,
}

/// A refusal (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    r#type: String,
    title: String,
    status: u16,
    detail: String,
    code: ErrorCode,
    request_id: String,
    /// All that is wrong with the input.
    errors: Option<Vec<InputError>>,
}

/// One thing that is wrong with the input, and where.
#[derive(Serialize, ToSchema)]
pub(crate) struct InputError {
    /// A JSON pointer into the body; for the query, `?` and the parameter's name.
    pointer: String,
    /// What is wrong and what is allowed.
    detail: String,
}

/// Stable, for programs.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum ErrorCode {
    InvalidInput,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    InvalidState,
    Conflict,
    PreconditionFailed,
    PayloadTooLarge,
    UriTooLong,
    UnsupportedMediaType,
    RateLimited,
    QueueFull,
    HeadersTooLarge,
    InternalError,
    ServiceUnavailable,
    Timeout,
}

/// A new workload.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubmitBody {
    /// One of the customer's registered types.
    #[schema(pattern = "^[a-z0-9_.-]{1,64}$", example = "sleep")]
    workload_type: String,
    /// At most 256 KiB, encoded.
    #[schema(value_type = Option<Object>, example = json!({"seconds": 5}))]
    input_params: Option<Json>,
    /// Higher first.
    #[schema(minimum = 0, maximum = 1000, default = 10)]
    priority: Option<u16>,
    affinity_rules: Option<AffinityRules>,
    /// Most time for one attempt; else the config's.
    #[schema(minimum = 1, maximum = 2_592_000)]
    timeout_seconds: Option<u32>,
    /// Else the config's.
    #[schema(minimum = 0, maximum = 100)]
    max_retries: Option<u32>,
    /// At most 32; names without `=`.
    labels: Option<BTreeMap<String, String>>,
    /// Not before.
    #[schema(format = DateTime)]
    run_after: Option<String>,
}

/// A submission in a batch.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchItem {
    /// One of the customer's registered types.
    #[schema(pattern = "^[a-z0-9_.-]{1,64}$", example = "sleep")]
    workload_type: String,
    /// At most 256 KiB, encoded.
    #[schema(value_type = Option<Object>)]
    input_params: Option<Json>,
    /// Higher first.
    #[schema(minimum = 0, maximum = 1000, default = 10)]
    priority: Option<u16>,
    affinity_rules: Option<AffinityRules>,
    /// Most time for one attempt; else the config's.
    #[schema(minimum = 1, maximum = 2_592_000)]
    timeout_seconds: Option<u32>,
    /// Else the config's.
    #[schema(minimum = 0, maximum = 100)]
    max_retries: Option<u32>,
    /// At most 32; names without `=`.
    labels: Option<BTreeMap<String, String>>,
    /// Not before.
    #[schema(format = DateTime)]
    run_after: Option<String>,
    /// As the header of a submission of its own.
    #[schema(pattern = "^[ -~]{1,255}$")]
    idempotency_key: Option<String>,
}

/// Submissions, each with an outcome of its own: one that breaks the schema of an item is refused in
/// its place of the results, and does not refuse the others.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchBody {
    #[schema(min_items = 1, max_items = 1000)]
    workloads: Vec<BatchItem>,
}

/// Where a workload may, and would rather, run.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AffinityRules {
    /// All must hold.
    hard_affinity: Option<WorkerAffinity>,
    /// Preferred.
    soft_affinity: Option<WorkerAffinity>,
    anti_affinity: Option<AntiAffinity>,
}

/// A worker, by id or by tags.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkerAffinity {
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    worker_id: Option<String>,
    worker_tags: Option<BTreeMap<String, String>>,
}

/// What it must not stand beside.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AntiAffinity {
    /// Never beside the same customer's workloads of these types, in both directions.
    #[schema(max_items = 32)]
    workload_types: Option<Vec<TypeName>>,
    /// Never on a worker with all of these tags.
    worker_tags: Option<BTreeMap<String, String>>,
}

/// The name of a workload type.
#[derive(Serialize, ToSchema)]
#[schema(pattern = "^[a-z0-9_.-]{1,64}$")]
pub(crate) struct TypeName(String);

/// Why, for the audit.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ControlBody {
    /// At most 1,024 bytes.
    #[schema(max_length = 256, pattern = "^[^\\x00]*$")]
    reason: Option<String>,
}

/// A workload type of a customer.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigBody {
    /// Unique for the customer.
    #[schema(pattern = "^[a-z0-9_.-]{1,64}$")]
    workload_type: String,
    /// For people.
    #[schema(max_length = 4096, pattern = "^[^\\x00]*$")]
    description: Option<String>,
    /// Handed to workers; at most 256 KiB, encoded.
    #[schema(value_type = Option<Object>)]
    config_json: Option<Json>,
    resource_limits: Option<ResourceLimits>,
    #[schema(minimum = 1, maximum = 86_400, default = 30)]
    checkpoint_interval_sec: Option<u32>,
    #[schema(minimum = 0, maximum = 100, default = 3)]
    max_retries: Option<u32>,
    #[schema(minimum = 1, maximum = 2_592_000, default = 3600)]
    timeout_seconds: Option<u32>,
    on_lease_loss: Option<OnLeaseLossChoice>,
}

/// Told to workers; no part of scheduling.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResourceLimits {
    #[schema(exclusive_minimum = 0, maximum = 100_000)]
    cpu_cores: Option<f64>,
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    memory_mb: Option<u32>,
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    disk_mb: Option<u32>,
}

/// How a worker is emptied.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DrainBody {
    /// After it, what still runs is moved; without it, waited for.
    #[schema(minimum = 0, maximum = 2_592_000)]
    deadline_seconds: Option<u32>,
}

/// Nothing.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmptyBody {}

/// A new customer.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCustomerBody {
    #[schema(min_length = 1, max_length = 256, pattern = "^[^\\x00]*$")]
    name: String,
    /// `free`, unless told.
    tier: Option<CustomerTier>,
    limits: Option<LimitOverrides>,
}

/// A change of a customer: what is absent stays.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CustomerPatchBody {
    #[schema(min_length = 1, max_length = 256, pattern = "^[^\\x00]*$")]
    name: Option<String>,
    tier: Option<CustomerTier>,
    limits: Option<LimitOverrides>,
}

/// Instead of the tier's; `null` gives a limit back to the tier.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitOverrides {
    #[schema(minimum = 0, maximum = 1_000_000)]
    max_concurrent_workloads: Option<u32>,
    #[schema(minimum = 0, maximum = 1_000_000)]
    max_queue_depth: Option<u32>,
    #[schema(minimum = 1, maximum = 1_000_000)]
    rate_limit_per_sec: Option<u32>,
    #[schema(minimum = 1, maximum = 1_000_000)]
    rate_limit_burst: Option<u32>,
}

/// A new API key.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKeyBody {
    /// `default`, unless told.
    #[schema(min_length = 1, max_length = 256, pattern = "^[^\\x00]*$")]
    name: Option<String>,
    /// In the future.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// A page of workloads.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WorkloadsQuery {
    /// Any of these.
    status: Option<Vec<WorkloadStatus>>,
    /// Of this type.
    #[param(pattern = "^[a-z0-9_.-]{1,64}$")]
    workload_type: Option<String>,
    /// With all of these, each as `name=value`.
    label: Option<Vec<Label>>,
    /// Created after.
    #[param(format = DateTime)]
    created_after: Option<String>,
    /// Created before.
    #[param(format = DateTime)]
    created_before: Option<String>,
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
    /// Where the last page ended: its `next_cursor`, with the same filters and order.
    cursor: Option<String>,
    /// `desc`, unless told.
    order: Option<Order>,
}

/// A label, as `name=value`.
#[derive(Serialize, ToSchema)]
#[schema(pattern = "^[^=\\x00]{1,128}=[^\\x00]{0,256}$", example = "team=a")]
pub(crate) struct Label(String);

/// How long to wait, and for what.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WaitQuery {
    /// Seconds.
    #[param(minimum = 0, maximum = 25)]
    wait: Option<f64>,
    /// Answers once the version is higher; without it, at any change after the call.
    #[param(minimum = 0)]
    since_version: Option<i64>,
}

/// A page of log lines, or the stream of them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogsQuery {
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// Where the last page ended.
    cursor: Option<String>,
    /// Not earlier, by the worker's clock.
    #[param(format = DateTime)]
    since: Option<String>,
    /// Earlier, by the worker's clock.
    #[param(format = DateTime)]
    until: Option<String>,
    /// Streams server-sent events until the workload ends.
    follow: Option<bool>,
}

/// A page of records.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RecordsQuery {
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Where the last page ended.
    cursor: Option<String>,
}

/// A page of resources.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ResourcesQuery {
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
    /// Where the last page ended.
    cursor: Option<String>,
    /// `desc`, unless told.
    order: Option<Order>,
}

/// How statistics are grouped.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GroupBy {
    Hour,
    Day,
    WorkloadType,
}

/// Which statistics.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StatsParams {
    /// The hour in which it lies is the first; a day or a month before `end`, unless told. By hour at
    /// most 31 days before `end`, else 400.
    #[param(format = DateTime)]
    start: Option<String>,
    /// The hour in which it lies is the last; now, unless told.
    #[param(format = DateTime)]
    end: Option<String>,
    /// `hour`, unless told.
    group_by: Option<GroupBy>,
}

/// A page of keys.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct KeysQuery {
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
    /// Where the last page ended.
    cursor: Option<String>,
}

/// A page of workers.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WorkersQuery {
    /// Any of these.
    status: Option<Vec<WorkerState>>,
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
    /// Where the last page ended.
    cursor: Option<String>,
}
