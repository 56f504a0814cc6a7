//! From a submit body to a [`Submission`]: validation, defaults, and the hashes made of it.

use super::{
    error::ApiError,
    json::{Errors, Fields, TAGS_MAX, canonical},
};
use crate::store::{Json, KeyId, Submission};
use axum::http::{HeaderMap, HeaderName};
use niyanta_core::{
    ids::{CustomerId, PlacementClass, WorkloadId, WorkloadType},
    scheduling::{AffinityRules, AntiAffinity, Tags, WorkerAffinity},
};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeSet, fmt::Write as _, sync::Arc};

/// Who submits, and under which new id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Submitter {
    /// Whose it will be.
    pub(crate) customer: CustomerId,
    /// By which key.
    pub(crate) actor: KeyId,
    /// Made before the statement.
    pub(crate) id: WorkloadId,
}

/// A submission from a body of its own, and the key of its header.
pub(crate) fn read_single(
    submitter: Submitter,
    headers: &HeaderMap,
    body: &Json,
) -> Result<Submission, ApiError> {
    let key = idempotency_header(headers)?;
    let mut errors = Errors::default();
    let found = read(submitter, body, key, Keys::InHeader, &mut errors);
    errors.into_result()?;
    found.ok_or_else(ApiError::internal)
}

/// A submission from an item of a batch, which may carry its key.
pub(crate) fn read_item(submitter: Submitter, item: &Json) -> Result<Submission, ApiError> {
    let mut errors = Errors::default();
    let found = read(submitter, item, None, Keys::InBody, &mut errors);
    errors.into_result()?;
    found.ok_or_else(ApiError::internal)
}

/// Where the idempotency key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keys {
    InHeader,
    InBody,
}

/// `None` only when something is wrong.
fn read(
    submitter: Submitter,
    body: &Json,
    mut key: Option<String>,
    keys: Keys,
    errors: &mut Errors,
) -> Option<Submission> {
    let mut fields = Fields::of_body(body, errors);
    fields.require("workload_type");
    let workload_type = fields.word::<WorkloadType>("workload_type");
    let input_params = fields.object("input_params", PAYLOAD_BYTES_MAX);
    let priority = fields.integer("priority", 0..=PRIORITY_MAX);
    let affinity_rules = fields.object("affinity_rules", PAYLOAD_BYTES_MAX);
    let rules = affinity_rules
        .as_ref()
        .and_then(|_| fields.inside("affinity_rules"));
    let affinity = rules.map(affinity).unwrap_or_default();
    let timeout_seconds = fields.integer("timeout_seconds", 1..=TIMEOUT_SECONDS_MAX);
    let max_retries = fields.integer("max_retries", 0..=RETRIES_MAX);
    let labels = fields.tags("labels").unwrap_or_default();
    let run_after = fields.moment("run_after");
    if keys == Keys::InBody {
        key = fields.text("idempotency_key", 1..=KEY_BYTES_MAX);
        if key.as_deref().is_some_and(|key| !is_key(key)) {
            fields.refuse("idempotency_key", KEY_ALLOWED);
        }
    }
    fields.finish();
    let workload_type = workload_type?;
    Some(Submission {
        id: submitter.id,
        customer: submitter.customer,
        actor: submitter.actor,
        idempotency: key.map(|key| (key, body_hash(body))),
        class: placement_class(&workload_type, &affinity),
        workload_type,
        input_params: input_params.unwrap_or_else(|| Json::Object(serde_json::Map::default())),
        priority: priority.unwrap_or(DEFAULT_PRIORITY),
        affinity,
        affinity_rules,
        timeout_seconds,
        max_retries,
        labels,
        run_after,
    })
}

fn affinity(mut rules: Fields<'_, '_>) -> AffinityRules {
    let hard = rules
        .inside("hard_affinity")
        .map(worker_affinity)
        .unwrap_or_default();
    let soft = rules
        .inside("soft_affinity")
        .map(worker_affinity)
        .unwrap_or_default();
    let anti = rules
        .inside("anti_affinity")
        .map(anti_affinity)
        .unwrap_or_default();
    rules.finish();
    AffinityRules { hard, soft, anti }
}

fn worker_affinity(mut fields: Fields<'_, '_>) -> WorkerAffinity {
    let worker_id = fields.word("worker_id");
    let worker_tags = worker_tags(&mut fields);
    fields.finish();
    WorkerAffinity {
        worker_id,
        worker_tags,
    }
}

