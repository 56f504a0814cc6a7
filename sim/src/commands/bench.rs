//! `bench`: how fast the simulator runs its fixed scenario.

use super::subject::Stopwatch;
use clap::Args;
use sim::{Counts, Plan, decision::Decider, explore::run_plan};
use std::process::ExitCode;

/// How much to measure.
#[derive(Args)]
pub(crate) struct Arguments {
    /// How many runs.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// Swarm seeds instead of the fixed scenario.
    #[arg(long)]
    swarm: bool,
    /// How many runs of the same scenario over simulated TCP.
    #[arg(long, default_value_t = 5)]
    turmoil: u64,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let mut counts = Counts::default();
    let mut fewest = u64::MAX;
    let clock = Stopwatch::start();
    for seed in 0..arguments.seeds {
        let plan = if arguments.swarm {
            Plan::draw(seed, None)
        } else {
            Plan::fixed(seed)
        };
        let outcome = run_plan(plan, Decider::drawing(seed), false);
        if let Some(violation) = outcome.violation {
            println!("seed {seed} violates {violation}");
            return ExitCode::FAILURE;
        }
        fewest = fewest.min(outcome.counts.events);
        counts.add(&outcome.counts);
    }
    let seconds = clock.seconds();
    println!(
        "{} runs in {seconds:.2} s of one core: {:.0} seeds a second, {:.0} events a second, \
         {:.0} times real time; {:.1} simulated seconds and {} events a run, {fewest} events at \
         least, {} changes of leader",
        arguments.seeds,
        per(arguments.seeds, seconds),
        per(counts.events, seconds),
        counts.simulated.as_secs_f64() / seconds,
        counts.simulated.as_secs_f64() / per(arguments.seeds, 1.0).max(1.0),
        counts.events / arguments.seeds.max(1),
        counts.leader_changes,
    );
    if arguments.turmoil == 0 {
        return ExitCode::SUCCESS;
    }
    bench_turmoil(arguments.turmoil)
}

/// The scenario of three coordinators, five workers and half a minute, with the production driver,
/// API and worker over simulated TCP.
fn bench_turmoil(runs: u64) -> ExitCode {
    let (mut simulated, mut steps, mut changes) = (0.0, 0, 0);
    let clock = Stopwatch::start();
    for seed in 0..runs {
        let scenario = sim::turmoil::Scenario::fixed(seed);
        let outcome = sim::turmoil::run_scenario(&scenario, false);
        if let Some(violation) = outcome.violation {
            println!("turmoil: seed {seed} violates {violation}");
            return ExitCode::FAILURE;
        }
        simulated += outcome.length.as_secs_f64();
        steps += outcome.counts.steps;
        changes += outcome.counts.leader_changes;
    }
    let seconds = clock.seconds();
    println!(
        "turmoil: {runs} runs in {seconds:.2} s of one core: {:.1} seeds a second, \
         {:.0} times real time; {} observations a run, {changes} changes of leader",
        per(runs, seconds),
        simulated / seconds.max(1e-9),
        steps / runs.max(1),
    );
    ExitCode::SUCCESS
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn per(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds.max(1e-9)
}
