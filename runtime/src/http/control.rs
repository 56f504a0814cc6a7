//! Control calls: cancel, pause, resume. Each writes a wish; the status follows once it is true.
//!
//! Answers 200 only when wish and status both say so already, else 202; decides nothing: whether a
//! wish may be written is the store's statement, which sees the row.

use super::{
    ApiState, BODY_BYTES_MAX,
    auth::Tenant,
    body::{OptionalJsonBody, PathId},
    dto::Workload,
    error::{ApiError, Code},
    json::{Errors, Fields},
    outcome,
    query::Params,
    schema,
    wishes::WishCall,
    workloads::workload_answer,
};
use crate::store::{Json as JsonValue, Wish, WishOutcome, WorkloadView};
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use niyanta_core::{
    ids::WorkloadId,
    workload::{Desired, Status},
};

type OptionalBody = OptionalJsonBody<BODY_BYTES_MAX>;

/// Ask for a workload to be stopped for good.
#[utoipa::path(
    post, path = "/v1/workloads/{workload_id}/cancel", tag = "workloads",
    params(("If-Match" = Option<String>, Header, pattern = "^(\\*|\"[0-9]{1,18}\")$", description = "Only if the version is this one")),
    request_body = Option<schema::ControlBody>,
    responses(
        (status = 200, description = "Wish and status say so already", body = Workload, headers(("ETag" = String, description = "The version, in quotes"))),
        (status = 202, description = "The wish is recorded; the status follows once it is true", body = Workload, headers(("ETag" = String, description = "The version, in quotes"))),
        (status = 409, description = "It has ended otherwise, or is being cancelled"),
        (status = 412, description = "The version is not the one in If-Match"),
        (status = 422, description = "Breaks the schema"),
    )
)]
pub(crate) async fn cancel(
    state: State<ApiState>,
    tenant: Tenant,
    workload: PathId<WorkloadId>,
    params: Params,
    headers: HeaderMap,
    body: OptionalBody,
) -> Result<Response, ApiError> {
    params.finish()?;
    control(
        state.0,
        tenant,
        workload.0,
        Desired::Cancel,
        headers,
        body.0,
    )
    .await
}

/// Ask for a workload to checkpoint and stop until it is resumed.
#[utoipa::path(
    post, path = "/v1/workloads/{workload_id}/pause", tag = "workloads",
    params(("If-Match" = Option<String>, Header, pattern = "^(\\*|\"[0-9]{1,18}\")$", description = "Only if the version is this one")),
    request_body = Option<schema::ControlBody>,
    responses(
        (status = 200, description = "Wish and status say so already", body = Workload, headers(("ETag" = String, description = "The version, in quotes"))),
        (status = 202, description = "The wish is recorded; the status follows once it is true", body = Workload, headers(("ETag" = String, description = "The version, in quotes"))),
        (status = 409, description = "It has ended otherwise, or is being cancelled"),
        (status = 412, description = "The version is not the one in If-Match"),
        (status = 422, description = "Breaks the schema"),
    )
)]
pub(crate) async fn pause(
    state: State<ApiState>,
    tenant: Tenant,
    workload: PathId<WorkloadId>,
    params: Params,
    headers: HeaderMap,
    body: OptionalBody,
) -> Result<Response, ApiError> {
    params.finish()?;
    control(state.0, tenant, workload.0, Desired::Pause, headers, body.0).await
}

/// Ask for a paused workload to go on from its last checkpoint.
#[utoipa::path(
    post, path = "/v1/workloads/{workload_id}/resume", tag = "workloads",
    params(("If-Match" = Option<String>, Header, pattern = "^(\\*|\"[0-9]{1,18}\")$", description = "Only if the version is this one")),
    request_body = Option<schema::ControlBody>,
    responses(
        (status = 200, description = "Wish and status say so already", body = Workload, headers(("ETag" = String, description = "The version, in quotes"))),
        (status = 202, description = "The wish is recorded; the status follows once it is true", body = Workload, headers(("ETag" = String, description = "The version, in quotes"))),
        (status = 409, description = "It has ended otherwise, or is being cancelled"),
        (status = 412, description = "The version is not the one in If-Match"),
        (status = 422, description = "Breaks the schema"),
    )
)]
pub(crate) async fn resume(
    state: State<ApiState>,
    tenant: Tenant,
    workload: PathId<WorkloadId>,
    params: Params,
    headers: HeaderMap,
    body: OptionalBody,
) -> Result<Response, ApiError> {
    params.finish()?;
    control(state.0, tenant, workload.0, Desired::Run, headers, body.0).await
}

async fn control(
    state: ApiState,
    tenant: Tenant,
    workload: WorkloadId,
    desired: Desired,
    headers: HeaderMap,
    body: Option<JsonValue>,
) -> Result<Response, ApiError> {
    let (customer, actor) = (tenant.customer(), tenant.key());
    let reason = body.as_ref().map(reason).transpose()?.flatten();
    let if_version = if_match(&headers)?;
    let call = WishCall::new(state.store.clone(), customer, workload, move |upon| Wish {
        customer,
        workload,
        desired,
        upon,
        actor,
        reason: reason.clone(),
        if_version: if_version.clone(),
    });
    let task = state.clone();
    let answer = state.detached(async move {
        let judge = |outcome, doubt| {
            let ours = |view: &WorkloadView| {
                doubt && view.desired == desired && call.is_next(view.wish_revision)
            };
            judge_wish(outcome, doubt, desired, ours)
        };
        let (status, view) = outcome::settle(|doubt| call.send(doubt), judge).await?;
        if status == StatusCode::ACCEPTED {
            task.hints.workloads(&[workload]);
            task.changes.workload(workload);
        }
        Ok((status, view))
    });
    let (status, view) = answer.await?;
    Ok(workload_answer(&state, status, view))
}

