//! Calls that reach a coordinator's router without a connection. A client that hangs up drops what
//! answers it, wherever that is, as a server does when a connection ends.

use crate::{
    decision::Rng,
    parties::{Answer, Api, Call, PATIENCE},
};
use async_trait::async_trait;
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, header},
};
use futures::FutureExt as _;
use madsim::{runtime::Handle, task::NodeId};
use niyanta_core::time::Duration;
use serde_json::Value;
use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{sync::oneshot, time::sleep};
use tower::ServiceExt as _;

/// What serves the API of each coordinator's process, while it does.
#[derive(Clone, Default)]
pub(super) struct Routers(Arc<Mutex<Vec<Option<Router>>>>);

impl Routers {
    /// The process at this place serves, or does not any more.
    pub(super) fn set(&self, place: usize, router: Option<Router>) {
        let mut routers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if routers.len() <= place {
            routers.resize_with(place + 1, || None);
        }
        routers[place] = router;
    }

    fn get(&self, place: usize) -> Option<Router> {
        let routers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        routers.get(place).cloned().flatten()
    }
}

/// The way to coordinators' routers.
pub(super) struct InProcess {
    pub(super) routers: Routers,
    /// The coordinators' nodes.
    pub(super) nodes: Vec<NodeId>,
    /// Calls that are given up half-way, of a thousand.
    pub(super) hang_ups: u64,
    pub(super) rng: Mutex<Rng>,
}

impl InProcess {
    fn rng(&self) -> MutexGuard<'_, Rng> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long this client waits.
    fn patience(&self) -> Duration {
        let mut rng = self.rng();
        if !rng.per_mille(self.hang_ups) {
            return PATIENCE;
        }
        let long = if rng.per_mille(700) { 8 } else { 1_500 };
        rng.duration(Duration::ZERO, Duration::from_millis(long))
    }
}

#[async_trait]
impl Api for InProcess {
    async fn send(&self, place: usize, call: &Call<'_>) -> Answer {
        let handle = Handle::current();
        let node = self.nodes[place];
        let (Some(router), Some(spawner), Some(request)) = (
            self.routers.get(place),
            handle.get_node(node),
            request(call),
        ) else {
            return Answer::NotSent;
        };
        if handle.is_exit(node) {
            return Answer::NotSent;
        }
        let (told, answer) = oneshot::channel();
        let serving = spawner.spawn(async move {
            // A panic ends the connection, and nothing else.
            if let Ok(answer) = AssertUnwindSafe(answer_to(router, request))
                .catch_unwind()
                .await
            {
                // The client may have gone meanwhile.
                drop(told.send(answer));
            }
        });
        let answer = tokio::select! {
            biased;
            answer = answer => answer.unwrap_or(Answer::Lost),
            () = sleep(self.patience()) => Answer::Lost,
        };
        serving.abort();
        answer
    }
}

fn request(call: &Call<'_>) -> Option<Request<Body>> {
    let mut request = Request::builder()
        .method(&call.method)
        .uri(call.path)
        .header(header::AUTHORIZATION, format!("Bearer {}", call.secret));
    if let Some(key) = call.idempotency_key {
        request = request.header("idempotency-key", key);
    }
    let body = match call.body {
        Some(body) => {
            request = request.header(header::CONTENT_TYPE, "application/json");
            Body::from(body.to_string())
        }
        None => Body::empty(),
    };
    request.body(body).ok()
}

async fn answer_to(router: Router, request: Request<Body>) -> Answer {
    let Ok(response) = router.oneshot(request).await;
    let status = response.status().as_u16();
    let Ok(body) = to_bytes(response.into_body(), BODY_MAX).await else {
        return Answer::Lost;
    };
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Answer::Came(status, body)
}

/// No answer is longer.
const BODY_MAX: usize = 16 << 20;
