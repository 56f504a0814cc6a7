//! Customers: the caller's own account, and operators' management of all of them.

use super::{
    ApiState, BODY_BYTES_MAX,
    auth::{Operator, Tenant},
    body::{JsonBody, PathId},
    changes::ChangeCall,
    dto::{Customer, CustomerList},
    error::ApiError,
    json::{Errors, Fields},
    outcome,
    pagination::{Paging, Question, RESOURCES, read_row_place, row_place},
    query::Params,
    schema,
    workloads::{ascending, location},
};
use crate::store::{
    CustomerPatch, CustomerRecord, CustomerView, Json as JsonValue, LimitOverrides, Page,
    PatchCustomer, Tier,
};
use axum::{Json, extract::State, http::StatusCode, response::IntoResponse};
use niyanta_core::ids::CustomerId;
use std::ops::RangeInclusive;

type Body = JsonBody<BODY_BYTES_MAX>;

/// Show the account, its limits and its use.
#[utoipa::path(
    get, path = "/v1/customer", tag = "customer",
    responses(
        (status = 200, description = "The customer", body = Customer),
    )
)]
pub(crate) async fn own(
    State(state): State<ApiState>,
    tenant: Tenant,
    params: Params,
) -> Result<Json<Customer>, ApiError> {
    params.finish()?;
    find(&state, tenant.customer()).await
}

/// Show a customer.
#[utoipa::path(
    get, path = "/v1/admin/customers/{customer_id}", tag = "operators",
    responses(
        (status = 200, description = "The customer", body = Customer),
    )
)]
pub(crate) async fn show(
    State(state): State<ApiState>,
    _operator: Operator,
    PathId(customer): PathId<CustomerId>,
    params: Params,
) -> Result<Json<Customer>, ApiError> {
    params.finish()?;
    find(&state, customer).await
}

async fn find(state: &ApiState, customer: CustomerId) -> Result<Json<Customer>, ApiError> {
    let found = outcome::read(|| state.store.customer(customer)).await?;
    found.map(|view| Json(view.into())).ok_or_else(missing)
}

/// Create a customer.
#[utoipa::path(
    post, path = "/v1/admin/customers", tag = "operators",
    request_body = schema::NewCustomerBody,
    responses(
        (status = 201, description = "Created", body = Customer, headers(("Location" = String, description = "The customer"))),
        (status = 422, description = "Breaks the schema"),
    )
)]
pub(crate) async fn create(
    State(state): State<ApiState>,
    operator: Operator,
    params: Params,
    JsonBody(body): Body,
) -> Result<impl IntoResponse, ApiError> {
    params.finish()?;
    let customer = read_new(CustomerId(state.ambient.new_id()), &body)?;
    let task = state.clone();
    let created = state.detached(async move {
        let store = &task.store;
        // Customers are never deleted, and this one's id keeps every other sending of it out.
        let send = |again| {
            let (customer, actor) = (&customer, operator.actor());
            async move {
                if again && let Some(view) = store.customer(customer.id).await? {
                    return Ok(view);
                }
                store.create_customer(customer, &actor).await
            }
        };
        let view = outcome::settle(send, |view, _| Ok(view)).await?;
        task.hints.customers(&[view.id]);
        Ok(view)
    });
    let view = created.await?;
    let place = location(&format!("/v1/admin/customers/{}", view.id));
    Ok((StatusCode::CREATED, place, Json(Customer::from(view))))
}

/// List customers.
#[utoipa::path(
    get, path = "/v1/admin/customers", tag = "operators",
    params(schema::ResourcesQuery),
    responses(
        (status = 200, description = "A page", body = CustomerList),
    )
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    _operator: Operator,
    mut params: Params,
) -> Result<Json<CustomerList>, ApiError> {
    let ascending = ascending(&mut params);
    let question = Question::of("customers").with(ascending);
    let paging = Paging::take(&mut params, &RESOURCES, question);
    params.finish()?;
    let paging = paging?;
    let page = Page {
        after: paging.place(read_row_place)?,
        limit: paging.rows(),
        ascending,
        until: None,
    };
    let rows = outcome::read(|| state.store.customers(&page)).await?;
    let place = |view: &CustomerView| row_place(view.created_at, view.id.0);
    let (rows, pagination) = paging.cut(rows, place);
    Ok(Json(CustomerList {
        customers: rows.into_iter().map(Customer::from).collect(),
        pagination,
    }))
}

