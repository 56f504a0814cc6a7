//! A database with the coordinators of one cell, and what is true in it.

use super::plants::Plant;
use super::words::{submit, take};
use crate::client::{furnish, perform};
use crate::line::{Fate, Line, Words};
use crate::postgres::EMPTY;
use crate::terms;
use runtime::store::{self, Options, Store};
use sim::conformance::Op;
use sqlx::{Connection, PgConnection};
use std::sync::Arc;
use std::time::Duration;
use tests::{Postgres, until};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// No statement of these coordinators takes longer.
pub(super) const STATEMENT: Duration = Duration::from_millis(2_500);
/// None of them waits longer for a lock.
pub(super) const LOCK: Duration = Duration::from_millis(900);
/// Who needs a lock that a sleeper holds has it after so long: the sleeper must have slept for
/// longer than any statement takes, the try that is under way then must end, and be sent again.
const STATED: Duration = Duration::from_millis(2_500 + 2 * 900);
/// What a machine that has other things to do may add.
const SLACK: Duration = Duration::from_secs(30);
/// What it may add where a wrong variant is meant to fail.
const SLACK_OF_PLANTS: Duration = Duration::from_millis(2_500);
/// What happens at all happens within this.
pub(super) const SOON: Duration = Duration::from_secs(60);

/// A database, and who watches it.
pub(super) struct Bench {
    pub(super) watch: PgConnection,
    url: String,
    port: u16,
    pub(super) plant: Option<Plant>,
    lines: Vec<Arc<Line>>,
}

/// A coordinator: a production store, through a line of its own.
#[derive(Clone)]
pub(super) struct Party {
    pub(super) store: Arc<dyn Store>,
    pub(super) line: Arc<Line>,
    pub(super) number: usize,
}

/// How a coordinator's own clock goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// As everybody's.
    Goes,
    /// It stands, as that of a process that is stopped does: no deadline of its own ever passes.
    /// What it has asked of its sessions on the server holds.
    Stands,
}

/// What the rows say of who has committed what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ledger {
    /// So often has the batch of the first leader landed.
    pub(super) first: i64,
    /// So often has a batch of its successor, or other content of its own.
    pub(super) second: i64,
    /// What the audit has against itself.
    pub(super) audit: Vec<String>,
}

impl Bench {
    pub(super) async fn make(server: &Postgres) -> Self {
        let url = format!("{}?sslmode=disable", server.create_database().await);
        store::migrate(&url, false).await.unwrap();
        let options = Options::new(terms::node(9));
        furnish(store::open(&url, &options).await.unwrap().as_ref()).await;
        Self {
            watch: PgConnection::connect(&url).await.unwrap(),
            url,
            port: server.port(),
            plant: None,
            lines: Vec::new(),
        }
    }

    /// Empty tables and no coordinator.
    pub(super) async fn clear(&mut self, plant: Option<Plant>) {
        self.plant = plant;
        self.lines.clear();
        self.end_sessions("niyanta/%").await;
        sqlx::raw_sql(EMPTY).execute(&mut self.watch).await.unwrap();
    }

