//! What was measured when the one-statement fence was chosen, as cases of the production store.

mod plans;
mod short;

use super::bench::{Bench, Clock, Party, SOON, end};
use super::ways::{Verdict, check, find_out, sees};
use super::words::{Content, batch, batch_words, take, wish};
use crate::line::{Fate, Point, Words};
use plans::{Plan, waits_for_takeover};
use short::{Misfit, short};
use sim::conformance::Op;
use std::fmt;
use tests::until;

/// A case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    /// A commit waits for the fence that a takeover has changed; the takeover commits, or is lost.
    WaitsForTakeover {
        plan: Plan,
        rows: u64,
        is_lost: bool,
    },
    /// A takeover waits for the fence that a commit has; the commit goes on.
    TakeoverWaits,
    /// A session at another isolation level.
    Isolation(&'static str),
    /// A lost statement of an ended term arrives before or after the leader, who leads again, has
    /// used its number for other content.
    Twin { arrives_first: bool },
    /// A lost statement still waits for a row when the leader looks for what became of it.
    StillRunning,
    /// A batch that does not fit the rows.
    Short(Misfit),
    /// A batch waits while an API node wishes something of the row that it moves.
    Merged,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::TakeoverWaits,
        Case::Isolation("repeatable\\ read"),
        Case::Isolation("serializable"),
        Case::Twin {
            arrives_first: true,
        },
        Case::Twin {
            arrives_first: false,
        },
        Case::StillRunning,
        Case::Short(Misfit::OtherStatus),
        Case::Short(Misfit::RowGone),
        Case::Short(Misfit::ChangedMeanwhile),
        Case::Short(Misfit::TwiceInOne),
        Case::Short(Misfit::FencedToo),
        Case::Merged,
    ];
    for plan in [
        Plan::AsSet,
        Plan::Custom,
        Plan::NoNestedLoops,
        Plan::HashOnly,
        Plan::NoIndex,
        Plan::NoMaterial,
    ] {
        for rows in [1, 500] {
            for is_lost in [false, true] {
                cases.push(Case::WaitsForTakeover {
                    plan,
                    rows,
                    is_lost,
                });
            }
        }
    }
    cases
}

impl Case {
    pub(super) async fn run(self, bench: &mut Bench) -> Result<(), String> {
        match self {
            Self::WaitsForTakeover {
                plan,
                rows,
                is_lost,
            } => waits_for_takeover(bench, plan, rows, is_lost).await,
            Self::TakeoverWaits => takeover_waits(bench).await,
            Self::Isolation(level) => isolation(bench, level).await,
            Self::Twin { arrives_first } => twin(bench, arrives_first).await,
            Self::StillRunning => still_running(bench).await,
            Self::Short(misfit) => short(bench, misfit).await,
            Self::Merged => merged(bench).await,
        }
    }
}

/// Two workloads, one of each customer, and a leader with its first term.
async fn begin(bench: &mut Bench, leader: &Party) -> Result<(), String> {
    bench.begin(leader.number, false).await
}

async fn takeover_waits(bench: &mut Bench) -> Result<(), String> {
    let leader = bench.patient(0, Words::default()).await;
    let next = bench.patient(1, Words::default()).await;
    begin(bench, &leader).await?;
    let commit = batch(0, 1, 1, Content::Moves);
    let held = leader.begin(Fate::Stops(Point::BeforeSync), &commit).await;
    bench.has_executed(0).await;
    let takeover = next.begin(Fate::Whole, &take(None, true)).await;
    bench.waits_for_lock(1).await;
    leader.line.go_on();
    let outcome = end(held).await?;
    check(outcome == "Applied", || {
        format!("the commit comes to {outcome}")
    })?;
    let taken = end(takeover).await?;
    check(taken == "taken 2", || {
        format!("the takeover comes to {taken}")
    })?;
    sees(next.store.as_ref(), true).await?;
    let mut second = batch_words(0, 1, 1, Content::Counts);
    second.number = 2;
    bench
        .must(&leader, &Op::Persist(second), "NotApplied")
        .await
}

async fn isolation(bench: &mut Bench, level: &str) -> Result<(), String> {
    let level = format!("default_transaction_isolation={level}");
    let asked = "default_transaction_isolation=read\\ committed";
    let words = Words::new(&[(asked, &level)]);
    let other = bench.party_that_says(0, Clock::Goes, words).await;
    let outcome = other.ask(&take(None, false)).await;
    check(other.line.were_all_said(), || {
        String::from("it never asked for a level")
    })?;
    // The pool goes on trying until its time-out, so the reason reaches nobody but the log.
    check(outcome == "unavailable", || {
        format!("a session at another level comes to {outcome}")
    })
}

