//! Scripts on a real Postgres: each client a production store with connections of its own.
//!
//! Nothing here waits for time to pass. A step is over when every connection that is not idle
//! either waits for a lock, as `pg_blocking_pids` has it, behind somebody who is parked, or is
//! parked itself: its `Sync` is held back on the [`Line`], or it is a stranger's open transaction.

use crate::client::{furnish, perform};
use crate::line::Line;
use crate::terms;
use runtime::store::{self, Options, Store};
use sim::conformance::{CUSTOMERS, Held, How, NODES, Observation, Op, Script, Step, Transcript};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tests::Postgres;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// A step that takes longer has gone wrong.
const STEP_WITHIN: Duration = Duration::from_secs(30);

/// One database, and the clients of a script.
pub(crate) struct Database {
    nodes: Vec<Node>,
    watch: PgConnection,
    url: String,
    seen: Observation,
    /// What is running, for whoever looks for what went wrong.
    script: String,
    _server: Postgres,
}

struct Node {
    store: Arc<dyn Store>,
    line: Line,
    work: Option<JoinHandle<String>>,
    /// The stranger's transaction: told to commit, or dropped.
    stranger: Option<oneshot::Sender<()>>,
    /// Backends whose statements this client has lost.
    orphans: Vec<i32>,
}

/// A connection that is not idle.
#[derive(Debug, Clone, sqlx::FromRow)]
struct Backend {
    pid: i32,
    name: String,
    is_open: bool,
    reads: bool,
    blocked_by: Vec<i32>,
}

