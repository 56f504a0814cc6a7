//! A store with a customer and a workload type, and the values that tests send to it.
//!
//! Knows no adapter: which stores there are is told by `stores`, so that the models of the simulator
//! are tried with the same suite.

use niyanta_core::{
    batch::{
        Actor, AuditDetails, AuditStep, Batch, CounterWrite, LeaderHalf, WorkerRecord, WorkerWrite,
        WorkloadWrite,
    },
    fleet::WorkerStatus,
    ids::{
        Attempt, BatchNumber, CustomerId, Generation, Incarnation, PlacementClass, WishRevision,
        WorkerId, WorkloadId,
    },
    scheduling::AffinityRules,
    snapshot::{Load, WorkloadRow},
    time::Duration,
    workload::{AuditKind, OnLeaseLoss, Status},
};
use runtime::store::{
    AdminActor, Commit, ConfigId, ConfigRecord, CustomerPatch, CustomerRecord, CustomerView, KeyId,
    LeaseAnswer, LimitOverrides, Page, PatchCustomer, Revision, Store, Submission, SubmitOutcome,
    TakeLease, Tier, WorkloadView,
};
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc};

pub(crate) struct Rig {
    pub(crate) url: String,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) customer: CustomerId,
    pub(crate) config: ConfigId,
    _scratch: Option<Box<dyn std::any::Any + Send>>,
}

pub(crate) fn incarnation(name: &str) -> Incarnation {
    name.parse().unwrap()
}

pub(crate) fn worker(name: &str) -> WorkerId {
    name.parse().unwrap()
}

pub(crate) fn id(number: u128) -> WorkloadId {
    WorkloadId(number)
}

pub(crate) fn page(limit: u32) -> Page {
    Page {
        after: None,
        limit,
        ascending: true,
        until: None,
    }
}

impl Rig {
    /// A rig over an empty store. Whatever must live as long as the rig is `scratch`.
    pub(crate) async fn over(
        url: String,
        store: Arc<dyn Store>,
        scratch: Option<Box<dyn std::any::Any + Send>>,
    ) -> Self {
        let customer = CustomerId(7);
        let record = CustomerRecord {
            id: customer,
            name: String::from("seven"),
            tier: Tier::Standard,
            overrides: LimitOverrides::default(),
        };
        store
            .create_customer(&record, &AdminActor::CommandLine)
            .await
            .unwrap();
        let config = ConfigId(70);
        store
            .create_config(customer, &config_record(config, "sleep"), Revision::ZERO)
            .await
            .unwrap();
        Self {
            url,
            store,
            customer,
            config,
            _scratch: scratch,
        }
    }

    pub(crate) fn submission(&self, number: u128) -> Submission {
        submission(self.customer, number)
    }

    /// Submits workloads 1 to `count`.
    pub(crate) async fn submit(&self, count: u128) {
        for number in 1..=count {
            let outcome = self.submit_one(self.submission(number)).await;
            assert!(matches!(outcome, SubmitOutcome::Created(_)), "{outcome:?}");
        }
    }

    /// Changes the customer, as it is.
    pub(crate) async fn patch(&self, patch: &CustomerPatch) -> CustomerView {
        let upon = self.store.customer(self.customer).await.unwrap().unwrap();
        let actor = AdminActor::Key(KeyId(1));
        let sent = self
            .store
            .patch_customer(self.customer, patch, upon.revision, &actor);
        match sent.await.unwrap() {
            PatchCustomer::Patched(view) => *view,
            it @ (PatchCustomer::Overtaken(_) | PatchCustomer::NotFound) => panic!("{it:?}"),
        }
    }

    pub(crate) async fn submit_one(&self, submission: Submission) -> SubmitOutcome {
        self.store
            .submit(&[submission])
            .await
            .pop()
            .unwrap()
            .unwrap()
    }

    pub(crate) async fn view(&self, number: u128) -> WorkloadView {
        self.store
            .workload(self.customer, id(number))
            .await
            .unwrap()
            .unwrap()
    }

    pub(crate) async fn row(&self, number: u128) -> WorkloadRow {
        let what = Load::Workloads(vec![id(number)]);
        self.store
            .load(&what, 10)
            .await
            .unwrap()
            .value
            .workloads
            .pop()
            .unwrap()
    }

    pub(crate) async fn lead(&self) -> Generation {
        let answer = self.store.take_lease(take("me")).await.unwrap();
        match answer.value {
            LeaseAnswer::Taken(generation) => generation,
            LeaseAnswer::Held(row) => panic!("held: {row:?}"),
        }
    }

    /// Assigns these workloads to worker `w1`, in batch `number`.
    pub(crate) async fn assign(&self, generation: Generation, number: u64, ids: &[u128]) {
        let batch = self.assignment(generation, number, ids).await;
        assert_eq!(
            self.store.commit(&Arc::new(batch)).await.unwrap(),
            Commit::Applied
        );
    }

