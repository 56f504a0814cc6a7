//! The API's half of a coordinator, and the operators who call it.
//!
//! Ids are made before the statement. After an unknown outcome the same statement is sent again
//! until the call's deadline; once any sending had an unknown outcome the answer is success or 504.

use super::{Inbound, Occurrence, World};
use crate::{
    clock::Moment,
    message::{Address, Message},
    model::store::{
        Answer, Failure, Statement, Submission, SubmitAnswer, Wish, WishAnswer, WishWorker,
        WorkerWishAnswer,
    },
    picture::Arrow,
    plan::Operation,
    properties::Observation,
    story::{named, plain},
};
use niyanta_core::{
    Event,
    fleet::WorkerDesired,
    ids::{CustomerId, WishRevision, WorkerId, WorkloadId},
    snapshot::WorkloadRow,
    time::Duration,
    workload::{Desired, Status},
};
use runtime::http::pursuit::{Next, Pursuit, Showed};
use sim_probes::{Bug, is_planted};
use std::{fmt, sync::Arc};

/// A call to the API.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its number.
    pub number: u64,
    /// Who calls.
    pub caller: Caller,
    /// What is asked.
    pub ask: ApiAsk,
    /// The workload that a submission makes if it makes one.
    pub made: Option<WorkloadId>,
    /// It is about what is another customer's.
    pub trespasses: bool,
    /// A sending of its statement had an unknown outcome.
    pub in_doubt: bool,
    /// When it was made.
    pub begun: Moment,
    /// When a coordinator began to serve it.
    pub(super) served: Moment,
    /// The production's reckoning of its outcome.
    pub(super) pursuit: Pursuit,
    pub(super) statement: Option<Statement>,
}

impl Call {
    /// A call that nobody serves yet.
    #[must_use]
    pub fn made_at(number: u64, caller: Caller, begun: Moment, ask: ApiAsk) -> Self {
        Self {
            number,
            caller,
            ask,
            made: None,
            trespasses: false,
            in_doubt: false,
            begun,
            served: begun,
            pursuit: Pursuit::within(CALL_PATIENCE),
            statement: None,
        }
    }

    /// It changes nothing.
    #[must_use]
    pub const fn is_read(&self) -> bool {
        matches!(self.ask, ApiAsk::Get { .. } | ApiAsk::List { .. })
    }
}

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// A customer's client.
    Client(usize),
    /// An operator.
    Operator(Operation),
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(customer) => write!(f, "customer{customer}"),
            Self::Operator(_) => f.write_str("operators"),
        }
    }
}

/// What is asked of the API.
#[derive(Debug, Clone)]
pub enum ApiAsk {
    /// Submit a workload.
    Submit {
        /// What is written if it is taken; its id is made before.
        row: Box<WorkloadRow>,
        /// `Idempotency-Key`.
        key: Option<u64>,
    },
    /// Cancel, pause or resume.
    Wish {
        /// Whose.
        customer: CustomerId,
        /// Which.
        workload: WorkloadId,
        /// What.
        desired: Desired,
    },
    /// Read.
    Get {
        /// Whose.
        customer: CustomerId,
        /// Which.
        workload: WorkloadId,
    },
    /// Read all that a customer has, the newest first.
    List {
        /// Whose.
        customer: CustomerId,
    },
    /// Change what a customer may have.
    ChangeLimits {
        /// Whose.
        customer: CustomerId,
        /// Most open attempts.
        max_running: u32,
        /// Most workloads in the queue.
        max_queued: u64,
    },
    /// Drain, undrain or remove.
    WishWorker {
        /// Which.
        worker: WorkerId,
        /// What.
        desired: WorkerDesired,
        /// `deadline_seconds`.
        deadline: Option<Duration>,
    },
}

/// What the API answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiAnswer {
    /// 202: this workload is there.
    Submitted(WorkloadId),
    /// 200 or 202: the wish is recorded under this revision.
    Wished {
        /// Which revision stands for it.
        revision: WishRevision,
        /// The workload's version.
        version: u64,
    },
    /// 200: the workload's status, wish and version.
    Got(Status, Desired, u64),
    /// 200: workloads and their versions.
    Listed(Vec<(WorkloadId, u64)>),
    /// 200: the limits stand.
    LimitsChanged,
    /// 202.
    WorkerWished,
    /// 429.
    QueueFull,
    /// 409.
    Conflict,
    /// 404.
    NotFound,
    /// 503: certainly not done.
    Unavailable,
    /// 504: unknown.
    TimedOut,
}

