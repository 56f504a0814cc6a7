//! The decisions of the Niyanta coordinator.
#![no_std]

extern crate alloc;

pub mod config;
pub mod ids;
pub mod scheduling;
pub mod time;
