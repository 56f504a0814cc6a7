//! The API as its clients meet it: requests in, answers out, over a store that is told what to say.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

pub(crate) mod stub_store;

use super::{auth::new_key, *};
use crate::{
    ambient::SystemAmbient,
    hints::NoHints,
    status::{Dependency, KnownLeader},
    store::{Json, KeyRow, StoreError, SubmitOutcome, WishOutcome, WorkloadView},
};
use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, Request},
};
use niyanta_core::{
    ids::{Attempt, CustomerId, WishRevision, WorkloadId},
    time::WallTime,
    workload::{Desired, OnLeaseLoss, Status},
};
use serde_json::json;
use std::collections::BTreeMap;
use stub_store::StubStore;
use tokio::time::{Instant, sleep};
use tower::ServiceExt as _;

const OWN: CustomerId = CustomerId(1);
const OTHER: CustomerId = CustomerId(2);
const WORKLOAD: WorkloadId = WorkloadId(7);

/// An API over a stub, and keys for it.
struct Rig {
    store: Arc<StubStore>,
    state: ApiState,
    status: watch::Sender<NodeStatus>,
    own: String,
    admin: String,
}

/// An answer, read.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Json {
        serde_json::from_str(&self.text).unwrap()
    }

    /// That it is a problem in the contract's form, with this status and code.
    fn refuses(&self, status: u16, code: &str) {
        let problem = self.json();
        assert_eq!(
            (self.status, &problem["code"]),
            (status, &json!(code)),
            "{self:?}"
        );
        assert_eq!(problem["status"], json!(status));
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(
            problem["request_id"].as_str(),
            self.headers["x-request-id"].to_str().ok()
        );
        for member in ["type", "title", "detail"] {
            assert!(problem[member].is_string(), "{member}: {problem}");
        }
        let retries = self.headers.contains_key("retry-after");
        assert_eq!(retries, matches!(status, 429 | 503), "{self:?}");
    }

    fn pointers(&self) -> Vec<String> {
        let problem = self.json();
        let errors = problem["errors"].as_array().unwrap().iter();
        errors
            .map(|error| error["pointer"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Rig {
    fn new() -> Self {
        let mut store = StubStore::default();
        store.customers.insert(OWN);
        store.customers.insert(OTHER);
        let own = add_key(&store, Some(OWN));
        let admin = add_key(&store, None);
        store
            .workloads
            .lock()
            .unwrap()
            .insert((OWN, WORKLOAD), workload(Status::Pending));
        let known = NodeStatus {
            database: Dependency::Connected,
            schema_known: true,
            leader: KnownLeader::Coordinator("a".to_owned()),
            ..NodeStatus::starting(Instant::now())
        };
        let (status, receiver) = watch::channel(known);
        let store = Arc::new(store);
        let metrics = crate::metrics::install().unwrap();
        let state = ApiState::new(
            Arc::clone(&store) as _,
            Arc::new(NoHints),
            receiver,
            metrics,
            Arc::new(SystemAmbient),
        );
        Self {
            store,
            state,
            status,
            own,
            admin,
        }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        send(&self.state, request).await
    }

    /// By the customer's own key.
    async fn get(&self, uri: &str) -> Answer {
        self.send(request("GET", uri, &self.own).body(Body::empty()).unwrap())
            .await
    }

    /// By the customer's own key.
    async fn post(&self, uri: &str, body: &Json) -> Answer {
        self.send(post(uri, &self.own, body.to_string())).await
    }
}

async fn send(state: &ApiState, request: Request<Body>) -> Answer {
    let response = router(state.clone()).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    assert!(parts.headers.contains_key("x-request-id"));
    Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        text: String::from_utf8(bytes.to_vec()).unwrap(),
    }
}

fn request(method: &str, uri: &str, secret: &str) -> axum::http::request::Builder {
    let authorization = format!("Bearer {secret}");
    Request::builder()
        .method(method)
        .uri(uri)
        .header("authorization", authorization)
}

fn post(uri: &str, secret: &str, body: impl Into<Body>) -> Request<Body> {
    let request = request("POST", uri, secret).header("content-type", "application/json");
    request.body(body.into()).unwrap()
}

fn add_key(store: &StubStore, customer: Option<CustomerId>) -> String {
    let new = new_key();
    let row = KeyRow {
        id: new.id,
        customer,
        name: "a key".to_owned(),
        prefix: new.prefix,
        secret_hash: new.secret_hash,
        created_at: WallTime(0),
        expires_at: None,
        last_used_at: None,
        revoked_at: None,
    };
    store.keys.lock().unwrap().insert(new.secret_hash, row);
    new.secret.expose().to_owned()
}

fn workload(status: Status) -> WorkloadView {
    WorkloadView {
        id: WORKLOAD,
        customer: OWN,
        workload_type: "sleep".parse().unwrap(),
        status,
        desired: Desired::Run,
        wish_revision: WishRevision(1),
        pending_reason: None,
        priority: 10,
        progress_percent: None,
        progress_message: None,
        worker_id: None,
        attempt: Attempt(0),
        retry_count: 0,
        loss_count: 0,
        input_params: json!({}),
        result_data: None,
        error_message: None,
        error_type: None,
        affinity_rules: None,
        timeout_seconds: 3_600,
        max_retries: 3,
        on_lease_loss: OnLeaseLoss::Stop,
        labels: BTreeMap::new(),
        run_after: None,
        created_at: WallTime(0),
        scheduled_at: None,
        started_at: None,
        completed_at: None,
        updated_at: WallTime(0),
        version: 3,
    }
}

mod admission;
#[cfg(feature = "real")]
mod behaviour;
mod changes;
mod control;
mod document;
mod edges;
mod keys;
mod logs;
mod matrix;
mod wire;
