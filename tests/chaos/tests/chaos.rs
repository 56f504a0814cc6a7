//! About two minutes of real processes under seeded faults, and the judge's verdict.
//!
//! `NIYANTA_CHAOS_SECONDS` and `NIYANTA_CHAOS_SEED` choose another length and another course. The
//! standing run of half an hour is the command `chaos run`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test: a failure is a failed test, and its figures go to the terminal"
)]

use std::path::PathBuf;
use std::time::Duration;

use chaos::failover::{Class, FailoverOptions, measure};
use chaos::plot;
use chaos::run::{RunOptions, SiteOptions, run};
use tests::one_at_a_time;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_told_wrongly_while_everything_fails_in_turn() {
    let _turn = one_at_a_time().await;
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().unwrap())
    };
    let seconds = number("NIYANTA_CHAOS_SECONDS", 100);
    let seed = number("NIYANTA_CHAOS_SEED", 1);
    let program = PathBuf::from(env!("CARGO_BIN_EXE_chaos"));
    let history = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{seed}.jsonl"));
    let length = Duration::from_secs(seconds);
    let verdict = run(&RunOptions::new(program, seed, length, history.clone()))
        .await
        .unwrap();
    println!("{:#?}", verdict.figures);
    let told: Vec<String> = verdict
        .violations
        .iter()
        .take(20)
        .map(ToString::to_string)
        .collect();
    assert!(
        told.is_empty(),
        "{} violations, the first of them:\n{}\n\
         judge it again: cargo run -p chaos -- check {}\n\
         run it again:   cargo run -p chaos -- run --seconds {seconds} --seed {seed}",
        verdict.violations.len(),
        told.join("\n"),
        history.display()
    );
    let acknowledged = verdict.figures["submissions acknowledged"];
    assert!(
        acknowledged > 10 * seconds,
        "only {acknowledged} submissions: nothing was shown"
    );
    assert!(
        verdict.figures["leadership terms"] > seconds / 30,
        "hardly a leader was lost"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_leader_or_worker_is_replaced_in_time() {
    let _turn = one_at_a_time().await;
    let site = SiteOptions::new(PathBuf::from(env!("CARGO_BIN_EXE_chaos")));
    let (ttl, lease) = (site.ttl, site.lease);
    let options = FailoverOptions {
        site,
        trials: 1,
        classes: Class::ALL.to_vec(),
        seed: 1,
    };
    let measured = measure(&options).await.unwrap();
    println!("{}", plot::table(&measured));
    for class in &measured {
        // A deaf leader waits for a TTL before it believes that it is deaf.
        let waits_for = match class.class {
            Class::Kill | Class::Pause | Class::Partition | Class::Stop | Class::Rolling => ttl,
            Class::Deaf => ttl * 2,
            Class::LostWorker => lease,
        };
        let longest = Duration::from_millis(class.quantile(1_000).try_into().unwrap());
        assert!(
            longest < waits_for + Duration::from_secs(10),
            "{}: {longest:?}",
            class.class
        );
    }
}
