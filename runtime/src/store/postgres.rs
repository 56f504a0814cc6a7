//! The truth in Postgres.
//!
//! Owns the adapter's value and the map from the port to the statements; each file beneath holds
//! the statements of one concern. Every write is one autocommitted statement, run in a task of its
//! own (`session`), so that no dropped caller leaves a connection between two bytes.
//!
//! Rejected: transactions around several small statements. A process that stops inside one holds
//! its row locks for as long as it is stopped.

mod admin;
mod beside;
mod commit;
mod configs;
mod keys;
mod lease;
mod load;
mod schema;
mod session;
mod submit;
mod upkeep;
mod wish;
mod workloads;

use super::{
    AdminActor, AdminAuditRow, AssignmentRow, AuditRow, CheckpointReport, Commit, ConfigId,
    ConfigRecord, ConfigRow, CoordinatorRecord, CoordinatorRow, CreateConfig, CustomerPatch,
    CustomerRecord, CustomerView, DeleteConfig, KeyId, KeyRecord, KeyRow, LeaseAnswer, LogFilter,
    LogReport, LogRow, MigrationReport, Options, OutcomeReport, Page, PatchCustomer,
    ProgressReport, ReplaceConfig, Retire, Revision, SchemaError, StatsQuery, StatsRow, Store,
    StoreError, Submission, SubmitOutcome, TakeLease, Timed, Wish, WishOutcome, WorkerFilter,
    WorkerView, WorkerWish, WorkerWishOutcome, WorkloadFilter, WorkloadView, Written,
};
use async_trait::async_trait;
use niyanta_core::{
    batch::Batch,
    ids::{Attempt, CustomerId, Generation, Incarnation, WorkerId, WorkloadId},
    scheduling::PendingReason,
    snapshot::{FenceRow, LeaseRow, Load, Loaded, Snapshot},
    time::{Duration, WallTime},
};
use session::Session;
use std::sync::Arc;

/// The truth in Postgres. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PostgresStore {
    session: Session,
}

impl PostgresStore {
    /// Prepares to talk to the database at `url`. Nothing is asked of it yet:
    /// [`Store::check_schema`] says whether it can be reached.
    pub fn connect(url: &str, options: &Options) -> Result<Self, StoreError> {
        Ok(Self {
            session: Session::new(url, options)?,
        })
    }

