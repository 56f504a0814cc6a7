//! The switches of planted bugs, and the marks of situations that were reached.
//!
//! Owns which bugs there are ([`Bug`]), which one is planted in what this thread runs, which
//! situations matter ([`Mark`]), and which of them this thread has reached. The sources of `core` and
//! `runtime` ask through their own macros `planted!` and `mark!`, which mean nothing unless these
//! sources are compiled for the simulator (`sim/planted`). So no production crate depends on this
//! one, and no switch can be turned on where work is done.
//!
//! Deliberately thread-local: a simulated run stays on one thread, and runs side by side must not
//! plant bugs in each other.

mod bug;
mod mark;

pub use bug::{Bug, Home, Layer};
pub use mark::{Mark, Marks};

use std::cell::Cell;

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    static REACHED: Cell<Marks> = const { Cell::new(Marks::NONE) };
}

/// Plants a bug in everything that this thread runs from now on, or none.
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// The bug that is planted on this thread.
#[must_use]
pub fn planted() -> Option<Bug> {
    PLANTED.get()
}

/// Whether this bug is the one that is planted.
#[inline]
#[must_use]
pub fn is_planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Notes that a situation was reached.
#[inline]
pub fn reach(mark: Mark) {
    REACHED.set(REACHED.get().with(mark));
}

/// The situations that this thread has reached since it was last asked.
#[must_use]
pub fn take_reached() -> Marks {
    REACHED.replace(Marks::NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planted_bug_stays_on_its_thread() {
        plant(Some(Bug::LeaseFromAnswer));
        let elsewhere = std::thread::spawn(planted).join().ok().flatten();
        assert_eq!(elsewhere, None);
        assert!(is_planted(Bug::LeaseFromAnswer));
        plant(None);
        assert!(!is_planted(Bug::LeaseFromAnswer));
    }

    #[test]
    fn what_was_reached_is_asked_once() {
        let _before = take_reached();
        reach(Mark::CommitAppliedAnswerLost);
        let reached = take_reached();
        assert!(reached.contains(Mark::CommitAppliedAnswerLost));
        assert_eq!(reached.iter().count(), 1);
        assert_eq!(take_reached(), Marks::NONE);
    }

    #[test]
    fn a_bug_is_found_by_its_number_and_by_its_name() {
        for bug in Bug::ALL.iter().copied() {
            assert_eq!(bug.number().to_string().parse(), Ok(bug));
            assert_eq!(bug.name().parse(), Ok(bug));
        }
        assert!("0".parse::<Bug>().is_err());
        assert!("NoSuchBug".parse::<Bug>().is_err());
    }

    #[test]
    fn the_bank_numbers_each_bug_once_and_leaves_none_out() {
        let mut numbers: Vec<u16> = Bug::ALL.iter().map(|bug| bug.number()).collect();
        numbers.sort_unstable();
        let listed: Vec<u16> = numbers.iter().copied().filter(|&n| n <= 64).collect();
        assert_eq!(listed, (1..=64).collect::<Vec<u16>>());
        numbers.dedup();
        assert_eq!(numbers.len(), Bug::ALL.len());
    }

    #[test]
    fn marks_fit_their_set() {
        let mut all = Marks::NONE;
        for mark in Mark::ALL.iter().copied() {
            assert!(!all.contains(mark));
            all = all.with(mark);
        }
        assert_eq!(all.iter().count(), Mark::ALL.len());
        assert_eq!(all, Marks::all());
    }
}
