//! See `sim_fuzz::http`. Run: `scripts/fuzz http 60`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sim_fuzz::http::run(bytes));
