//! Real processes under seeded faults, and what may be seen of it afterwards.
//!
//! ```text
//! seed ─▶ schedule ─▶ nemesis ─▶ site: Postgres, NATS, coordinators, workers, a line between each pair
//!                                  ▲ │
//!              customers ──────────┘ └─▶ diaries of the workers, tables at the end
//!                  └────────▶ history (a file) ◀──┘
//!                                  └─▶ check ─▶ violations, each of a named property
//! ```
//!
//! Owns the faults, the customers, the history and its judge. The history is a file that can be
//! judged again by itself: nothing that the judge needs is anywhere else. Deliberately knows nothing
//! of the code under test but its tables, which are read once, when all is quiet.

#![allow(
    clippy::unwrap_used,
    reason = "test support: a rig that does not stand is a failed test, and only a panic makes it \
              print its logs"
)]

pub mod check;
pub mod clock;
mod customers;
pub mod failover;
pub mod history;
mod nemesis;
pub mod plot;
pub mod run;
pub mod schedule;
mod site;
mod tables;
