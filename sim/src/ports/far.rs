//! The store as a party reaches it that is not on its host: every operation of the port is a question
//! that somebody carries there and back.
//!
//! Owns the list of operations alone. What becomes of a question on its way is its [`Way`]'s.

use super::SimStore;
use async_trait::async_trait;
use futures::future::BoxFuture;
use niyanta_core::{
    batch::Batch,
    ids::{Attempt, CustomerId, Generation, Incarnation, WorkerId, WorkloadId},
    scheduling::PendingReason,
    snapshot::{FenceRow, LeaseRow, Load, Loaded, Snapshot},
    time::{Duration, WallTime},
};
use runtime::store::{
    AdminActor, AdminAuditRow, AssignmentRow, AuditRow, CheckpointReport, Commit, ConfigId,
    ConfigRecord, ConfigRow, CoordinatorRecord, CoordinatorRow, CreateConfig, CustomerPatch,
    CustomerRecord, CustomerView, DeleteConfig, KeyId, KeyRecord, KeyRow, LeaseAnswer, LogFilter,
    LogReport, LogRow, OutcomeReport, Page, PatchCustomer, ProgressReport, ReplaceConfig, Retire,
    Revision, SchemaError, StatsQuery, StatsRow, Store, StoreError, Submission, SubmitOutcome,
    TakeLease, Timed, Wish, WishOutcome, WorkerFilter, WorkerView, WorkerWish, WorkerWishOutcome,
    WorkloadFilter, WorkloadView, Written,
};
use std::{future::Future, sync::Arc};

/// What a question is for: the lease and the leader's commits have connections of their own, as in
/// the production adapter, so that neither queues behind reads.
#[derive(Debug, Clone, Copy)]
pub enum For {
    /// The lease.
    Lease = 0,
    /// The leader's commits.
    Commits = 1,
    /// Everything else.
    Others = 2,
}

/// One question: what it is for, its operation, and how many bytes it takes on a wire.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// What it is for.
    pub purpose: For,
    /// The operation of the port.
    pub kind: &'static str,
    /// About as many as a real client sends.
    pub bytes: usize,
}

/// Carries questions to the store, and their answers back.
pub trait Way: Send + Sync + 'static {
    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// When there is none, with what is known of the statement's fate.
    fn ask<T, F>(
        &self,
        question: Question,
        job: F,
    ) -> impl Future<Output = Result<T, StoreError>> + Send
    where
        T: Send + 'static,
        F: FnOnce(SimStore) -> BoxFuture<'static, T> + Send + 'static;
}

/// The store at the end of a way.
#[derive(Debug)]
pub struct FarStore<W>(pub W);

/// Asks for an operation of the port with owned arguments.
macro_rules! ask {
    ($self:ident, $purpose:ident, $bytes:expr, $operation:ident($($argument:expr),*)) => {
        $self
            .0
            .ask(
                Question {
                    purpose: For::$purpose,
                    kind: stringify!($operation),
                    bytes: $bytes,
                },
                move |store| Box::pin(async move { store.$operation($($argument),*).await }),
            )
            .await
    };
}

#[async_trait]
impl<W: Way> Store for FarStore<W> {
    async fn check_schema(&self) -> Result<(), SchemaError> {
        ask!(self, Others, 64, check_schema())?
    }

    async fn ping(&self) -> Result<(), StoreError> {
        ask!(self, Others, 16, ping())?
    }

    async fn record_coordinator(&self, coordinator: &CoordinatorRecord) -> Result<(), StoreError> {
        let it = coordinator.clone();
        ask!(self, Others, 96, record_coordinator(&it))?
    }

    async fn remove_coordinator(&self, incarnation: &Incarnation) -> Result<(), StoreError> {
        let it = incarnation.clone();
        ask!(self, Others, 96, remove_coordinator(&it))?
    }

    async fn coordinators(&self, within: Duration) -> Result<Vec<CoordinatorRow>, StoreError> {
        ask!(self, Others, 96, coordinators(within))?
    }

    async fn take_lease(&self, question: TakeLease) -> Result<Timed<LeaseAnswer>, StoreError> {
        ask!(self, Lease, 96, take_lease(question))?
    }

    async fn read_lease(&self) -> Result<Timed<LeaseRow>, StoreError> {
        ask!(self, Lease, 96, read_lease())?
    }

    async fn renew_lease(
        &self,
        incarnation: &Incarnation,
        generation: Generation,
        ttl: Duration,
    ) -> Result<Timed<bool>, StoreError> {
        let it = incarnation.clone();
        ask!(self, Lease, 96, renew_lease(&it, generation, ttl))?
    }

