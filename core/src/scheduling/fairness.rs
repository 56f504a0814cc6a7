//! Whose turn it is: weighted fair share of the running slots between customers.
//!
//! The customer with the least `running / weight` is next, compared by cross-multiplication. One
//! with nothing running has share 0, whatever the weights, so it is never behind one that runs
//! something: no weight, however huge, can keep another customer from its first slot.
//!
//! That alone would starve among equals: with fewer slots than customers, everybody who waits is
//! at 0, and a fixed tie-break gives each slot that becomes free to the same one again. So equal
//! shares go by [`Share::turn`], a virtual time that a customer advances by 1 / weight with each
//! placement: among those at the same share, placements follow the weights and each waits for a
//! bounded number of others. A customer that had nothing waiting starts at the turn of the last
//! placement and so cannot save up turns. What is left goes by customer id: that decides between
//! customers who are equal in share and in turn, once, after which the winner is behind.
//!
//! Rejected: virtual time alone (it would give a customer with short workloads fewer slots than one
//! with long ones) and a random tie-break (a draw for each placement).

use crate::{ids::CustomerId, probes::planted};
use core::cmp::Ordering;

/// What one placement costs a customer of weight 1 in turns.
const TURN: u64 = 1 << 20;

/// A customer's place in the order of service.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    pub(super) running: u32,
    /// At least 1.
    pub(super) weight: u32,
    pub(super) turn: u64,
    pub(super) customer: CustomerId,
}

/// The turn after one more placement.
pub(super) fn next_turn(turn: u64, weight: u32) -> u64 {
    turn.saturating_add((TURN / u64::from(weight.max(1))).max(1))
}

impl Ord for Share {
    fn cmp(&self, other: &Self) -> Ordering {
        let (mut mine, mut theirs) = (u64::from(self.running), u64::from(other.running));
        if !planted!(WeightsIgnored) {
            mine *= u64::from(other.weight);
            theirs *= u64::from(self.weight);
        }
        mine.cmp(&theirs)
            .then(self.turn.cmp(&other.turn))
            .then(self.customer.cmp(&other.customer))
    }
}

impl PartialOrd for Share {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Share {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Share {}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(running: u32, weight: u32, turn: u64, customer: u128) -> Share {
        Share {
            running,
            weight,
            turn,
            customer: CustomerId(customer),
        }
    }

    #[test]
    fn the_least_running_for_its_weight_is_next() {
        assert!(share(1, 10, 0, 2) < share(1, 9, 0, 1));
        assert!(share(u32::MAX, u32::MAX, 0, 1) < share(2, 1, 0, 1));
    }

    #[test]
    fn nothing_running_is_never_behind_a_huge_weight() {
        assert!(share(0, 1, 7, 2) < share(1, u32::MAX, 0, 1));
    }

    #[test]
    fn equal_shares_take_turns() {
        assert!(share(0, 1, 1, 2) < share(0, 1, 2, 1));
        assert!(share(2, 4, 1, 1) < share(1, 2, 1, 2));
    }

    #[test]
    fn every_placement_moves_the_turn() {
        assert!(next_turn(5, u32::MAX) > 5);
        assert_eq!(next_turn(0, 0), TURN);
        assert_eq!(next_turn(u64::MAX, 1), u64::MAX);
    }
}
