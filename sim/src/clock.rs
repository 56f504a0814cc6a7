//! True time, which only the simulator knows, and the clocks that nodes read instead.
//!
//! Every node's clock has its own origin and its own speed, and counts suspension. The database's
//! clock is a wall clock with a speed of its own.

use niyanta_core::time::{Duration, Timestamp, WallTime};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A moment of true time, in nanoseconds from the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// The moment `duration` later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }

    /// How long after `earlier` this is.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0 / 1_000;
        write!(f, "{:>4}.{:06} s", micros / 1_000_000, micros % 1_000_000)
    }
}

/// A node's clock: an origin that only it knows, and a speed.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Clock {
    /// What it reads at the start of the run, in nanoseconds.
    pub origin: u64,
    /// How much faster than true time it runs, in millionths.
    pub drift_ppm: i64,
}

impl Clock {
    /// What it reads at `moment`.
    #[must_use]
    pub fn read(self, moment: Moment) -> Timestamp {
        Timestamp(self.origin.saturating_add(scale(moment.0, self.drift_ppm)))
    }

    /// The first moment at which it reads `local` or later.
    #[must_use]
    pub fn when(self, local: Timestamp) -> Moment {
        let elapsed = local.0.saturating_sub(self.origin);
        let speed = i128::from(1_000_000 + self.drift_ppm);
        let nearly = i128::from(elapsed) * 1_000_000 / speed;
        let mut guess = u64::try_from(nearly).unwrap_or(u64::MAX);
        while scale(guess, self.drift_ppm) < elapsed {
            guess += 1;
        }
        Moment(guess)
    }
}

/// The database's clock.
#[derive(Debug, Clone, Copy)]
pub struct WallClock {
    drift_ppm: i64,
    stepped_micros: i64,
}

impl WallClock {
    /// A clock that runs so much faster than true time, in millionths.
    #[must_use]
    pub const fn at_speed(drift_ppm: i64) -> Self {
        Self {
            drift_ppm,
            stepped_micros: 0,
        }
    }

    /// It is set forward, or back.
    pub const fn step(&mut self, micros: i64) {
        self.stepped_micros += micros;
    }

    /// What it reads at `moment`.
    #[must_use]
    pub fn read(self, moment: Moment) -> WallTime {
        let micros = scale(moment.0, self.drift_ppm) / 1_000;
        let origin = WALL_ORIGIN_MICROS + self.stepped_micros;
        WallTime(origin + i64::try_from(micros).unwrap_or(i64::MAX / 2))
    }
}

fn scale(nanos: u64, ppm: i64) -> u64 {
    // Years of true time at a thousand times the drift of any clock fit.
    let whole = nanos / 1_000_000;
    let rest = nanos % 1_000_000;
    let whole = whole.cast_signed() * ppm;
    let rest = rest.cast_signed() * ppm / 1_000_000;
    nanos.saturating_add_signed(whole + rest)
}

/// Somewhere in 2026.
const WALL_ORIGIN_MICROS: i64 = 1_790_000_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_up_is_never_early() {
        for drift_ppm in [-9_000, -1, 0, 1, 9_000] {
            let clock = Clock {
                origin: 77_000_000_000,
                drift_ppm,
            };
            for local in [77_000_000_000, 77_000_000_001, 99_123_456_789] {
                let moment = clock.when(Timestamp(local));
                assert!(
                    clock.read(moment) >= Timestamp(local),
                    "{drift_ppm} {local}"
                );
                assert!(
                    clock.read(moment) <= Timestamp(local + 3),
                    "{drift_ppm} {local}"
                );
            }
        }
    }
}
