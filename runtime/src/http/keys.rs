//! API keys: issue, list, revoke. The secret leaves this process once, in the answer that makes it.

use super::{
    ApiState, BODY_BYTES_MAX,
    auth::{Operator, new_key_from},
    body::{OptionalJsonBody, PathId},
    customers::NAME_CHARS,
    dto::{CreatedKey, Key, KeyList},
    error::ApiError,
    json::{Errors, Fields},
    outcome,
    pagination::{Paging, Question, RESOURCES, read_row_place, row_place},
    query::Params,
    schema,
};
use crate::store::{Json as JsonValue, KeyId, KeyRecord, KeyRow, Page};
use axum::{Json, extract::State, http::StatusCode};
use niyanta_core::{ids::CustomerId, time::WallTime};

/// Issue an API key.
///
/// The secret is shown in this answer alone.
#[utoipa::path(
    post, path = "/v1/admin/customers/{customer_id}/api-keys", tag = "operators",
    request_body = Option<schema::NewKeyBody>,
    responses(
        (status = 201, description = "Issued", body = CreatedKey),
        (status = 422, description = "Breaks the schema"),
    )
)]
pub(crate) async fn create(
    State(state): State<ApiState>,
    operator: Operator,
    PathId(customer): PathId<CustomerId>,
    params: Params,
    OptionalJsonBody(body): OptionalJsonBody<BODY_BYTES_MAX>,
) -> Result<(StatusCode, Json<CreatedKey>), ApiError> {
    params.finish()?;
    let (name, expires_at) = match &body {
        Some(body) => read(body, state.ambient.now())?,
        None => (None, None),
    };
    let new = new_key_from(&*state.ambient);
    let record = KeyRecord {
        id: new.id,
        customer: Some(customer),
        name: name.unwrap_or_else(|| "default".to_owned()),
        prefix: new.prefix,
        secret_hash: new.secret_hash,
        expires_at,
    };
    let task = state.clone();
    let created = state.detached(async move {
        let (store, actor) = (&task.store, operator.actor());
        // Keys are never deleted, and this one's id keeps every other sending of it out.
        let send = |again| {
            let (record, actor) = (&record, &actor);
            async move {
                if again && let Some(row) = store.find_key(&record.secret_hash).await? {
                    return Ok(Some(row));
                }
                store.create_key(record, actor).await
            }
        };
        let judge = |row: Option<KeyRow>, _| row.ok_or_else(|| ApiError::not_found("customer"));
        outcome::settle(send, judge).await
    });
    let key = Key::from(created.await?);
    let secret = new.secret.expose().to_owned();
    Ok((StatusCode::CREATED, Json(CreatedKey { key, secret })))
}

/// List the API keys of a customer.
#[utoipa::path(
    get, path = "/v1/admin/customers/{customer_id}/api-keys", tag = "operators",
    params(schema::KeysQuery),
    responses(
        (status = 200, description = "A page", body = KeyList),
    )
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    _operator: Operator,
    PathId(customer): PathId<CustomerId>,
    mut params: Params,
) -> Result<Json<KeyList>, ApiError> {
    let question = Question::of("keys").with(customer);
    let paging = Paging::take(&mut params, &RESOURCES, question);
    params.finish()?;
    let paging = paging?;
    let page = Page {
        after: paging.place(read_row_place)?,
        limit: paging.rows(),
        ascending: true,
        until: None,
    };
    let found = outcome::read(|| state.store.keys(Some(customer), &page)).await?;
    let rows = found.ok_or_else(|| ApiError::not_found("customer"))?;
    let (rows, pagination) = paging.cut(rows, |row| row_place(row.created_at, row.id.0));
    Ok(Json(KeyList {
        api_keys: rows.into_iter().map(Key::from).collect(),
        pagination,
    }))
}

/// Revoke an API key.
#[utoipa::path(
    delete, path = "/v1/admin/api-keys/{key_id}", tag = "operators",
    responses(
        (status = 204, description = "Revoked: everywhere within 5 s"),
    )
)]
pub(crate) async fn revoke(
    State(state): State<ApiState>,
    operator: Operator,
    PathId(key): PathId<KeyId>,
    params: Params,
) -> Result<StatusCode, ApiError> {
    params.finish()?;
    let task = state.clone();
    let revoked = state.detached(async move {
        let actor = operator.actor();
        // A revocation is final: one that lands late changes nothing.
        let send = |_| task.store.revoke_key(key, &actor);
        let judge = |row: Option<KeyRow>, _| row.ok_or_else(|| ApiError::not_found("API key"));
        outcome::settle(send, judge).await?;
        task.keys.invalidate(key);
        task.hints.key_revoked(key);
        Ok(())
    });
    revoked.await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn read(
    body: &JsonValue,
    now: WallTime,
) -> Result<(Option<String>, Option<WallTime>), ApiError> {
    let mut errors = Errors::default();
    let mut fields = Fields::of_body(body, &mut errors);
    let name = fields.text("name", NAME_CHARS);
    let expires_at = fields.moment("expires_at");
    if expires_at.is_some_and(|end| end <= now) {
        fields.refuse("expires_at", "must be in the future");
    }
    fields.finish();
    errors.into_result()?;
    Ok((name, expires_at))
}
