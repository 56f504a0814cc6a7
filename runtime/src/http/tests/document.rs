//! The document says what the API does, and no more.

use super::{super::auth::Access, *};
use crate::store::{StatsGroup, Tier};
use niyanta_core::{fleet::WorkerStatus, workload::ErrorType};

fn document() -> Json {
    openapi::build(&routes::all())
}

fn schema<'a>(document: &'a Json, name: &str) -> &'a Json {
    let found = &document["components"]["schemas"][name];
    assert!(found.is_object(), "no schema {name}");
    found
}

#[tokio::test]
async fn the_document_and_its_page_are_served_to_everybody() {
    let rig = Rig::new();
    for uri in ["/openapi.json", "/docs"] {
        let request = Request::get(uri).body(Body::empty()).unwrap();
        assert_eq!(rig.send(request).await.status, 200);
    }
    let request = Request::get("/openapi.json").body(Body::empty()).unwrap();
    assert_eq!(rig.send(request).await.json(), document());
    let page = include_str!("../docs.html");
    assert!(
        !page.contains("http://") && !page.contains("https://"),
        "works offline"
    );
}

#[tokio::test]
async fn every_operation_is_routed_and_every_route_is_an_operation() {
    let rig = Rig::new();
    let document = document();
    let mut named = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let request = Request::builder()
                .method(method)
                .uri(path.replace(['{', '}'], "x"));
            let answer = rig.send(request.body(Body::empty()).unwrap()).await;
            let is_named = item[method.to_ascii_lowercase()].is_object();
            named += usize::from(is_named);
            assert_eq!(
                answer.status == 405,
                !is_named,
                "{method} {path}: {answer:?}"
            );
            assert_ne!(
                answer.json_code(),
                Some("no such route".to_owned()),
                "{path}"
            );
        }
    }
    assert_eq!(named, routes::all().len());
}

impl Answer {
    /// The detail of a problem, if it is one.
    fn json_code(&self) -> Option<String> {
        let problem: Json = serde_json::from_str(&self.text).ok()?;
        problem["detail"].as_str().map(str::to_owned)
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_operation_has_a_name_of_its_own() {
    let document = document();
    let text = document.to_string();
    for part in text.split("\"#/components/schemas/").skip(1) {
        schema(&document, part.split('"').next().unwrap());
    }
    let ids: Vec<&str> = text
        .split("\"operationId\":\"")
        .skip(1)
        .map(|part| part.split('"').next().unwrap())
        .collect();
    let unique: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), routes::all().len(), "{ids:?}");
}

#[test]
fn operations_say_who_may_ask_and_how_they_refuse() {
    let document = document();
    for route in routes::all() {
        let method = route.method.as_str().to_ascii_lowercase();
        let operation = &document["paths"][&route.path][method];
        assert_eq!(
            operation["security"].is_array(),
            route.access != Access::Public
        );
        let responses = operation["responses"].as_object().unwrap();
        let own = responses.keys().filter(|status| status.starts_with('2'));
        assert!(own.count() > 0, "{}", route.path);
        for (status, response) in responses {
            assert!(response["headers"]["X-Request-Id"].is_object());
            let is_problem = response["content"]["application/problem+json"].is_object();
            let is_refusal = status.starts_with(['4', '5']) && route.path != "/ready";
            assert_eq!(
                is_problem,
                is_refusal || (route.path == "/ready" && status != "503" && status != "200"),
                "{} {status}",
                route.path
            );
        }
        if route.access != Access::Public {
            assert!(responses.contains_key("401") && responses.contains_key("403"));
        }
    }
}

