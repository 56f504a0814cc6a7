//! Customers: they submit, wish and read through any coordinator, and remember what they were told.

use super::{Answer, Call, Company, RUN_LONGEST, customer_id, handler::TYPES};
use crate::{
    decision::Rng,
    ports::checker::{Asked, CALL_LABEL, submission_of},
    world::{ApiAnswer, ApiAsk},
};
use axum::http::Method;
use niyanta_core::{
    ids::{CustomerId, WorkloadId},
    time::Duration,
    workload::{Desired, Status},
};
use serde_json::{Value, json};
use tokio::time::sleep;

/// One customer's client.
struct Client {
    company: Company,
    index: usize,
    customer: CustomerId,
    secret: String,
    rng: Rng,
    known: Vec<WorkloadId>,
    /// Of every customer: nobody may see another's.
    foreign: Vec<WorkloadId>,
}

/// Calls until everything heals, and then reads until the run ends.
pub(crate) async fn run_client(company: Company, index: usize, secret: String) {
    let mut client = Client {
        customer: customer_id(index),
        rng: company.setting.stream("client", index as u64),
        company,
        index,
        secret,
        known: Vec::new(),
        foreign: Vec::new(),
    };
    sleep(Duration::from_millis(1_500)).await;
    loop {
        let is_healed = client.company.is_healed();
        client.move_once(is_healed).await;
        let pause = if is_healed { 2_000 } else { 700 };
        let pause = client.rng.between(10, pause);
        sleep(Duration::from_millis(pause)).await;
    }
}

impl Client {
    async fn move_once(&mut self, is_healed: bool) {
        let about = self.rng.pick(&self.known).copied();
        match (about, self.rng.below(20)) {
            (Some(workload), 0..=1) if !is_healed => self.wish(workload, Desired::Cancel).await,
            (Some(workload), 2..=3) if !is_healed => self.wish(workload, Desired::Pause).await,
            (Some(workload), 4..=5) if !is_healed => self.wish(workload, Desired::Run).await,
            (_, 6..=7) => self.list().await,
            (_, 8) => self.peek().await,
            (Some(workload), 9..=12) => self.read(workload).await,
            (Some(workload), _) if is_healed => self.read(workload).await,
            (None, _) if is_healed => self.list().await,
            _ => self.submit().await,
        }
    }

    /// Submits, and tries again through another coordinator when it does not know what became of it.
    async fn submit(&mut self) {
        let name = TYPES[self.rng.index(TYPES.len())];
        let Ok(workload_type) = name.parse() else {
            unreachable!("a valid type")
        };
        let mut asked = self.ask(submission_of(self.customer, workload_type));
        let body = self.body(name, asked.number);
        let key = self
            .rng
            .per_mille(700)
            .then(|| format!("key {}", asked.number));
        for _ in 0..TRIES {
            let place = self.any_coordinator();
            let call = Call {
                method: Method::POST,
                path: "/v1/workloads",
                secret: &self.secret,
                idempotency_key: key.as_deref(),
                body: Some(&body),
            };
            let answer = self.company.api.send(place, &call).await;
            let doubt = match answer {
                Answer::NotSent => false,
                Answer::Lost => true,
                Answer::Came(202, body) => match workload_id(&body) {
                    Some(workload) => {
                        self.note(workload);
                        return self.told(&asked, ApiAnswer::Submitted(workload));
                    }
                    None => true,
                },
                Answer::Came(status, _) => match refusal(status) {
                    Some(refusal) => return self.told(&asked, refusal),
                    None => true,
                },
            };
            if doubt {
                self.company.checker.not_told(&asked);
                if key.is_none() {
                    return;
                }
                asked = asked.again();
            }
        }
    }

    async fn wish(&mut self, workload: WorkloadId, desired: Desired) {
        let asked = self.ask(ApiAsk::Wish {
            customer: self.customer,
            workload,
            desired,
        });
        let verb = match desired {
            Desired::Cancel => "cancel",
            Desired::Pause => "pause",
            Desired::Run => "resume",
        };
        let path = format!("/v1/workloads/{workload}/{verb}");
        let body = json!({ "reason": "because" });
        let answer = self.call(Method::POST, &path, Some(&body)).await;
        match answer {
            Answer::Came(200 | 202, body) => {
                let Some(version) = body["version"].as_u64() else {
                    return self.company.checker.not_told(&asked);
                };
                let revision = self.company.checker.revision_of(workload, desired, version);
                self.told(&asked, ApiAnswer::Wished { revision, version });
            }
            Answer::Came(status, _) => match refusal(status) {
                Some(refusal) => self.told(&asked, refusal),
                None => self.company.checker.not_told(&asked),
            },
            Answer::Lost => self.company.checker.not_told(&asked),
            Answer::NotSent => {}
        }
    }

