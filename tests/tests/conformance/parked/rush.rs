//! Coordinators that never stop by themselves, on leases that never last, with API nodes beside.
//!
//! Each node takes the lease whenever it likes, commits batches of its term and goes on when it is
//! fenced; many batches are sent three times at once. Beside them workloads are submitted, in groups
//! of keys that overlap, up to a limit, and wished for. What is there afterwards is counted against
//! what was answered. Random load is weak evidence for the fence, which is what the cells are for:
//! this is about what several writers do to the same rows at the same time.

use super::bench::{Bench, Party};
use super::ways::check;
use super::words::take;
use crate::line::Words;
use futures::future::{join_all, try_join_all};
use sim::conformance::{BatchWords, CounterWords, MoveWords, Op};
use sim::decision::{Rng, Streams};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// Nodes that want to lead.
const NODES: usize = 3;
/// It goes on until so many terms have begun.
const TERMS: u32 = 120;
/// Workloads that are moved about, from the first id.
const MOVED: u8 = 40;
/// How many workloads the first customer's queue holds.
const ROOM: i64 = sim::conformance::ROOM[0] as i64;

/// What was answered.
#[derive(Default)]
struct Answered {
    terms: AtomicU32,
    /// Batches that were said to be applied, and how often each was.
    applied: Mutex<BTreeMap<(u64, u64), u32>>,
    wishes: AtomicU32,
}

/// Runs it, and counts.
pub(super) async fn run(bench: &mut Bench, seed: u64) -> Result<(), String> {
    let answered = Answered::default();
    let api = bench.patient(8, Words::default()).await;
    for workload in 1..=MOVED {
        let submit = Op::Submit {
            customer: 2,
            workload,
            key: None,
            priority: 0,
        };
        bench.insist(&api, &submit).await?;
    }
    let streams = Streams::new(seed);
    let mut nodes = Vec::new();
    for number in 0..NODES {
        let rng = streams.stream("rush", number as u64);
        nodes.push(Node {
            party: bench.patient(number, Words::default()).await,
            rng,
            attempts: BTreeMap::new(),
        });
    }
    let mut others = Vec::new();
    for number in 4..7 {
        let rng = streams.stream("rush", number as u64);
        others.push((bench.patient(number, Words::default()).await, rng));
    }
    let leaders = try_join_all(nodes.iter_mut().map(|node| node.lead(&answered)));
    let beside = try_join_all(
        others
            .iter_mut()
            .map(|(party, rng)| beside(party, rng, &answered)),
    );
    futures::try_join!(leaders, beside)?;
    judge(bench, &answered).await
}

struct Node {
    party: Party,
    rng: Rng,
    /// The attempt of each workload, as this node has it.
    attempts: BTreeMap<u8, u32>,
}

impl Node {
    async fn lead(&mut self, answered: &Answered) -> Result<(), String> {
        while answered.terms.load(Ordering::Relaxed) < TERMS {
            let outcome = self.party.ask(&take(None, false)).await;
            let Some(generation) = outcome.strip_prefix("taken ") else {
                is_for_now(&outcome)?;
                continue;
            };
            answered.terms.fetch_add(1, Ordering::Relaxed);
            let generation = generation.parse().unwrap();
            self.learn().await?;
            for number in 1..=self.rng.between(1, 8) {
                self.commit(generation, number, answered).await?;
            }
        }
        Ok(())
    }

    /// Reads what there is, in a statement of its own.
    async fn learn(&mut self) -> Result<(), String> {
        let snapshot = self.party.store.snapshot(1_000).await;
        let snapshot = snapshot.map_err(|it| format!("{it:?}"))?.value;
        self.attempts = snapshot
            .waiting
            .iter()
            .filter_map(|row| Some((u8::try_from(row.id.0).ok()?, row.leader.attempt.0)))
            .filter(|(id, _)| *id <= MOVED)
            .collect();
        Ok(())
    }

    async fn commit(
        &mut self,
        generation: u64,
        number: u64,
        answered: &Answered,
    ) -> Result<(), String> {
        let words = self.batch(generation, number);
        let times = if self.rng.per_mille(400) { 3 } else { 1 };
        let op = Op::Persist(words.clone());
        let outcomes = join_all((0..times).map(|_| self.party.ask(&op))).await;
        let mut applied = 0;
        for outcome in outcomes {
            match outcome.as_str() {
                "Applied" => applied += 1,
                "NotApplied" => {}
                other => is_for_now(other)?,
            }
        }
        if applied > 0 {
            for moved in &words.moves {
                self.attempts.insert(moved.workload, moved.to.1);
            }
            let mut all = answered.applied.lock().unwrap();
            *all.entry((generation, number)).or_default() += applied;
        }
        Ok(())
    }

