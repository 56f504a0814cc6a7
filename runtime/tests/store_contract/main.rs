//! What every store must do, tried on SQLite and on a real Postgres.
#![allow(
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    reason = "a contract is one story, and any other outcome is a failure"
)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod raw;
mod rig;
mod server;
mod stores;

mod admin;
mod beside;
mod commits;
mod leadership;
mod reads;
mod schema;
mod sleepers;
mod submissions;
mod upkeep;
mod wishes;
