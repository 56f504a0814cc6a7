//! Lists that change while they are read: nothing that was there before is skipped or doubled.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Client, Cluster, ClusterOptions, RawWorker, one_at_a_time};

use super::asked::Who;
use super::document::{Access, Document, Operation};
use super::place::{Place, text};

/// Rows that are there before the first page is read.
const BEFORE: usize = 13;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_skip_and_double_nothing_while_rows_come_change_and_go() {
    let _turn = one_at_a_time().await;
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    cluster.worker("runner", 1, &["sleep"]);
    let document = Document::of(&cluster.coordinators[0].anonymous()).await;
    let mut list = List::new(&cluster).await;
    let operations = document.operations.iter();
    for operation in operations.filter(|operation| operation.takes("cursor")) {
        let orders: &[&str] = if operation.takes("order") {
            &["&order=asc", "&order=desc"]
        } else {
            &[""]
        };
        for order in orders {
            list.read_while_it_changes(operation, order).await;
        }
    }
}

/// A list under change, read and written through all coordinators in turn.
struct List {
    place: Place,
    own: Vec<Client>,
    admin: Vec<Client>,
    worker: RawWorker,
    nats_url: String,
    /// Whose audit and logs are read.
    workload: String,
    lines: u64,
    turn: usize,
}

impl List {
    async fn new(cluster: &Cluster) -> Self {
        let place = Place::new(cluster, 0).await;
        let everywhere = |key: &str| {
            let coordinators = cluster.coordinators.iter();
            coordinators.map(|it| it.client(key)).collect::<Vec<_>>()
        };
        let nats_url = cluster.nats.url();
        let mut worker = RawWorker::registered(&nats_url, "writer", &["idle"], 1).await;
        let assigned = worker
            .next_assignment(std::time::Duration::from_secs(30))
            .await;
        let workload = text(&assigned["workload_id"]);
        worker
            .report("workload.started", &workload, 1, json!({}))
            .await;
        Self {
            own: everywhere(place.key(Who::Own)),
            admin: everywhere(place.key(Who::Admin)),
            workload,
            place,
            worker,
            nats_url,
            lines: 0,
            turn: 0,
        }
    }

    async fn read_while_it_changes(&mut self, operation: &Operation, query: &str) {
        let mut ids = self.place.ids.clone();
        ids.workload.clone_from(&self.workload);
        let path = ids.fill(&operation.path);
        for _ in 0..BEFORE {
            self.insert(operation).await;
        }
        let before: BTreeSet<String> = self.all(operation, &path).await;
        assert!(before.len() >= BEFORE, "{}: {before:?}", operation.id);

        let (mut seen, mut pages) = (Vec::new(), 0);
        let mut cursor: Option<String> = None;
        let mut gone = BTreeSet::new();
        loop {
            let at = cursor.map(|cursor| format!("&cursor={cursor}"));
            let page = format!("{path}?limit=4{query}{}", at.unwrap_or_default());
            let page = self.reader(operation).get(&page).await.expect(200);
            pages += 1;
            seen.extend(rows(operation, &page));
            cursor = page["pagination"]["next_cursor"]
                .as_str()
                .map(str::to_owned);
            assert_eq!(page["pagination"]["has_more"], cursor.is_some());
            if cursor.is_none() {
                break;
            }
            // One row fewer than are read, so that the end comes nearer.
            self.insert(operation).await;
            self.change(operation, &seen).await;
            gone.extend(self.remove(operation, &seen).await);
        }
        let unique: BTreeSet<String> = seen.iter().cloned().collect();
        let what = format!("{} {query}", operation.id);
        assert_eq!(unique.len(), seen.len(), "{what}: rows twice: {seen:?}");
        let skipped: Vec<_> = before.difference(&unique).collect();
        assert!(skipped.is_empty(), "{what}: skipped {skipped:?}");
        println!(
            "{what}: {} rows in {pages} pages, {} were there before, {} went meanwhile",
            seen.len(),
            before.len(),
            gone.len()
        );
    }

    /// The next coordinator.
    fn reader(&mut self, operation: &Operation) -> Client {
        self.turn += 1;
        let clients = match operation.access {
            Access::Admin => &self.admin,
            Access::Public | Access::Customer => &self.own,
        };
        clients[self.turn % clients.len()].clone()
    }

    async fn all(&mut self, operation: &Operation, path: &str) -> BTreeSet<String> {
        let plural = plural(operation);
        let all = self.reader(operation).all(path, plural).await;
        all.iter().map(|row| id(operation, row)).collect()
    }

