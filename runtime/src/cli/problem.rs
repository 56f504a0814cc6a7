//! Why a server refused: a problem document (RFC 9457), or whatever else came back.

use std::fmt;

use serde::Deserialize;

use super::output::clean;

/// A refusal, ready to be shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Problem {
    /// The HTTP status.
    pub(super) status: u16,
    /// What programs tell refusals apart by.
    pub(super) code: String,
    title: String,
    detail: String,
    request_id: Option<String>,
    errors: Vec<FieldError>,
}

/// What is wrong with one field.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct FieldError {
    pointer: String,
    detail: String,
}

impl Problem {
    /// Reads an answer that is not a success. A body that is no problem document, as from a proxy
    /// in between, leaves the status to tell.
    pub(super) fn read(status: u16, reason: &str, request_id: Option<&str>, body: &[u8]) -> Self {
        let mut problem: Self = serde_json::from_slice(body).unwrap_or_default();
        problem.status = status;
        if problem.code.is_empty() {
            problem.code = format!("HTTP {status}");
        }
        if problem.detail.is_empty() {
            problem.detail = if problem.title.is_empty() {
                format!("{reason} (the answer is not one of a niyanta coordinator)")
            } else {
                problem.title.clone()
            };
        }
        problem.request_id = problem
            .request_id
            .or_else(|| request_id.map(ToOwned::to_owned));
        problem
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", clean(&self.code), clean(&self.detail))?;
        if let Some(id) = &self.request_id {
            write!(f, " (request_id {})", clean(id))?;
        }
        for error in &self.errors {
            let pointer = if error.pointer.is_empty() {
                "/"
            } else {
                &error.pointer
            };
            write!(f, "\n  {}: {}", clean(pointer), clean(&error.detail))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_document_is_told_with_its_fields_and_request() {
        let body = br#"{"type": "about:blank", "title": "Invalid", "status": 422,
            "detail": "the workload is invalid", "code": "INVALID_INPUT", "request_id": "r-1",
            "errors": [{"pointer": "/priority", "detail": "must be 0 to 1000"}], "new": 1}"#;
        let problem = Problem::read(422, "Unprocessable Entity", None, body);
        assert_eq!(
            problem.to_string(),
            "INVALID_INPUT: the workload is invalid (request_id r-1)\n  \
             /priority: must be 0 to 1000"
        );
    }

    #[test]
    fn what_a_proxy_says_is_told_by_its_status() {
        let problem = Problem::read(502, "Bad Gateway", Some("r-2"), b"<html>");
        assert_eq!(
            problem.to_string(),
            "HTTP 502: Bad Gateway (the answer is not one of a niyanta coordinator) \
             (request_id r-2)"
        );
    }
}
