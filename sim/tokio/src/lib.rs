//! The tokio that simulated code is built on.
//!
//! Without `--cfg madsim` it is tokio itself, item for item, so that types of the one are types of the
//! other. With it, tasks and time are madsim's: ready tasks run in an order drawn from the seed, and
//! time passes only when all wait. What needs neither (channels, locks, `select!`) stays tokio's own.
//!
//! Rejected: the crate `madsim-tokio`, which has no `JoinSet`, no `timeout_at`, and lets a panic of
//! one task end the simulation; in production such a panic stays in the task's handle, and whether
//! anybody looks there is one of the questions that are asked here.

#[cfg(not(madsim))]
pub use ::tokio::*;

#[cfg(madsim)]
pub use ::tokio::{io, join, net, pin, select, sync, task_local, try_join};
#[cfg(madsim)]
pub use task::spawn;
#[cfg(madsim)]
pub mod seeded;
#[cfg(madsim)]
pub mod task;
#[cfg(madsim)]
pub mod time;
