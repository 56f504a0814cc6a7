//! Honest models of what the real system depends on: the database and the broker.

pub mod broker;
pub mod store;
