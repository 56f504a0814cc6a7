//! The best k of a longer order, the rest of which is in the database.
//!
//! Invariant: everything that waits and comes before `missing_from` is held; nothing at or behind
//! it is, except while the window is being refilled.

use alloc::collections::BTreeSet;

/// What became of something offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission<P> {
    /// It is held.
    Held,
    /// It is held, and this one no longer is.
    Displaced(P),
    /// It stays in the database.
    Refused,
}

impl<P> Admission<P> {
    pub(super) fn map<Q>(self, f: impl FnOnce(P) -> Q) -> Admission<Q> {
        match self {
            Self::Held => Admission::Held,
            Self::Displaced(place) => Admission::Displaced(f(place)),
            Self::Refused => Admission::Refused,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Window<P> {
    held: BTreeSet<P>,
    /// The first that is known to be left out. None: all are held.
    missing_from: Option<P>,
    /// An answer is on its way that begins where the window ends.
    refilling: bool,
}

impl<P: Ord + Copy> Window<P> {
    pub(super) const fn new() -> Self {
        Self {
            held: BTreeSet::new(),
            missing_from: None,
            refilling: false,
        }
    }

    pub(super) fn admit(&mut self, place: P, capacity: usize) -> Admission<P> {
        let beyond = self.missing_from.is_some_and(|missing| missing <= place);
        if beyond {
            return Admission::Refused;
        }
        self.held.insert(place);
        if self.held.len() <= capacity {
            return Admission::Held;
        }
        let Some(worst) = self.held.pop_last() else {
            return Admission::Held;
        };
        // Before `missing_from`, as everything held is.
        self.missing_from = Some(worst);
        if worst == place {
            Admission::Refused
        } else {
            Admission::Displaced(worst)
        }
    }

    /// Like [`Self::admit`], but keeps no account of what is left out.
    pub(super) fn admit_loosely(&mut self, place: P, capacity: usize) -> Admission<P> {
        let admission = self.admit(place, capacity);
        self.missing_from = None;
        admission
    }

    pub(super) fn remove(&mut self, place: &P) -> bool {
        self.held.remove(place)
    }

    pub(super) fn first(&self) -> Option<P> {
        self.held.first().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn from(&self, place: P) -> impl Iterator<Item = &P> {
        self.held.range(place..)
    }

    pub(super) const fn held(&self) -> &BTreeSet<P> {
        &self.held
    }

    pub(super) const fn is_truncated(&self) -> bool {
        self.missing_from.is_some()
    }

    /// Truncated, and less than a quarter full.
    pub(super) fn is_low(&self, capacity: usize) -> bool {
        self.missing_from.is_some() && !self.refilling && self.held.len() * 4 < capacity
    }

    /// What comes next is admitted beyond the end; gives the first place that was missing.
    pub(super) const fn begin_refill(&mut self) -> Option<P> {
        self.refilling = true;
        self.missing_from.take()
    }

    /// The answer has been admitted. `rest` is where the next begins, if the database holds more.
    pub(super) fn end_refill(&mut self, rest: Option<P>) {
        self.refilling = false;
        self.missing_from = match (self.missing_from, rest) {
            (Some(known), Some(rest)) => Some(known.min(rest)),
            (known, rest) => known.or(rest),
        };
    }
}
