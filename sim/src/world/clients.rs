//! The customers' clients, and the way of a call to a coordinator.
//!
//! A client runs the plan's errands in order. A submission with a key is repeated while its outcome
//! is unknown, each time through the next coordinator.

use super::{ApiAnswer, ApiAsk, Call, Caller, Occurrence, World};
use crate::{
    decision::{Choice, Occasion, Who, mix},
    picture::Arrow,
    plan::{Affinity, Does, Job, Plan},
    properties::Observation,
    story::named,
};
use niyanta_core::{
    batch::LeaderHalf,
    ids::{Attempt, CustomerId, PlacementClass, WishRevision, WorkloadId},
    scheduling::{AffinityRules, AntiAffinity, Tags, WorkerAffinity},
    snapshot::WorkloadRow,
    time::{Duration, WallTime},
    workload::{Desired, Status},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// A customer's client: one call after the other.
#[derive(Default)]
pub(super) struct Client {
    /// Errands whose time has come, by their place in the plan.
    due: VecDeque<usize>,
    /// The calls that it waits for.
    current: Vec<Current>,
    /// Workloads that it was told of, by the errand that submitted them.
    known: BTreeMap<u16, WorkloadId>,
}

/// A call that a client waits for.
struct Current {
    errand: usize,
    number: u64,
    /// Which of the calls of its errand that are made at once.
    twin: u32,
    repeats: u32,
    ask: ApiAsk,
}

impl Client {
    /// One for each customer.
    #[must_use]
    pub(super) fn all(plan: &Plan) -> Vec<Self> {
        plan.customers.iter().map(|_| Self::default()).collect()
    }
}

impl World {
    /// The time of an errand has come.
    pub(super) fn begin_errand(&mut self, index: usize) {
        let customer = self.plan.errands[index].customer;
        self.clients[customer].due.push_back(index);
        self.move_client(customer);
    }

    /// The client begins the next errand that there is something to do for.
    fn move_client(&mut self, customer: usize) {
        if self.is_healed {
            return;
        }
        while self.clients[customer].current.is_empty()
            && let Some(errand) = self.clients[customer].due.pop_front()
        {
            let times = match self.plan.errands[errand].does {
                Does::Submit { times, .. } => u32::from(times),
                Does::Wish { .. } | Does::Get { .. } | Does::List => 1,
            };
            for twin in 0..times {
                if let Some(ask) = self.ask_of(errand, twin) {
                    self.send_errand(customer, errand, (twin, 0), ask);
                }
            }
        }
    }

    /// What an errand asks of the API; nothing when it is about what the client does not know of.
    fn ask_of(&self, index: usize, twin: u32) -> Option<ApiAsk> {
        let errand = &self.plan.errands[index];
        let customer = self.plan.customers[errand.customer].id;
        let known = |of: &u16| {
            let knows = |client: &Client| client.known.get(of).copied();
            self.clients.iter().find_map(knows)
        };
        Some(match &errand.does {
            Does::Submit { job, key, .. } => {
                let time = self.store.time(self.now);
                let mut row = row(job, customer, &self.plan, time);
                row.id = workload_id(self.plan.seed, errand.id, (twin, 0));
                ApiAsk::Submit {
                    row: Box::new(row),
                    key: *key,
                }
            }
            Does::Wish { of, desired } => ApiAsk::Wish {
                customer,
                workload: known(of)?,
                desired: *desired,
            },
            Does::List => ApiAsk::List { customer },
            Does::Get { of } => ApiAsk::Get {
                customer,
                workload: known(of)?,
            },
        })
    }

    fn send_errand(
        &mut self,
        customer: usize,
        errand: usize,
        (twin, repeats): (u32, u32),
        ask: ApiAsk,
    ) {
        let planned = &self.plan.errands[errand];
        let later = usize::try_from(repeats + twin).unwrap_or(0);
        let via = planned.via + later;
        let patience = planned.hangs_up_after.unwrap_or(PATIENCE);
        let number = self.call(Caller::Client(customer), via, ask.clone());
        self.clients[customer].current.push(Current {
            errand,
            number,
            twin,
            repeats,
            ask,
        });
        let (client, call) = (customer, number);
        self.after(patience, Occurrence::CallGivenUp { client, call });
    }

    /// Sends a call to a coordinator.
    pub(super) fn call(&mut self, caller: Caller, via: usize, ask: ApiAsk) -> u64 {
        self.next_call += 1;
        let number = self.next_call;
        let who = match caller {
            Caller::Client(customer) => Who::place(customer),
            Caller::Operator(_) => Who::OPERATORS,
        };
        let point = self.decider.occasion(Occasion::Call, who);
        let lost = if self.is_healed {
            0
        } else {
            self.plan.rates.call_lost
        };
        let fate = self.decider.pick(point, Choice::CallFate, |rng| {
            u32::from(rng.per_mille(lost))
        });
        let (shortest, longest) = (Duration::from_micros(200), Duration::from_millis(3));
        let delay = self
            .decider
            .delay_up_to(point, Choice::CallDelay, shortest, longest);
        let trespasses = self.trespasses(caller, &ask);
        let mut call = Box::new(Call::made_at(number, caller, self.now, ask));
        call.trespasses = trespasses;
        self.observe(&Observation::CallBegun { call: &call });
        let place = via % self.nodes.len();
        let (now, arrives) = (self.now, (fate == ARRIVES).then(|| self.now.plus(delay)));
        self.trace.draw(|picture| {
            picture.arrow(Arrow {
                from: caller.to_string(),
                to: format!("c{place}"),
                sent: now,
                arrives,
                text: named(&crate::story::ask(&call.ask)),
            });
        });
        let lost = if arrives.is_none() {
            " (lost on the way)"
        } else {
            ""
        };
        self.trace.tell(now, caller, || {
            let asks = crate::story::ask(&call.ask);
            format!("call {number} to c{place}: {asks}{lost}")
        });
        if fate == ARRIVES {
            self.after(delay, Occurrence::CallArrives { place, call });
        }
        number
    }

    pub(super) fn answer_client(
        &mut self,
        customer: usize,
        number: u64,
        answer: Option<ApiAnswer>,
    ) {
        let client = &mut self.clients[customer];
        let waited = client.current.iter();
        let Some(place) = waited.clone().position(|current| current.number == number) else {
            return;
        };
        let current = client.current.swap_remove(place);
        let errand = &self.plan.errands[current.errand];
        let unknown = matches!(
            answer,
            None | Some(ApiAnswer::TimedOut | ApiAnswer::Unavailable)
        );
        let repeatable = matches!(current.ask, ApiAsk::Submit { key: Some(_), .. });
        if unknown && repeatable && current.repeats < REPEATS_MAX {
            let name = (current.twin, current.repeats + 1);
            let mut ask = current.ask;
            if let ApiAsk::Submit { row, .. } = &mut ask {
                row.id = workload_id(self.plan.seed, errand.id, name);
            }
            self.send_errand(customer, current.errand, name, ask);
            return;
        }
        if let Some(ApiAnswer::Submitted(workload)) = answer {
            client.known.insert(errand.id, workload);
        }
        self.move_client(customer);
    }

    /// Whether a customer asks for what is another's.
    fn trespasses(&self, caller: Caller, ask: &ApiAsk) -> bool {
        let (Caller::Client(client), ApiAsk::Get { workload, .. } | ApiAsk::Wish { workload, .. }) =
            (caller, ask)
        else {
            return false;
        };
        let owns = |client: &Client| client.known.values().any(|known| known == workload);
        !owns(&self.clients[client]) && self.clients.iter().any(owns)
    }
}

/// Names its errand in the low half, so that people and [`Who::submission`] find it again.
fn workload_id(seed: u64, errand: u16, (twin, repeats): (u32, u32)) -> WorkloadId {
    let name = u64::from(errand) << 16 | u64::from(twin & 0xff) << 8 | u64::from(repeats & 0xff);
    let high = mix(seed ^ mix(name));
    WorkloadId(u128::from(high) << 64 | u128::from(name))
}

fn row(job: &Job, customer: CustomerId, plan: &Plan, time: WallTime) -> WorkloadRow {
    let affinity = rules(&job.affinity, plan);
    let mut class = 0;
    for byte in format!("{}{affinity:?}", job.workload_type).bytes() {
        class = mix(class ^ u64::from(byte));
    }
    WorkloadRow {
        id: WorkloadId(0),
        customer,
        workload_type: job.workload_type.clone(),
        affinity: Arc::new(affinity),
        class: PlacementClass(i64::from_ne_bytes(class.to_ne_bytes())),
        priority: job.priority,
        max_retries: job.max_retries,
        timeout: job.timeout,
        on_lease_loss: job.on_lease_loss,
        run_after: job.run_after.map(|wait| time.plus(wait)),
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

fn rules(affinity: &Affinity, plan: &Plan) -> AffinityRules {
    let zone = |zone: &Arc<str>| -> Tags {
        [(Arc::from("zone"), Arc::clone(zone))]
            .into_iter()
            .collect()
    };
    let mut rules = AffinityRules::default();
    match affinity {
        Affinity::Anywhere => {}
        Affinity::Zone(name) => rules.hard.worker_tags = zone(name),
        Affinity::Worker(place) => {
            let worker = plan.workers.get(*place);
            rules.hard = WorkerAffinity {
                worker_id: worker.map(|worker| worker.profile.worker.clone()),
                ..WorkerAffinity::default()
            };
        }
        Affinity::RatherZone(name) => rules.soft.worker_tags = zone(name),
        Affinity::NotZone(name) => rules.anti.worker_tags = zone(name),
        Affinity::NotBeside(workload_type) => {
            rules.anti = AntiAffinity {
                workload_types: [workload_type.clone()].into_iter().collect(),
                ..AntiAffinity::default()
            };
        }
    }
    rules
}

/// Of [`Choice::CallFate`].
const ARRIVES: u32 = 0;
/// How often a submission is repeated.
const REPEATS_MAX: u32 = 4;
/// How long a client waits.
const PATIENCE: Duration = Duration::from_secs(8);
