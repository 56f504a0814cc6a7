//! Customers: submit, wish and read through all coordinators, and write down what came of it.
//!
//! Owns what they ask. Each is one task that asks one thing after the other, so that "next" means
//! something. A submission is repeated under its key as a careful customer would, or given up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

use super::clock;
use super::history::{Asked, Outcome, Record, What};
use super::site::{Customer, Site};
use tests::{Answer, Client};

/// One customer's task.
pub(super) struct Asker {
    site: Arc<Site>,
    by: u32,
    customer: Customer,
    clients: Vec<Client>,
    rng: StdRng,
    /// Submissions in one request: 1 is a request of its own.
    batch: usize,
    asked: u64,
    /// Workloads that it may read and wish about.
    known: VecDeque<String>,
    /// Workloads that it has paused and not yet resumed.
    paused: Vec<String>,
}

impl Asker {
    pub(super) fn new(
        site: &Arc<Site>,
        by: u32,
        customer: &Customer,
        batch: usize,
        seed: u64,
    ) -> Self {
        let client = |url: &str| Client::with_patience(url, Some(&customer.key), PATIENCE);
        Self {
            by,
            customer: customer.clone(),
            clients: site
                .coordinators
                .iter()
                .map(|seat| client(&seat.url))
                .collect(),
            rng: StdRng::seed_from_u64(seed ^ (u64::from(by) << 32)),
            site: Arc::clone(site),
            batch,
            asked: 0,
            known: VecDeque::new(),
            paused: Vec::new(),
        }
    }