impl Database {
    /// An empty database on a server of its own.
    pub(crate) async fn start() -> Self {
        let server = Postgres::start().await;
        let url = server.create_database().await;
        store::migrate(&url, false).await.unwrap();
        let mut watch = PgConnection::connect(&url).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!(
            "alter database {} set deadlock_timeout = '30ms'",
            url.rsplit('/').next().unwrap()
        )))
        .execute(&mut watch)
        .await
        .unwrap();
        let mut nodes = Vec::new();
        for number in 0..NODES {
            nodes.push(Node::new(number, &url, server.port()).await);
        }
        furnish(nodes[0].store.as_ref()).await;
        Self {
            nodes,
            watch,
            url,
            seen: Observation::default(),
            script: String::new(),
            _server: server,
        }
    }

    /// Runs a script on empty tables.
    pub(crate) async fn run(&mut self, script: &Script) -> Transcript {
        self.script = script.to_string();
        sqlx::raw_sql(EMPTY).execute(&mut self.watch).await.unwrap();
        let mut transcript = Transcript::default();
        for step in script.steps.iter().cloned().chain(Script::endings()) {
            self.take(&step).await;
            let seen = self.settle().await;
            self.seen = seen.clone();
            transcript.seen.push(seen);
        }
        transcript.tables = self.tables().await;
        transcript
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Send { node, how, op } => self.send(*node, *how, op),
            Step::GoOn { node } if self.is_parked(*node) => {
                let node = &mut self.nodes[*node];
                match node.stranger.take() {
                    Some(stranger) => stranger.send(()).unwrap(),
                    None => node.line.go_on(),
                }
            }
            Step::Cut { node } if self.is_parked(*node) => {
                let node = &mut self.nodes[*node];
                match node.stranger.take() {
                    Some(stranger) => drop(stranger),
                    None => node.line.cut(),
                }
            }
            Step::Cut { node } if self.is_waiting(*node) => {
                self.signal(*node, "select pg_terminate_backend($1)").await;
            }
            Step::Cancel { node } if self.is_waiting(*node) => {
                self.signal(*node, "select pg_cancel_backend($1)").await;
            }
            Step::Abandon { node }
                if self.is_waiting(*node) && self.nodes[*node].stranger.is_none() =>
            {
                let pid = self.backend_of(*node).await;
                self.nodes[*node].orphans.push(pid);
                self.nodes[*node].line.abandon();
            }
            Step::GoOn { .. } | Step::Cut { .. } | Step::Cancel { .. } | Step::Abandon { .. } => {}
        }
    }

    fn is_parked(&self, node: usize) -> bool {
        self.seen.parked.contains(&node)
    }

    fn is_waiting(&self, node: usize) -> bool {
        self.seen.waiting.contains(&node)
    }

    fn send(&mut self, number: usize, how: How, op: &Op) {
        let url = self.url.clone();
        let node = &mut self.nodes[number];
        if node.work.is_some() {
            return;
        }
        if let Op::Hold(rows) = op {
            let (sender, told) = oneshot::channel();
            node.stranger = Some(sender);
            node.work = Some(tokio::spawn(hold(url, number, rows.clone(), told)));
            return;
        }
        node.line.arm(how);
        let (store, op) = (Arc::clone(&node.store), op.clone());
        node.work = Some(tokio::spawn(async move {
            perform(store.as_ref(), number, &op).await
        }));
    }

    /// The backend of a client's statement that waits.
    async fn backend_of(&mut self, node: usize) -> i32 {
        let backends = self.backends().await;
        let orphans = &self.nodes[node].orphans;
        let own = backends.iter().find(|backend| {
            backend.is_of(node) && !backend.blocked_by.is_empty() && !orphans.contains(&backend.pid)
        });
        own.expect("a statement that waits has a backend").pid
    }

    async fn signal(&mut self, node: usize, how: &'static str) {
        let pid = self.backend_of(node).await;
        let query = sqlx::query(how).bind(pid);
        query.execute(&mut self.watch).await.unwrap();
    }

    async fn backends(&mut self) -> Vec<Backend> {
        let query = sqlx::query_as(BACKENDS);
        query.fetch_all(&mut self.watch).await.unwrap()
    }

    /// Waits until nobody can go on alone, and says what can be seen then.
    async fn settle(&mut self) -> Observation {
        let started = Instant::now();
        let mut ended = BTreeMap::new();
        let mut before = None;
        loop {
            for (number, node) in self.nodes.iter_mut().enumerate() {
                if let Some(outcome) = node.ended().await {
                    ended.insert(number, outcome);
                }
            }
            let backends = self.backends().await;
            let now = self.quiet(&backends);
            let is_sure = now == before || backends.is_empty();
            if let Some((waiting, parked)) = now.clone().filter(|_| is_sure) {
                return Observation {
                    ended,
                    waiting,
                    parked,
                };
            }
            before = now;
            assert!(
                started.elapsed() < STEP_WITHIN,
                "a step does not come to rest: {backends:?}\n{}",
                self.script
            );
        }
    }

    /// Who waits and who is parked, if nobody can go on alone.
    fn quiet(&self, backends: &[Backend]) -> Option<(Vec<usize>, Vec<usize>)> {
        let (mut waiting, mut parked) = (Vec::new(), Vec::new());
        let mut held: BTreeSet<i32> = BTreeSet::new();
        for (number, node) in self.nodes.iter().enumerate() {
            let mut own = backends.iter().filter(|backend| backend.is_of(number));
            let expected = usize::from(node.work.is_some()) + node.line.orphans();
            if own.clone().count() != expected {
                return None;
            }
            if node.work.is_none() {
                continue;
            }
            let current = own.find(|backend| !node.orphans.contains(&backend.pid))?;
            let is_parked = if node.stranger.is_some() {
                current.is_open
            } else {
                current.reads && node.line.is_parked()
            };
            if !current.blocked_by.is_empty() {
                waiting.push(number);
            } else if is_parked {
                held.insert(current.pid);
                parked.push(number);
            } else {
                return None;
            }
        }
        // Everybody else waits for one who is parked, or for one who does.
        let mut rest: Vec<&Backend> = backends
            .iter()
            .filter(|backend| !held.contains(&backend.pid))
            .collect();
        while let Some(at) = rest
            .iter()
            .position(|backend| backend.blocked_by.iter().any(|pid| held.contains(pid)))
        {
            held.insert(rest.swap_remove(at).pid);
        }
        rest.is_empty().then_some((waiting, parked))
    }

    async fn tables(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for query in TABLES {
            let query = sqlx::query_scalar::<_, String>(query);
            lines.extend(query.fetch_all(&mut self.watch).await.unwrap());
        }
        lines.iter().map(|line| terms::timeless(line)).collect()
    }
}

