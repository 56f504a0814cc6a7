//! A small client of the HTTP API.

use std::sync::Once;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::history::History;
use super::wait::until;

/// One answer. `body` is null when the body is empty or not JSON; `text` has it as it came.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Response headers.
    pub headers: HeaderMap,
    /// The body as JSON.
    pub body: Value,
    /// The body as text.
    pub text: String,
}

impl Answer {
    /// The body, after asserting the status.
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "unexpected answer: {}", self.text);
        self.body
    }

    /// Asserts a problem document (RFC 9457) with this status and code, and returns it.
    pub fn expect_problem(self, status: u16, code: &str) -> Value {
        let kind = self
            .headers
            .get("content-type")
            .and_then(|value| value.to_str().ok());
        let told = (self.status, self.body["code"].as_str());
        assert_eq!(
            told,
            (status, Some(code)),
            "unexpected answer: {}",
            self.text
        );
        assert_eq!(kind, Some("application/problem+json"), "{}", self.text);
        assert_eq!(self.body["status"], status, "{}", self.text);
        assert!(self.body["request_id"].is_string(), "{}", self.text);
        self.body
    }
}

/// One base URL and one key.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

impl Client {
    /// A client of the coordinator at `base`.
    #[must_use]
    pub fn new(base: &str, key: Option<&str>) -> Self {
        Self::with_patience(base, key, Duration::from_secs(40))
    }

