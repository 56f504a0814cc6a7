//! Workload configs, and who sees whose.

use super::*;
use axum::http::Method;

#[tokio::test]
async fn a_config_is_managed() {
    let live = Live::start().await;
    let tenant = live.tenant(json!({"name": "a"})).await;
    let ask = |method, uri, body| live.ask(&tenant.secret, method, uri, body);
    let uri = "/v1/workload-configs";
    let created = ask("POST", uri, Some(json!({"workload_type": "other"})))
        .await
        .is(201);
    assert_eq!(names(&created).len(), 11);
    ask("POST", uri, Some(json!({"workload_type": "other"})))
        .await
        .refuses(409, "CONFLICT");
    let one = format!("{uri}/{}", text(&created, "config_id"));
    assert_eq!(ask("GET", &one, None).await.is(200), created);
    let body = json!({"workload_type": "renamed", "timeout_seconds": 5});
    let replaced = ask("PUT", &one, Some(body)).await.is(200);
    assert_eq!(replaced["timeout_seconds"], json!(5));
    assert_eq!(replaced["created_at"], created["created_at"]);
    ask("PUT", &one, Some(sleep_body()))
        .await
        .refuses(409, "CONFLICT");
    let all = ask("GET", uri, None).await.is(200);
    assert_eq!(all["workload_configs"].as_array().unwrap().len(), 2);
    ask("DELETE", &one, None).await.is(204);
    for method in ["GET", "DELETE"] {
        ask(method, &one, None).await.refuses(404, "NOT_FOUND");
    }
    live.submit(&tenant, sleep_body()).await;
    let used = text(&all["workload_configs"][1], "config_id");
    let used = ask("DELETE", &format!("{uri}/{used}"), None).await;
    used.refuses(409, "CONFLICT");
}

#[tokio::test]
async fn what_is_anothers_looks_like_what_is_not_there() {
    let live = Live::start().await;
    let own = live.tenant(json!({"name": "a"})).await;
    let other = live.tenant(json!({"name": "b"})).await;
    let workload = text(&live.submit(&own, sleep_body()).await, "workload_id");
    let configs = live
        .ask(&own.secret, "GET", "/v1/workload-configs", None)
        .await
        .is(200);
    let config = text(&configs["workload_configs"][0], "config_id");
    let routes = routes::all();
    let with_ids = routes
        .iter()
        .filter(|route| route.access == auth::Access::Customer && route.path.contains('{'));
    let mut asked = 0;
    // Deletions come last, after everybody else was refused.
    for route in with_ids
        .clone()
        .filter(|route| route.method != Method::DELETE)
        .chain(with_ids.filter(|route| route.method == Method::DELETE))
    {
        let filled = |workload: &str, config: &str| {
            route
                .path
                .replace("{workload_id}", workload)
                .replace("{config_id}", config)
        };
        let body = (route.method == Method::PUT).then(sleep_body);
        let ask = async |secret: &str, uri: String| {
            live.ask(secret, route.method.as_str(), &uri, body.clone())
                .await
        };
        let uri = filled(&workload, &config);
        let anothers = ask(&other.secret, uri.clone()).await;
        anothers.refuses(404, "NOT_FOUND");
        let absent = filled(&WorkloadId(9).to_string(), &store::ConfigId(9).to_string());
        let absent = ask(&own.secret, absent).await;
        assert_eq!(anothers.json()["detail"], absent.json()["detail"], "{uri}");
        assert_eq!((anothers.status, absent.status), (404, 404));
        ask(&live.admin, format!("{uri}?customer_id={}", other.id))
            .await
            .refuses(404, "NOT_FOUND");
        ask(&live.admin, uri.clone())
            .await
            .refuses(403, "FORBIDDEN");
        let mine = ask(&own.secret, uri.clone()).await;
        assert!(mine.status < 300 || mine.status == 409, "{uri}: {mine:?}");
        let for_me = ask(&live.admin, format!("{uri}?customer_id={}", own.id)).await;
        assert!(
            for_me.status < 300 || for_me.status == 409,
            "{uri}: {for_me:?}"
        );
        asked += 1;
    }
    assert_eq!(asked, 9);
    for list in ["/v1/workloads", "/v1/workload-configs"] {
        let found = live.ask(&other.secret, "GET", list, None).await;
        assert!(
            !found.text.contains(&workload) && !found.text.contains(&config),
            "{list}"
        );
    }
}

#[tokio::test]
async fn what_a_customer_did_is_counted_for_it_alone() {
    let live = Live::start().await;
    let tenant = live.tenant(json!({"name": "a"})).await;
    let other = live.tenant(json!({"name": "b"})).await;
    for _ in 0..3 {
        live.submit(&tenant, sleep_body()).await;
    }
    for (group, uri) in [
        ("hour", "/v1/customer/stats"),
        ("day", "/v1/customer/stats?group_by=day"),
        ("workload_type", "/v1/customer/stats?group_by=workload_type"),
    ] {
        let stats = live.ask(&tenant.secret, "GET", uri, None).await.is(200);
        assert_eq!(stats["group_by"], json!(group));
        assert_eq!(stats["total"]["submitted"], json!(3));
        assert_eq!(stats["total"]["run_seconds"], json!(0.0));
        assert_eq!(stats["customer_id"], json!(tenant.id));
        let first = &stats["stats"][0];
        assert_eq!(first["workload_type"].is_null(), group != "workload_type");
        assert_eq!(first["start"].is_null(), group == "workload_type");
        let others = live.ask(&other.secret, "GET", uri, None).await.is(200);
        assert_eq!(others["stats"], json!([]));
    }
    for query in [
        "group_by=week",
        "start=2020-01-01T00:00:00Z",
        "end=2000-01-01T00:00:00Z&start=2001-01-01T00:00:00Z",
    ] {
        let uri = format!("/v1/customer/stats?{query}");
        live.ask(&tenant.secret, "GET", &uri, None)
            .await
            .refuses(400, "INVALID_INPUT");
    }
}
