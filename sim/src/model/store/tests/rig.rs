//! Several connections to one database, each executing its statements step by step.

use super::super::{
    Answer, Change, CounterRow, Pace, RenewLease, RowKey, SessionId, SqlError, Standing, Statement,
    Store, Submission, TakeLease, Turn, Wish,
};
use crate::clock::{Moment, WallClock};
use niyanta_core::{
    batch::{Actor, AuditDetails, AuditStep, Batch, CounterWrite, LeaderHalf, WorkloadWrite},
    ids::{
        AskId, Attempt, BatchNumber, CustomerId, Generation, Incarnation, PlacementClass,
        WishRevision, WorkloadId,
    },
    scheduling::AffinityRules,
    snapshot::{CustomerRow, WorkloadRow},
    time::{Duration, WallTime},
    workload::{AuditKind, Desired, OnLeaseLoss, Status},
};
use std::sync::Arc;

/// The customer of every workload.
pub(super) const CUSTOMER: CustomerId = CustomerId(1);

/// One database and true time.
pub(super) struct Rig {
    pub(super) store: Store,
    pub(super) now: Moment,
}

impl Rig {
    /// Node `a` leads term 1; three workloads wait.
    pub(super) fn new() -> Self {
        Self::with_room_for(4)
    }

    /// The same, and the customer's queue has room for so many.
    pub(super) fn with_room_for(queued: u64) -> Self {
        let clock = WallClock::at_speed(0);
        let mut store = Store::new(clock);
        let limits = CustomerRow {
            id: CUSTOMER,
            weight: 1,
            max_running: 10,
        };
        store.add_customer(CounterRow::new(limits, queued));
        let mut rig = Self {
            store,
            now: Moment(1_000_000_000),
        };
        for id in 1..=3 {
            rig.does(submit(id, None)).unwrap();
        }
        rig.does(take("a", None)).unwrap();
        rig
    }

    pub(super) fn later(&mut self, millis: u64) {
        self.now = self.now.plus(Duration::from_millis(millis));
    }

    pub(super) fn open(&mut self) -> SessionId {
        self.store.open().unwrap()
    }

    /// A connection with a statement that is executed, and lacks only the end of its message.
    pub(super) fn parks(&mut self, statement: Statement) -> SessionId {
        self.sends(statement, Pace::NoSync)
    }

    /// A connection with a statement that has gone as far as it may.
    pub(super) fn sends(&mut self, statement: Statement, pace: Pace) -> SessionId {
        let id = self.open();
        self.store.receive(self.now, id, Arc::new(statement), pace);
        id
    }

    /// A connection whose statement waits for a row.
    pub(super) fn waits(&mut self, statement: Statement) -> SessionId {
        let id = self.sends(statement, Pace::Whole);
        assert_eq!(self.store.standing(id), Standing::Waiting);
        id
    }

    /// A statement from its beginning to its end.
    pub(super) fn does(&mut self, statement: Statement) -> Result<Answer, SqlError> {
        let id = self.sends(statement, Pace::Whole);
        let reply = self.reply(id);
        self.store.close(id);
        reply
    }

    /// The end of the message comes: the statement commits.
    pub(super) fn commits(&mut self, id: SessionId) -> Result<Answer, SqlError> {
        self.store.proceed(self.now, id, Pace::Whole);
        self.reply(id)
    }

    /// The statement got the row that it waited for, and goes on to its end.
    pub(super) fn goes_on(&mut self, id: SessionId) -> Result<Answer, SqlError> {
        assert_eq!(self.store.standing(id), Standing::Granted);
        self.commits(id)
    }

    pub(super) fn reply(&mut self, id: SessionId) -> Result<Answer, SqlError> {
        let mut ended = None;
        while let Some(one) = self.store.next_news() {
            if let Turn::Ended { reply, .. } = one.what
                && one.session == id
            {
                ended = Some(reply);
            }
        }
        ended.expect("the statement has ended")
    }

