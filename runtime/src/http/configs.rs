//! Workload configs: the types that a customer has registered.

use super::{
    ApiState, BODY_BYTES_MAX,
    auth::Tenant,
    body::{JsonBody, PathId},
    changes::ChangeCall,
    dto::{Config, ConfigList},
    error::{ApiError, Code},
    json::{Errors, Fields},
    outcome,
    pagination::{Paging, Question, RESOURCES, read_row_place, row_place},
    query::Params,
    schema,
    submission::{PAYLOAD_BYTES_MAX, RETRIES_MAX, TIMEOUT_SECONDS_MAX},
    workloads::{ascending, location},
};
use crate::store::{
    ConfigId, ConfigRecord, ConfigRow, CreateConfig, DeleteConfig, Json as JsonValue, Page,
    ReplaceConfig,
};
use axum::{Json, extract::State, http::StatusCode, response::IntoResponse};
use niyanta_core::{ids::WorkloadType, workload::OnLeaseLoss};
use serde_json::{Map, json};

type Body = JsonBody<BODY_BYTES_MAX>;

/// Register a workload type.
#[utoipa::path(
    post, path = "/v1/workload-configs", tag = "workload configs",
    request_body = schema::ConfigBody,
    responses(
        (status = 201, description = "Registered", body = Config, headers(("Location" = String, description = "The config"))),
        (status = 409, description = "The customer has another config of this type"),
        (status = 422, description = "Breaks the schema"),
    )
)]
pub(crate) async fn create(
    State(state): State<ApiState>,
    tenant: Tenant,
    params: Params,
    JsonBody(body): Body,
) -> Result<impl IntoResponse, ApiError> {
    params.finish()?;
    let config = read(ConfigId(state.ambient.new_id()), &body)?;
    let (task, customer) = (state.clone(), tenant.customer());
    let created = state.detached(async move {
        let store = &task.store;
        let look = || async {
            let found = store.customer(customer).await?;
            Ok(found.map(|view| view.revision))
        };
        let make = |upon| store.create_config(customer, &config, upon);
        let call = ChangeCall::new(look, make);
        outcome::settle(
            |doubt| call.send(doubt),
            |outcome, _| match outcome {
                CreateConfig::Created(row) => Ok(row),
                CreateConfig::TypeTaken => Err(type_taken()),
                // Only after doubt, and then nobody is told so.
                CreateConfig::Overtaken => Err(ApiError::unavailable()),
                CreateConfig::NoCustomer => Err(ApiError::not_found("customer")),
            },
        )
        .await
    });
    let row = created.await?;
    let place = location(&format!("/v1/workload-configs/{}", row.record.id));
    Ok((StatusCode::CREATED, place, Json(Config::from(row))))
}

/// List workload types.
#[utoipa::path(
    get, path = "/v1/workload-configs", tag = "workload configs",
    params(schema::ResourcesQuery),
    responses(
        (status = 200, description = "A page", body = ConfigList),
    )
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    tenant: Tenant,
    mut params: Params,
) -> Result<Json<ConfigList>, ApiError> {
    let customer = tenant.customer();
    let ascending = ascending(&mut params);
    let question = Question::of("configs").with(customer).with(ascending);
    let paging = Paging::take(&mut params, &RESOURCES, question);
    params.finish()?;
    let paging = paging?;
    let page = Page {
        after: paging.place(read_row_place)?,
        limit: paging.rows(),
        ascending,
        until: None,
    };
    let rows = outcome::read(|| state.store.configs(customer, &page)).await?;
    let place = |row: &ConfigRow| row_place(row.created_at, row.record.id.0);
    let (rows, pagination) = paging.cut(rows, place);
    Ok(Json(ConfigList {
        workload_configs: rows.into_iter().map(Config::from).collect(),
        pagination,
    }))
}

