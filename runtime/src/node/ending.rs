//! What ends a node that nobody shut down: its driver's own end, or a panic in any of its tasks.
//!
//! Not here: the shutdown, which is the node's.

use super::EndError;
use tokio::task::{JoinHandle, JoinSet};

/// The driver's end, or the panic of any task: a node without its eyes, its broom or its door is not
/// one that should look alive. Cancel-safe.
pub(super) async fn first_end<S>(
    driver: &mut JoinHandle<Result<(), EndError>>,
    server: &mut JoinHandle<S>,
    beside: &mut JoinSet<()>,
) -> Result<(), EndError> {
    let error = loop {
        tokio::select! {
            biased;
            end = &mut *driver => match end {
                Ok(end) => return end,
                Err(error) => break error,
            },
            // The server goes on until it is told to stop, which takes the whole node.
            Err(error) = &mut *server => break error,
            // One that ends quietly does so because the driver is ending, which tells why.
            Some(end) = beside.join_next() => if let Err(error) = end {
                break error;
            },
        }
    };
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        // Nobody but a runtime that is going down cancels these, and it takes the asker along.
        Err(_cancelled) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    fn driver() -> JoinHandle<Result<(), EndError>> {
        tokio::spawn(pending())
    }

    fn server() -> JoinHandle<()> {
        tokio::spawn(pending())
    }

    /// What a node says that dies of it.
    async fn last_words(
        mut driver: JoinHandle<Result<(), EndError>>,
        mut server: JoinHandle<()>,
        mut beside: JoinSet<()>,
    ) -> Option<&'static str> {
        let node =
            tokio::spawn(async move { first_end(&mut driver, &mut server, &mut beside).await });
        let panic = node.await.err()?.try_into_panic().ok()?;
        panic.downcast_ref::<&'static str>().copied()
    }

    #[tokio::test]
    async fn a_panic_of_any_task_is_the_nodes() {
        let dead = tokio::spawn(async { panic!("the driver") });
        let words = last_words(dead, server(), JoinSet::new()).await;
        assert_eq!(words, Some("the driver"));

        let dead = tokio::spawn(async { panic!("the door") });
        let words = last_words(driver(), dead, JoinSet::new()).await;
        assert_eq!(words, Some("the door"));

        let mut beside = JoinSet::new();
        beside.spawn(async {});
        beside.spawn(async { panic!("the eyes") });
        let words = last_words(driver(), server(), beside).await;
        assert_eq!(words, Some("the eyes"));
    }

    #[tokio::test]
    async fn the_drivers_own_end_is_told_also_when_the_others_end_with_it() {
        let (mut driver, mut server) = (tokio::spawn(async { Ok(()) }), server());
        let mut beside = JoinSet::new();
        beside.spawn(async {});
        let end = first_end(&mut driver, &mut server, &mut beside).await;
        assert!(end.is_ok());
    }
}
