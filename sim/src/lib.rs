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
//! There is no async here, no thread inside a run, and no entropy but the seed. The same seed gives
//! the same hash, in any process.

pub mod bank;
pub mod bound;
pub mod clock;
pub mod conformance;
pub mod decision;
pub mod explore;
pub mod machine;
pub mod message;
pub mod model;
pub mod picture;
pub mod plan;
pub mod ports;
pub mod properties;
pub mod recovery;
#[cfg(not(madsim))]
pub mod remote;
pub mod report;
pub mod schedule;
pub mod shrink;
pub mod story;
pub mod trace;
#[cfg(not(madsim))]
pub mod turmoil;
pub mod worker;
pub mod world;

pub use explore::{Report, explore};
pub use plan::Plan;
pub use world::{Counts, Outcome, World};
