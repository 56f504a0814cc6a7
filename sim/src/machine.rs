//! What the simulator asks of the production core beside `handle` and `next_deadline`.

use niyanta_core::{Coordinator, ids::Generation, time::Timestamp};

/// The term that it leads, from taking the lease until it ends or is trusted no more.
#[must_use]
pub fn term(core: &Coordinator, now: Timestamp) -> Option<Generation> {
    core.lease()
        .filter(|(_, until)| now < *until)
        .map(|(generation, _)| generation)
}
