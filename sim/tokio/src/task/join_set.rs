//! A set of tasks that end with it.

use super::{AbortHandle, JoinError, JoinHandle, spawn};
use futures::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use std::{fmt, future::Future};

/// As tokio's: dropped, its tasks are aborted.
pub struct JoinSet<T>(FuturesUnordered<JoinHandle<T>>);

impl<T: 'static> JoinSet<T> {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self(FuturesUnordered::new())
    }

    /// How many are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Starts a task in the set.
    pub fn spawn<F>(&mut self, task: F) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        let handle = spawn(task);
        let abort = handle.abort_handle();
        self.0.push(handle);
        abort
    }

    /// Waits for the next that ends; nothing when there is none.
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.0.next().await
    }

    /// One that has ended already.
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.0.next().now_or_never().flatten()
    }

    /// Aborts all.
    pub fn abort_all(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }

    /// Aborts all, and waits for their ends.
    pub async fn shutdown(&mut self) {
        self.abort_all();
        while self.join_next().await.is_some() {}
    }
}

impl<T: 'static> Default for JoinSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet")
            .field("len", &self.0.len())
            .finish()
    }
}
