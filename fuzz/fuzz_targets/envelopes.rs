//! See `sim_fuzz::envelopes`. Run: `scripts/fuzz envelopes 60`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sim_fuzz::envelopes::run(bytes));
