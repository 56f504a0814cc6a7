//! Workloads, from their submission to their end.

use super::*;
use niyanta_core::{
    batch::{Actor, AuditDetails, AuditStep, LeaderHalf, WorkloadWrite},
    ids::WishRevision,
    workload::AuditKind,
};

#[tokio::test]
async fn a_submission_is_durable_and_complete() {
    let live = Live::start().await;
    let tenant = live.tenant(json!({"name": "a"})).await;
    let body = json!({
        "workload_type": "sleep", "input_params": {"seconds": 1, "text": "é\u{1f600}"}, "priority": 0,
        "affinity_rules": {"hard_affinity": {"worker_tags": {"zone": "a"}}}, "timeout_seconds": 9,
        "labels": {"team": "x"}, "run_after": "2031-01-01T01:00:00+01:00",
    });
    let submitted = live.submit(&tenant, body.clone()).await;
    assert_eq!(names(&submitted).len(), 29);
    for name in [
        "input_params",
        "priority",
        "affinity_rules",
        "timeout_seconds",
        "labels",
    ] {
        assert_eq!(submitted[name], body[name], "{name}");
    }
    for (name, value) in [
        ("status", json!("PENDING")),
        ("desired", json!("run")),
        ("attempt", json!(0)),
        ("version", json!(1)),
        ("max_retries", json!(7)),
        ("on_lease_loss", json!("stop")),
        ("customer_id", json!(tenant.id)),
        ("run_after", json!("2031-01-01T00:00:00.000000Z")),
        ("worker_id", Json::Null),
        ("started_at", Json::Null),
    ] {
        assert_eq!(submitted[name], value, "{name}");
    }
    let uri = format!("/v1/workloads/{}", text(&submitted, "workload_id"));
    let shown = live.ask(&tenant.secret, "GET", &uri, None).await;
    assert_eq!(
        (shown.is(200), shown.headers["etag"].to_str().unwrap()),
        (submitted, "\"1\"")
    );
    let unknown = json!({"workload_type": "unknown"});
    let refused = live
        .ask(&tenant.secret, "POST", "/v1/workloads", Some(unknown))
        .await;
    refused.refuses(422, "INVALID_INPUT");
}

