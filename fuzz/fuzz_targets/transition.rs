//! See `sim_fuzz::transition`. Run: `scripts/fuzz transition 60`.
//!
//! Says now and then how many transitions it has made, and how many a second.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::{cell::Cell, sync::OnceLock, time::Instant};

static BEGAN: OnceLock<Instant> = OnceLock::new();

thread_local! {
    static MADE: Cell<(u64, u64)> = const { Cell::new((0, 1 << 20)) };
}

fuzz_target!(|bytes: &[u8]| {
    let began = BEGAN.get_or_init(Instant::now);
    let (made, next) = MADE.get();
    let made = made + sim_fuzz::transition::run(bytes);
    let is_due = made >= next;
    MADE.set((made, if is_due { 2 * next } else { next }));
    if is_due {
        let seconds = began.elapsed().as_secs_f64();
        eprintln!("transitions: {made} in {seconds:.0} s");
    }
});
