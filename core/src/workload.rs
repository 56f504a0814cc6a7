//! One workload: what it can be, what moves it, what is written when it moves.
//!
//! Owns the words, the table of moves and what a term remembers of an open attempt. Does not decide:
//! the coordinator does, with the whole term before it.

mod attempt;
mod retry;
mod state;
mod transition;

pub(crate) use attempt::{Open, Over, Workload};
pub(crate) use retry::backoff;
pub(crate) use state::named;
pub use state::{AuditKind, Cause, Desired, ErrorType, OnLeaseLoss, Status};
pub(crate) use transition::{Move, target};
