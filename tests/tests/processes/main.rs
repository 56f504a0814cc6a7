//! The whole system as real processes: coordinators, workers, Postgres, NATS.
//!
//! Black box: only the command line, the HTTP API, the worker protocol, signals and the servers'
//! own comings and goings. Each scenario has servers of its own, and they run one at a time:
//! several of them measure times. Times are printed, not asserted tightly.
//!
//! `HEARTBEAT_TIMEOUT`, a worker's lease, is 10 s here instead of a minute, so that a lost
//! worker's lease ends while somebody watches. Nothing else depends on its length.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test: a failure is a failed test, and measured times go to the terminal"
)]

mod admission;
mod control;
mod deployment;
mod dev;
mod failover;
mod guide;
mod hostile;
mod misbehaviour;
mod outages;
mod secrets;
mod startup;
mod tenants;
mod waiting;
mod worker_loss;
