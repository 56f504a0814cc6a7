//! Workloads: submit, list, show, audit. Control calls are in `control`, logs in `logs`.

use super::{
    ApiState, BATCH_BODY_BYTES_MAX, BODY_BYTES_MAX,
    auth::Tenant,
    body::{JsonBody, PathId},
    dto::{AuditEvent, AuditList, BatchResult, BatchResults, Workload, WorkloadList},
    error::{ApiError, Code},
    finish::RequestId,
    json::Errors,
    json::Fields,
    outcome,
    pagination::{PageSize, Paging, Question, RECORDS, RESOURCES, read_row_place, row_place},
    places::Place,
    query::Params,
    schema,
    submission::{self, Submitter},
    wait::changed_workload,
};
use crate::store::{
    Json as JsonValue, Page, Submission, SubmitOutcome, WorkloadFilter, WorkloadView,
};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use niyanta_core::{ids::WorkloadId, workload::Status};
use std::collections::{BTreeMap, btree_map::Entry};
use tokio::time::Duration;

type Body = JsonBody<BODY_BYTES_MAX>;

/// Most submissions in a batch.
const BATCH_MAX: usize = 1_000;
/// Longest wait of a long-poll.
const WAIT_SECONDS_MAX: f64 = 25.0;

/// Submit a workload.
#[utoipa::path(
    post, path = "/v1/workloads", tag = "workloads",
    params(("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]([ -~]{0,253}[!-~])?$", description = "Equal bodies under the same key are one workload, for 24 h at least")),
    request_body = schema::SubmitBody,
    responses(
        (status = 202, description = "Submitted: the workload as it is now", body = Workload, headers(("ETag" = String, description = "The version, in quotes"), ("Location" = String, description = "The workload"))),
        (status = 422, description = "Breaks the schema, names an unknown type, or reuses a key with another body"),
    )
)]
pub(crate) async fn submit(
    State(state): State<ApiState>,
    tenant: Tenant,
    params: Params,
    headers: HeaderMap,
    Body { 0: body }: Body,
) -> Result<Response, ApiError> {
    params.finish()?;
    let submission = submission::read_single(submitter(&state, tenant), &headers, &body)?;
    let task = state.clone();
    let answer = state.detached(async move {
        let mut results = submit_all(&task, vec![submission]).await;
        results.pop().unwrap_or_else(|| Err(ApiError::internal()))
    });
    let view = answer.await?;
    let place = location(&format!("/v1/workloads/{}", view.id));
    let answer = workload_answer(&state, StatusCode::ACCEPTED, view);
    Ok((place, answer).into_response())
}

/// Where what was made can be found.
pub(super) fn location(path: &str) -> [(header::HeaderName, String); 1] {
    [(header::LOCATION, path.to_owned())]
}

/// Submit up to 1,000 workloads at once.
///
/// Each item has an outcome of its own, in the same order. Costs one token of the rate.
#[utoipa::path(
    post, path = "/v1/workloads:batch", tag = "workloads",
    request_body = schema::BatchBody,
    responses(
        (status = 200, description = "What became of each", body = BatchResults),
        (status = 422, description = "Is not a batch"),
    )
)]
pub(crate) async fn submit_batch(
    State(state): State<ApiState>,
    tenant: Tenant,
    params: Params,
    RequestId(request_id): RequestId,
    JsonBody(body): JsonBody<BATCH_BODY_BYTES_MAX>,
) -> Result<Json<BatchResults>, ApiError> {
    params.finish()?;
    let items = batch_items(&body)?;
    let read = |item| submission::read_item(submitter(&state, tenant), item);
    let (mut places, mut submissions) = (Vec::new(), Vec::new());
    let mut results: Vec<Option<Result<WorkloadView, ApiError>>> = Vec::new();
    for item in items {
        match read(item) {
            Ok(submission) => {
                places.push(results.len());
                submissions.push(submission);
                results.push(None);
            }
            Err(error) => results.push(Some(Err(error))),
        }
    }
    let task = state.clone();
    let answers = state.detached(async move { Ok(submit_all(&task, submissions).await) });
    for (place, answer) in places.into_iter().zip(answers.await?) {
        results[place] = Some(answer);
    }
    let known = state.status.borrow().clone();
    let results: Vec<BatchResult> = results
        .into_iter()
        .map(
            |result| match result.unwrap_or_else(|| Err(ApiError::outcome_unknown())) {
                Ok(view) => BatchResult {
                    status: StatusCode::ACCEPTED.as_u16(),
                    workload: Some(Workload::new(view, &known)),
                    error: None,
                },
                Err(error) => {
                    BatchResult::refused(error.status().as_u16(), &error.problem(&request_id))
                }
            },
        )
        .collect();
    Ok(Json(BatchResults { results }))
}

