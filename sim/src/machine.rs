//! What the simulator asks of the production core beside `handle` and `next_deadline`.

use niyanta_core::{Coordinator, ids::Generation};

/// The term that it leads, from taking the lease until it ends.
#[must_use]
pub fn term(core: &Coordinator) -> Option<Generation> {
    core.generation()
}
