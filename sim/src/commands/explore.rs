//! `explore`: many seeds at once.

use super::subject::{Subject, bar};
use clap::Args;
use sim::explore::{Report, Search, explore};
use sim_probes::Bug;
use std::{process::ExitCode, time::Instant};

/// What to explore.
#[derive(Args)]
pub(crate) struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Stop after so many failures.
    #[arg(long, default_value_t = 1)]
    failures: usize,
    /// Plant this bug, by number or name.
    #[arg(long)]
    bug: Option<Bug>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let search = Search {
        jobs: arguments.jobs,
        failures_max: arguments.failures,
        bug: arguments.bug,
        ..Search::new(arguments.first, arguments.seeds)
    };
    let began = Instant::now();
    let template = "{bar:40} {human_pos} of {human_len} seeds, {per_sec}, {msg}, {eta} left";
    let bar = bar(arguments.seeds, template);
    let report = explore(search, |done| {
        if done.seeds.is_multiple_of(20) {
            bar.set_position(done.seeds);
            bar.set_message(format!("{:.0} events/s", rate(done.events, began)));
        }
    });
    bar.finish_and_clear();
    print_counts(&report, began);
    for seed in &report.unstable {
        println!("seed {seed} gave another hash the second time");
    }
    for (seed, violation) in &report.failures {
        println!("seed {seed} violates {violation}");
        let command = Subject::Seed(*seed).replay_command(arguments.bug);
        println!("  {command}");
    }
    if report.failures.is_empty() && report.unstable.is_empty() {
        let seeds = report.seeds;
        println!("{seeds} seeds clean: P(failure per seed of this generator) < 3/{seeds} at 95 %");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn print_counts(report: &Report, began: Instant) {
    let counts = report.counts;
    println!(
        "{} seeds in {:.1} s ({:.0} a second): {} coordinators, {} terms, {} changes of leader, \
         {} faults, {} batches, {} of {} workloads ended, {} events ({:.0} a second), \
         {:.0} times real time, settled at most {:.1} s after healing",
        report.seeds,
        began.elapsed().as_secs_f64(),
        rate(report.seeds, began),
        counts.coordinators,
        counts.terms,
        counts.leader_changes,
        counts.faults,
        counts.batches,
        counts.ended,
        counts.workloads,
        counts.events,
        rate(counts.events, began),
        counts.simulated.as_secs_f64() / began.elapsed().as_secs_f64(),
        counts.settled_after.as_secs_f64(),
    );
    for row in report.recoveries.rows() {
        let [led, late_led, last_led] = row.led.map(|time| time.as_secs_f64());
        let [settled, late, last] = row.settled.map(|time| time.as_secs_f64());
        println!(
            "recovery, {}: {} runs; a leader after {led:.1} s, {late_led:.1} s, {last_led:.1} s \
             (p50, p99, max); settled after {settled:.1} s, {late:.1} s, {last:.1} s",
            row.class, row.runs,
        );
    }
    for mark in report.never_reached() {
        println!("never reached: {} ({})", mark.words(), mark.name());
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(count: u64, began: Instant) -> f64 {
    count as f64 / began.elapsed().as_secs_f64().max(1e-9)
}
