//! Scripts on SQLite: one store, as in the one process that it is for, and one statement at a time.

use crate::client::{furnish, perform};
use crate::terms;
use runtime::store::{self, Options, Store};
use sim::conformance::{Observation, Script, Step, Transcript};
use sqlx::{Connection, SqliteConnection};
use std::collections::BTreeMap;
use std::sync::Arc;
use tests::Scratch;

/// One file, and the store on it.
pub(crate) struct File {
    store: Arc<dyn Store>,
    watch: SqliteConnection,
    _folder: Scratch,
}

impl File {
    /// A new file.
    pub(crate) async fn make() -> Self {
        let folder = Scratch::new();
        let url = format!("sqlite://{}", folder.join("conformance.db").display());
        store::migrate(&url, false).await.unwrap();
        let options = Options::new(terms::node(0));
        let store = store::open(&url, &options).await.unwrap();
        furnish(store.as_ref()).await;
        Self {
            store,
            watch: SqliteConnection::connect(&url).await.unwrap(),
            _folder: folder,
        }
    }

    /// Runs a script, in which everything arrives whole, on empty tables.
    pub(crate) async fn run(&mut self, script: &Script) -> Transcript {
        sqlx::raw_sql(EMPTY).execute(&mut self.watch).await.unwrap();
        let mut transcript = Transcript::default();
        for step in script.steps.iter().cloned().chain(Script::endings()) {
            let ended = match step {
                Step::Send { node, op, .. } => {
                    BTreeMap::from([(node, perform(self.store.as_ref(), node, &op).await)])
                }
                Step::GoOn { .. }
                | Step::Cut { .. }
                | Step::Abandon { .. }
                | Step::Cancel { .. } => BTreeMap::new(),
            };
            transcript.seen.push(Observation {
                ended,
                ..Observation::default()
            });
        }
        for query in TABLES {
            let query = sqlx::query_scalar::<_, String>(query);
            let lines = query.fetch_all(&mut self.watch).await.unwrap();
            let lines = lines.iter().map(|line| terms::timeless(line));
            transcript.tables.extend(lines);
        }
        transcript
    }
}

/// What scripts leave behind, taken away.
const EMPTY: &str = "\
delete from workloads; delete from workload_payloads; delete from workload_outcomes;
delete from checkpoints; delete from idempotency; delete from audit; delete from workers;
delete from worker_wishes; delete from admin_audit; delete from hours_submitted;
delete from hours_ended; update customer_submitted set submitted = 0;
update customer_moved set left_queue = 0, running = 0;
update lease set holder = 'none', incarnation = 'none', generation = 0, expires_at = 0,
    resigned = 1, longest_ttl = 0;
update fence set generation = 0, incarnation = 'none', applied_batch = 0;";

/// All rows, as the model tells its own.
const TABLES: [&str; 7] = [
    "select format('lease %s %s expires=%s resigned=%s longest=%s', incarnation, generation,
        expires_at, iif(resigned, 'true', 'false'), longest_ttl) from lease",
    "select format('fence %s %s %s', generation, incarnation, applied_batch) from fence",
    "select format('customer %s submitted=%s left_queue=%s running=%s',
        substr(hex(customer_id), -1), submitted, left_queue, running)
     from customer_submitted join customer_moved using (customer_id) order by customer_id",
    "select format('key %s %s %s', substr(hex(customer_id), -1), key, substr(hex(workload_id), -1))
     from idempotency order by customer_id, key",
    "select line from (
        select w.id as id, 0 as n, format(
            'workload %s customer=%s priority=%s run_after=%s status=%s attempt=%s worker=%s start=%s',
            substr(hex(w.id), -1), substr(hex(customer_id), -1), priority,
            coalesce(run_after, '-'), status, w.attempt, coalesce(worker_id, '-'),
            coalesce(worker_incarnation, '-'))
        || format(
            ' retries=%s losses=%s eligible=%s key=%s backoff=%s seen=%s stopping=%s error=%s',
            retry_count, loss_count, eligible_at, sort_key, coalesce(backoff_until, '-'), wish_seen,
            coalesce(stopping, '-'), coalesce(error_type, '-'))
        || format(
            ' desired=%s revision=%s version=%s checkpoint=%s started=%s result=%s waits=%s',
            desired, wish_revision, version,
            coalesce(checkpoint_attempt || '/' || checkpoint_sequence, '-'),
            coalesce(started_at, '-'),
            coalesce(nullif(max(coalesce(result_attempt, -1), coalesce(error_attempt, -1)), -1), '-'),
            coalesce(pending_code, '-')) as line
        from workloads w left join workload_outcomes o on o.workload_id = w.id
        union all
        select workload_id, sequence, format(
            'audit %s %s %s by=%s attempt=%s generation=%s %s', substr(hex(workload_id), -1),
            sequence, kind, actor_type, attempt, generation, details)
        from audit) order by id, n",
    "select format('worker %s %s %s capacity=%s version=%s longest=%s seen=%s', worker_id,
        incarnation, status, capacity, version, longest_lease, wish_seen)
     from workers order by worker_id",
    "select format('wish %s %s %s deadline=%s', worker_id, desired, wish_revision,
        coalesce(drain_deadline, '-'))
     from worker_wishes order by worker_id",
];
