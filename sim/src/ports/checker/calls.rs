//! What callers asked of the API, and what they were told.

use super::{Checker, Seen};
use crate::{
    clock::Moment,
    model::store::Store as Model,
    ports::store::Database,
    properties::Observation,
    world::{ApiAnswer, ApiAsk, Call, Caller},
};
use niyanta_core::{
    batch::LeaderHalf,
    ids::{Attempt, CustomerId, PlacementClass, WishRevision, WorkloadId, WorkloadType},
    scheduling::AffinityRules,
    snapshot::WorkloadRow,
    time::{Duration, WallTime},
    workload::{AuditKind, Desired, OnLeaseLoss, Status},
};
use std::sync::Arc;

/// The label that tells which call made a workload.
pub const CALL_LABEL: &str = "call";

/// A call on its way.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Its number; a submission carries it as its label [`CALL_LABEL`].
    pub number: u64,
    caller: usize,
    ask: ApiAsk,
    begun: Moment,
    /// An earlier try of the same submission may still take effect.
    in_doubt: bool,
}

impl Asked {
    /// The same submission, tried again after an outcome that is not known.
    #[must_use]
    pub fn again(self, now: Moment) -> Self {
        Self {
            begun: now,
            in_doubt: true,
            ..self
        }
    }
}

/// The ask of a submission, of which nothing matters but whose it is: its id and its halves are the
/// API's and the store's to make.
#[must_use]
pub fn submission_of(customer: CustomerId, workload_type: WorkloadType) -> ApiAsk {
    let leader = LeaderHalf {
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
    };
    let row = WorkloadRow {
        id: WorkloadId(0),
        customer,
        workload_type,
        affinity: Arc::new(AffinityRules::default()),
        class: PlacementClass(0),
        priority: 0,
        max_retries: 0,
        timeout: Duration::ZERO,
        on_lease_loss: OnLeaseLoss::Stop,
        run_after: None,
        desired: Desired::Run,
        wish_revision: WishRevision::ZERO,
        leader,
        checkpoint: None,
        started_at: None,
    };
    ApiAsk::Submit {
        row: Box::new(row),
        key: None,
    }
}

impl Checker {
    /// A client calls.
    pub fn asked(&self, caller: usize, ask: ApiAsk) -> Asked {
        let begun = self.now();
        let mut seen = self.seen();
        seen.last_call += 1;
        Asked {
            number: seen.last_call,
            caller,
            ask,
            begun,
            in_doubt: false,
        }
    }

    /// A client was told.
    pub fn told(&self, asked: &Asked, answer: ApiAnswer) {
        let now = self.time.now();
        self.look(|database| {
            let mut seen = self.seen();
            seen.counts.calls += 1;
            seen.told(now, database.model(), asked, answer);
        });
    }

    /// A client does not know what became of its call.
    pub fn not_told(&self, asked: &Asked) {
        self.tell("client", &format!("call {} has no answer", asked.number));
        self.seen().counts.unknown_calls += 1;
    }

    /// A wish was acknowledged with this version: the revision that must stand for it.
    #[must_use]
    pub fn revision_of(
        &self,
        workload: WorkloadId,
        desired: Desired,
        version: u64,
    ) -> WishRevision {
        self.look(|database| revision(database.model(), workload, desired, version))
    }

    /// A customer's key was shown something of this customer.
    pub fn shown(&self, who: CustomerId, whose: CustomerId, what: &str) {
        if who != whose {
            self.violate("P18", format!("{who} is shown {what} of {whose}"));
        }
    }
}

impl Seen {
    fn told(&mut self, now: Moment, store: &Model, asked: &Asked, answer: ApiAnswer) {
        let is_submission = matches!(asked.ask, ApiAsk::Submit { .. });
        let mut call = Call::seen(
            asked.number,
            Caller::Client(asked.caller),
            asked.ask.clone(),
        );
        call.begun = asked.begun;
        call.is_unknown = asked.in_doubt;
        if is_submission && answer.denies() {
            if asked.in_doubt {
                // It denies this try alone.
                return;
            }
            call.made = self.made.get(&asked.number).copied();
            if call.made.is_none() {
                self.denied.insert(asked.number, call.clone());
            }
        }
        let call = &call;
        self.observe(now, store, &Observation::CallAnswered { call, answer });
    }

    /// A submission landed: it must not have been denied before.
    pub(super) fn landed(&mut self, now: Moment, database: &Database, workload: WorkloadId) {
        let label = database.label(workload, CALL_LABEL);
        let Some(number) = label.and_then(|label| label.parse().ok()) else {
            return;
        };
        self.made.insert(number, workload);
        if let Some(mut call) = self.denied.remove(&number) {
            call.made = Some(workload);
            let (call, answer) = (&call, ApiAnswer::Unavailable);
            let observation = Observation::CallAnswered { call, answer };
            self.observe(now, database.model(), &observation);
        }
    }
}

/// How many wishes stand in the audit up to the version that was told; one more than there are when
/// what was told does not stand there.
fn revision(store: &Model, id: WorkloadId, desired: Desired, version: u64) -> WishRevision {
    let Some(found) = store.workload(id) else {
        return WishRevision(u64::MAX);
    };
    let events = found.audit.iter().filter(|event| event.number <= version);
    let wishes: Vec<Desired> = events.filter_map(|event| wished(event.kind)).collect();
    let stands = wishes.last().copied().unwrap_or(Desired::Run);
    if found.version < version || stands != desired {
        return found.row.wish_revision.next();
    }
    WishRevision(wishes.len() as u64)
}

const fn wished(kind: AuditKind) -> Option<Desired> {
    match kind {
        AuditKind::PauseRequested => Some(Desired::Pause),
        AuditKind::CancelRequested => Some(Desired::Cancel),
        AuditKind::ResumeRequested => Some(Desired::Run),
        AuditKind::Created
        | AuditKind::Scheduled
        | AuditKind::Started
        | AuditKind::Paused
        | AuditKind::Redistributing
        | AuditKind::Requeued
        | AuditKind::Retrying
        | AuditKind::Completed
        | AuditKind::Failed
        | AuditKind::Cancelled => None,
    }
}
