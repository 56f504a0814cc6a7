//! A stage for one property: a plan, a database and what is known of both, fed by hand.

use super::super::{Observation, Property, View, ledger::Ledger, truth::Truth};
use crate::{
    clock::{Clock, Moment, WallClock},
    message::{Answered, Inbox, Said},
    model::store::{Change, CounterRow, Moved, Statement, Store, Submission, TakeLease},
    plan::{CustomerPlan, Plan},
    worker::Deed,
    world::{ApiAnswer, ApiAsk, Call, Caller},
};
use niyanta_core::{
    Reply, ReplyStatus,
    batch::{
        Actor, AuditDetails, AuditStep, Batch, LeaderHalf, WorkerRecord, WorkerWrite, WorkloadWrite,
    },
    fleet::WorkerStatus,
    ids::{
        AskId, Attempt, BatchNumber, CustomerId, Generation, Incarnation, MessageSequence,
        PlacementClass, WishRevision, WorkerId, WorkloadId, WorkloadType,
    },
    scheduling::AffinityRules,
    snapshot::{CustomerRow, WorkloadRow},
    time::{Duration, Timestamp, WallTime},
    workload::{AuditKind, Desired, OnLeaseLoss, Status},
};
use runtime::protocol::{self, WorkerOrigin, wire};
use std::sync::Arc;

/// The customer that most tests are about.
pub(super) const ALICE: CustomerId = CustomerId(1);
/// Another one.
pub(super) const BOB: CustomerId = CustomerId(2);
/// The first workload.
pub(super) const W: WorkloadId = WorkloadId(10);

/// Everything that a property may look at.
pub(super) struct Rig {
    pub(super) now: Moment,
    pub(super) plan: Plan,
    pub(super) store: Store,
    truth: Truth,
    ledger: Ledger,
    generation: Generation,
    number: BatchNumber,
}

impl Rig {
    /// Two customers with room for two, a leader of term 1, and nothing else.
    pub(super) fn new() -> Self {
        let mut plan = Plan::draw(1, None);
        for coordinator in &mut plan.coordinators {
            coordinator.clock = Clock {
                origin: 0,
                drift_ppm: 0,
            };
            coordinator.interval = Duration::from_secs(1);
            coordinator.load_limit = 1_000;
            coordinator.loss_limit = 2;
            coordinator.backoff_cap = Duration::from_secs(5);
        }
        plan.heal_at = Moment(u64::MAX / 2);
        plan.customers = [ALICE, BOB]
            .map(|id| CustomerPlan {
                id,
                weight: 1,
                max_running: 2,
                max_queued: 2,
            })
            .to_vec();
        let mut store = Store::new(WallClock::at_speed(0));
        for id in [ALICE, BOB] {
            let limits = CustomerRow {
                id,
                weight: 1,
                max_running: 2,
            };
            store.add_customer(CounterRow::new(limits, 2));
        }
        let mut rig = Self {
            now: Moment(1_000_000_000),
            plan,
            store,
            truth: Truth::default(),
            ledger: Ledger::default(),
            generation: Generation::ZERO,
            number: BatchNumber::ZERO,
        };
        rig.take_lease(1);
        rig
    }

    /// Time passes.
    pub(super) fn wait(&mut self, length: Duration) {
        self.now = self.now.plus(length);
    }

    /// The database's clock.
    pub(super) fn time(&self) -> WallTime {
        self.store.time(self.now)
    }

    /// Shows something to a property.
    pub(super) fn show<P: Property>(
        &mut self,
        property: &mut P,
        observation: &Observation<'_>,
    ) -> Result<(), String> {
        let Self {
            now,
            plan,
            store,
            truth,
            ledger,
            ..
        } = self;
        if let Observation::Committed { change } = observation {
            ledger.note(store, change);
        }
        let view = View {
            now: *now,
            store,
            truth,
            ledger,
            plan,
        };
        let found = property.observe(view, observation);
        self.truth.observe(self.now, observation);
        found
    }

    /// Shows commits.
    pub(super) fn show_changes<P: Property>(
        &mut self,
        property: &mut P,
        changes: &[Change],
    ) -> Result<(), String> {
        changes
            .iter()
            .try_for_each(|change| self.show(property, &Observation::Committed { change }))
    }

    /// Somebody takes the lease.
    pub(super) fn take_lease(&mut self, by: u32) -> Vec<Change> {
        let incarnation = leader(by);
        let take = TakeLease {
            ask: AskId(u64::from(by)),
            incarnation,
            above: Generation::ZERO,
            own: None,
            force: true,
            ttl: Duration::from_secs(10),
        };
        let _granted = self.store.execute(self.now, &Statement::TakeLease(take));
        self.generation = self.store.lease().generation;
        self.number = BatchNumber::ZERO;
        self.store.take_changes()
    }

