//! The decisions of the Niyanta coordinator: a value that eats facts and appends what to do.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

pub mod batch;
pub mod config;
mod coordinator;
mod effect;
mod event;
pub mod fleet;
pub mod ids;
pub mod invariants;
pub mod leadership;
mod persist;
pub mod rng;
pub mod scheduling;
pub mod snapshot;
pub mod status;
pub mod time;
mod timer;
pub mod workload;

pub use config::Config;
pub use coordinator::Coordinator;
pub use effect::{Effect, ExitReason, Reply, ReplyStatus, StopOrder};
pub use event::{Content, Event, PersistOutcome, Request, WorkerMessage};
pub use status::Status;
pub use timer::{Deadline, Timer};