fn anti_affinity(mut fields: Fields<'_, '_>) -> AntiAffinity {
    let mut workload_types = BTreeSet::new();
    for value in fields.list("workload_types", TAGS_MAX).unwrap_or_default() {
        match value.as_str().map(str::parse::<WorkloadType>) {
            Some(Ok(found)) => {
                workload_types.insert(found);
            }
            Some(Err(_)) | None => {
                let detail = "must be workload types: 1 to 64 characters of a-z 0-9 _ . -";
                fields.refuse("workload_types", detail);
                break;
            }
        }
    }
    let worker_tags = worker_tags(&mut fields);
    fields.finish();
    AntiAffinity {
        workload_types,
        worker_tags,
    }
}

fn worker_tags(fields: &mut Fields<'_, '_>) -> Tags {
    let tags = fields.tags("worker_tags").unwrap_or_default();
    tags.into_iter()
        .map(|(name, value)| (Arc::from(name), Arc::from(value)))
        .collect()
}

/// The key in the header, if one was sent.
fn idempotency_header(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let key = value.to_str().ok().filter(|key| is_key(key));
    match (key, values.next()) {
        (Some(key), None) => Ok(Some(key.to_owned())),
        (Some(_), Some(_)) => Err(ApiError::bad_request(
            "Idempotency-Key must not be repeated",
        )),
        (None, _) => Err(ApiError::bad_request(format!(
            "Idempotency-Key {KEY_ALLOWED}"
        ))),
    }
}

