//! Changes of customers and workload configs as the port takes them, and what may become of them.
//!
//! A change is written only upon the revision that it was made upon, as a wish is (see
//! [`Wish`](super::Wish)): a sending whose answer was lost never lands after another change. A new
//! config is made upon its customer's revision, which a deletion of a config moves on: a sending
//! that lands late would otherwise bring back what was deleted since.
//!
//! What needs no revision: customers and keys are never deleted, so that the id which was made
//! before the statement keeps a second sending out for good; the revocation of a key is final and
//! keeps its first moment; a deleted config's id never comes back.

use super::{ConfigRow, CustomerView};

/// How often a customer, or a workload config, was changed; what a change of it is made upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

impl Revision {
    /// Of what was never changed.
    pub const ZERO: Self = Self(0);

    /// After one more change.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// What became of a new config.
#[derive(Debug, Clone, PartialEq)]
pub enum CreateConfig {
    /// Created, by this statement or an earlier sending of it.
    Created(ConfigRow),
    /// The customer has this type already.
    TypeTaken,
    /// The customer was changed, or lost a config, since that revision: nothing was written, nor will
    /// be by a sending upon it.
    Overtaken,
    /// There is no such customer.
    NoCustomer,
}

impl CreateConfig {
    /// Why nothing was written upon a revision, by the customer as it is now. Revisions only grow: one
    /// that is still there was there all the while.
    #[cfg(feature = "real")]
    pub(super) fn refused(found: Option<&CustomerView>, upon: Revision) -> Self {
        match found {
            None => Self::NoCustomer,
            Some(view) if view.revision == upon => Self::TypeTaken,
            Some(_) => Self::Overtaken,
        }
    }
}

/// What became of a replacement.
#[derive(Debug, Clone, PartialEq)]
pub enum ReplaceConfig {
    /// Replaced.
    Replaced(ConfigRow),
    /// The customer has another config of this type.
    TypeTaken,
    /// It was replaced since that revision: nothing was written, nor will be by a sending upon it.
    Overtaken(ConfigRow),
    /// The customer has no such config.
    NotFound,
}

/// What became of a change of a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatchCustomer {
    /// Changed, with its admin audit event.
    Patched(Box<CustomerView>),
    /// It was changed since that revision, or lost a config: nothing was written, nor will be by a
    /// sending upon it.
    Overtaken(Box<CustomerView>),
    /// There is no such customer.
    NotFound,
}
