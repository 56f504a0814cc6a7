//! The production ports over the models: [`SimStore`] and [`SimBroker`].
//!
//! Owns what the models lack and the production driver needs: bytes, texts, keys, configs, log
//! lines, moments for people. Does not decide what a statement does to the rows that matter: that
//! is the store model's, and every operation here is one statement of it. Nothing here spawns a
//! thread, reads a clock of the machine or depends on the order of a hash map, so that it runs on a
//! paused runtime and a run stays a function of its seed.
//!
//! Rejected: stubs that answer from a script. What is served here keeps the same contracts as the
//! real adapters, and the same suites try it.

pub mod broker;
pub mod checker;
pub mod far;
pub mod store;

pub use broker::{Hub, SimBroker};
pub use checker::Checker;
pub use far::FarStore;
pub use store::{SimStore, Time};
