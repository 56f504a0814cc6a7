//! Whatever arrives where an identifier is expected: what is accepted prints as the very same text,
//! because an id has one form.

use niyanta_core::ids::{CustomerId, Incarnation, WorkerId, WorkloadId, WorkloadType};
use std::{fmt::Display, str::FromStr};

/// Reads a text as every kind of identifier.
///
/// # Panics
/// When one of them prints otherwise than it reads.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    has_one_form::<WorkloadId>(text);
    has_one_form::<CustomerId>(text);
    has_one_form::<WorkerId>(text);
    has_one_form::<Incarnation>(text);
    has_one_form::<WorkloadType>(text);
}

fn has_one_form<T: FromStr + Display>(text: &str) {
    if let Ok(id) = text.parse::<T>() {
        assert_eq!(id.to_string(), text);
    }
}