    /// One more row, through a coordinator that is not the one that is read.
    async fn insert(&mut self, operation: &Operation) {
        let fresh = self.place.fresh("row");
        let client = self.reader(operation);
        let customer = self.place.ids.customer.clone();
        let (path, body) = match operation.id.as_str() {
            "get_workloads" => {
                // The first one registers the type.
                let listed = json!({"workload_type": "listed"});
                client.post("/v1/workload-configs", &listed).await;
                ("/v1/workloads".to_owned(), listed)
            }
            "get_workload_configs" => (
                "/v1/workload-configs".to_owned(),
                json!({"workload_type": fresh}),
            ),
            "get_admin_customers" | "get_admin_audit" => {
                ("/v1/admin/customers".to_owned(), json!({"name": fresh}))
            }
            "get_admin_customers_by_customer_id_api_keys" => (
                format!("/v1/admin/customers/{customer}/api-keys"),
                json!({"name": fresh}),
            ),
            "get_admin_workers" => {
                // Before and behind what is there.
                let id = format!("{}-{fresh}", ["a", "z"][self.turn % 2]);
                RawWorker::registered(&self.nats_url, &id, &["nothing"], 1).await;
                return;
            }
            "get_workloads_by_workload_id_logs" => {
                self.lines += 1;
                let line = [fresh.as_str()];
                self.worker.log(&self.workload, 1, self.lines, &line).await;
                return;
            }
            "get_workloads_by_workload_id_audit" => {
                // A wish of which the worker is never told the end, and its contrary.
                let verb = ["pause", "resume"][self.turn % 2];
                client.control(&self.workload, verb).await;
                return;
            }
            _ => panic!("{} is new: say how it grows", operation.id),
        };
        let made = client.post(&path, &body).await;
        assert!(made.status < 300, "{path}: {}", made.text);
    }

    /// Changes a row that was read, where rows change.
    async fn change(&mut self, operation: &Operation, seen: &[String]) {
        let client = self.reader(operation);
        let row = &seen[self.turn % seen.len()];
        match operation.id.as_str() {
            "get_workloads" => {
                let verb = ["pause", "cancel"][self.turn % 2];
                client.control(row, verb).await;
            }
            "get_workload_configs" => {
                let body = json!({"workload_type": self.place.fresh("other")});
                let path = format!("/v1/workload-configs/{row}");
                let body = Some(body.to_string());
                client.send(Method::PUT, &path, &[], body).await.unwrap();
            }
            "get_admin_customers" => {
                let body = Some(json!({"name": self.place.fresh("other")}).to_string());
                let path = format!("/v1/admin/customers/{row}");
                let patched = client.send(Method::PATCH, &path, &[], body).await;
                patched.unwrap().expect(200);
            }
            "get_admin_workers" => {
                let path = format!("/v1/admin/workers/{row}/drain");
                client.post(&path, &json!({})).await.expect(202);
            }
            _ => {}
        }
    }

    /// Removes the row behind which the next page begins, where rows can go.
    async fn remove(&mut self, operation: &Operation, seen: &[String]) -> Option<String> {
        let last = seen.last()?;
        let client = self.reader(operation);
        let path = match operation.id.as_str() {
            "get_workload_configs" => format!("/v1/workload-configs/{last}"),
            "get_admin_workers" => format!("/v1/admin/workers/{last}"),
            _ => return None,
        };
        // Types that are in use stay.
        let removed = client.delete(&path).await.status < 300;
        removed.then(|| last.clone())
    }
}

fn plural(operation: &Operation) -> &'static str {
    match operation.id.as_str() {
        "get_workloads" => "workloads",
        "get_workload_configs" => "workload_configs",
        "get_workloads_by_workload_id_logs" => "logs",
        "get_workloads_by_workload_id_audit" | "get_admin_audit" => "events",
        "get_admin_workers" => "workers",
        "get_admin_customers" => "customers",
        "get_admin_customers_by_customer_id_api_keys" => "api_keys",
        other => panic!("{other} is new: say what it lists"),
    }
}

fn rows(operation: &Operation, page: &Value) -> Vec<String> {
    let rows = page[plural(operation)].as_array().unwrap().iter();
    rows.map(|row| id(operation, row)).collect()
}

/// What tells a row from the others.
fn id(operation: &Operation, row: &Value) -> String {
    let name = match plural(operation) {
        "workloads" => "workload_id",
        "workload_configs" => "config_id",
        "workers" => "worker_id",
        "customers" => "customer_id",
        "api_keys" => "key_id",
        _ => return row["sequence"].to_string(),
    };
    text(&row[name])
}