/// The words that a schema allows.
fn words(document: &Json, name: &str) -> Vec<String> {
    let found = schema(document, name)["enum"].as_array().unwrap().iter();
    found
        .map(|word| word.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn words_are_those_of_the_code() {
    let document = document();
    let check = |name: &str, code: Vec<&str>| assert_eq!(words(&document, name), code);
    check(
        "WorkloadStatus",
        Status::ALL.iter().map(|it| it.as_str()).collect(),
    );
    check(
        "WorkloadDesired",
        Desired::ALL.iter().map(|it| it.as_str()).collect(),
    );
    check(
        "ErrorKind",
        ErrorType::ALL.iter().map(|it| it.as_str()).collect(),
    );
    check(
        "OnLeaseLossChoice",
        OnLeaseLoss::ALL.iter().map(|it| it.as_str()).collect(),
    );
    check(
        "WorkerState",
        WorkerStatus::ALL.iter().map(|it| it.as_str()).collect(),
    );
    check(
        "CustomerTier",
        Tier::ALL.iter().map(|it| it.as_str()).collect(),
    );
    let groups = [StatsGroup::Hour, StatsGroup::Day, StatsGroup::WorkloadType];
    check("GroupBy", groups.iter().map(|it| it.as_str()).collect());
    check(
        "ErrorCode",
        Code::ALL.iter().map(|it| it.as_str()).collect(),
    );
}

/// Every body and part of one: schema, who sends it how and where to, and where in it.
const BODIES: [(&str, &str, &str, &str); 16] = [
    ("SubmitBody", "POST", "/v1/workloads", ""),
    ("BatchBody", "POST", "/v1/workloads:batch", ""),
    ("AffinityRules", "POST", "/v1/workloads", "affinity_rules"),
    (
        "WorkerAffinity",
        "POST",
        "/v1/workloads",
        "affinity_rules.hard_affinity",
    ),
    (
        "WorkerAffinity",
        "POST",
        "/v1/workloads",
        "affinity_rules.soft_affinity",
    ),
    (
        "AntiAffinity",
        "POST",
        "/v1/workloads",
        "affinity_rules.anti_affinity",
    ),
    (
        "ControlBody",
        "POST",
        "/v1/workloads/{workload_id}/cancel",
        "",
    ),
    ("ConfigBody", "POST", "/v1/workload-configs", ""),
    ("ConfigBody", "PUT", "/v1/workload-configs/{config_id}", ""),
    (
        "ResourceLimits",
        "POST",
        "/v1/workload-configs",
        "resource_limits",
    ),
    ("NewCustomerBody", "POST", "/v1/admin/customers", ""),
    (
        "CustomerPatchBody",
        "PATCH",
        "/v1/admin/customers/{customer_id}",
        "",
    ),
    (
        "LimitOverrides",
        "PATCH",
        "/v1/admin/customers/{customer_id}",
        "limits",
    ),
    (
        "NewKeyBody",
        "POST",
        "/v1/admin/customers/{customer_id}/api-keys",
        "",
    ),
    (
        "DrainBody",
        "POST",
        "/v1/admin/workers/{worker_id}/drain",
        "",
    ),
    (
        "EmptyBody",
        "POST",
        "/v1/admin/workers/{worker_id}/undrain",
        "",
    ),
];

#[tokio::test]
async fn bodies_have_the_fields_that_are_read() {
    let rig = Rig::new();
    let document = document();
    for (name, method, path, inside) in BODIES {
        let allowed = fields_read(&rig, method, path, inside).await;
        let schema = schema(&document, name);
        assert_eq!(schema["additionalProperties"], json!(false), "{name}");
        let properties = schema["properties"].as_object();
        let mut said: Vec<String> = properties
            .map(|properties| properties.keys().cloned().collect())
            .unwrap_or_default();
        said.sort_unstable();
        assert_eq!(said, allowed, "{name}");
    }
}

/// The fields that the reader of a body, or of a part of it, says it allows.
async fn fields_read(rig: &Rig, method: &str, path: &str, inside: &str) -> Vec<String> {
    let mut body = json!({"surprise": 1});
    for part in inside.split('.').rev().filter(|part| !part.is_empty()) {
        body = json!({ part: body });
    }
    let secret = if path.contains("/admin/") {
        &rig.admin
    } else {
        &rig.own
    };
    let request = request(method, &matrix::filled(path), secret);
    let request = request.header("content-type", "application/json");
    let answer = rig.send(request.body(Body::from(body.to_string())).unwrap());
    let answer = answer.await;
    answer.refuses(422, "INVALID_INPUT");
    let problem = answer.json();
    let errors = problem["errors"].as_array().unwrap().iter();
    let mut details = errors.filter_map(|error| error["detail"].as_str());
    let allowed = details.find_map(|detail| detail.strip_prefix("unknown field; allowed are "));
    let allowed = allowed.unwrap_or_else(|| panic!("{path} {inside}: {problem}"));
    let mut read: Vec<String> = allowed.split(", ").map(str::to_owned).collect();
    read.retain(|name| !name.is_empty());
    read.sort_unstable();
    read
}

#[tokio::test]
async fn queries_have_the_parameters_that_are_read() {
    let rig = Rig::new();
    let document = document();
    for route in routes::all()
        .iter()
        .filter(|route| route.access != Access::Public)
    {
        let secret = match route.access {
            Access::Admin => &rig.admin,
            Access::Public | Access::Customer => &rig.own,
        };
        let path = matrix::filled(&route.path);
        let method = route.method.as_str();
        let parameters = &document["paths"][&route.path][method.to_ascii_lowercase()]["parameters"];
        let in_query = parameters.as_array().unwrap().iter();
        let in_query = in_query.filter(|parameter| parameter["in"] == json!("query"));
        for name in in_query.map(|parameter| parameter["name"].as_str().unwrap()) {
            // No parameter takes this value, so whoever reads it refuses it by name.
            let uri = format!("{path}?{name}=%01");
            let request = request(method, &uri, secret).header("content-type", "application/json");
            let answer = rig.send(request.body(Body::from("{}")).unwrap()).await;
            answer.refuses(400, "INVALID_INPUT");
            assert!(
                !answer.text.contains("unknown parameter"),
                "{method} {path} {name}: {}",
                answer.text
            );
        }
        let uri = format!("{path}?surprise=1");
        let request = request(method, &uri, secret).header("content-type", "application/json");
        let answer = rig.send(request.body(Body::from("{}")).unwrap()).await;
        answer.refuses(400, "INVALID_INPUT");
    }
}