impl ApiAnswer {
    /// It says that nothing was, or will be, done.
    #[must_use]
    pub const fn denies(&self) -> bool {
        matches!(
            self,
            Self::QueueFull | Self::Conflict | Self::NotFound | Self::Unavailable
        )
    }
}

impl World {
    pub(super) fn receive_call(&mut self, place: usize, call: Call) {
        let epoch = self.nodes[place].epoch;
        if self.nodes[place].process.is_some() {
            self.reach_node(place, epoch, Inbound::Call(Box::new(call)));
        } else {
            self.tell_caller(&call, None);
        }
    }

    pub(super) fn begin_call(&mut self, place: usize, mut call: Call) {
        let statement = match &call.ask {
            ApiAsk::Submit { row, key } => {
                call.made = Some(row.id);
                let row = WorkloadRow::clone(row);
                Statement::Submit(Arc::new(Submission { row, key: *key }))
            }
            ApiAsk::Wish {
                customer,
                workload,
                desired,
            } => Statement::Wish(Wish {
                customer: *customer,
                workload: *workload,
                desired: *desired,
                upon: self.wished(*workload),
            }),
            ApiAsk::Get { customer, workload } => Statement::Get {
                customer: *customer,
                workload: *workload,
            },
            ApiAsk::List { customer } => Statement::List {
                customer: *customer,
            },
            ApiAsk::ChangeLimits {
                customer,
                max_running,
                max_queued,
            } => Statement::ChangeLimits {
                customer: *customer,
                max_running: *max_running,
                max_queued: *max_queued,
            },
            ApiAsk::WishWorker {
                worker,
                desired,
                deadline,
            } => Statement::WishWorker(WishWorker {
                worker: worker.clone(),
                desired: *desired,
                upon: self.wished_of(worker),
                deadline: *deadline,
            }),
        };
        call.statement = Some(statement.clone());
        call.served = self.now;
        let number = call.number;
        let early = call.made.filter(|_| is_planted(Bug::AcknowledgedUnwritten));
        let Some(process) = self.nodes[place].awake() else {
            return;
        };
        process.calls.insert(number, call);
        if let Some(made) = early {
            self.finish_call(place, number, Some(ApiAnswer::Submitted(made)));
        }
        let purpose = super::operations::Purpose::Call(number);
        self.ask(place, statement, purpose, CALL_STATEMENT);
    }

    pub(super) fn retry_call(&mut self, place: usize, epoch: u32, number: u64) {
        if self.nodes[place].epoch != epoch {
            return;
        }
        let Some(process) = &self.nodes[place].process else {
            return;
        };
        if let Some(until) = process.paused_until {
            let call = number;
            self.at(until, Occurrence::Retry { place, epoch, call });
            return;
        }
        let Some(statement) = process
            .calls
            .get(&number)
            .and_then(|call| call.statement.clone())
        else {
            return;
        };
        let purpose = super::operations::Purpose::Call(number);
        self.ask(place, statement, purpose, CALL_STATEMENT);
    }

