//! What every store must do, tried on SQLite and on a real Postgres.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod rig;
mod server;

mod admin;
mod beside;
mod commits;
mod leadership;
mod reads;
mod schema;
mod sleepers;
mod submissions;
mod wishes;
