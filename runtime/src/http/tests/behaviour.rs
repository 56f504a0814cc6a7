//! Every route over a real store: what one call does to the next. No leader runs, so nothing here
//! is ever scheduled.

use super::*;
use crate::store::{self, AdminActor, Commit, KeyRecord, LeaseAnswer, TakeLease};
use niyanta_core::{
    batch::{Batch, WorkerWrite, WorkloadWrite},
    ids::{BatchNumber, Generation, Incarnation},
};
use tempfile::TempDir;

/// An API over SQLite, with an admin key.
struct Live {
    state: ApiState,
    admin: String,
    _status: watch::Sender<NodeStatus>,
    _folder: TempDir,
}

/// A customer with a key.
struct Tenant {
    id: String,
    secret: String,
}

impl Live {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("niyanta.db").display());
        store::migrate(&url, false).await.unwrap();
        let options = store::Options::new("behaviour".parse().unwrap());
        let store = store::open(&url, &options).await.unwrap();
        let new = new_key();
        let record = KeyRecord {
            id: new.id,
            customer: None,
            name: "admin".to_owned(),
            prefix: new.prefix,
            secret_hash: new.secret_hash,
            expires_at: None,
        };
        store
            .create_key(&record, &AdminActor::CommandLine)
            .await
            .unwrap()
            .unwrap();
        let (status, receiver) = watch::channel(NodeStatus::starting(Instant::now()));
        let metrics = crate::metrics::install().unwrap();
        let state = ApiState::new(
            store,
            Arc::new(NoHints),
            receiver,
            metrics,
            Arc::new(SystemAmbient),
        );
        Self {
            state,
            admin: new.secret.expose().to_owned(),
            _status: status,
            _folder: folder,
        }
    }

    async fn ask(&self, secret: &str, method: &str, uri: &str, body: Option<Json>) -> Answer {
        let mut request = request(method, uri, secret);
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        send(&self.state, request.body(body).unwrap()).await
    }

    async fn operate(&self, method: &str, uri: &str, body: Option<Json>) -> Answer {
        self.ask(&self.admin, method, uri, body).await
    }

    /// A customer whose rate is not what the test is about, unless the body says otherwise.
    async fn tenant(&self, mut body: Json) -> Tenant {
        if body["tier"].is_null() {
            body["tier"] = json!("enterprise");
        }
        let created = self
            .operate("POST", "/v1/admin/customers", Some(body))
            .await;
        let id = created.is(201)["customer_id"].as_str().unwrap().to_owned();
        let uri = format!("/v1/admin/customers/{id}/api-keys");
        let key = self.operate("POST", &uri, None).await.is(201);
        let secret = key["secret"].as_str().unwrap().to_owned();
        let tenant = Tenant { id, secret };
        let config = json!({"workload_type": "sleep", "max_retries": 7});
        self.ask(&tenant.secret, "POST", "/v1/workload-configs", Some(config))
            .await
            .is(201);
        tenant
    }

    async fn submit(&self, tenant: &Tenant, body: Json) -> Json {
        self.ask(&tenant.secret, "POST", "/v1/workloads", Some(body))
            .await
            .is(202)
    }
}

impl Answer {
    /// The body, of this status.
    fn is(&self, status: u16) -> Json {
        assert_eq!(self.status, status, "{self:?}");
        if self.text.is_empty() {
            Json::Null
        } else {
            self.json()
        }
    }
}

fn text(json: &Json, name: &str) -> String {
    json[name].as_str().unwrap().to_owned()
}

fn names(json: &Json) -> Vec<&str> {
    json.as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

fn sleep_body() -> Json {
    json!({"workload_type": "sleep"})
}

/// Leads for one commit.
async fn commit(live: &Live, workloads: Vec<WorkloadWrite>, workers: Vec<WorkerWrite>) {
    let incarnation: Incarnation = "leader".parse().unwrap();
    let ask = TakeLease {
        holder: "leader".to_owned(),
        incarnation: incarnation.clone(),
        above: Generation::ZERO,
        own: None,
        force: true,
        ttl: Duration::from_secs(10),
    };
    let LeaseAnswer::Taken(generation) = live.state.store.take_lease(ask).await.unwrap().value
    else {
        panic!("the lease was not given");
    };
    let batch = Batch {
        generation,
        incarnation,
        number: BatchNumber(1),
        workloads,
        workers,
        counters: Vec::new(),
    };
    assert_eq!(
        live.state.store.commit(&Arc::new(batch)).await.unwrap(),
        Commit::Applied
    );
}

mod operators;
mod tenants;
mod workloads;
