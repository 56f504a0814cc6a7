//! Operators' view of the fleet: workers, coordinators, and what admins did.

use super::{
    ApiState, BODY_BYTES_MAX,
    auth::Operator,
    body::{OptionalJsonBody, PathId},
    dto::{AdminAuditEvent, AdminAuditList, Coordinator, CoordinatorList, Worker, WorkerList},
    error::ApiError,
    json::{Errors, Fields},
    outcome,
    pagination::{Pagination, Paging, Question, RECORDS, RESOURCES},
    query::Params,
    schema,
    wishes::WorkerWishCall,
};
use crate::store::{Json as JsonValue, WorkerFilter, WorkerView, WorkerWish, WorkerWishOutcome};
use axum::{Json, extract::State, http::StatusCode};
use niyanta_core::{fleet::WorkerDesired, ids::WorkerId, time::Duration};

type OptionalBody = OptionalJsonBody<BODY_BYTES_MAX>;
type Accepted = (StatusCode, Json<Worker>);

/// List workers.
#[utoipa::path(
    get, path = "/v1/admin/workers", tag = "operators",
    params(schema::WorkersQuery),
    responses(
        (status = 200, description = "A page", body = WorkerList),
    )
)]
pub(crate) async fn workers(
    State(state): State<ApiState>,
    _operator: Operator,
    mut params: Params,
) -> Result<Json<WorkerList>, ApiError> {
    let filter = WorkerFilter {
        status: params.words("status"),
    };
    let question = Question::of("workers").with(format!("{filter:?}"));
    let paging = Paging::take(&mut params, &RESOURCES, question);
    params.finish()?;
    let paging = paging?;
    let after: Option<WorkerId> = paging.place(|text| text.parse().ok())?;
    let rows = paging.rows();
    let found = outcome::read(|| state.store.workers(&filter, after.as_ref(), rows)).await?;
    let (rows, pagination) = paging.cut(found, |view| view.worker.to_string());
    Ok(Json(WorkerList {
        workers: rows.into_iter().map(Worker::from).collect(),
        pagination,
    }))
}

/// Give a worker no new work.
#[utoipa::path(
    post, path = "/v1/admin/workers/{worker_id}/drain", tag = "operators",
    request_body = Option<schema::DrainBody>,
    responses(
        (status = 202, description = "The wish is recorded", body = Worker),
        (status = 422, description = "Breaks the schema"),
    )
)]
pub(crate) async fn drain(
    State(state): State<ApiState>,
    operator: Operator,
    PathId(worker): PathId<WorkerId>,
    params: Params,
    OptionalJsonBody(body): OptionalBody,
) -> Result<Accepted, ApiError> {
    params.finish()?;
    let deadline = body.as_ref().map(deadline).transpose()?.flatten();
    wish(state, operator, worker, WorkerDesired::Drain, deadline).await
}

/// Give a drained worker work again.
#[utoipa::path(
    post, path = "/v1/admin/workers/{worker_id}/undrain", tag = "operators",
    request_body = Option<schema::EmptyBody>,
    responses(
        (status = 202, description = "The wish is recorded", body = Worker),
        (status = 422, description = "Breaks the schema"),
    )
)]
pub(crate) async fn undrain(
    State(state): State<ApiState>,
    operator: Operator,
    PathId(worker): PathId<WorkerId>,
    params: Params,
    OptionalJsonBody(body): OptionalBody,
) -> Result<Accepted, ApiError> {
    params.finish()?;
    if let Some(body) = &body {
        let mut errors = Errors::default();
        Fields::of_body(body, &mut errors).finish();
        errors.into_result()?;
    }
    wish(state, operator, worker, WorkerDesired::Run, None).await
}

/// End a worker's incarnation and redistribute its work.
#[utoipa::path(
    delete, path = "/v1/admin/workers/{worker_id}", tag = "operators",
    responses(
        (status = 202, description = "The wish is recorded", body = Worker),
    )
)]
pub(crate) async fn remove(
    State(state): State<ApiState>,
    operator: Operator,
    PathId(worker): PathId<WorkerId>,
    params: Params,
) -> Result<Accepted, ApiError> {
    params.finish()?;
    wish(state, operator, worker, WorkerDesired::Remove, None).await
}