    pub(super) fn continue_call(
        &mut self,
        place: usize,
        number: u64,
        outcome: Result<Answer, Failure>,
    ) {
        if self.made_anew(place, number, &outcome) {
            return;
        }
        let now = self.now;
        let hasty = is_planted(Bug::UnknownIsFailure);
        let epoch = self.nodes[place].epoch;
        let Some(process) = self.nodes[place].awake() else {
            return;
        };
        let Some(call) = process.calls.get_mut(&number) else {
            return;
        };
        let not_sent = matches!(outcome, Err(Failure::Unavailable | Failure::LockTimeout));
        let said = outcome.ok().and_then(spoken);
        let showed = match &said {
            Some(answer) if answer.denies() && !call.is_read() => Showed::Refusal,
            Some(_) => Showed::Success,
            // A read that has no answer has done nothing.
            None if not_sent || hasty || call.is_read() => Showed::NotDone,
            None => Showed::Doubt,
        };
        call.in_doubt |= showed == Showed::Doubt;
        if showed == Showed::Doubt
            && let Some(made) = call.made.filter(|_| is_planted(Bug::UnknownIsSuccess))
        {
            return self.finish_call(place, number, Some(ApiAnswer::Submitted(made)));
        }
        let elapsed = now.since(call.served);
        match (call.pursuit.hear(elapsed, showed), said) {
            (Next::SendAgain(_), _) if hasty => {
                self.finish_call(place, number, Some(ApiAnswer::Unavailable));
            }
            (Next::SendAgain(pause), _) => {
                let call = number;
                self.after(pause, Occurrence::Retry { place, epoch, call });
            }
            (Next::AnswerIt, Some(answer)) => self.finish_call(place, number, Some(answer)),
            (Next::AnswerUnavailable, _) => {
                self.finish_call(place, number, Some(ApiAnswer::Unavailable));
            }
            (Next::AnswerUnknown | Next::AnswerIt, _) => {
                self.finish_call(place, number, Some(ApiAnswer::TimedOut));
            }
        }
    }

    pub(super) fn finish_call(&mut self, place: usize, number: u64, answer: Option<ApiAnswer>) {
        let Some(process) = &mut self.nodes[place].process else {
            return;
        };
        let Some(call) = process.calls.remove(&number) else {
            return;
        };
        if let Some(answer) = &answer {
            let now = self.now;
            self.trace.draw(|picture| {
                picture.arrow(Arrow {
                    from: format!("c{place}"),
                    to: call.caller.to_string(),
                    sent: now,
                    arrives: Some(now.plus(Duration::from_millis(1))),
                    text: named(&crate::story::api_answer(answer)),
                });
            });
            self.trace.tell(now, Address::Coordinator(place), || {
                let words = crate::story::api_answer(answer);
                format!("answers call {number}: {words}")
            });
            self.observe(&Observation::CallAnswered {
                call: &call,
                answer,
            });
        }
        let from = Address::Coordinator(place);
        let hint = match (&answer, &call.ask) {
            (Some(ApiAnswer::Submitted(workload)), _) => Some(*workload),
            (Some(ApiAnswer::Wished { .. }), ApiAsk::Wish { workload, .. }) => Some(*workload),
            _ => None,
        };
        if let Some(workload) = hint {
            self.tell_coordinators(from, &Message::WorkloadsHinted(vec![workload]));
            if self.leads(place) {
                self.hand(place, &Event::WorkloadsHinted(vec![workload]));
            }
        }
        if answer == Some(ApiAnswer::WorkerWished) {
            self.tell_coordinators(from, &Message::WorkersHinted);
            if self.leads(place) {
                self.hand(place, &Event::WorkersHinted);
            }
        }
        if let (Some(ApiAnswer::LimitsChanged), ApiAsk::ChangeLimits { customer, .. }) =
            (&answer, &call.ask)
        {
            let customers = vec![*customer];
            self.tell_coordinators(from, &Message::CustomersHinted(customers.clone()));
            if self.leads(place) {
                self.hand(place, &Event::CustomersHinted(customers));
            }
        }
        self.tell_caller(&call, answer);
    }

    fn tell_caller(&mut self, call: &Call, answer: Option<ApiAnswer>) {
        match call.caller {
            Caller::Client(client) => {
                let call = call.number;
                self.after(
                    Duration::from_millis(1),
                    Occurrence::CallAnswered {
                        client,
                        call,
                        answer,
                    },
                );
            }
            Caller::Operator(operation) => {
                let done = matches!(
                    answer,
                    Some(
                        ApiAnswer::WorkerWished
                            | ApiAnswer::NotFound
                            | ApiAnswer::LimitsChanged
                            | ApiAnswer::Wished { .. }
                            | ApiAnswer::Conflict
                    )
                );
                if !done && self.is_healed {
                    let pause = Duration::from_millis(500);
                    self.after(pause, Occurrence::Operate(operation));
                }
            }
        }
    }

