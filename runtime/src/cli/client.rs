//! Speaks HTTP with a coordinator, and says again what it is safe to say again.
//!
//! Owns the retry policy: 429 and 503 mean "not done", and 500, 502, 504 and a broken connection
//! mean "unknown"; each is repeated within a budget, because every request made here is one that
//! may be repeated (a read, a wish, or a submission with its Idempotency-Key). Requests that may
//! not ([`Retry::Never`]) are only repeated when they certainly never reached a server. Does not
//! know what the answers mean.

use std::{sync::Once, time::Duration};

use reqwest::{
    Method, StatusCode, Url,
    header::{HeaderMap, RETRY_AFTER},
    redirect,
};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    failure::{Failure, Outcome},
    output::say,
    problem::Problem,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Above the coordinator's own 30 s, so that its answer wins.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// A server that nobody ever reached is probably not there.
const UNREACHABLE_BUDGET: Duration = Duration::from_secs(2);

/// How long to keep trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// Doing it twice is not the same as once.
    Never,
    /// Repeat until this much time is over.
    For(Duration),
}

impl Retry {
    /// For reads and wishes.
    pub(super) const BRIEF: Self = Self::For(Duration::from_secs(10));
    /// For submissions, which should survive the change of a leader or a restart.
    pub(super) const PATIENT: Self = Self::For(Duration::from_secs(30));
    /// For following a workload, which may well outlive an outage.
    pub(super) const STUBBORN: Self = Self::For(Duration::from_secs(120));
}

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Request<'a> {
    method: Method,
    path: Vec<&'a str>,
    query: Vec<(&'a str, String)>,
    body: Option<&'a Value>,
    idempotency_key: Option<&'a str>,
    retry: Retry,
}

