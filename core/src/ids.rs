//! Identifiers and counters, each its own type so that none can stand in for another.
//!
//! Owns parsing and printing. Does not make new identifiers: those enter as event data, because
//! making one needs entropy.

use alloc::{string::String, sync::Arc};
use core::{fmt, str::FromStr};

/// A text that is not a valid identifier of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidId {
    /// What was being parsed, in the words of the contract.
    pub kind: &'static str,
    /// What is allowed.
    pub allowed: &'static str,
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid {}: must be {}", self.kind, self.allowed)
    }
}

impl core::error::Error for InvalidId {}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl $name {
            /// Before the first.
            pub const ZERO: Self = Self(0);

            /// The only way up. Panics at the end of the number range, which no deployment reaches.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

counter!(
    /// The number of a leadership term. Grows with each new leader and each rebuild, never reused.
    /// Stored as a signed 64-bit integer: values above `i64::MAX` are refused at every edge.
    Generation(u64)
);
counter!(
    /// One assignment of a workload, numbered from 1 and never reused (0 before the first).
    /// With the generation it is the fencing token handed to the workload's own code.
    Attempt(u32)
);
counter!(
    /// The number of a batch of the leader's commits, from 1 in each generation.
    BatchNumber(u64)
);
counter!(
    /// Counts the writes of the API's half of a row (`desired`), so that the leader can say which
    /// it has seen.
    WishRevision(u64)
);
counter!(
    /// Grows with each new message of one incarnation of a worker.
    MessageSequence(u64)
);
counter!(
    /// Names a question to the lease row, so that a late answer is not taken for a newer one's.
    AskId(u64)
);
counter!(
    /// Names a load of rows, so that its answer can be matched to what was asked.
    LoadId(u64)
);
counter!(
    /// The driver's handle on a worker's request that waits for an answer.
    RequestId(u64)
);

macro_rules! entity_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl $name {
            /// What the printed form begins with.
            pub const PREFIX: &'static str = $prefix;
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{:032x}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let invalid = InvalidId {
                    kind: $kind,
                    allowed: concat!($prefix, " and 32 lower-case hexadecimal digits"),
                };
                let Some(hex) = text.strip_prefix($prefix) else {
                    return Err(invalid);
                };
                let canonical = hex.len() == 32
                    && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                if !canonical {
                    return Err(invalid);
                }
                u128::from_str_radix(hex, 16).map(Self).map_err(|_| invalid)
            }
        }
    };
}

entity_id!(
    /// A workload: `wl_` and 32 hexadecimal digits.
    WorkloadId, "wl_", "workload id"
);
entity_id!(
    /// A customer: `cus_` and 32 hexadecimal digits.
    CustomerId, "cus_", "customer id"
);

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:literal, $allowed:literal, $pattern:pat) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text, which is also the printed form.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let fits = !text.is_empty() && text.len() <= $max;
                if fits && text.bytes().all(|b| matches!(b, $pattern)) {
                    Ok(Self(Arc::from(text)))
                } else {
                    Err(InvalidId { kind: $kind, allowed: $allowed })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }
    };
}

text_id!(
    /// A worker's id, chosen by whoever deploys it. Outlives the process.
    WorkerId, "worker id", 64, "1 to 64 characters of A-Z a-z 0-9 _ -",
    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'
);
text_id!(
    /// One start of a process, coordinator or worker: random, chosen by the process itself.
    Incarnation, "incarnation", 128, "1 to 128 characters of A-Z a-z 0-9 _ . : -",
    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b':'
);
text_id!(
    /// What kind of work a workload is, and what a worker is capable of.
    WorkloadType, "workload type", 64, "1 to 64 characters of a-z 0-9 _ . -",
    b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-'
);

/// Groups the workloads of one customer that can be placed on exactly the same workers: a hash of
/// workload type and affinity rules, made at submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlacementClass(pub i64);

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_printed_id_parses_to_itself() {
        let id = WorkloadId(0x0192_aaaa_bbbb_cccc_dddd_0000_1111_2222);
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn foreign_shapes_are_refused() {
        for text in ["", "wl_", "wl_XYZ", "cus_00000000000000000000000000000000"] {
            assert!(text.parse::<WorkloadId>().is_err(), "{text}");
        }
        assert!(
            "wl_+0000000000000000000000000000000"
                .parse::<WorkloadId>()
                .is_err()
        );
        assert!("a b".parse::<WorkerId>().is_err());
        assert!("Upper".parse::<WorkloadType>().is_err());
    }
}