    pub(super) fn operate(&mut self, operation: Operation) {
        self.trace.tell(self.now, "operators", || plain(&operation));
        let (place, desired, deadline) = match operation {
            Operation::Drain { place, deadline } => (place, WorkerDesired::Drain, deadline),
            Operation::Undrain { place } => (place, WorkerDesired::Run, None),
            Operation::Remove { place } => (place, WorkerDesired::Remove, None),
            Operation::CancelAll { customer } => return self.cancel_all(operation, customer),
            Operation::ChangeLimits {
                customer,
                max_running,
                max_queued,
            } => {
                let customer = self.plan.customers[customer].id;
                let ask = ApiAsk::ChangeLimits {
                    customer,
                    max_running,
                    max_queued,
                };
                self.call(Caller::Operator(operation), 0, ask);
                return;
            }
        };
        let worker = self.plan.workers[place].profile.worker.clone();
        let ask = ApiAsk::WishWorker {
            worker,
            desired,
            deadline,
        };
        self.call(Caller::Operator(operation), 0, ask);
    }

    /// An operator acts for a customer, and cancels everything that it has.
    fn cancel_all(&mut self, operation: Operation, customer: usize) {
        let customer = self.plan.customers[customer].id;
        let all: Vec<WorkloadId> = self
            .store
            .workloads()
            .filter(|found| found.row.customer == customer)
            .filter(|found| !found.row.leader.status.is_terminal())
            .map(|found| found.row.id)
            .collect();
        for (via, workload) in all.into_iter().enumerate() {
            let ask = ApiAsk::Wish {
                customer,
                workload,
                desired: Desired::Cancel,
            };
            self.call(Caller::Operator(operation), via, ask);
        }
    }
}

/// What the API says of an answer of the database; nothing when it says nothing yet.
fn spoken(answer: Answer) -> Option<ApiAnswer> {
    match answer {
        Answer::Submitted(SubmitAnswer::There(workload)) => Some(ApiAnswer::Submitted(workload)),
        Answer::Submitted(SubmitAnswer::QueueFull) => Some(ApiAnswer::QueueFull),
        Answer::Wished(WishAnswer::Recorded {
            revision, version, ..
        }) => Some(ApiAnswer::Wished { revision, version }),
        Answer::Listed(rows) => Some(ApiAnswer::Listed(rows)),
        Answer::LimitsChanged => Some(ApiAnswer::LimitsChanged),
        // What says the same is an acknowledgement: only after doubt are these judged.
        Answer::WorkerWished(WorkerWishAnswer::Overtaken { same: true }) => {
            Some(ApiAnswer::WorkerWished)
        }
        Answer::Wished(WishAnswer::Conflict | WishAnswer::Overtaken)
        | Answer::WorkerWished(WorkerWishAnswer::Overtaken { same: false }) => {
            Some(ApiAnswer::Conflict)
        }
        Answer::Wished(WishAnswer::NotFound)
        | Answer::WorkerWished(WorkerWishAnswer::NotFound)
        | Answer::Got(None) => Some(ApiAnswer::NotFound),
        Answer::WorkerWished(WorkerWishAnswer::Written) => Some(ApiAnswer::WorkerWished),
        Answer::Got(Some((status, desired, version))) => {
            Some(ApiAnswer::Got(status, desired, version))
        }
        Answer::Taken { .. }
        | Answer::LeaseRow { .. }
        | Answer::Renewed { .. }
        | Answer::Resigned { .. }
        | Answer::Snapshot { .. }
        | Answer::Persist { .. }
        | Answer::Fence { .. }
        | Answer::Loaded { .. }
        | Answer::Content(_)
        | Answer::NotTaken { .. }
        | Answer::Created(_)
        | Answer::WhyNot { .. }
        | Answer::WishWritten(_)
        | Answer::Looked(_)
        | Answer::Assignment(_)
        | Answer::Done => None,
    }
}

/// How long a coordinator looks for an outcome: shorter than in production, where runs are longer.
const CALL_PATIENCE: Duration = Duration::from_secs(6);
/// The statement time-out of the API's connections.
const CALL_STATEMENT: Duration = Duration::from_secs(1);