    async fn resign_lease(
        &self,
        incarnation: &Incarnation,
        generation: Generation,
    ) -> Result<(), StoreError> {
        let it = incarnation.clone();
        ask!(self, Lease, 96, resign_lease(&it, generation))?
    }

    async fn commit(&self, batch: &Arc<Batch>) -> Result<Commit, StoreError> {
        let it = Arc::clone(batch);
        let bytes = 200 + 160 * it.rows() + 80 * it.audit_len();
        ask!(self, Commits, bytes, commit(&it))?
    }

    async fn read_fence(&self) -> Result<FenceRow, StoreError> {
        ask!(self, Commits, 96, read_fence())?
    }

    async fn snapshot(&self, limit: u32) -> Result<Timed<Snapshot>, StoreError> {
        ask!(self, Others, 96, snapshot(limit))?
    }

    async fn load(&self, what: &Load, limit: u32) -> Result<Timed<Loaded>, StoreError> {
        let it = what.clone();
        ask!(self, Others, 96, load(&it, limit))?
    }

    async fn record_pending_reasons(
        &self,
        reasons: &[(WorkloadId, Attempt, PendingReason)],
    ) -> Result<(), StoreError> {
        let it = reasons.to_vec();
        ask!(self, Others, 96, record_pending_reasons(&it))?
    }

    async fn record_heartbeats(
        &self,
        heard: &[(WorkerId, Incarnation, Duration)],
    ) -> Result<(), StoreError> {
        let it = heard.to_vec();
        ask!(self, Others, 96, record_heartbeats(&it))?
    }

    async fn put_outcome(&self, report: &OutcomeReport) -> Result<Written, StoreError> {
        let it = report.clone();
        ask!(self, Others, 96, put_outcome(&it))?
    }

    async fn put_checkpoint(&self, checkpoint: &CheckpointReport) -> Result<Written, StoreError> {
        let it = checkpoint.clone();
        let bytes = 96 + it.data.len();
        ask!(self, Others, bytes, put_checkpoint(&it))?
    }

    async fn put_progress(&self, progress: &[ProgressReport]) -> Result<(), StoreError> {
        let it = progress.to_vec();
        ask!(self, Others, 96, put_progress(&it))?
    }

    async fn put_logs(&self, logs: &LogReport) -> Result<Written, StoreError> {
        let it = logs.clone();
        ask!(self, Others, 96, put_logs(&it))?
    }

    async fn assignments(
        &self,
        wanted: &[(WorkloadId, Attempt)],
    ) -> Result<Vec<AssignmentRow>, StoreError> {
        let it = wanted.to_vec();
        ask!(self, Others, 96, assignments(&it))?
    }

    async fn submit(&self, submissions: &[Submission]) -> Vec<Result<SubmitOutcome, StoreError>> {
        // One statement each: the outcome of one says nothing of another.
        let mut outcomes = Vec::with_capacity(submissions.len());
        for submission in submissions {
            let it = [submission.clone()];
            let asked: Result<Vec<Result<SubmitOutcome, StoreError>>, _> =
                ask!(self, Others, 512, submit(&it));
            let outcome = asked.map(|mut answered| answered.pop());
            outcomes.push(match outcome {
                Ok(Some(outcome)) => outcome,
                Ok(None) => Err(StoreError::Unknown("an answer without an outcome".into())),
                Err(error) => Err(error),
            });
        }
        outcomes
    }

    async fn wish(&self, wish: &Wish) -> Result<WishOutcome, StoreError> {
        let it = wish.clone();
        ask!(self, Others, 96, wish(&it))?
    }

    async fn workload(
        &self,
        customer: CustomerId,
        workload: WorkloadId,
    ) -> Result<Option<WorkloadView>, StoreError> {
        ask!(self, Others, 96, workload(customer, workload))?
    }

