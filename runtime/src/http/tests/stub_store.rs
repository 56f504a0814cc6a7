//! A store that answers what a test told it to, and panics when anything else is asked: so a test
//! shows also what is refused before the database is reached.

use crate::store::*;
use async_trait::async_trait;
use niyanta_core::{
    batch::Batch,
    ids::{Attempt, CustomerId, Generation, Incarnation, WorkerId, WorkloadId},
    scheduling::PendingReason,
    snapshot::{FenceRow, LeaseRow, Load, Loaded, Snapshot},
    time::{Duration, WallTime},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex},
};
use tokio::sync::Semaphore;

/// The answers.
#[derive(Default)]
pub(crate) struct StubStore {
    pub(super) keys: Mutex<HashMap<[u8; 32], KeyRow>>,
    pub(super) customers: BTreeSet<CustomerId>,
    pub(super) limits: Mutex<Option<Limits>>,
    pub(super) workloads: Mutex<BTreeMap<(CustomerId, WorkloadId), WorkloadView>>,
    pub(super) wish_answers: Mutex<VecDeque<Result<WishOutcome, StoreError>>>,
    pub(super) wishes: Mutex<Vec<Wish>>,
    pub(super) worker: Mutex<Option<WorkerView>>,
    pub(super) worker_wish_answers: Mutex<VecDeque<Result<WorkerWishOutcome, StoreError>>>,
    pub(super) worker_wishes: Mutex<Vec<WorkerWish>>,
    pub(super) submit_answers: Mutex<VecDeque<Result<SubmitOutcome, StoreError>>>,
    pub(super) submitted: Mutex<Vec<Submission>>,
    pub(super) changes: Changes,
    pub(super) logs: Mutex<Vec<LogRow>>,
    pub(super) used: Mutex<Vec<(KeyId, WallTime)>>,
    /// Writes of what reports carry wait here, each for a permit, and then succeed.
    pub(crate) report_writes: Option<Semaphore>,
    calls: Mutex<BTreeMap<&'static str, usize>>,
}

/// Of customers and configs.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) config: Mutex<Option<ConfigRow>>,
    pub(super) create_answers: Answers<CreateConfig>,
    pub(super) replace_answers: Answers<ReplaceConfig>,
    pub(super) patch_answers: Answers<PatchCustomer>,
}

/// What is answered to changes, one after the other, and what they were made upon.
pub(super) struct Answers<T> {
    pub(super) script: Mutex<VecDeque<Result<T, StoreError>>>,
    pub(super) upon: Mutex<Vec<u64>>,
}

impl<T> Default for Answers<T> {
    fn default() -> Self {
        Self {
            script: Mutex::default(),
            upon: Mutex::default(),
        }
    }
}

impl<T> Answers<T> {
    fn next(&self, upon: Revision) -> Result<T, StoreError> {
        self.upon.lock().unwrap().push(upon.0);
        self.script.lock().unwrap().pop_front().unwrap()
    }
}

impl StubStore {
    /// How often an operation was asked for.
    pub(super) fn calls(&self, operation: &str) -> usize {
        self.calls
            .lock()
            .unwrap()
            .get(operation)
            .copied()
            .unwrap_or(0)
    }

    /// Who drives a node over this store is not to become a leader.
    async fn never_or_unreached<T>(&self, operation: &str) -> T {
        if self.report_writes.is_some() {
            std::future::pending().await
        } else {
            unreached(operation)
        }
    }

    fn reached(&self, operation: &'static str) {
        *self.calls.lock().unwrap().entry(operation).or_default() += 1;
    }
}

fn unreached<T>(operation: &str) -> T {
    panic!("the store was asked for {operation}")
}

pub(super) fn view_of(customer: CustomerId, limits: Option<Limits>) -> CustomerView {
    CustomerView {
        id: customer,
        name: "a customer".to_owned(),
        tier: Tier::Enterprise,
        limits: limits.unwrap_or_else(|| Tier::Enterprise.limits()),
        overrides: LimitOverrides::default(),
        revision: Revision(3),
        running: 0,
        queued: 0,
        created_at: WallTime(0),
    }
}