impl Node {
    async fn new(number: usize, url: &str, server: u16) -> Self {
        let line = Line::to(server).await;
        let through = url.replace(&server.to_string(), &line.port().to_string());
        let options = Options {
            pool_size: 2,
            statement_timeout: Duration::from_secs(100),
            lock_timeout: Duration::from_secs(100),
            ..Options::new(terms::node(number))
        };
        let through = format!("{through}?sslmode=disable");
        Self {
            store: store::open(&through, &options).await.unwrap(),
            line,
            work: None,
            stranger: None,
            orphans: Vec::new(),
        }
    }

    /// What its operation came to, if it has ended.
    async fn ended(&mut self) -> Option<String> {
        let work = self.work.as_mut()?;
        let outcome = timeout(LOOK, work).await.ok()?.unwrap();
        (self.work, self.stranger) = (None, None);
        self.line.arm(How::Whole);
        if self.line.orphans() == 0 {
            self.orphans.clear();
        }
        Some(outcome)
    }
}

/// A look at an operation under way. Who is not done is looked at again.
const LOOK: Duration = Duration::from_millis(1);

impl Backend {
    /// Whether it is a connection of this client, or of the stranger in its place.
    fn is_of(&self, node: usize) -> bool {
        let name = terms::node(node);
        self.name.rsplit('/').next() == Some(name.as_str())
    }
}

/// Locks rows in a transaction that stays open until its end is told, or nobody can tell it.
async fn hold(url: String, node: usize, rows: Vec<Held>, told: oneshot::Receiver<()>) -> String {
    let name = format!("stranger/{}", terms::node(node));
    let url = format!("{url}?sslmode=disable&application_name={name}");
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let worked = async {
        // One message: between two it would look as if it held all that it is to hold.
        let locks: Vec<String> = rows.into_iter().map(lock_of).collect();
        let locks = AssertSqlSafe(format!("begin; {}", locks.join("; ")));
        sqlx::raw_sql(locks).execute(&mut connection).await?;
        if told.await.is_err() {
            return Ok("cut");
        }
        sqlx::raw_sql("commit").execute(&mut connection).await?;
        Ok::<_, sqlx::Error>("released")
    };
    let outcome = match worked.await {
        Ok(outcome) => outcome,
        Err(error) => match error.as_database_error().and_then(|error| error.code()) {
            Some(code) if code == "40P01" => "deadlock",
            Some(code) if code == "57014" => "cancelled",
            _ => "cut",
        },
    };
    drop(connection);
    outcome.to_owned()
}

fn lock_of(row: Held) -> String {
    let (table, key) = match row {
        Held::Lease => ("lease", String::from("id = 1")),
        Held::Fence => ("fence", String::from("id = 1")),
        Held::Workload(id) => ("workloads", format!("id = '{}'", uuid(id))),
        Held::Worker(id) => ("workers", format!("worker_id = '{}'", terms::worker(id))),
        Held::WorkerWish(id) => (
            "worker_wishes",
            format!("worker_id = '{}'", terms::worker(id)),
        ),
        Held::Submitted(id) => (
            "customer_submitted",
            format!("customer_id = '{}'", uuid(id)),
        ),
        Held::Moved(id) => ("customer_moved", format!("customer_id = '{}'", uuid(id))),
        Held::AdminAudit => ("admin_audit_head", String::from("id = 1")),
    };
    format!("select 1 from {table} where {key} for update")
}

fn uuid(number: u8) -> String {
    uuid::Uuid::from_u128(number.into()).to_string()
}

