//! A customer's statistics, from counts that are kept by the hour.

use super::{
    ApiState,
    auth::Tenant,
    dto::moment,
    error::{ApiError, FieldError},
    outcome,
    query::Params,
    schema,
};
use crate::store::{StatsGroup, StatsQuery, StatsRow};
use axum::{Json, extract::State};
use niyanta_core::time::WallTime;
use serde::Serialize;
use utoipa::ToSchema;

/// What happened in a time, and in its parts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Statistics {
    customer_id: String,
    /// The beginning of the first hour.
    #[schema(format = DateTime)]
    start: String,
    /// The end of the last hour.
    #[schema(format = DateTime)]
    end: String,
    #[schema(value_type = schema::GroupBy)]
    group_by: &'static str,
    /// Groups in which nothing happened are left out.
    stats: Vec<Group>,
    total: Counts,
}

/// What happened in an hour, in a day, or to a type.
#[derive(Debug, Serialize, ToSchema)]
struct Group {
    /// When the hour or day began; `null` for types.
    #[schema(format = DateTime)]
    start: Option<String>,
    /// `null` for hours and days.
    workload_type: Option<String>,
    #[serde(flatten)]
    counts: Counts,
}

/// Submissions and ends, each counted in the hour in which it happened.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
struct Counts {
    submitted: i64,
    completed: i64,
    failed: i64,
    cancelled: i64,
    /// How long the attempts ran that ended them.
    run_seconds: f64,
}

impl Counts {
    fn of(row: &StatsRow) -> Self {
        Self {
            submitted: row.submitted,
            completed: row.completed,
            failed: row.failed,
            cancelled: row.cancelled,
            run_seconds: seconds(row.run_micros),
        }
    }
}

/// Microseconds as seconds, exact to the millisecond.
fn seconds(micros: i64) -> f64 {
    let millis = micros / 1_000;
    // A customer's run time stays below the 2^53 ms that a float holds exactly: 285,000 years.
    #[expect(clippy::cast_precision_loss, reason = "bounded, see above")]
    let float = millis as f64;
    float / 1e3
}

/// Count what happened to workloads, by hour, day or type.
#[utoipa::path(
    get, path = "/v1/customer/stats", tag = "customer",
    params(schema::StatsParams),
    responses((status = 200, description = "The counts", body = Statistics))
)]
pub(crate) async fn stats(
    State(state): State<ApiState>,
    tenant: Tenant,
    mut params: Params,
) -> Result<Json<Statistics>, ApiError> {
    let (start, end) = (params.moment("start"), params.moment("end"));
    let group = match params.one("group_by").as_deref() {
        None | Some("hour") => StatsGroup::Hour,
        Some("day") => StatsGroup::Day,
        Some("workload_type") => StatsGroup::WorkloadType,
        Some(_) => {
            params.refuse("group_by", "must be hour, day or workload_type");
            StatsGroup::Hour
        }
    };
    params.finish()?;
    let query = range(start, end, group, state.ambient.now())?;
    let customer = tenant.customer();
    let rows = outcome::read(|| state.store.customer_stats(customer, &query)).await?;
    let sum = |of: fn(&StatsRow) -> i64| rows.iter().map(of).sum::<i64>();
    let total = Counts {
        submitted: sum(|row| row.submitted),
        completed: sum(|row| row.completed),
        failed: sum(|row| row.failed),
        cancelled: sum(|row| row.cancelled),
        run_seconds: seconds(sum(|row| row.run_micros)),
    };
    let groups = rows.into_iter().map(|row| Group {
        start: row.start.map(moment),
        counts: Counts::of(&row),
        workload_type: row.workload_type,
    });
    Ok(Json(Statistics {
        customer_id: customer.to_string(),
        start: moment(query.from),
        end: moment(query.to),
        group_by: group.as_str(),
        stats: groups.collect(),
        total,
    }))
}

/// Whole hours, from the beginning of the first to the end of the last.
fn range(
    start: Option<WallTime>,
    end: Option<WallTime>,
    group: StatsGroup,
    now: WallTime,
) -> Result<StatsQuery, ApiError> {
    let (usual, most) = match group {
        StatsGroup::Hour => (24, 31 * 24),
        StatsGroup::Day | StatsGroup::WorkloadType => (30 * 24, 400 * 24),
    };
    let end = end.unwrap_or(now).0;
    let to = end
        .div_euclid(HOUR)
        .saturating_add(i64::from(end.rem_euclid(HOUR) > 0));
    let from = match start {
        Some(start) => start.0.div_euclid(HOUR),
        None => to - usual,
    };
    let refuse = |pointer: &str, detail: String| {
        let pointer = pointer.to_owned();
        Err(ApiError::bad_query(vec![FieldError { pointer, detail }]))
    };
    if from >= to {
        return refuse("?start", "must be before end".to_owned());
    }
    if to - from > most {
        let detail = format!("must be at most {} days before end", most / 24);
        return refuse("?start", detail);
    }
    Ok(StatsQuery {
        from: WallTime(from * HOUR),
        to: WallTime(to * HOUR),
        group,
    })
}

/// An hour, in microseconds.
const HOUR: i64 = 3_600_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime(1_000 * HOUR + 5);

    fn hours(start: Option<i64>, end: Option<i64>, group: StatsGroup) -> Option<(i64, i64)> {
        let query = range(start.map(WallTime), end.map(WallTime), group, NOW).ok()?;
        Some((query.from.0 / HOUR, query.to.0 / HOUR))
    }

    #[test]
    fn ranges_are_widened_to_whole_hours() {
        assert_eq!(hours(None, None, StatsGroup::Hour), Some((977, 1_001)));
        assert_eq!(hours(None, None, StatsGroup::Day), Some((281, 1_001)));
        let (start, end) = (Some(10 * HOUR + 1), Some(12 * HOUR));
        assert_eq!(hours(start, end, StatsGroup::Hour), Some((10, 12)));
        assert_eq!(hours(Some(-1), Some(1), StatsGroup::Hour), Some((-1, 1)));
    }

    #[test]
    fn ranges_that_are_empty_or_too_long_are_refused() {
        assert_eq!(hours(Some(NOW.0 + HOUR), None, StatsGroup::Hour), None);
        assert_eq!(hours(Some(0), Some(745 * HOUR), StatsGroup::Hour), None);
        assert!(hours(Some(0), Some(744 * HOUR), StatsGroup::Hour).is_some());
        assert!(hours(Some(0), Some(9_600 * HOUR), StatsGroup::Day).is_some());
        assert_eq!(
            hours(Some(0), Some(9_601 * HOUR), StatsGroup::WorkloadType),
            None
        );
    }
}
