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
    pub fn again(self) -> Self {
        Self {
            in_doubt: true,
            ..self
        }
    }

    /// What is seen of it; a submission names the workload that it made, once that is known.
    fn call(&self, made: Option<WorkloadId>) -> Call {
        let mut ask = self.ask.clone();
        if let (ApiAsk::Submit { row, .. }, Some(made)) = (&mut ask, made) {
            row.id = made;
        }
        Call::made_at(self.number, Caller::Client(self.caller), self.begun, ask)
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
        self.look(|database| {
            let mut seen = self.seen();
            seen.last_call += 1;
            let asked = Asked {
                number: seen.last_call,
                caller,
                ask,
                begun,
                in_doubt: false,
            };
            if matches!(asked.ask, ApiAsk::Submit { .. }) {
                seen.asked.insert(asked.number, asked.clone());
            }
            let call = &asked.call(None);
            seen.observe(begun, database.model(), &Observation::CallBegun { call });
            asked
        })
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
        let made = self.made.get(&asked.number).copied();
        let call = asked.call(made);
        if matches!(asked.ask, ApiAsk::Submit { .. }) && answer.denies() {
            if asked.in_doubt {
                // It denies this try alone.
                return;
            }
            if made.is_none() {
                self.denied.insert(asked.number);
            }
        }
        let observation = Observation::CallAnswered {
            call: &call,
            answer: &answer,
        };
        self.observe(now, store, &observation);
    }

    /// A submission landed: it must not have been denied before.
    pub(super) fn landed(&mut self, now: Moment, database: &Database, workload: WorkloadId) {
        let label = database.label(workload, CALL_LABEL);
        let Some(number) = label.and_then(|label| label.parse().ok()) else {
            return;
        };
        self.made.insert(number, workload);
        let Some(asked) = self.asked.remove(&number) else {
            return;
        };
        let call = &asked.call(Some(workload));
        let model = database.model();
        if self.denied.remove(&number) {
            let answer = &ApiAnswer::Unavailable;
            self.observe(now, model, &Observation::CallAnswered { call, answer });
        } else {
            // Until it is answered it may have been made, or not.
            self.observe(now, model, &Observation::CallBegun { call });
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
