//! A change of a customer or a workload config on its way to the store, for all the sendings of one
//! call.
//!
//! As with wishes (see [`super::wishes`]) the call looks first, and every sending names the revision
//! that was seen. While no sending is in doubt, a call that was overtaken looks again and goes on;
//! after doubt it never names another revision. Whoever judges takes a row that is as it was to
//! become for an acknowledgement, and leaves any other unknown (504).

use super::wishes::{TRIES, Upon, changed_nothing, overtaken};
use crate::store::{CreateConfig, PatchCustomer, ReplaceConfig, Revision, StoreError};

/// What may become of a change.
pub(super) trait ChangeOutcome {
    /// There is nothing to change.
    fn missing() -> Self;
    /// Nothing was written, nor will be upon that revision.
    fn is_overtaken(&self) -> bool;
}

impl ChangeOutcome for CreateConfig {
    fn missing() -> Self {
        Self::NoCustomer
    }

    fn is_overtaken(&self) -> bool {
        matches!(self, Self::Overtaken)
    }
}

impl ChangeOutcome for ReplaceConfig {
    fn missing() -> Self {
        Self::NotFound
    }

    fn is_overtaken(&self) -> bool {
        matches!(self, Self::Overtaken(_))
    }
}

impl ChangeOutcome for PatchCustomer {
    fn missing() -> Self {
        Self::NotFound
    }

    fn is_overtaken(&self) -> bool {
        matches!(self, Self::Overtaken(_))
    }
}

/// One call; `look` says at which revision the row is, if it is there, and `make` sends upon one.
pub(super) struct ChangeCall<Look, Make> {
    look: Look,
    make: Make,
    upon: Upon<Revision>,
}

impl<Look, Looked, Make, Made, T> ChangeCall<Look, Make>
where
    Look: Fn() -> Looked,
    Looked: Future<Output = Result<Option<Revision>, StoreError>>,
    Make: Fn(Revision) -> Made,
    Made: Future<Output = Result<T, StoreError>>,
    T: ChangeOutcome,
{
    pub(super) const fn new(look: Look, make: Make) -> Self {
        Self {
            look,
            make,
            upon: Upon::nothing(),
        }
    }

    /// One sending; its outcome is that it was overtaken only when there is doubt.
    pub(super) async fn send(&self, doubt: bool) -> Result<T, StoreError> {
        if let Some(upon) = self.upon.noted().filter(|_| doubt) {
            return (self.make)(upon).await;
        }
        for _ in 0..TRIES {
            let Some(seen) = (self.look)().await.map_err(changed_nothing)? else {
                return Ok(T::missing());
            };
            self.upon.note(seen);
            let outcome = (self.make)(seen).await?;
            if !outcome.is_overtaken() {
                return Ok(outcome);
            }
        }
        Err(overtaken())
    }
}
