//! One coordinator, and a customer of its own that has one of everything.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Client, Cluster, RawWorker, until};

use super::asked::{Asked, Who};
use super::document::{Access, Operation};

const SOON: Duration = Duration::from_secs(30);

/// What stands in the paths of requests.
#[derive(Debug, Clone)]
pub(crate) struct Ids {
    pub(crate) workload: String,
    pub(crate) config: String,
    pub(crate) customer: String,
    pub(crate) key: String,
    pub(crate) worker: String,
}

impl Ids {
    /// Of the right form, and nobody's.
    pub(crate) fn of_nobody() -> Self {
        let none = "f".repeat(32);
        Self {
            workload: format!("wl_{none}"),
            config: format!("wlcfg_{none}"),
            customer: format!("cus_{none}"),
            key: format!("key_{none}"),
            worker: "nobody".to_owned(),
        }
    }

    pub(crate) fn fill(&self, path: &str) -> String {
        path.replace("{workload_id}", &self.workload)
            .replace("{config_id}", &self.config)
            .replace("{customer_id}", &self.customer)
            .replace("{key_id}", &self.key)
            .replace("{worker_id}", &self.worker)
    }
}

/// A coordinator and its customer.
pub(crate) struct Place {
    pub(crate) index: usize,
    pub(crate) url: String,
    pub(crate) ids: Ids,
    /// Has nothing, and is not limited.
    pub(crate) other_customer: String,
    nats_url: String,
    anonymous: Client,
    keys: [String; 4],
    completed: String,
    made: AtomicU32,
}

impl Place {
    /// A customer with a workload of each kind, a config, a key and a worker. `sleep` must be run by
    /// somebody, `idle` by nobody.
    pub(crate) async fn new(cluster: &Cluster, index: usize) -> Self {
        let (customer, own) = cluster.new_customer("enterprise", "own").await;
        let (other_customer, other) = cluster.new_customer("free", "other").await;
        let (limited_customer, limited) = cluster.new_customer("free", "limited").await;
        let coordinator = &cluster.coordinators[index];
        let admin = coordinator.client(&cluster.admin_key);
        let once = json!({"limits": {"rate_limit_per_sec": 1, "rate_limit_burst": 1}});
        let path = format!("/v1/admin/customers/{limited_customer}");
        let patched = admin.send(reqwest::Method::PATCH, &path, &[], Some(once.to_string()));
        patched.await.unwrap().expect(200);
        let mut this = Self {
            index,
            url: coordinator.url(),
            ids: Ids {
                customer,
                worker: format!("standing-{index}"),
                ..Ids::of_nobody()
            },
            other_customer,
            nats_url: cluster.nats.url(),
            anonymous: coordinator.anonymous(),
            keys: [own, limited, other, cluster.admin_key.clone()],
            completed: String::new(),
            made: AtomicU32::new(0),
        };
        // A rate is believed for a while.
        let limited = this.client(Who::Limited);
        until("the rate to be in force", SOON, async || {
            let answer = limited.get("/v1/customer").await;
            (answer.status == 429).then_some(())
        })
        .await;
        this.new_config("idle").await;
        this.ids.config = this.new_config("standing").await;
        this.ids.workload = this.new_workload("idle").await;
        this.ids.key = this.new_key().await;
        RawWorker::registered(&this.nats_url, &this.ids.worker, &["nothing"], 1).await;
        let own = this.client(Who::Own);
        this.completed = own.submit("sleep", json!({"seconds": 0})).await;
        own.wait_for(&this.completed, "COMPLETED", SOON).await;
        this
    }

    pub(crate) fn client(&self, who: Who) -> Client {
        match who {
            Who::Nobody => self.anonymous.clone(),
            Who::Own | Who::Limited | Who::Other | Who::Admin => {
                self.anonymous.with_key(self.key(who))
            }
        }
    }

    /// The secret of this key, for requests by hand.
    pub(crate) fn key(&self, who: Who) -> &str {
        match who {
            Who::Nobody => "",
            Who::Own => &self.keys[0],
            Who::Limited => &self.keys[1],
            Who::Other => &self.keys[2],
            Who::Admin => &self.keys[3],
        }
    }

    /// A right request of this operation, for what stands at this place.
    pub(crate) fn ask(&self, operation: &Operation) -> Asked {
        self.ask_for(operation, &self.ids)
    }

    pub(crate) fn ask_for(&self, operation: &Operation, ids: &Ids) -> Asked {
        let who = match operation.access {
            Access::Public => Who::Nobody,
            Access::Customer => Who::Own,
            Access::Admin => Who::Admin,
        };
        let body = operation.has_body.then(|| self.body(&operation.id));
        Asked {
            who,
            method: operation.method.clone(),
            path: ids.fill(&operation.path),
            headers: Vec::new(),
            body: body.map(|body| body.to_string()),
        }
    }

