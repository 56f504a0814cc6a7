//! The simulator's models against what they are models of: the same scripts on both.
//!
//! `NIYANTA_CONFORMANCE_SCRIPTS` says how many scripts, `NIYANTA_CONFORMANCE_SEED` from which seed,
//! and `NIYANTA_CONFORMANCE_FILE` names a file whose script alone is run, on Postgres. What came of
//! the scripts on Postgres is also held against models with a bug planted: one that still fits
//! everything that was seen would mean that these scripts prove nothing about it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test, which tells what it found"
)]

mod client;
mod line;
mod parked;
mod postgres;
mod sqlite;
#[path = "../../../sim/src/conformance/terms.rs"]
mod terms;

use postgres::Database;
use sim::conformance as script;
use sim::conformance::{Difference, Script, Transcript, compare, draw};
use sim_probes::{Bug, plant};
use sqlite::File;

/// Scripts in an ordinary test run.
const SCRIPTS: u64 = 300;

/// So many differences are told, before the rest is not looked for.
const DIFFERENCES: u32 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_model_does_what_postgres_does() {
    let mut database = Database::start().await;
    if let Ok(file) = std::env::var("NIYANTA_CONFORMANCE_FILE") {
        let script: Script = std::fs::read_to_string(file).unwrap().parse().unwrap();
        if let Err(difference) = compare(&script, &database.run(&script).await) {
            panic!("{difference}");
        }
        return;
    }
    let mut lies = Lies::new();
    all_agree(false, async |script| {
        let seen = database.run(script).await;
        lies.look(script, &seen);
        seen
    })
    .await;
    lies.must_be_caught();
}

#[tokio::test]
async fn the_store_model_does_what_sqlite_does() {
    let mut file = File::make().await;
    all_agree(true, async |script| file.run(script).await).await;
}

/// Models that lie, and how many scripts it took to find each of them out.
struct Lies {
    left: Vec<Bug>,
    scripts: u64,
}

impl Lies {
    fn new() -> Self {
        Self {
            left: LIES.to_vec(),
            scripts: 0,
        }
    }

    fn look(&mut self, script: &Script, seen: &Transcript) {
        self.scripts += 1;
        self.left.retain(|bug| {
            plant(Some(*bug));
            let agrees = compare(script, seen).is_ok();
            plant(None);
            if !agrees {
                eprintln!("{bug:?} differs at script {}", self.scripts);
            }
            agrees
        });
    }

    fn must_be_caught(&self) {
        let enough = self.scripts >= SCRIPTS;
        assert!(
            !enough || self.left.is_empty(),
            "nothing shows {:?}",
            self.left
        );
    }
}

/// The bugs of the store model. Left out is what short scripts of statements cannot show: a
/// snapshot that is read in the statement of the takeover, audit that is missing after every 32nd
/// commit, a key that is missing after every 8th, and a candidate that judges by its own clock.
const LIES: [Bug; 22] = [
    Bug::AuditFromSequence,
    Bug::CommitRepeatedBlindly,
    Bug::FenceAndLeaseShareRow,
    Bug::FenceIgnored,
    Bug::FenceIgnoresIncarnation,
    Bug::FenceIgnoresTerm,
    Bug::FenceReadUnlocked,
    Bug::FoldedShareNumber,
    Bug::KeyCheckedThenInserted,
    Bug::KeyIgnored,
    Bug::KeyWithoutCustomer,
    Bug::LeaseCheckedBeforeLock,
    Bug::QuotaCheckedThenInserted,
    Bug::QuotaIgnored,
    Bug::QuotaLeaksOnLateFailure,
    Bug::RenewalMatchesAnybody,
    Bug::ResignationDeletesRow,
    Bug::ResumeUndoesCancel,
    Bug::ShortCountIgnored,
    Bug::StaleReads,
    Bug::TakeoverIgnoresExpiry,
    Bug::WishSkipsVersion,
];

/// Draws scripts, runs each, and asks the model whether it can do the same.
async fn all_agree(serial: bool, mut run: impl AsyncFnMut(&Script) -> Transcript) {
    let first = number("NIYANTA_CONFORMANCE_SEED", 1);
    let mut found = 0;
    for seed in first..first + number("NIYANTA_CONFORMANCE_SCRIPTS", SCRIPTS) {
        let script = draw(seed, serial);
        if let Err(difference) = compare(&script, &run(&script).await) {
            let (script, difference) = smallest(script, difference, &mut run).await;
            eprintln!("seed {seed}: {difference}\n{script}");
            found += 1;
            assert!(found < DIFFERENCES, "more differences may follow");
        }
    }
    assert_eq!(found, 0, "scripts that differ");
}

/// Leaves out steps, the last first, as long as a difference remains.
async fn smallest(
    mut script: Script,
    mut difference: Difference,
    run: &mut impl AsyncFnMut(&Script) -> Transcript,
) -> (Script, Difference) {
    loop {
        let before = script.steps.len();
        for at in (0..before).rev() {
            let mut less = script.clone();
            less.steps.remove(at);
            if let Err(found) = compare(&less, &run(&less).await) {
                (script, difference) = (less, found);
            }
        }
        if script.steps.len() == before {
            return (script, difference);
        }
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}"))
    })
}