impl<'a> Request<'a> {
    /// Reads `/v1/{path}`; each part of the path is escaped.
    pub(super) fn get(path: &[&'a str]) -> Self {
        Self::new(Method::GET, path)
    }

    /// Posts a body.
    pub(super) fn post(path: &[&'a str], body: &'a Value) -> Self {
        Self {
            body: Some(body),
            ..Self::new(Method::POST, path)
        }
    }

    /// Patches with a body.
    pub(super) fn patch(path: &[&'a str], body: &'a Value) -> Self {
        Self {
            body: Some(body),
            ..Self::new(Method::PATCH, path)
        }
    }

    /// Deletes.
    pub(super) fn delete(path: &[&'a str]) -> Self {
        Self::new(Method::DELETE, path)
    }

    fn new(method: Method, path: &[&'a str]) -> Self {
        Self {
            method,
            path: path.to_vec(),
            query: Vec::new(),
            body: None,
            idempotency_key: None,
            retry: Retry::BRIEF,
        }
    }

    pub(super) fn query(mut self, name: &'a str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    pub(super) fn query_if(self, name: &'a str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    pub(super) fn idempotency_key(mut self, key: &'a str) -> Self {
        self.idempotency_key = Some(key);
        self
    }

    pub(super) fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }
}

/// A connection to one server with one key.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    server: Url,
    api_key: String,
    customer: Option<String>,
}

/// An attempt that failed, and what may be done about it.
struct Miss {
    failure: Failure,
    kind: MissKind,
    /// What the server asked to wait.
    retry_after: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MissKind {
    /// Saying it again gives the same answer.
    Final,
    /// It certainly was not done.
    NotDone,
    /// It may have been done.
    Unknown,
    /// There was nobody to ask.
    Unreachable,
}

impl Client {
    pub(super) fn new(server: &str, api_key: &str, customer: Option<String>) -> Outcome<Self> {
        let wrong = |why: &str| Failure::usage(format!("--server {server}: {why}"));
        let url = Url::parse(server).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wrong("expected http://HOST:PORT or https://HOST:PORT"));
        }
        install_tls();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(redirect::Policy::none())
            .user_agent(concat!("niyanta/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&url) {
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .map_err(|error| Failure::failed(format!("cannot start: {}", chain(&error))))?;
        if !api_key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::usage(
                "the API key holds characters that no key has; check --api-key and NIYANTA_API_KEY",
            ));
        }
        Ok(Self {
            http,
            server: url,
            api_key: api_key.to_owned(),
            customer,
        })
    }

    /// Sends it, again where that is safe and may help; the answer's JSON, `null` for an empty one.
    pub(super) async fn send(&self, request: &Request<'_>) -> Outcome<Value> {
        let sent = self.send_noting_doubt(request).await;
        sent.map_err(|(failure, _)| failure)
    }

    /// The same; beside a failure, whether the request may have been carried out all the same.
    pub(super) async fn send_noting_doubt(
        &self,
        request: &Request<'_>,
    ) -> Result<Value, (Failure, bool)> {
        let started = Instant::now();
        let mut backoff = FIRST_BACKOFF;
        let mut reached = false;
        let mut in_doubt = false;
        loop {
            let miss = match self.attempt(request).await {
                Ok(value) => return Ok(value),
                Err(miss) => miss,
            };
            reached |= miss.kind != MissKind::Unreachable;
            in_doubt |= miss.kind == MissKind::Unknown;
            let budget = match (request.retry, miss.kind) {
                (_, MissKind::Final) | (Retry::Never, MissKind::Unknown) => Duration::ZERO,
                (Retry::Never, MissKind::NotDone | MissKind::Unreachable) => UNREACHABLE_BUDGET,
                (Retry::For(budget), MissKind::Unreachable) if !reached => {
                    budget.min(UNREACHABLE_BUDGET)
                }
                (Retry::For(budget), _) => budget,
            };
            let pause = jittered(backoff).max(miss.retry_after.unwrap_or_default());
            if started.elapsed() + pause > budget {
                return Err((miss.failure, in_doubt));
            }
            if pause >= Duration::from_secs(1) {
                say(&format!(
                    "niyanta: {}; trying again in {:.1} s",
                    miss.failure.first_line(),
                    pause.as_secs_f64()
                ));
            }
            sleep(pause).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }

    async fn attempt(&self, request: &Request<'_>) -> Result<Value, Miss> {
        let mut builder = self
            .http
            .request(request.method.clone(), self.url(&request.path))
            .bearer_auth(&self.api_key)
            .query(&request.query);
        if let Some(customer) = &self.customer {
            builder = builder.query(&[("customer_id", customer)]);
        }
        if let Some(body) = request.body {
            builder = builder.json(body);
        }
        if let Some(key) = request.idempotency_key {
            builder = builder.header("Idempotency-Key", key);
        }
        let response = builder.send().await.map_err(|error| self.broken(&error))?;
        let status = response.status();
        let headers = response.headers().clone();
        let body = response
            .bytes()
            .await
            .map_err(|error| self.broken(&error))?;
        if status.is_success() {
            return self.decode(&body);
        }
        let request_id = headers
            .get("x-request-id")
            .and_then(|value| value.to_str().ok());
        let reason = status.canonical_reason().unwrap_or("not a success");
        let problem = Problem::read(status.as_u16(), reason, request_id, &body);
        Err(Miss {
            failure: Failure::Refused(Box::new(problem)),
            kind: classify(status),
            retry_after: retry_after(&headers),
        })
    }

    fn decode(&self, body: &[u8]) -> Result<Value, Miss> {
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(body).map_err(|error| Miss {
            failure: Failure::with_hint(
                format!("the answer of {} is not JSON: {error}", self.server),
                "is that a niyanta coordinator? Check --server and NIYANTA_SERVER",
            ),
            kind: MissKind::Final,
            retry_after: None,
        })
    }

    fn broken(&self, error: &reqwest::Error) -> Miss {
        let unreachable = error.is_connect();
        let what = if unreachable {
            "cannot reach"
        } else {
            "lost the connection to"
        };
        let hint = if unreachable {
            "is a coordinator running there? Check --server and NIYANTA_SERVER, or start \
             `niyanta dev`"
        } else {
            "it is unknown whether the request was carried out"
        };
        Miss {
            failure: Failure::with_hint(format!("{what} {}: {}", self.server, chain(error)), hint),
            kind: if unreachable {
                MissKind::Unreachable
            } else {
                MissKind::Unknown
            },
            retry_after: None,
        }
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.server.clone();
        // Only URLs that cannot be a base have no segments, and `new` refused those.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        url
    }
}

fn classify(status: StatusCode) -> MissKind {
    match status.as_u16() {
        408 | 429 | 503 => MissKind::NotDone,
        500 | 502 | 504 => MissKind::Unknown,
        _ => MissKind::Final,
    }
}

/// Seconds; the form with a date is not one that a coordinator sends.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Between half of it and all of it, so that clients that failed together do not return together.
fn jittered(backoff: Duration) -> Duration {
    backoff.mul_f64(rand::random_range(0.5..=1.0))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// The causes of an error on one line. What reqwest says first repeats the URL and tells nothing.
fn chain(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if error.is_timeout() {
        "no answer in time".to_owned()
    } else {
        cause.to_string()
    }
}

/// reqwest is built without a default, so that the same library serves HTTP, Postgres and NATS.
fn install_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that the process already has one, which is as good.
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
    });
}
