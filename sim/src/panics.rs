//! Panics of simulated processes: one that dies in silence fails the run.

use std::cell::RefCell;

/// What a simulated fault panics with: nobody is told of it.
pub(crate) const ON_PURPOSE: &str = "a simulated adapter panics";

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
    static LISTENS: RefCell<u32> = const { RefCell::new(0) };
}

/// A task that panics dies in silence otherwise. Panics of other threads are told as ever.
pub(crate) fn listen() -> Listening {
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload_as_str() == Some(ON_PURPOSE) {
                return;
            }
            if LISTENS.with_borrow(|listens| *listens > 0) {
                PANIC.with_borrow_mut(|panic| {
                    panic.get_or_insert_with(|| info.to_string());
                });
            } else {
                told(info);
            }
        }));
    });
    LISTENS.with_borrow_mut(|listens| *listens += 1);
    Listening
}

#[must_use]
pub(crate) struct Listening;

impl Drop for Listening {
    fn drop(&mut self) {
        LISTENS.with_borrow_mut(|listens| *listens -= 1);
        PANIC.take();
    }
}

/// The first panic of this thread that nobody was told of.
pub(crate) fn take() -> Option<String> {
    PANIC.take()
}
