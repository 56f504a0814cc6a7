//! Tasks of madsim that fail as tokio's do: a panic stays in the handle.

mod join_set;

pub use join_set::JoinSet;
pub use madsim::task::{AbortHandle, Id};

use futures::FutureExt as _;
use std::{
    any::Any,
    fmt,
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll},
};

type Panic = Box<dyn Any + Send>;

/// Starts a task on the node of its caller.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    JoinHandle(madsim::task::spawn(AssertUnwindSafe(future).catch_unwind()))
}

/// Lets other tasks run first. Not tokio's own: that one waits for a scheduler of tokio's.
pub async fn yield_now() {
    let mut has_yielded = false;
    std::future::poll_fn(|context| {
        if has_yielded {
            return Poll::Ready(());
        }
        has_yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Runs the closure in a task: there are no other threads here.
pub fn spawn_blocking<F, R>(work: F) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    spawn(async move { work() })
}

/// As tokio's: dropped, the task goes on.
pub struct JoinHandle<T>(madsim::task::JoinHandle<Result<T, Panic>>);

impl<T> JoinHandle<T> {
    /// Drops the task's future soon.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// The same, for somebody else.
    #[must_use]
    pub fn abort_handle(&self) -> AbortHandle {
        self.0.abort_handle()
    }

    /// Whether it has come to its end.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_unpin(cx).map(|end| match end {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(panic)) => Err(JoinError(Some(panic))),
            Err(_cancelled) => Err(JoinError(None)),
        })
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a task has no value: it panicked, or was aborted.
pub struct JoinError(Option<Panic>);

impl JoinError {
    /// It was aborted.
    #[must_use]
    pub const fn is_cancelled(&self) -> bool {
        self.0.is_none()
    }

    /// It panicked.
    #[must_use]
    pub const fn is_panic(&self) -> bool {
        self.0.is_some()
    }

    /// What it panicked with.
    ///
    /// # Panics
    /// When it did not panic.
    #[must_use]
    pub fn into_panic(self) -> Panic {
        self.0.expect("the task did not panic")
    }

    /// What it panicked with.
    ///
    /// # Errors
    /// When it did not panic.
    pub fn try_into_panic(self) -> Result<Panic, Self> {
        self.0.ok_or(Self(None))
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_panic() {
            "JoinError::Panic"
        } else {
            "JoinError::Cancelled"
        })
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_panic() {
            "the task panicked"
        } else {
            "the task was cancelled"
        })
    }
}

impl std::error::Error for JoinError {}
