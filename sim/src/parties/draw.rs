//! What both engines draw alike.

use crate::{
    clock::{Clock, Moment},
    decision::Rng,
};
use niyanta_core::time::Duration;

/// How many of a thousand messages the broker loses, doubles and delays: each up to six of a hundred,
/// or none.
pub(crate) fn broker_rates(rng: &mut Rng) -> [u64; 3] {
    let mut rate = |most| {
        if rng.per_mille(500) {
            rng.below(most)
        } else {
            0
        }
    };
    [rate(60), rate(60), rate(60)]
}

/// A clock that began somewhen and drifts by at most half a percent.
pub(crate) fn clock(rng: &mut Rng) -> Clock {
    Clock {
        origin: rng.between(1, 1_000_000) * 1_000_000_000,
        drift_ppm: i64::try_from(rng.below(10_001)).unwrap_or(0) - 5_000,
    }
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// So many milliseconds after the beginning.
pub(crate) fn at(millis: u64) -> Moment {
    Moment::default().plus(Duration::from_millis(millis))
}
