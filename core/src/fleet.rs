//! The workers: who is here, until when, and what each may be trusted to have stopped.

mod state;

pub use state::{ReportedStatus, WorkerDesired, WorkerStatus};
