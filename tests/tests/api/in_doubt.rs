//! Changes that are made upon what was seen, in doubt: the look passes, the write waits for a lock,
//! and then the database says nothing any more.

use std::time::Duration;

use futures::future::join_all;
use sqlx::{Connection as _, PgConnection, Row as _};
use tests::{Answer, Cluster};
use tokio::time::{Instant, sleep};

use super::answers::Seen;
use super::asked::Asked;
use super::document::{Document, Operation};
use super::outages::recovered;
use super::place::Place;
use super::refusals::send;

/// How often it is tried: a write that waits too long for the lock is certainly not done (503).
const ROUNDS: u32 = 8;
/// Within the time that a statement waits for a lock.
const WAITING: Duration = Duration::from_millis(1_800);

/// Such an operation reads what it is made upon first. While a database hangs that read has no
/// answer, and then nothing was sent, which is 503: so its doubt is brought about here.
pub(crate) fn looks_first(operation: &Operation) -> bool {
    [
        "delete_admin_workers_by_worker_id",
        "patch_admin_customers_by_customer_id",
        "post_admin_workers_by_worker_id_drain",
        "post_admin_workers_by_worker_id_undrain",
        "post_workload_configs",
        "post_workloads_by_workload_id_cancel",
        "post_workloads_by_workload_id_pause",
        "post_workloads_by_workload_id_resume",
        "put_workload_configs_by_config_id",
    ]
    .contains(&operation.id.as_str())
}

/// Every one of them, everywhere.
pub(crate) async fn behind_a_lock(
    seen: &mut Seen,
    document: &Document,
    places: &[Place],
    cluster: &Cluster,
) {
    let operations = || document.operations.iter().filter(|it| looks_first(it));
    assert_eq!(operations().count(), 9);
    let mut open: Vec<(&Operation, &Place)> = places
        .iter()
        .flat_map(|place| operations().map(move |operation| (operation, place)))
        .collect();
    for _ in 0..ROUNDS {
        let arranged = open.iter().map(|&(operation, place)| async move {
            let success = operation.statuses().filter(|it| *it < 300).max();
            let asked = place.arranged(operation, success.unwrap()).await;
            (operation, place, asked.unwrap())
        });
        let answers = frozen_while_waiting(join_all(arranged).await, cluster).await;
        recovered(cluster).await;
        open.clear();
        for (operation, place, answer) in answers {
            assert!([503, 504].contains(&answer.status), "{answer:?}");
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

/// Sends all of these while a stranger holds what they write, and freezes the database once they
/// wait for it.
async fn frozen_while_waiting<'a>(
    these: Vec<(&'a Operation, &'a Place, Asked)>,
    cluster: &Cluster,
) -> Vec<(&'a Operation, &'a Place, Answer)> {
    let url = &cluster.database_url;
    let mut locker = PgConnection::connect(url).await.unwrap();
    let mut looker = PgConnection::connect(url).await.unwrap();
    let mut lock = locker.begin().await.unwrap();
    // Whoever only reads goes on.
    let all = "lock table workloads, workload_configs, worker_wishes, customers in share mode";
    sqlx::query(all).execute(&mut *lock).await.unwrap();
    let wanted = these.len();
    let asked = these
        .into_iter()
        .map(|(operation, place, asked)| async move {
            let answer = send(place, operation, &asked).await;
            (operation, place, answer)
        });
    let freezing = async {
        let end = Instant::now() + WAITING;
        while waiting(&mut looker).await < wanted && Instant::now() < end {
            sleep(Duration::from_millis(10)).await;
        }
        cluster.postgres.freeze();
    };
    let (answers, ()) = tokio::join!(join_all(asked), freezing);
    cluster.postgres.thaw();
    lock.rollback().await.unwrap();
    answers
}

/// How many of these writes wait for a lock.
async fn waiting(looker: &mut PgConnection) -> usize {
    let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query ~
        'update workloads set desired|insert into worker_wishes|insert into workload_configs|update \
         workload_configs set|update customers set name'";
    let row = sqlx::query(waiting).fetch_one(looker).await.unwrap();
    usize::try_from(row.get::<i64, _>(0)).unwrap()
}
