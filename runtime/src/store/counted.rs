//! A store whose failed calls are counted, whichever adapter it is.

use super::{
    AdminActor, AdminAuditRow, AssignmentRow, AuditRow, CheckpointReport, Commit, ConfigId,
    ConfigRecord, ConfigRow, CoordinatorRecord, CoordinatorRow, CreateConfig, CustomerPatch,
    CustomerRecord, CustomerView, DeleteConfig, KeyId, KeyRecord, KeyRow, LeaseAnswer, LogFilter,
    LogReport, LogRow, OutcomeReport, Page, PatchCustomer, ProgressReport, ReplaceConfig, Retire,
    Revision, SchemaError, StatsQuery, StatsRow, Store, StoreError, Submission, SubmitOutcome,
    TakeLease, Timed, Wish, WishOutcome, WorkerFilter, WorkerView, WorkerWish, WorkerWishOutcome,
    WorkloadFilter, WorkloadView, Written,
};
use crate::metrics as names;
use async_trait::async_trait;
use niyanta_core::{
    batch::Batch,
    ids::{Attempt, CustomerId, Generation, Incarnation, WorkerId, WorkloadId},
    scheduling::PendingReason,
    snapshot::{FenceRow, LeaseRow, Load, Loaded, Snapshot},
    time::{Duration, WallTime},
};
use std::sync::Arc;

/// Counts what `inner` does not answer.
pub(crate) struct CountedStore {
    inner: Arc<dyn Store>,
}

impl CountedStore {
    pub(crate) fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner }
    }
}

/// One call. Dropped without an end, its caller gave it up: its deadline came, or nobody waits.
struct Call {
    operation: &'static str,
    has_ended: bool,
}

impl Call {
    const fn begin(operation: &'static str) -> Self {
        Self {
            operation,
            has_ended: false,
        }
    }

    fn end<'a>(mut self, failures: impl IntoIterator<Item = &'a StoreError>) {
        self.has_ended = true;
        for error in failures {
            self.count(kind(error));
        }
    }

    fn count(&self, kind: &'static str) {
        let operation = self.operation;
        metrics::counter!(names::STORE_ERRORS, "operation" => operation, "kind" => kind)
            .increment(1);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.has_ended {
            self.count("given_up");
        }
    }
}

const fn kind(error: &StoreError) -> &'static str {
    match error {
        StoreError::Unavailable(_) => "unavailable",
        StoreError::LockTimeout(_) => "lock_timeout",
        StoreError::Unknown(_) => "unknown",
        StoreError::Refused(_) => "refused",
        StoreError::Corrupt(_) => "corrupt",
        StoreError::Failed(_) => "failed",
    }
}

/// Every call that gives one value or one error.
macro_rules! counted {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $value:ty;)+) => {
        #[async_trait]
        impl Store for CountedStore {
            async fn check_schema(&self) -> Result<(), SchemaError> {
                let call = Call::begin("check_schema");
                let answer = self.inner.check_schema().await;
                call.end(match &answer {
                    Err(SchemaError::Store(error)) => Some(error),
                    Ok(()) | Err(_) => None,
                });
                answer
            }

            async fn submit(
                &self,
                submissions: &[Submission],
            ) -> Vec<Result<SubmitOutcome, StoreError>> {
                let call = Call::begin("submit");
                let answers = self.inner.submit(submissions).await;
                call.end(answers.iter().filter_map(|answer| answer.as_ref().err()));
                answers
            }

            $(async fn $name(&self, $($argument: $type),*) -> Result<$value, StoreError> {
                let call = Call::begin(stringify!($name));
                let answer = self.inner.$name($($argument),*).await;
                call.end(answer.as_ref().err());
                answer
            })+
        }
    };
}

counted! {
    fn ping() -> ();
    fn record_coordinator(coordinator: &CoordinatorRecord) -> ();
    fn remove_coordinator(incarnation: &Incarnation) -> ();
    fn coordinators(within: Duration) -> Vec<CoordinatorRow>;
    fn take_lease(ask: TakeLease) -> Timed<LeaseAnswer>;
    fn read_lease() -> Timed<LeaseRow>;
    fn renew_lease(incarnation: &Incarnation, generation: Generation, ttl: Duration) -> Timed<bool>;
    fn resign_lease(incarnation: &Incarnation, generation: Generation) -> ();
    fn commit(batch: &Arc<Batch>) -> Commit;
    fn read_fence() -> FenceRow;
    fn snapshot(limit: u32) -> Timed<Snapshot>;
    fn load(what: &Load, limit: u32) -> Timed<Loaded>;
    fn record_pending_reasons(reasons: &[(WorkloadId, Attempt, PendingReason)]) -> ();
    fn record_heartbeats(heard: &[(WorkerId, Incarnation, Duration)]) -> ();
    fn put_outcome(report: &OutcomeReport) -> Written;
    fn put_checkpoint(checkpoint: &CheckpointReport) -> Written;
    fn put_progress(progress: &[ProgressReport]) -> ();
    fn put_logs(logs: &LogReport) -> Written;
    fn assignments(wanted: &[(WorkloadId, Attempt)]) -> Vec<AssignmentRow>;
    fn wish(wish: &Wish) -> WishOutcome;
    fn workload(customer: CustomerId, workload: WorkloadId) -> Option<WorkloadView>;
    fn workloads(customer: CustomerId, filter: &WorkloadFilter, page: &Page) -> Vec<WorkloadView>;
    fn audit(customer: CustomerId, workload: WorkloadId, after_sequence: i64, limit: u32) -> Option<Vec<AuditRow>>;
    fn logs(customer: CustomerId, workload: WorkloadId, filter: &LogFilter, limit: u32) -> Option<Vec<LogRow>>;
    fn create_config(customer: CustomerId, config: &ConfigRecord, upon: Revision) -> CreateConfig;
    fn config(customer: CustomerId, config: ConfigId) -> Option<ConfigRow>;
    fn configs(customer: CustomerId, page: &Page) -> Vec<ConfigRow>;
    fn replace_config(customer: CustomerId, config: &ConfigRecord, upon: Revision) -> ReplaceConfig;
    fn delete_config(customer: CustomerId, config: ConfigId) -> DeleteConfig;
    fn workers(filter: &WorkerFilter, after: Option<&WorkerId>, limit: u32) -> Vec<WorkerView>;
    fn worker(worker: &WorkerId) -> Option<WorkerView>;
    fn wish_worker(wish: &WorkerWish) -> WorkerWishOutcome;
    fn create_customer(customer: &CustomerRecord, actor: &AdminActor) -> CustomerView;
    fn customer(customer: CustomerId) -> Option<CustomerView>;
    fn customers(page: &Page) -> Vec<CustomerView>;
    fn patch_customer(customer: CustomerId, patch: &CustomerPatch, upon: Revision, actor: &AdminActor) -> PatchCustomer;
    fn create_key(key: &KeyRecord, actor: &AdminActor) -> Option<KeyRow>;
    fn keys(customer: Option<CustomerId>, page: &Page) -> Option<Vec<KeyRow>>;
    fn revoke_key(key: KeyId, actor: &AdminActor) -> Option<KeyRow>;
    fn find_key(secret_hash: &[u8; 32]) -> Option<KeyRow>;
    fn record_key_use(used: &[(KeyId, WallTime)]) -> ();
    fn admin_audit(after: Option<i64>, limit: u32) -> Vec<AdminAuditRow>;
    fn customer_stats(customer: CustomerId, query: &StatsQuery) -> Vec<StatsRow>;
    fn retire(what: &Retire, limit: u32) -> u64;
}
