//! Time that passes only when every task waits.

pub use madsim::time::*;

use std::future::Future;

/// As tokio's.
///
/// # Errors
/// When the deadline comes first.
pub async fn timeout_at<F: Future>(
    deadline: Instant,
    future: F,
) -> Result<F::Output, error::Elapsed> {
    timeout(deadline.saturating_duration_since(Instant::now()), future).await
}
