//! The production driver, HTTP API and worker over simulated TCP between hosts.
//!
//! ```text
//!  client0 client1 operator ──HTTP──▶ c0 c1 c2 ──frames──▶ store   (the store model)
//!                                        │
//!                     w0 w1 ──frames──▶ broker ◀──┘                (the broker model)
//! ```
//!
//! Owns what the event simulation abstracts away: sockets that die in silence or politely, bytes that
//! are held, connects that are refused or hang, hosts that crash and come back with new processes.
//! The hosts are turmoil's; everything that runs on coordinators and workers is the production code
//! over injected ports. The same properties judge what is seen here, through
//! [`Checker`](crate::ports::Checker). A run is a function of its seed: two phases, faults and then
//! none, and progress within a bound computed from the configuration.
//!
//! Not here: pauses, skewed timers, doubled segments and the order of tasks, which turmoil cannot do.

mod faults;
mod hosts;
mod http;
mod scenario;

pub use crate::parties::{Outcome, Report};
pub use scenario::Scenario;

use crate::{clock::Moment, panics, parties, ports::Checker};
use faults::Stage;
use niyanta_core::time::Duration;

/// Runs one seed.
#[must_use]
pub fn run(seed: u64, story: bool) -> Outcome {
    run_scenario(&Scenario::draw(seed), story)
}

/// Runs these seeds, one after the other.
#[must_use]
pub fn run_all(seeds: impl Iterator<Item = u64>) -> Report {
    let mut report = Report::of(scenario::ENGINE);
    for seed in seeds {
        report.add(&run(seed, false));
    }
    report
}

/// Runs one scenario.
#[must_use]
pub fn run_scenario(scenario: &Scenario, story: bool) -> Outcome {
    let _panics = panics::listen();
    let mut stage = Stage::set(scenario, story);
    let checker = stage.checker();
    let mut settled_after = Duration::ZERO;
    loop {
        let now = stage.now();
        stage.act(now);
        if let Some(since_heal) = stage.healed_for(now)
            && since_heal.subsec_millis().is_multiple_of(250)
            && let Some(end) = parties::look(&scenario.setting, &checker, since_heal)
        {
            settled_after = end;
            break;
        }
        let stepped = stage.step();
        if let Some(panic) = panics::take() {
            checker.violate("panic", panic);
        } else if let Err(error) = stepped {
            checker.violate("panic", error);
        }
        if checker.violation().is_some() {
            break;
        }
    }
    outcome(scenario, &stage, &checker, settled_after)
}

fn outcome(
    scenario: &Scenario,
    stage: &Stage<'_>,
    checker: &Checker,
    settled_after: Duration,
) -> Outcome {
    if checker.violation().is_none() && checker.counts().leader_changes == 0 {
        checker.violate("scenario", "the leader never changed".to_owned());
    }
    Outcome {
        seed: scenario.setting.seed,
        coordinators: scenario.setting.coordinators,
        violation: checker.violation(),
        counts: checker.counts(),
        faults: stage.faults(),
        settled_after,
        length: stage.now().since(Moment::default()),
        hash: checker.hash(),
        story: checker.story(),
    }
}
