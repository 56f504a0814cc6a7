//! The production coordinator and worker as tasks whose order is drawn from the seed.
//!
//! ```text
//!  client0 client1 operator ──router──▶ c0 c1 c2 ──questions──▶ store   (the store model)
//!                                          │
//!                      w0 w1 ──words──▶ broker ◀──┘                     (the broker model)
//! ```
//!
//! Owns what no engine with a fixed order of tasks sees: whose turn it is after a pause, what is
//! dropped when a caller hangs up half-way, what becomes of a task that panics. The nodes are madsim's,
//! hence `--cfg madsim`; everything that runs on coordinators and workers is the production code
//! over injected ports, without sockets. The same properties judge it, through
//! [`Checker`](crate::ports::Checker). A run is a function of its seed: two phases, faults and then
//! none, and progress within a bound computed from the configuration.
//!
//! Not here: bytes and connections, which are turmoil's.

mod api;
mod broker;
mod desk;
mod hosts;
mod scenario;
mod stage;
mod strikes;

pub use crate::parties::{Outcome, Report};
pub use scenario::Scenario;

use crate::panics;
use metrics_exporter_prometheus::PrometheusBuilder;
use sim_probes::{plant, planted};

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

/// Runs one scenario, on a thread of its own: what a thread carries over must not matter.
///
/// # Panics
/// When madsim itself does.
#[must_use]
pub fn run_scenario(scenario: &Scenario, story: bool) -> Outcome {
    let (scenario, bug) = (scenario.clone(), planted());
    let thread = std::thread::spawn(move || {
        plant(bug);
        let _panics = panics::listen();
        let seed = scenario.setting.seed;
        // Its clock is measured against the machine's once, which must not happen in simulated time.
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        tokio::seeded::run(seed, || stage::run(scenario, metrics, story))
    });
    match thread.join() {
        Ok(outcome) => outcome,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