    /// Asks until it is told to stop.
    pub(super) async fn run(mut self, stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            if *self.site.open.borrow() > OPEN_MAX {
                sleep(Duration::from_millis(200)).await;
                continue;
            }
            match self.rng.random_range(0..100) {
                0..70 => self.submit().await,
                70..78 => self.wish().await,
                78..82 => self.resume_one().await,
                _ => self.read().await,
            }
            if self.batch > 1 {
                sleep(Duration::from_millis(150)).await;
            }
        }
    }

    async fn submit(&mut self) {
        let submissions: Vec<(String, Value)> = (0..self.batch)
            .map(|_| {
                self.asked += 1;
                let key = format!("{}-{}", self.by, self.asked);
                (key.clone(), self.body(&key))
            })
            .collect();
        for _ in 0..SENDINGS_MAX {
            let worst = if self.batch == 1 {
                self.send_one(&submissions[0]).await
            } else {
                self.send_many(&submissions).await
            };
            match worst {
                Outcome::Ok => return,
                Outcome::Failed if self.rng.random_bool(0.5) => return,
                Outcome::Failed | Outcome::Unknown => {
                    sleep(Duration::from_millis(self.rng.random_range(50..500))).await;
                }
            }
        }
    }

    async fn send_one(&mut self, (key, body): &(String, Value)) -> Outcome {
        let (node, from) = (self.any_node(), clock::now());
        let headers = [("Idempotency-Key", key.as_str())];
        let client = &self.clients[node];
        let body = Some(body.to_string());
        let sent = client
            .send(Method::POST, "/v1/workloads", &headers, body)
            .await;
        let what = What::Submit { key: key.clone() };
        self.write_down(node, from, what, sent.ok().as_ref())
    }

    /// The worst of the outcomes of a batch.
    async fn send_many(&mut self, submissions: &[(String, Value)]) -> Outcome {
        let (node, from) = (self.any_node(), clock::now());
        let items = submissions.iter().map(|(key, body)| {
            let mut item = body.clone();
            item["idempotency_key"] = json!(key);
            item
        });
        let body = json!({"workloads": items.collect::<Vec<_>>()});
        let body = Some(body.to_string());
        let sent = self.clients[node]
            .send(Method::POST, "/v1/workloads:batch", &[], body)
            .await;
        let whole = sent.ok();
        let mut worst = Outcome::Ok;
        for (index, (key, _)) in submissions.iter().enumerate() {
            let item = whole.clone().map(|mut answer| {
                if answer.status == 200 {
                    let result = answer.body["results"][index].clone();
                    answer.status = result["status"].as_u64().unwrap_or(0) as u16;
                    answer.body = result["workload"].clone();
                }
                answer
            });
            let what = What::Submit { key: key.clone() };
            let outcome = self.write_down(node, from, what, item.as_ref());
            worst = match (worst, outcome) {
                (Outcome::Unknown, _) | (_, Outcome::Unknown) => Outcome::Unknown,
                (Outcome::Failed, _) | (_, Outcome::Failed) => Outcome::Failed,
                (Outcome::Ok, Outcome::Ok) => Outcome::Ok,
            };
        }
        worst
    }

    async fn wish(&mut self) {
        let Some(id) = self.any_known() else { return };
        let verb = ["cancel", "pause", "resume"][self.rng.random_range(0..3)];
        if verb == "pause" {
            self.paused.push(id.clone());
        }
        self.wish_for(&id, verb).await;
    }

    async fn resume_one(&mut self) {
        let Some(id) = self.paused.pop() else { return };
        if self.wish_for(&id, "resume").await != Outcome::Ok {
            // A terminal one is refused for ever; the others are resumed when all is over.
            self.paused.retain(|other| *other != id);
        }
    }

    async fn wish_for(&mut self, id: &str, verb: &str) -> Outcome {
        self.asked += 1;
        let (node, from) = (self.any_node(), clock::now());
        let reason = format!("{}-{}", self.by, self.asked);
        let path = format!("/v1/workloads/{id}/{verb}");
        let body = Some(json!({"reason": reason}).to_string());
        let sent = self.clients[node]
            .send(Method::POST, &path, &[], body)
            .await;
        let verb = verb.to_owned();
        let what = What::Wish { verb, reason };
        let mut answer = sent.ok();
        about(answer.as_mut(), id);
        self.write_down_about(node, from, what, answer.as_ref(), Some(id))
    }

    async fn read(&mut self) {
        let Some(id) = self.any_known() else { return };
        let (node, from) = (self.any_node(), clock::now());
        let path = format!("/v1/workloads/{id}");
        let sent = self.clients[node].send(Method::GET, &path, &[], None).await;
        self.write_down_about(node, from, What::Read, sent.ok().as_ref(), Some(&id));
    }

    fn write_down(
        &mut self,
        node: usize,
        from: i64,
        what: What,
        answer: Option<&Answer>,
    ) -> Outcome {
        self.write_down_about(node, from, what, answer, None)
    }

    fn write_down_about(
        &mut self,
        node: usize,
        from: i64,
        what: What,
        answer: Option<&Answer>,
        about: Option<&str>,
    ) -> Outcome {
        let status = answer.map_or(0, |answer| answer.status);
        let outcome = meaning(status);
        let done = answer.filter(|_| outcome == Outcome::Ok);
        let told = done.and_then(|answer| answer.body["workload_id"].as_str());
        let workload = about.or(told).map(str::to_owned);
        if let (What::Submit { .. }, Some(id)) = (&what, told) {
            self.known.push_back(id.to_owned());
            if self.known.len() > KNOWN_MAX {
                self.known.pop_front();
            }
        }
        self.site.recorder.record(&Record::Asked(Asked {
            by: self.by,
            customer: self.customer.limits.customer.clone(),
            from,
            to: clock::now(),
            node,
            what,
            outcome,
            status,
            workload,
            version: done.and_then(|answer| answer.body["version"].as_u64()),
        }));
        outcome
    }

    fn any_node(&mut self) -> usize {
        self.rng.random_range(0..self.clients.len())
    }

    fn any_known(&mut self) -> Option<String> {
        let count = self.known.len();
        (count > 0).then(|| self.known[self.rng.random_range(0..count)].clone())
    }

    /// What is submitted under this key: mostly quick work, and some of each other kind.
    fn body(&mut self, key: &str) -> Value {
        let quick = self.rng.random_range(0..30);
        let (means, params) = match self.rng.random_range(0..100) {
            0..4 => ("long", json!({"ms": self.rng.random_range(2_000..9_000)})),
            4..9 => {
                let fails = self.rng.random_range(1..=2);
                ("flaky", json!({"ms": quick, "fails": fails}))
            }
            9..11 => ("doomed", json!({"ms": quick, "is_doomed": true})),
            _ => ("quick", json!({"ms": quick})),
        };
        let mut body = json!({
            "workload_type": "chaos", "input_params": params,
            "priority": self.rng.random_range(0..20), "labels": {"key": key, "means": means},
        });
        if self.rng.random_range(0..40) == 0 {
            let after = chrono::Utc::now() + chrono::TimeDelta::seconds(2);
            body["run_after"] = json!(after.to_rfc3339());
        }
        body
    }
}

fn about(answer: Option<&mut Answer>, id: &str) {
    if let Some(answer) = answer
        && answer.body["workload_id"].is_null()
    {
        answer.body["workload_id"] = json!(id);
    }
}

/// As the API's documentation has it.
fn meaning(status: u16) -> Outcome {
    match status {
        200..300 => Outcome::Ok,
        400..500 | 503 => Outcome::Failed,
        _ => Outcome::Unknown,
    }
}

/// Resumes what is still paused when all is over, so that it can end.
pub(super) async fn resume_all(site: &Arc<Site>, paused: Vec<(String, String)>) {
    for (index, customer) in site.customers.iter().enumerate() {
        let by = u32::try_from(1_000 + index).unwrap();
        let mut asker = Asker::new(site, by, customer, 1, 0);
        let own = paused
            .iter()
            .filter(|(owner, _)| *owner == customer.limits.customer);
        for (_, id) in own {
            asker.wish_for(id, "resume").await;
        }
    }
}

/// Longer than most answers, shorter than the server's own patience.
const PATIENCE: Duration = Duration::from_secs(5);
/// More work than this is not piled up.
const OPEN_MAX: i64 = 3_000;
/// How often one submission is sent.
const SENDINGS_MAX: usize = 12;
const KNOWN_MAX: usize = 60;
