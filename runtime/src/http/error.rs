//! Everything that the API refuses, as one type that becomes `application/problem+json`.
//!
//! An [`ApiError`] does not know its request: the outermost layer (`finish`) writes the body, with
//! the request id, so that no path can forget it. Details are for people; `code` is for programs.
//! Nothing of a database's or broker's own words ever gets into one.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// The stable codes of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Not JSON, a bad query or header; or JSON that breaks the schema.
    InvalidInput,
    /// No key, or none that works.
    Unauthorized,
    /// A key that may not do this.
    Forbidden,
    /// No such route or resource, for this caller.
    NotFound,
    /// The route exists, with other methods.
    MethodNotAllowed,
    /// The request did not arrive in time.
    RequestTimeout,
    /// The resource is in a state that does not allow it.
    InvalidState,
    /// It would contradict what is there.
    Conflict,
    /// `If-Match` names another version.
    PreconditionFailed,
    /// The body is too large.
    PayloadTooLarge,
    /// The address is too long.
    UriTooLong,
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// Too many requests.
    RateLimited,
    /// The customer's queue is full.
    QueueFull,
    /// The headers are too large, or too many.
    HeadersTooLarge,
    /// A bug, or a broken deployment.
    InternalError,
    /// Not done: the database is not there.
    ServiceUnavailable,
    /// The outcome is unknown.
    Timeout,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 18] = [
        Self::InvalidInput,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::InvalidState,
        Self::Conflict,
        Self::PreconditionFailed,
        Self::PayloadTooLarge,
        Self::UriTooLong,
        Self::UnsupportedMediaType,
        Self::RateLimited,
        Self::QueueFull,
        Self::HeadersTooLarge,
        Self::InternalError,
        Self::ServiceUnavailable,
        Self::Timeout,
    ];

    /// Its name, status and title. `INVALID_INPUT` is 400 unless a constructor says 422.
    const fn parts(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::InvalidInput => ("INVALID_INPUT", StatusCode::BAD_REQUEST, "Invalid input"),
            Self::Unauthorized => ("UNAUTHORIZED", StatusCode::UNAUTHORIZED, "Unauthorized"),
            Self::Forbidden => ("FORBIDDEN", StatusCode::FORBIDDEN, "Forbidden"),
            Self::NotFound => ("NOT_FOUND", StatusCode::NOT_FOUND, "Not found"),
            Self::MethodNotAllowed => (
                "METHOD_NOT_ALLOWED",
                StatusCode::METHOD_NOT_ALLOWED,
                "Method not allowed",
            ),
            Self::RequestTimeout => (
                "REQUEST_TIMEOUT",
                StatusCode::REQUEST_TIMEOUT,
                "Request time-out",
            ),
            Self::InvalidState => ("INVALID_STATE", StatusCode::CONFLICT, "Invalid state"),
            Self::Conflict => ("CONFLICT", StatusCode::CONFLICT, "Conflict"),
            Self::PreconditionFailed => (
                "PRECONDITION_FAILED",
                StatusCode::PRECONDITION_FAILED,
                "Precondition failed",
            ),
            Self::PayloadTooLarge => (
                "PAYLOAD_TOO_LARGE",
                StatusCode::PAYLOAD_TOO_LARGE,
                "Payload too large",
            ),
            Self::UriTooLong => ("URI_TOO_LONG", StatusCode::URI_TOO_LONG, "URI too long"),
            Self::UnsupportedMediaType => (
                "UNSUPPORTED_MEDIA_TYPE",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Unsupported media type",
            ),
            Self::RateLimited => (
                "RATE_LIMITED",
                StatusCode::TOO_MANY_REQUESTS,
                "Rate limited",
            ),
            Self::QueueFull => ("QUEUE_FULL", StatusCode::TOO_MANY_REQUESTS, "Queue full"),
            Self::HeadersTooLarge => (
                "HEADERS_TOO_LARGE",
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "Headers too large",
            ),
            Self::InternalError => (
                "INTERNAL_ERROR",
                StatusCode::INTERNAL_SERVER_ERROR,
                "Internal error",
            ),
            Self::ServiceUnavailable => (
                "SERVICE_UNAVAILABLE",
                StatusCode::SERVICE_UNAVAILABLE,
                "Service unavailable",
            ),
            Self::Timeout => ("TIMEOUT", StatusCode::GATEWAY_TIMEOUT, "Time-out"),
        }
    }

    /// Its name in the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.parts().0
    }

    /// Its own status. `INVALID_INPUT` is also told with 422.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.parts().1
    }

    /// What it says, for people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.parts().2
    }
}

/// One thing that is wrong with the input, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// A JSON pointer into the body; for the query, `?` and the parameter's name.
    pub pointer: String,
    /// What is wrong and what is allowed.
    pub detail: String,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    code: Code,
    status: StatusCode,
    detail: String,
    errors: Vec<FieldError>,
    retry_after_seconds: Option<u32>,
}

/// The body of a problem, as RFC 9457 and the contract name its members.
#[derive(Debug, Serialize)]
pub(crate) struct Problem<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

impl ApiError {
    /// A refusal with the code's own status.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            status: code.parts().1,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_seconds: None,
        }
    }

    /// 400: not JSON, or a bad header.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidInput, detail)
    }

    /// 400: a bad query.
    pub fn bad_query(errors: Vec<FieldError>) -> Self {
        Self {
            errors,
            ..Self::bad_request("the query is not valid")
        }
    }

    /// 422: JSON that breaks the schema.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            errors,
            ..Self::bad_request("the body is not valid")
        }
    }

    /// 422 about one field.
    pub fn invalid_field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError {
            pointer: pointer.into(),
            detail: detail.into(),
        }])
    }

    /// 422 about the request as a whole.
    pub fn unprocessable(detail: impl Into<String>) -> Self {
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            ..Self::bad_request(detail)
        }
    }

    /// 404 for a kind of resource.
    pub fn not_found(kind: &str) -> Self {
        Self::new(Code::NotFound, format!("no such {kind}"))
    }

    /// 503: certainly not done.
    pub fn unavailable() -> Self {
        let detail = "the database is unavailable; nothing was done";
        Self::new(Code::ServiceUnavailable, detail).retry_after(1)
    }

    /// 504: it may have been done.
    pub fn outcome_unknown() -> Self {
        let detail = "the outcome is unknown: repeat with the same Idempotency-Key, or look";
        Self::new(Code::Timeout, detail)
    }

    /// 500.
    pub fn internal() -> Self {
        Self::new(Code::InternalError, "an error on our side; it was logged")
    }

    /// Adds `Retry-After`.
    #[must_use]
    pub const fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// What is wrong with the input.
    #[must_use]
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// The body for this request.
    pub(crate) fn problem<'a>(&'a self, request_id: &'a str) -> Problem<'a> {
        Problem {
            r#type: format!("urn:niyanta:error:{}", self.code.as_str()),
            title: self.code.parts().2,
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code.as_str(),
            request_id,
            errors: &self.errors,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(seconds) = self.retry_after_seconds {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code == Code::Unauthorized {
            let challenge = HeaderValue::from_static("Bearer");
            let headers = response.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response.extensions_mut().insert(self);
        response
    }
}
