//! Answers that take a database that fails, hangs or is gone.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use tests::{Answer, Cluster, until};
use tokio::sync::watch;
use tokio::time::sleep;

use super::answers::Seen;
use super::asked::Who;
use super::document::{Access, Document, Operation};
use super::in_doubt::looks_first;
use super::place::Place;
use super::refusals::send;
use super::wire::slowly;

const SOON: Duration = Duration::from_secs(60);
/// Longer than a coordinator believes what it knows of a key or a rate.
const BELIEVED: Duration = Duration::from_millis(5_200);
/// The operation whose items have outcomes of their own.
const BATCH: &str = "post_workloads_batch";
/// How often a frozen database is tried.
const ROUNDS: u32 = 8;

/// The tables are gone, but for that of the keys: the request is let in, and then fails.
pub(crate) async fn failing(
    seen: &mut Seen,
    document: &Document,
    places: &[Place],
    cluster: &Cluster,
) {
    let mut database = PgConnection::connect(&cluster.database_url).await.unwrap();
    let tables = "select tablename from pg_tables where schemaname = 'public'
        and tablename not in ('api_keys', '_sqlx_migrations')";
    let rows = sqlx::query(tables).fetch_all(&mut database).await.unwrap();
    let tables: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(tables.iter().any(|name| name == "workloads"), "{tables:?}");
    let rename = |from: &str, to: &str| {
        let all = tables
            .iter()
            .map(|table| format!("alter table {table}{from} rename to {table}{to};"));
        AssertSqlSafe(format!("begin; {} commit", all.collect::<String>()))
    };
    warm(places).await;
    let away = rename("", "_away");
    sqlx::raw_sql(away).execute(&mut database).await.unwrap();
    ask_all(seen, document, places, 500).await;
    let back = rename("_away", "");
    sqlx::raw_sql(back).execute(&mut database).await.unwrap();
    recovered(cluster).await;
}

/// The server keeps its connections and says nothing any more: what was sent may be done or not. A
/// connection that had been idle is first asked whether it lives, and then nothing was sent, which
/// is 503; so those that found none in use try again.
pub(crate) async fn frozen(
    seen: &mut Seen,
    document: &Document,
    places: &[Place],
    cluster: &Cluster,
) {
    let mut open = all(document, places, 504);
    for _ in 0..ROUNDS {
        let (tell, told) = watch::channel(false);
        let (batches, others): (Vec<_>, Vec<_>) = open
            .iter()
            .copied()
            .partition(|(operation, _)| operation.id == BATCH);
        let slow = batches.iter().map(|&(operation, place)| {
            let mut told = told.clone();
            async move {
                let frozen = async move { drop(told.wait_for(|frozen| *frozen).await) };
                let answer = slow_batch(place, operation, frozen).await;
                (operation, place, answer)
            }
        });
        let freezing = async {
            sleep(BELIEVED).await;
            // A few more than are needed: the coordinator has questions of its own.
            let each = open.len().div_ceil(places.len()) + 4;
            open_connections(places, each, &cluster.database_url).await;
            cluster.postgres.freeze();
            tell.send_replace(true);
            ask(&others, 504).await
        };
        let (slow, mut answers) = tokio::join!(join_all(slow), freezing);
        answers.extend(slow);
        cluster.postgres.thaw();
        recovered(cluster).await;
        open.clear();
        for (operation, place, answer) in answers {
            // A batch says it of each item.
            let item = answer.body["results"][0]["status"].as_u64();
            assert!(
                [503, 504].contains(&answer.status) || matches!(item, Some(503 | 504)),
                "{}",
                answer.text
            );
            seen.note(operation, place, &answer);
            if answer.status != 504 {
                open.push((operation, place));
            }
        }
        if open.is_empty() {
            return;
        }
    }
    let ids = open
        .iter()
        .map(|(operation, place)| (&operation.id, place.index));
    panic!("never in doubt: {:?}", ids.collect::<Vec<_>>());
}

/// Nothing can be asked, so nothing is done.
pub(crate) async fn down(
    seen: &mut Seen,
    document: &Document,
    places: &[Place],
    cluster: &mut Cluster,
) {
    cluster.postgres.stop().await;
    for coordinator in &cluster.coordinators {
        until("readiness to fail", SOON, async || {
            let ready = coordinator.readiness().await?;
            (ready["healthy"] == false).then_some(())
        })
        .await;
    }
    ask_all(seen, document, places, 503).await;
    cluster.postgres.start_again().await;
    recovered(cluster).await;
}

