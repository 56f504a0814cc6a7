//! Where `now` comes from.
//!
//! Two clocks, never mixed: the node's own, which counts suspension and judges every lease and
//! deadline, and the wall clock, which only labels what people read.

use niyanta_core::time::{Duration, Timestamp, WallTime};

/// A node's clocks.
pub trait Clock: Send + Sync + 'static {
    /// The node's own clock: never steps back, goes on while the machine sleeps.
    fn now(&self) -> Timestamp;
    /// The wall clock, for labels alone.
    fn wall(&self) -> WallTime;
}

/// The clocks of this machine: `CLOCK_BOOTTIME`, which counts suspension (`std::time::Instant` does
/// not), and `CLOCK_REALTIME`.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
        Timestamp(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
    }

    fn wall(&self) -> WallTime {
        WallTime(chrono::Utc::now().timestamp_micros())
    }
}

/// Waits until `deadline`, or a while less: timers of the runtime do not count suspension, so nobody
/// should sleep for long without looking at the clock.
pub(crate) async fn sleep_towards(clock: &dyn Clock, deadline: Option<Timestamp>) {
    let left = deadline.map_or(LONGEST_SLEEP, |deadline| deadline.since(clock.now()));
    tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
}

/// The clock of a tokio runtime, so that it can be paused and advanced by a simulation. Both clocks
/// start at the same origin.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    origin: tokio::time::Instant,
    wall_origin: WallTime,
}

impl TokioClock {
    /// Starts now; the wall clock reads `wall_origin` now.
    #[must_use]
    pub fn new(wall_origin: WallTime) -> Self {
        Self {
            origin: tokio::time::Instant::now(),
            wall_origin,
        }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp::ZERO.plus(self.origin.elapsed())
    }

    fn wall(&self) -> WallTime {
        self.wall_origin.plus(self.origin.elapsed())
    }
}

const LONGEST_SLEEP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_clock_goes_forward() {
        let first = SystemClock.now();
        let second = SystemClock.now();
        assert!(first > Timestamp::ZERO && second >= first);
    }
}