pub(super) fn deadline(body: &JsonValue) -> Result<Option<Duration>, ApiError> {
    let mut errors = Errors::default();
    let mut fields = Fields::of_body(body, &mut errors);
    let seconds = fields.integer("deadline_seconds", 0..=DEADLINE_SECONDS_MAX);
    fields.finish();
    errors.into_result()?;
    Ok(seconds.map(|seconds| Duration::from_secs(u64::from(seconds))))
}

async fn wish(
    state: ApiState,
    operator: Operator,
    worker: WorkerId,
    desired: WorkerDesired,
    deadline: Option<Duration>,
) -> Result<Accepted, ApiError> {
    let (id, actor) = (worker.clone(), operator.actor());
    let made = move |incarnation, upon| WorkerWish {
        worker: id.clone(),
        desired,
        incarnation,
        upon,
        deadline,
        actor: actor.clone(),
    };
    let call = WorkerWishCall::new(state.store.clone(), worker, made);
    let task = state.clone();
    let view = state.detached(async move {
        let judge = |outcome, doubt| judge_wish(outcome, doubt, desired);
        let view = outcome::settle(|doubt| call.send(doubt), judge).await?;
        task.hints.workers();
        Ok(view)
    });
    Ok((StatusCode::ACCEPTED, Json(view.await?.into())))
}

fn judge_wish(
    outcome: WorkerWishOutcome,
    doubt: bool,
    desired: WorkerDesired,
) -> Result<WorkerView, ApiError> {
    match outcome {
        WorkerWishOutcome::Written(view) => Ok(*view),
        WorkerWishOutcome::Overtaken(view) if doubt && view.desired == desired => Ok(*view),
        // Only after doubt, and then nobody is told so.
        WorkerWishOutcome::Overtaken(_) => Err(ApiError::unavailable()),
        WorkerWishOutcome::NotFound => Err(ApiError::not_found("worker")),
    }
}

/// List coordinators.
#[utoipa::path(
    get, path = "/v1/admin/coordinators", tag = "operators",
    responses(
        (status = 200, description = "Those that are up", body = CoordinatorList),
    )
)]
pub(crate) async fn coordinators(
    State(state): State<ApiState>,
    _operator: Operator,
    params: Params,
) -> Result<Json<CoordinatorList>, ApiError> {
    params.finish()?;
    let found = outcome::read(|| state.store.coordinators(UP_WITHIN)).await?;
    Ok(Json(CoordinatorList {
        coordinators: found.into_iter().map(Coordinator::from).collect(),
        pagination: Pagination::default(),
    }))
}

/// Show what admins did.
#[utoipa::path(
    get, path = "/v1/admin/audit", tag = "operators",
    params(schema::RecordsQuery),
    responses(
        (status = 200, description = "A page", body = AdminAuditList),
    )
)]
pub(crate) async fn audit(
    State(state): State<ApiState>,
    _operator: Operator,
    mut params: Params,
) -> Result<Json<AdminAuditList>, ApiError> {
    let paging = Paging::take(&mut params, &RECORDS, Question::of("admin-audit"));
    params.finish()?;
    let paging = paging?;
    let after = paging.place(|text| text.parse().ok())?;
    let rows = paging.rows();
    let found = outcome::read(|| state.store.admin_audit(after, rows)).await?;
    let (rows, pagination) = paging.cut(found, |row| row.sequence.to_string());
    Ok(Json(AdminAuditList {
        events: rows.into_iter().map(AdminAuditEvent::from).collect(),
        pagination,
    }))
}

/// A coordinator that was not noted for so long is not up.
const UP_WITHIN: Duration = Duration::from_secs(30);
const DEADLINE_SECONDS_MAX: u32 = 2_592_000;
