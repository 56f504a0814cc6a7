//! The worker's clock. Owns the choice between the one that counts suspension and the runtime's own.

use niyanta_core::time::{Duration, Timestamp};

/// What a worker reckons its lease by.
#[derive(Debug, Clone, Copy)]
pub enum Clock {
    /// `CLOCK_BOOTTIME`: goes on while the machine sleeps.
    BootTime,
    /// The async runtime's, which tests and simulators can pause; counts from this moment.
    Runtime(tokio::time::Instant),
}

impl Clock {
    /// Now.
    #[must_use]
    pub fn now(self) -> Timestamp {
        match self {
            Self::BootTime => boot_time(),
            Self::Runtime(origin) => Timestamp::ZERO.plus(origin.elapsed()),
        }
    }

    /// Waits until `deadline`, or a while less: timers of the runtime do not count suspension, so
    /// nobody should sleep for long without looking at the clock.
    pub async fn sleep_towards(self, deadline: Option<Timestamp>) {
        let left = deadline.map_or(LONGEST_SLEEP, |deadline| deadline.since(self.now()));
        tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
    }
}

/// `CLOCK_BOOTTIME`, the same in every process of this machine.
pub(crate) fn boot_time() -> Timestamp {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Timestamp::ZERO.plus(Duration::new(seconds, nanos))
}

const LONGEST_SLEEP: Duration = Duration::from_secs(1);
