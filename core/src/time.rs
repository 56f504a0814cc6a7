//! The two kinds of time, which never mix.
//!
//! [`Timestamp`] is a node's own clock that counts suspension (`CLOCK_BOOTTIME`): every deadline,
//! lease and silence is reckoned in it. [`WallTime`] is the database's clock: what is stored and
//! must mean the same to every coordinator. [`DatabaseClock`] turns one into the other, erring late.

pub use core::time::Duration;

/// A moment on this node's clock, in nanoseconds since an origin that only this node knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The earliest moment.
    pub const ZERO: Self = Self(0);
    /// Later than every moment that happens.
    pub const MAX: Self = Self(u64::MAX);

    /// The moment `duration` later, or [`Self::MAX`] at the end of the number range.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }

    /// The moment `duration` earlier, or [`Self::ZERO`].
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(nanos))
    }

    /// How long after `earlier` this is; nothing when it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A moment on the database's clock, in microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WallTime(pub i64);

impl WallTime {
    /// The moment `duration` later, or the end of the number range.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// The moment `duration` earlier, or the start of the number range.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(micros))
    }

    /// How long after `earlier` this is; nothing when it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let micros = self.0.saturating_sub(earlier.0).max(0);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}

/// What a node knows of the database's clock: one reading, and when the answer that carried it
/// arrived. The reading was taken before that, and this node's clock may run up to a fiftieth faster
/// than the database's, so [`Self::at`] is never ahead of the database (while its clock does not
/// step): what must not happen before a stored moment never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatabaseClock {
    reading: WallTime,
    arrived: Timestamp,
}

impl DatabaseClock {
    /// `reading` came in an answer that arrived at `arrived`.
    #[must_use]
    pub const fn new(reading: WallTime, arrived: Timestamp) -> Self {
        Self { reading, arrived }
    }

    /// The database's time at `now`, or a little earlier.
    #[must_use]
    pub fn at(self, now: Timestamp) -> WallTime {
        let elapsed = now.since(self.arrived);
        self.reading.plus(elapsed - elapsed / DRIFT)
    }

    /// When, on this node's clock, the database's clock has certainly reached `moment`.
    #[must_use]
    pub fn when(self, moment: WallTime) -> Timestamp {
        if moment <= self.reading {
            return self.arrived;
        }
        let remaining = moment.since(self.reading);
        // The inverse of `at`, and a microsecond for what the divisions cut off.
        let longer = remaining + remaining / (DRIFT - 1);
        self.arrived.plus(longer + Duration::from_micros(1))
    }
}

/// One part in so many: how much faster than the database's clock a node's may run, as for workers.
const DRIFT: u32 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Timestamp::MAX.plus(Duration::MAX), Timestamp::MAX);
        assert_eq!(Timestamp(5).minus(Duration::from_secs(1)), Timestamp::ZERO);
        assert_eq!(WallTime(i64::MAX).plus(Duration::MAX), WallTime(i64::MAX));
        assert_eq!(WallTime(i64::MIN).since(WallTime(i64::MAX)), Duration::ZERO);
    }

    #[test]
    fn the_database_clock_is_never_ahead() {
        let clock = DatabaseClock::new(WallTime(1_000_000), Timestamp(50));
        assert_eq!(clock.at(Timestamp(50)), WallTime(1_000_000));
        assert_eq!(clock.when(WallTime(1_000_000)), Timestamp(50));
        let due = clock.when(WallTime(3_000_000));
        assert!(clock.at(due) >= WallTime(3_000_000));
        assert!(clock.at(due) <= WallTime(3_000_001));
        let fast = Timestamp(50).plus(Duration::from_millis(1_020));
        assert!(clock.at(fast) <= WallTime(2_000_000), "ahead by its drift");
    }
}
