//! Runs the production `niyanta-core` through seeded failovers of several coordinators, against
//! honest models of the database and the broker, and checks the properties of the design after every
//! step.
//!
//! ```text
//!            ┌───────── World: one heap of (true time, order) ─────────┐
//! clients ──▶│ driver of c0 ─▶ Coordinator::handle ─▶ effects ─▶ store │──▶ properties
//! operators ▶│ driver of c1      (production)                  broker  │──▶ chained hash
//! workers ──▶│ …                                                       │──▶ story
//!            └───────── Plan: everything drawn from the seed ──────────┘
//! ```
//!
//! There is no async in this engine, no thread inside a run, and no entropy but the seed. The same seed
//! gives the same hash, in any process. [`turmoil`] and `tasks` run the production driver as well.
//!
//! Compiled with `--cfg madsim` this is another engine, [`tasks`], and what it stands on. Nothing else
//! is public then, so that what nobody calls is not compiled to the end.
#![cfg_attr(
    madsim,
    allow(
        dead_code,
        unreachable_pub,
        unused_imports,
        reason = "only `tasks` is called in that build"
    )
)]

#[cfg(not(madsim))]
pub mod bank;
#[cfg(madsim)]
mod bound;
#[cfg(not(madsim))]
pub mod bound;
pub mod clock;
#[cfg(not(madsim))]
pub mod conformance;
#[cfg(madsim)]
mod decision;
#[cfg(not(madsim))]
pub mod decision;
#[cfg(madsim)]
mod explore;
#[cfg(not(madsim))]
pub mod explore;
#[cfg(madsim)]
mod machine;
#[cfg(not(madsim))]
pub mod machine;
#[cfg(madsim)]
mod message;
#[cfg(not(madsim))]
pub mod message;
#[cfg(madsim)]
mod model;
#[cfg(not(madsim))]
pub mod model;
mod panics;
pub mod parties;
#[cfg(madsim)]
mod picture;
#[cfg(not(madsim))]
pub mod picture;
#[cfg(madsim)]
mod plan;
#[cfg(not(madsim))]
pub mod plan;
pub mod ports;
pub mod properties;
#[cfg(madsim)]
mod recovery;
#[cfg(not(madsim))]
pub mod recovery;
#[cfg(not(madsim))]
pub mod remote;
#[cfg(not(madsim))]
pub mod report;
#[cfg(madsim)]
mod schedule;
#[cfg(not(madsim))]
pub mod schedule;
#[cfg(not(madsim))]
pub mod shrink;
#[cfg(madsim)]
mod story;
#[cfg(not(madsim))]
pub mod story;
#[cfg(madsim)]
pub mod tasks;
pub mod trace;
#[cfg(not(madsim))]
pub mod turmoil;
#[cfg(madsim)]
mod worker;
#[cfg(not(madsim))]
pub mod worker;
#[cfg(madsim)]
mod world;
#[cfg(not(madsim))]
pub mod world;

#[cfg(not(madsim))]
pub use explore::{Report, explore};
#[cfg(not(madsim))]
pub use plan::Plan;
#[cfg(not(madsim))]
pub use world::{Counts, Outcome, World};
#[cfg(madsim)]
pub(crate) use {
    plan::Plan,
    world::{Counts, Outcome, World},
};
