//! The API's half of a coordinator, and the customers and operators who call it.
//!
//! Ids are made before the statement. After an unknown outcome the same statement is sent again
//! until the call's deadline; once any sending had an unknown outcome the answer is success or 504.

use super::{Inbound, Occurrence, World};
use crate::{
    clock::Moment,
    decision::{Rng, Streams, mix},
    message::{Address, Message},
    model::store::{Answer, Statement, Submission, SubmitAnswer, WishAnswer},
    plan::{Operation, Plan},
    properties::Observation,
};
use niyanta_core::{
    Event,
    batch::LeaderHalf,
    fleet::WorkerDesired,
    ids::{Attempt, CustomerId, PlacementClass, WishRevision, WorkerId, WorkloadId},
    scheduling::{AffinityRules, AntiAffinity, WorkerAffinity},
    snapshot::WorkloadRow,
    time::{Duration, WallTime},
    workload::{Desired, OnLeaseLoss, Status},
};
use sim_probes::{Bug, is_planted};
use std::sync::Arc;

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
    /// A sending of its statement had an unknown outcome.
    pub is_unknown: bool,
    /// When it was made.
    pub begun: Moment,
    /// Answered 504 then.
    pub deadline: Moment,
    statement: Option<Statement>,
}

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// A customer's client.
    Client(usize),
    /// An operator.
    Operator(Operation),
}

/// What is asked of the API.
#[derive(Debug, Clone)]
pub enum ApiAsk {
    /// Submit a workload.
    Submit {
        /// Everything but its id.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    pub const fn denies(self) -> bool {
        matches!(
            self,
            Self::QueueFull | Self::Conflict | Self::NotFound | Self::Unavailable
        )
    }
}

/// A customer's client: one call after the other.
pub(super) struct Client {
    rng: Rng,
    left: u32,
    current: Option<(u64, ApiAsk)>,
    repeats: u32,
    next_key: u64,
    known: Vec<WorkloadId>,
}

impl Client {
    /// One for each customer.
    #[must_use]
    pub(super) fn all(plan: &Plan, streams: Streams) -> Vec<Self> {
        (0u64..)
            .zip(&plan.customers)
            .map(|(index, customer)| Self {
                rng: streams.stream("client", index),
                left: customer.calls,
                current: None,
                repeats: 0,
                next_key: 0,
                known: Vec::new(),
            })
            .collect()
    }
}

impl World {
    pub(super) fn move_client(&mut self, index: usize) {
        if self.is_healed || self.clients[index].current.is_some() {
            return;
        }
        let client = &mut self.clients[index];
        if client.left == 0 {
            return;
        }
        client.left -= 1;
        client.repeats = 0;
        let ask = self.next_ask(index);
        self.call(Caller::Client(index), ask);
    }

    fn next_ask(&mut self, index: usize) -> ApiAsk {
        let customer = self.plan.customers[index].id;
        let client = &mut self.clients[index];
        let about = client.rng.pick(&client.known.clone()).copied();
        let choice = client.rng.below(10);
        match (about, choice) {
            (Some(workload), 6..=9) => match client.rng.below(8) {
                0..=2 => wish(customer, workload, Desired::Cancel),
                3 | 4 => wish(customer, workload, Desired::Pause),
                5 | 6 => wish(customer, workload, Desired::Run),
                _ => ApiAsk::Get { customer, workload },
            },
            _ => {
                let key = client.rng.per_mille(500).then(|| {
                    client.next_key += 1;
                    // Sometimes a key is used again on purpose.
                    client.next_key - u64::from(client.rng.per_mille(150) && client.next_key > 1)
                });
                let time = self.store.time(self.now);
                let row = drawn_row(&mut client.rng, customer, &self.plan, time);
                ApiAsk::Submit {
                    row: Box::new(row),
                    key,
                }
            }
        }
    }

