//! Operators: customers, keys, workers, and the record of what admins did.

use super::*;
use niyanta_core::{
    batch::{WorkerRecord, WorkerWrite},
    fleet::WorkerStatus,
    ids::WishRevision,
};

#[tokio::test]
async fn a_customer_is_managed() {
    let live = Live::start().await;
    let body = json!({"name": "Acme", "tier": "premium", "limits": {"max_queue_depth": 3}});
    let created = live
        .operate("POST", "/v1/admin/customers", Some(body))
        .await
        .is(201);
    assert_eq!(
        created["limits"],
        json!({
            "max_concurrent_workloads": 500, "max_queue_depth": 3,
            "rate_limit_per_sec": 50, "rate_limit_burst": 200,
        })
    );
    assert_eq!(created["usage"], json!({"running": 0, "queued": 0}));
    let uri = format!("/v1/admin/customers/{}", text(&created, "customer_id"));
    assert_eq!(live.operate("GET", &uri, None).await.is(200), created);
    let patch = json!({"tier": "free", "limits": {"max_queue_depth": null, "rate_limit_burst": 9}});
    let patched = live.operate("PATCH", &uri, Some(patch)).await.is(200);
    assert_eq!(patched["limits"]["max_queue_depth"], json!(50));
    assert_eq!(patched["limits"]["rate_limit_burst"], json!(9));
    assert_eq!(
        (&patched["tier"], &patched["name"]),
        (&json!("free"), &json!("Acme"))
    );
    let list = live
        .operate("GET", "/v1/admin/customers", None)
        .await
        .is(200);
    assert_eq!(list["customers"], json!([patched]));
    let absent = format!("/v1/admin/customers/{}", CustomerId(9));
    live.operate("PATCH", &absent, Some(json!({})))
        .await
        .refuses(404, "NOT_FOUND");
}

#[tokio::test]
async fn keys_are_issued_listed_and_revoked() {
    let live = Live::start().await;
    let tenant = live.tenant(json!({"name": "a"})).await;
    let uri = format!("/v1/admin/customers/{}/api-keys", tenant.id);
    let body = json!({"name": "ci", "expires_at": "2999-01-01T00:00:00Z"});
    let key = live.operate("POST", &uri, Some(body)).await.is(201);
    assert_eq!(text(&key, "expires_at"), "2999-01-01T00:00:00.000000Z");
    let secret = text(&key, "secret");
    assert!(secret.starts_with(&text(&key, "prefix")));
    live.ask(&secret, "GET", "/v1/customer", None).await.is(200);
    let listed = live.operate("GET", &uri, None).await;
    assert!(!listed.text.contains(&secret));
    assert_eq!(listed.is(200)["api_keys"].as_array().unwrap().len(), 2);
    let revoke = format!("/v1/admin/api-keys/{}", text(&key, "key_id"));
    for _ in 0..2 {
        live.operate("DELETE", &revoke, None).await.is(204);
        live.ask(&secret, "GET", "/v1/customer", None)
            .await
            .refuses(401, "UNAUTHORIZED");
    }
    let past = json!({"expires_at": "2001-01-01T00:00:00Z"});
    live.operate("POST", &uri, Some(past))
        .await
        .refuses(422, "INVALID_INPUT");
    let absent = format!("/v1/admin/customers/{}/api-keys", CustomerId(9));
    for method in ["GET", "POST"] {
        live.operate(method, &absent, None)
            .await
            .refuses(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn workers_are_listed_drained_and_removed() {
    let live = Live::start().await;
    let worker = |name: &str| {
        WorkerWrite::Put(WorkerRecord {
            worker: name.parse().unwrap(),
            incarnation: "i-1".parse().unwrap(),
            status: WorkerStatus::Healthy,
            capabilities: ["sleep".parse().unwrap()].into(),
            capacity: 4,
            tags: BTreeMap::from([("zone".into(), "a".into())]),
            version: "1".into(),
            longest_lease: Duration::from_secs(60),
            wish_seen: WishRevision(0),
            stamp_registered: true,
        })
    };
    commit(
        &live,
        Vec::new(),
        vec![worker("w-1"), worker("w-2"), worker("w-3")],
    )
    .await;
    let uri = "/v1/admin/workers";
    let page = live
        .operate("GET", &format!("{uri}?limit=2&status=HEALTHY"), None)
        .await
        .is(200);
    assert_eq!(names(&page["workers"][0]).len(), 12);
    assert_eq!(page["workers"][0]["tags"], json!({"zone": "a"}));
    assert_eq!(page["workers"][0]["running"], json!([]));
    let cursor = text(&page["pagination"], "next_cursor");
    let rest = format!("{uri}?limit=2&status=HEALTHY&cursor={cursor}");
    let rest = live.operate("GET", &rest, None).await.is(200);
    assert_eq!(text(&rest["workers"][0], "worker_id"), "w-3");
    let dead = live
        .operate("GET", &format!("{uri}?status=DEAD"), None)
        .await
        .is(200);
    assert_eq!(dead["workers"], json!([]));
    let drain = format!("{uri}/w-1/drain");
    let wrong = json!({"deadline_seconds": -1});
    live.operate("POST", &drain, Some(wrong))
        .await
        .refuses(422, "INVALID_INPUT");
    let body = json!({"deadline_seconds": 5});
    assert_eq!(
        live.operate("POST", &drain, Some(body)).await.is(202)["desired"],
        json!("drain")
    );
    let undrained = live
        .operate("POST", &format!("{uri}/w-1/undrain"), None)
        .await
        .is(202);
    assert_eq!(
        (&undrained["desired"], &undrained["status"]),
        (&json!("run"), &json!("HEALTHY"))
    );
    let removed = live
        .operate("DELETE", &format!("{uri}/w-1"), None)
        .await
        .is(202);
    assert_eq!(removed["desired"], json!("remove"));
    let audit = live.operate("GET", "/v1/admin/audit", None).await.is(200);
    let of_worker = audit["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|e| e["subject"] == "w-1");
    let actions: Vec<_> = of_worker.map(|event| text(event, "action")).collect();
    assert_eq!(actions, ["worker.drain", "worker.undrain", "worker.remove"]);
}

#[tokio::test]
async fn what_admins_do_is_recorded_without_secrets() {
    let live = Live::start().await;
    let tenant = live.tenant(json!({"name": "a"})).await;
    let uri = format!("/v1/admin/customers/{}", tenant.id);
    live.operate("PATCH", &uri, Some(json!({"name": "b"})))
        .await
        .is(200);
    let audit = live.operate("GET", "/v1/admin/audit", None).await;
    assert!(!audit.text.contains(&tenant.secret));
    let actions: Vec<_> = audit.is(200)["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| text(e, "action"))
        .collect();
    assert_eq!(
        actions,
        [
            "key.created",
            "customer.created",
            "key.created",
            "customer.updated"
        ]
    );
    for uri in ["/v1/admin/workers", "/v1/admin/coordinators"] {
        live.operate("GET", uri, None).await.is(200);
    }
    for (method, uri) in [
        ("POST", "/v1/admin/workers/w-1/drain"),
        ("POST", "/v1/admin/workers/w-1/undrain"),
        ("DELETE", "/v1/admin/workers/w-1"),
    ] {
        live.operate(method, uri, None)
            .await
            .refuses(404, "NOT_FOUND");
    }
}
