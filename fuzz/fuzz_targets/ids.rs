//! Whatever bytes arrive where an identifier is expected, parsing never panics, and what it
//! accepts prints as the very same text: an id has one form.
//!
//! Run: `cargo +nightly fuzz run ids -s none` (safe Rust gains nothing from the sanitizer).
#![no_main]

use std::fmt::Display;
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use niyanta_core::ids::{CustomerId, Incarnation, WorkerId, WorkloadId, WorkloadType};

fuzz_target!(|text: &str| {
    has_one_form::<WorkloadId>(text);
    has_one_form::<CustomerId>(text);
    has_one_form::<WorkerId>(text);
    has_one_form::<Incarnation>(text);
    has_one_form::<WorkloadType>(text);
});

fn has_one_form<T: FromStr + Display>(text: &str) {
    if let Ok(id) = text.parse::<T>() {
        assert_eq!(id.to_string(), text);
    }
}