    /// Submits a workload.
    pub(super) fn submit(&mut self, row: WorkloadRow, key: Option<u64>) -> Vec<Change> {
        let submission = Submission { row, key };
        let statement = Statement::Submit(Arc::new(submission));
        let _answer = self.store.execute(self.now, &statement);
        self.store.take_changes()
    }

    /// Lands a batch of the present term.
    pub(super) fn land(
        &mut self,
        workloads: Vec<WorkloadWrite>,
        workers: Vec<WorkerWrite>,
    ) -> Vec<Change> {
        self.number = self.number.next();
        let batch = Batch {
            generation: self.generation,
            incarnation: self.store.lease().incarnation.clone(),
            number: self.number,
            workloads,
            workers,
            counters: Vec::new(),
        };
        let statement = Statement::Persist(Arc::new(batch));
        let _outcome = self.store.execute(self.now, &statement);
        self.store.take_changes()
    }

    /// The present batch, as if it had landed, whatever the database would say.
    pub(super) fn forged(
        &self,
        generation: u64,
        number: u64,
        workloads: Vec<WorkloadWrite>,
    ) -> Change {
        let moved = workloads
            .iter()
            .filter_map(|write| {
                let found = self.store.workload(write.id)?;
                Some(Moved {
                    workload: write.id,
                    before: found.row.leader.clone(),
                    before_version: found.version,
                })
            })
            .collect();
        Change::Batch {
            batch: Arc::new(Batch {
                generation: Generation(generation),
                incarnation: leader(1),
                number: BatchNumber(number),
                workloads,
                workers: Vec::new(),
                counters: Vec::new(),
            }),
            time: self.time(),
            moved,
        }
    }

    /// A write that does these things to a workload, one after the other.
    pub(super) fn write(&self, id: WorkloadId, kinds: &[AuditKind]) -> WorkloadWrite {
        let found = self.store.workload(id);
        let before = found.map(|found| found.row.leader.clone());
        let Some(before) = before else {
            panic!("{id} is not there");
        };
        let customer = found.map_or(ALICE, |found| found.row.customer);
        let mut to = before.clone();
        let mut steps = Vec::new();
        for kind in kinds {
            if *kind == AuditKind::Scheduled {
                to.attempt = to.attempt.next();
                to.worker = Some((worker("one"), incarnation("one-1")));
            }
            to.status = super::super::legal_moves::reached(*kind);
            if !to.status.has_open_attempt() {
                to.worker = None;
            }
            steps.push(AuditStep {
                kind: *kind,
                actor: Actor::Coordinator,
                attempt: to.attempt,
                details: AuditDetails::None,
            });
        }
        WorkloadWrite {
            id,
            customer,
            from_status: before.status,
            from_attempt: before.attempt,
            stamp_scheduled: kinds.contains(&AuditKind::Scheduled),
            stamp_started: kinds.contains(&AuditKind::Started),
            stamp_completed: to.status.is_terminal(),
            to,
            steps,
        }
    }

    /// Submits `id`, registers worker `one` with so much room, and assigns it.
    pub(super) fn assigned<P: Property>(&mut self, property: &mut P, id: WorkloadId) {
        let submitted = self.submit(row(id, ALICE), None);
        assert_eq!(self.show_changes(property, &submitted), Ok(()));
        let registered = self.land(vec![], vec![WorkerWrite::Put(record("one", 2))]);
        assert_eq!(self.show_changes(property, &registered), Ok(()));
        let write = self.write(id, &[AuditKind::Scheduled, AuditKind::Started]);
        let assigned = self.land(vec![write], vec![]);
        assert_eq!(self.show_changes(property, &assigned), Ok(()));
    }

    /// A worker does something.
    pub(super) fn worker_does<P: Property>(
        &mut self,
        property: &mut P,
        place: usize,
        deed: &Deed,
    ) -> Result<(), String> {
        let incarnation = incarnation(if place == 0 { "one-1" } else { "two-1" });
        self.show(
            property,
            &Observation::Worker {
                place,
                incarnation: &incarnation,
                clock: CLOCK,
                deed,
            },
        )
    }

    /// A worker's lease is renewed for so long, counted from now.
    pub(super) fn renew<P: Property>(
        &mut self,
        property: &mut P,
        place: usize,
        sequence: u64,
        lease: Duration,
    ) {
        let said = heartbeat(place, sequence, 1);
        let said = Deed::Said(Arc::new(said));
        assert_eq!(self.worker_does(property, place, &said), Ok(()));
        let answered = Deed::HeardAnswer(Arc::new(answer(place, sequence, 1, lease)));
        assert_eq!(self.worker_does(property, place, &answered), Ok(()));
    }
}

