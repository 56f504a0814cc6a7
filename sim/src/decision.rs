//! Random choices: where they come from, how they are named, and what is remembered of them.
//!
//! [`Streams`] draw a [`Plan`](crate::Plan) before a run begins. While it goes on, every choice is
//! made by the one [`Decider`], which names the occasion, draws, and remembers each pick that is not
//! the benign one. Those picks and the plan are the whole run: put into a file, they mean the same
//! when generators and rates have changed.

mod choice;
mod decider;
mod streams;

pub use choice::{Choice, Occasion, StatementKind, Values, Who};
pub use decider::{Decider, Mismatch, Pick, Point};
pub use streams::{Rng, Streams, mix};