    pub(crate) async fn assignment(
        &self,
        generation: Generation,
        number: u64,
        ids: &[u128],
    ) -> Batch {
        let mut batch = batch(generation, number);
        for number in ids {
            let row = self.row(*number).await;
            batch.workloads.push(assigned(&row));
        }
        batch.counters.push(CounterWrite {
            customer: self.customer,
            left_queue: ids.len() as u64,
            running: i64::try_from(ids.len()).unwrap(),
        });
        batch
    }

    /// Asserts that a workload's audit is 1, 2, 3 … version, and gives the kinds.
    pub(crate) async fn dense_audit(&self, number: u128) -> Vec<AuditKind> {
        let version = self.view(number).await.version;
        let events = self
            .store
            .audit(self.customer, id(number), 0, 10_000)
            .await
            .unwrap()
            .unwrap();
        let numbers: Vec<i64> = events.iter().map(|event| event.sequence).collect();
        assert_eq!(numbers, (1..=version).collect::<Vec<_>>());
        events.into_iter().map(|event| event.kind).collect()
    }
}

pub(crate) fn config_record(id: ConfigId, workload_type: &str) -> ConfigRecord {
    ConfigRecord {
        id,
        workload_type: workload_type.parse().unwrap(),
        description: Some(String::from("waits")),
        config_json: json!({ "a": [1, 2.5, "x"] }),
        resource_limits: json!({ "cpu_cores": null, "memory_mb": 12, "disk_mb": null }),
        checkpoint_interval_sec: 30,
        max_retries: 3,
        timeout_seconds: 3600,
        on_lease_loss: OnLeaseLoss::Stop,
    }
}

pub(crate) fn submission(customer: CustomerId, number: u128) -> Submission {
    Submission {
        id: id(number),
        customer,
        actor: KeyId(9),
        idempotency: None,
        workload_type: "sleep".parse().unwrap(),
        input_params: json!({ "seconds": number.to_string() }),
        priority: 10,
        affinity: AffinityRules::default(),
        affinity_rules: None,
        class: PlacementClass(5),
        timeout_seconds: None,
        max_retries: None,
        labels: BTreeMap::new(),
        run_after: None,
    }
}

pub(crate) fn take(name: &str) -> TakeLease {
    TakeLease {
        holder: format!("host of {name}"),
        incarnation: incarnation(name),
        above: Generation(0),
        own: None,
        force: false,
        ttl: Duration::from_secs(10),
    }
}

pub(crate) fn batch(generation: Generation, number: u64) -> Batch {
    Batch {
        generation,
        incarnation: incarnation("me"),
        number: BatchNumber(number),
        workloads: Vec::new(),
        workers: Vec::new(),
        counters: Vec::new(),
    }
}

/// The write that assigns a waiting workload to worker `w1`.
pub(crate) fn assigned(row: &WorkloadRow) -> WorkloadWrite {
    let who = (worker("w1"), incarnation("w1.1"));
    let attempt = row.leader.attempt.next();
    let details = AuditDetails::Assigned {
        worker: who.0.clone(),
        incarnation: who.1.clone(),
        checkpoint: row.checkpoint,
    };
    let to = LeaderHalf {
        status: Status::Scheduled,
        attempt,
        worker: Some(who),
        ..row.leader.clone()
    };
    WorkloadWrite {
        id: row.id,
        customer: row.customer,
        from_status: row.leader.status,
        from_attempt: row.leader.attempt,
        to,
        stamp_scheduled: true,
        stamp_started: false,
        stamp_completed: false,
        steps: vec![step(AuditKind::Scheduled, attempt, details)],
    }
}

pub(crate) fn step(kind: AuditKind, attempt: Attempt, details: AuditDetails) -> AuditStep {
    AuditStep {
        kind,
        actor: Actor::Coordinator,
        attempt,
        details,
    }
}

/// The write that ends a workload's open attempt with this status.
pub(crate) fn ended(row: &WorkloadRow, status: Status, kind: AuditKind) -> WorkloadWrite {
    let attempt = row.leader.attempt;
    WorkloadWrite {
        id: row.id,
        customer: row.customer,
        from_status: row.leader.status,
        from_attempt: attempt,
        to: LeaderHalf {
            status,
            worker: None,
            ..row.leader.clone()
        },
        stamp_scheduled: false,
        stamp_started: false,
        stamp_completed: status.is_terminal(),
        steps: vec![step(kind, attempt, AuditDetails::None)],
    }
}

pub(crate) fn put_worker(name: &str, incarnation_name: &str) -> WorkerWrite {
    WorkerWrite::Put(WorkerRecord {
        worker: worker(name),
        incarnation: incarnation(incarnation_name),
        status: WorkerStatus::Healthy,
        capabilities: ["sleep".parse().unwrap(), "exec".parse().unwrap()].into(),
        capacity: 4,
        tags: [(Arc::from("zone"), Arc::from("a"))].into(),
        version: Arc::from("1.0"),
        longest_lease: Duration::from_secs(60),
        wish_seen: WishRevision(0),
        stamp_registered: true,
    })
}