#[async_trait]
impl Store for StubStore {
    async fn check_schema(&self) -> Result<(), SchemaError> {
        unreached("check_schema")
    }
    async fn ping(&self) -> Result<(), StoreError> {
        unreached("ping")
    }
    async fn record_coordinator(&self, _coordinator: &CoordinatorRecord) -> Result<(), StoreError> {
        unreached("record_coordinator")
    }
    async fn remove_coordinator(&self, _incarnation: &Incarnation) -> Result<(), StoreError> {
        unreached("remove_coordinator")
    }
    async fn coordinators(&self, _within: Duration) -> Result<Vec<CoordinatorRow>, StoreError> {
        unreached("coordinators")
    }
    async fn take_lease(&self, _ask: TakeLease) -> Result<Timed<LeaseAnswer>, StoreError> {
        self.never_or_unreached("take_lease").await
    }
    async fn read_lease(&self) -> Result<Timed<LeaseRow>, StoreError> {
        self.never_or_unreached("read_lease").await
    }
    async fn renew_lease(
        &self,
        _incarnation: &Incarnation,
        _generation: Generation,
        _ttl: Duration,
    ) -> Result<Timed<bool>, StoreError> {
        unreached("renew_lease")
    }
    async fn resign_lease(
        &self,
        _incarnation: &Incarnation,
        _generation: Generation,
    ) -> Result<(), StoreError> {
        unreached("resign_lease")
    }
    async fn commit(&self, _batch: &Arc<Batch>) -> Result<Commit, StoreError> {
        unreached("commit")
    }
    async fn read_fence(&self) -> Result<FenceRow, StoreError> {
        unreached("read_fence")
    }
    async fn snapshot(&self, _limit: u32) -> Result<Timed<Snapshot>, StoreError> {
        unreached("snapshot")
    }
    async fn load(&self, _what: &Load, _limit: u32) -> Result<Timed<Loaded>, StoreError> {
        unreached("load")
    }
    async fn record_pending_reasons(
        &self,
        _reasons: &[(WorkloadId, Attempt, PendingReason)],
    ) -> Result<(), StoreError> {
        unreached("record_pending_reasons")
    }
    async fn record_heartbeats(
        &self,
        _heard: &[(WorkerId, Incarnation, Duration)],
    ) -> Result<(), StoreError> {
        unreached("record_heartbeats")
    }
    async fn put_outcome(&self, _report: &OutcomeReport) -> Result<Written, StoreError> {
        let Some(turn) = &self.report_writes else {
            unreached("put_outcome")
        };
        turn.acquire().await.unwrap().forget();
        Ok(Written::Stored)
    }
    async fn put_checkpoint(&self, _checkpoint: &CheckpointReport) -> Result<Written, StoreError> {
        unreached("put_checkpoint")
    }
    async fn put_progress(&self, _progress: &[ProgressReport]) -> Result<(), StoreError> {
        unreached("put_progress")
    }
    async fn put_logs(&self, _logs: &LogReport) -> Result<Written, StoreError> {
        unreached("put_logs")
    }
    async fn assignments(
        &self,
        _wanted: &[(WorkloadId, Attempt)],
    ) -> Result<Vec<AssignmentRow>, StoreError> {
        unreached("assignments")
    }
    async fn submit(&self, submissions: &[Submission]) -> Vec<Result<SubmitOutcome, StoreError>> {
        self.submitted
            .lock()
            .unwrap()
            .extend_from_slice(submissions);
        let mut answers = self.submit_answers.lock().unwrap();
        submissions
            .iter()
            .map(|_| answers.pop_front().unwrap())
            .collect()
    }
    async fn wish(&self, wish: &Wish) -> Result<WishOutcome, StoreError> {
        self.wishes.lock().unwrap().push(wish.clone());
        self.wish_answers.lock().unwrap().pop_front().unwrap()
    }
    async fn workload(
        &self,
        customer: CustomerId,
        workload: WorkloadId,
    ) -> Result<Option<WorkloadView>, StoreError> {
        self.reached("workload");
        let found = self
            .workloads
            .lock()
            .unwrap()
            .get(&(customer, workload))
            .cloned();
        Ok(found)
    }
    async fn workloads(
        &self,
        _customer: CustomerId,
        _filter: &WorkloadFilter,
        _page: &Page,
    ) -> Result<Vec<WorkloadView>, StoreError> {
        unreached("workloads")
    }
    async fn audit(
        &self,
        _customer: CustomerId,
        _workload: WorkloadId,
        _after_sequence: i64,
        _limit: u32,
    ) -> Result<Option<Vec<AuditRow>>, StoreError> {
        unreached("audit")
    }
    async fn logs(
        &self,
        customer: CustomerId,
        workload: WorkloadId,
        filter: &LogFilter,
        limit: u32,
    ) -> Result<Option<Vec<LogRow>>, StoreError> {
        if !self
            .workloads
            .lock()
            .unwrap()
            .contains_key(&(customer, workload))
        {
            return Ok(None);
        }
        let lines = self.logs.lock().unwrap();
        let later = lines
            .iter()
            .filter(|row| Some((row.attempt, row.sequence)) > filter.after);
        Ok(Some(
            later
                .take(usize::try_from(limit).unwrap())
                .cloned()
                .collect(),
        ))
    }
    async fn create_config(
        &self,
        _customer: CustomerId,
        _config: &ConfigRecord,
        upon: Revision,
    ) -> Result<CreateConfig, StoreError> {
        self.changes.create_answers.next(upon)
    }
    async fn config(
        &self,
        _customer: CustomerId,
        _config: ConfigId,
    ) -> Result<Option<ConfigRow>, StoreError> {
        self.reached("config");
        Ok(self.changes.config.lock().unwrap().clone())
    }
    async fn configs(
        &self,
        _customer: CustomerId,
        _page: &Page,
    ) -> Result<Vec<ConfigRow>, StoreError> {
        unreached("configs")
    }
    async fn replace_config(
        &self,
        _customer: CustomerId,
        _config: &ConfigRecord,
        upon: Revision,
    ) -> Result<ReplaceConfig, StoreError> {
        self.changes.replace_answers.next(upon)
    }
    async fn delete_config(
        &self,
        _customer: CustomerId,
        _config: ConfigId,
    ) -> Result<DeleteConfig, StoreError> {
        unreached("delete_config")
    }
    async fn workers(
        &self,
        _filter: &WorkerFilter,
        _after: Option<&WorkerId>,
        _limit: u32,
    ) -> Result<Vec<WorkerView>, StoreError> {
        unreached("workers")
    }
    async fn worker(&self, worker: &WorkerId) -> Result<Option<WorkerView>, StoreError> {
        self.reached("worker");
        Ok(self
            .worker
            .lock()
            .unwrap()
            .clone()
            .filter(|it| it.worker == *worker))
    }
    async fn wish_worker(&self, wish: &WorkerWish) -> Result<WorkerWishOutcome, StoreError> {
        self.worker_wishes.lock().unwrap().push(wish.clone());
        self.worker_wish_answers
            .lock()
            .unwrap()
            .pop_front()
            .unwrap()
    }
    async fn create_customer(
        &self,
        _customer: &CustomerRecord,
        _actor: &AdminActor,
    ) -> Result<CustomerView, StoreError> {
        unreached("create_customer")
    }
    async fn customer(&self, customer: CustomerId) -> Result<Option<CustomerView>, StoreError> {
        self.reached("customer");
        let limits = *self.limits.lock().unwrap();
        Ok(self
            .customers
            .contains(&customer)
            .then(|| view_of(customer, limits)))
    }
    async fn customers(&self, _page: &Page) -> Result<Vec<CustomerView>, StoreError> {
        unreached("customers")
    }
    async fn patch_customer(
        &self,
        _customer: CustomerId,
        _patch: &CustomerPatch,
        upon: Revision,
        _actor: &AdminActor,
    ) -> Result<PatchCustomer, StoreError> {
        self.changes.patch_answers.next(upon)
    }
    async fn create_key(
        &self,
        _key: &KeyRecord,
        _actor: &AdminActor,
    ) -> Result<Option<KeyRow>, StoreError> {
        unreached("create_key")
    }
    async fn keys(
        &self,
        _customer: Option<CustomerId>,
        _page: &Page,
    ) -> Result<Option<Vec<KeyRow>>, StoreError> {
        unreached("keys")
    }
    async fn revoke_key(
        &self,
        _key: KeyId,
        _actor: &AdminActor,
    ) -> Result<Option<KeyRow>, StoreError> {
        unreached("revoke_key")
    }
    async fn find_key(&self, secret_hash: &[u8; 32]) -> Result<Option<KeyRow>, StoreError> {
        self.reached("find_key");
        let found = self.keys.lock().unwrap().get(secret_hash).cloned();
        Ok(found)
    }
    async fn record_key_use(&self, used: &[(KeyId, WallTime)]) -> Result<(), StoreError> {
        self.used.lock().unwrap().extend_from_slice(used);
        Ok(())
    }
    async fn admin_audit(
        &self,
        _after: Option<i64>,
        _limit: u32,
    ) -> Result<Vec<AdminAuditRow>, StoreError> {
        unreached("admin_audit")
    }
    async fn customer_stats(
        &self,
        _customer: CustomerId,
        _query: &StatsQuery,
    ) -> Result<Vec<StatsRow>, StoreError> {
        unreached("customer_stats")
    }
    async fn retire(&self, _what: &Retire, _limit: u32) -> Result<u64, StoreError> {
        unreached("retire")
    }
}
