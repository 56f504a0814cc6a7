//! Scripts of statements over several connections, and what the store model makes of them.
//!
//! The simulator is as good as its models. So the same [`Script`] runs on the model here and on a
//! real database elsewhere, and both must come to the same: what each statement answered, who
//! waited for whom, what the tables hold afterwards. Where a real database may take turns in more
//! than one order, the model is asked for all of them, and one must fit ([`compare`]). Owns the
//! scripts, their drawing from a seed, and the model's side. Knows no database but the model; what
//! a word of a script means to `niyanta_core` is said once, in `terms`, which both sides compile.

mod compare;
mod draw;
mod model;
mod script;
mod tables;
mod terms;

pub use compare::{Difference, compare};
pub use draw::draw;
pub use script::{
    BatchWords, CUSTOMERS, CounterWords, Held, How, LoadWords, MoveWords, NODES, Observation, Op,
    ROOM, Script, Step, Transcript, WORKERS, WORKLOADS, WorkerWords,
};
