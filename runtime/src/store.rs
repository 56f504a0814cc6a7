//! The port to the truth: what any database must do for a coordinator.
//!
//! Every operation that writes is one autocommitted statement with a statement and a lock time-out
//! (SQLite: one `BEGIN IMMEDIATE` closure). An operation's domain outcomes are values; a
//! [`StoreError`] says only what is known about whether the statement took effect. Adapters decide
//! nothing: what a state means is `niyanta_core`'s.

#[cfg(feature = "real")]
pub mod postgres;
#[cfg(feature = "real")]
pub mod sqlite;

mod changes;
mod counted;
#[cfg(feature = "real")]
mod encode;
#[cfg(feature = "real")]
mod migrations;
#[cfg(feature = "real")]
mod records;
mod rows;
#[cfg(feature = "real")]
mod shared;
mod upkeep;
mod wishes;
pub mod words;

pub use changes::{CreateConfig, PatchCustomer, ReplaceConfig, Revision};
pub(crate) use counted::CountedStore;
pub use rows::*;
pub use upkeep::{Retire, StatsGroup, StatsQuery, StatsRow};
pub use wishes::{Wish, WishOutcome, WorkerWish, WorkerWishOutcome};

use async_trait::async_trait;
use niyanta_core::{
    batch::Batch,
    ids::{Attempt, CustomerId, Generation, Incarnation, WorkerId, WorkloadId},
    scheduling::PendingReason,
    snapshot::{FenceRow, LeaseRow, Load, Loaded, Snapshot},
    time::{Duration, WallTime},
};
use std::sync::Arc;

/// Why an operation has no answer, classified by what its caller may conclude.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Certainly not done: the statement was never sent, or the database said that it would not
    /// start it (no connection, too many connections, shutting down).
    #[error("the database is unavailable")]
    Unavailable(#[source] BoxError),
    /// A lock was not had within the lock time-out: certainly not done.
    #[error("a lock was not had in time")]
    LockTimeout(#[source] BoxError),
    /// The answer was lost or late: it was done, was not, or will be.
    #[error("the outcome is unknown")]
    Unknown(#[source] BoxError),
    /// The database refuses a value (SQLSTATE class 22 or 23, or its like): certainly not done.
    #[error("the database refuses a value")]
    Refused(#[source] BoxError),
    /// What is stored cannot be read as what it should be.
    #[error("the stored data is corrupt: {0}")]
    Corrupt(String),
    /// Any other error of the database: certainly not done, and a bug or a broken deployment.
    #[error("the database failed")]
    Failed(#[source] BoxError),
}

/// The error beneath.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The schema is not the one this program knows.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// No schema, or an older one.
    #[error(
        "the database schema is at version {found}, this program needs {wanted}: run `niyanta migrate`"
    )]
    Outdated {
        /// The newest applied migration, 0 for none.
        found: i64,
        /// The newest this program has.
        wanted: i64,
    },
    /// A schema from a newer program, or migrations that differ from this program's.
    #[error(
        "the database schema (version {found}) is not known to this program (it knows up to {wanted}): run a newer niyanta"
    )]
    Unknown {
        /// The newest applied migration.
        found: i64,
        /// The newest this program has.
        wanted: i64,
    },
    /// The schema is right, but a row that must never be deleted is missing.
    #[error("the {table} row is missing: run `niyanta migrate --repair`")]
    MissingRow {
        /// `lease` or `fence`.
        table: &'static str,
    },
    /// It could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How a store is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Connections for everything but the lease and the leader's commits.
    pub pool_size: u32,
    /// This start of this process; names its connections.
    pub incarnation: Incarnation,
    /// No statement takes longer; its caller has an answer at most half a second later.
    pub statement_timeout: Duration,
    /// No statement waits longer for a lock.
    pub lock_timeout: Duration,
}

impl Options {
    /// The defaults, for the given start of a process.
    #[must_use]
    pub const fn new(incarnation: Incarnation) -> Self {
        Self {
            pool_size: 10,
            incarnation,
            statement_timeout: Duration::from_secs(5),
            lock_timeout: Duration::from_secs(2),
        }
    }
}

