//! Operators: they drain, undrain and remove workers, and issue and revoke keys.
//!
//! A key that was acknowledged as revoked must not open anything five seconds later, on any
//! coordinator (P18).

use super::{
    hosts::{HostResult, Shared, moment, worker},
    http::{Answer, Call},
    scenario::customer_id,
};
use crate::{
    clock::Moment,
    decision::{Rng, Streams},
};
use hyper::Method;
use niyanta_core::time::Duration;
use serde_json::{Value, json};
use tokio::time::sleep;

struct Operator {
    shared: Shared,
    secret: String,
    rng: Rng,
}

/// Works until everything heals, then undoes every drain.
pub(super) async fn run_operator(shared: Shared, secret: String) -> HostResult {
    let streams = Streams::new(shared.scenario.seed);
    let mut operator = Operator {
        rng: streams.stream("turmoil.operator", 0),
        shared,
        secret,
    };
    sleep(Duration::from_millis(2_500)).await;
    while operator.is_at_work() {
        match operator.rng.below(8) {
            0..=2 => operator.drain().await,
            3 => operator.undrain_one().await,
            4 => operator.remove().await,
            _ => operator.try_a_key().await,
        }
        let pause = operator.rng.between(200, 4_000);
        sleep(Duration::from_millis(pause)).await;
    }
    operator.undrain_all().await;
    // The process lives on: a host that has ended is not crashed, but there is no need to know.
    std::future::pending().await
}

impl Operator {
    fn is_at_work(&self) -> bool {
        self.shared.scenario.has_operators && moment() < self.shared.scenario.heal_at
    }

    async fn drain(&mut self) {
        let body = if self.rng.per_mille(500) {
            json!({ "deadline_seconds": self.rng.between(1, 3) })
        } else {
            json!({})
        };
        let path = format!("/v1/admin/workers/{}/drain", self.any_worker());
        drop(self.call(Method::POST, &path, Some(&body)).await);
    }

    async fn undrain_one(&mut self) {
        let path = format!("/v1/admin/workers/{}/undrain", self.any_worker());
        drop(self.call(Method::POST, &path, Some(&json!({}))).await);
    }

    async fn remove(&mut self) {
        let path = format!("/v1/admin/workers/{}", self.any_worker());
        drop(self.call(Method::DELETE, &path, None).await);
    }

    /// Until each is acknowledged, or there is no such worker.
    async fn undrain_all(&mut self) {
        for place in 0..self.shared.scenario.workers {
            let path = format!("/v1/admin/workers/{}/undrain", worker(place));
            loop {
                let answer = self.call(Method::POST, &path, Some(&json!({}))).await;
                if matches!(answer, Answer::Came(200 | 202 | 404, _)) {
                    break;
                }
                sleep(Duration::from_millis(200)).await;
            }
        }
    }

    /// Issues a key, uses it everywhere, revokes it, and uses it again when it must be dead.
    async fn try_a_key(&mut self) {
        let customer = customer_id(self.rng.index(self.shared.scenario.clients));
        let path = format!("/v1/admin/customers/{customer}/api-keys");
        let body = json!({ "name": "short" });
        let Answer::Came(201, made) = self.call(Method::POST, &path, Some(&body)).await else {
            return;
        };
        let (Some(id), Some(secret)) = (made["key_id"].as_str(), made["secret"].as_str()) else {
            return;
        };
        for place in 0..self.shared.scenario.coordinators {
            drop(look(secret, place).await);
        }
        let path = format!("/v1/admin/api-keys/{id}");
        let mut revoked: Option<Moment> = None;
        for _ in 0..3 {
            if let Answer::Came(204, _) = self.call(Method::DELETE, &path, None).await {
                revoked = Some(moment());
                break;
            }
        }
        // Keys are used all the time; each use may be remembered.
        let until = moment().plus(DEAD_AFTER);
        while moment() < until {
            let place = self.any_coordinator();
            drop(look(secret, place).await);
            sleep(Duration::from_millis(700)).await;
        }
        let Some(revoked) = revoked else { return };
        for place in 0..self.shared.scenario.coordinators {
            let begun = moment();
            if let Answer::Came(status @ 200..=299, _) = look(secret, place).await
                && begun.since(revoked) > DEAD_AFTER
            {
                let late = begun.since(revoked);
                let what = format!("c{place} answers {status} to a key revoked {late:?} ago");
                self.shared.checker.violate("P18", what);
            }
        }
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
        call.send(place).await
    }

    fn any_coordinator(&mut self) -> usize {
        self.rng.index(self.shared.scenario.coordinators)
    }

    fn any_worker(&mut self) -> String {
        worker(self.rng.index(self.shared.scenario.workers))
    }
}

/// Uses a key.
async fn look(secret: &str, place: usize) -> Answer {
    let call = Call {
        method: Method::GET,
        path: "/v1/customer",
        secret,
        idempotency_key: None,
        body: None,
    };
    call.send(place).await
}

/// A revoked key stops working on every coordinator within this.
const DEAD_AFTER: Duration = Duration::from_secs(5);