    async fn workloads(
        &self,
        customer: CustomerId,
        filter: &WorkloadFilter,
        page: &Page,
    ) -> Result<Vec<WorkloadView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        ask!(self, Others, 96, workloads(customer, &filter, &page))?
    }

    async fn audit(
        &self,
        customer: CustomerId,
        workload: WorkloadId,
        after_sequence: i64,
        limit: u32,
    ) -> Result<Option<Vec<AuditRow>>, StoreError> {
        ask!(
            self,
            Others,
            96,
            audit(customer, workload, after_sequence, limit)
        )?
    }

    async fn logs(
        &self,
        customer: CustomerId,
        workload: WorkloadId,
        filter: &LogFilter,
        limit: u32,
    ) -> Result<Option<Vec<LogRow>>, StoreError> {
        let it = filter.clone();
        ask!(self, Others, 96, logs(customer, workload, &it, limit))?
    }

    async fn create_config(
        &self,
        customer: CustomerId,
        config: &ConfigRecord,
        upon: Revision,
    ) -> Result<CreateConfig, StoreError> {
        let it = config.clone();
        ask!(self, Others, 96, create_config(customer, &it, upon))?
    }

    async fn config(
        &self,
        customer: CustomerId,
        config: ConfigId,
    ) -> Result<Option<ConfigRow>, StoreError> {
        ask!(self, Others, 96, config(customer, config))?
    }

    async fn configs(
        &self,
        customer: CustomerId,
        page: &Page,
    ) -> Result<Vec<ConfigRow>, StoreError> {
        let it = page.clone();
        ask!(self, Others, 96, configs(customer, &it))?
    }

    async fn replace_config(
        &self,
        customer: CustomerId,
        config: &ConfigRecord,
        upon: Revision,
    ) -> Result<ReplaceConfig, StoreError> {
        let it = config.clone();
        ask!(self, Others, 96, replace_config(customer, &it, upon))?
    }

    async fn delete_config(
        &self,
        customer: CustomerId,
        config: ConfigId,
    ) -> Result<DeleteConfig, StoreError> {
        ask!(self, Others, 96, delete_config(customer, config))?
    }

    async fn workers(
        &self,
        filter: &WorkerFilter,
        after: Option<&WorkerId>,
        limit: u32,
    ) -> Result<Vec<WorkerView>, StoreError> {
        let (filter, after) = (filter.clone(), after.cloned());
        ask!(self, Others, 96, workers(&filter, after.as_ref(), limit))?
    }

    async fn worker(&self, worker: &WorkerId) -> Result<Option<WorkerView>, StoreError> {
        let worker = worker.clone();
        ask!(self, Others, 96, worker(&worker))?
    }

    async fn wish_worker(&self, wish: &WorkerWish) -> Result<WorkerWishOutcome, StoreError> {
        let it = wish.clone();
        ask!(self, Others, 96, wish_worker(&it))?
    }

    async fn create_customer(
        &self,
        customer: &CustomerRecord,
        actor: &AdminActor,
    ) -> Result<CustomerView, StoreError> {
        let (it, actor) = (customer.clone(), actor.clone());
        ask!(self, Others, 96, create_customer(&it, &actor))?
    }

    async fn customer(&self, customer: CustomerId) -> Result<Option<CustomerView>, StoreError> {
        ask!(self, Others, 96, customer(customer))?
    }

    async fn customers(&self, page: &Page) -> Result<Vec<CustomerView>, StoreError> {
        let it = page.clone();
        ask!(self, Others, 96, customers(&it))?
    }

    async fn patch_customer(
        &self,
        customer: CustomerId,
        patch: &CustomerPatch,
        upon: Revision,
        actor: &AdminActor,
    ) -> Result<PatchCustomer, StoreError> {
        let (it, actor) = (patch.clone(), actor.clone());
        ask!(
            self,
            Others,
            96,
            patch_customer(customer, &it, upon, &actor)
        )?
    }

    async fn create_key(
        &self,
        key: &KeyRecord,
        actor: &AdminActor,
    ) -> Result<Option<KeyRow>, StoreError> {
        let (it, actor) = (key.clone(), actor.clone());
        ask!(self, Others, 96, create_key(&it, &actor))?
    }

    async fn keys(
        &self,
        customer: Option<CustomerId>,
        page: &Page,
    ) -> Result<Option<Vec<KeyRow>>, StoreError> {
        let it = page.clone();
        ask!(self, Others, 96, keys(customer, &it))?
    }

    async fn revoke_key(
        &self,
        key: KeyId,
        actor: &AdminActor,
    ) -> Result<Option<KeyRow>, StoreError> {
        let it = actor.clone();
        ask!(self, Others, 96, revoke_key(key, &it))?
    }

    async fn find_key(&self, secret_hash: &[u8; 32]) -> Result<Option<KeyRow>, StoreError> {
        let it = *secret_hash;
        ask!(self, Others, 96, find_key(&it))?
    }

    async fn record_key_use(&self, used: &[(KeyId, WallTime)]) -> Result<(), StoreError> {
        let it = used.to_vec();
        ask!(self, Others, 96, record_key_use(&it))?
    }

    async fn admin_audit(
        &self,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AdminAuditRow>, StoreError> {
        ask!(self, Others, 96, admin_audit(after, limit))?
    }

    async fn customer_stats(
        &self,
        customer: CustomerId,
        query: &StatsQuery,
    ) -> Result<Vec<StatsRow>, StoreError> {
        let it = *query;
        ask!(self, Others, 96, customer_stats(customer, &it))?
    }

    async fn retire(&self, what: &Retire, limit: u32) -> Result<u64, StoreError> {
        let it = *what;
        ask!(self, Others, 96, retire(&it, limit))?
    }
}
