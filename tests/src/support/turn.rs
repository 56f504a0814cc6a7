//! Takes heavy tests of one binary one at a time, so that timings mean something on few cores.

use tokio::sync::{Semaphore, SemaphorePermit};

static TURN: Semaphore = Semaphore::const_new(1);

/// Waits for this test's turn. Hold the permit until the end of the test.
pub async fn one_at_a_time() -> SemaphorePermit<'static> {
    TURN.acquire().await.unwrap()
}
