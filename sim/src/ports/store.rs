//! The store model as the production [`Store`] port.
//!
//! Each operation takes the one lock, runs one statement of the model at this moment, and answers.
//! What the model does not hold stands on a [`Shelf`] beside it and follows what was committed.
//! Delays, losses and orphans are the business of whoever stands between a coordinator and this.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a question has a few answers; any other one is a failure of the model"
)]

mod admin;
mod api;
mod beside;
mod shelf;
mod upkeep;
mod views;

use crate::{
    clock::Moment,
    model::store::{
        Answer, Change, Failure, RenewLease, Statement, Store as Model, TakeLease as ModelTake,
    },
};
use async_trait::async_trait;
use niyanta_core::{
    PersistOutcome,
    batch::Batch,
    ids::{AskId, Attempt, CustomerId, Generation, Incarnation, LoadId, WorkerId, WorkloadId},
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
use shelf::Shelf;
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Where the moment of a statement comes from.
#[derive(Clone)]
pub struct Time(Arc<dyn Fn() -> Moment + Send + Sync>);

impl Time {
    /// Reads true time from somewhere.
    pub fn new(read: impl Fn() -> Moment + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The clock of the runtime that this is called in, from now on.
    #[must_use]
    pub fn of_runtime() -> Self {
        let origin = tokio::time::Instant::now();
        Self::new(move || Moment::default().plus(origin.elapsed()))
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Moment {
        (self.0)()
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Time").field(&self.now()).finish()
    }
}

/// Sees what the database commits, with the database as it is right after.
pub trait Witness: Send {
    /// Something was committed.
    fn committed(&mut self, now: Moment, database: &Database, change: &Change);
}

/// The model with everything beside it.
pub struct Database {
    model: Model,
    shelf: Shelf,
    last: Moment,
    witness: Option<Box<dyn Witness>>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, last, .. } = self;
        f.debug_struct("Database")
            .field("model", model)
            .field("last", last)
            .finish_non_exhaustive()
    }
}

impl Database {
    /// The rows.
    #[must_use]
    pub const fn model(&self) -> &Model {
        &self.model
    }

    /// The labels that a workload was submitted with.
    #[must_use]
    pub fn label(&self, workload: WorkloadId, name: &str) -> Option<&str> {
        let papers = self.shelf.papers.get(&workload)?;
        papers.labels.get(name).map(String::as_str)
    }

    /// Two statements never see the same moment: the database's clock goes on between them.
    fn tick(&mut self, now: Moment) -> Moment {
        let next = self.last.plus(Duration::from_micros(1));
        self.last = now.max(next);
        self.last
    }

    /// Runs one statement. What it committed is put on the shelf, then shown to the witness.
    fn run(&mut self, now: Moment, statement: &Statement) -> Result<Answer, StoreError> {
        let now = self.tick(now);
        let outcome = self.model.execute(now, statement);
        let time = self.model.time(now);
        let mut witness = self.witness.take();
        for change in self.model.take_changes() {
            self.shelf.follow(time, &change);
            if let Some(witness) = &mut witness {
                witness.committed(now, self, &change);
            }
        }
        self.witness = witness;
        outcome.map_err(unanswered)
    }
}

/// What the port says of an operation without an answer.
fn unanswered(failure: Failure) -> StoreError {
    match failure {
        Failure::Unavailable => StoreError::Unavailable("no connection".into()),
        Failure::LockTimeout => StoreError::LockTimeout("a row is locked".into()),
        Failure::Unknown => StoreError::Unknown("no answer".into()),
        Failure::Refused => StoreError::Refused("a value".into()),
    }
}

/// The store of a simulation. Clones are the same database.
#[derive(Debug, Clone)]
pub struct SimStore {
    database: Arc<Mutex<Database>>,
    time: Time,
}

impl SimStore {
    /// Serves this database, whose moments are `time`'s.
    #[must_use]
    pub fn new(model: Model, time: Time) -> Self {
        let database = Database {
            model,
            shelf: Shelf::default(),
            last: Moment::default(),
            witness: None,
        };
        Self {
            database: Arc::new(Mutex::new(database)),
            time,
        }
    }

    /// The same database, for somebody with another clock.
    #[must_use]
    pub fn with_time(&self, time: Time) -> Self {
        Self {
            database: Arc::clone(&self.database),
            time,
        }
    }

    /// Shows every commit to this witness from now on.
    pub fn witnessed_by(&self, witness: Box<dyn Witness>) {
        self.lock().witness = Some(witness);
    }

    /// Looks at the database, as no party of the simulation can.
    pub fn look<T>(&self, look: impl FnOnce(&Database) -> T) -> T {
        look(&self.lock())
    }

    /// What a transaction sees that will be rolled back: the rows as they are, changed for nobody.
    #[must_use]
    pub fn rolled_back(&self) -> Self {
        let database = self.lock();
        let copy = Database {
            model: database.model.copy(),
            shelf: database.shelf.clone(),
            last: database.last,
            witness: None,
        };
        Self {
            database: Arc::new(Mutex::new(copy)),
            time: self.time.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Database> {
        // A panic in here is a failed run, which must be told as itself.
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, statement: &Statement) -> Result<Answer, StoreError> {
        let now = self.time.now();
        self.lock().run(now, statement)
    }

    /// The database's clock, as a statement of its own reads it.
    fn database_time(&self) -> WallTime {
        let now = self.time.now();
        let mut database = self.lock();
        let now = database.tick(now);
        database.model.time(now)
    }
}

/// The model answered something that this question never has.
fn misheard(question: &str, answer: &Answer) -> StoreError {
    StoreError::Failed(format!("{question} was answered {answer:?}").into())
}

/// The port numbers no questions; the model wants a number.
const ASK: AskId = AskId(0);

#[async_trait]
impl Store for SimStore {
    async fn check_schema(&self) -> Result<(), SchemaError> {
        Ok(())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn record_coordinator(&self, coordinator: &CoordinatorRecord) -> Result<(), StoreError> {
        self.see_coordinator(coordinator)
    }

    async fn remove_coordinator(&self, incarnation: &Incarnation) -> Result<(), StoreError> {
        self.lock().shelf.coordinators.remove(incarnation);
        Ok(())
    }

    async fn coordinators(&self, within: Duration) -> Result<Vec<CoordinatorRow>, StoreError> {
        Ok(self.list_coordinators(within))
    }

    async fn take_lease(&self, ask: TakeLease) -> Result<Timed<LeaseAnswer>, StoreError> {
        let take = ModelTake {
            ask: ASK,
            incarnation: ask.incarnation,
            above: ask.above,
            own: ask.own,
            force: ask.force,
            ttl: ask.ttl,
        };
        match self.run(&Statement::TakeLease(take))? {
            Answer::Taken {
                generation, time, ..
            } => Ok(timed(LeaseAnswer::Taken(generation), time)),
            Answer::LeaseRow { row, time, .. } => Ok(timed(LeaseAnswer::Held(row), time)),
            other => Err(misheard("take_lease", &other)),
        }
    }

    async fn read_lease(&self) -> Result<Timed<LeaseRow>, StoreError> {
        match self.run(&Statement::ReadLease { ask: ASK })? {
            Answer::LeaseRow { row, time, .. } => Ok(timed(row, time)),
            other => Err(misheard("read_lease", &other)),
        }
    }

    async fn renew_lease(
        &self,
        incarnation: &Incarnation,
        generation: Generation,
        ttl: Duration,
    ) -> Result<Timed<bool>, StoreError> {
        let renew = Statement::RenewLease(RenewLease {
            ask: ASK,
            incarnation: incarnation.clone(),
            generation,
            ttl,
        });
        match self.run(&renew)? {
            Answer::Renewed { matched, time, .. } => Ok(timed(matched, time)),
            other => Err(misheard("renew_lease", &other)),
        }
    }

    async fn resign_lease(
        &self,
        incarnation: &Incarnation,
        generation: Generation,
    ) -> Result<(), StoreError> {
        self.run(&Statement::ResignLease {
            incarnation: incarnation.clone(),
            generation,
        })?;
        Ok(())
    }

    async fn commit(&self, batch: &Arc<Batch>) -> Result<Commit, StoreError> {
        match self.run(&Statement::Persist(Arc::clone(batch)))? {
            Answer::Persist { outcome, .. } => match outcome {
                PersistOutcome::Applied => Ok(Commit::Applied),
                PersistOutcome::NotApplied => Ok(Commit::NotApplied),
                PersistOutcome::Short => Ok(Commit::Short),
                PersistOutcome::Unknown => Err(StoreError::Unknown("no answer".into())),
                PersistOutcome::Refused => Err(StoreError::Refused("a value".into())),
                PersistOutcome::LockTimeout => Err(StoreError::LockTimeout("a row".into())),
            },
            other => Err(misheard("commit", &other)),
        }
    }

    async fn read_fence(&self) -> Result<FenceRow, StoreError> {
        let generation = Generation::ZERO;
        match self.run(&Statement::ReadFence { generation })? {
            Answer::Fence { row, .. } => Ok(row),
            other => Err(misheard("read_fence", &other)),
        }
    }

    async fn snapshot(&self, limit: u32) -> Result<Timed<Snapshot>, StoreError> {
        let generation = Generation::ZERO;
        match self.run(&Statement::Snapshot { generation, limit })? {
            Answer::Snapshot { snapshot, time, .. } => Ok(timed(*snapshot, time)),
            other => Err(misheard("snapshot", &other)),
        }
    }

    async fn load(&self, what: &Load, limit: u32) -> Result<Timed<Loaded>, StoreError> {
        let load = Statement::Load {
            load: LoadId(0),
            what: what.clone(),
            limit,
        };
        match self.run(&load)? {
            Answer::Loaded { rows, time, .. } => Ok(timed(*rows, time)),
            other => Err(misheard("load", &other)),
        }
    }

    async fn record_pending_reasons(
        &self,
        reasons: &[(WorkloadId, Attempt, PendingReason)],
    ) -> Result<(), StoreError> {
        self.run(&Statement::PendingReasons(reasons.to_vec()))?;
        Ok(())
    }

    async fn record_heartbeats(
        &self,
        heard: &[(WorkerId, Incarnation, Duration)],
    ) -> Result<(), StoreError> {
        self.run(&Statement::Heartbeats(heard.to_vec()))?;
        self.note_heartbeats(heard);
        Ok(())
    }

    async fn put_outcome(&self, report: &OutcomeReport) -> Result<Written, StoreError> {
        self.write_outcome(report)
    }

    async fn put_checkpoint(&self, checkpoint: &CheckpointReport) -> Result<Written, StoreError> {
        self.write_checkpoint(checkpoint)
    }

    async fn put_progress(&self, progress: &[ProgressReport]) -> Result<(), StoreError> {
        self.write_progress(progress)
    }

    async fn put_logs(&self, logs: &LogReport) -> Result<Written, StoreError> {
        self.write_logs(logs)
    }

    async fn assignments(
        &self,
        wanted: &[(WorkloadId, Attempt)],
    ) -> Result<Vec<AssignmentRow>, StoreError> {
        Ok(self.read_assignments(wanted))
    }

    async fn submit(&self, submissions: &[Submission]) -> Vec<Result<SubmitOutcome, StoreError>> {
        submissions.iter().map(|it| self.submit_one(it)).collect()
    }

    async fn wish(&self, wish: &Wish) -> Result<WishOutcome, StoreError> {
        self.wish_one(wish)
    }

    async fn workload(
        &self,
        customer: CustomerId,
        workload: WorkloadId,
    ) -> Result<Option<WorkloadView>, StoreError> {
        self.read_workload(customer, workload)
    }

    async fn workloads(
        &self,
        customer: CustomerId,
        filter: &WorkloadFilter,
        page: &Page,
    ) -> Result<Vec<WorkloadView>, StoreError> {
        Ok(self.list_workloads(customer, filter, page))
    }

    async fn audit(
        &self,
        customer: CustomerId,
        workload: WorkloadId,
        after_sequence: i64,
        limit: u32,
    ) -> Result<Option<Vec<AuditRow>>, StoreError> {
        Ok(self.read_audit(customer, workload, after_sequence, limit))
    }

    async fn logs(
        &self,
        customer: CustomerId,
        workload: WorkloadId,
        filter: &LogFilter,
        limit: u32,
    ) -> Result<Option<Vec<LogRow>>, StoreError> {
        Ok(self.read_logs(customer, workload, filter, limit))
    }

    async fn create_config(
        &self,
        customer: CustomerId,
        config: &ConfigRecord,
        upon: Revision,
    ) -> Result<CreateConfig, StoreError> {
        self.add_config(customer, config, upon)
    }

    async fn config(
        &self,
        customer: CustomerId,
        config: ConfigId,
    ) -> Result<Option<ConfigRow>, StoreError> {
        let found = self.lock();
        Ok(found.shelf.configs.get(&(customer, config)).cloned())
    }

    async fn configs(
        &self,
        customer: CustomerId,
        page: &Page,
    ) -> Result<Vec<ConfigRow>, StoreError> {
        Ok(self.list_configs(customer, page))
    }

    async fn replace_config(
        &self,
        customer: CustomerId,
        config: &ConfigRecord,
        upon: Revision,
    ) -> Result<ReplaceConfig, StoreError> {
        self.change_config(customer, config, upon)
    }

    async fn delete_config(
        &self,
        customer: CustomerId,
        config: ConfigId,
    ) -> Result<DeleteConfig, StoreError> {
        Ok(self.drop_config(customer, config))
    }

    async fn workers(
        &self,
        filter: &WorkerFilter,
        after: Option<&WorkerId>,
        limit: u32,
    ) -> Result<Vec<WorkerView>, StoreError> {
        Ok(self.list_workers(filter, after, limit))
    }

    async fn worker(&self, worker: &WorkerId) -> Result<Option<WorkerView>, StoreError> {
        Ok(self.find_worker(worker))
    }

    async fn wish_worker(&self, wish: &WorkerWish) -> Result<WorkerWishOutcome, StoreError> {
        self.wish_one_worker(wish)
    }

    async fn create_customer(
        &self,
        customer: &CustomerRecord,
        actor: &AdminActor,
    ) -> Result<CustomerView, StoreError> {
        self.add_customer(customer, actor)
    }

    async fn customer(&self, customer: CustomerId) -> Result<Option<CustomerView>, StoreError> {
        Ok(self.lock().customer_view(customer))
    }

    async fn customers(&self, page: &Page) -> Result<Vec<CustomerView>, StoreError> {
        Ok(self.list_customers(page))
    }

    async fn patch_customer(
        &self,
        customer: CustomerId,
        patch: &CustomerPatch,
        upon: Revision,
        actor: &AdminActor,
    ) -> Result<PatchCustomer, StoreError> {
        self.change_customer(customer, patch, upon, actor)
    }

    async fn create_key(
        &self,
        key: &KeyRecord,
        actor: &AdminActor,
    ) -> Result<Option<KeyRow>, StoreError> {
        self.add_key(key, actor)
    }

    async fn keys(
        &self,
        customer: Option<CustomerId>,
        page: &Page,
    ) -> Result<Option<Vec<KeyRow>>, StoreError> {
        Ok(self.list_keys(customer, page))
    }

    async fn revoke_key(
        &self,
        key: KeyId,
        actor: &AdminActor,
    ) -> Result<Option<KeyRow>, StoreError> {
        Ok(self.end_key(key, actor))
    }

    async fn find_key(&self, secret_hash: &[u8; 32]) -> Result<Option<KeyRow>, StoreError> {
        let database = self.lock();
        let mut keys = database.shelf.keys.values();
        Ok(keys.find(|key| key.secret_hash == *secret_hash).cloned())
    }

    async fn record_key_use(&self, used: &[(KeyId, WallTime)]) -> Result<(), StoreError> {
        self.note_key_use(used);
        Ok(())
    }

    async fn admin_audit(
        &self,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AdminAuditRow>, StoreError> {
        Ok(self.list_admin_audit(after, limit))
    }

    async fn customer_stats(
        &self,
        customer: CustomerId,
        query: &StatsQuery,
    ) -> Result<Vec<StatsRow>, StoreError> {
        Ok(self.count(customer, query))
    }

    async fn retire(&self, what: &Retire, _limit: u32) -> Result<u64, StoreError> {
        Ok(self.remove_old(what))
    }
}

const fn timed<T>(value: T, database_time: WallTime) -> Timed<T> {
    Timed {
        value,
        database_time,
    }
}
