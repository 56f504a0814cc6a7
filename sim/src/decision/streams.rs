//! The generator: labelled streams of a seed.
//!
//! A stream is named by a label and an index, so that a new draw in one place never shifts the draws
//! of another: a seed keeps most of its meaning when the simulator grows. Nothing else in this crate
//! makes entropy. Plans are drawn from streams before a run; while it goes on, only the
//! [`Decider`](super::Decider) draws.

use niyanta_core::time::Duration;

/// Makes the streams of one seed.
#[derive(Debug, Clone, Copy)]
pub struct Streams {
    seed: u64,
}

impl Streams {
    /// The streams of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The stream named by label and index, from its start.
    #[must_use]
    pub fn stream(self, label: &str, index: u64) -> Rng {
        let mut state = mix(self.seed ^ 0x6e69_7961_6e74_6121);
        for byte in label.bytes() {
            state = mix(state ^ u64::from(byte));
        }
        Rng {
            state: mix(state ^ index.wrapping_mul(GOLDEN)),
        }
    }
}

/// One stream: SplitMix64, which is small, fast and good enough to choose faults with.
#[derive(Debug, Clone)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// The stream that begins at this state.
    pub(super) const fn from_state(state: u64) -> Self {
        Self { state }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// The next 128 bits.
    pub fn wide_bits(&mut self) -> u128 {
        (u128::from(self.bits()) << 64) | u128::from(self.bits())
    }

    /// A number below `end`, which is above 0.
    pub fn below(&mut self, end: u64) -> u64 {
        let product = u128::from(self.bits()) * u128::from(end.max(1));
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True in so many of a thousand cases.
    pub fn per_mille(&mut self, rate: u64) -> bool {
        rate > 0 && self.below(1_000) < rate
    }

    /// A duration from `low` to `high`.
    pub fn duration(&mut self, low: Duration, high: Duration) -> Duration {
        let low = u64::try_from(low.as_nanos()).unwrap_or(u64::MAX);
        let high = u64::try_from(high.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.between(low, high))
    }

    /// One of the items; nothing when there is none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let len = u64::try_from(items.len()).unwrap_or(0);
        if len == 0 {
            return None;
        }
        items.get(usize::try_from(self.below(len)).unwrap_or(0))
    }

    /// An index below `len`, which is above 0.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(u64::try_from(len).unwrap_or(1))).unwrap_or(0)
    }
}

/// The finaliser of SplitMix64.
#[must_use]
pub const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_depends_on_seed_label_and_index_alone() {
        let draw = |seed, label, index| Streams::new(seed).stream(label, index).bits();
        assert_eq!(draw(1, "net", 0), draw(1, "net", 0));
        assert_ne!(draw(1, "net", 0), draw(2, "net", 0));
        assert_ne!(draw(1, "net", 0), draw(1, "store", 0));
        assert_ne!(draw(1, "net", 0), draw(1, "net", 1));
    }

    #[test]
    fn numbers_stay_in_their_range() {
        let mut rng = Streams::new(7).stream("test", 0);
        for _ in 0..1_000 {
            assert!((3..=5).contains(&rng.between(3, 5)));
            assert!(rng.below(1) == 0);
        }
    }
}
