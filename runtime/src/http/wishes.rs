//! A wish on its way to the store, for all the sendings of one call.
//!
//! The call looks first, and every sending names the revision that was seen: see
//! [`crate::store::Wish`]. While no sending is in doubt, a call that was overtaken looks again and
//! goes on. After doubt it never names another revision: it may have been its own sending that moved
//! it on. Then, as whichever sending could still land is void, a row that says what is wished is
//! an acknowledgement, whoever wrote it; a row that says something else leaves it unknown (504).

use crate::store::{Store, StoreError, Wish, WishOutcome, WorkerWish, WorkerWishOutcome};
use niyanta_core::ids::{CustomerId, Incarnation, WishRevision, WorkerId, WorkloadId};
use std::sync::{Arc, Mutex, PoisonError};

/// A call that was overtaken so often is told that the store is busy, and begins anew.
pub(super) const TRIES: usize = 8;

/// What the sendings of a call name: the first that was sent while nothing was in doubt.
pub(super) struct Upon<T>(Mutex<Option<T>>);

impl<T: Clone> Upon<T> {
    pub(super) const fn nothing() -> Self {
        Self(Mutex::new(None))
    }

    pub(super) fn note(&self, seen: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }

    pub(super) fn noted(&self) -> Option<T> {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.clone()
    }
}

/// A wish for a workload; `made` says it upon a revision.
pub(super) struct WishCall<Made> {
    store: Arc<dyn Store>,
    customer: CustomerId,
    workload: WorkloadId,
    made: Made,
    upon: Upon<WishRevision>,
}

impl<Made: Fn(WishRevision) -> Wish> WishCall<Made> {
    pub(super) fn new(
        store: Arc<dyn Store>,
        customer: CustomerId,
        workload: WorkloadId,
        made: Made,
    ) -> Self {
        Self {
            store,
            customer,
            workload,
            made,
            upon: Upon::nothing(),
        }
    }

    /// One sending; the outcome is [`WishOutcome::Overtaken`] only when there is doubt.
    pub(super) async fn send(&self, doubt: bool) -> Result<WishOutcome, StoreError> {
        if let Some(upon) = self.upon.noted().filter(|_| doubt) {
            return self.store.wish(&(self.made)(upon)).await;
        }
        let seen = self.store.workload(self.customer, self.workload).await;
        let Some(seen) = seen.map_err(changed_nothing)? else {
            return Ok(WishOutcome::NotFound);
        };
        let mut seen = Box::new(seen);
        for _ in 0..TRIES {
            let wish = (self.made)(seen.wish_revision);
            if let Some(outcome) = wish.refusal(seen) {
                return Ok(outcome);
            }
            self.upon.note(wish.upon);
            let outcome = self.store.wish(&wish).await?;
            let WishOutcome::Overtaken(view) = outcome else {
                return Ok(outcome);
            };
            seen = view;
        }
        Err(overtaken())
    }

    /// Whether this is the wish right after the one that the call was made upon.
    pub(super) fn is_next(&self, revision: WishRevision) -> bool {
        self.upon
            .noted()
            .is_some_and(|upon| revision == upon.next())
    }
}

/// A wish for a worker; `made` says it upon a start of its process and a revision.
pub(super) struct WorkerWishCall<Made> {
    store: Arc<dyn Store>,
    worker: WorkerId,
    made: Made,
    upon: Upon<(Incarnation, WishRevision)>,
}

impl<Made: Fn(Incarnation, WishRevision) -> WorkerWish> WorkerWishCall<Made> {
    pub(super) fn new(store: Arc<dyn Store>, worker: WorkerId, made: Made) -> Self {
        Self {
            store,
            worker,
            made,
            upon: Upon::nothing(),
        }
    }

    /// One sending; the outcome is [`WorkerWishOutcome::Overtaken`] only when there is doubt.
    pub(super) async fn send(&self, doubt: bool) -> Result<WorkerWishOutcome, StoreError> {
        if let Some((incarnation, upon)) = self.upon.noted().filter(|_| doubt) {
            return self
                .store
                .wish_worker(&(self.made)(incarnation, upon))
                .await;
        }
        let seen = self.store.worker(&self.worker).await;
        let Some(seen) = seen.map_err(changed_nothing)? else {
            return Ok(WorkerWishOutcome::NotFound);
        };
        let mut seen = Box::new(seen);
        for _ in 0..TRIES {
            let upon = (seen.incarnation.clone(), seen.wish_revision);
            self.upon.note(upon.clone());
            let outcome = self.store.wish_worker(&(self.made)(upon.0, upon.1)).await?;
            let WorkerWishOutcome::Overtaken(view) = outcome else {
                return Ok(outcome);
            };
            seen = view;
        }
        Err(overtaken())
    }
}

/// A look that has no answer has changed nothing.
pub(super) fn changed_nothing(error: StoreError) -> StoreError {
    match error {
        StoreError::Unknown(source) => StoreError::Unavailable(source),
        StoreError::Unavailable(_)
        | StoreError::LockTimeout(_)
        | StoreError::Refused(_)
        | StoreError::Corrupt(_)
        | StoreError::Failed(_) => error,
    }
}

pub(super) fn overtaken() -> StoreError {
    StoreError::Unavailable("another change was written each time that it was looked at".into())
}