pub(super) fn reason(body: &JsonValue) -> Result<Option<String>, ApiError> {
    let mut errors = Errors::default();
    let mut fields = Fields::of_body(body, &mut errors);
    let reason = fields.text("reason", 0..=REASON_BYTES_MAX);
    if reason
        .as_ref()
        .is_some_and(|reason| reason.len() > REASON_BYTES_MAX)
    {
        fields.refuse("reason", format!("has more than {REASON_BYTES_MAX} bytes"));
    }
    fields.finish();
    errors.into_result()?;
    Ok(reason)
}

/// The versions in `If-Match`; `None` when any will do. Weak tags and foreign ones match nothing.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<Vec<i64>>, ApiError> {
    let mut versions = Vec::new();
    let mut asked = false;
    for value in headers.get_all(header::IF_MATCH) {
        asked = true;
        let text = value.to_str().map_err(|_| malformed_if_match())?;
        for tag in text.split(',').map(str::trim) {
            if tag == "*" {
                return Ok(None);
            }
            let strong = tag.strip_prefix("W/").unwrap_or(tag);
            let quoted = strong
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'));
            let version = quoted.ok_or_else(malformed_if_match)?.parse::<i64>();
            if strong.len() == tag.len() {
                versions.extend(version);
            }
        }
    }
    if asked && versions.is_empty() {
        versions.push(NO_VERSION);
    }
    Ok(asked.then_some(versions))
}

/// Longest reason.
const REASON_BYTES_MAX: usize = 1_024;
/// Versions begin at 1.
const NO_VERSION: i64 = -1;

fn malformed_if_match() -> ApiError {
    ApiError::bad_request("If-Match must be * or quoted entity tags")
}

/// 202 when something was written or is not yet true, 200 when wish and status both say so already.
/// `ours`: the row shows a wish that an earlier sending may have written.
fn judge_wish(
    outcome: WishOutcome,
    doubt: bool,
    desired: Desired,
    ours: impl FnOnce(&WorkloadView) -> bool,
) -> Result<(StatusCode, WorkloadView), ApiError> {
    match outcome {
        WishOutcome::Written(view) => Ok((StatusCode::ACCEPTED, *view)),
        // An earlier sending that took effect raised the version itself.
        WishOutcome::VersionMismatch(view) if ours(&view) => Ok((StatusCode::ACCEPTED, *view)),
        WishOutcome::VersionMismatch(view) => {
            let detail = format!("the workload is at version {}", view.version);
            Err(ApiError::new(Code::PreconditionFailed, detail))
        }
        WishOutcome::Already(view) if doubt => Ok((StatusCode::ACCEPTED, *view)),
        WishOutcome::Already(view) if is_true(desired, view.status) => Ok((StatusCode::OK, *view)),
        WishOutcome::Already(view) => Ok((StatusCode::ACCEPTED, *view)),
        WishOutcome::TerminalSame(view) => Ok((StatusCode::OK, *view)),
        WishOutcome::Refused(view) => {
            let detail = if view.status.is_terminal() {
                format!("the workload has ended: {}", view.status)
            } else {
                "the workload is being cancelled, which is never undone".to_owned()
            };
            Err(ApiError::new(Code::InvalidState, detail))
        }
        // Only after doubt, and then nobody is told so.
        WishOutcome::Overtaken(_) => Err(ApiError::unavailable()),
        WishOutcome::NotFound => Err(ApiError::not_found("workload")),
    }
}

/// Whether the status says what is desired. A workload that is being moved still has to stop.
const fn is_true(desired: Desired, status: Status) -> bool {
    match desired {
        Desired::Run => matches!(
            status,
            Status::Pending | Status::Scheduled | Status::Running
        ),
        Desired::Pause => matches!(status, Status::Paused),
        Desired::Cancel => matches!(status, Status::Cancelled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(values: &[&str]) -> Result<Option<Vec<i64>>, StatusCode> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::IF_MATCH, value.parse().unwrap());
        }
        if_match(&headers).map_err(|error| error.status())
    }

    #[test]
    fn if_match_understands_tags_lists_and_the_star() {
        assert_eq!(versions(&[]), Ok(None));
        assert_eq!(versions(&["*"]), Ok(None));
        assert_eq!(versions(&["\"3\""]), Ok(Some(vec![3])));
        assert_eq!(
            versions(&["\"3\", \"4\"", "\"5\""]),
            Ok(Some(vec![3, 4, 5]))
        );
        assert_eq!(versions(&["W/\"3\""]), Ok(Some(vec![NO_VERSION])));
        assert_eq!(versions(&["\"abc\""]), Ok(Some(vec![NO_VERSION])));
        assert_eq!(versions(&["3"]), Err(StatusCode::BAD_REQUEST));
    }
}