    /// Some workloads go through another attempt, from what this node believes of them.
    fn batch(&mut self, generation: u64, number: u64) -> BatchWords {
        let count = if self.rng.per_mille(300) {
            0
        } else {
            self.rng.between(1, 20)
        };
        let from = self.rng.below(u64::from(MOVED));
        let ids = (0..count).map(|n| u8::try_from((from + n) % u64::from(MOVED)).unwrap() + 1);
        let moves = ids.filter_map(|id| self.attempts.get(&id).map(|it| another(id, *it)));
        BatchWords {
            generation,
            node: self.party.number,
            number,
            moves: moves.collect(),
            workers: Vec::new(),
            counters: vec![CounterWords {
                customer: 2,
                left_queue: 0,
                running: 1,
            }],
        }
    }
}

fn another(workload: u8, attempt: u32) -> MoveWords {
    MoveWords {
        workload,
        customer: 2,
        from: (String::from("PENDING"), attempt),
        to: (String::from("PENDING"), attempt + 1),
        worker: None,
        wish_seen: 0,
        eligible: 0,
        stopping: None,
        error: None,
        kinds: vec![String::from("workload.requeued")],
    }
}

/// An API node: it wishes of what is moved, and submits with keys that others use as well.
async fn beside(party: &Party, rng: &mut Rng, answered: &Answered) -> Result<(), String> {
    // What each wish is made upon: one more whenever somebody else was before it.
    let mut upon: BTreeMap<u8, u64> = BTreeMap::new();
    while answered.terms.load(Ordering::Relaxed) < TERMS {
        let number =
            |rng: &mut Rng, from: u64, to: u64| u8::try_from(rng.between(from, to)).unwrap();
        let wished = number(rng, 1, MOVED.into());
        let op = if rng.per_mille(700) {
            Op::Wish {
                customer: 2,
                workload: wished,
                desired: String::from(if rng.per_mille(500) { "pause" } else { "run" }),
                upon: upon.get(&wished).copied().unwrap_or_default(),
            }
        } else {
            let key = number(rng, 1, 6);
            Op::Submit {
                customer: 1,
                workload: number(rng, 100, 250),
                key: Some(key),
                priority: 0,
            }
        };
        match party.ask(&op).await.as_str() {
            "queue full" | "key reused" | "not found" => {}
            "overtaken" => *upon.entry(wished).or_default() += 1,
            outcome if outcome.starts_with("recorded") => {
                answered.wishes.fetch_add(1, Ordering::Relaxed);
            }
            outcome if outcome.starts_with("there") => {}
            other => is_for_now(other)?,
        }
    }
    Ok(())
}

fn is_for_now(outcome: &str) -> Result<(), String> {
    check(
        matches!(outcome, "lock timeout" | "unavailable") || outcome.starts_with("lease "),
        || format!("an operation comes to {outcome}"),
    )
}

async fn judge(bench: &mut Bench, answered: &Answered) -> Result<(), String> {
    let ledger = bench.ledger().await;
    let applied = answered.applied.lock().unwrap().clone();
    let twice: Vec<_> = applied.iter().filter(|(_, times)| **times != 1).collect();
    check(twice.is_empty(), || {
        format!("applied more than once: {twice:?}")
    })?;
    check(usize::try_from(ledger.second) == Ok(applied.len()), || {
        format!(
            "{} batches are said to be applied, {} are",
            applied.len(),
            ledger.second
        )
    })?;
    check(ledger.audit.is_empty(), || {
        format!("audit: {:?}", ledger.audit)
    })?;
    for &(what, query) in COUNTS {
        let wrong: i64 = sqlx::query_scalar(query)
            .fetch_one(&mut bench.watch)
            .await
            .unwrap();
        let allowed = if what == ROOMS { ROOM } else { 0 };
        check(wrong <= allowed, || format!("{what}: {wrong}"))?;
    }
    let terms = answered.terms.load(Ordering::Relaxed);
    let wishes = answered.wishes.load(Ordering::Relaxed);
    eprintln!(
        "{terms} terms, {} commits, {wishes} wishes recorded",
        applied.len()
    );
    Ok(())
}

const ROOMS: &str = "workloads of the customer with little room";

/// What must not be there, and how much of it is.
const COUNTS: &[(&str, &str)] = &[
    (
        "workloads whose attempts do not follow each other",
        "select count(*) from (select attempt, row_number() over (partition by workload_id
            order by sequence) as nth from audit where kind = 'workload.requeued') a
         where attempt <> nth",
    ),
    (
        "deadlocks",
        "select deadlocks from pg_stat_database where datname = current_database()",
    ),
    (
        "submissions that are counted and not there, or the reverse",
        "select count(*) from customer_submitted c where submitted
            <> (select count(*) from workloads w where w.customer_id = c.customer_id)",
    ),
    (
        "keys without their workload",
        "select count(*) from idempotency i where not exists (select 1 from workloads w
            where w.id = i.workload_id and w.customer_id = i.customer_id)",
    ),
    (
        ROOMS,
        "select submitted from customer_submitted order by customer_id limit 1",
    ),
];
