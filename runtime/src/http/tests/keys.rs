//! Who may come in.

use super::*;
use crate::http::auth::Secret;

#[tokio::test]
async fn what_is_no_key_is_refused_without_asking_the_store() {
    let rig = Rig::new();
    let with = |value: &str| {
        let request = Request::get("/v1/customer").header("authorization", value);
        request.body(Body::empty()).unwrap()
    };
    let own = rig.own.clone();
    for wrong in [
        "",
        "Bearer",
        "Bearer ",
        "Basic abc",
        &own,
        "Bearer nyt_abc",
        &format!("Bearer {own}x"),
    ] {
        let answer = rig.send(with(wrong)).await;
        answer.refuses(401, "UNAUTHORIZED");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
    rig.send(Request::get("/v1/customer").body(Body::empty()).unwrap())
        .await
        .refuses(401, "UNAUTHORIZED");
    assert_eq!(rig.store.calls("find_key"), 0);
    assert_eq!(rig.send(with(&format!("bearer {own}"))).await.status, 200);
}

#[tokio::test]
async fn a_new_key_works_at_once_and_an_unknown_one_never() {
    let rig = Rig::new();
    let new = new_key();
    let ask = || {
        request("GET", "/v1/customer", new.secret.expose())
            .body(Body::empty())
            .unwrap()
    };
    rig.send(ask()).await.refuses(401, "UNAUTHORIZED");
    let known = rig
        .store
        .keys
        .lock()
        .unwrap()
        .values()
        .next()
        .unwrap()
        .clone();
    let row = KeyRow {
        id: new.id,
        customer: Some(OWN),
        secret_hash: new.secret_hash,
        ..known
    };
    rig.store.keys.lock().unwrap().insert(new.secret_hash, row);
    assert_eq!(rig.send(ask()).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_revoked_key_stops_within_five_seconds_without_a_hint() {
    let rig = Rig::new();
    assert_eq!(rig.get("/v1/customer").await.status, 200);
    assert_eq!(rig.get("/v1/customer").await.status, 200);
    assert_eq!(rig.store.calls("find_key"), 1);
    revoke(&rig);
    sleep(auth::VALIDITY).await;
    rig.get("/v1/customer").await.refuses(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn a_revoked_key_stops_at_once_with_a_hint() {
    let rig = Rig::new();
    assert_eq!(rig.get("/v1/customer").await.status, 200);
    let id = revoke(&rig);
    rig.state.invalidate_key(id);
    rig.get("/v1/customer").await.refuses(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn an_expired_key_is_refused() {
    let rig = Rig::new();
    let hash = Secret::parse(&rig.own).unwrap().hash();
    rig.store
        .keys
        .lock()
        .unwrap()
        .get_mut(&hash)
        .unwrap()
        .expires_at = Some(WallTime(1));
    rig.get("/v1/customer").await.refuses(401, "UNAUTHORIZED");
}

#[tokio::test(start_paused = true)]
async fn uses_of_a_key_are_noted_together() {
    let rig = Rig::new();
    for _ in 0..10 {
        rig.get("/v1/customer").await;
    }
    sleep(Duration::from_secs(6)).await;
    assert_eq!(rig.store.used.lock().unwrap().len(), 1);
    rig.get("/v1/customer").await;
    sleep(Duration::from_secs(6)).await;
    assert_eq!(rig.store.used.lock().unwrap().len(), 2);
}

fn revoke(rig: &Rig) -> KeyId {
    let hash = Secret::parse(&rig.own).unwrap().hash();
    let mut keys = rig.store.keys.lock().unwrap();
    let row = keys.get_mut(&hash).unwrap();
    row.revoked_at = Some(WallTime(1));
    row.id
}