pub(super) fn batch_items(body: &JsonValue) -> Result<&[JsonValue], ApiError> {
    let mut errors = Errors::default();
    // Texts are judged item by item: one that is refused does not refuse the others.
    let mut fields = Fields::of_batch(body, &mut errors);
    fields.require("workloads");
    let items = fields.list("workloads", BATCH_MAX);
    if items.is_some_and(<[_]>::is_empty) {
        fields.refuse(
            "workloads",
            format!("must hold 1 to {BATCH_MAX} submissions"),
        );
    }
    fields.finish();
    errors.into_result()?;
    Ok(items.unwrap_or_default())
}

fn submitter(state: &ApiState, tenant: Tenant) -> Submitter {
    Submitter {
        customer: tenant.customer(),
        actor: tenant.key(),
        id: WorkloadId(state.ambient.new_id()),
    }
}

/// Submits, tells the leader, and says of each what became of it.
async fn submit_all(
    state: &ApiState,
    submissions: Vec<Submission>,
) -> Vec<Result<WorkloadView, ApiError>> {
    let store = &state.store;
    let send = |open: Vec<Submission>| async move { store.submit(&open).await };
    let outcomes = outcome::settle_submissions(send, &submissions).await;
    let created: Vec<WorkloadId> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Ok(SubmitOutcome::Created(view)) => Some(view.id),
            Ok(_) | Err(_) => None,
        })
        .collect();
    if !created.is_empty() {
        state.hints.workloads(&created);
    }
    outcomes
        .into_iter()
        .map(|outcome| judge_submission(outcome?))
        .collect()
}

fn judge_submission(outcome: SubmitOutcome) -> Result<WorkloadView, ApiError> {
    match outcome {
        SubmitOutcome::Created(view) | SubmitOutcome::Existing(view) => Ok(*view),
        SubmitOutcome::KeyReused => Err(ApiError::unprocessable(
            "the Idempotency-Key was used with another body",
        )),
        SubmitOutcome::UnknownType => {
            let detail = "this customer has no workload type of that name: register it first";
            Err(ApiError::invalid_field("/workload_type", detail))
        }
        SubmitOutcome::QueueFull { limit } => {
            let detail =
                format!("{limit} workloads of this customer are queued, which is its limit");
            Err(ApiError::new(Code::QueueFull, detail).retry_after(QUEUE_FULL_RETRY_SECONDS))
        }
    }
}

const QUEUE_FULL_RETRY_SECONDS: u32 = 5;

/// List workloads.
#[utoipa::path(
    get, path = "/v1/workloads", tag = "workloads",
    params(schema::WorkloadsQuery),
    responses(
        (status = 200, description = "A page", body = WorkloadList),
    )
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    tenant: Tenant,
    mut params: Params,
) -> Result<Json<WorkloadList>, ApiError> {
    let (labels, contradiction) = labels(&mut params);
    let filter = WorkloadFilter {
        status: params.words::<Status>("status"),
        workload_type: params.word("workload_type"),
        labels,
        created_after: params.moment("created_after"),
        created_before: params.moment("created_before"),
    };
    let ascending = ascending(&mut params);
    let question = Question::of("workloads")
        .with(tenant.customer())
        .with(format!("{filter:?}"))
        .with(ascending);
    let paging = Paging::take(&mut params, &RESOURCES, question);
    params.finish()?;
    let paging = paging?;
    let page = Page {
        after: paging.place(read_row_place)?,
        limit: paging.rows(),
        ascending,
        until: None,
    };
    let mut rows = Vec::new();
    if !contradiction {
        let customer = tenant.customer();
        rows = outcome::read(|| state.store.workloads(customer, &filter, &page)).await?;
    }
    let (rows, pagination) = paging.cut(rows, |view| row_place(view.created_at, view.id.0));
    let known = state.status.borrow().clone();
    let workloads = rows
        .into_iter()
        .map(|view| Workload::new(view, &known))
        .collect();
    Ok(Json(WorkloadList {
        workloads,
        pagination,
    }))
}

