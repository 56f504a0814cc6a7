//! One workload: what it can be, what moves it, what is written when it moves.

mod state;

pub(crate) use state::named;
pub use state::{AuditKind, Cause, Desired, ErrorType, OnLeaseLoss, Status};
