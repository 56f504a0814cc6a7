//! The parts of the rig, one file each.

pub(crate) mod binary;
pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod coordinator;
pub(crate) mod digest;
pub(crate) mod hashing;
pub(crate) mod history;
pub(crate) mod ledger;
pub(crate) mod nats;
pub(crate) mod nats_security;
pub(crate) mod network;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod raw_worker;
pub(crate) mod scratch;
pub(crate) mod turn;
pub(crate) mod wait;
pub(crate) mod worker;
