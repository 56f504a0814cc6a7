//! The commands, one file each.

#[cfg(not(madsim))]
pub(crate) mod bank;
#[cfg(not(madsim))]
pub(crate) mod bench;
#[cfg(not(madsim))]
pub(crate) mod corpus;
pub(crate) mod engine;
#[cfg(not(madsim))]
pub(crate) mod explore;
#[cfg(not(madsim))]
pub(crate) mod hash;
#[cfg(not(madsim))]
pub(crate) mod replay;
#[cfg(not(madsim))]
pub(crate) mod report;
#[cfg(not(madsim))]
pub(crate) mod shrink;
#[cfg(not(madsim))]
pub(crate) mod subject;
#[cfg(not(madsim))]
pub(crate) mod tasks;
