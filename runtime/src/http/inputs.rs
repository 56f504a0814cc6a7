//! What clients send, read without a connection: for those who try every input.
//!
//! Owns nothing: each of these calls what the handlers call. No part of the API of this crate.

use super::{
    admin, auth, body, configs, control, customers,
    error::ApiError,
    json, keys, logs,
    pagination::{self, Paging, Question, RECORDS, RESOURCES},
    query::Params,
    submission::{self, Submitter},
    workloads,
};
use crate::store::{ConfigId, Json, KeyId};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use niyanta_core::{
    ids::{CustomerId, WorkloadId},
    time::WallTime,
};

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A submission.
    Submission,
    /// A batch of them.
    Batch,
    /// A workload config.
    Config,
    /// A new customer.
    Customer,
    /// Changes of a customer.
    CustomerPatch,
    /// A new key.
    Key,
    /// The reason of a wish.
    Reason,
    /// The deadline of a drain.
    Deadline,
    /// A query with a cursor, of rows.
    RowCursor,
    /// A query with a cursor, of log lines.
    LogCursor,
    /// `If-Match`.
    IfMatch,
    /// `Idempotency-Key`.
    IdempotencyKey,
    /// `Authorization`.
    Authorization,
}

impl Input {
    /// Every one.
    pub const ALL: [Self; 13] = [
        Self::Submission,
        Self::Batch,
        Self::Config,
        Self::Customer,
        Self::CustomerPatch,
        Self::Key,
        Self::Reason,
        Self::Deadline,
        Self::RowCursor,
        Self::LogCursor,
        Self::IfMatch,
        Self::IdempotencyKey,
        Self::Authorization,
    ];

    /// Reads it; gives the status of its refusal.
    ///
    /// # Errors
    /// The status with which it is refused.
    pub fn read(self, bytes: &[u8]) -> Result<(), u16> {
        let result = match self {
            Self::RowCursor | Self::LogCursor => self.read_query(bytes),
            Self::IfMatch | Self::IdempotencyKey | Self::Authorization => self.read_header(bytes),
            Self::Submission
            | Self::Batch
            | Self::Config
            | Self::Customer
            | Self::CustomerPatch
            | Self::Key
            | Self::Reason
            | Self::Deadline => body::parse(bytes).and_then(|json| self.read_body(&json)),
        };
        result.map_err(|error| error.status().as_u16())
    }

    fn read_body(self, body: &Json) -> Result<(), ApiError> {
        match self {
            Self::Submission => {
                drop(submission::read_single(SUBMITTER, &HeaderMap::new(), body)?);
            }
            Self::Batch => {
                for item in workloads::batch_items(body)? {
                    drop(submission::read_item(SUBMITTER, item));
                }
            }
            Self::Config => drop(configs::read(ConfigId(1), body)?),
            Self::Customer => drop(customers::read_new(CustomerId(1), body)?),
            Self::CustomerPatch => drop(customers::read_patch(body)?),
            Self::Key => drop(keys::read(body, WallTime(0))?),
            Self::Reason => drop(control::reason(body)?),
            Self::Deadline => drop(admin::deadline(body)?),
            Self::RowCursor
            | Self::LogCursor
            | Self::IfMatch
            | Self::IdempotencyKey
            | Self::Authorization => {}
        }
        Ok(())
    }

    fn read_query(self, bytes: &[u8]) -> Result<(), ApiError> {
        let Some(parts) = std::str::from_utf8(bytes).ok().and_then(request) else {
            return Ok(());
        };
        let mut params = Params::parse(&parts)?;
        let question = Question::of("fuzz");
        if self == Self::LogCursor {
            let paging = Paging::take(&mut params, &RECORDS, question)?;
            paging.place(logs::read_place)?;
        } else {
            let paging = Paging::take(&mut params, &RESOURCES, question)?;
            if let Some((moment, id)) = paging.place(pagination::read_row_place)? {
                let place = pagination::row_place(moment, id);
                let again = pagination::read_row_place(&place);
                assert_eq!(again, Some((moment, id)), "a place reads back");
            }
        }
        params.moment("since");
        params.flag("follow");
        params.finish()
    }

    fn read_header(self, bytes: &[u8]) -> Result<(), ApiError> {
        let name = match self {
            Self::IfMatch => header::IF_MATCH,
            Self::IdempotencyKey => HeaderName::from_static("idempotency-key"),
            Self::Authorization => header::AUTHORIZATION,
            Self::Submission
            | Self::Batch
            | Self::Config
            | Self::Customer
            | Self::CustomerPatch
            | Self::Key
            | Self::Reason
            | Self::Deadline
            | Self::RowCursor
            | Self::LogCursor => return Ok(()),
        };
        let mut headers = HeaderMap::new();
        for line in bytes.split(|byte| *byte == b'\n').take(4) {
            if let Ok(value) = HeaderValue::from_bytes(line) {
                headers.append(name.clone(), value);
            }
        }
        match self {
            Self::IfMatch => drop(control::if_match(&headers)?),
            Self::Authorization => drop(auth::bearer(&headers)?),
            Self::IdempotencyKey
            | Self::Submission
            | Self::Batch
            | Self::Config
            | Self::Customer
            | Self::CustomerPatch
            | Self::Key
            | Self::Reason
            | Self::Deadline
            | Self::RowCursor
            | Self::LogCursor => {
                let body = serde_json::json!({ "workload_type": "sleep" });
                drop(submission::read_single(SUBMITTER, &headers, &body)?);
            }
        }
        Ok(())
    }
}

/// The canonical form of a JSON text, which is what idempotent bodies are compared by.
#[must_use]
pub fn canonical(bytes: &[u8]) -> Option<Vec<u8>> {
    let json: Json = serde_json::from_slice(bytes).ok()?;
    let mut out = Vec::new();
    json::canonical(&json, &mut out);
    Some(out)
}

/// The cursor of the list that [`Input::RowCursor`] reads, at this place.
#[must_use]
pub fn cursor(moment: WallTime, id: u128) -> String {
    let mut params = request("").map(|parts| Params::parse(&parts));
    let params = params.as_mut().and_then(|params| params.as_mut().ok());
    let paging = params.and_then(|p| Paging::take(p, &RESOURCES, Question::of("fuzz")).ok());
    let place = pagination::row_place(moment, id);
    paging.map_or_else(String::new, |paging| paging.cursor(&place))
}

fn request(query: &str) -> Option<axum::http::request::Parts> {
    let request = Request::get(format!("/?{query}")).body(()).ok()?;
    Some(request.into_parts().0)
}

const SUBMITTER: Submitter = Submitter {
    customer: CustomerId(1),
    actor: KeyId(2),
    id: WorkloadId(3),
};