/// Show a workload type.
#[utoipa::path(
    get, path = "/v1/workload-configs/{config_id}", tag = "workload configs",
    responses(
        (status = 200, description = "The config", body = Config),
    )
)]
pub(crate) async fn show(
    State(state): State<ApiState>,
    tenant: Tenant,
    PathId(config): PathId<ConfigId>,
    params: Params,
) -> Result<Json<Config>, ApiError> {
    params.finish()?;
    let found = outcome::read(|| state.store.config(tenant.customer(), config)).await?;
    found.map(|row| Json(row.into())).ok_or_else(missing)
}

/// Replace a workload type.
///
/// Workloads that were submitted keep what they copied.
#[utoipa::path(
    put, path = "/v1/workload-configs/{config_id}", tag = "workload configs",
    request_body = schema::ConfigBody,
    responses(
        (status = 200, description = "Replaced", body = Config),
        (status = 409, description = "The customer has another config of this type"),
        (status = 422, description = "Breaks the schema"),
    )
)]
pub(crate) async fn replace(
    State(state): State<ApiState>,
    tenant: Tenant,
    PathId(id): PathId<ConfigId>,
    params: Params,
    JsonBody(body): Body,
) -> Result<Json<Config>, ApiError> {
    params.finish()?;
    let config = read(id, &body)?;
    let (task, customer) = (state.clone(), tenant.customer());
    let replaced = state.detached(async move {
        let store = &task.store;
        let look = || async {
            let found = store.config(customer, id).await?;
            Ok(found.map(|row| row.revision))
        };
        let make = |upon| store.replace_config(customer, &config, upon);
        let call = ChangeCall::new(look, make);
        outcome::settle(
            |doubt| call.send(doubt),
            |outcome, doubt| match outcome {
                ReplaceConfig::Replaced(row) => Ok(row),
                ReplaceConfig::Overtaken(row) if doubt && row.record == config => Ok(row),
                // Only after doubt, and then nobody is told so.
                ReplaceConfig::Overtaken(_) => Err(ApiError::unavailable()),
                ReplaceConfig::TypeTaken => Err(type_taken()),
                ReplaceConfig::NotFound => Err(missing()),
            },
        )
        .await
    });
    Ok(Json(replaced.await?.into()))
}

/// Delete a workload type.
#[utoipa::path(
    delete, path = "/v1/workload-configs/{config_id}", tag = "workload configs",
    responses(
        (status = 204, description = "Deleted"),
        (status = 409, description = "A workload that has not ended uses it"),
    )
)]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    tenant: Tenant,
    PathId(config): PathId<ConfigId>,
    params: Params,
) -> Result<StatusCode, ApiError> {
    params.finish()?;
    let (task, customer) = (state.clone(), tenant.customer());
    let deleted = state.detached(async move {
        // An id never comes back: a sending that lands late finds nothing.
        let send = |_| task.store.delete_config(customer, config);
        outcome::settle(send, |outcome, doubt| match outcome {
            DeleteConfig::Deleted => Ok(()),
            // An earlier sending deleted it.
            DeleteConfig::NotFound if doubt => Ok(()),
            DeleteConfig::NotFound => Err(missing()),
            DeleteConfig::InUse => {
                let detail = "a workload that has not ended uses this config";
                Err(ApiError::new(Code::Conflict, detail))
            }
        })
        .await
    });
    deleted.await?;
    Ok(StatusCode::NO_CONTENT)
}

fn missing() -> ApiError {
    ApiError::not_found("workload config")
}

fn type_taken() -> ApiError {
    let detail = "this customer has another config of that type";
    ApiError::new(Code::Conflict, detail)
}

