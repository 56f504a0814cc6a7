//! See `sim_fuzz::ids`. Run: `scripts/fuzz ids 60`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sim_fuzz::ids::run(bytes));