    async fn read(&mut self, workload: WorkloadId) {
        let asked = self.ask(ApiAsk::Get {
            customer: self.customer,
            workload,
        });
        let path = format!("/v1/workloads/{workload}");
        match self.call(Method::GET, &path, None).await {
            Answer::Came(200, body) => {
                self.company
                    .checker
                    .shown(self.customer, owner(&body), "a workload");
                if let Some((status, desired, version)) = state(&body) {
                    self.told(&asked, ApiAnswer::Got(status, desired, version));
                }
            }
            Answer::Came(404, _) => self.told(&asked, ApiAnswer::NotFound),
            Answer::Came(..) | Answer::Lost | Answer::NotSent => {}
        }
    }

    /// Lists with filters: all of it must be its own.
    async fn list(&mut self) {
        let filter = match self.rng.below(5) {
            0 => "?status=PENDING&status=RUNNING&limit=100".to_owned(),
            1 => format!("?workload_type={}", TYPES[self.rng.index(TYPES.len())]),
            2 => "?label=team%3Dblue".to_owned(),
            3 => "?order=asc&limit=5".to_owned(),
            _ => String::new(),
        };
        let path = format!("/v1/workloads{filter}");
        if let Answer::Came(200, body) = self.call(Method::GET, &path, None).await {
            for row in body["workloads"].as_array().into_iter().flatten() {
                self.company
                    .checker
                    .shown(self.customer, owner(row), "a list with a workload");
            }
        }
    }

    /// Asks for what is another's: it must not be there.
    async fn peek(&mut self) {
        let foreign: Vec<WorkloadId> = self.company.store.look(|database| {
            let all = database.model().workloads();
            let others = all.filter(|found| found.row.customer != self.customer);
            others.map(|found| found.row.id).collect()
        });
        self.foreign = foreign;
        let Some(workload) = self.rng.pick(&self.foreign).copied() else {
            return;
        };
        let path = match self.rng.below(3) {
            0 => format!("/v1/workloads/{workload}"),
            1 => format!("/v1/workloads/{workload}/audit"),
            _ => format!("/v1/workloads/{workload}/logs"),
        };
        if let Answer::Came(200, _) = self.call(Method::GET, &path, None).await {
            let what = format!("{path} of another");
            self.company.checker.violate("P18", what);
        }
    }

    /// A body that is the same for every try of a submission.
    fn body(&mut self, workload_type: &str, number: u64) -> Value {
        let millis = u64::try_from(RUN_LONGEST.as_millis()).unwrap_or(0);
        let fails = if self.rng.per_mille(250) {
            self.rng.between(1, 3)
        } else {
            0
        };
        let permanent = u64::from(self.rng.per_mille(100));
        json!({
            "workload_type": workload_type,
            "input_params": {
                "ms": self.rng.between(100, millis),
                "fails": fails,
                "permanent": permanent,
            },
            "priority": self.rng.between(0, 30),
            "max_retries": self.rng.between(0, 3),
            "labels": { CALL_LABEL: number.to_string(), "team": "blue" },
        })
    }

    async fn call(&mut self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let place = self.any_coordinator();
        let call = Call {
            method,
            path,
            secret: &self.secret,
            idempotency_key: None,
            body,
        };
        self.company.api.send(place, &call).await
    }

    fn any_coordinator(&mut self) -> usize {
        self.rng.index(self.company.setting.coordinators)
    }

    fn note(&mut self, workload: WorkloadId) {
        if !self.known.contains(&workload) {
            self.known.push(workload);
        }
    }

    fn ask(&self, ask: ApiAsk) -> Asked {
        self.company.checker.asked(self.index, ask)
    }

    fn told(&self, asked: &Asked, answer: ApiAnswer) {
        self.company.checker.told(asked, answer);
    }
}

/// What a refusal says; nothing when the outcome is unknown.
fn refusal(status: u16) -> Option<ApiAnswer> {
    match status {
        404 => Some(ApiAnswer::NotFound),
        409 | 412 | 422 => Some(ApiAnswer::Conflict),
        429 => Some(ApiAnswer::QueueFull),
        400..=499 | 503 => Some(ApiAnswer::Unavailable),
        _ => None,
    }
}

fn workload_id(body: &Value) -> Option<WorkloadId> {
    body["workload_id"].as_str()?.parse().ok()
}

fn owner(body: &Value) -> CustomerId {
    let owner = body["customer_id"].as_str().and_then(|it| it.parse().ok());
    owner.unwrap_or(CustomerId(0))
}

fn state(body: &Value) -> Option<(Status, Desired, u64)> {
    let status = body["status"].as_str()?.parse().ok()?;
    let desired = body["desired"].as_str()?.parse().ok()?;
    Some((status, desired, body["version"].as_u64()?))
}

/// Tries of a submission with a key.
const TRIES: u32 = 3;