    /// Ends every session of that name, and waits until it is gone.
    pub(super) async fn end_sessions(&mut self, name: &str) {
        let watch = &mut self.watch;
        let started = Instant::now();
        loop {
            let query = sqlx::query_scalar::<_, i64>(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity
                 where datname = current_database() and application_name like $1",
            );
            let left = query.bind(name).fetch_one(&mut *watch).await.unwrap();
            if left == 0 {
                return;
            }
            assert!(started.elapsed() < SOON, "{left} sessions do not end");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(super) async fn party(&mut self, number: usize, clock: Clock) -> Party {
        self.party_that_says(number, clock, Words::default()).await
    }

    pub(super) async fn party_that_says(
        &mut self,
        number: usize,
        clock: Clock,
        more: Words,
    ) -> Party {
        let standing = Duration::from_secs(1_000);
        let text = |it: Duration| format!("{}ms", it.as_millis());
        let words = match clock {
            Clock::Goes => Words::default(),
            Clock::Stands => Words::new(&[(&text(standing), &text(STATEMENT))]),
        };
        let planted = self.plant.map_or_else(Words::default, Plant::words);
        let line = Arc::new(Line::with(self.port, words.and(planted).and(more)).await);
        let through = self
            .url
            .replace(&self.port.to_string(), &line.port().to_string());
        let options = Options {
            pool_size: 3,
            statement_timeout: if clock == Clock::Goes {
                STATEMENT
            } else {
                standing
            },
            lock_timeout: LOCK,
            ..Options::new(terms::node(number))
        };
        self.lines.push(Arc::clone(&line));
        Party {
            store: store::open(&through, &options).await.unwrap(),
            line,
            number,
        }
    }

    /// One whose statements wait as long as it takes, on both sides.
    pub(super) async fn patient(&mut self, number: usize, more: Words) -> Party {
        let [lock, statement] =
            [LOCK, STATEMENT].map(|it| format!("_timeout={}ms", it.as_millis()));
        let waits = Words::new(&[
            (&format!("lock{lock}"), "lock_timeout=0"),
            (&format!(" statement{statement}"), " statement_timeout=0"),
        ]);
        self.party_that_says(number, Clock::Stands, waits.and(more))
            .await
    }

    /// Two workloads, one of each customer, and the first term of a leader.
    pub(super) async fn begin(&mut self, leader: usize, is_long: bool) -> Result<(), String> {
        let calm = self.patient(leader, Words::default()).await;
        for customer in [1, 2] {
            let there = format!("there {}", terms::workload(customer).0);
            self.must(&calm, &submit(customer), &there).await?;
        }
        self.must(&calm, &take(None, is_long), "taken 1").await
    }

    /// Whether some coordinator of this cell has said what the plant puts in its mouth.
    pub(super) fn was_planted(&self) -> bool {
        self.lines.iter().any(|line| line.were_all_said())
    }

    /// How long somebody may take who is held up by nobody but sleepers.
    pub(super) fn within(&self) -> Duration {
        let is_planted = self.plant.is_some();
        STATED + if is_planted { SLACK_OF_PLANTS } else { SLACK }
    }

    /// Asks again, as a coordinator does, while it is refused for now. `Err` when that has not
    /// ended within the stated time-outs.
    pub(super) async fn insist(&self, party: &Party, op: &Op) -> Result<String, String> {
        let started = Instant::now();
        loop {
            let outcome = perform(party.store.as_ref(), party.number, op).await;
            if !is_for_now(&outcome) {
                return Ok(outcome);
            }
            if started.elapsed() > self.within() {
                return Err(format!("{op:?} is held up: {outcome}"));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// As [`Self::insist`], and it must come to this.
    pub(super) async fn must(&self, party: &Party, op: &Op, want: &str) -> Result<(), String> {
        let outcome = self.insist(party, op).await?;
        if outcome == want {
            return Ok(());
        }
        Err(format!("{op:?} comes to `{outcome}`, not to `{want}`"))
    }

    /// A connection of somebody who is no coordinator.
    pub(super) async fn stranger(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }

    /// Waits until some session of that name waits behind another.
    pub(super) async fn waits_for_lock(&mut self, number: usize) {
        self.session_that(
            number,
            "cardinality(pg_blocking_pids(pid)) > 0",
            "wait for a lock",
        )
        .await;
    }

    /// Waits until some session of that name has written and not committed, and reads.
    pub(super) async fn has_executed(&mut self, number: usize) {
        let parked = "wait_event = 'ClientRead' and backend_xid is not null";
        self.session_that(number, parked, "be executed").await;
    }

    async fn session_that(&mut self, number: usize, which: &'static str, what: &str) {
        let watch = &mut self.watch;
        let query = format!(
            "select count(*) from pg_stat_activity where datname = current_database()
             and application_name = $1 and {which}"
        );
        let name = format!("niyanta/{}", terms::node(number));
        let started = Instant::now();
        loop {
            let query = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(query.clone()));
            if query.bind(&name).fetch_one(&mut *watch).await.unwrap() > 0 {
                return;
            }
            assert!(started.elapsed() < SOON, "{name} does not {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// What the rows say now.
    pub(super) async fn ledger(&mut self) -> Ledger {
        let landed: Vec<i64> = sqlx::query_scalar(LANDED)
            .fetch_all(&mut self.watch)
            .await
            .unwrap();
        let audit = sqlx::query_scalar(AUDIT).fetch_all(&mut self.watch);
        Ledger {
            first: landed[0],
            second: landed[1],
            audit: audit.await.unwrap(),
        }
    }
}

impl Party {
    /// Begins an operation that stops on its way, and waits until it has.
    pub(super) async fn begin(&self, fate: Fate, op: &Op) -> JoinHandle<String> {
        self.line.arm(fate);
        let (store, number, op) = (Arc::clone(&self.store), self.number, op.clone());
        let work = tokio::spawn(async move { perform(store.as_ref(), number, &op).await });
        let line = &self.line;
        let what = format!("{:?} to stop: {fate:?}", self.number);
        until(&what, SOON, async || {
            let stands = matches!(fate, Fate::Stops(_));
            (line.has_begun() && (!stands || line.is_parked())).then_some(())
        })
        .await;
        work
    }

    /// What stood goes on, and whatever has lost its client comes to its end.
    pub(super) async fn let_go(&self) {
        self.line.go_on();
        let line = &self.line;
        until("orphans to end", SOON, async || {
            (line.orphans() == 0 && !line.is_parked()).then_some(())
        })
        .await;
    }

    pub(super) async fn ask(&self, op: &Op) -> String {
        perform(self.store.as_ref(), self.number, op).await
    }
}

/// Its end, of something that was begun.
pub(super) async fn end(work: JoinHandle<String>) -> Result<String, String> {
    match tokio::time::timeout(SOON, work).await {
        Ok(outcome) => Ok(outcome.unwrap()),
        Err(_) => Err(String::from("what was let go does not end")),
    }
}

fn is_for_now(outcome: &str) -> bool {
    matches!(outcome, "lock timeout" | "unavailable" | "unknown") || outcome.starts_with("lease ")
}

/// Each batch counts its customer's running workloads by one.
const LANDED: &str = "select running from customer_moved order by customer_id";

/// Workloads whose numbers have gaps or doubles, whose row is not what its last event says, and
/// events that are committed in an older term than one before them.
const AUDIT: &str = "\
select format('%s: version %s, events %s', right(w.id::text, 1), w.version,
    (select string_agg(a.sequence::text, ',' order by a.sequence) from audit a
     where a.workload_id = w.id))
from workloads w where (select coalesce(array_agg(a.sequence order by a.sequence), '{}')
        from audit a where a.workload_id = w.id)
    <> (select array_agg(n) from generate_series(1, w.version) n)
union all
select format('%s: event %s of term %s after one of term %s', right(workload_id::text, 1),
    sequence, generation, before)
from (select *, max(generation) over (partition by workload_id order by sequence
        rows between unbounded preceding and 1 preceding) as before from audit) a
where generation > 0 and generation < before
union all
select format('%s: %s without its event', right(w.id::text, 1), w.status)
from workloads w where w.status = 'SCHEDULED' and not exists (select 1 from audit a
    where a.workload_id = w.id and a.kind = 'workload.scheduled' and a.attempt = w.attempt)";
