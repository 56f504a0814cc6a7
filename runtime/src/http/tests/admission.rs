//! Rates, and what is told of them.

use super::*;
use crate::store::{Limits, Tier};

const URI: &str = "/v1/workloads?limit=0";

/// An API whose customers may ask so often.
fn limited(per_second: u32, burst: u32) -> Rig {
    let rig = Rig::new();
    set(&rig, per_second, burst);
    rig
}

fn set(rig: &Rig, per_second: u32, burst: u32) {
    *rig.store.limits.lock().unwrap() = Some(Limits {
        rate_limit_per_sec: per_second,
        rate_limit_burst: burst,
        ..Tier::Free.limits()
    });
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers[name].to_str().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_spent_and_comes_back_at_the_rate() {
    let rig = limited(2, 3);
    for left in [2, 1, 0] {
        let answer = rig.get(URI).await;
        answer.refuses(400, "INVALID_INPUT");
        assert_eq!(header(&answer, "ratelimit-policy"), "\"customer\";q=3;w=2");
        assert!(header(&answer, "ratelimit").starts_with(&format!("\"customer\";r={left};t=")));
    }
    let refused = rig.get(URI).await;
    refused.refuses(429, "RATE_LIMITED");
    assert_eq!(header(&refused, "retry-after"), "1");
    assert_eq!(header(&refused, "ratelimit"), "\"customer\";r=0;t=1");
    sleep(Duration::from_millis(500)).await;
    rig.get(URI).await.refuses(400, "INVALID_INPUT");
    rig.get(URI).await.refuses(429, "RATE_LIMITED");
    sleep(Duration::from_secs(60)).await;
    assert!(header(&rig.get(URI).await, "ratelimit").contains("r=2"));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_comes_before_the_body_is_read_and_a_batch_costs_one() {
    let rig = limited(1, 1);
    let items: Vec<Json> = (0..20).map(|_| json!({"workload_type": "UPPER"})).collect();
    let batch = rig
        .post("/v1/workloads:batch", &json!({"workloads": items}))
        .await;
    assert_eq!(batch.status, 200);
    let never = futures::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let start = Instant::now();
    let body = Body::from_stream(never);
    let request = post("/v1/workloads", &rig.own, body);
    rig.send(request).await.refuses(429, "RATE_LIMITED");
    // Only what was still to come of the body was waited for.
    assert!(start.elapsed() <= Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn each_customer_has_a_bucket_of_its_own_and_operators_have_none() {
    let rig = limited(1, 1);
    let other = add_key(&rig.store, Some(OTHER));
    let ask = |secret: String| {
        let request = request("GET", URI, &secret).body(Body::empty()).unwrap();
        rig.send(request)
    };
    ask(rig.own.clone()).await.refuses(400, "INVALID_INPUT");
    ask(rig.own.clone()).await.refuses(429, "RATE_LIMITED");
    ask(other).await.refuses(400, "INVALID_INPUT");
    let uri = format!("/v1/workloads/{WORKLOAD}?customer_id={OWN}");
    for _ in 0..5 {
        let request = request("GET", &uri, &rig.admin)
            .body(Body::empty())
            .unwrap();
        let answer = rig.send(request).await;
        assert_eq!(answer.status, 200);
        assert!(!answer.headers.contains_key("ratelimit"));
    }
}

#[tokio::test(start_paused = true)]
async fn another_rate_is_in_force_within_seconds_and_the_old_level_is_kept_without_one() {
    let rig = limited(1, 2);
    rig.get(URI).await.refuses(400, "INVALID_INPUT");
    rig.get(URI).await.refuses(400, "INVALID_INPUT");
    set(&rig, 100, 100);
    rig.get(URI).await.refuses(429, "RATE_LIMITED");
    sleep(Duration::from_secs(5)).await;
    assert!(header(&rig.get(URI).await, "ratelimit").contains("r=99"));
    assert_eq!(rig.store.calls("customer"), 2);
    sleep(Duration::from_secs(5)).await;
    for _ in 0..100 {
        rig.get(URI).await.refuses(400, "INVALID_INPUT");
    }
    rig.get(URI).await.refuses(429, "RATE_LIMITED");
    assert_eq!(rig.store.calls("customer"), 3);
}

#[tokio::test]
async fn a_customer_with_too_much_going_on_is_shed_and_others_are_not() {
    let rig = Rig::new();
    let mut held = Vec::new();
    while let Ok(place) = rig.state.places.admit(Some(OWN)) {
        held.push(place);
    }
    let answer = rig.get(URI).await;
    answer.refuses(503, "SERVICE_UNAVAILABLE");
    let request = request("GET", "/v1/admin/workers?limit=0", &rig.admin);
    let answer = rig.send(request.body(Body::empty()).unwrap()).await;
    answer.refuses(400, "INVALID_INPUT");
    drop(held);
    rig.get(URI).await.refuses(400, "INVALID_INPUT");
}

#[tokio::test(start_paused = true)]
async fn who_waits_gives_its_place_to_others() {
    let rig = Arc::new(Rig::new());
    let uri = format!("/v1/workloads/{WORKLOAD}?wait=20");
    let waiting: Vec<_> = (0..300)
        .map(|_| {
            let (rig, uri) = (Arc::clone(&rig), uri.clone());
            tokio::spawn(async move { rig.get(&uri).await.status })
        })
        .collect();
    sleep(Duration::from_secs(1)).await;
    rig.get(URI).await.refuses(400, "INVALID_INPUT");
    for answer in waiting {
        assert_eq!(answer.await.unwrap(), 200);
    }
}
