//! Reading a request: its body within limits of size and time and within what this process has room
//! for, and the ids in its path.

use super::{
    ApiState, REQUEST_READ,
    error::{ApiError, Code},
    places,
};
use crate::store::Json;
use axum::{
    body::{Body, HttpBody as _},
    extract::{FromRequest, FromRequestParts, RawPathParams, Request},
    http::{HeaderMap, header, request::Parts},
};
use futures::StreamExt as _;
use std::str::FromStr;
use tokio::time::{Instant, timeout_at};

/// A JSON body of at most so many bytes.
pub(crate) struct JsonBody<const BYTES: usize>(pub(crate) Json);

impl<const BYTES: usize> FromRequest<ApiState> for JsonBody<BYTES> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &ApiState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = read(body, BYTES).await?;
        require_json(&parts.headers)?;
        parse(&bytes).map(Self)
    }
}

/// A JSON body that may be missing.
pub(crate) struct OptionalJsonBody<const BYTES: usize>(pub(crate) Option<Json>);

impl<const BYTES: usize> FromRequest<ApiState> for OptionalJsonBody<BYTES> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &ApiState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = read(body, BYTES).await?;
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        require_json(&parts.headers)?;
        parse(&bytes).map(|json| Self(Some(json)))
    }
}

pub(super) fn parse(bytes: &[u8]) -> Result<Json, ApiError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ApiError::bad_request(format!("the body is not JSON: {error}")))
}

fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let declared = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media = declared
        .and_then(|text| text.split(';').next())
        .map(str::trim);
    let is_json = media.is_some_and(|media| {
        let media = media.to_ascii_lowercase();
        media == "application/json"
            || (media.starts_with("application/") && media.ends_with("+json"))
    });
    if is_json {
        return Ok(());
    }
    let detail = "send Content-Type: application/json";
    Err(ApiError::new(Code::UnsupportedMediaType, detail))
}

/// Reads the whole body.
async fn read(body: Body, bytes_max: usize) -> Result<Vec<u8>, ApiError> {
    let deadline = Instant::now() + REQUEST_READ;
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > bytes_max {
        return Err(too_large(bytes_max));
    }
    let mut bytes = Vec::with_capacity(announced.min(FREE_BYTES));
    let mut room = FREE_BYTES;
    let mut chunks = body.into_data_stream();
    loop {
        let Ok(chunk) = timeout_at(deadline, chunks.next()).await else {
            let detail = "the body did not arrive within 10 s";
            return Err(ApiError::new(Code::RequestTimeout, detail));
        };
        match chunk {
            None => return Ok(bytes),
            Some(Err(_)) => return Err(ApiError::bad_request("the body broke off")),
            Some(Ok(chunk)) if bytes.len() + chunk.len() > bytes_max => {
                return Err(too_large(bytes_max));
            }
            Some(Ok(chunk)) => {
                let wanted = bytes.len() + chunk.len();
                if wanted > room {
                    // Twice what is there, so that it is seldom asked for; never beyond the most.
                    let grown = (room * 2).max(wanted).min(bytes_max);
                    if let Some(place) = places::current() {
                        place.grow(grown - room)?;
                    }
                    room = grown;
                }
                bytes.extend_from_slice(&chunk);
            }
        }
    }
}

/// The part of a body that is held without asking for room.
const FREE_BYTES: usize = 64 << 10;

fn too_large(bytes_max: usize) -> ApiError {
    let detail = format!("the body is larger than {bytes_max} bytes");
    ApiError::new(Code::PayloadTooLarge, detail)
}

/// An id in the path. One that is not even of the right form names nothing: 404.
pub(crate) struct PathId<T>(pub(crate) T);

/// Ids that stand in paths, and what they name.
pub(crate) trait NamesResource: FromStr {
    /// For the words of 404.
    const KIND: &'static str;
}

impl NamesResource for niyanta_core::ids::WorkloadId {
    const KIND: &'static str = "workload";
}
impl NamesResource for niyanta_core::ids::CustomerId {
    const KIND: &'static str = "customer";
}
impl NamesResource for niyanta_core::ids::WorkerId {
    const KIND: &'static str = "worker";
}
impl NamesResource for crate::store::ConfigId {
    const KIND: &'static str = "workload config";
}
impl NamesResource for crate::store::KeyId {
    const KIND: &'static str = "API key";
}

impl<T: NamesResource + Send> FromRequestParts<ApiState> for PathId<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let missing = || ApiError::not_found(T::KIND);
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| missing())?;
        let (_, text) = params.iter().next().ok_or_else(missing)?;
        text.parse().map(Self).map_err(|_| missing())
    }
}
