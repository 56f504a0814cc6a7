//! See `sim_fuzz::keys`. Run: `scripts/fuzz keys 60`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sim_fuzz::keys::run(bytes));