/// Change name, tier or limits of a customer.
#[utoipa::path(
    patch, path = "/v1/admin/customers/{customer_id}", tag = "operators",
    request_body = schema::CustomerPatchBody,
    responses(
        (status = 200, description = "Changed", body = Customer),
        (status = 422, description = "Breaks the schema"),
    )
)]
pub(crate) async fn patch(
    State(state): State<ApiState>,
    operator: Operator,
    PathId(customer): PathId<CustomerId>,
    params: Params,
    JsonBody(body): Body,
) -> Result<Json<Customer>, ApiError> {
    params.finish()?;
    let patch = read_patch(&body)?;
    let task = state.clone();
    let patched = state.detached(async move {
        let actor = operator.actor();
        let store = &task.store;
        let look = || async {
            let found = store.customer(customer).await?;
            Ok(found.map(|view| view.revision))
        };
        let make = |upon| store.patch_customer(customer, &patch, upon, &actor);
        let call = ChangeCall::new(look, make);
        let judge = |outcome, doubt| judge_patch(&patch, outcome, doubt);
        let view = outcome::settle(|doubt| call.send(doubt), judge).await?;
        task.hints.customers(&[customer]);
        Ok(view)
    });
    Ok(Json(patched.await?.into()))
}

fn judge_patch(
    patch: &CustomerPatch,
    outcome: PatchCustomer,
    doubt: bool,
) -> Result<CustomerView, ApiError> {
    match outcome {
        PatchCustomer::Patched(view) => Ok(*view),
        PatchCustomer::Overtaken(view) if doubt && patch.is_in(&view) => Ok(*view),
        // Only after doubt, and then nobody is told so.
        PatchCustomer::Overtaken(_) => Err(ApiError::unavailable()),
        PatchCustomer::NotFound => Err(missing()),
    }
}

fn missing() -> ApiError {
    ApiError::not_found("customer")
}

pub(super) fn read_new(id: CustomerId, body: &JsonValue) -> Result<CustomerRecord, ApiError> {
    let mut errors = Errors::default();
    let mut fields = Fields::of_body(body, &mut errors);
    fields.require("name");
    let name = fields.text("name", NAME_CHARS);
    let tier = fields.word::<Tier>("tier");
    let given = fields.inside("limits").map(limits).unwrap_or_default();
    fields.finish();
    errors.into_result()?;
    Ok(CustomerRecord {
        id,
        name: name.ok_or_else(ApiError::internal)?,
        tier: tier.unwrap_or(Tier::Free),
        overrides: LimitOverrides {
            max_concurrent_workloads: given.max_concurrent_workloads.flatten(),
            max_queue_depth: given.max_queue_depth.flatten(),
            rate_limit_per_sec: given.rate_limit_per_sec.flatten(),
            rate_limit_burst: given.rate_limit_burst.flatten(),
        },
    })
}

pub(super) fn read_patch(body: &JsonValue) -> Result<CustomerPatch, ApiError> {
    let mut errors = Errors::default();
    let mut fields = Fields::of_body(body, &mut errors);
    let name = fields.text("name", NAME_CHARS);
    let tier = fields.word::<Tier>("tier");
    let limits = fields.inside("limits").map(limits).unwrap_or_default();
    fields.finish();
    errors.into_result()?;
    Ok(CustomerPatch {
        name,
        tier,
        ..limits
    })
}

/// The overrides given: `null` gives a limit back to the tier.
fn limits(mut fields: Fields<'_, '_>) -> CustomerPatch {
    let mut limit = |name, least| {
        let given = fields.is_given(name);
        let number = fields.integer(name, least..=LIMIT_MAX);
        given.then_some(number)
    };
    let patch = CustomerPatch {
        max_concurrent_workloads: limit("max_concurrent_workloads", 0),
        max_queue_depth: limit("max_queue_depth", 0),
        rate_limit_per_sec: limit("rate_limit_per_sec", 1),
        rate_limit_burst: limit("rate_limit_burst", 1),
        ..CustomerPatch::default()
    };
    fields.finish();
    patch
}

/// How long names of customers and keys are.
pub(super) const NAME_CHARS: RangeInclusive<usize> = 1..=256;
const LIMIT_MAX: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_patch_tells_left_alone_from_given_back() {
        let patch =
            read_patch(&json!({"limits": {"max_queue_depth": null, "rate_limit_burst": 7}}));
        let expected = CustomerPatch {
            max_queue_depth: Some(None),
            rate_limit_burst: Some(Some(7)),
            ..CustomerPatch::default()
        };
        assert_eq!(patch.unwrap(), expected);
        assert_eq!(read_patch(&json!({})).unwrap(), CustomerPatch::default());
    }

    #[test]
    fn wrong_customers_are_refused() {
        for body in [
            json!({}),
            json!({"name": ""}),
            json!({"name": "a", "tier": "gold"}),
            json!({"name": "a", "limits": {"rate_limit_per_sec": 0}}),
            json!({"name": "a", "limits": {"max_queue_depth": -1}}),
            json!({"name": "a", "limits": {"weight": 1}}),
            json!({"name": "a", "id": "cus_1"}),
        ] {
            assert!(read_new(CustomerId(1), &body).is_err(), "{body}");
        }
        let created = read_new(CustomerId(1), &json!({"name": "a", "tier": "premium"}));
        assert_eq!(created.unwrap().tier, Tier::Premium);
    }
}