/// What a migration did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationReport {
    /// The version that the database is at.
    pub version: i64,
    /// How many migrations were applied.
    pub applied: usize,
    /// The tables whose missing row was made again.
    pub repaired: Vec<&'static str>,
}

/// Opens the store that a `postgres://` or `sqlite://` URL names. Postgres need not be up yet.
#[cfg(feature = "real")]
#[expect(
    clippy::unused_async,
    reason = "whoever opens a store must be ready to wait, whatever the adapter"
)]
pub async fn open(url: &str, options: &Options) -> Result<Arc<dyn Store>, StoreError> {
    match Backend::of(url)? {
        Backend::Postgres => Ok(Arc::new(postgres::PostgresStore::connect(url, options)?)),
        Backend::Sqlite => Ok(Arc::new(sqlite::SqliteStore::open(url, options)?)),
    }
}

/// Brings the database to this program's schema. Safe to run twice and from two places at once.
/// With `repair`, lease and fence rows that are missing are made again.
#[cfg(feature = "real")]
pub async fn migrate(url: &str, repair: bool) -> Result<MigrationReport, SchemaError> {
    match Backend::of(url)? {
        Backend::Postgres => postgres::PostgresStore::migrate(url, repair).await,
        Backend::Sqlite => sqlite::SqliteStore::migrate(url, repair).await,
    }
}

/// Which adapter a URL is for.
#[cfg(feature = "real")]
enum Backend {
    Postgres,
    Sqlite,
}

#[cfg(feature = "real")]
impl Backend {
    fn of(url: &str) -> Result<Self, StoreError> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Ok(Self::Postgres)
        } else if url.starts_with("sqlite:") {
            Ok(Self::Sqlite)
        } else {
            let why = "a database URL begins with postgres:// or sqlite://";
            Err(StoreError::Failed(why.into()))
        }
    }
}

/// What a commit of a batch answered. `Unknown`, `Refused` and `LockTimeout` come as [`StoreError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// Applied by this statement.
    Applied,
    /// The fence did not match: no row was touched.
    NotApplied,
    /// A count differed from the batch's expectation: the statement raised, no row was touched.
    Short,
}

/// The question of [`Store::take_lease`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakeLease {
    /// The coordinator's label, for people.
    pub holder: String,
    /// This start of this process.
    pub incarnation: Incarnation,
    /// The new generation is above this one, and above the row's.
    pub above: Generation,
    /// Also take it while it holds, if the row carries our incarnation and this generation.
    pub own: Option<Generation>,
    /// Take it whatever the row says.
    pub force: bool,
    /// How long the lease is to last by the database's clock; raises `longest_ttl`.
    pub ttl: Duration,
}

/// The answer of [`Store::take_lease`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// Ours, for this new generation; lease and fence rows are written.
    Taken(Generation),
    /// Nothing was changed; the row as a later statement saw it.
    Held(LeaseRow),
}

/// A value and the database's clock as its statement read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timed<T> {
    /// The value.
    pub value: T,
    /// `clock_timestamp()`, in microseconds since the epoch.
    pub database_time: WallTime,
}

