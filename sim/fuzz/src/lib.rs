//! What the fuzz targets do with their bytes. The fuzzer calls it, and so does an ordinary test, with
//! the corpus that is kept.
//!
//! Owns the body of each target and what it holds to be true. The targets themselves, which need the
//! nightly compiler, are in `fuzz/`, and call nothing but this. Does not own a fuzzer.

#[cfg(feature = "configuration")]
pub mod configuration;
#[cfg(feature = "wire")]
pub mod envelopes;
#[cfg(feature = "wire")]
pub mod http;
pub mod ids;
#[cfg(feature = "wire")]
pub mod keys;
#[cfg(feature = "schedules")]
pub mod schedules;
pub mod snapshots;
pub mod transition;

/// A target by its name.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// What it and its corpus are called.
    pub name: &'static str,
    /// What it does with an input.
    pub run: fn(&[u8]),
}

/// Every target there is.
pub const TARGETS: &[Target] = &[
    #[cfg(feature = "configuration")]
    Target {
        name: "configuration",
        run: configuration::run,
    },
    #[cfg(feature = "wire")]
    Target {
        name: "envelopes",
        run: envelopes::run,
    },
    #[cfg(feature = "wire")]
    Target {
        name: "http",
        run: http::run,
    },
    Target {
        name: "ids",
        run: ids::run,
    },
    #[cfg(feature = "wire")]
    Target {
        name: "keys",
        run: keys::run,
    },
    #[cfg(feature = "schedules")]
    Target {
        name: "schedules",
        run: schedules::run,
    },
    Target {
        name: "snapshots",
        run: snapshots::run,
    },
    Target {
        name: "transition",
        run: |bytes| {
            transition::run(bytes);
        },
    },
];
