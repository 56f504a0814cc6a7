//! What admins do, as the audit of it tells.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;
use tests::{Cluster, ClusterOptions, one_at_a_time};

use super::asked::Who;
use super::document::{Access, Document, Operation};
use super::place::{Place, text};
use super::refusals::{refused, send};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mutation_of_an_admin_is_in_the_audit_with_its_actor() {
    let _turn = one_at_a_time().await;
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    cluster.worker("runner", 1, &["sleep"]);
    let document = Document::of(&cluster.coordinators[0].anonymous()).await;
    let mutations: Vec<&Operation> = document
        .operations
        .iter()
        .filter(|operation| operation.access == Access::Admin && operation.method != Method::GET)
        .collect();
    assert!(!mutations.is_empty());
    let (mut actions, mut actors) = (BTreeSet::new(), BTreeSet::new());
    let mut all = Vec::new();
    for index in 0..3 {
        let place = Place::new(&cluster, index).await;
        for operation in &mutations {
            let success = operation.statuses().find(|status| *status < 300).unwrap();
            let asked = place.arranged(operation, success).await.unwrap();
            let before = events(&place).await;
            let answer = send(&place, operation, &asked).await;
            assert_eq!(answer.status, success, "{}: {}", operation.id, answer.text);
            let after = events(&place).await;
            let new = &after[before.len()..];
            assert_eq!(after[..before.len()], before, "the past stays as it was");
            assert_eq!(new.len(), 1, "{}: {new:#?}", operation.id);
            let event = &new[0];
            // Whom it was done to stands in the path, or in the answer when it was made by it.
            let subject = text(&event["subject"]);
            let is_told = asked.path.contains(&subject) || answer.text.contains(&subject);
            assert!(is_told, "{}: {event:#} of {}", operation.id, answer.text);
            let secret = answer.body["secret"].as_str();
            let tells = secret.is_some_and(|secret| event.to_string().contains(secret));
            assert!(!tells, "{}: {event:#}", operation.id);
            actors.insert(text(&event["actor_id"]));
            actions.insert(text(&event["action"]));

            // What was refused is not there.
            refused(&place, operation, 400).await.unwrap();
            refused(&place, operation, 403).await.unwrap();
            all = events(&place).await;
            assert_eq!(all.len(), after.len(), "{}", operation.id);
        }
    }
    assert_eq!(actions.len(), mutations.len(), "one name each: {actions:?}");
    assert_eq!(actors.len(), 1, "one key did it all: {actors:?}");
    assert!(
        actors.iter().all(|actor| actor.contains("key_")),
        "{actors:?}"
    );
    let sequences: Vec<i64> = all
        .iter()
        .map(|event| event["sequence"].as_i64().unwrap())
        .collect();
    let without_gaps: Vec<i64> = (sequences[0]..).take(sequences.len()).collect();
    assert_eq!(sequences, without_gaps, "in order, without gaps");
}

async fn events(place: &Place) -> Vec<Value> {
    let admin = place.client(Who::Admin);
    admin.all("/v1/admin/audit?limit=1000", "events").await
}