/// Every connection of a client or a stranger that is not idle.
const BACKENDS: &str = "\
select pid, application_name as name, state = 'idle in transaction' as is_open,
    state = 'active' and wait_event is not distinct from 'ClientRead'
        and xact_start is not null as reads, pg_blocking_pids(pid) as blocked_by
from pg_stat_activity
where datname = current_database() and backend_type = 'client backend'
    and application_name like '%/n%' and state <> 'idle'";

/// What scripts leave behind, taken away.
pub(crate) const EMPTY: &str = "\
delete from workloads; delete from workload_payloads; delete from workload_outcomes;
delete from checkpoints; delete from idempotency; delete from audit; delete from workers;
delete from worker_wishes; delete from admin_audit; delete from hours_submitted;
delete from hours_ended; update customer_submitted set submitted = 0;
update customer_moved set left_queue = 0, running = 0; update admin_audit_head set last = 0;
update lease set holder = 'none', incarnation = 'none', generation = 0, expires_at = 'epoch',
    resigned = true, longest_ttl = 0;
update fence set generation = 0, incarnation = 'none', applied_batch = 0;";

/// All rows, as the model tells its own.
const TABLES: [&str; 7] = [
    "select format('lease %s %s expires=%s resigned=%s longest=%s', incarnation, generation,
        (extract(epoch from expires_at) * 1000000)::bigint, resigned::text, longest_ttl) from lease",
    "select format('fence %s %s %s', generation, incarnation, applied_batch) from fence",
    "select format('customer %s submitted=%s left_queue=%s running=%s',
        right(customer_id::text, 1), submitted, left_queue, running)
     from customer_submitted join customer_moved using (customer_id) order by customer_id",
    "select format('key %s %s %s', right(customer_id::text, 1), key, right(workload_id::text, 1))
     from idempotency order by customer_id, key",
    "select line from (
        select w.id, 0 as n, format(
            'workload %s customer=%s priority=%s run_after=%s status=%s attempt=%s worker=%s start=%s',
            right(w.id::text, 1), right(customer_id::text, 1), priority,
            coalesce((extract(epoch from run_after) * 1000000)::bigint::text, '-'), status,
            w.attempt, coalesce(worker_id, '-'), coalesce(worker_incarnation, '-'))
        || format(
            ' retries=%s losses=%s eligible=%s key=%s backoff=%s seen=%s stopping=%s error=%s',
            retry_count, loss_count, (extract(epoch from eligible_at) * 1000000)::bigint, sort_key,
            coalesce((extract(epoch from backoff_until) * 1000000)::bigint::text, '-'), wish_seen,
            coalesce(stopping, '-'), coalesce(error_type, '-'))
        || format(
            ' desired=%s revision=%s version=%s checkpoint=%s started=%s result=%s waits=%s',
            desired, wish_revision, version,
            coalesce(checkpoint_attempt || '/' || checkpoint_sequence, '-'),
            coalesce((extract(epoch from started_at) * 1000000)::bigint::text, '-'),
            coalesce(greatest(result_attempt, error_attempt)::text, '-'),
            coalesce(pending_code, '-')) as line
        from workloads w left join workload_outcomes o on o.workload_id = w.id
        union all
        select workload_id, sequence, format(
            'audit %s %s %s by=%s attempt=%s generation=%s %s', right(workload_id::text, 1),
            sequence, kind, actor_type, attempt, generation, details)
        from audit) rows order by id, n",
    "select format('worker %s %s %s capacity=%s version=%s longest=%s seen=%s', worker_id,
        incarnation, status, capacity, version, longest_lease, wish_seen)
     from workers order by worker_id",
    "select format('wish %s %s %s deadline=%s', worker_id, desired, wish_revision,
        coalesce((extract(epoch from drain_deadline) * 1000000)::bigint::text, '-'))
     from worker_wishes order by worker_id",
];

const _: () = assert!(CUSTOMERS < 10, "ids are told by their last digit");
