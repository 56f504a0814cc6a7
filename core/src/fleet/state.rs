//! The words of a worker's life, each with its name in the contract.

use crate::{ids::InvalidId, workload::named};
use core::{fmt, str::FromStr};

named!(
    /// What the leader has committed about a worker. Work goes to HEALTHY ones alone.
    WorkerStatus, "worker status", "HEALTHY, DRAINING or DEAD" {
    /// Takes work.
    Healthy = "HEALTHY",
    /// Takes no new work.
    Draining = "DRAINING",
    /// Its incarnation has ended.
    Dead = "DEAD",
});

named!(
    /// What operators want of a worker id. Written by the API alone; survives restarts.
    WorkerDesired, "worker desired", "run, drain or remove" {
    /// To take work.
    Run = "run",
    /// To take no new work, and be emptied by its deadline if it has one.
    Drain = "drain",
    /// To end, and leave the list.
    Remove = "remove",
});

named!(
    /// What a worker says of itself in a heartbeat.
    ReportedStatus, "status", "HEALTHY or DRAINING" {
    /// Takes work.
    Healthy = "HEALTHY",
    /// Is stopping itself: finishes or checkpoints what it has.
    Draining = "DRAINING",
});
