//! Where a bug can be planted, and where a situation is marked: for the simulator alone.
//!
//! Owns two macros. `planted!(Bug)` is the constant `false`, and `mark!(Mark)` nothing, unless these
//! sources are compiled with `cfg(planted)`; only the package in `sim/planted` does that, and nothing
//! that runs work depends on it. A planted bug stands where it would really be written, and is no
//! grosser than it would be there.

/// Whether this bug is planted in what this thread runs.
#[cfg(planted)]
macro_rules! planted {
    ($bug:ident) => {
        ::sim_probes::is_planted(::sim_probes::Bug::$bug)
    };
}

/// No bug is.
#[cfg(not(planted))]
macro_rules! planted {
    ($bug:ident) => {
        $crate::probes::NEVER
    };
}

/// Notes that a situation has come about.
#[cfg(planted)]
macro_rules! mark {
    ($mark:ident) => {
        ::sim_probes::reach(::sim_probes::Mark::$mark)
    };
}

/// Nobody takes notes.
#[cfg(not(planted))]
macro_rules! mark {
    ($mark:ident) => {};
}

#[cfg(not(planted))]
pub(crate) const NEVER: bool = false;

pub(crate) use {mark, planted};
