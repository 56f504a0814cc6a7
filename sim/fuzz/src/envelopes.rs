//! Whatever the broker carries: what a coordinator reads of workers, what coordinators read of each
//! other, and what a worker reads. Each line of an input is one message.
//!
//! Nothing panics; what is accepted is within its bounds; and a worker's machine that hears all of it
//! neither panics nor runs more than its capacity.

use bytes::Bytes;
use niyanta_core::{
    WorkerMessage,
    ids::{Attempt, WorkloadId},
    time::{Duration, Timestamp, WallTime},
};
use runtime::{
    protocol::{
        self, Body, CAPABILITIES_MAX, CAPACITY_MAX, CHECKPOINT_BYTES_MAX, ERROR_MESSAGE_BYTES_MAX,
        GENERATION_SEEN_MAX, LOG_LINES_MAX, MESSAGE_ID_BYTES_MAX, PeerWord, RUNNING_MAX, TAGS_MAX,
    },
    worker::machine::{Action, Event, Machine, Outcome, Settings},
};
use std::collections::{BTreeMap, BTreeSet};

/// Reads each line in every way there is.
///
/// # Panics
/// When something is accepted that is out of bounds, or a reader panics.
pub fn run(bytes: &[u8]) {
    let mut worker = Worker::new();
    for line in bytes.split(|byte| *byte == b'\n').take(LINES_MAX) {
        from_worker(line);
        if let Some(word) = PeerWord::decode(line) {
            assert_eq!(
                PeerWord::decode(&word.encode()),
                Some(word),
                "it reads back"
            );
        }
        // What it means is the machine's to judge; reading it alone must not panic either.
        drop(protocol::read_word(line));
        worker.hear(line);
    }
}

fn from_worker(line: &[u8]) {
    let incoming = match protocol::decode(line) {
        Ok(incoming) => incoming,
        Err(malformed) => {
            assert!(!malformed.problem.to_string().is_empty());
            return;
        }
    };
    assert!(incoming.generation_seen.0 <= GENERATION_SEEN_MAX);
    if let Some(id) = &incoming.message_id {
        assert!(id.len() <= MESSAGE_ID_BYTES_MAX, "{} bytes", id.len());
    }
    assert!(incoming.refused.is_none() || incoming.body.is_last_report());
    match &incoming.body {
        Body::Plain(message) => plain(message),
        Body::Outcome { error_message, .. } => {
            let bytes = error_message.as_ref().map_or(0, String::len);
            assert!(bytes <= ERROR_MESSAGE_BYTES_MAX);
        }
        Body::Checkpoint { data, .. } => assert!(data.len() / 4 * 3 <= CHECKPOINT_BYTES_MAX + 3),
        Body::Progress { percent, .. } => assert!((0.0..=100.0).contains(percent)),
        Body::Log { lines, .. } => assert!(lines.len() <= LOG_LINES_MAX),
    }
}

fn plain(message: &WorkerMessage) {
    match message {
        WorkerMessage::Register {
            capabilities,
            capacity,
            tags,
            ..
        } => {
            assert!(capabilities.len() <= CAPABILITIES_MAX && tags.len() <= TAGS_MAX);
            assert!((1..=CAPACITY_MAX).contains(capacity));
        }
        WorkerMessage::Heartbeat { running, .. } => assert!(running.len() <= RUNNING_MAX),
        WorkerMessage::Started { .. }
        | WorkerMessage::Checkpoint { .. }
        | WorkerMessage::Completed { .. }
        | WorkerMessage::Failed { .. }
        | WorkerMessage::Stopped { .. }
        | WorkerMessage::Deregister => {}
    }
}

/// The production worker machine, and children that do as they are told.
struct Worker {
    machine: Machine,
    now: Timestamp,
    running: BTreeSet<(WorkloadId, Attempt)>,
}

impl Worker {
    fn new() -> Self {
        let settings = Settings {
            worker: name("w0"),
            incarnation: name("p0"),
            capabilities: [name("sleep")].into(),
            capacity: CAPACITY,
            tags: BTreeMap::new(),
            version: "1".to_owned(),
            replaces: None,
            seed: 3,
        };
        let mut worker = Self {
            machine: Machine::new(settings),
            now: Timestamp(1_000_000_000_000),
            running: BTreeSet::new(),
        };
        worker.handle(Event::Connected);
        worker
    }

    fn hear(&mut self, line: &[u8]) {
        self.handle(Event::Heard(Bytes::copy_from_slice(line)));
        self.now = self.now.plus(Duration::from_millis(300));
        self.handle(Event::Tick);
    }

    fn handle(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let mut actions = Vec::new();
            self.machine
                .handle(self.now, WallTime(0), event, &mut actions);
            for action in actions {
                match action {
                    Action::Send { bytes, .. } => {
                        assert!(
                            protocol::decode(&bytes).is_ok(),
                            "{bytes:?} is not understood"
                        );
                    }
                    Action::Start(it) => {
                        let new = self.running.insert((it.workload, it.attempt));
                        assert!(new, "an attempt is started once");
                        let most = usize::try_from(CAPACITY).unwrap_or(usize::MAX);
                        assert!(self.running.len() <= most, "more than it has room for");
                    }
                    Action::Stop {
                        workload, attempt, ..
                    } => events.push(self.end(workload, attempt, Outcome::Stopped)),
                    Action::Kill { workload, attempt } => {
                        events.push(self.end(workload, attempt, Outcome::Killed));
                    }
                    Action::LeaseExtended(_) | Action::Exit { .. } => {}
                }
            }
        }
    }

    fn end(&mut self, workload: WorkloadId, attempt: Attempt, outcome: Outcome) -> Event {
        self.running.remove(&(workload, attempt));
        Event::Ended {
            workload,
            attempt,
            outcome,
        }
    }
}

fn name<T: std::str::FromStr>(text: &str) -> T {
    match text.parse() {
        Ok(name) => name,
        Err(_) => unreachable!("{text} is an identifier"),
    }
}

const CAPACITY: u32 = 2;
const LINES_MAX: usize = 32;