fn is_key(key: &str) -> bool {
    (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(|b| matches!(b, b' '..=b'~'))
}

/// SHA-256 of the body in canonical form, without the key: the same in a batch and alone.
fn body_hash(body: &Json) -> [u8; 32] {
    let mut bytes = Vec::new();
    match body.as_object() {
        Some(object) if object.contains_key("idempotency_key") => {
            let mut rest = object.clone();
            rest.remove("idempotency_key");
            canonical(&Json::Object(rest), &mut bytes);
        }
        Some(_) | None => canonical(body, &mut bytes),
    }
    Sha256::digest(&bytes).into()
}

/// The first 8 bytes of SHA-256 over the type and the rules, in one unambiguous form.
fn placement_class(workload_type: &WorkloadType, rules: &AffinityRules) -> PlacementClass {
    let mut text = String::new();
    let (hard, soft, anti) = (&rules.hard, &rules.soft, &rules.anti);
    let types: Vec<&str> = anti
        .workload_types
        .iter()
        .map(WorkloadType::as_str)
        .collect();
    // The debug form of texts is quoted and escaped, so that parts cannot run together. Writing to
    // a text cannot fail.
    let written = write!(
        text,
        "{:?} {:?} {:?} {:?} {:?} {types:?} {:?}",
        workload_type.as_str(),
        hard.worker_id.as_ref().map(|id| id.as_str()),
        hard.worker_tags,
        soft.worker_id.as_ref().map(|id| id.as_str()),
        soft.worker_tags,
        anti.worker_tags,
    );
    debug_assert!(written.is_ok());
    let digest = Sha256::digest(text.as_bytes());
    let mut first = [0_u8; 8];
    first.copy_from_slice(&digest[..8]);
    PlacementClass(i64::from_be_bytes(first))
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const KEY_BYTES_MAX: usize = 255;
const KEY_ALLOWED: &str = "must be 1 to 255 printable ASCII characters";
/// Largest `input_params`, `config_json` or `affinity_rules`, encoded.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 256 << 10;
const PRIORITY_MAX: u16 = 1_000;
const DEFAULT_PRIORITY: u16 = 10;
/// Longest time for one attempt: 30 days.
pub(crate) const TIMEOUT_SECONDS_MAX: u32 = 2_592_000;
/// Most retries.
pub(crate) const RETRIES_MAX: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use serde_json::json;

    fn submitter() -> Submitter {
        Submitter {
            customer: CustomerId(1),
            actor: KeyId(2),
            id: WorkloadId(3),
        }
    }

    fn single(body: &Json) -> Result<Submission, ApiError> {
        read_single(submitter(), &HeaderMap::new(), body)
    }

    fn pointers(body: &Json) -> Vec<String> {
        let error = single(body).unwrap_err();
        assert_eq!(error.status(), 422);
        error.errors().iter().map(|e| e.pointer.clone()).collect()
    }

    #[test]
    fn defaults_are_the_contracts() {
        let found = single(&json!({"workload_type": "sleep"})).unwrap();
        assert_eq!(found.priority, 10);
        assert_eq!(found.input_params, json!({}));
        assert_eq!((found.timeout_seconds, found.max_retries), (None, None));
        assert_eq!((found.affinity_rules, found.idempotency), (None, None));
    }

    #[test]
    fn numbers_are_taken_to_their_ends_and_no_further() {
        let with = |name: &str, value: Json| {
            let mut body = json!({"workload_type": "sleep"});
            body[name] = value;
            single(&body).is_ok()
        };
        for (name, low, high) in [
            ("priority", 0, 1000),
            ("timeout_seconds", 1, 2_592_000),
            ("max_retries", 0, 100),
        ] {
            assert!(with(name, json!(low)) && with(name, json!(high)), "{name}");
            for wrong in [
                json!(low - 1),
                json!(high + 1),
                json!(1.5),
                json!("1"),
                json!(1e300),
                json!(true),
            ] {
                assert!(!with(name, wrong.clone()), "{name} {wrong}");
            }
        }
    }

    #[test]
    fn wrong_affinity_is_named_where_it_stands() {
        let body = json!({"workload_type": "sleep", "affinity_rules": {
            "hard_affinity": {"worker_id": "a b", "worker_tags": {"zone": 1}},
            "soft_affinity": [],
            "anti_affinity": {"workload_types": ["A"], "surprise": 1},
            "more": {},
        }});
        assert_eq!(
            pointers(&body),
            [
                "/affinity_rules/hard_affinity/worker_id",
                "/affinity_rules/hard_affinity/worker_tags/zone",
                "/affinity_rules/soft_affinity",
                "/affinity_rules/anti_affinity/workload_types",
                "/affinity_rules/anti_affinity/surprise",
                "/affinity_rules/more",
            ]
        );
    }

    #[test]
    fn sizes_and_labels_are_bounded() {
        let sized =
            |bytes: usize| json!({"workload_type": "a", "input_params": {"k": "x".repeat(bytes)}});
        let overhead = r#"{"k":""}"#.len();
        assert!(single(&sized(PAYLOAD_BYTES_MAX - overhead)).is_ok());
        assert_eq!(
            pointers(&sized(PAYLOAD_BYTES_MAX - overhead + 1)),
            ["/input_params"]
        );
        let labels: serde_json::Map<_, _> = (0..33).map(|n| (n.to_string(), json!(""))).collect();
        assert_eq!(
            pointers(&json!({"workload_type": "a", "labels": labels})),
            ["/labels"]
        );
        let wrong =
            json!({"workload_type": "a", "labels": {"a=b": "", "": "", "c": "v".repeat(257)}});
        assert_eq!(pointers(&wrong).len(), 3);
        assert_eq!(
            pointers(&json!({"workload_type": "a", "labels": {"k": "a\0b"}})),
            ["/labels/k"]
        );
    }

    #[test]
    fn bodies_that_are_no_objects_are_refused() {
        for body in [json!(null), json!([]), json!("x"), json!(1)] {
            assert_eq!(pointers(&body)[0], "", "{body}");
        }
    }

    #[test]
    fn the_key_of_a_batch_item_is_no_part_of_its_body() {
        let alone = body_hash(&json!({"workload_type": "a", "priority": 1}));
        let item = json!({"priority": 1.0, "idempotency_key": "k", "workload_type": "a"});
        let found = read_item(submitter(), &item).map(|s| s.idempotency);
        // 1.0 is no whole number to a reader of types, but equal JSON to the hash.
        assert!(found.is_err());
        assert_eq!(body_hash(&item), alone);
    }

    #[test]
    fn bad_idempotency_keys_are_refused_with_400() {
        let read = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value).unwrap());
            }
            idempotency_header(&headers)
        };
        let long = [b'k'; 256];
        for wrong in [
            &[&b""[..]][..],
            &[&long[..]],
            &["é".as_bytes()],
            &[b"a", b"b"],
        ] {
            assert_eq!(read(wrong).unwrap_err().status(), 400);
        }
        assert_eq!(
            read(&[&long[..255]]).unwrap().map(|key| key.len()),
            Some(255)
        );
        assert_eq!(read(&[]), Ok(None));
    }

    #[test]
    fn classes_differ_with_type_and_rules_alone() {
        let class = |rules: Json, priority: i32| {
            let body = json!({"workload_type": "a", "priority": priority, "affinity_rules": rules});
            single(&body).unwrap().class
        };
        let pinned = json!({"hard_affinity": {"worker_id": "w"}});
        assert_eq!(class(json!(null), 1), class(json!({}), 2));
        assert_eq!(class(pinned.clone(), 1), class(pinned.clone(), 2));
        assert_ne!(class(pinned.clone(), 1), class(json!({}), 1));
        assert_ne!(
            class(pinned, 1),
            class(json!({"soft_affinity": {"worker_id": "w"}}), 1)
        );
    }
}