pub(super) fn read(id: ConfigId, body: &JsonValue) -> Result<ConfigRecord, ApiError> {
    let mut errors = Errors::default();
    let mut fields = Fields::of_body(body, &mut errors);
    fields.require("workload_type");
    let workload_type = fields.word::<WorkloadType>("workload_type");
    let description = fields.text("description", 0..=DESCRIPTION_CHARS_MAX);
    let config_json = fields.object("config_json", PAYLOAD_BYTES_MAX);
    let resource_limits = resource_limits(fields.inside("resource_limits"));
    let interval = fields.integer("checkpoint_interval_sec", 1..=CHECKPOINT_SECONDS_MAX);
    let max_retries = fields.integer("max_retries", 0..=RETRIES_MAX);
    let timeout_seconds = fields.integer("timeout_seconds", 1..=TIMEOUT_SECONDS_MAX);
    let on_lease_loss = fields.word("on_lease_loss");
    fields.finish();
    errors.into_result()?;
    Ok(ConfigRecord {
        id,
        workload_type: workload_type.ok_or_else(ApiError::internal)?,
        description,
        config_json: config_json.unwrap_or_else(|| JsonValue::Object(Map::default())),
        resource_limits,
        checkpoint_interval_sec: interval.unwrap_or(30),
        max_retries: max_retries.unwrap_or(3),
        timeout_seconds: timeout_seconds.unwrap_or(3_600),
        on_lease_loss: on_lease_loss.unwrap_or(OnLeaseLoss::Stop),
    })
}

fn resource_limits(fields: Option<Fields<'_, '_>>) -> JsonValue {
    let Some(mut fields) = fields else {
        return json!({ "cpu_cores": null, "memory_mb": null, "disk_mb": null });
    };
    let cpu_cores = fields.value("cpu_cores").cloned();
    let cores = cpu_cores.as_ref().map(JsonValue::as_f64);
    if cores.is_some_and(|cores| !cores.is_some_and(|n| n > 0.0 && n <= CPU_CORES_MAX)) {
        fields.refuse(
            "cpu_cores",
            format!("must be a number above 0, at most {CPU_CORES_MAX}"),
        );
    }
    let memory_mb = fields.integer("memory_mb", 1..=MEGABYTES_MAX);
    let disk_mb = fields.integer("disk_mb", 1..=MEGABYTES_MAX);
    fields.finish();
    json!({ "cpu_cores": cpu_cores, "memory_mb": memory_mb, "disk_mb": disk_mb })
}

const DESCRIPTION_CHARS_MAX: usize = 4_096;
const CHECKPOINT_SECONDS_MAX: u32 = 86_400;
const CPU_CORES_MAX: f64 = 100_000.0;
const MEGABYTES_MAX: i64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_contracts() {
        let config = read(ConfigId(1), &json!({"workload_type": "sleep"})).unwrap();
        assert_eq!(config.config_json, json!({}));
        let nulls = json!({"cpu_cores": null, "memory_mb": null, "disk_mb": null});
        assert_eq!(config.resource_limits, nulls);
        assert_eq!(
            (config.checkpoint_interval_sec, config.max_retries),
            (30, 3)
        );
        assert_eq!(
            (config.timeout_seconds, config.on_lease_loss),
            (3_600, OnLeaseLoss::Stop)
        );
    }

    #[test]
    fn everything_wrong_is_named() {
        let body = json!({
            "description": "x".repeat(4_097), "config_json": [], "on_lease_loss": "run",
            "resource_limits": {"cpu_cores": 0, "memory_mb": 0.5, "gpu": 1}, "max_retries": 101,
            "timeout_seconds": 0, "checkpoint_interval_sec": 0,
        });
        let error = read(ConfigId(1), &body).unwrap_err();
        let pointers: Vec<_> = error.errors().iter().map(|e| e.pointer.as_str()).collect();
        assert_eq!(
            pointers,
            [
                "/workload_type",
                "/description",
                "/config_json",
                "/resource_limits/cpu_cores",
                "/resource_limits/memory_mb",
                "/resource_limits/gpu",
                "/checkpoint_interval_sec",
                "/max_retries",
                "/timeout_seconds",
                "/on_lease_loss",
            ]
        );
    }
}
