//! Liveness, readiness and metrics: from what is known, without asking anybody.

use super::{ApiState, dto::moment, finish::Whole};
use crate::status::KnownLeader;
use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderName, StatusCode, header},
    response::IntoResponse,
};
use serde_json::json;

pub(crate) async fn health(State(state): State<ApiState>) -> impl IntoResponse {
    Json(json!({ "status": "ok", "timestamp": moment(state.ambient.now()) }))
}

pub(crate) async fn ready(State(state): State<ApiState>) -> impl IntoResponse {
    let known = state.status.borrow().clone();
    let healthy = known.is_ready();
    let leader = match known.leader {
        KnownLeader::Coordinator(label) => Some(label),
        KnownLeader::Unknown | KnownLeader::Nobody => None,
    };
    let body = json!({
        "healthy": healthy,
        "is_leader": known.is_leader,
        "leader": leader,
        "generation": known.generation.0,
        "dependencies": {
            "database": known.database.as_str(),
            "broker": known.broker.as_str(),
        },
        "uptime_seconds": known.started_at.elapsed().as_secs(),
    });
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
