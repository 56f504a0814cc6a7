//! A coordinator's connections to the store.
//!
//! The lease and the leader's commits each have a lane of their own, as in the production adapter,
//! so that neither queues behind reads. A connection is used by one question at a time; one whose
//! answer did not come in time is dropped with its question's outcome unknown.

use super::{
    super::{Dial, Frame},
    ANSWER, ASK, LOCKED, Parcel, SimStore, Table, unknown,
};
use async_trait::async_trait;
use bytes::Bytes;
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
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

/// The store as a coordinator reaches it.
pub struct RemoteStore<D: Dial> {
    dial: D,
    table: Table,
    within: Duration,
    lanes: [Lane<D::Io>; 3],
}

impl<D: Dial> fmt::Debug for RemoteStore<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteStore")
            .field("within", &self.within)
            .finish_non_exhaustive()
    }
}

/// Idle connections of one purpose, and how many there may be.
struct Lane<Io> {
    idle: Mutex<Vec<Io>>,
    places: Semaphore,
}

impl<Io> Lane<Io> {
    fn new(places: usize) -> Self {
        Self {
            idle: Mutex::default(),
            places: Semaphore::new(places),
        }
    }

    fn take(&self) -> Option<Io> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.pop()
    }

    fn give(&self, io: Io) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(io);
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy)]
enum For {
    Lease = 0,
    Commits = 1,
    Others = 2,
}

impl<D: Dial> RemoteStore<D> {
    /// A store that is dialled when it is asked. No question waits longer than `within`.
    #[must_use]
    pub fn new(dial: D, table: Table, within: Duration) -> Self {
        Self {
            dial,
            table,
            within,
            lanes: [Lane::new(1), Lane::new(1), Lane::new(POOL)],
        }
    }

    /// Asks, and waits for the answer.
    async fn ask<T, F>(
        &self,
        purpose: For,
        kind: &'static str,
        bytes: usize,
        job: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(SimStore) -> BoxFuture<'static, T> + Send + 'static,
    {
        let deadline = Instant::now() + self.within;
        let lane = &self.lanes[purpose as usize];
        let unavailable = |why: String| StoreError::Unavailable(why.into());
        let place = timeout_at(deadline, lane.places.acquire()).await;
        let Ok(Ok(_place)) = place else {
            return Err(unavailable("no connection is free".to_owned()));
        };
        let mut io = match lane.take() {
            Some(io) => io,
            None => match timeout_at(deadline, self.dial.dial()).await {
                Ok(Ok(io)) => io,
                Ok(Err(error)) => return Err(unavailable(error.to_string())),
                Err(_) => return Err(unavailable("nobody answers".to_owned())),
            },
        };
        let boxed = Box::new(move |store| -> BoxFuture<'static, Parcel> {
            let answer = job(store);
            Box::pin(async move { Box::new(answer.await) as Parcel })
        });
        let token = self.table.ask(boxed, kind);
        let question = Frame::new(ASK, token, Bytes::from(vec![0; bytes]));
        let conversation = async {
            question.write(&mut io).await?;
            Frame::read(&mut io).await
        };
        let frame = match timeout_at(deadline, conversation).await {
            Ok(Ok(Some(frame))) if frame.number == token => frame,
            Ok(Ok(_)) => return Err(unknown("the connection ended")),
            Ok(Err(error)) => return Err(unknown(error)),
            Err(_) => return Err(unknown("no answer in time")),
        };
        lane.give(io);
        match frame.kind {
            ANSWER => {
                let parcel = self.table.take_answer(token);
                let answer = parcel.and_then(|parcel| parcel.downcast::<T>().ok());
                answer.map_or_else(|| Err(unknown("the answer is another's")), |it| Ok(*it))
            }
            LOCKED => Err(StoreError::LockTimeout("a row".into())),
            other => Err(StoreError::Failed(
                format!("a frame of kind {other}").into(),
            )),
        }
    }
}

/// Connections beside those of the lease and the commits.
const POOL: usize = 6;

/// Asks for an operation of the port with owned arguments.
macro_rules! ask {
    ($self:ident, $purpose:ident, $bytes:expr, $operation:ident($($argument:expr),*)) => {
        $self
            .ask(For::$purpose, stringify!($operation), $bytes, move |store| {
                Box::pin(async move { store.$operation($($argument),*).await })
            })
            .await
    };
}

#[async_trait]
impl<D: Dial> Store for RemoteStore<D> {
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
                Ok(None) => Err(unknown("an answer without an outcome")),
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