async fn twin(bench: &mut Bench, arrives_first: bool) -> Result<(), String> {
    let leader = bench.party(0, Clock::Goes).await;
    begin(bench, &leader).await?;
    let lost = batch(0, 1, 1, Content::Counts);
    let held = leader.begin(Fate::Stops(Point::BeforeBind), &lost).await;
    let outcome = end(held).await?;
    check(outcome == "unknown", || {
        format!("given up, it comes to {outcome}")
    })?;
    if arrives_first {
        leader.let_go().await;
        // The line may not have noticed yet that this is an orphan, which it waits for.
        until("the lost content to land", SOON, async || {
            (bench.ledger().await.first == 1).then_some(())
        })
        .await;
    }
    // The term is dropped, and the leader, whose lease is its own still, begins another.
    bench.must(&leader, &take(Some(1), true), "taken 2").await?;
    sees(leader.store.as_ref(), arrives_first).await?;
    let other = batch(0, 2, 2, Content::Moves);
    let outcome = bench.insist(&leader, &other).await?;
    let verdict = find_out(bench, &leader, &other, outcome).await?;
    if !arrives_first {
        leader.let_go().await;
    }
    let ledger = bench.ledger().await;
    check(verdict == Verdict::Applied, || {
        format!("the new content: {verdict:?}")
    })?;
    check(ledger.second == 1, || {
        "taken for applied, and not there".into()
    })?;
    check(ledger.first == i64::from(arrives_first), || {
        format!("the lost content landed {} times", ledger.first)
    })?;
    check(ledger.audit.is_empty(), || {
        format!("audit: {:?}", ledger.audit)
    })
}

async fn still_running(bench: &mut Bench) -> Result<(), String> {
    let leader = bench.patient(0, Words::default()).await;
    let again = bench.party(0, Clock::Goes).await;
    let api = bench.party(2, Clock::Stands).await;
    begin(bench, &leader).await?;
    let sleeper = api
        .begin(Fate::Stops(Point::BeforeSync), &wish(1, "pause"))
        .await;
    bench.has_executed(2).await;
    let commit = batch(0, 1, 1, Content::Moves);
    let held = leader.begin(Fate::Whole, &commit).await;
    bench.waits_for_lock(0).await;
    leader.line.abandon();
    let outcome = end(held).await?;
    let fence = again.store.read_fence().await.unwrap();
    check(fence.applied.0 == 0, || {
        format!("while it runs the fence says {fence:?}")
    })?;
    // The wish goes on, and the lost statement behind it.
    api.let_go().await;
    end(sleeper).await?;
    let verdict = find_out(bench, &again, &commit, outcome).await?;
    check(verdict == Verdict::Applied, || {
        format!("the leader finds {verdict:?}")
    })?;
    leader.let_go().await;
    let ledger = bench.ledger().await;
    check(ledger.first == 1 && ledger.audit.is_empty(), || {
        format!("{ledger:?}")
    })
}

async fn merged(bench: &mut Bench) -> Result<(), String> {
    let leader = bench.patient(0, Words::default()).await;
    let api = bench.patient(2, Words::default()).await;
    begin(bench, &leader).await?;
    let sleeper = api
        .begin(Fate::Stops(Point::BeforeSync), &wish(1, "pause"))
        .await;
    bench.has_executed(2).await;
    let held = leader
        .begin(Fate::Whole, &batch(0, 1, 1, Content::Moves))
        .await;
    bench.waits_for_lock(0).await;
    api.let_go().await;
    let (wished, committed) = (end(sleeper).await?, end(held).await?);
    check(wished == "recorded 2", || {
        format!("the wish comes to {wished}")
    })?;
    check(committed == "Applied", || {
        format!("the commit comes to {committed}")
    })?;
    let row = api
        .ask(&Op::Get {
            customer: 1,
            workload: 1,
        })
        .await;
    check(row == "Some((Scheduled, Pause, 3))", || {
        format!("the row is {row}")
    })?;
    let ledger = bench.ledger().await;
    check(ledger.audit.is_empty(), || format!("{ledger:?}"))
}
