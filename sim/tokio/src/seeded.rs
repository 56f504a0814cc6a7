//! A run whose every draw is the seed's.

use madsim::{Config, runtime::Runtime};
use std::future::Future;
use tokio::runtime::{Builder, RngSeed};

/// Runs this to its end on madsim, on this thread.
///
/// tokio's channels draw too (which of their waiters wakes first), from the thread, and only a
/// runtime of tokio's that the thread has entered seeds that: so it enters one, on which nothing runs
/// but this. Hence `--cfg tokio_unstable`.
///
/// # Panics
/// When the future or a task that nobody guards panics.
pub fn run<F: Future>(seed: u64, run: impl FnOnce() -> F) -> F::Output {
    let entered = Builder::new_current_thread()
        .rng_seed(RngSeed::from_bytes(&seed.to_le_bytes()))
        .build()
        .expect("a runtime of one thread needs nothing");
    entered.block_on(tokio::task::unconstrained(async {
        Runtime::with_seed_and_config(seed, Config::default()).block_on(run())
    }))
}
