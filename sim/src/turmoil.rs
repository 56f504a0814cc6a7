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

mod client;
mod faults;
mod handler;
mod hosts;
mod http;
mod operator;
mod scenario;
mod settle;
mod tell;

pub use scenario::Scenario;
pub use tell::Report;

use crate::{
    clock::Moment,
    ports::{Checker, checker::Counts},
    properties::Violation,
    trace::Line,
};
use faults::Stage;
use niyanta_core::time::Duration;
use std::cell::RefCell;

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// How many coordinators there were.
    pub coordinators: usize,
    /// The first property that did not hold.
    pub violation: Option<Violation>,
    /// How much happened.
    pub counts: Counts,
    /// Faults that struck.
    pub faults: u64,
    /// How long after healing everything had settled.
    pub settled_after: Duration,
    /// Simulated time.
    pub length: Duration,
    /// The chained hash of what was seen.
    pub hash: u128,
    /// What happened, when it was asked for.
    pub story: Vec<Line>,
}

/// Runs one seed.
#[must_use]
pub fn run(seed: u64, story: bool) -> Outcome {
    run_scenario(&Scenario::draw(seed), story)
}

/// Runs one scenario.
#[must_use]
pub fn run_scenario(scenario: &Scenario, story: bool) -> Outcome {
    let _panics = listen_for_panics();
    let mut stage = Stage::set(scenario, story);
    let checker = stage.checker();
    let mut settled_after = Duration::ZERO;
    loop {
        let now = stage.now();
        stage.act(now);
        if let Some(since_heal) = stage.healed_for(now)
            && let Some(end) = settle::look(scenario, &checker, since_heal)
        {
            settled_after = end;
            break;
        }
        let stepped = stage.step();
        if let Some(panic) = take_panic() {
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
        seed: scenario.seed,
        coordinators: scenario.coordinators,
        violation: checker.violation(),
        counts: checker.counts(),
        faults: stage.faults(),
        settled_after,
        length: stage.now().since(Moment::default()),
        hash: checker.hash(),
        story: checker.story(),
    }
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
    static LISTENS: RefCell<u32> = const { RefCell::new(0) };
}

/// A task that panics dies in silence otherwise. Panics of other threads are told as ever.
fn listen_for_panics() -> Listening {
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if LISTENS.with_borrow(|listens| *listens > 0) {
                PANIC.with_borrow_mut(|panic| {
                    panic.get_or_insert_with(|| info.to_string());
                });
            } else {
                told(info);
            }
        }));
    });
    LISTENS.with_borrow_mut(|listens| *listens += 1);
    Listening
}

struct Listening;

impl Drop for Listening {
    fn drop(&mut self) {
        LISTENS.with_borrow_mut(|listens| *listens -= 1);
        PANIC.take();
    }
}

fn take_panic() -> Option<String> {
    PANIC.take()
}