    /// A client that waits no longer than this for a whole answer.
    #[must_use]
    pub fn with_patience(base: &str, key: Option<&str>, patience: Duration) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            let _already_installed = rustls::crypto::ring::default_provider().install_default();
        });
        let http = reqwest::Client::builder()
            .timeout(patience)
            .no_proxy()
            .build()
            .unwrap();
        Self {
            http,
            base: base.to_owned(),
            key: key.map(str::to_owned),
        }
    }

    /// The same coordinator with another key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self {
            key: Some(key.to_owned()),
            ..self.clone()
        }
    }

    /// Sends one request with the key.
    ///
    /// # Errors
    /// When no whole answer came.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Result<Answer, reqwest::Error> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        if let Some(body) = body {
            if !headers
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
            {
                request = request.header("content-type", "application/json");
            }
            request = request.body(body);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer {
            status,
            headers,
            body,
            text,
        })
    }

    /// GET; panics when no answer comes.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None).await.unwrap()
    }

    /// GET; `None` when no answer comes.
    pub async fn try_get(&self, path: &str) -> Option<Answer> {
        self.send(Method::GET, path, &[], None).await.ok()
    }

    /// POST; panics when no answer comes.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, &[], Some(body.to_string()))
            .await
            .unwrap()
    }

    /// DELETE; panics when no answer comes.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], None).await.unwrap()
    }

    /// Submits one workload and returns its id; waits as told while rate-limited.
    pub async fn submit(&self, workload_type: &str, input_params: Value) -> String {
        self.submit_body(&json!({"workload_type": workload_type, "input_params": input_params}))
            .await
    }

    /// Submits this body and returns the workload's id; waits as told while rate-limited.
    pub async fn submit_body(&self, body: &Value) -> String {
        loop {
            let answer = self.post("/v1/workloads", body).await;
            if answer.status == 429 {
                sleep(retry_after(&answer)).await;
                continue;
            }
            let workload = answer.expect(202);
            return workload["workload_id"].as_str().unwrap().to_owned();
        }
    }

    /// Submits with an idempotency key until the outcome is known, trying `others` in turn: what a
    /// careful customer does while coordinators come and go.
    pub async fn submit_surely(&self, others: &[Self], body: &Value, key: &str) -> String {
        let started = Instant::now();
        let mut round = 0;
        loop {
            let target = if round == 0 {
                self
            } else {
                &others[(round - 1) % others.len()]
            };
            let headers = [("Idempotency-Key", key)];
            let sent = target
                .send(
                    Method::POST,
                    "/v1/workloads",
                    &headers,
                    Some(body.to_string()),
                )
                .await;
            match sent {
                Ok(answer) if answer.status == 202 => {
                    return answer.body["workload_id"].as_str().unwrap().to_owned();
                }
                Ok(answer) if answer.status == 429 => sleep(retry_after(&answer)).await,
                Ok(answer) if answer.status >= 500 => sleep(Duration::from_millis(200)).await,
                Ok(answer) => panic!("submission refused: {} {}", answer.status, answer.text),
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
            round += 1;
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "cannot submit {key} anywhere"
            );
        }
    }

    /// The workload now; waits as told while rate-limited.
    pub async fn workload(&self, id: &str) -> Value {
        loop {
            let answer = self.get(&format!("/v1/workloads/{id}")).await;
            if answer.status != 429 {
                return answer.expect(200);
            }
            sleep(retry_after(&answer)).await;
        }
    }

    /// Waits until the workload satisfies `probe`, panicking with its last state otherwise.
    pub async fn wait_until(
        &self,
        id: &str,
        what: &str,
        within: Duration,
        probe: impl Fn(&Value) -> bool,
    ) -> Value {
        let started = Instant::now();
        loop {
            let workload = self.workload(id).await;
            if probe(&workload) {
                return workload;
            }
            if started.elapsed() > within {
                let history = self.history(id).await;
                panic!("waited {within:?} in vain for {what}: {workload:#}\n{history:#?}");
            }
            sleep(Duration::from_millis(25)).await;
        }
    }

    /// Waits for a status; any other terminal status on the way is a failure at once.
    pub async fn wait_for(&self, id: &str, status: &str, within: Duration) -> Value {
        let ended = |value: &Value| {
            ["COMPLETED", "FAILED", "CANCELLED"]
                .iter()
                .any(|terminal| value["status"] == *terminal)
        };
        let found = self
            .wait_until(id, status, within, |value| {
                value["status"] == status || ended(value)
            })
            .await;
        assert_eq!(found["status"], status, "{found:#}");
        found
    }

    /// `cancel`, `pause` or `resume`.
    pub async fn control(&self, id: &str, verb: &str) -> Answer {
        self.post(&format!("/v1/workloads/{id}/{verb}"), &json!({}))
            .await
    }

    /// The whole audit trail of a workload.
    pub async fn history(&self, id: &str) -> History {
        History::new(
            id,
            self.all(&format!("/v1/workloads/{id}/audit"), "events")
                .await,
        )
    }

    /// The log lines of a workload.
    pub async fn logs(&self, id: &str) -> Vec<Value> {
        self.all(&format!("/v1/workloads/{id}/logs"), "logs").await
    }

    /// Every row of a list, following its cursors.
    pub async fn all(&self, path: &str, plural: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let separator = if path.contains('?') { '&' } else { '?' };
            let page = match &cursor {
                Some(cursor) => self.get(&format!("{path}{separator}cursor={cursor}")).await,
                None => self.get(path).await,
            };
            if page.status == 429 {
                sleep(retry_after(&page)).await;
                continue;
            }
            let page = page.expect(200);
            let Some(found) = page[plural].as_array() else {
                panic!("no {plural} in {page:#}")
            };
            rows.extend(found.iter().cloned());
            cursor = page["pagination"]["next_cursor"]
                .as_str()
                .map(str::to_owned);
            if cursor.is_none() {
                return rows;
            }
        }
    }

    /// Waits until the list of workers shows this many HEALTHY ones. Needs an admin key.
    pub async fn healthy_workers(&self, count: usize) {
        until(
            &format!("{count} healthy workers"),
            Duration::from_secs(30),
            async || {
                let workers = self.all("/v1/admin/workers", "workers").await;
                let healthy = workers
                    .iter()
                    .filter(|worker| worker["status"] == "HEALTHY")
                    .count();
                (healthy == count).then_some(())
            },
        )
        .await;
    }

    /// One row of the list of workers. Needs an admin key.
    pub async fn worker(&self, id: &str) -> Option<Value> {
        let workers = self.all("/v1/admin/workers", "workers").await;
        workers.into_iter().find(|worker| worker["worker_id"] == id)
    }
}

fn retry_after(answer: &Answer) -> Duration {
    let told = answer
        .headers
        .get("retry-after")
        .and_then(|value| value.to_str().ok());
    Duration::from_secs(
        told.and_then(|text| text.parse().ok())
            .expect("429 says Retry-After"),
    )
    .max(Duration::from_millis(100))
}