/// The truth. One value serves all tasks of a process; lease operations use a connection of their
/// own, so that they never queue behind the others.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    // --- the process ---

    /// Whether the schema is exactly the one this program knows, and its rows are there.
    async fn check_schema(&self) -> Result<(), SchemaError>;
    /// A trivial statement, to know whether the database answers.
    async fn ping(&self) -> Result<(), StoreError>;
    /// Notes that this coordinator is up (`last_seen` becomes now).
    async fn record_coordinator(&self, coordinator: &CoordinatorRecord) -> Result<(), StoreError>;
    /// Forgets this coordinator: it stops.
    async fn remove_coordinator(&self, incarnation: &Incarnation) -> Result<(), StoreError>;
    /// Coordinators seen within `within`, and which of them holds the lease.
    async fn coordinators(&self, within: Duration) -> Result<Vec<CoordinatorRow>, StoreError>;

    // --- leadership ---

    /// Takes the lease and the fence in one statement, or says who holds it.
    async fn take_lease(&self, ask: TakeLease) -> Result<Timed<LeaseAnswer>, StoreError>;
    /// Reads the lease row.
    async fn read_lease(&self) -> Result<Timed<LeaseRow>, StoreError>;
    /// Extends the lease of this term; false when no row matched.
    async fn renew_lease(
        &self,
        incarnation: &Incarnation,
        generation: Generation,
        ttl: Duration,
    ) -> Result<Timed<bool>, StoreError>;
    /// Marks the lease of this term resigned; hits nobody else's.
    async fn resign_lease(
        &self,
        incarnation: &Incarnation,
        generation: Generation,
    ) -> Result<(), StoreError>;

    // --- the leader's commits and reads ---

    /// Commits a batch: all of it or nothing.
    async fn commit(&self, batch: &Arc<Batch>) -> Result<Commit, StoreError>;
    /// Reads the fence row in a new statement.
    async fn read_fence(&self) -> Result<FenceRow, StoreError>;
    /// Reads what a term begins with, in one read-only snapshot.
    async fn snapshot(&self, limit: u32) -> Result<Timed<Snapshot>, StoreError>;
    /// Reads rows for the leader.
    async fn load(&self, what: &Load, limit: u32) -> Result<Timed<Loaded>, StoreError>;
    /// Notes why workloads wait, where they are still PENDING with that attempt. Advisory.
    async fn record_pending_reasons(
        &self,
        reasons: &[(WorkloadId, Attempt, PendingReason)],
    ) -> Result<(), StoreError>;
    /// Notes when workers were heard (ages before now), where the incarnation matches. Advisory.
    async fn record_heartbeats(
        &self,
        heard: &[(WorkerId, Incarnation, Duration)],
    ) -> Result<(), StoreError>;

    // --- beside the batch, guarded by (workload, attempt, incarnation) ---

    /// Writes what a last report carries.
    async fn put_outcome(&self, report: &OutcomeReport) -> Result<Written, StoreError>;
    /// Writes a checkpoint, if it is newer by (attempt, sequence).
    async fn put_checkpoint(&self, checkpoint: &CheckpointReport) -> Result<Written, StoreError>;
    /// Notes progress.
    async fn put_progress(&self, progress: &[ProgressReport]) -> Result<(), StoreError>;
    /// Appends log lines; lines already had, by (workload, attempt, sequence), are dropped. The
    /// attempt must be, or have been, that worker's.
    async fn put_logs(&self, logs: &LogReport) -> Result<Written, StoreError>;
    /// What `workload.assign` carries, for each of these workloads that still has that attempt open.
    async fn assignments(
        &self,
        wanted: &[(WorkloadId, Attempt)],
    ) -> Result<Vec<AssignmentRow>, StoreError>;

    // --- customers' API ---

    /// Submits workloads, each with an outcome of its own, in the order given. One statement for
    /// each: idempotency record, admission, workload and its audit event.
    async fn submit(&self, submissions: &[Submission]) -> Vec<Result<SubmitOutcome, StoreError>>;
    /// Writes a wish (`desired`) with its audit event, if no other was written since the revision
    /// that it names.
    async fn wish(&self, wish: &Wish) -> Result<WishOutcome, StoreError>;
    /// One workload of a customer.
    async fn workload(
        &self,
        customer: CustomerId,
        workload: WorkloadId,
    ) -> Result<Option<WorkloadView>, StoreError>;
    /// A page of a customer's workloads.
    async fn workloads(
        &self,
        customer: CustomerId,
        filter: &WorkloadFilter,
        page: &Page,
    ) -> Result<Vec<WorkloadView>, StoreError>;
    /// Audit events of a customer's workload after `after_sequence`, in order; `None` when the
    /// customer has no such workload.
    async fn audit(
        &self,
        customer: CustomerId,
        workload: WorkloadId,
        after_sequence: i64,
        limit: u32,
    ) -> Result<Option<Vec<AuditRow>>, StoreError>;
    /// Log lines of a customer's workload after a place, in order; `None` when the customer has no
    /// such workload.
    async fn logs(
        &self,
        customer: CustomerId,
        workload: WorkloadId,
        filter: &LogFilter,
        limit: u32,
    ) -> Result<Option<Vec<LogRow>>, StoreError>;

    /// Registers a workload type, if the customer is at this revision.
    async fn create_config(
        &self,
        customer: CustomerId,
        config: &ConfigRecord,
        upon: Revision,
    ) -> Result<CreateConfig, StoreError>;
    /// One workload config of a customer.
    async fn config(
        &self,
        customer: CustomerId,
        config: ConfigId,
    ) -> Result<Option<ConfigRow>, StoreError>;
    /// A page of a customer's workload configs.
    async fn configs(
        &self,
        customer: CustomerId,
        page: &Page,
    ) -> Result<Vec<ConfigRow>, StoreError>;
    /// Replaces a workload config that is at this revision; its type may change to another free one.
    async fn replace_config(
        &self,
        customer: CustomerId,
        config: &ConfigRecord,
        upon: Revision,
    ) -> Result<ReplaceConfig, StoreError>;
    /// Deletes a workload config that no workload uses before its end; moves the customer's revision
    /// on.
    async fn delete_config(
        &self,
        customer: CustomerId,
        config: ConfigId,
    ) -> Result<DeleteConfig, StoreError>;

    // --- operators' API; each write carries its admin audit event in the same statement ---

    /// A page of workers with what they run.
    async fn workers(
        &self,
        filter: &WorkerFilter,
        after: Option<&WorkerId>,
        limit: u32,
    ) -> Result<Vec<WorkerView>, StoreError>;
    /// One worker with what it runs.
    async fn worker(&self, worker: &WorkerId) -> Result<Option<WorkerView>, StoreError>;
    /// Writes what operators want of a worker, if nothing else was written, nor the worker started
    /// anew, since the revision and the incarnation that it names.
    async fn wish_worker(&self, wish: &WorkerWish) -> Result<WorkerWishOutcome, StoreError>;
    /// Creates a customer.
    async fn create_customer(
        &self,
        customer: &CustomerRecord,
        actor: &AdminActor,
    ) -> Result<CustomerView, StoreError>;
    /// One customer with its use.
    async fn customer(&self, customer: CustomerId) -> Result<Option<CustomerView>, StoreError>;
    /// A page of customers.
    async fn customers(&self, page: &Page) -> Result<Vec<CustomerView>, StoreError>;
    /// Changes name, tier or limits of a customer that is at this revision.
    async fn patch_customer(
        &self,
        customer: CustomerId,
        patch: &CustomerPatch,
        upon: Revision,
        actor: &AdminActor,
    ) -> Result<PatchCustomer, StoreError>;
    /// Creates a key; `None` when there is no such customer.
    async fn create_key(
        &self,
        key: &KeyRecord,
        actor: &AdminActor,
    ) -> Result<Option<KeyRow>, StoreError>;
    /// The keys of a customer (`None`: admin keys), oldest first; outer `None` when there is no such
    /// customer.
    async fn keys(
        &self,
        customer: Option<CustomerId>,
        page: &Page,
    ) -> Result<Option<Vec<KeyRow>>, StoreError>;
    /// Revokes a key; `None` when there is none. Revoking twice keeps the first time.
    async fn revoke_key(
        &self,
        key: KeyId,
        actor: &AdminActor,
    ) -> Result<Option<KeyRow>, StoreError>;
    /// The key with this hash of its secret, with what authentication must know.
    async fn find_key(&self, secret_hash: &[u8; 32]) -> Result<Option<KeyRow>, StoreError>;
    /// Notes when keys were last used.
    async fn record_key_use(&self, used: &[(KeyId, WallTime)]) -> Result<(), StoreError>;
    /// What admins did, newest last, after a place.
    async fn admin_audit(
        &self,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AdminAuditRow>, StoreError>;

    // --- upkeep ---

    /// What happened in these hours, in order, without groups in which nothing did. Costs the same
    /// whatever the number of workloads.
    async fn customer_stats(
        &self,
        customer: CustomerId,
        query: &StatsQuery,
    ) -> Result<Vec<StatsRow>, StoreError>;
    /// Removes at most `limit` of what is older than its age, oldest first, and says how much went:
    /// fewer than the limit when nothing was left that could go. Any process may ask, also twice.
    async fn retire(&self, what: &Retire, limit: u32) -> Result<u64, StoreError>;
}
