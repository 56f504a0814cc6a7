//! A piece of a state that its successors share until a step touches it.

use std::{
    fmt::{self, Debug, Write as _},
    hash::{DefaultHasher, Hasher as _},
    ops::Deref,
    sync::{Arc, OnceLock},
};

/// A value with the fingerprint of what it prints, which is taken when somebody asks for it.
#[derive(Debug)]
pub struct Part<T> {
    value: Arc<T>,
    print: OnceLock<u64>,
}

impl<T> Clone for Part<T> {
    fn clone(&self) -> Self {
        Self {
            value: Arc::clone(&self.value),
            print: self.print.clone(),
        }
    }
}

impl<T> Deref for Part<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Debug> Part<T> {
    /// A piece of its own.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self {
            value: Arc::new(value),
            print: OnceLock::new(),
        }
    }

    /// The fingerprint.
    pub fn print(&self) -> u64 {
        *self.print.get_or_init(|| print_of(&self.value))
    }
}

impl<T: Debug + Clone> Part<T> {
    /// Changes it for whoever holds this one; others that share it keep what they had.
    pub fn change<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        self.print = OnceLock::new();
        change(Arc::make_mut(&mut self.value))
    }
}

/// The fingerprint of what a value prints. Two values that print the same are taken for equal: every
/// field that matters prints, and nothing prints an address.
pub fn print_of(value: &impl Debug) -> u64 {
    struct Into(DefaultHasher);
    impl fmt::Write for Into {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }
    let mut into = Into(DefaultHasher::new());
    // Writing into a hasher cannot fail.
    let _: fmt::Result = write!(into, "{value:?}");
    into.0.finish()
}