    /// Brings the database at `url` to this program's schema. Safe to run twice and from two places
    /// at once. With `repair`, lease and fence rows that are missing are made again.
    pub async fn migrate(url: &str, repair: bool) -> Result<MigrationReport, SchemaError> {
        schema::migrate(url, repair).await
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn check_schema(&self) -> Result<(), SchemaError> {
        self.session.check_schema().await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.session.ping().await
    }

    async fn record_coordinator(&self, coordinator: &CoordinatorRecord) -> Result<(), StoreError> {
        self.session.record_coordinator(coordinator).await
    }

    async fn remove_coordinator(&self, incarnation: &Incarnation) -> Result<(), StoreError> {
        self.session.remove_coordinator(incarnation).await
    }

    async fn coordinators(&self, within: Duration) -> Result<Vec<CoordinatorRow>, StoreError> {
        self.session.coordinators(within).await
    }

    async fn take_lease(&self, ask: TakeLease) -> Result<Timed<LeaseAnswer>, StoreError> {
        self.session.take_lease(ask).await
    }

    async fn read_lease(&self) -> Result<Timed<LeaseRow>, StoreError> {
        self.session.read_lease().await
    }

    async fn renew_lease(
        &self,
        incarnation: &Incarnation,
        generation: Generation,
        ttl: Duration,
    ) -> Result<Timed<bool>, StoreError> {
        self.session.renew_lease(incarnation, generation, ttl).await
    }

    async fn resign_lease(
        &self,
        incarnation: &Incarnation,
        generation: Generation,
    ) -> Result<(), StoreError> {
        self.session.resign_lease(incarnation, generation).await
    }

    async fn commit(&self, batch: &Arc<Batch>) -> Result<Commit, StoreError> {
        self.session.commit(batch).await
    }

    async fn read_fence(&self) -> Result<FenceRow, StoreError> {
        self.session.read_fence().await
    }

    async fn snapshot(&self, limit: u32) -> Result<Timed<Snapshot>, StoreError> {
        self.session.snapshot(limit).await
    }

    async fn load(&self, what: &Load, limit: u32) -> Result<Timed<Loaded>, StoreError> {
        self.session.load(what, limit).await
    }

    async fn record_pending_reasons(
        &self,
        reasons: &[(WorkloadId, Attempt, PendingReason)],
    ) -> Result<(), StoreError> {
        self.session.record_pending_reasons(reasons).await
    }

    async fn record_heartbeats(
        &self,
        heard: &[(WorkerId, Incarnation, Duration)],
    ) -> Result<(), StoreError> {
        self.session.record_heartbeats(heard).await
    }

    async fn put_outcome(&self, report: &OutcomeReport) -> Result<Written, StoreError> {
        self.session.put_outcome(report).await
    }

    async fn put_checkpoint(&self, checkpoint: &CheckpointReport) -> Result<Written, StoreError> {
        self.session.put_checkpoint(checkpoint).await
    }

    async fn put_progress(&self, progress: &[ProgressReport]) -> Result<(), StoreError> {
        self.session.put_progress(progress).await
    }

    async fn put_logs(&self, logs: &LogReport) -> Result<Written, StoreError> {
        self.session.put_logs(logs).await
    }

    async fn assignments(
        &self,
        wanted: &[(WorkloadId, Attempt)],
    ) -> Result<Vec<AssignmentRow>, StoreError> {
        self.session.assignments(wanted).await
    }

    async fn submit(&self, submissions: &[Submission]) -> Vec<Result<SubmitOutcome, StoreError>> {
        self.session.submit(submissions).await
    }

    async fn wish(&self, wish: &Wish) -> Result<WishOutcome, StoreError> {
        self.session.wish(wish).await
    }

    async fn workload(
        &self,
        customer: CustomerId,
        workload: WorkloadId,
    ) -> Result<Option<WorkloadView>, StoreError> {
        self.session.workload(customer, workload).await
    }

    async fn workloads(
        &self,
        customer: CustomerId,
        filter: &WorkloadFilter,
        page: &Page,
    ) -> Result<Vec<WorkloadView>, StoreError> {
        self.session.workloads(customer, filter, page).await
    }

    async fn audit(
        &self,
        customer: CustomerId,
        workload: WorkloadId,
        after_sequence: i64,
        limit: u32,
    ) -> Result<Option<Vec<AuditRow>>, StoreError> {
        self.session
            .audit(customer, workload, after_sequence, limit)
            .await
    }

    async fn logs(
        &self,
        customer: CustomerId,
        workload: WorkloadId,
        filter: &LogFilter,
        limit: u32,
    ) -> Result<Option<Vec<LogRow>>, StoreError> {
        self.session.logs(customer, workload, filter, limit).await
    }

    async fn create_config(
        &self,
        customer: CustomerId,
        config: &ConfigRecord,
        upon: Revision,
    ) -> Result<CreateConfig, StoreError> {
        self.session.create_config(customer, config, upon).await
    }

    async fn config(
        &self,
        customer: CustomerId,
        config: ConfigId,
    ) -> Result<Option<ConfigRow>, StoreError> {
        self.session.config(customer, config).await
    }

    async fn configs(
        &self,
        customer: CustomerId,
        page: &Page,
    ) -> Result<Vec<ConfigRow>, StoreError> {
        self.session.configs(customer, page).await
    }

    async fn replace_config(
        &self,
        customer: CustomerId,
        config: &ConfigRecord,
        upon: Revision,
    ) -> Result<ReplaceConfig, StoreError> {
        self.session.replace_config(customer, config, upon).await
    }

    async fn delete_config(
        &self,
        customer: CustomerId,
        config: ConfigId,
    ) -> Result<DeleteConfig, StoreError> {
        self.session.delete_config(customer, config).await
    }

    async fn workers(
        &self,
        filter: &WorkerFilter,
        after: Option<&WorkerId>,
        limit: u32,
    ) -> Result<Vec<WorkerView>, StoreError> {
        self.session.workers(filter, after, limit).await
    }

    async fn worker(&self, worker: &WorkerId) -> Result<Option<WorkerView>, StoreError> {
        self.session.worker(worker).await
    }

    async fn wish_worker(&self, wish: &WorkerWish) -> Result<WorkerWishOutcome, StoreError> {
        self.session.wish_worker(wish).await
    }

    async fn create_customer(
        &self,
        customer: &CustomerRecord,
        actor: &AdminActor,
    ) -> Result<CustomerView, StoreError> {
        self.session.create_customer(customer, actor).await
    }

    async fn customer(&self, customer: CustomerId) -> Result<Option<CustomerView>, StoreError> {
        self.session.customer(customer).await
    }

    async fn customers(&self, page: &Page) -> Result<Vec<CustomerView>, StoreError> {
        self.session.customers(page).await
    }

    async fn patch_customer(
        &self,
        customer: CustomerId,
        patch: &CustomerPatch,
        upon: Revision,
        actor: &AdminActor,
    ) -> Result<PatchCustomer, StoreError> {
        self.session
            .patch_customer(customer, patch, upon, actor)
            .await
    }

    async fn create_key(
        &self,
        key: &KeyRecord,
        actor: &AdminActor,
    ) -> Result<Option<KeyRow>, StoreError> {
        self.session.create_key(key, actor).await
    }

    async fn keys(
        &self,
        customer: Option<CustomerId>,
        page: &Page,
    ) -> Result<Option<Vec<KeyRow>>, StoreError> {
        self.session.keys(customer, page).await
    }

    async fn revoke_key(
        &self,
        key: KeyId,
        actor: &AdminActor,
    ) -> Result<Option<KeyRow>, StoreError> {
        self.session.revoke_key(key, actor).await
    }

    async fn find_key(&self, secret_hash: &[u8; 32]) -> Result<Option<KeyRow>, StoreError> {
        self.session.find_key(secret_hash).await
    }

    async fn record_key_use(&self, used: &[(KeyId, WallTime)]) -> Result<(), StoreError> {
        self.session.record_key_use(used).await
    }

    async fn admin_audit(
        &self,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AdminAuditRow>, StoreError> {
        self.session.admin_audit(after, limit).await
    }

    async fn customer_stats(
        &self,
        customer: CustomerId,
        query: &StatsQuery,
    ) -> Result<Vec<StatsRow>, StoreError> {
        self.session.stats(customer, query).await
    }

    async fn retire(&self, what: &Retire, limit: u32) -> Result<u64, StoreError> {
        self.session.retire(what, limit).await
    }
}
