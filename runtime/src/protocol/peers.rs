//! What coordinators tell each other, on `coordinator.peers`. All of it hints: whoever misses one
//! finds the same in the database at its next sweep.

use super::encode::to_bytes;
use crate::store::KeyId;
use bytes::Bytes;
use niyanta_core::ids::{CustomerId, Generation, Incarnation, InvalidId, WorkloadId};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// A word between coordinators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerWord {
    /// These workloads were submitted or wished upon.
    WorkloadsHinted(Vec<WorkloadId>),
    /// Operators wish something of workers.
    WorkersHinted,
    /// Limits of these customers changed.
    CustomersHinted(Vec<CustomerId>),
    /// A leader gave this term up.
    LeaderResigned(Generation),
    /// This key was revoked: forget what is cached of it.
    KeyRevoked(KeyId),
    /// A leader proves that the broker carries its words to itself.
    Probe {
        /// Whose.
        incarnation: Incarnation,
        /// Names the probe.
        nonce: u64,
    },
}

/// The shape on the wire.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Wire {
    WorkloadsHinted { workloads: Vec<String> },
    WorkersHinted,
    CustomersHinted { customers: Vec<String> },
    LeaderResigned { generation: u64 },
    KeyRevoked { key: String },
    Probe { incarnation: String, nonce: u64 },
}

impl PeerWord {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        to_bytes(&match self {
            Self::WorkloadsHinted(ids) => Wire::WorkloadsHinted {
                workloads: ids.iter().map(ToString::to_string).collect(),
            },
            Self::WorkersHinted => Wire::WorkersHinted,
            Self::CustomersHinted(ids) => Wire::CustomersHinted {
                customers: ids.iter().map(ToString::to_string).collect(),
            },
            Self::LeaderResigned(generation) => Wire::LeaderResigned {
                generation: generation.0,
            },
            Self::KeyRevoked(key) => Wire::KeyRevoked {
                key: key.to_string(),
            },
            Self::Probe { incarnation, nonce } => Wire::Probe {
                incarnation: incarnation.to_string(),
                nonce: *nonce,
            },
        })
    }

    /// Reads one; `None` for anything else, also what only a newer version knows.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let word = match serde_json::from_slice(bytes).ok()? {
            Wire::WorkloadsHinted { workloads } => Self::WorkloadsHinted(parse_all(&workloads)?),
            Wire::WorkersHinted => Self::WorkersHinted,
            Wire::CustomersHinted { customers } => Self::CustomersHinted(parse_all(&customers)?),
            Wire::LeaderResigned { generation } => {
                i64::try_from(generation).ok()?;
                Self::LeaderResigned(Generation(generation))
            }
            Wire::KeyRevoked { key } => Self::KeyRevoked(key.parse().ok()?),
            Wire::Probe { incarnation, nonce } => Self::Probe {
                incarnation: incarnation.parse().ok()?,
                nonce,
            },
        };
        Some(word)
    }
}

fn parse_all<T: FromStr<Err = InvalidId>>(texts: &[String]) -> Option<Vec<T>> {
    texts.iter().map(|text| text.parse().ok()).collect()
}
