//! The reference worker: runs workloads, and keeps the worker protocol.
//!
//! Owns the process side. What to say and when is [`machine`]'s, which does no I/O.

pub mod machine;
