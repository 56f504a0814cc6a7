//! How long a workload waits before its next attempt: full jitter below a doubling, capped bound.
//!
//! Owns the arithmetic. Counting the failures and writing the moment down is the coordinator's.
//! The draw is a function of (seed, workload, attempt), so that no other draw shifts it.

use crate::{
    Config,
    ids::{Attempt, WorkloadId},
    probes::planted,
    time::Duration,
};

/// The most that retry number `retry` (from 1) may wait.
pub(crate) fn backoff_bound(config: &Config, retry: u32) -> Duration {
    let doublings = retry.saturating_sub(1).min(31);
    let bound = config.retry_backoff_base.saturating_mul(1 << doublings);
    if planted!(BackoffUncapped) {
        return bound;
    }
    bound.min(config.retry_backoff_cap)
}

/// How long retry number `retry` waits: anything up to its bound.
pub(crate) fn backoff(config: &Config, id: WorkloadId, attempt: Attempt, retry: u32) -> Duration {
    let bound = u64::try_from(backoff_bound(config, retry).as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(draw(config.seed, id, attempt) % bound.saturating_add(1).max(1))
}

/// The splitmix64 finaliser over everything that names the draw.
fn draw(seed: u64, id: WorkloadId, attempt: Attempt) -> u64 {
    let [high, low] =
        [(id.0 >> 64) & MASK, id.0 & MASK].map(|half| u64::try_from(half).unwrap_or(0));
    [high, low, u64::from(attempt.0)]
        .into_iter()
        .fold(mix(seed), |state, part| mix(state ^ part))
}

const MASK: u128 = u64::MAX as u128;

const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_backoff_stays_below_its_doubling_capped_bound() {
        let config = Config::new("c".parse().unwrap(), 7);
        assert_eq!(backoff_bound(&config, 1), Duration::from_secs(1));
        assert_eq!(backoff_bound(&config, 4), Duration::from_secs(8));
        assert_eq!(backoff_bound(&config, 100), config.retry_backoff_cap);
        let mut longest = Duration::ZERO;
        for attempt in 1..200 {
            let wait = backoff(&config, WorkloadId(9), Attempt(attempt), 4);
            assert!(wait <= Duration::from_secs(8));
            longest = longest.max(wait);
        }
        assert!(
            longest > Duration::from_secs(7),
            "not full jitter: {longest:?}"
        );
    }
}