    /// Sends a call to some coordinator.
    fn call(&mut self, caller: Caller, ask: ApiAsk) {
        self.next_call += 1;
        let number = self.next_call;
        let places = self.nodes.len();
        let healed = self.is_healed;
        let rates = self.plan.rates;
        let rng = match caller {
            Caller::Client(index) => {
                let client = &mut self.clients[index];
                client.current = Some((number, ask.clone()));
                &mut client.rng
            }
            Caller::Operator(_) => &mut self.store_rng,
        };
        let place = rng.index(places);
        let lost = !healed && rng.per_mille(rates.call_lost);
        let delay = rng.duration(Duration::from_micros(200), Duration::from_millis(3));
        let call = Call {
            number,
            caller,
            ask,
            made: None,
            is_unknown: false,
            begun: self.now,
            deadline: self.now.plus(CALL_DEADLINE),
            statement: None,
        };
        if !lost {
            let call = Box::new(call);
            self.after(delay, Occurrence::CallArrives { place, call });
        }
        if let Caller::Client(client) = caller {
            let call = number;
            self.after(PATIENCE, Occurrence::CallGivenUp { client, call });
        }
    }

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
                let id = WorkloadId(self.store_rng.wide_bits());
                call.made = Some(id);
                let mut row = WorkloadRow::clone(row);
                row.id = id;
                Statement::Submit(Box::new(Submission { row, key: *key }))
            }
            ApiAsk::Wish {
                customer,
                workload,
                desired,
            } => Statement::Wish {
                customer: *customer,
                workload: *workload,
                desired: *desired,
            },
            ApiAsk::Get { customer, workload } => Statement::Get {
                customer: *customer,
                workload: *workload,
            },
            ApiAsk::WishWorker {
                worker,
                desired,
                deadline,
            } => Statement::WishWorker {
                worker: worker.clone(),
                desired: *desired,
                deadline: *deadline,
            },
        };
        call.statement = Some(statement.clone());
        let number = call.number;
        let early = call.made.filter(|_| is_planted(Bug::AcknowledgedUnwritten));
        let Some(process) = self.nodes[place].awake() else {
            return;
        };
        process.calls.insert(number, call);
        if let Some(made) = early {
            self.finish_call(place, number, Some(ApiAnswer::Submitted(made)));
        }
        let purpose = super::statements::Purpose::Call(number);
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
        let purpose = super::statements::Purpose::Call(number);
        self.ask(place, statement, purpose, CALL_STATEMENT);
    }

    pub(super) fn continue_call(
        &mut self,
        place: usize,
        number: u64,
        answer: Option<Answer>,
        not_sent: bool,
    ) {
        let now = self.now;
        let hasty = is_planted(Bug::UnknownIsFailure);
        let epoch = self.nodes[place].epoch;
        let Some(process) = self.nodes[place].awake() else {
            return;
        };
        let Some(call) = process.calls.get_mut(&number) else {
            return;
        };
        let said = answer.and_then(|answer| spoken(&answer));
        match said {
            Some(answer) if !(call.is_unknown && answer.denies()) => {
                self.finish_call(place, number, Some(answer));
            }
            None if (not_sent && !call.is_unknown) || hasty => {
                self.finish_call(place, number, Some(ApiAnswer::Unavailable));
            }
            Some(_) | None => {
                call.is_unknown = true;
                if now.plus(Duration::from_millis(200)) >= call.deadline {
                    self.finish_call(place, number, Some(ApiAnswer::TimedOut));
                } else {
                    let call = number;
                    let pause = Duration::from_millis(150);
                    self.after(pause, Occurrence::Retry { place, epoch, call });
                }
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
        if let Some(answer) = answer {
            self.trace.tell(self.now, Address::Coordinator(place), || {
                format!("answers call {number}: {answer:?}")
            });
            self.observe(&Observation::CallAnswered {
                call: &call,
                answer,
            });
        }
        let from = Address::Coordinator(place);
        let hint = match (answer, &call.ask) {
            (Some(ApiAnswer::Submitted(workload)), _) => Some(workload),
            (Some(ApiAnswer::Wished { .. }), ApiAsk::Wish { workload, .. }) => Some(*workload),
            _ => None,
        };
        if let Some(workload) = hint {
            self.tell_coordinators(from, &Message::WorkloadsHinted(vec![workload]));
            self.hand(place, &Event::WorkloadsHinted(vec![workload]));
        }
        if answer == Some(ApiAnswer::WorkerWished) {
            self.tell_coordinators(from, &Message::WorkersHinted);
            self.hand(place, &Event::WorkersHinted);
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
                let done = matches!(answer, Some(ApiAnswer::WorkerWished | ApiAnswer::NotFound));
                if !done && self.is_healed {
                    let pause = Duration::from_millis(500);
                    self.after(pause, Occurrence::Operate(operation));
                }
            }
        }
    }

    pub(super) fn answer_client(&mut self, index: usize, number: u64, answer: Option<ApiAnswer>) {
        let client = &mut self.clients[index];
        let Some((current, ask)) = client.current.clone() else {
            return;
        };
        if current != number {
            return;
        }
        client.current = None;
        let unknown = matches!(
            answer,
            None | Some(ApiAnswer::TimedOut | ApiAnswer::Unavailable)
        );
        let repeatable = matches!(ask, ApiAsk::Submit { key: Some(_), .. });
        if unknown && repeatable && client.repeats < 4 {
            client.repeats += 1;
            self.call(Caller::Client(index), ask);
            return;
        }
        if let Some(ApiAnswer::Submitted(workload)) = answer
            && !client.known.contains(&workload)
        {
            client.known.push(workload);
        }
        let pace = self.plan.customers[index].pace;
        let pause = client.rng.duration(pace / 2, pace * 3 / 2);
        self.after(pause, Occurrence::Client(index));
    }

    pub(super) fn operate(&mut self, operation: Operation) {
        let (place, desired, deadline) = match operation {
            Operation::Drain { place, deadline } => (place, WorkerDesired::Drain, deadline),
            Operation::Undrain { place } => (place, WorkerDesired::Run, None),
            Operation::Remove { place } => (place, WorkerDesired::Remove, None),
        };
        let worker = self.plan.workers[place].profile.worker.clone();
        self.trace
            .tell(self.now, "operator", || format!("{desired} {worker}"));
        let ask = ApiAsk::WishWorker {
            worker,
            desired,
            deadline,
        };
        self.call(Caller::Operator(operation), ask);
    }
}

