//! A cap on how many bytes are read in a second, for disks that others need too.
//!
//! One pace is shared by all attempts of a worker. What was read is paid for afterwards, by
//! waiting: a step is small, so nobody is ever far ahead, and a stop is obeyed within one step.

use std::{
    num::NonZeroU64,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: NonZeroU64,
    /// When all that was read is paid for.
    paid_at: Mutex<Option<Instant>>,
}

impl Pace {
    pub(super) const fn new(bytes_per_second: NonZeroU64) -> Self {
        Self {
            bytes_per_second,
            paid_at: Mutex::new(None),
        }
    }

    /// How much one step may read.
    pub(super) fn bytes_per_step(&self) -> usize {
        let bytes = (self.bytes_per_second.get() / STEPS_PER_SECOND).max(1);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// When the next step may begin, after a step that read so many bytes.
    pub(super) fn pay(&self, bytes: u64) -> Instant {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second.get());
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        // The lock holds a plain moment, which is always whole.
        let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let begin = paid_at.map_or(now, |paid_at| paid_at.max(now));
        *paid_at.insert(begin + cost)
    }
}

const STEPS_PER_SECOND: u64 = 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_who_share_a_pace_pay_for_what_any_of_them_read() {
        let pace = Pace::new(NonZeroU64::new(1_000).unwrap());
        let start = Instant::now();
        assert_eq!(pace.bytes_per_step(), 100);
        assert_eq!(pace.pay(100), start + Duration::from_millis(100));
        assert_eq!(pace.pay(100), start + Duration::from_millis(200));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(
            pace.pay(100),
            start + Duration::from_millis(5_100),
            "what was not read in idle times is not saved up"
        );
    }
}
