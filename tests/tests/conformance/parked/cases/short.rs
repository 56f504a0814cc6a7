//! Batches that do not fit the rows: nothing of them is committed, and their number stays free.

use super::super::bench::{Bench, Clock, end};
use super::super::ways::{check, takes};
use super::super::words::{Content, batch_words};
use super::begin;
use crate::line::{Fate, Words};
use sim::conformance::Op;
use sqlx::PgConnection;

/// Why a batch does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Misfit {
    OtherStatus,
    RowGone,
    ChangedMeanwhile,
    TwiceInOne,
    FencedToo,
}

pub(super) async fn short(bench: &mut Bench, misfit: Misfit) -> Result<(), String> {
    let leader = bench.patient(0, Words::default()).await;
    begin(bench, &leader).await?;
    let whole = batch_words(0, 1, 1, Content::Moves);
    let mut words = whole.clone();
    let mut more = batch_words(0, 1, 2, Content::Moves).moves;
    words.moves.append(&mut more);
    let bad = Op::Persist(words.clone());
    let outcome = match misfit {
        Misfit::OtherStatus => {
            words.moves[0].from = (String::from("RUNNING"), 1);
            bench.insist(&leader, &Op::Persist(words)).await?
        }
        Misfit::TwiceInOne => {
            words.moves[1] = words.moves[0].clone();
            bench.insist(&leader, &Op::Persist(words)).await?
        }
        Misfit::RowGone => {
            words.moves[0].workload = 5;
            bench.insist(&leader, &Op::Persist(words)).await?
        }
        Misfit::ChangedMeanwhile => {
            let mut stranger = bench.stranger().await;
            say(&mut stranger, "begin; update workloads set attempt = 3").await;
            let held = leader.begin(Fate::Whole, &bad).await;
            bench.waits_for_lock(0).await;
            say(&mut stranger, "commit").await;
            let outcome = end(held).await?;
            say(&mut stranger, "update workloads set attempt = 0").await;
            outcome
        }
        Misfit::FencedToo => {
            let next = bench.party(1, Clock::Goes).await;
            takes(bench, &next).await?;
            words.moves[0].workload = 5;
            bench.insist(&leader, &Op::Persist(words)).await?
        }
    };
    let wanted = if misfit == Misfit::FencedToo {
        "NotApplied"
    } else {
        "Short"
    };
    check(outcome == wanted, || format!("it comes to {outcome}"))?;
    let ledger = bench.ledger().await;
    check(ledger.first == 0 && ledger.audit.is_empty(), || {
        format!("{ledger:?}")
    })?;
    if misfit == Misfit::FencedToo {
        return Ok(());
    }
    // Nothing is there, and the number is still free.
    bench.must(&leader, &Op::Persist(whole), "Applied").await
}

async fn say(stranger: &mut PgConnection, words: &'static str) {
    sqlx::raw_sql(words).execute(stranger).await.unwrap();
}
