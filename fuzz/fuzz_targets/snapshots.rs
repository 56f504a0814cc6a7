//! See `sim_fuzz::snapshots`. Run: `scripts/fuzz snapshots 60`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sim_fuzz::snapshots::run(bytes));
