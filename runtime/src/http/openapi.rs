//! The OpenAPI 3.1 document, made from the handlers, and a page to browse it.
//!
//! Handlers say what is particular to them: parameters, bodies, successes, refusals of their own.
//! What follows from the table of routes is added here: security, ids in paths, `customer_id`, the
//! refusals that every route of its kind can give, and the headers of answers. The page is one file
//! of ours without a word from elsewhere, so it works offline. A bundled viewer was rejected: it
//! adds ten megabytes of somebody's scripts to every coordinator.

use super::{
    auth::Access,
    error::Code,
    routes::{self, Route},
    schema::{self, ProblemBody},
};
use axum::{
    http::{HeaderName, Method, header},
    response::IntoResponse,
};
use serde_json::{Value, json};
use std::sync::OnceLock;
use utoipa::{
    ToSchema,
    openapi::{RefOr, Schema},
};

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "probes",
    responses((status = 200, description = "OpenAPI 3.1", body = Object))
)]
pub(crate) async fn document() -> impl IntoResponse {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| build(&routes::all()).to_string());
    ([(header::CONTENT_TYPE, "application/json")], text.as_str())
}

/// A page to browse this document.
#[utoipa::path(
    get, path = "/docs", tag = "probes",
    responses((status = 200, description = "A page", body = String, content_type = "text/html"))
)]
pub(crate) async fn page() -> impl IntoResponse {
    const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src \
        'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
        frame-ancestors 'none'";
    let headers: [(HeaderName, &str); 2] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, include_str!("docs.html"))
}

/// The whole document.
pub(crate) fn build(routes: &[Route]) -> Value {
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Niyanta",
            "version": env!("CARGO_PKG_VERSION"),
            "description": INTRODUCTION,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "paths": {},
        "components": {
            "schemas": {},
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, `nyt_…`",
                },
            },
        },
    });
    let schemas = &mut document["components"]["schemas"];
    let shared = shared_schemas();
    for (name, schema) in routes
        .iter()
        .flat_map(|route| &route.schemas)
        .chain(&shared)
    {
        schemas[name] = plain(schema);
    }
    for route in routes {
        let method = route.method.as_str().to_ascii_lowercase();
        document["paths"][&route.path][method] = operation(route);
    }
    document
}

/// What is named by refusals and queries, which handlers do not gather.
fn shared_schemas() -> Vec<(String, RefOr<Schema>)> {
    fn add<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        T::schemas(schemas);
        schemas.push((T::name().into_owned(), T::schema()));
    }
    let mut schemas = Vec::new();
    add::<ProblemBody>(&mut schemas);
    add::<schema::WorkloadStatus>(&mut schemas);
    add::<schema::WorkerState>(&mut schemas);
    add::<schema::Label>(&mut schemas);
    add::<schema::Order>(&mut schemas);
    add::<schema::GroupBy>(&mut schemas);
    schemas
}

/// A part of the document as JSON: its types always can be written so.
fn plain(part: &impl serde::Serialize) -> Value {
    serde_json::to_value(part).unwrap_or_default()
}

fn operation(route: &Route) -> Value {
    let mut operation = plain(&route.operation);
    let mut parameters = match operation["parameters"].take() {
        Value::Array(found) => found,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            Vec::new()
        }
    };
    parameters.extend(path_parameters(&route.path));
    if route.access == Access::Customer {
        parameters.push(json!({
            "name": "customer_id", "in": "query", "required": false,
            "description": "For whom an admin key acts; a customer's key may name its own customer",
            "schema": { "type": "string", "pattern": "^cus_[0-9a-f]{32}$" },
        }));
    }
    operation["parameters"] = Value::Array(parameters);
    // One name in two modules stays one operation each.
    let id = operation_id(route);
    operation["operationId"] = Value::String(id);
    if route.access != Access::Public {
        operation["security"] = json!([{ "key": [] }]);
    }
    let has_body = !operation["requestBody"].is_null();
    for code in refusals(route, has_body) {
        let status = code.status().as_u16().to_string();
        let responses = &mut operation["responses"];
        if responses[&status].is_null() {
            responses[&status] = json!({ "description": code.title() });
        }
    }
    if let Some(responses) = operation["responses"].as_object_mut() {
        for (status, response) in responses {
            finish(status, response, route.access);
        }
    }
    operation
}