/// The labels asked for, and whether they contradict each other, so that nothing has them all.
fn labels(params: &mut Params) -> (BTreeMap<String, String>, bool) {
    let mut labels = BTreeMap::new();
    let mut contradiction = false;
    for label in params.all("label") {
        let Some((name, value)) = label.split_once('=') else {
            params.refuse("label", "must be name=value");
            continue;
        };
        match labels.entry(name.to_owned()) {
            Entry::Vacant(free) => {
                free.insert(value.to_owned());
            }
            Entry::Occupied(taken) => contradiction |= taken.get() != value,
        }
    }
    (labels, contradiction)
}

pub(super) fn ascending(params: &mut Params) -> bool {
    match params.one("order").as_deref() {
        None | Some("desc") => false,
        Some("asc") => true,
        Some(_) => {
            params.refuse("order", "must be asc or desc");
            false
        }
    }
}

/// Show a workload, at once or once it has changed.
#[utoipa::path(
    get, path = "/v1/workloads/{workload_id}", tag = "workloads",
    params(schema::WaitQuery),
    responses(
        (status = 200, description = "The workload", body = Workload, headers(("ETag" = String, description = "The version, in quotes"))),
    )
)]
pub(crate) async fn show(
    State(state): State<ApiState>,
    tenant: Tenant,
    PathId(workload): PathId<WorkloadId>,
    place: Place,
    mut params: Params,
) -> Result<Response, ApiError> {
    let wait = wait(&mut params);
    let since = params.integer("since_version", 0..=i64::MAX);
    params.finish()?;
    let _waiting = if wait.is_zero() {
        None
    } else {
        Some(place.wait()?)
    };
    let found = changed_workload(&state, tenant.customer(), workload, wait, since).await?;
    let view = found.ok_or_else(|| ApiError::not_found("workload"))?;
    Ok(workload_answer(&state, StatusCode::OK, view))
}

fn wait(params: &mut Params) -> Duration {
    let Some(text) = params.one("wait") else {
        return Duration::ZERO;
    };
    let number = text.strip_suffix('s').unwrap_or(&text);
    let seconds = number
        .parse()
        .ok()
        .filter(|seconds| (0.0..=WAIT_SECONDS_MAX).contains(seconds));
    if seconds.is_none() {
        params.refuse("wait", "must be a number of seconds from 0 to 25");
    }
    seconds.map_or(Duration::ZERO, Duration::from_secs_f64)
}

/// Show every change of a workload, in order.
#[utoipa::path(
    get, path = "/v1/workloads/{workload_id}/audit", tag = "workloads",
    params(schema::RecordsQuery),
    responses(
        (status = 200, description = "A page", body = AuditList),
    )
)]
pub(crate) async fn audit(
    State(state): State<ApiState>,
    tenant: Tenant,
    PathId(workload): PathId<WorkloadId>,
    mut params: Params,
) -> Result<Json<AuditList>, ApiError> {
    const SIZE: PageSize = PageSize {
        default: 1_000,
        ..RECORDS
    };
    let question = Question::of("audit").with(tenant.customer()).with(workload);
    let paging = Paging::take(&mut params, &SIZE, question);
    params.finish()?;
    let paging = paging?;
    let after = paging.place(|text| text.parse().ok())?.unwrap_or(0);
    let (customer, rows) = (tenant.customer(), paging.rows());
    let found = outcome::read(|| state.store.audit(customer, workload, after, rows)).await?;
    let rows = found.ok_or_else(|| ApiError::not_found("workload"))?;
    let (rows, pagination) = paging.cut(rows, |row| row.sequence.to_string());
    Ok(Json(AuditList {
        events: rows.into_iter().map(AuditEvent::from).collect(),
        pagination,
    }))
}

/// An answer with the workload, and its version as entity tag.
pub(super) fn workload_answer(
    state: &ApiState,
    status: StatusCode,
    view: WorkloadView,
) -> Response {
    let tag = HeaderValue::from_str(&format!("\"{}\"", view.version));
    let body = Workload::new(view, &state.status.borrow());
    let mut response = (status, Json(body)).into_response();
    // Digits and quotes make a valid header.
    if let Ok(tag) = tag {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
