//! Every route of the document x {own, somebody else's, nobody's, without a key, an admin's}.

use serde_json::Value;
use tests::{Cluster, ClusterOptions, one_at_a_time};

use super::asked::{Asked, Who};
use super::document::{Access, Document, Operation};
use super::place::{Ids, Place};
use super::refusals::send;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_route_serves_its_own_caller_and_nobody_else() {
    let _turn = one_at_a_time().await;
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    cluster.worker("runner", 1, &["sleep"]);
    let document = Document::of(&cluster.coordinators[0].anonymous()).await;
    let mut asked = 0;
    for index in 0..3 {
        let place = Place::new(&cluster, index).await;
        for operation in &document.operations {
            asked += match operation.access {
                Access::Public => public(&place, operation).await,
                Access::Customer => customer(&place, operation).await,
                Access::Admin => admin(&place, operation).await,
            };
        }
        untouched(&place).await;
    }
    println!(
        "{asked} combinations of {} routes",
        document.operations.len()
    );
}

async fn public(place: &Place, operation: &Operation) -> u32 {
    for who in [Who::Nobody, Who::Own, Who::Admin] {
        expect(place, operation, &place.ask(operation).by(who), 200).await;
    }
    3
}

async fn customer(place: &Place, operation: &Operation) -> u32 {
    let success = success(operation);
    let named = format!("customer_id={}", place.ids.customer);
    let another = format!("customer_id={}", place.other_customer);
    let none = format!("customer_id={}", Ids::of_nobody().customer);
    let mut count = 9;
    // The customer itself, also when it says so; and an admin that says for whom.
    let own = arranged(place, operation).await;
    let (_, seen_by_own) = expect(place, operation, &own, success).await;
    let own = arranged(place, operation).await.query(&named);
    expect(place, operation, &own, success).await;
    let own = arranged(place, operation)
        .await
        .query(&named)
        .by(Who::Admin);
    expect(place, operation, &own, success).await;
    // Nobody else.
    let right = || place.ask(operation);
    expect(place, operation, &right().by(Who::Nobody), 401).await;
    expect(place, operation, &right().by(Who::Admin), 403).await;
    for query in [&another, &none] {
        expect(place, operation, &right().query(query), 404).await;
    }
    let admin_for_none = right().query(&none).by(Who::Admin);
    expect(place, operation, &admin_for_none, 404).await;
    let absent = place.ask_for(operation, &Ids::of_nobody());
    let other = right().by(Who::Other);
    if operation.path.contains('{') {
        expect(place, operation, &absent, 404).await;
        expect(place, operation, &other, 404).await;
        let admin_for_another = right().query(&another).by(Who::Admin);
        expect(place, operation, &admin_for_another, 404).await;
        count += 2;
    } else if operation.method == reqwest::Method::GET {
        // A route without an id shows what is one's own.
        let (_, seen_by_other) = expect(place, operation, &other, success).await;
        assert!(seen_by_own.contains(&place.ids.customer) || is_of_types(operation));
        for mine in [&place.ids.customer, &place.ids.workload, &place.ids.config] {
            assert!(
                !seen_by_other.contains(mine),
                "{}: {seen_by_other}",
                operation.id
            );
        }
    }
    count
}

/// Whether what it lists does not name its customer.
fn is_of_types(operation: &Operation) -> bool {
    operation.id == "get_workload_configs"
}

async fn admin(place: &Place, operation: &Operation) -> u32 {
    let right = place.ask(operation);
    expect(place, operation, &right.clone().by(Who::Nobody), 401).await;
    for who in [Who::Own, Who::Other] {
        expect(place, operation, &right.clone().by(who), 403).await;
    }
    let asked = arranged(place, operation).await;
    expect(place, operation, &asked, success(operation)).await;
    if operation.path.contains('{') {
        let absent = place.ask_for(operation, &Ids::of_nobody());
        expect(place, operation, &absent, 404).await;
        return 5;
    }
    4
}

/// What stands at a place is as it was made, whoever tried what.
async fn untouched(place: &Place) {
    let own = place.client(Who::Own);
    let workload: Value = own.workload(&place.ids.workload).await;
    assert_eq!(
        (&workload["desired"], &workload["version"]),
        (&"run".into(), &1.into())
    );
    let path = format!("/v1/workload-configs/{}", place.ids.config);
    let config = own.get(&path).await.expect(200);
    assert_eq!(config["workload_type"], "standing");
}

/// The last of its successes: that of something that really happens.
fn success(operation: &Operation) -> u16 {
    operation
        .statuses()
        .filter(|status| *status < 300)
        .last()
        .unwrap()
}

async fn arranged(place: &Place, operation: &Operation) -> Asked {
    let asked = place.arranged(operation, success(operation)).await;
    asked.unwrap_or_else(|| panic!("no case brings about a success of {}", operation.id))
}

async fn expect(place: &Place, operation: &Operation, asked: &Asked, status: u16) -> (u16, String) {
    let answer = send(place, operation, asked).await;
    let told = format!("{} by {:?} at {}", operation.id, asked.who, asked.path);
    assert_eq!(answer.status, status, "{told}: {}", answer.text);
    (answer.status, answer.text)
}