#[tokio::test]
async fn the_same_key_and_body_is_the_same_workload() {
    let live = Live::start().await;
    let tenant = live.tenant(json!({"name": "a"})).await;
    let other = live.tenant(json!({"name": "b"})).await;
    let submit = async |tenant: &Tenant, body: &str| {
        let request = request("POST", "/v1/workloads", &tenant.secret)
            .header("content-type", "application/json")
            .header("idempotency-key", "k 1");
        send(
            &live.state,
            request.body(Body::from(body.to_owned())).unwrap(),
        )
        .await
    };
    let first = submit(
        &tenant,
        r#"{"workload_type":"sleep","input_params":{"a":1,"b":2}}"#,
    )
    .await
    .is(202);
    let again = submit(
        &tenant,
        r#"{"input_params": {"b": 2, "a": 1}, "workload_type": "sleep"}"#,
    )
    .await;
    assert_eq!(again.is(202)["workload_id"], first["workload_id"]);
    submit(&tenant, r#"{"workload_type":"sleep"}"#)
        .await
        .refuses(422, "INVALID_INPUT");
    let batch = json!({"workloads": [
        {"workload_type": "sleep", "input_params": {"a": 1, "b": 2}, "idempotency_key": "k 1"},
        {"workload_type": "sleep", "idempotency_key": "k 2"},
        {"workload_type": "sleep", "idempotency_key": "k 2"},
    ]});
    let batch = live
        .ask(&tenant.secret, "POST", "/v1/workloads:batch", Some(batch))
        .await
        .is(200);
    let id = |place: usize| batch["results"][place]["workload"]["workload_id"].clone();
    assert_eq!(id(0), first["workload_id"]);
    assert_eq!(
        (id(1), batch["results"][1]["error"].clone()),
        (id(2), Json::Null)
    );
    let others = submit(&other, r#"{"workload_type":"sleep"}"#).await.is(202);
    assert_ne!(others["workload_id"], first["workload_id"]);
}

#[tokio::test]
async fn one_key_sent_many_times_at_once_is_one_workload() {
    let live = Live::start().await;
    let tenant = live.tenant(json!({"name": "a"})).await;
    let submissions = (0..16).map(|_| {
        let request = request("POST", "/v1/workloads", &tenant.secret)
            .header("content-type", "application/json")
            .header("idempotency-key", "same");
        send(
            &live.state,
            request.body(Body::from(sleep_body().to_string())).unwrap(),
        )
    });
    let answers = futures::future::join_all(submissions).await;
    let ids: std::collections::BTreeSet<_> = answers
        .iter()
        .map(|answer| text(&answer.is(202), "workload_id"))
        .collect();
    assert_eq!(ids.len(), 1);
    let own = live
        .ask(&tenant.secret, "GET", "/v1/customer", None)
        .await
        .is(200);
    assert_eq!(own["usage"]["queued"], json!(1));
}

#[tokio::test]
async fn a_full_queue_refuses() {
    let live = Live::start().await;
    let tenant = live
        .tenant(json!({"name": "a", "limits": {"max_queue_depth": 2}}))
        .await;
    let batch = json!({"workloads": [sleep_body(), sleep_body(), sleep_body()]});
    let batch = live
        .ask(&tenant.secret, "POST", "/v1/workloads:batch", Some(batch))
        .await
        .is(200);
    let statuses: Vec<_> = batch["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["status"].clone())
        .collect();
    assert_eq!(statuses, [json!(202), json!(202), json!(429)]);
    let full = live
        .ask(&tenant.secret, "POST", "/v1/workloads", Some(sleep_body()))
        .await;
    full.refuses(429, "QUEUE_FULL");
    let own = live
        .ask(&tenant.secret, "GET", "/v1/customer", None)
        .await
        .is(200);
    assert_eq!(own["usage"], json!({"running": 0, "queued": 2}));
}

#[tokio::test]
async fn wishes_are_recorded_in_order() {
    let live = Live::start().await;
    let tenant = live.tenant(json!({"name": "a"})).await;
    let id = text(&live.submit(&tenant, sleep_body()).await, "workload_id");
    let wish = async |verb: &str, tag: Option<&str>| {
        let uri = format!("/v1/workloads/{id}/{verb}");
        let mut request = request("POST", &uri, &tenant.secret);
        if let Some(tag) = tag {
            request = request.header("if-match", tag);
        }
        send(&live.state, request.body(Body::empty()).unwrap()).await
    };
    wish("resume", None).await.is(200);
    assert_eq!(
        wish("pause", Some("\"1\"")).await.is(202)["version"],
        json!(2)
    );
    // The same wish, not yet true: nobody leads here.
    assert_eq!(wish("pause", None).await.is(202)["version"], json!(2));
    wish("cancel", Some("\"1\""))
        .await
        .refuses(412, "PRECONDITION_FAILED");
    assert_eq!(
        wish("resume", Some("\"1\", \"2\"")).await.is(202)["version"],
        json!(3)
    );
    assert_eq!(
        wish("cancel", Some("*")).await.is(202)["desired"],
        json!("cancel")
    );
    assert_eq!(wish("cancel", None).await.is(202)["version"], json!(4));
    for verb in ["pause", "resume"] {
        wish(verb, None).await.refuses(409, "INVALID_STATE");
    }
    let uri = format!("/v1/workloads/{id}/audit");
    let audit = live.ask(&tenant.secret, "GET", &uri, None).await.is(200);
    let events = audit["events"].as_array().unwrap();
    let kinds: Vec<_> = events
        .iter()
        .map(|event| text(event, "event_type"))
        .collect();
    assert_eq!(
        kinds,
        [
            "workload.created",
            "workload.pause_requested",
            "workload.resume_requested",
            "workload.cancel_requested",
        ]
    );
    for (place, event) in events.iter().enumerate() {
        assert_eq!(
            (&event["sequence"], text(event, "actor_type")),
            (&json!(place + 1), "user".to_owned())
        );
        assert_eq!(names(event).len(), 8);
    }
    let first = live
        .ask(&tenant.secret, "GET", &format!("{uri}?limit=3"), None)
        .await
        .is(200);
    let cursor = text(&first["pagination"], "next_cursor");
    let rest = live
        .ask(
            &tenant.secret,
            "GET",
            &format!("{uri}?limit=3&cursor={cursor}"),
            None,
        )
        .await;
    assert_eq!(rest.is(200)["events"], json!([events[3]]));
}

#[tokio::test]
async fn what_has_ended_takes_no_other_wish() {
    let live = Live::start().await;
    let tenant = live.tenant(json!({"name": "a"})).await;
    let id = text(&live.submit(&tenant, sleep_body()).await, "workload_id");
    let uri = format!("/v1/workloads/{id}");
    let wish = async |verb: &str| {
        live.ask(&tenant.secret, "POST", &format!("{uri}/{verb}"), None)
            .await
    };
    wish("cancel").await.is(202);
    let cancelled = WorkloadWrite {
        id: id.parse().unwrap(),
        customer: tenant.id.parse().unwrap(),
        from_status: Status::Pending,
        from_attempt: Attempt(0),
        to: LeaderHalf {
            status: Status::Cancelled,
            attempt: Attempt(0),
            worker: None,
            retry_count: 0,
            loss_count: 0,
            eligible_at: WallTime(0),
            sort_key: 0,
            backoff_until: None,
            wish_seen: WishRevision(1),
            stopping: None,
            error_type: None,
        },
        stamp_scheduled: false,
        stamp_started: false,
        stamp_completed: true,
        steps: vec![AuditStep {
            kind: AuditKind::Cancelled,
            actor: Actor::Coordinator,
            attempt: Attempt(0),
            details: AuditDetails::None,
        }],
    };
    commit(&live, vec![cancelled], Vec::new()).await;
    let again = wish("cancel").await.is(200);
    assert_eq!(
        (&again["status"], &again["version"]),
        (&json!("CANCELLED"), &json!(3))
    );
    assert_eq!(
        (&again["pending_reason"], again["completed_at"].is_string()),
        (&Json::Null, true)
    );
    for verb in ["pause", "resume"] {
        wish(verb).await.refuses(409, "INVALID_STATE");
    }
    let start = Instant::now();
    live.ask(
        &tenant.secret,
        "GET",
        &format!("{uri}?wait=20&since_version=3"),
        None,
    )
    .await
    .is(200);
    assert!(start.elapsed() < Duration::from_secs(10));
}

/// Five workloads with labels, oldest first.
async fn five(live: &Live, tenant: &Tenant) -> Vec<String> {
    let mut ids = Vec::new();
    for place in 0..5 {
        let odd = (place % 2).to_string();
        let body = json!({"workload_type": "sleep", "labels": {"odd": odd, "all": "é"}});
        ids.push(text(&live.submit(tenant, body).await, "workload_id"));
    }
    ids
}

async fn list(live: &Live, tenant: &Tenant, query: &str) -> Json {
    let uri = format!("/v1/workloads?{query}");
    live.ask(&tenant.secret, "GET", &uri, None).await.is(200)
}

fn listed(page: &Json) -> Vec<String> {
    let workloads = page["workloads"].as_array().unwrap().iter();
    workloads
        .map(|workload| text(workload, "workload_id"))
        .collect()
}

#[tokio::test]
async fn pages_neither_skip_nor_double_what_was_there_before_the_first() {
    let live = Live::start().await;
    let tenant = live.tenant(json!({"name": "a"})).await;
    let ids = five(&live, &tenant).await;
    for order in ["asc", "desc"] {
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = list(&live, &tenant, &format!("order={order}&limit=2{cursor}")).await;
            seen.extend(listed(&page));
            let Some(next) = page["pagination"]["next_cursor"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
            live.submit(&tenant, sleep_body()).await;
            assert!(seen.len() < 30, "no end");
        }
        if order == "desc" {
            seen.reverse();
        }
        let of_old: Vec<_> = seen.iter().filter(|id| ids.contains(id)).cloned().collect();
        assert_eq!(of_old, ids, "{order}");
    }
    let page = list(&live, &tenant, "limit=1").await;
    let cursor = text(&page["pagination"], "next_cursor");
    let other = format!("/v1/workloads?cursor={cursor}&status=PENDING");
    let refused = live.ask(&tenant.secret, "GET", &other, None).await;
    refused.refuses(400, "INVALID_INPUT");
}

#[tokio::test]
async fn filters_all_hold() {
    let live = Live::start().await;
    let tenant = live.tenant(json!({"name": "a"})).await;
    five(&live, &tenant).await;
    let between = "created_after=2001-01-01T00:00:00Z&created_before=2999-01-01T00:00:00Z";
    for (query, count) in [
        ("label=odd%3D1", 2),
        ("label=odd%3D1&label=odd%3D0", 0),
        ("label=odd%3D0&label=all%3D%C3%A9", 3),
        ("label=none%3D", 0),
        ("status=RUNNING", 0),
        ("status=RUNNING&status=PENDING&limit=100&label=odd%3D0", 3),
        ("workload_type=sleep&label=odd%3D1", 2),
        ("workload_type=x", 0),
        ("created_after=2999-01-01T00:00:00Z", 0),
        ("created_before=2001-01-01T00:00:00%2B02:00", 0),
        (between, 5),
    ] {
        assert_eq!(
            listed(&list(&live, &tenant, query).await).len(),
            count,
            "{query}"
        );
    }
}