/// Asks every operation that can answer so, everywhere at once.
async fn ask_all(seen: &mut Seen, document: &Document, places: &[Place], status: u16) {
    for (operation, place, answer) in ask(&all(document, places, status), status).await {
        assert_eq!(answer.status, status, "{}: {}", operation.id, answer.text);
        let is_probe = operation.access == Access::Public;
        let is_problem = answer.body["code"].is_string();
        assert!(is_probe || is_problem, "{}", answer.text);
        seen.note(operation, place, &answer);
    }
}

/// Every operation that can answer so, everywhere.
fn all<'a>(
    document: &'a Document,
    places: &'a [Place],
    status: u16,
) -> Vec<(&'a Operation, &'a Place)> {
    let can = |operation: &&Operation| {
        operation.statuses().any(|it| it == status) && !(status == 504 && looks_first(operation))
    };
    let of_place = |place| {
        let operations = document.operations.iter().filter(can);
        operations.map(move |operation| (operation, place))
    };
    places.iter().flat_map(of_place).collect()
}

/// Asks all of these at once.
async fn ask<'a>(
    these: &[(&'a Operation, &'a Place)],
    status: u16,
) -> Vec<(&'a Operation, &'a Place, Answer)> {
    let asked = these.iter().map(|&(operation, place)| async move {
        let answer = match (operation.id.as_str(), status) {
            (BATCH, 500) => failing_batch(place, operation).await,
            _ => send(place, operation, &place.ask(operation)).await,
        };
        (operation, place, answer)
    });
    join_all(asked).await
}

/// A batch is answered item by item, each with a status of its own; as a whole it fails only when
/// even the rate of its customer cannot be found out.
async fn failing_batch(place: &Place, operation: &Operation) -> Answer {
    let asked = place.ask(operation);
    until("the rate to be asked for again", SOON, async || {
        let answer = send(place, operation, &asked).await;
        let items = answer.body["results"].as_array();
        let all_fail = items.is_none_or(|items| items[0]["status"] == 500);
        assert!(all_fail, "{}", answer.text);
        (answer.status == 500).then_some(answer)
    })
    .await
}

/// And it is in doubt as a whole only when its body used up a part of the time of its items.
async fn slow_batch(
    place: &Place,
    operation: &Operation,
    frozen: impl Future<Output = ()>,
) -> Answer {
    let asked = place.ask(operation);
    let answer = slowly(&place.url, &asked, place.key(asked.who), frozen).await;
    operation.check(&answer);
    answer
}

/// Every coordinator has just asked for keys and rates, and believes them for a while: what it
/// believed before is too old first, which nothing shows.
async fn warm(places: &[Place]) {
    sleep(BELIEVED).await;
    for place in places {
        place.client(Who::Own).get("/v1/customer").await.expect(200);
        let admin = place.client(Who::Admin);
        admin.get("/v1/admin/coordinators").await.expect(200);
    }
}

/// Makes every coordinator open as many connections to the database as mutations are to wait at
/// once: so many reads stand behind a lock that each needs one of its own.
async fn open_connections(places: &[Place], each: usize, url: &str) {
    let mut locker = PgConnection::connect(url).await.unwrap();
    let mut looker = PgConnection::connect(url).await.unwrap();
    let mut lock = locker.begin().await.unwrap();
    sqlx::query("lock table workload_configs in access exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    let reads = places.iter().flat_map(|place| {
        (0..each).map(|_| async {
            // The operators' key is to be known, too.
            let admin = place.client(Who::Admin);
            admin.get("/v1/admin/coordinators").await.expect(200);
            let client = place.client(Who::Own);
            client.get("/v1/workload-configs").await
        })
    });
    let released = async {
        until("all reads to wait", SOON, async || {
            let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
            let row = sqlx::query(waiting).fetch_one(&mut looker).await.unwrap();
            let waiting = usize::try_from(row.get::<i64, _>(0)).unwrap();
            (waiting >= each * places.len()).then_some(())
        })
        .await;
        lock.rollback().await.unwrap();
    };
    let (answers, ()) = tokio::join!(join_all(reads), released);
    let statuses: BTreeSet<u16> = answers
        .iter()
        .map(|answer: &Answer| answer.status)
        .collect();
    assert_eq!(statuses, BTreeSet::from([200]));
}

/// All are ready again, and one leads.
pub(crate) async fn recovered(cluster: &Cluster) {
    until("a leader, and all to be ready", SOON, async || {
        let mut leaders = 0;
        for coordinator in &cluster.coordinators {
            let ready: Value = coordinator.readiness().await?;
            if ready["healthy"] != true {
                return None;
            }
            leaders += u8::from(ready["is_leader"] == true);
        }
        (leaders == 1).then_some(())
    })
    .await;
}
