//! The logs of a workload: pages, or a stream until it ends.
//!
//! The stream is server-sent events: `log` with a line and its cursor as id, then `end` with the
//! workload's status. It reads pages as anybody would; a client that comes back sends the last id
//! as `cursor`, or as `Last-Event-ID`, and misses nothing.

use super::{
    ApiState,
    auth::Tenant,
    body::PathId,
    dto::{Log, LogList},
    error::ApiError,
    outcome,
    pagination::{Paging, Question, RECORDS},
    places::{Place, Taken},
    query::Params,
    schema,
};
use crate::store::{LogFilter, LogRow};
use axum::{
    Json,
    extract::State,
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{Stream, stream};
use niyanta_core::{
    ids::{Attempt, CustomerId, WorkloadId},
    workload::Status,
};
use std::convert::Infallible;
use tokio::{
    select,
    time::{Duration, sleep},
};

/// Show what a workload wrote, or follow it.
#[utoipa::path(
    get, path = "/v1/workloads/{workload_id}/logs", tag = "workloads",
    params(schema::LogsQuery, ("Last-Event-ID" = Option<String>, Header, pattern = "^[A-Za-z0-9_-]{0,100}$", description = "As `cursor`, which clients of streams send by themselves")),
    responses(
        (status = 200, description = "A page; or with `follow`, a stream of the events `log` and, at last, `end`", content((LogList = "application/json"), (schema::LogsEvent = "text/event-stream"))),
    )
)]
pub(crate) async fn logs(
    State(state): State<ApiState>,
    tenant: Tenant,
    PathId(workload): PathId<WorkloadId>,
    headers: HeaderMap,
    waits: Place,
    mut params: Params,
) -> Result<Response, ApiError> {
    let customer = tenant.customer();
    let follow = params.flag("follow");
    let (since, until) = (params.moment("since"), params.moment("until"));
    let question = || Question::of("logs").with(customer).with(workload);
    let bounded = question().with(format!("{since:?} {until:?}"));
    // What is not even text is no cursor either.
    let last_seen = headers.get("last-event-id");
    let last_seen = last_seen.map(|id| id.to_str().unwrap_or("?"));
    params.default_one("cursor", last_seen);
    let paging = Paging::take(&mut params, &RECORDS, bounded);
    params.finish()?;
    let paging = paging?;
    let filter = LogFilter {
        after: paging.place(read_place)?,
        since,
        until,
    };
    if follow {
        let waiting = waits.wait()?;
        return follow_logs(state, (customer, workload), filter, paging, waiting).await;
    }
    let rows = paging.rows();
    let found = outcome::read(|| state.store.logs(customer, workload, &filter, rows)).await?;
    let rows = found.ok_or_else(|| ApiError::not_found("workload"))?;
    let (rows, pagination) = paging.cut(rows, place);
    let logs = rows.into_iter().map(Log::from).collect();
    Ok(Json(LogList { logs, pagination }).into_response())
}

fn place(row: &LogRow) -> String {
    format!("{}.{}", row.attempt, row.sequence)
}

pub(super) fn read_place(text: &str) -> Option<(Attempt, u64)> {
    let (attempt, sequence) = text.split_once('.')?;
    let sequence = sequence
        .parse()
        .ok()
        .filter(|it| i64::try_from(*it).is_ok())?;
    Some((Attempt(attempt.parse().ok()?), sequence))
}

/// Where a stream is.
struct Follower {
    state: ApiState,
    customer: CustomerId,
    workload: WorkloadId,
    filter: LogFilter,
    paging: Paging,
    /// Given back when the stream ends.
    _waiting: Taken,
    step: Step,
    pause: Duration,
}

enum Step {
    /// The workload may go on.
    Live,
    /// It has ended; lines that were on their way when it did are still awaited for a moment.
    Ending(Status),
    /// Everything was sent.
    Over,
}

async fn follow_logs(
    state: ApiState,
    (customer, workload): (CustomerId, WorkloadId),
    filter: LogFilter,
    paging: Paging,
    waiting: Taken,
) -> Result<Response, ApiError> {
    let found = outcome::read(|| state.store.workload(customer, workload)).await?;
    found.ok_or_else(|| ApiError::not_found("workload"))?;
    let follower = Follower {
        state,
        customer,
        workload,
        filter,
        paging,
        _waiting: waiting,
        step: Step::Live,
        pause: FIRST_LOOK,
    };
    Ok(Sse::new(events(follower))
        .keep_alive(KeepAlive::default())
        .into_response())
}

fn events(follower: Follower) -> impl Stream<Item = Result<Event, Infallible>> {
    let batches = stream::unfold(follower, |mut follower| async move {
        let events = follower.next().await?;
        Some((stream::iter(events.into_iter().map(Ok)), follower))
    });
    futures::StreamExt::flatten(batches)
}

impl Follower {
    /// The next events; `None` when the stream is over.
    async fn next(&mut self) -> Option<Vec<Event>> {
        loop {
            if matches!(self.step, Step::Over) || self.state.status.borrow().stopping {
                return None;
            }
            let (customer, workload) = (self.customer, self.workload);
            let store = &self.state.store;
            let turn = select! {
                biased;
                () = self.state.stopping() => return None,
                turn = self.state.places.looks.turn() => turn,
            };
            // The status is read first: lines read after it include all that came before the end.
            let view = outcome::read(|| store.workload(customer, workload)).await;
            let status = view.ok()??.status;
            let filter = &self.filter;
            let rows = outcome::read(|| store.logs(customer, workload, filter, BATCH)).await;
            drop(turn);
            let rows = rows.ok()??;
            if let Some(last) = rows.last() {
                self.filter.after = Some((last.attempt, last.sequence));
                self.pause = FIRST_LOOK;
                return Some(rows.into_iter().map(|row| self.line(row)).collect());
            }
            match self.step {
                Step::Live if status.is_terminal() => self.step = Step::Ending(status),
                Step::Live => {}
                Step::Ending(status) => {
                    self.step = Step::Over;
                    let data = serde_json::json!({ "status": status.as_str() });
                    return Some(vec![Event::default().event("end").data(data.to_string())]);
                }
                Step::Over => return None,
            }
            self.rest().await;
        }
    }

    /// Until the next look.
    async fn rest(&mut self) {
        let pause = match self.step {
            Step::Ending(_) => STRAGGLERS,
            Step::Live | Step::Over => self.pause,
        };
        self.pause = (self.pause * 2).min(LONGEST_LOOK);
        select! {
            biased;
            () = self.state.stopping() => {}
            () = sleep(pause) => {}
        }
    }

    fn line(&self, row: LogRow) -> Event {
        let id = self.paging.cursor(&place(&row));
        // The words of a line always can be written as JSON.
        let data = serde_json::to_string(&Log::from(row)).unwrap_or_default();
        Event::default().event("log").id(id).data(data)
    }
}

/// Lines read at once.
const BATCH: u32 = 500;
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LONGEST_LOOK: Duration = Duration::from_secs(1);
/// How long lines may arrive after the end of their workload.
const STRAGGLERS: Duration = Duration::from_secs(1);
