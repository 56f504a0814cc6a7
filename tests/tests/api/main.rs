//! The HTTP API of three coordinators on real Postgres, asked for everything that its own OpenAPI
//! document says it answers.
//!
//! Cases are made from the document: an operation, or an answer of one, that it names and that no
//! case here can bring about fails the test, and so does an answer that it does not name. Faults of
//! coordinators, workers and servers belong to the tests of processes.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test: a failure is a failed test, and what was asked goes to the terminal"
)]

mod answers;
mod asked;
mod audit;
mod document;
mod in_doubt;
mod isolation;
mod lists;
mod outages;
mod place;
mod refusals;
mod shapes;
mod wire;
