//! Whether a leadership term is still open, as every task of this process can ask.
//!
//! A task that was started for a term asks immediately before it speaks to the outside, also after
//! it has waited for something: nothing of an ended term is heard afterwards (P17). The lease's own
//! deadline counts too, so a process that wakes after a pause says nothing for its old term (P4).

use niyanta_core::{ids::Generation, time::Timestamp};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
pub(super) struct Term {
    open: Mutex<Option<(Generation, Timestamp)>>,
}

impl Term {
    /// `generation` leads until `deadline`, or nobody here leads.
    pub(super) fn set(&self, open: Option<(Generation, Timestamp)>) {
        *self.lock() = open;
    }

    /// Whether an effect of `generation` may still be carried out at `now`.
    pub(super) fn permits(&self, generation: Generation, now: Timestamp) -> bool {
        self.lock()
            .is_some_and(|(open, deadline)| open == generation && now < deadline)
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Generation, Timestamp)>> {
        // A poisoned lock holds a plain value that is always whole.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_ends_at_its_deadline_and_with_its_successor() {
        let term = Term::default();
        assert!(!term.permits(Generation(1), Timestamp(0)));
        term.set(Some((Generation(2), Timestamp(10))));
        assert!(term.permits(Generation(2), Timestamp(9)));
        assert!(!term.permits(Generation(2), Timestamp(10)));
        assert!(!term.permits(Generation(1), Timestamp(9)));
        term.set(None);
        assert!(!term.permits(Generation(2), Timestamp(9)));
    }
}
