//! What the black-box tests stand on: real Postgres, real NATS, real `niyanta` processes.
//!
//! Owns starting, stopping and killing them, each on a free loopback port and in a scratch folder,
//! and small clients of the HTTP API and of the worker protocol. Everything started here is
//! killed when its value is dropped, also when the test panics, and then its log is printed.
//!
//! Deliberately knows nothing of the code under test: it speaks the documented outside only, so
//! that a test cannot pass because client and server share a mistake.
//!
//! Support code panics instead of returning errors: a rig that does not stand is a failed test,
//! and only a panic makes the rig print its logs.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "test support: a failure here is a failed test, and its evidence goes to the terminal"
)]

mod support;

pub use support::binary::{niyanta_binary, niyanta_command};
pub use support::client::{Answer, Client};
pub use support::cluster::{Cluster, ClusterOptions};
pub use support::coordinator::{Coordinator, CoordinatorOptions};
pub use support::digest::tree_digest;
pub use support::hashing::{some_progress, went_on};
pub use support::history::History;
pub use support::ledger::Ledger;
pub use support::nats::Nats;
pub use support::network::free_port;
pub use support::postgres::Postgres;
pub use support::process::{Process, Signal};
pub use support::proxy::{Flow, Proxy, Way, Weather};
pub use support::raw_worker::RawWorker;
pub use support::scratch::Scratch;
pub use support::turn::one_at_a_time;
pub use support::wait::until;
pub use support::worker::{Worker, WorkerOptions};
