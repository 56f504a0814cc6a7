//! See `sim_fuzz::schedules`. Run: `scripts/fuzz schedules 60`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sim_fuzz::schedules::run(bytes));
