//! Operators: they drain, undrain and remove workers, and issue and revoke keys.
//!
//! A key that was acknowledged as revoked must not open anything five seconds later, on any
//! coordinator (P18).

use super::{Answer, Call, Company, customer_id, worker};
use crate::{clock::Moment, decision::Rng};
use axum::http::Method;
use niyanta_core::time::Duration;
use serde_json::{Value, json};
use tokio::time::sleep;

struct Operator {
    company: Company,
    secret: String,
    rng: Rng,
}

/// Works until everything heals, then undoes every drain.
pub(crate) async fn run_operator(company: Company, secret: String) {
    let mut operator = Operator {
        rng: company.setting.stream("operator", 0),
        company,
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
}

impl Operator {
    fn is_at_work(&self) -> bool {
        self.company.setting.has_operators && !self.company.is_healed()
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
        for place in 0..self.company.setting.workers {
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
        let customer = customer_id(self.rng.index(self.company.setting.clients));
        let path = format!("/v1/admin/customers/{customer}/api-keys");
        let body = json!({ "name": "short" });
        let Answer::Came(201, made) = self.call(Method::POST, &path, Some(&body)).await else {
            return;
        };
        let (Some(id), Some(secret)) = (made["key_id"].as_str(), made["secret"].as_str()) else {
            return;
        };
        for place in 0..self.company.setting.coordinators {
            drop(self.look(secret, place).await);
        }
        let path = format!("/v1/admin/api-keys/{id}");
        let mut revoked: Option<Moment> = None;
        for _ in 0..3 {
            if let Answer::Came(204, _) = self.call(Method::DELETE, &path, None).await {
                revoked = Some(self.now());
                break;
            }
        }
        // Keys are used all the time; each use may be remembered.
        let until = self.now().plus(DEAD_AFTER);
        while self.now() < until {
            let place = self.any_coordinator();
            drop(self.look(secret, place).await);
            sleep(Duration::from_millis(700)).await;
        }
        let Some(revoked) = revoked else { return };
        for place in 0..self.company.setting.coordinators {
            let begun = self.now();
            if let Answer::Came(status @ 200..=299, _) = self.look(secret, place).await
                && begun.since(revoked) > DEAD_AFTER
            {
                let late = begun.since(revoked);
                let what = format!("c{place} answers {status} to a key revoked {late:?} ago");
                self.company.checker.violate("P18", what);
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
        self.company.api.send(place, &call).await
    }

    /// Uses a key.
    async fn look(&self, secret: &str, place: usize) -> Answer {
        let call = Call {
            method: Method::GET,
            path: "/v1/customer",
            secret,
            idempotency_key: None,
            body: None,
        };
        self.company.api.send(place, &call).await
    }

    fn now(&self) -> Moment {
        self.company.checker.now()
    }

    fn any_coordinator(&mut self) -> usize {
        self.rng.index(self.company.setting.coordinators)
    }

    fn any_worker(&mut self) -> String {
        worker(self.rng.index(self.company.setting.workers))
    }
}

/// A revoked key stops working on every coordinator within this.
const DEAD_AFTER: Duration = Duration::from_secs(5);
