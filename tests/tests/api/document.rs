//! The OpenAPI document, as a client reads it, and whether an answer is one that it names.

use std::collections::BTreeMap;

use jsonschema::Validator;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Answer, Client};

/// Who an operation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Public,
    Customer,
    Admin,
}

/// One operation of the document.
pub(crate) struct Operation {
    pub(crate) id: String,
    pub(crate) method: Method,
    /// With names in braces for what varies.
    pub(crate) path: String,
    pub(crate) access: Access,
    pub(crate) has_body: bool,
    pub(crate) parameters: Vec<Value>,
    responses: BTreeMap<u16, Response>,
}

struct Response {
    said: Value,
    /// Of its JSON, if it has any.
    schema: Option<Validator>,
    /// What events of a stream may be: name, the event itself, the JSON in its data.
    events: Vec<(String, Validator, Validator)>,
}

/// The schemas of an event stream; references lead to `components`.
fn events(content: &Value, components: &Value) -> Vec<(String, Validator, Validator)> {
    let whole = |schema: &Value| {
        let mut schema = schema.clone();
        schema["components"] = components.clone();
        jsonschema::draft202012::new(&schema).unwrap()
    };
    let Some(reference) = content["text/event-stream"]["schema"]["$ref"].as_str() else {
        return Vec::new();
    };
    let name = reference.rsplit('/').next().unwrap();
    let kinds = components["schemas"][name]["oneOf"].as_array().unwrap();
    let read = |event: &Value| {
        let fields = &event["properties"];
        let name = fields["event"]["const"].as_str().unwrap().to_owned();
        assert_eq!(fields["data"]["contentMediaType"], "application/json");
        (name, whole(event), whole(&fields["data"]["contentSchema"]))
    };
    kinds.iter().map(read).collect()
}

/// The events of a stream, each as its fields.
pub(crate) fn read_events(text: &str) -> Vec<Value> {
    let read = |event: &str| {
        let fields = event.lines().filter_map(|line| line.split_once(": "));
        let fields: serde_json::Map<String, Value> = fields
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect();
        fields.contains_key("data").then_some(Value::Object(fields))
    };
    text.split("\n\n").filter_map(read).collect()
}

impl Operation {
    fn read(path: &str, method: &str, said: &Value, components: &Value) -> Self {
        let access = match (said["security"].is_array(), path.starts_with("/v1/admin/")) {
            (false, _) => Access::Public,
            (true, false) => Access::Customer,
            (true, true) => Access::Admin,
        };
        let responses = said["responses"].as_object().unwrap().iter();
        let responses = responses.map(|(status, said)| {
            let content = said["content"].as_object().into_iter().flatten();
            let mut schemas = content.filter(|(media, _)| media.ends_with("json"));
            let schema = schemas.next().map(|(_, content)| {
                let mut schema = content["schema"].clone();
                schema["components"] = components.clone();
                jsonschema::draft202012::new(&schema).unwrap()
            });
            let events = events(&said["content"], components);
            let said = said.clone();
            let response = Response {
                said,
                schema,
                events,
            };
            (status.parse().unwrap(), response)
        });
        Self {
            id: said["operationId"].as_str().unwrap().to_owned(),
            method: method.to_ascii_uppercase().parse().unwrap(),
            path: path.to_owned(),
            access,
            has_body: said["requestBody"].is_object(),
            parameters: said["parameters"].as_array().cloned().unwrap_or_default(),
            responses: responses.collect(),
        }
    }

    /// The statuses that the document names.
    pub(crate) fn statuses(&self) -> impl Iterator<Item = u16> {
        self.responses.keys().copied()
    }

    /// Whether it has a parameter of this name.
    pub(crate) fn takes(&self, parameter: &str) -> bool {
        self.parameters.iter().any(|it| it["name"] == parameter)
    }

    /// Panics unless the document names this answer: status, media type, headers and JSON.
    pub(crate) fn check(&self, answer: &Answer) {
        let what = format!("{} {} {}", self.method, self.path, answer.status);
        let Some(response) = self.responses.get(&answer.status) else {
            panic!("{what} is not in the document: {}", answer.text);
        };
        self.check_body(&what, response, answer);
        check_headers(&what, &response.said, answer);
    }

