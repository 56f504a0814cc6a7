//! Random numbers from a seed, for jitter: the same seed gives the same numbers everywhere.
//!
//! Each user takes a child of its own by label, so that a new draw in one place does not move the
//! draws of another. Not for secrets, and not for identities, which enter as event data.

use crate::time::Duration;

/// A stream of numbers (SplitMix64).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rng {
    seed: u64,
    state: u64,
}

impl Rng {
    /// The stream of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, state: seed }
    }

    /// A stream of its own for this purpose. Depends on the seed and the label alone, not on what
    /// was drawn before.
    #[must_use]
    pub fn child(&self, label: &str) -> Self {
        // FNV-1a, spread over all bits with the seed.
        let hash = label.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self::new(mixed(self.seed ^ mixed(hash)))
    }

    /// The next number, any of them.
    pub const fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.state)
    }

    /// A duration from nothing up to, and including, `longest`, to the nanosecond; counted up to
    /// 584 years.
    pub fn duration_up_to(&mut self, longest: Duration) -> Duration {
        let span = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        let product = u128::from(self.number()) * (u128::from(span) + 1);
        Duration::from_nanos(u64::try_from(product >> 64).unwrap_or(span))
    }
}

const fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_splitmix64() {
        let mut rng = Rng::new(1_234_567);
        let numbers = [rng.number(), rng.number(), rng.number()];
        let published = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!(numbers, published);
    }

    #[test]
    fn a_child_does_not_depend_on_what_its_parent_drew() {
        let mut parent = Rng::new(7);
        let before = parent.child("a");
        parent.number();
        assert_eq!(parent.child("a"), before);
        assert_ne!(parent.child("b"), before);
    }

    #[test]
    fn durations_stay_within_their_bound() {
        let mut rng = Rng::new(7);
        let longest = Duration::from_nanos(3);
        let drawn: alloc::collections::BTreeSet<_> =
            (0..100).map(|_| rng.duration_up_to(longest)).collect();
        assert_eq!(drawn.len(), 4);
        assert!(drawn.iter().all(|duration| *duration <= longest));
        assert_eq!(rng.duration_up_to(Duration::ZERO), Duration::ZERO);
        assert!(rng.duration_up_to(Duration::MAX) <= Duration::from_nanos(u64::MAX));
    }
}
