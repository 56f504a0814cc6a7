//! Who speaks: the label, the clock and a new message id for everything this coordinator sends.

use crate::{ambient::Ambient, clock::Clock, protocol::CoordinatorOrigin};
use bytes::Bytes;
use std::sync::Arc;
use uuid::Uuid;

#[derive(Clone)]
pub(super) struct Voice {
    coordinator_id: Arc<str>,
    clock: Arc<dyn Clock>,
    ambient: Arc<dyn Ambient>,
}

impl Voice {
    pub(super) fn new(
        coordinator_id: &str,
        clock: Arc<dyn Clock>,
        ambient: Arc<dyn Ambient>,
    ) -> Self {
        Self {
            coordinator_id: Arc::from(coordinator_id),
            clock,
            ambient,
        }
    }

    /// Encodes one message as this coordinator's.
    pub(super) fn say(&self, encode: impl FnOnce(&CoordinatorOrigin<'_>) -> Bytes) -> Bytes {
        let id = Uuid::from_u128(self.ambient.new_id()).simple().to_string();
        encode(&CoordinatorOrigin {
            coordinator_id: &self.coordinator_id,
            message_id: &id,
            now: self.clock.wall(),
        })
    }
}