    fn check_body(&self, what: &str, response: &Response, answer: &Answer) {
        let content = response.said["content"].as_object();
        let Some(content) = content else {
            assert_eq!(
                answer.text, "",
                "{what}: a body that is not in the document"
            );
            return;
        };
        let media = header(answer, "content-type").unwrap_or_default();
        let media = media.split(';').next().unwrap().to_owned();
        assert!(
            content.contains_key(&media),
            "{what}: {media} is not in {content:?}"
        );
        if media == "text/event-stream" {
            for event in read_events(&answer.text) {
                let kinds = &response.events;
                let kind = kinds.iter().find(|(name, ..)| event["event"] == *name);
                let (_, whole, data) = kind.unwrap_or_else(|| panic!("{what}: {event}"));
                let inner = serde_json::from_str(event["data"].as_str().unwrap()).unwrap();
                assert!(whole.is_valid(&event), "{what}: {event}");
                assert!(data.is_valid(&inner), "{what}: {event}");
            }
        }
        let Some(schema) = response.schema.as_ref().filter(|_| media.ends_with("json")) else {
            return;
        };
        let errors: Vec<String> = schema
            .iter_errors(&answer.body)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{what}: {errors:#?} in {}", answer.text);
        if media == "application/problem+json" {
            assert_eq!(
                answer.body["status"], answer.status,
                "{what}: {}",
                answer.text
            );
            let id = header(answer, "x-request-id");
            assert_eq!(answer.body["request_id"].as_str(), id.as_deref(), "{what}");
        }
    }
}

/// The headers that are the API's own.
const OWN_HEADERS: [&str; 7] = [
    "etag",
    "location",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "www-authenticate",
    "x-request-id",
];

fn check_headers(what: &str, said: &Value, answer: &Answer) {
    let said: BTreeMap<String, &Value> = said["headers"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, said)| (name.to_ascii_lowercase(), said))
        .collect();
    for (name, said) in &said {
        let is_missing = said["required"] == true && header(answer, name).is_none();
        assert!(!is_missing, "{what} lacks {name}: {:?}", answer.headers);
    }
    for name in OWN_HEADERS {
        let Some(value) = header(answer, name) else {
            continue;
        };
        assert!(
            said.contains_key(name),
            "{what} has {name}, which is not in the document"
        );
        check_value(what, name, &value, answer);
    }
    assert_eq!(
        header(answer, "cache-control").as_deref(),
        Some("no-store"),
        "{what}"
    );
}

/// What each header says.
fn check_value(what: &str, name: &str, value: &str, answer: &Answer) {
    let is_right = match name {
        "etag" => value == format!("\"{}\"", answer.body["version"]),
        "location" => {
            // A workload names its customer too: its own id comes first.
            let ids = ["workload_id", "config_id", "customer_id"];
            let id = ids.iter().find_map(|id| answer.body[*id].as_str());
            value.starts_with("/v1/") && value.rsplit('/').next() == id
        }
        "ratelimit" => is_limit(value, &["r", "t"]),
        "ratelimit-policy" => is_limit(value, &["q", "w"]),
        "retry-after" => value.parse::<u32>().is_ok_and(|seconds| seconds > 0),
        "www-authenticate" => value == "Bearer",
        _ => !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic()),
    };
    assert!(is_right, "{what}: {name}: {value} beside {}", answer.text);
}

/// `"customer";a=1;b=2`, with these parameters.
fn is_limit(value: &str, parameters: &[&str]) -> bool {
    let mut parts = value.split(';');
    let named = parts.next() == Some("\"customer\"");
    let mut wanted = parameters.iter();
    let numbers = parts.all(|part| {
        let number = part
            .split_once('=')
            .filter(|(name, _)| Some(name) == wanted.next());
        number.is_some_and(|(_, number)| number.parse::<u32>().is_ok())
    });
    named && numbers && wanted.next().is_none()
}

pub(crate) fn header(answer: &Answer, name: &str) -> Option<String> {
    let value = answer.headers.get(name)?.to_str().unwrap();
    Some(value.to_owned())
}

/// The whole document.
pub(crate) struct Document {
    pub(crate) operations: Vec<Operation>,
    /// The codes of problems.
    pub(crate) codes: Vec<String>,
}

impl Document {
    pub(crate) async fn of(client: &Client) -> Self {
        let root = client.get("/openapi.json").await.expect(200);
        assert!(root["openapi"].as_str().unwrap().starts_with("3.1."));
        let components = json!({"schemas": root["components"]["schemas"]});
        let mut operations = Vec::new();
        for (path, item) in root["paths"].as_object().unwrap() {
            for (method, said) in item.as_object().unwrap() {
                operations.push(Operation::read(path, method, said, &components));
            }
        }
        let codes = root["components"]["schemas"]["ErrorCode"]["enum"].as_array();
        let codes = codes
            .unwrap()
            .iter()
            .map(|code| code.as_str().unwrap().to_owned());
        Self {
            operations,
            codes: codes.collect(),
        }
    }

    /// The methods that the document names for a path.
    pub(crate) fn methods(&self, path: &str) -> Vec<&Method> {
        let of_path = self.operations.iter().filter(|it| it.path == path);
        of_path.map(|operation| &operation.method).collect()
    }
}
