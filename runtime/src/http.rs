//! The HTTP API of the contract, over the [`Store`] port.
//!
//! Owns routing, authentication, validation, and what is answered; [`server`] owns connections.
//! Decides nothing about workloads: it writes wishes and submissions, which any coordinator may do
//! at any time, also without a leader, and reads rows. Mutations run in tasks of their own
//! ([`ApiState::detached`]), so that a client that hangs up cannot leave one half-way.
//!
//! One table ([`routes`]) says for every route its method, path and who may use it; router and
//! tests are both made from it.

mod admin;
pub mod admission;
pub mod auth;
mod body;
mod changes;
mod configs;
mod control;
mod customers;
mod dto;
pub mod error;
mod finish;
mod health;
#[doc(hidden)]
pub mod inputs;
mod json;
mod keys;
mod leftover;
mod logs;
mod openapi;
mod outcome;
mod pagination;
pub mod places;
pub mod pursuit;
mod query;
mod routes;
mod schema;
pub mod server;
mod stats;
mod submission;
mod wait;
mod wishes;
mod workloads;

use crate::{
    ambient::Ambient,
    hints::{Changes, Hints},
    probes::planted,
    status::NodeStatus,
    store::{KeyId, Store},
};
use axum::{Router, middleware};
use error::{ApiError, Code};
use metrics_exporter_prometheus::PrometheusHandle;
use std::{future::Future, sync::Arc};
use tokio::{sync::watch, time::Duration};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

/// Everything that handlers need. Cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    /// The truth.
    pub store: Arc<dyn Store>,
    /// To whoever leads.
    pub hints: Arc<dyn Hints>,
    /// From whoever learns of commits, to this process's long-polls.
    pub changes: Arc<Changes>,
    /// What is known of this process.
    pub status: watch::Receiver<NodeStatus>,
    /// What `/metrics` shows.
    pub metrics: PrometheusHandle,
    /// Time, ids, randomness.
    pub ambient: Arc<dyn Ambient>,
    /// The keys checked lately.
    pub keys: Arc<auth::Keys>,
    /// What each customer may still ask.
    pub admission: Arc<admission::Admission>,
    /// What may go on at once.
    pub places: Arc<places::Places>,
    /// The mutations in flight: whoever stops the process closes it and waits for it.
    pub mutations: TaskTracker,
}

impl ApiState {
    /// A state with nothing remembered and nothing in flight.
    pub fn new(
        store: Arc<dyn Store>,
        hints: Arc<dyn Hints>,
        status: watch::Receiver<NodeStatus>,
        metrics: PrometheusHandle,
        ambient: Arc<dyn Ambient>,
    ) -> Self {
        Self {
            store,
            hints,
            changes: Arc::default(),
            status,
            metrics,
            ambient,
            keys: Arc::default(),
            admission: Arc::default(),
            places: Arc::default(),
            mutations: TaskTracker::new(),
        }
    }

    /// Forgets a key that was revoked elsewhere. Lost calls cost at most [`auth::VALIDITY`].
    pub fn invalidate_key(&self, key: KeyId) {
        self.keys.invalidate(key);
    }

    /// Runs a mutation to its end, whether or not the client waits for it. Until then it keeps the
    /// place of its request.
    async fn detached<T: Send + 'static>(
        &self,
        mutation: impl Future<Output = Result<T, ApiError>> + Send + 'static,
    ) -> Result<T, ApiError> {
        if planted!(StatementDropped) {
            return mutation.await;
        }
        let place = places::current();
        let mutation = async move {
            let result = mutation.await;
            drop(place);
            result
        };
        let mutation = self.mutations.track_future(mutation.in_current_span());
        let task = tokio::spawn(mutation);
        match task.await {
            Ok(result) => result,
            Err(error) => {
                tracing::error!(%error, "a mutation did not run to its end");
                Err(ApiError::internal())
            }
        }
    }

    /// Resolves when the process begins to stop.
    async fn stopping(&self) {
        let mut status = self.status.clone();
        // A driver that is gone is as good as one that stops.
        drop(status.wait_for(|status| status.stopping).await);
    }
}

/// The API as a service: every route of the table, every refusal as a problem.
pub fn router(state: ApiState) -> Router {
    let mut router = Router::new();
    for route in routes::all() {
        let check = middleware::from_fn_with_state((state.clone(), route.access), auth::check);
        router = router.route(&route.path, route.handler.route_layer(check));
    }
    router
        .fallback(|| async { ApiError::not_found("route") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(
                Code::MethodNotAllowed,
                "this route has other methods: see Allow",
            )
        })
        .layer(middleware::from_fn_with_state(
            state.clone(),
            finish::finish,
        ))
        .with_state(state)
}

/// Longest body of most routes.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Longest body of a batch.
pub const BATCH_BODY_BYTES_MAX: usize = 8 << 20;
/// How long a body may take to arrive.
pub const REQUEST_READ: Duration = Duration::from_secs(10);
/// How long an answer may take to begin.
pub const RESPONSE: Duration = Duration::from_secs(30);

#[cfg(test)]
pub(crate) mod tests;
