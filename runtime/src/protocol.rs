//! The worker protocol on the wire: envelopes, payloads, answers, commands and the words between
//! coordinators.
//!
//! Owns the shapes, the sizes and the subjects; turns what workers send into the types of
//! `niyanta_core` and what core answers into bytes. Decides nothing: whether an attempt is open is
//! asked elsewhere, and a refused message only says what is wrong with it and what of it is readable.
//!
//! Messages of workers are read field by field rather than derived, because a last report must end
//! its attempt even when the rest of it is refused: one bad field may not hide the others. Payloads
//! that come from coordinators are derived ([`wire`]).

mod decode;
mod encode;
mod fields;
mod peers;
mod subjects;
pub mod wire;
mod worker_words;

pub use decode::{Body, Incoming, Malformed, Problem, decode};
pub use encode::{
    CoordinatorOrigin, assign, drain, leader_elected, log_reply, rejected, reply, stop,
};
pub use peers::PeerWord;
pub use subjects::{InvalidPrefix, Subjects};
pub use worker_words::{
    Answer, AnswerStatus, Assignment, Command, Word, WorkerOrigin, message_id, of, read_word, time,
};

use crate::broker::MESSAGE_BYTES_MAX;

/// Most bytes of `result_data`, as compact JSON.
pub const RESULT_BYTES_MAX: usize = 256 * 1024;
/// Most bytes of a checkpoint's `data`, as the base64 text it travels as.
pub const CHECKPOINT_BYTES_MAX: usize = 256 * 1024;
/// Most bytes of `error_message`, and of a progress message.
pub const ERROR_MESSAGE_BYTES_MAX: usize = 8 * 1024;
/// Most bytes of one log line's message.
pub const LOG_LINE_BYTES_MAX: usize = 8 * 1024;
/// Most lines in one `workload.log`.
pub const LOG_LINES_MAX: usize = 10_000;
/// Most bytes of a `message_id`.
pub const MESSAGE_ID_BYTES_MAX: usize = 200;
/// Most workload types a worker may name.
pub const CAPABILITIES_MAX: usize = 1_000;
/// Most attempts at once.
pub const CAPACITY_MAX: u32 = 1_000;
/// Most tags of a worker.
pub const TAGS_MAX: usize = 64;
/// Most bytes of a tag's name.
pub const TAG_NAME_BYTES_MAX: usize = 128;
/// Most bytes of a tag's value.
pub const TAG_VALUE_BYTES_MAX: usize = 256;
/// Most bytes of a worker's `version`.
pub const VERSION_BYTES_MAX: usize = 128;
/// Most attempts in one heartbeat: more than any capacity, for those whose end is not yet answered.
pub const RUNNING_MAX: usize = 8_000;
/// Most bytes of a log line's `level`.
pub const LEVEL_BYTES_MAX: usize = 32;
/// A `generation_seen` above this is taken for this: one wild word must not exhaust the numbers.
pub const GENERATION_SEEN_MAX: u64 = (i64::MAX as u64) - (1 << 40);
