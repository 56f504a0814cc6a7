//! Drives `niyanta_core` with a real database, a real broker and HTTP.

pub mod broker;
pub mod store;
