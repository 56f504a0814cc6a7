//! What a node and a worker take from their surroundings: the time of day, new identifiers,
//! randomness.
//!
//! Behind a trait, so that a simulator can supply all three and a run stays a function of its seed.

use niyanta_core::time::WallTime;

/// Time, identifiers and randomness.
pub trait Ambient: Send + Sync + 'static {
    /// The time of day. Only for what a clock that is wrong by seconds cannot break.
    fn now(&self) -> WallTime;
    /// A new identifier; later ones sort after earlier ones, roughly.
    fn new_id(&self) -> u128;
    /// Fills with bytes that nobody can guess.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemAmbient;

impl Ambient for SystemAmbient {
    fn now(&self) -> WallTime {
        WallTime(chrono::Utc::now().timestamp_micros())
    }

    fn new_id(&self) -> u128 {
        uuid::Uuid::now_v7().as_u128()
    }

    fn fill(&self, bytes: &mut [u8]) {
        rand::Rng::fill_bytes(&mut rand::rng(), bytes);
    }
}
