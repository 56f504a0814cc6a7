//! The OpenAPI 3.1 document, made from the handlers, and a page to browse it.
//!
//! Handlers say what is particular to them: parameters, bodies, successes, refusals of their own.
//! What follows from the table of routes is added here: security, ids in paths, `customer_id`, the
//! refusals that every route of its kind can give, and the headers of answers. The page is one file
//! of ours without a word from elsewhere, so it works offline. A bundled viewer was rejected: it
//! adds ten megabytes of somebody's scripts to every coordinator.

use super::{
    auth::Access,
    dto::Log,
    error::Code,
    routes::{self, Route},
    schema::{self, ProblemBody},
};
use axum::{
    http::{HeaderName, Method, header},
    response::IntoResponse,
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::OnceLock};
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
    document["components"]["schemas"][schema::LogsEvent::name().as_ref()] = logs_event();
    require_all_of_answers(&mut document);
    document
}

/// The schema of a stream is that of each of its events, with the event's fields as members: so
/// OpenAPI 3.2 has it, and so do the tools that read 3.1. JSON within text is more than derived
/// schemas can say.
fn logs_event() -> Value {
    let event = |name: &str, about: &str, data: Value| {
        json!({
            "title": name,
            "description": about,
            "type": "object",
            "required": ["event", "data"],
            "properties": {
                "event": { "const": name },
                "id": {
                    "type": "string",
                    "description": "The cursor behind the last line, for `cursor` or `Last-Event-ID`",
                },
                "data": {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "contentSchema": data,
                },
            },
        })
    };
    let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let status = reference(&schema::WorkloadStatus::name());
    let end =
        json!({ "type": "object", "required": ["status"], "properties": { "status": status } });
    json!({
        "description": "An event of a stream of logs",
        "oneOf": [
            event("log", "A line", reference(&Log::name())),
            event("end", "The workload has ended, and all of its lines were sent", end),
        ],
    })
}

/// Answers always write every field, absent values as `null`; what clients send may leave fields out.
fn require_all_of_answers(document: &mut Value) {
    let (mut sent, mut answered) = (BTreeSet::new(), BTreeSet::new());
    let schemas = document["components"]["schemas"].clone();
    let operations = document["paths"].as_object().into_iter().flatten();
    let operations = operations.flat_map(|(_, item)| item.as_object().into_iter().flatten());
    for (_, operation) in operations {
        reach(&operation["parameters"], &schemas, &mut sent);
        reach(&operation["requestBody"], &schemas, &mut sent);
        reach(&operation["responses"], &schemas, &mut answered);
    }
    // Problems name their errors only if there are any.
    sent.insert(ProblemBody::name().into_owned());
    for name in answered.difference(&sent) {
        require_all(&mut document["components"]["schemas"][name]);
    }
}

/// The names of the schemas that a part of the document leads to.
fn reach(part: &Value, schemas: &Value, reached: &mut BTreeSet<String>) {
    match part {
        Value::Object(members) => {
            let reference = members.get("$ref").and_then(Value::as_str);
            let name = reference.and_then(|path| path.strip_prefix("#/components/schemas/"));
            if let Some(name) = name
                && reached.insert(name.to_owned())
            {
                reach(&schemas[name], schemas, reached);
            }
            for member in members.values() {
                reach(member, schemas, reached);
            }
        }
        Value::Array(items) => {
            for item in items {
                reach(item, schemas, reached);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn require_all(schema: &mut Value) {
    let parts = schema.get_mut("allOf").and_then(Value::as_array_mut);
    for part in parts.into_iter().flatten() {
        require_all(part);
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let names: Vec<&String> = properties.keys().collect();
        schema["required"] = json!(names);
    }
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
    let always = |description: &str| json!({ "description": description, "required": true, "schema": { "type": "string" } });
    let is_refusal = status.starts_with(['4', '5']);
    if is_refusal && response["content"].is_null() {
        let schema = json!({ "$ref": format!("#/components/schemas/{}", ProblemBody::name()) });
        response["content"] = json!({ "application/problem+json": { "schema": schema } });
    }
    let headers = &mut response["headers"];
    // What a handler says of the headers of its answers holds for each of them.
    for own in headers.as_object_mut().into_iter().flatten() {
        own.1["required"] = Value::Bool(true);
    }
    headers["X-Request-Id"] = always("The caller's, if sent and sane");
    match status {
        "401" => headers["WWW-Authenticate"] = always("`Bearer`"),
        "429" | "503" => headers["Retry-After"] = always("Seconds"),
        _ => {}
    }
    // Before a key is known there is no customer to have a rate.
    let before = matches!(status, "401" | "403" | "414" | "431");
    if access == Access::Customer && !before {
        headers["RateLimit"] = text("What is left of the policy; not for admin keys");
        headers["RateLimit-Policy"] = text("Quota, and seconds in which it is refilled");
    }
}

/// The codes that routes of this kind can give beside their own.
fn refusals(route: &Route, has_body: bool) -> Vec<Code> {
    let mut codes = vec![Code::InvalidInput, Code::UriTooLong, Code::HeadersTooLarge];
    match route.access {
        // They ask nobody, so nothing can fail.
        Access::Public => return codes,
        Access::Customer => codes.extend([Code::NotFound, Code::RateLimited]),
        Access::Admin => {}
    }
    codes.extend([
        Code::Unauthorized,
        Code::Forbidden,
        Code::InternalError,
        Code::ServiceUnavailable,
    ]);
    if route.path.contains('{') {
        codes.push(Code::NotFound);
    }
    if route.method != Method::GET {
        // The outcome of a read is never in doubt: without an answer, nothing was done.
        codes.push(Code::Timeout);
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
