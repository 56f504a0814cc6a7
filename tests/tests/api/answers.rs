//! Every answer that the document names, brought about at every coordinator.
//!
//! An answer of an operation is either a refusal that all routes of its kind give, or one that must be
//! arranged, or one that takes a broken or slow database. What the document names and none of the
//! three can bring about fails the test.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use serde_json::json;
use tests::{Answer, Cluster, ClusterOptions, one_at_a_time};

use super::document::{Document, Operation, read_events};
use super::in_doubt;
use super::outages;
use super::place::{Ids, Place};
use super::refusals::{refused, send};

/// What was answered so far.
#[derive(Default)]
pub(crate) struct Seen {
    /// Operation, status and coordinator, and how often.
    answers: BTreeMap<(String, u16, usize), u32>,
    codes: BTreeSet<String>,
}

impl Seen {
    pub(crate) fn note(&mut self, operation: &Operation, place: &Place, answer: &Answer) {
        let key = (operation.id.clone(), answer.status, place.index);
        *self.answers.entry(key).or_default() += 1;
        self.codes
            .extend(answer.body["code"].as_str().map(str::to_owned));
    }

    fn missing(&self, document: &Document, places: usize) -> Vec<String> {
        let mut missing = Vec::new();
        for operation in &document.operations {
            for status in operation.statuses() {
                let was_seen = |place: &usize| {
                    let key = (operation.id.clone(), status, *place);
                    self.answers.contains_key(&key)
                };
                let unseen: Vec<usize> = (0..places).filter(|place| !was_seen(place)).collect();
                if !unseen.is_empty() {
                    missing.push(format!("{} {status} at {unseen:?}", operation.id));
                }
            }
        }
        missing
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_of_the_document_is_given_by_every_coordinator() {
    let _turn = one_at_a_time().await;
    let mut cluster = Cluster::start(ClusterOptions {
        // Room for all mutations at once, which a frozen database keeps waiting.
        env: vec![("DATABASE_POOL_SIZE", "30".to_owned())],
        ..ClusterOptions::default()
    })
    .await;
    cluster.worker("runner", 2, &["sleep"]);
    let leader = cluster.leader().await;
    let document = Document::of(&cluster.coordinators[0].anonymous()).await;
    let mut places = Vec::new();
    for index in 0..3 {
        places.push(Place::new(&cluster, index).await);
    }
    let mut seen = Seen::default();
    for place in &places {
        for operation in &document.operations {
            ordinary(&mut seen, operation, place).await;
        }
        other_methods(&mut seen, &document, place).await;
        full_queue(&mut seen, &document, place, &cluster).await;
        stream(&document, place).await;
    }
    bodies_that_do_not_come(&mut seen, &document, &places).await;
    outages::failing(&mut seen, &document, &places, &cluster).await;
    outages::frozen(&mut seen, &document, &places, &cluster).await;
    in_doubt::behind_a_lock(&mut seen, &document, &places, &cluster).await;
    outages::down(&mut seen, &document, &places, &mut cluster).await;

    let missing = seen.missing(&document, places.len());
    assert!(
        missing.is_empty(),
        "in the document and never answered: {missing:#?}"
    );
    let codes: BTreeSet<String> = document.codes.iter().cloned().collect();
    assert_eq!(seen.codes, codes, "the codes of problems");
    let answers: u32 = seen.answers.values().sum();
    let kinds = seen.answers.len();
    println!(
        "{} operations, {kinds} different (operation, status, coordinator), {answers} answers; \
         coordinator {leader} led at first",
        document.operations.len()
    );
}

/// What a database in order can be made to answer.
async fn ordinary(seen: &mut Seen, operation: &Operation, place: &Place) {
    for status in operation.statuses() {
        let needs_fault = matches!(status, 408 | 500 | 503 | 504);
        if needs_fault {
            continue;
        }
        let answer = match place.arranged(operation, status).await {
            Some(asked) => send(place, operation, &asked).await,
            None => refused(place, operation, status)
                .await
                .unwrap_or_else(|| panic!("no case brings about {} {status}", operation.id)),
        };
        assert_eq!(answer.status, status, "{}: {}", operation.id, answer.text);
        seen.note(operation, place, &answer);
    }
}

/// The other success of reading logs: each of its events is as the document has it.
async fn stream(document: &Document, place: &Place) {
    let logs = document.operations.iter().find(|it| it.takes("follow"));
    let ids = Ids {
        workload: place.talked().await,
        ..place.ids.clone()
    };
    let asked = place.ask_for(logs.unwrap(), &ids).query("follow=true");
    let answer = send(place, logs.unwrap(), &asked).await;
    let events = read_events(&answer.text);
    let names: Vec<_> = events.iter().map(|event| event["event"].clone()).collect();
    assert_eq!(
        (answer.status, names),
        (200, vec![json!("log"), json!("end")])
    );
}

/// Every method that a path does not have.
async fn other_methods(seen: &mut Seen, document: &Document, place: &Place) {
    for operation in &document.operations {
        let named = document.methods(&operation.path);
        let all = ["GET", "POST", "PUT", "PATCH", "DELETE"].map(|name| name.parse().unwrap());
        for method in all.into_iter().filter(|method| !named.contains(&method)) {
            let asked = place.ask(operation);
            let client = place.client(asked.who);
            let sent = client.send(method, &asked.path, &[], None).await.unwrap();
            let allowed = sent.headers["allow"].to_str().unwrap().to_owned();
            let allowed: BTreeSet<&str> = allowed.split([',', ' ']).collect();
            for method in &named {
                assert!(allowed.contains(method.as_str()), "{}", asked.path);
            }
            let code = sent.expect_problem(405, "METHOD_NOT_ALLOWED")["code"].clone();
            seen.codes.insert(code.as_str().unwrap().to_owned());
        }
    }
    let nowhere = place
        .client(super::asked::Who::Own)
        .get("/v1/nowhere")
        .await;
    nowhere.expect_problem(404, "NOT_FOUND");
}

/// The other reason for 429.
async fn full_queue(seen: &mut Seen, document: &Document, place: &Place, cluster: &Cluster) {
    let (id, key) = cluster.new_customer("free", "full").await;
    let none = json!({"limits": {"max_queue_depth": 0}}).to_string();
    let path = format!("/v1/admin/customers/{id}");
    let patched = cluster.admin();
    let patched = patched.send(reqwest::Method::PATCH, &path, &[], Some(none));
    patched.await.unwrap().expect(200);
    let submit = document
        .operations
        .iter()
        .find(|it| it.id == "post_workloads");
    let client = place.client(super::asked::Who::Own).with_key(&key);
    let body = json!({"workload_type": "sleep"});
    let asked = place.ask(submit.unwrap()).body(&body);
    let answer = asked.send(submit.unwrap(), &client).await;
    seen.note(submit.unwrap(), place, &answer);
    answer.expect_problem(429, "QUEUE_FULL");
}

/// All at once, because each takes as long as the server waits.
async fn bodies_that_do_not_come(seen: &mut Seen, document: &Document, places: &[Place]) {
    let slow = |operation: &&Operation| operation.statuses().any(|status| status == 408);
    let all = places.iter().flat_map(|place| {
        let operations = document.operations.iter().filter(slow);
        operations.map(move |operation| async move {
            (operation, place, refused(place, operation, 408).await)
        })
    });
    for (operation, place, answer) in join_all(all).await {
        let answer = answer.unwrap();
        assert_eq!(answer.status, 408, "{}: {}", operation.id, answer.text);
        seen.note(operation, place, &answer);
    }
}
