//! Liveness, readiness and metrics: from what is known, without asking anybody.

use super::{ApiState, dto::moment, finish::Whole};
use crate::status::KnownLeader;
use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderName, StatusCode, header},
    response::IntoResponse,
};
use serde::Serialize;
use utoipa::ToSchema;

/// That the process lives.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    status: &'static str,
    #[schema(format = DateTime)]
    timestamp: String,
}

/// Whether the process can serve, and what of that is known.
#[derive(Serialize, ToSchema)]
pub(crate) struct Readiness {
    healthy: bool,
    is_leader: bool,
    leader: Option<String>,
    generation: u64,
    dependencies: Dependencies,
    uptime_seconds: u64,
}

/// `connected`, `degraded` or `disconnected`.
#[derive(Serialize, ToSchema)]
struct Dependencies {
    database: &'static str,
    broker: &'static str,
}

/// Whether the process lives.
#[utoipa::path(
    get, path = "/health", tag = "probes",
    responses(
        (status = 200, description = "It does", body = Health),
    )
)]
pub(crate) async fn health(State(state): State<ApiState>) -> impl IntoResponse {
    Json(Health {
        status: "ok",
        timestamp: moment(state.ambient.now()),
    })
}

/// Whether the process can serve.
#[utoipa::path(
    get, path = "/ready", tag = "probes",
    responses(
        (status = 200, description = "It can", body = Readiness),
        (status = 503, description = "It cannot", body = Readiness),
    )
)]
pub(crate) async fn ready(State(state): State<ApiState>) -> impl IntoResponse {
    let known = state.status.borrow().clone();
    let healthy = known.is_ready();
    let leader = match known.leader {
        KnownLeader::Coordinator(label) => Some(label),
        KnownLeader::Unknown | KnownLeader::Nobody => None,
    };
    let body = Readiness {
        healthy,
        is_leader: known.is_leader,
        leader,
        generation: known.generation.0,
        dependencies: Dependencies {
            database: known.database.as_str(),
            broker: known.broker.as_str(),
        },
        uptime_seconds: known.started_at.elapsed().as_secs(),
    };
    let status = if healthy {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let retry: &[(HeaderName, &str)] = &[(header::RETRY_AFTER, "1")];
    let mut response = (status, Extension(Whole), Json(body)).into_response();
    if !healthy {
        for (name, value) in retry {
            response
                .headers_mut()
                .insert(name, axum::http::HeaderValue::from_static(value));
        }
    }
    response
}

/// Metrics, as Prometheus reads them.
#[utoipa::path(
    get, path = "/metrics", tag = "probes",
    responses(
        (status = 200, description = "Prometheus text format", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn metrics(State(state): State<ApiState>) -> impl IntoResponse {
    let text = state.metrics.render();
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    )
}
