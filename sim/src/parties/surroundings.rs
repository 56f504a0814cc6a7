//! What a process takes from its surroundings: a clock of its own, the wall's time, and entropy
//! that is drawn from the seed.

use crate::{
    clock::{Clock, Moment},
    decision::Rng,
    ports::Time,
};
use niyanta_core::time::{Timestamp, WallTime};
use runtime::ambient::Ambient;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A host's clock: an origin and a speed of its own.
#[derive(Debug, Clone)]
pub(crate) struct HostClock {
    clock: Clock,
    time: Time,
}

impl HostClock {
    pub(crate) const fn new(clock: Clock, time: Time) -> Self {
        Self { clock, time }
    }
}

impl runtime::clock::Clock for HostClock {
    fn now(&self) -> Timestamp {
        self.clock.read(self.time.now())
    }

    fn wall(&self) -> WallTime {
        wall(&self.time)
    }
}

fn wall(time: &Time) -> WallTime {
    WallTime(1_790_000_000_000_000).plus(time.now().since(Moment::default()))
}

/// The wall's time and a stream of draws.
pub(crate) struct Surroundings {
    rng: Mutex<Rng>,
    time: Time,
}

impl Surroundings {
    pub(crate) const fn new(rng: Rng, time: Time) -> Self {
        Self {
            rng: Mutex::new(rng),
            time,
        }
    }

    fn rng(&self) -> MutexGuard<'_, Rng> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ambient for Surroundings {
    fn now(&self) -> WallTime {
        wall(&self.time)
    }

    fn new_id(&self) -> u128 {
        self.rng().wide_bits()
    }

    fn fill(&self, bytes: &mut [u8]) {
        let mut rng = self.rng();
        for byte in bytes {
            *byte = u8::try_from(rng.below(256)).unwrap_or(0);
        }
    }
}
