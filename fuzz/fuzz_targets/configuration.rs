//! See `sim_fuzz::configuration`. Run: `scripts/fuzz configuration 60`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sim_fuzz::configuration::run(bytes));
