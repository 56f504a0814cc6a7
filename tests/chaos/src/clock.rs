//! The one clock of a run: `CLOCK_BOOTTIME`, the same in all processes of a machine, counts
//! suspension, never steps.

use rustix::time::{ClockId, clock_gettime};

/// Microseconds since the machine started.
#[must_use]
pub fn now() -> i64 {
    micros(ClockId::Boottime)
}

/// What is to be added to a moment of the wall clock to have it on this clock.
#[must_use]
pub fn from_wall() -> i64 {
    now() - micros(ClockId::Realtime)
}

fn micros(clock: ClockId) -> i64 {
    let now = clock_gettime(clock);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

/// Microseconds in a second.
pub const SECOND: i64 = 1_000_000;
/// Microseconds in a millisecond.
pub const MILLISECOND: i64 = 1_000;