const fn wish(customer: CustomerId, workload: WorkloadId, desired: Desired) -> ApiAsk {
    ApiAsk::Wish {
        customer,
        workload,
        desired,
    }
}

/// What the API says of an answer of the database; nothing when it says nothing yet.
fn spoken(answer: &Answer) -> Option<ApiAnswer> {
    match answer {
        Answer::Submitted(SubmitAnswer::There(workload)) => Some(ApiAnswer::Submitted(*workload)),
        Answer::Submitted(SubmitAnswer::QueueFull) => Some(ApiAnswer::QueueFull),
        Answer::Wished(WishAnswer::Recorded {
            revision, version, ..
        }) => Some(ApiAnswer::Wished {
            revision: *revision,
            version: *version,
        }),
        Answer::Wished(WishAnswer::Conflict) => Some(ApiAnswer::Conflict),
        Answer::Wished(WishAnswer::NotFound) | Answer::WorkerWished(false) | Answer::Got(None) => {
            Some(ApiAnswer::NotFound)
        }
        Answer::WorkerWished(true) => Some(ApiAnswer::WorkerWished),
        Answer::Got(Some((status, desired, version))) => {
            Some(ApiAnswer::Got(*status, *desired, *version))
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
        | Answer::Done => None,
    }
}

fn drawn_row(rng: &mut Rng, customer: CustomerId, plan: &Plan, time: WallTime) -> WorkloadRow {
    let workload_type = match rng.pick(&plan.types) {
        Some(workload_type) => workload_type.clone(),
        None => unreachable!("there are types"),
    };
    let affinity = drawn_affinity(rng, plan);
    let mut class = 0;
    for byte in format!("{workload_type}{affinity:?}").bytes() {
        class = mix(class ^ u64::from(byte));
    }
    let late = rng.per_mille(120);
    let run_after =
        late.then(|| time.plus(rng.duration(Duration::from_millis(10), Duration::from_secs(8))));
    WorkloadRow {
        id: WorkloadId(0),
        customer,
        workload_type,
        affinity: Arc::new(affinity),
        class: PlacementClass(i64::from_ne_bytes(class.to_ne_bytes())),
        priority: *rng.pick(&[0, 10, 10, 10, 500]).unwrap_or(&10),
        max_retries: u32::try_from(rng.below(4)).unwrap_or(0),
        timeout: *rng
            .pick(&[Duration::from_secs(3), Duration::from_secs(60)])
            .unwrap_or(&Duration::from_secs(60)),
        on_lease_loss: if rng.per_mille(80) {
            OnLeaseLoss::Continue
        } else {
            OnLeaseLoss::Stop
        },
        run_after,
        desired: Desired::Run,
        wish_revision: WishRevision::ZERO,
        leader: LeaderHalf {
            status: Status::Pending,
            attempt: Attempt::ZERO,
            worker: None,
            retry_count: 0,
            loss_count: 0,
            eligible_at: time,
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

fn drawn_affinity(rng: &mut Rng, plan: &Plan) -> AffinityRules {
    let mut rules = AffinityRules::default();
    let zone = |rng: &mut Rng| {
        let zone = if rng.per_mille(500) { "east" } else { "west" };
        [(Arc::from("zone"), Arc::from(zone))].into_iter().collect()
    };
    match rng.below(12) {
        0 => rules.hard.worker_tags = zone(rng),
        1 => {
            let worker = rng.pick(&plan.workers);
            rules.hard = WorkerAffinity {
                worker_id: worker.map(|worker| worker.profile.worker.clone()),
                ..WorkerAffinity::default()
            };
        }
        2 => rules.soft.worker_tags = zone(rng),
        3 => {
            rules.anti = AntiAffinity {
                workload_types: rng.pick(&plan.types).cloned().into_iter().collect(),
                ..AntiAffinity::default()
            };
        }
        4 => rules.anti.worker_tags = zone(rng),
        _ => {}
    }
    rules
}

/// `response` of the contract's HTTP server.
const CALL_DEADLINE: Duration = Duration::from_secs(6);
/// How long a client waits.
const PATIENCE: Duration = Duration::from_secs(8);
/// The statement time-out of the API's connections.
const CALL_STATEMENT: Duration = Duration::from_secs(1);