    /// Everything that a fenced statement must leave as it is.
    pub(super) fn state(&self) -> String {
        let rows: Vec<_> = self.store.workloads().collect();
        format!("{:?} {:?} {rows:?}", self.store.fence(), self.store.lease())
    }

    pub(super) fn batches(&mut self) -> usize {
        let changes = self.store.take_changes();
        let batches = changes
            .iter()
            .filter(|change| matches!(change, Change::Batch { .. }));
        batches.count()
    }

    pub(super) fn status(&self, id: u128) -> (Status, Attempt, u64) {
        let found = self.store.workload(WorkloadId(id)).unwrap();
        let leader = &found.row.leader;
        (leader.status, leader.attempt, found.version)
    }
}

pub(super) fn name(of: &str) -> Incarnation {
    of.parse().unwrap()
}

pub(super) fn take(who: &str, own: Option<u64>) -> Statement {
    Statement::TakeLease(TakeLease {
        ask: AskId(1),
        incarnation: name(who),
        above: Generation::ZERO,
        own: own.map(Generation),
        force: false,
        ttl: Duration::from_secs(3),
    })
}

pub(super) fn renew(who: &str, generation: u64) -> Statement {
    Statement::RenewLease(RenewLease {
        ask: AskId(2),
        incarnation: name(who),
        generation: Generation(generation),
        ttl: Duration::from_secs(3),
    })
}

pub(super) fn submit(id: u128, key: Option<u64>) -> Statement {
    let row = WorkloadRow {
        id: WorkloadId(id),
        customer: CUSTOMER,
        workload_type: "hash".parse().unwrap(),
        affinity: Arc::new(AffinityRules::default()),
        class: PlacementClass(1),
        priority: 10,
        max_retries: 1,
        timeout: Duration::from_secs(60),
        on_lease_loss: OnLeaseLoss::Stop,
        run_after: None,
        desired: Desired::Run,
        wish_revision: WishRevision::ZERO,
        leader: half(Status::Pending, 0),
        checkpoint: None,
        started_at: None,
    };
    Statement::Submit(Arc::new(Submission { row, key }))
}

pub(super) fn wish(id: u128, desired: Desired) -> Statement {
    wish_upon(id, desired, 0)
}

pub(super) fn wish_upon(id: u128, desired: Desired, upon: u64) -> Statement {
    Statement::Wish(Wish {
        customer: CUSTOMER,
        workload: WorkloadId(id),
        desired,
        upon: WishRevision(upon),
    })
}

pub(super) fn hold(row: RowKey) -> Statement {
    Statement::Hold(vec![row])
}

fn half(status: Status, attempt: u32) -> LeaderHalf {
    LeaderHalf {
        status,
        attempt: Attempt(attempt),
        worker: None,
        retry_count: 0,
        loss_count: 0,
        eligible_at: WallTime(0),
        sort_key: 0,
        backoff_until: None,
        wish_seen: WishRevision::ZERO,
        stopping: None,
        error_type: None,
    }
}

/// A batch that cancels these workloads, as they waited.
pub(super) fn batch(who: &str, generation: u64, number: u64, ids: &[u128]) -> Statement {
    let step = AuditStep {
        kind: AuditKind::Cancelled,
        actor: Actor::Coordinator,
        attempt: Attempt::ZERO,
        details: AuditDetails::None,
    };
    let workloads = ids.iter().map(|id| WorkloadWrite {
        id: WorkloadId(*id),
        customer: CUSTOMER,
        from_status: Status::Pending,
        from_attempt: Attempt::ZERO,
        to: half(Status::Cancelled, 0),
        stamp_scheduled: false,
        stamp_started: false,
        stamp_completed: true,
        steps: vec![step.clone()],
    });
    Statement::Persist(Arc::new(Batch {
        generation: Generation(generation),
        incarnation: name(who),
        number: BatchNumber(number),
        workloads: workloads.collect(),
        workers: Vec::new(),
        counters: vec![CounterWrite {
            customer: CUSTOMER,
            left_queue: ids.len() as u64,
            running: 0,
        }],
    }))
}