/// Every clock on the stage.
pub(super) const CLOCK: Clock = Clock {
    origin: 0,
    drift_ppm: 0,
};

/// A leader's process.
pub(super) fn leader(number: u32) -> Incarnation {
    incarnation(&format!("c0-{number}"))
}

pub(super) fn incarnation(name: &str) -> Incarnation {
    name.parse().unwrap()
}

pub(super) fn worker(name: &str) -> WorkerId {
    name.parse().unwrap()
}

pub(super) fn kind(name: &str) -> WorkloadType {
    name.parse().unwrap()
}

/// A healthy worker that can run `hash`.
pub(super) fn record(name: &str, capacity: u32) -> WorkerRecord {
    WorkerRecord {
        worker: worker(name),
        incarnation: incarnation(&format!("{name}-1")),
        status: WorkerStatus::Healthy,
        capabilities: [kind("hash")].into_iter().collect(),
        capacity,
        tags: niyanta_core::scheduling::Tags::default(),
        version: "1".into(),
        longest_lease: Duration::from_secs(10),
        wish_seen: WishRevision::ZERO,
        stamp_registered: true,
    }
}

/// A workload as it is submitted.
pub(super) fn row(id: WorkloadId, customer: CustomerId) -> WorkloadRow {
    WorkloadRow {
        id,
        customer,
        workload_type: kind("hash"),
        affinity: Arc::new(AffinityRules::default()),
        class: PlacementClass(1),
        priority: 10,
        max_retries: 1,
        timeout: Duration::from_secs(60),
        on_lease_loss: OnLeaseLoss::Stop,
        run_after: None,
        desired: Desired::Run,
        wish_revision: WishRevision::ZERO,
        leader: LeaderHalf {
            status: Status::Pending,
            attempt: Attempt::ZERO,
            worker: None,
            retry_count: 0,
            loss_count: 0,
            eligible_at: WallTime(0),
            sort_key: 0,
            backoff_until: None,
            wish_seen: WishRevision::ZERO,
            stopping: None,
            error_type: None,
        },
        checkpoint: None,
        started_at: None,
    }
}

/// A heartbeat as it travels.
pub(super) fn heartbeat(place: usize, sequence: u64, seen: u64) -> Said {
    let name = if place == 0 { "one" } else { "two" };
    let origin = WorkerOrigin {
        worker: &worker(name),
        incarnation: &incarnation(&format!("{name}-1")),
        generation_seen: Generation(seen),
        sequence,
        now: WallTime(0),
    };
    let body = wire::Heartbeat {
        status: "HEALTHY".to_owned(),
        running: Vec::new(),
    };
    let bytes = origin.encode("worker.heartbeat", body);
    Said {
        inbox: Inbox { place, epoch: 1 },
        is_log: false,
        read: protocol::decode(&bytes),
        bytes,
    }
}

/// The answer to it.
pub(super) fn answer(place: usize, sequence: u64, generation: u64, lease: Duration) -> Answered {
    let name = if place == 0 { "one-1" } else { "two-1" };
    Answered {
        inbox: Inbox { place, epoch: 1 },
        incarnation: Some(incarnation(name)),
        sequence: MessageSequence(sequence),
        generation: Some(Generation(generation)),
        reply: Some(Reply {
            status: ReplyStatus::Ok,
            lease,
            heartbeat: lease / 4,
            stop: Vec::new(),
        }),
        bytes: bytes::Bytes::new(),
    }
}

/// A child that begins.
pub(super) const fn began(workload: WorkloadId, attempt: u32) -> Deed {
    Deed::Began {
        workload,
        attempt: Attempt(attempt),
        outlives_lease: false,
    }
}

/// A call of a customer's client, made at this moment.
pub(super) fn call(number: u64, client: usize, begun: Moment, ask: ApiAsk) -> Call {
    Call::made_at(number, Caller::Client(client), begun, ask)
}

/// Shows that a call is made and answered.
pub(super) fn told<P: Property>(
    rig: &mut Rig,
    property: &mut P,
    call: &Call,
    answer: &ApiAnswer,
) -> Result<(), String> {
    rig.show(property, &Observation::CallBegun { call })?;
    rig.wait(Duration::from_millis(1));
    rig.show(property, &Observation::CallAnswered { call, answer })?;
    rig.wait(Duration::from_millis(1));
    Ok(())
}

/// A local moment.
pub(super) const fn local(rig: &Rig) -> Timestamp {
    Timestamp(rig.now.0)
}