/// `get_workloads_audit` and the like: the method, and the words of the path.
fn operation_id(route: &Route) -> String {
    let words = route.path.split(['/', ':', '.', '-']);
    let words = words.filter(|word| !word.is_empty() && *word != "v1");
    let words = words.map(|word| match word.strip_prefix('{') {
        Some(name) => format!("by_{}", name.trim_end_matches('}')),
        None => word.to_owned(),
    });
    let words: Vec<String> = words.collect();
    format!(
        "{}_{}",
        route.method.as_str().to_ascii_lowercase(),
        words.join("_")
    )
}

/// What is the same for every answer of this status.
fn finish(status: &str, response: &mut Value, access: Access) {
    let text =
        |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    let is_refusal = status.starts_with(['4', '5']);
    if is_refusal && response["content"].is_null() {
        let schema = json!({ "$ref": format!("#/components/schemas/{}", ProblemBody::name()) });
        response["content"] = json!({ "application/problem+json": { "schema": schema } });
    }
    let headers = &mut response["headers"];
    headers["X-Request-Id"] = text("The caller's, if sent and sane");
    if matches!(status, "429" | "503") {
        headers["Retry-After"] = text("Seconds");
    }
    if access == Access::Customer && matches!(status.as_bytes().first(), Some(b'2')) {
        headers["RateLimit"] = text("What is left of the policy; not for admin keys");
        headers["RateLimit-Policy"] = text("Quota, and seconds in which it is refilled");
    }
}

/// The codes that routes of this kind can give beside their own.
fn refusals(route: &Route, has_body: bool) -> Vec<Code> {
    let mut codes = vec![
        Code::InvalidInput,
        Code::UriTooLong,
        Code::HeadersTooLarge,
        Code::InternalError,
    ];
    match route.access {
        Access::Public => return codes,
        Access::Customer => codes.extend([Code::NotFound, Code::RateLimited]),
        Access::Admin => {}
    }
    codes.extend([
        Code::Unauthorized,
        Code::Forbidden,
        Code::ServiceUnavailable,
        Code::Timeout,
    ]);
    if route.path.contains('{') {
        codes.push(Code::NotFound);
    }
    if route.method == Method::POST && route.access == Access::Customer {
        // Full queues are told with the same status as spent rates.
        codes.push(Code::QueueFull);
    }
    if has_body {
        codes.extend([
            Code::RequestTimeout,
            Code::PayloadTooLarge,
            Code::UnsupportedMediaType,
        ]);
    }
    codes
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = path
        .split('{')
        .skip(1)
        .filter_map(|part| part.split('}').next());
    names
        .map(|name| {
            let pattern = match name {
                "workload_id" => "^wl_[0-9a-f]{32}$",
                "config_id" => "^wlcfg_[0-9a-f]{32}$",
                "customer_id" => "^cus_[0-9a-f]{32}$",
                "key_id" => "^key_[0-9a-f]{32}$",
                _ => "^[A-Za-z0-9_-]{1,64}$",
            };
            json!({
                "name": name, "in": "path", "required": true,
                "schema": { "type": "string", "pattern": pattern },
            })
        })
        .collect()
}

const INTRODUCTION: &str = "\
Niyanta runs long workloads on workers and keeps them running. Bodies are JSON; refusals are \
`application/problem+json` with a stable `code`. 4xx and 503 mean: not done, and never will be. 500, \
504 and a broken connection mean: unknown; repeat with the same `Idempotency-Key`. `null` counts as \
absent. Each coordinator applies the full rate of a customer.";
