//! The decisions of the Niyanta coordinator: a value that eats facts and appends what to do.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

pub mod batch;
pub mod config;
mod effect;
mod event;
pub mod fleet;
pub mod ids;
pub mod scheduling;
pub mod snapshot;
pub mod time;
pub mod workload;

pub use config::Config;
pub use effect::{Effect, ExitReason, Reply, ReplyStatus, StopOrder};
pub use event::{Content, Event, PersistOutcome, Request, WorkerMessage};
