//! Every way in which a stale leader can hold a commit back, against every takeover, on a real
//! Postgres with the production store; and everybody who can sleep on a connection, against
//! everybody who must work on.
//!
//! A cell is a few coordinators on a database of its own. What is asserted is what is committed, in
//! which order, and that nobody is held up for longer than the stated time-outs, with ample room for
//! a slow machine; never how fast anything is. That the cells can fail is shown by a commit that does
//! not ask the fence, and by sleepers that nobody ends.

mod bench;
mod cases;
mod plants;
mod rush;
mod sleepers;
mod ways;
mod words;

use bench::Bench;
use plants::Plant;
use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use tests::Postgres;

/// So many cells at a time. Most of them wait for a time-out, and none for the machine.
const AT_A_TIME: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_commit_that_was_held_back_lands_after_a_takeover() {
    let server = Postgres::start().await;
    let cells = ways::cells();
    let run = async |cell: ways::Cell, bench: &mut Bench| cell.run(bench).await;
    all_hold(&server, &cells, run).await;
    // A missing fence is seen wherever something is left that can come late, or is sent again.
    let failed = failures(&server, &cells, Some(Plant::FenceLeftOut), run).await;
    eprintln!("a missing fence is seen in {} cells", failed.len());
    assert!(!failed.is_empty(), "a missing fence is seen nowhere");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fence_does_what_was_measured_of_it() {
    let server = Postgres::start().await;
    let cases = cases::cases();
    let run = async |case: cases::Case, bench: &mut Bench| case.run(bench).await;
    all_hold(&server, &cases, run).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_that_never_stop_and_api_nodes_beside_them_lose_nothing() {
    let server = Postgres::start().await;
    let mut bench = Bench::make(&server).await;
    bench.clear(None).await;
    if let Err(why) = rush::run(&mut bench, 1).await {
        panic!("{why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_who_sleeps_keeps_others_from_working() {
    let server = Postgres::start().await;
    let sleepers = sleepers::sleepers();
    let run = async |sleeper: sleepers::Sleeper, bench: &mut Bench| sleeper.run(bench).await;
    all_hold(&server, &sleepers, run).await;
    let mut holding = sleepers;
    holding.retain(|sleeper| sleeper.holds());
    let failed = failures(&server, &holding, Some(Plant::SleepersSpared), run).await;
    holding.retain(|sleeper| !failed.iter().any(|(found, _)| found == sleeper));
    let blind: Vec<String> = holding.iter().map(ToString::to_string).collect();
    assert!(blind.is_empty(), "who sleeps on is not seen in {blind:#?}");
}

async fn all_hold<C: Copy + Display>(
    server: &Postgres,
    cells: &[C],
    run: impl AsyncFn(C, &mut Bench) -> Result<(), String>,
) {
    let failed = failures(server, cells, None, run).await;
    let told: Vec<String> = failed
        .iter()
        .map(|(cell, why)| format!("{cell}: {why}"))
        .collect();
    assert!(told.is_empty(), "{told:#?}");
}

/// Runs cells, and says which failed and how.
async fn failures<C: Copy>(
    server: &Postgres,
    cells: &[C],
    plant: Option<Plant>,
    run: impl AsyncFn(C, &mut Bench) -> Result<(), String>,
) -> Vec<(C, String)> {
    let left = Mutex::new(cells.iter().copied().collect::<VecDeque<_>>());
    let failed = Mutex::new(Vec::new());
    let next = || {
        left.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    };
    let work = (0..AT_A_TIME.min(cells.len())).map(|_| async {
        let mut bench = Bench::make(server).await;
        while let Some(cell) = next() {
            bench.clear(plant).await;
            let outcome = run(cell, &mut bench).await;
            // What fails before anybody has said what was planted shows nothing of it.
            if let Err(why) = outcome
                && (plant.is_none() || bench.was_planted())
            {
                failed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push((cell, why));
            }
        }
    });
    futures::future::join_all(work).await;
    failed.into_inner().unwrap_or_else(PoisonError::into_inner)
}
