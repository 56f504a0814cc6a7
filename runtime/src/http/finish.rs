//! The outermost layer: what is the same for every request and every answer.
//!
//! Request id, span, limits of address and headers, the response deadline, panics, the body of
//! problems, the
//! access log and the counters. It stands outside routing's answers too (404, 405), so nothing
//! leaves without a request id, and no error leaves in another form.

use super::{
    ApiState, RESPONSE,
    auth::Principal,
    error::{ApiError, Code},
    leftover::Leftover,
};
use crate::metrics::{HTTP_REQUEST_SECONDS, HTTP_REQUESTS};
use axum::{
    body::Body,
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::Response,
};
use futures::FutureExt as _;
use std::{panic::AssertUnwindSafe, sync::Arc};
use tokio::time::{Instant, timeout};
use tracing::{Instrument as _, field};

/// Names the request to whoever asks about it.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) Arc<str>);

impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(ApiError::internal)
    }
}

/// Runs a request and finishes its answer.
pub(crate) async fn finish(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Response {
    let start = Instant::now();
    let id = request_id(request.headers(), &state);
    request.extensions_mut().insert(RequestId(Arc::clone(&id)));
    let method = method_label(request.method());
    let matched = request.extensions().get::<MatchedPath>();
    let route: Arc<str> =
        matched.map_or_else(|| Arc::from("none"), |path| Arc::from(path.as_str()));
    let span = tracing::info_span!(
        "request",
        method,
        route = &*route,
        request_id = &*id,
        key = field::Empty,
        status = field::Empty,
        latency_ms = field::Empty,
    );
    let (request, leftover) = Leftover::of(request);
    let mut response = match refuse_head(&request) {
        Some(refusal) => axum::response::IntoResponse::into_response(refusal),
        None => guarded(request, next).instrument(span.clone()).await,
    };
    let refusal = response.extensions().get::<ApiError>();
    // A body that did not come in time is not waited for again.
    if refusal.is_some_and(|refusal| refusal.code() != Code::RequestTimeout) {
        leftover.discard().await;
    }
    write_problem(&mut response, &id);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(X_REQUEST_ID, value);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    let status = response.status();
    let latency = start.elapsed();
    span.record("status", status.as_u16());
    span.record("latency_ms", latency.as_secs_f64() * 1e3);
    if let Some(principal) = response.extensions().get::<Principal>() {
        span.record("key", field::display(principal.key()));
    }
    span.in_scope(|| match &*route {
        "/health" | "/ready" | "/metrics" => tracing::debug!("answered"),
        _ => tracing::info!(target: "niyanta::access", "answered"),
    });
    let labels = [
        ("method", method.to_owned()),
        ("route", route.to_string()),
        ("status", status.as_str().to_owned()),
    ];
    metrics::counter!(HTTP_REQUESTS, &labels).increment(1);
    metrics::histogram!(HTTP_REQUEST_SECONDS, &labels[..2]).record(latency.as_secs_f64());
    response
}

/// The answer, in time and whatever happens.
async fn guarded(request: Request, next: Next) -> Response {
    use axum::response::IntoResponse as _;
    let is_read = request.method().is_safe();
    match timeout(RESPONSE, AssertUnwindSafe(next.run(request)).catch_unwind()).await {
        Ok(Ok(response)) => response,
        Ok(Err(_panic)) => {
            tracing::error!("a handler panicked");
            ApiError::internal().into_response()
        }
        // A read that has no answer has done nothing.
        Err(_elapsed) if is_read => ApiError::unavailable().into_response(),
        Err(_elapsed) => ApiError::outcome_unknown().into_response(),
    }
}

/// Gives a refusal its body. Errors that the framework made itself become problems too.
fn write_problem(response: &mut Response, request_id: &str) {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let error = match response.extensions_mut().remove::<ApiError>() {
        Some(error) => error,
        None if is_error && response.extensions().get::<Whole>().is_none() => foreign(status),
        None => return,
    };
    // The words of problems always can be written as JSON.
    let body = serde_json::to_vec(&error.problem(request_id)).unwrap_or_default();
    *response.status_mut() = error.status();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    *response.body_mut() = Body::from(body);
}

/// Marks an error answer that has its final form, such as readiness.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whole;

fn foreign(status: StatusCode) -> ApiError {
    if status.is_server_error() {
        return ApiError::internal();
    }
    ApiError::bad_request("the request cannot be read")
}

/// What is too long or too much to look at.
fn refuse_head(request: &Request) -> Option<ApiError> {
    let uri = request.uri();
    let length = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
    if length > URI_BYTES_MAX {
        let detail = format!("the address has {length} bytes, at most {URI_BYTES_MAX} are allowed");
        return Some(ApiError::new(Code::UriTooLong, detail));
    }
    let headers = request.headers();
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if bytes > HEADER_BYTES_MAX || headers.len() > HEADERS_MAX {
        let detail = format!(
            "{} headers of {bytes} bytes; at most {HEADERS_MAX} of {HEADER_BYTES_MAX} are allowed",
            headers.len()
        );
        return Some(ApiError::new(Code::HeadersTooLarge, detail));
    }
    None
}

/// The caller's id, if it is one of 1 to 128 visible ASCII characters; else a new one.
fn request_id(headers: &HeaderMap, state: &ApiState) -> Arc<str> {
    let sent = headers
        .get(X_REQUEST_ID)
        .and_then(|value| value.to_str().ok());
    let sane =
        sent.filter(|id| (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()));
    sane.map_or_else(
        || Arc::from(format!("req_{:032x}", state.ambient.new_id())),
        Arc::from,
    )
}

/// A label of few values, whatever clients send.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// The request id, both ways.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest path and query.
pub(crate) const URI_BYTES_MAX: usize = 8 << 10;
/// Most headers.
pub(crate) const HEADERS_MAX: usize = 100;
/// Most bytes of headers.
pub(crate) const HEADER_BYTES_MAX: usize = 16 << 10;