    /// A body that says something.
    fn body(&self, operation: &str) -> Value {
        match operation {
            "post_workloads" => json!({"workload_type": "idle"}),
            "post_workloads_batch" => json!({"workloads": [{"workload_type": "idle"}]}),
            "post_workload_configs" => json!({"workload_type": self.fresh("type")}),
            "put_workload_configs_by_config_id" => json!({"workload_type": self.fresh("type")}),
            "post_admin_customers" => json!({"name": self.fresh("customer")}),
            "patch_admin_customers_by_customer_id" => json!({"name": self.fresh("customer")}),
            "post_admin_customers_by_customer_id_api_keys" => json!({"name": self.fresh("key")}),
            "post_admin_workers_by_worker_id_drain" => json!({"deadline_seconds": 60}),
            "post_admin_workers_by_worker_id_undrain" => json!({}),
            _ if operation.starts_with("post_workloads_by_workload_id_") => {
                json!({"reason": "a test"})
            }
            _ => panic!("{operation} is new: say what it is sent"),
        }
    }

    /// A request that must be answered with this status, which is a success or depends on what is
    /// there; that is brought about first. `None` for a status that no case is known for.
    pub(crate) async fn arranged(&self, operation: &Operation, status: u16) -> Option<Asked> {
        let mut ids = self.ids.clone();
        let verb = operation.id.strip_prefix("post_workloads_by_workload_id_");
        match (operation.id.as_str(), status) {
            (_, 200 | 202 | 409 | 412) if verb.is_some() => {
                ids.workload = self.workload_for(verb?, status).await;
            }
            ("post_workload_configs", 409) => {
                let taken = json!({"workload_type": "idle"});
                return Some(self.ask(operation).body(&taken));
            }
            ("put_workload_configs_by_config_id", 200) => {
                ids.config = self.new_config(&self.fresh("type")).await;
            }
            ("put_workload_configs_by_config_id", 409) => {
                ids.config = self.new_config(&self.fresh("type")).await;
                let taken = json!({"workload_type": "idle"});
                return Some(self.ask_for(operation, &ids).body(&taken));
            }
            ("delete_workload_configs_by_config_id", 204 | 409) => {
                let of = self.fresh("type");
                ids.config = self.new_config(&of).await;
                if status == 409 {
                    self.new_workload(&of).await;
                }
            }
            ("delete_admin_api_keys_by_key_id", 204) => ids.key = self.new_key().await,
            (
                "delete_admin_workers_by_worker_id"
                | "post_admin_workers_by_worker_id_drain"
                | "post_admin_workers_by_worker_id_undrain",
                202,
            ) => {
                ids.worker = self.fresh("worker");
                RawWorker::registered(&self.nats_url, &ids.worker, &["nothing"], 1).await;
            }
            (_, 200..300) => {}
            _ => return None,
        }
        let asked = self.ask_for(operation, &ids);
        Some(match status {
            412 => asked.header("If-Match", "\"99\""),
            _ => asked,
        })
    }

    /// A workload of which this control call is answered so.
    async fn workload_for(&self, verb: &str, status: u16) -> String {
        if status == 409 {
            return self.completed.clone();
        }
        let id = self.new_workload("idle").await;
        let wishes = match (verb, status) {
            ("cancel", 200) => Some(("cancel", "CANCELLED")),
            ("pause", 200) | ("resume", 202) => Some(("pause", "PAUSED")),
            _ => None,
        };
        if let Some((wish, becomes)) = wishes {
            let own = self.client(Who::Own);
            own.control(&id, wish).await.expect(202);
            let is_so = |workload: &Value| workload["status"] == becomes;
            own.wait_until(&id, becomes, SOON, is_so).await;
        }
        id
    }

    pub(crate) async fn new_workload(&self, of: &str) -> String {
        let body = json!({"workload_type": of});
        self.client(Who::Own).submit_body(&body).await
    }

    /// A workload that wrote a line, and has ended.
    pub(crate) async fn talked(&self) -> String {
        let of = self.fresh("talk");
        self.new_config(&of).await;
        let id = self.new_workload(&of).await;
        let worker = self.fresh("talker");
        let mut raw = RawWorker::registered(&self.nats_url, &worker, &[&of], 1).await;
        raw.next_assignment(SOON).await;
        raw.report("workload.started", &id, 1, json!({})).await;
        raw.log(&id, 1, 1, &["hello"]).await;
        raw.report("workload.completed", &id, 1, json!({})).await;
        id
    }

    async fn new_config(&self, of: &str) -> String {
        let body = json!({"workload_type": of});
        let own = self.client(Who::Own);
        let made = own.post("/v1/workload-configs", &body).await;
        text(&made.expect(201)["config_id"])
    }

    async fn new_key(&self) -> String {
        let path = format!("/v1/admin/customers/{}/api-keys", self.ids.customer);
        let made = self.client(Who::Admin).post(&path, &json!({})).await;
        text(&made.expect(201)["key_id"])
    }

    /// A name that nothing has yet.
    pub(crate) fn fresh(&self, kind: &str) -> String {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        format!("{kind}-{}-{number}", self.index)
    }
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
