//! The decisions of the Niyanta coordinator: a value that eats facts and appends what to do.
//!
//! ```text
//!            wait, stamp `now`                        carry out, in order
//!   driver ────────────────────► Coordinator::handle ────────────────────► driver
//!     ▲      Event                      │                  Effect             │
//!     │                                 ▼                                     │
//!     │     leadership ── Step ──► coordinator ── offers, placements ── scheduling
//!     │     whose lease            one Term,      what waits, who has room
//!     │     until when             dropped whole
//!     │                                 │ changes
//!     │                                 ▼
//!     │                    commits: gathering ─► in flight ─► applied
//!     │                             │ Persist(Batch)             │ Assign, Stop, Reply, …
//!     │                             ▼                            ▼ (only now: P5)
//!     └── PersistAnswered ─────── store                      workers ── Request ──► driver
//! ```
//!
//! A driver is ten lines: wait for an event or for [`Coordinator::next_deadline`], call
//! [`Coordinator::handle`] with the moment and the event, carry out the effects in their order, and
//! drop those whose [`Effect::term`] is over. It decides nothing. The same events at the same moments
//! give the same effects, byte for byte: in the binary, in the simulator, under the fuzzer.
//!
//! This crate does no I/O and cannot: it is `no_std`, has no clock, no entropy, no threads and no
//! map with a random order.
//!
//! # Words
//!
//! | word | meaning |
//! | --- | --- |
//! | event | what happened, in the past tense; a worker's ask is [`Event::Request`] |
//! | effect | what to do to the outside world, in the imperative; never an internal change |
//! | term | the time of one leader under one [`ids::Generation`], and the value that holds all of it |
//! | attempt | one assignment of a workload; open until a proof says that it is over |
//! | incarnation | one start of a process, coordinator or worker |
//! | row | durable data as it was read; its leader half is written here alone, its wish by the API alone |
//! | wish | `desired` of a workload or worker; acted upon when learnt, noted as `wish_seen` |
//! | batch | one commit: all of it or nothing, numbered within its term |
//! | gathering | the next batch, while one is in flight; memory is what it will have made true |
//! | proof | what says that an attempt is over: its worker's report, the end of its worker's lease, or a successor of its worker's process |
//! | silence | how long a worker was not heard by a leader that listened without a gap |
//! | lapse | the end of a worker's lease by this leader's clock; DEAD comes later, and ends the incarnation |
//! | load | a question for rows; its answer says nothing of what was written since it was asked |
//! | careful mode | batches of one change each, to find the value that the database refuses |
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

pub mod batch;
pub mod config;
mod coordinator;
mod effect;
mod event;
pub mod fleet;
pub mod ids;
pub mod invariants;
pub mod leadership;
mod persist;
mod probes;
pub mod rng;
pub mod scheduling;
pub mod snapshot;
pub mod status;
pub mod time;
mod timer;
pub mod workload;

pub use config::Config;
pub use coordinator::Coordinator;
pub use effect::{Effect, ExitReason, Reply, ReplyStatus, StopOrder};
pub use event::{Content, Event, PersistOutcome, Request, WorkerMessage};
pub use status::Status;
pub use timer::{Deadline, Timer};
