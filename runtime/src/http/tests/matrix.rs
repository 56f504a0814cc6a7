//! Every route of the table, asked by everybody who may not.

use super::{super::auth::Access, *};

/// The path with ids of the right form.
pub(super) fn filled(path: &str) -> String {
    path.replace("{workload_id}", &WorkloadId(99).to_string())
        .replace("{config_id}", &crate::store::ConfigId(99).to_string())
        .replace("{customer_id}", &CustomerId(99).to_string())
        .replace("{key_id}", &KeyId(99).to_string())
        .replace("{worker_id}", "w-99")
}

async fn ask(rig: &Rig, route: &routes::Route, query: &str, secret: Option<&str>) -> Answer {
    let uri = format!("{}{query}", filled(&route.path));
    let mut request = Request::builder().method(route.method.clone()).uri(uri);
    if let Some(secret) = secret {
        request = request.header("authorization", format!("Bearer {secret}"));
    }
    rig.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn nobody_comes_in_without_a_key() {
    let rig = Rig::new();
    for route in routes::all() {
        let answer = ask(&rig, &route, "", None).await;
        match route.access {
            Access::Public => assert_eq!(answer.status, 200, "{}", route.path),
            Access::Customer | Access::Admin => answer.refuses(401, "UNAUTHORIZED"),
        }
    }
}

#[tokio::test]
async fn customers_do_not_operate() {
    let rig = Rig::new();
    for route in routes::all()
        .iter()
        .filter(|route| route.access == Access::Admin)
    {
        ask(&rig, route, "", Some(&rig.own))
            .await
            .refuses(403, "FORBIDDEN");
    }
}

#[tokio::test]
async fn admins_say_for_whom_they_act() {
    let rig = Rig::new();
    let absent = format!("?customer_id={}", CustomerId(99));
    for route in routes::all()
        .iter()
        .filter(|route| route.access == Access::Customer)
    {
        ask(&rig, route, "", Some(&rig.admin))
            .await
            .refuses(403, "FORBIDDEN");
        ask(&rig, route, "?customer_id=x", Some(&rig.admin))
            .await
            .refuses(400, "INVALID_INPUT");
        ask(&rig, route, &absent, Some(&rig.admin))
            .await
            .refuses(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn naming_another_customer_finds_nothing() {
    let rig = Rig::new();
    let other = format!("?customer_id={OTHER}");
    for route in routes::all()
        .iter()
        .filter(|route| route.access == Access::Customer)
    {
        ask(&rig, route, &other, Some(&rig.own))
            .await
            .refuses(404, "NOT_FOUND");
    }
    let own = rig
        .get(&format!("/v1/workloads/{WORKLOAD}?customer_id={OWN}"))
        .await;
    assert_eq!(own.status, 200);
    let by_admin = |customer| {
        let uri = format!("/v1/workloads/{WORKLOAD}?customer_id={customer}");
        request("GET", &uri, &rig.admin)
            .body(Body::empty())
            .unwrap()
    };
    assert_eq!(rig.send(by_admin(OWN)).await.status, 200);
    rig.send(by_admin(OTHER)).await.refuses(404, "NOT_FOUND");
}

#[tokio::test]
async fn ids_of_the_wrong_form_name_nothing() {
    let rig = Rig::new();
    for id in ["x", "wl_x", &CustomerId(1).to_string(), "%00", "%ff", ".."] {
        rig.get(&format!("/v1/workloads/{id}"))
            .await
            .refuses(404, "NOT_FOUND");
        rig.get(&format!("/v1/workload-configs/{id}"))
            .await
            .refuses(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn the_table_names_every_route_of_the_contract_that_is_served() {
    let served: Vec<_> = routes::all()
        .iter()
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    let unique: std::collections::BTreeSet<_> = served.iter().collect();
    assert_eq!(unique.len(), served.len());
    assert_eq!(served.len(), 34);
}
