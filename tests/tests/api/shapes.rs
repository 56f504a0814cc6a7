//! The fields of answers, word for word as the contract names them.

use std::collections::BTreeSet;

use serde_json::Value;
use tests::{Client, Cluster, ClusterOptions, RawWorker, one_at_a_time};

use super::asked::Who;
use super::place::Place;

const WORKLOAD: &str = "workload_id customer_id workload_type status desired pending_reason priority \
    progress_percent progress_message worker_id attempt retry_count loss_count input_params \
    result_data error_message error_type affinity_rules timeout_seconds max_retries on_lease_loss \
    labels run_after created_at scheduled_at started_at completed_at updated_at version";
const CONFIG: &str = "config_id workload_type description config_json resource_limits \
    checkpoint_interval_sec max_retries timeout_seconds on_lease_loss created_at updated_at";
const AUDIT: &str = "sequence event_type timestamp actor_type actor_id attempt generation details";
const LOG: &str = "sequence timestamp level message attempt";
const CUSTOMER: &str = "customer_id name tier limits usage created_at";
const LIMITS: &str = "max_concurrent_workloads max_queue_depth rate_limit_per_sec rate_limit_burst";
const KEY: &str = "key_id customer_id name prefix created_at expires_at last_used_at revoked_at";
const WORKER: &str = "worker_id incarnation status desired capabilities capacity_total \
    capacity_used tags version last_heartbeat registered_at running";
const COORDINATOR: &str =
    "coordinator_id incarnation is_leader generation address version started_at last_seen";
const READY: &str = "healthy is_leader leader generation dependencies uptime_seconds";
const STATISTICS: &str = "customer_id start end group_by stats total";
const COUNTS: &str = "submitted completed failed cancelled run_seconds";
const ADMIN_AUDIT: &str = "sequence timestamp actor_id action subject details";
const PROBLEM: &str = "type title status detail code request_id";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_have_the_fields_of_the_contract_and_no_others() {
    let _turn = one_at_a_time().await;
    let mut cluster = Cluster::start(ClusterOptions {
        coordinators: 1,
        ..ClusterOptions::default()
    })
    .await;
    cluster.worker("runner", 1, &["sleep"]);
    let place = Place::new(&cluster, 0).await;
    let (own, admin) = (place.client(Who::Own), place.client(Who::Admin));
    let mut raw = RawWorker::registered(&cluster.nats.url(), "writer", &["idle"], 1).await;
    let assigned = raw
        .next_assignment(std::time::Duration::from_secs(30))
        .await;
    let id = assigned["workload_id"].as_str().unwrap();
    raw.report("workload.started", id, 1, serde_json::json!({}))
        .await;
    raw.log(id, 1, 1, &["hello"]).await;

    let one = format!("/v1/workloads/{id}");
    has("a workload", &own.get(&one).await.expect(200), WORKLOAD);
    let nothing = own.workload(&place.new_workload("standing").await).await;
    has("why it waits", &nothing["pending_reason"], "code detail");
    let types = format!("/v1/workload-configs/{}", place.ids.config);
    let config = own.get(&types).await.expect(200);
    has("a config", &config, CONFIG);
    has(
        "its limits",
        &config["resource_limits"],
        "cpu_cores memory_mb disk_mb",
    );
    let customer = own.get("/v1/customer").await.expect(200);
    has("a customer", &customer, CUSTOMER);
    has("its limits", &customer["limits"], LIMITS);
    has("its use", &customer["usage"], "running queued");
    let keys = format!("/v1/admin/customers/{}/api-keys", place.ids.customer);
    let made = admin.post(&keys, &serde_json::json!({})).await.expect(201);
    has("a new key", &made, &format!("{KEY} secret"));
    lists(&own, &admin, &one, keys).await;
    batch(&own).await;
    statistics(&own).await;
    probes_and_refusals(&place, &own).await;
}

