//! What is the same on every route.

use super::*;

#[tokio::test]
async fn the_callers_request_id_comes_back_if_it_is_sane() {
    let rig = Rig::new();
    let sent = |id: &str| {
        Request::get("/health")
            .header("x-request-id", id)
            .body(Body::empty())
            .unwrap()
    };
    assert_eq!(
        rig.send(sent("abc-1")).await.headers["x-request-id"],
        "abc-1"
    );
    for wrong in ["", "a b", &"x".repeat(129)] {
        let answer = rig.send(sent(wrong)).await;
        assert!(
            answer.headers["x-request-id"]
                .to_str()
                .unwrap()
                .starts_with("req_")
        );
    }
}

#[tokio::test]
async fn unknown_routes_and_wrong_methods_are_problems() {
    let rig = Rig::new();
    for uri in [
        "/",
        "/v1",
        "/v1/workload",
        "/v1/workloads/",
        "/v2/workloads",
        "/v1/workloads:cancel",
    ] {
        rig.get(uri).await.refuses(404, "NOT_FOUND");
    }
    let answer = rig
        .send(
            Request::delete("/v1/workloads")
                .body(Body::empty())
                .unwrap(),
        )
        .await;
    answer.refuses(405, "METHOD_NOT_ALLOWED");
    let allowed = answer.headers["allow"].to_str().unwrap();
    assert!(
        allowed.contains("GET") && allowed.contains("POST"),
        "{allowed}"
    );
    rig.send(post("/health", &rig.own, ""))
        .await
        .refuses(405, "METHOD_NOT_ALLOWED");
}

#[tokio::test]
async fn too_long_addresses_and_too_many_headers_are_problems() {
    let rig = Rig::new();
    rig.get(&format!("/v1/workloads?cursor={}", "x".repeat(9_000)))
        .await
        .refuses(414, "URI_TOO_LONG");
    let large = request("GET", "/v1/workloads", &rig.own).header("x-a", "x".repeat(17_000));
    rig.send(large.body(Body::empty()).unwrap())
        .await
        .refuses(431, "HEADERS_TOO_LARGE");
    let mut many = request("GET", "/v1/workloads", &rig.own);
    for place in 0..101 {
        many = many.header(format!("x-{place}"), "1");
    }
    rig.send(many.body(Body::empty()).unwrap())
        .await
        .refuses(431, "HEADERS_TOO_LARGE");
}

#[tokio::test]
async fn bodies_must_be_json_of_the_right_size() {
    let rig = Rig::new();
    for wrong in ["", "{", "nonsense", "{\"a\":1} x", "\u{feff}{}", "[1,]"] {
        rig.send(post("/v1/workloads", &rig.own, wrong))
            .await
            .refuses(400, "INVALID_INPUT");
    }
    let bytes = post("/v1/workloads", &rig.own, &b"{\"a\":\"\xff\"}"[..]);
    rig.send(bytes).await.refuses(400, "INVALID_INPUT");
    let large = |uri, bytes| {
        post(
            uri,
            &rig.own,
            format!("{{\"x\":\"{}\"}}", "x".repeat(bytes)),
        )
    };
    rig.send(large("/v1/workloads", 1 << 20))
        .await
        .refuses(413, "PAYLOAD_TOO_LARGE");
    rig.send(large("/v1/workloads", (1 << 20) - 8))
        .await
        .refuses(422, "INVALID_INPUT");
    rig.send(large("/v1/workloads:batch", 8 << 20))
        .await
        .refuses(413, "PAYLOAD_TOO_LARGE");
    rig.send(large("/v1/workloads:batch", 1 << 20))
        .await
        .refuses(422, "INVALID_INPUT");
    let typed = |kind: &'static str| {
        let request = request("POST", "/v1/workloads", &rig.own).header("content-type", kind);
        request.body(Body::from("{}")).unwrap()
    };
    rig.send(typed("text/plain"))
        .await
        .refuses(415, "UNSUPPORTED_MEDIA_TYPE");
    rig.send(typed("application/json; charset=utf-8"))
        .await
        .refuses(422, "INVALID_INPUT");
}

#[tokio::test]
async fn everything_wrong_with_a_submission_is_named() {
    let rig = Rig::new();
    let body =
        json!({"workload_type": "UPPER", "priority": -1, "labels": {"a": 1}, "colour": "red"});
    let answer = rig.post("/v1/workloads", &body).await;
    answer.refuses(422, "INVALID_INPUT");
    assert_eq!(
        answer.pointers(),
        ["/workload_type", "/priority", "/labels/a", "/colour"]
    );
}

#[tokio::test]
async fn bad_queries_are_refused_before_the_store() {
    let rig = Rig::new();
    for query in [
        "limit=0",
        "limit=101",
        "limit=x",
        "limit=1&limit=2",
        "limit=%2B5",
        "order=up",
        "status=pending",
        "cursor=nonsense",
        "label=x",
        "created_after=yesterday",
        "colour=red",
        "workload_type=A",
        "label=%00%3Dx",
    ] {
        rig.get(&format!("/v1/workloads?{query}"))
            .await
            .refuses(400, "INVALID_INPUT");
    }
    for query in [
        "wait=26",
        "wait=-1",
        "wait=nan",
        "since_version=-1",
        "since_version=x",
    ] {
        let answer = rig.get(&format!("/v1/workloads/{WORKLOAD}?{query}")).await;
        answer.refuses(400, "INVALID_INPUT");
        assert_eq!(answer.pointers().len(), 1);
    }
}

#[tokio::test]
async fn readiness_tells_what_is_known_and_gates_on_the_database_alone() {
    let rig = Rig::new();
    let answer = rig.get("/ready").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json(),
        json!({
            "healthy": true, "is_leader": false, "leader": "a", "generation": 0,
            "dependencies": {"database": "connected", "broker": "disconnected"}, "uptime_seconds": 0,
        })
    );
    let changes: [fn(&mut NodeStatus); 3] = [
        |known| known.database = Dependency::Disconnected,
        |known| known.schema_known = false,
        |known| known.stopping = true,
    ];
    for change in changes {
        let rig = Rig::new();
        rig.status.send_modify(change);
        let answer = rig.get("/ready").await;
        assert_eq!(
            (answer.status, &answer.json()["healthy"]),
            (503, &json!(false))
        );
        assert_eq!(rig.get("/health").await.json()["status"], "ok");
    }
}

#[tokio::test]
async fn requests_are_counted_by_route_template() {
    let rig = Rig::new();
    rig.get(&format!("/v1/workloads/{WORKLOAD}")).await;
    let answer = rig.get("/metrics").await;
    let line = "niyanta_http_requests_total{method=\"GET\",route=\"/v1/workloads/{workload_id}\",status=\"200\"}";
    assert!(answer.text.contains(line), "{}", answer.text);
    assert!(!answer.text.contains(&WORKLOAD.to_string()));
}

#[tokio::test]
async fn a_handler_that_panics_is_a_500_without_its_words() {
    let rig = Rig::new();
    // The stub panics at this operation.
    let answer = rig.get("/v1/workload-configs").await;
    answer.refuses(500, "INTERNAL_ERROR");
    assert!(!answer.text.contains("configs"));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_is_a_408() {
    let rig = Rig::new();
    let never = futures::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let answer = rig
        .send(post("/v1/workloads", &rig.own, Body::from_stream(never)))
        .await;
    answer.refuses(408, "REQUEST_TIMEOUT");
}
