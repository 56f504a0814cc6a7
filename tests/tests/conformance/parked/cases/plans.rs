//! A commit that waits for the row that a takeover has changed, whichever plan it has.

use super::super::bench::{Bench, end};
use super::super::ways::check;
use super::super::words::{Content, batch_words, take};
use super::begin;
use crate::line::{Fate, Point, Words};
use crate::terms;
use niyanta_core::{batch::Batch, ids::WorkloadId};
use runtime::store::{Commit, StoreError};
use std::sync::Arc;

/// How the planner is led.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Plan {
    AsSet,
    Custom,
    NoNestedLoops,
    HashOnly,
    NoIndex,
    NoMaterial,
}

/// What the leader's commit sessions ask for.
const HASH: &str = "enable_hashjoin=off";
const MERGE: &str = "enable_mergejoin=off";

impl Plan {
    /// What the leader's commit sessions are told in place of what they ask for.
    fn words(self) -> Words {
        Words::new(match self {
            Self::AsSet => &[],
            Self::Custom => &[("force_generic_plan", "force_custom_plan")],
            Self::NoNestedLoops => &[
                (HASH, "enable_nestloop=off"),
                (MERGE, "enable_hashjoin=off"),
            ],
            Self::HashOnly => &[(HASH, "enable_nestloop=off")],
            Self::NoIndex => &[
                (HASH, "enable_indexscan=off"),
                (MERGE, "enable_bitmapscan=off"),
            ],
            Self::NoMaterial => &[(HASH, "enable_material=off"), (MERGE, "enable_sort=off")],
        })
    }
}

pub(super) async fn waits_for_takeover(
    bench: &mut Bench,
    plan: Plan,
    rows: u64,
    is_lost: bool,
) -> Result<(), String> {
    let leader = bench.patient(0, plan.words()).await;
    let next = bench.patient(1, Words::default()).await;
    begin(bench, &leader).await?;
    let commit = Arc::new(wide(bench, rows).await);
    let takeover = next
        .begin(Fate::Stops(Point::BeforeSync), &take(None, true))
        .await;
    bench.has_executed(1).await;
    let (store, sent) = (Arc::clone(&leader.store), Arc::clone(&commit));
    let waiting = tokio::spawn(async move { told(store.commit(&sent).await) });
    bench.waits_for_lock(0).await;
    if is_lost {
        next.line.cut();
    } else {
        next.line.go_on();
    }
    let taken = end(takeover).await?;
    let outcome = end(waiting).await?;
    let (term, wanted) = if is_lost {
        ("unknown", "Applied")
    } else {
        ("taken 2", "NotApplied")
    };
    check(taken == term, || format!("the takeover comes to {taken}"))?;
    check(outcome == wanted, || {
        format!("the commit comes to {outcome}")
    })?;
    check(
        is_lost || plan == Plan::AsSet || leader.line.were_all_said(),
        || String::from("the planner was not led"),
    )?;
    let moved: i64 = sqlx::query_scalar(
        "select (select count(*) from workloads where status = 'SCHEDULED')
            + (select count(*) from audit where kind = 'workload.scheduled')",
    )
    .fetch_one(&mut bench.watch)
    .await
    .unwrap();
    let wanted = if is_lost { 2 * rows } else { 0 };
    check(u64::try_from(moved) == Ok(wanted), || {
        format!("{moved} rows are written")
    })
}

/// A batch that gives so many workloads of the first customer to a worker, and the workloads.
async fn wide(bench: &mut Bench, rows: u64) -> Batch {
    sqlx::query(
        "insert into workloads select made.* from workloads w, generate_series(1000, 998 + $1) n,
            jsonb_populate_record(w, jsonb_build_object('id', lpad(n::text, 32, '0')::uuid)) made
         where w.id = $2",
    )
    .bind(i64::try_from(rows).unwrap())
    .bind(uuid::Uuid::from_u128(1))
    .execute(&mut bench.watch)
    .await
    .unwrap();
    sqlx::query(
        "insert into audit select made.* from audit a, workloads w,
            jsonb_populate_record(a, jsonb_build_object('workload_id', w.id)) made
         where a.workload_id = $1 and w.customer_id = $1 and w.id <> $1",
    )
    .bind(uuid::Uuid::from_u128(1))
    .execute(&mut bench.watch)
    .await
    .unwrap();
    let ids: Vec<uuid::Uuid> =
        sqlx::query_scalar("select id from workloads where customer_id = $1")
            .bind(uuid::Uuid::from_u128(1))
            .fetch_all(&mut bench.watch)
            .await
            .unwrap();
    let mut batch = terms::batch(&batch_words(0, 1, 1, Content::Moves));
    let one = batch.workloads.remove(0);
    batch.workloads = ids
        .iter()
        .map(|id| {
            let mut write = one.clone();
            write.id = WorkloadId(id.as_u128());
            write
        })
        .collect();
    batch
}

fn told(outcome: Result<Commit, StoreError>) -> String {
    match outcome {
        Ok(outcome) => format!("{outcome:?}"),
        Err(error) => format!("{error:?}"),
    }
}