/// A list of each kind, and what it lists.
async fn lists(own: &Client, admin: &Client, one: &str, keys: String) {
    for (path, plural, fields) in [
        (format!("{one}/audit"), "events", AUDIT),
        (format!("{one}/logs"), "logs", LOG),
        ("/v1/workloads".to_owned(), "workloads", WORKLOAD),
        (
            "/v1/workload-configs".to_owned(),
            "workload_configs",
            CONFIG,
        ),
        ("/v1/admin/customers".to_owned(), "customers", CUSTOMER),
        (keys, "api_keys", KEY),
        (
            "/v1/admin/coordinators".to_owned(),
            "coordinators",
            COORDINATOR,
        ),
        ("/v1/admin/workers".to_owned(), "workers", WORKER),
        ("/v1/admin/audit".to_owned(), "events", ADMIN_AUDIT),
    ] {
        let client = if path.contains("/admin/") { admin } else { own };
        let list = client.get(&path).await.expect(200);
        has(&path, &list, &format!("{plural} pagination"));
        has(&path, &list["pagination"], "next_cursor has_more");
        let rows = list[plural].as_array().unwrap();
        assert!(!rows.is_empty(), "{path}: {list}");
        for row in rows {
            has(&path, row, fields);
            if plural == "workers" && row["worker_id"] == "writer" {
                has("what it runs", &row["running"][0], "workload_id attempt");
            }
        }
    }
}

/// Each item of a batch has an outcome of its own, in the order of the items: a workload or a problem.
async fn batch(own: &Client) {
    let items = serde_json::json!({"workloads": [
        {"workload_type": "idle", "idempotency_key": "shape"},
        {"workload_type": "nobody-registered-this"},
        {"workload_type": "idle", "idempotency_key": "shape"},
    ]});
    let answer = own.post("/v1/workloads:batch", &items).await.expect(200);
    has("a batch", &answer, "results");
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), 3, "{answer}");
    for result in results {
        has("an item's outcome", result, "status workload error");
    }
    for made in [&results[0], &results[2]] {
        assert_eq!(
            (&made["status"], &made["error"]),
            (&202.into(), &Value::Null)
        );
        has("a workload of a batch", &made["workload"], WORKLOAD);
    }
    let (first, second) = (&results[0]["workload"], &results[2]["workload"]);
    assert_eq!(first["workload_id"], second["workload_id"]);
    let refused = &results[1];
    assert_eq!(
        (&refused["status"], &refused["workload"]),
        (&422.into(), &Value::Null)
    );
    assert_eq!(refused["error"]["code"], "INVALID_INPUT", "{refused}");
    let fields = format!("{PROBLEM} errors");
    has("a refusal in a batch", &refused["error"], &fields);
}

async fn statistics(own: &Client) {
    for group_by in ["hour", "day", "workload_type"] {
        let path = format!("/v1/customer/stats?group_by={group_by}");
        let answer = own.get(&path).await.expect(200);
        has("statistics", &answer, STATISTICS);
        has("all counts", &answer["total"], COUNTS);
        assert_eq!(answer["group_by"], group_by);
        let groups = answer["stats"].as_array().unwrap();
        assert!(!groups.is_empty(), "{answer}");
        for group in groups {
            has("a group", group, &format!("start workload_type {COUNTS}"));
            let by_type = group_by == "workload_type";
            assert_eq!(group["start"].is_null(), by_type, "{group}");
            assert_eq!(group["workload_type"].is_string(), by_type, "{group}");
        }
        let sum = |name: &str| {
            let counts = groups.iter().map(|group| group[name].as_i64().unwrap());
            counts.sum::<i64>()
        };
        for name in ["submitted", "completed", "failed", "cancelled"] {
            assert_eq!(answer["total"][name].as_i64(), Some(sum(name)), "{answer}");
        }
        assert!(sum("submitted") > 0 && sum("completed") > 0, "{answer}");
    }
}

async fn probes_and_refusals(place: &Place, own: &Client) {
    let anonymous = place.client(Who::Nobody);
    has(
        "health",
        &anonymous.get("/health").await.expect(200),
        "status timestamp",
    );
    let ready = anonymous.get("/ready").await.expect(200);
    has("readiness", &ready, READY);
    has(
        "what it stands on",
        &ready["dependencies"],
        "database broker",
    );
    let refused = own.get("/v1/workloads?surprise=1").await.expect(400);
    has("a refusal of input", &refused, &format!("{PROBLEM} errors"));
    has("an error in it", &refused["errors"][0], "pointer detail");
    has(
        "a refusal",
        &anonymous.get("/v1/workloads").await.expect(401),
        PROBLEM,
    );
}

fn has(what: &str, value: &Value, fields: &str) {
    let object = value
        .as_object()
        .unwrap_or_else(|| panic!("{what}: {value}"));
    let found: BTreeSet<&str> = object.keys().map(String::as_str).collect();
    let wanted: BTreeSet<&str> = fields.split_whitespace().collect();
    assert_eq!(found, wanted, "{what}");
}
