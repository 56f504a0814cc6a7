//! Workers: processes that do as they are told while they are not silent, and say what they are made
//! to say.

use super::world::{World, name};
use niyanta_core::{
    Effect, Event, Request, WorkerMessage,
    fleet::ReportedStatus,
    ids::{Attempt, Generation, Incarnation, MessageSequence, RequestId, WorkerId, WorkloadId},
    time::{Duration, Timestamp},
};

/// A worker process.
#[derive(Debug)]
pub struct Process {
    /// Under which id.
    pub worker: WorkerId,
    /// This start of it.
    pub incarnation: Incarnation,
    /// How many messages it sent.
    pub sequence: u64,
    /// What it runs.
    pub running: Vec<(WorkloadId, Attempt)>,
    /// What it can do.
    pub traits: u8,
    /// It neither hears nor speaks.
    pub is_silent: bool,
    /// It does as it is told.
    pub obeys: bool,
    /// When it sends a heartbeat.
    pub beats_at: Timestamp,
    /// What it said last.
    pub last: Option<WorkerMessage>,
}

impl Process {
    /// When it sends its next heartbeat.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        (!self.is_silent).then_some(self.beats_at)
    }

    /// Does as it is told, and says so; nothing when there is nothing to do.
    fn act(&mut self, effect: &Effect) -> Option<WorkerMessage> {
        if let Effect::Assign {
            workload, attempt, ..
        } = effect
        {
            let run = (*workload, *attempt);
            if self.running.contains(&run) {
                return None;
            }
            self.running.push(run);
            return Some(WorkerMessage::Started {
                workload: *workload,
                attempt: *attempt,
            });
        }
        let Effect::Stop { order, .. } = effect else {
            return None;
        };
        let run = (order.workload, order.attempt);
        self.running.retain(|running| *running != run);
        Some(WorkerMessage::Stopped {
            workload: order.workload,
            attempt: order.attempt,
            cause: order.cause,
        })
    }
}

impl World {
    /// A new process takes the place of the one under this id.
    pub(super) fn spawn(&mut self, number: usize, traits: u8) -> Option<Incarnation> {
        self.next += 1;
        let process = Process {
            worker: Self::worker(number),
            incarnation: name(&format!("p{number}-{}", self.next)),
            sequence: 0,
            running: Vec::new(),
            traits,
            is_silent: false,
            obeys: true,
            beats_at: self.now.plus(self.config.heartbeat_interval()),
            last: None,
        };
        let old = self.processes[number % Self::WORKERS].replace(process);
        old.map(|old| old.incarnation)
    }

    /// It registers, with what it can do.
    pub(super) fn register(&mut self, number: usize, replaces: Option<Incarnation>) {
        let Some(process) = &self.processes[number % Self::WORKERS] else {
            return;
        };
        let traits = process.traits;
        let types: &[&str] = [&["a", "b"][..], &["a"], &["b"], &[]][usize::from(traits >> 2) % 4];
        let zones = [None, Some("x"), Some("y"), Some("x")];
        let zone = zones[usize::from(traits >> 4) % 4];
        let body = WorkerMessage::Register {
            capabilities: types.iter().map(|kind| name(kind)).collect(),
            capacity: [1, 2, 3, 1_000][usize::from(traits % 4)],
            tags: zone
                .map(|zone| ("zone".into(), zone.into()))
                .into_iter()
                .collect(),
            version: "1".into(),
            replaces,
        };
        self.say(number, body);
        self.run();
    }

    /// It says something, to every coordinator that the broker carries it to.
    pub(super) fn say(&mut self, number: usize, body: WorkerMessage) {
        self.say_as(number, body, Generation::ZERO);
    }

    /// The same, having seen a term.
    pub(super) fn say_as(&mut self, number: usize, body: WorkerMessage, seen: Generation) {
        let Some(process) = &mut self.processes[number % Self::WORKERS] else {
            return;
        };
        process.sequence += 1;
        process.last = Some(body.clone());
        let request = Request {
            reply_to: RequestId(0),
            worker: process.worker.clone(),
            incarnation: process.incarnation.clone(),
            generation_seen: seen,
            sequence: MessageSequence(process.sequence),
            body,
        };
        for place in (0..Self::NODES)
            .filter(|place| !self.nodes[*place].is_deaf)
            .collect::<Vec<_>>()
        {
            self.next += 1;
            let reply_to = RequestId(self.next);
            self.nodes[place].requests.insert(reply_to);
            let request = Request {
                reply_to,
                ..request.clone()
            };
            self.queue(place, Event::Request(request));
        }
    }

    /// Those whose time has come send heartbeats.
    pub(super) fn beat(&mut self) {
        for number in 0..Self::WORKERS {
            let due = self.processes[number].as_ref().and_then(Process::due);
            if due.is_some_and(|at| at <= self.now) {
                self.heartbeat(number, ReportedStatus::Healthy);
            }
        }
    }

    /// It says what it runs.
    pub(super) fn heartbeat(&mut self, number: usize, status: ReportedStatus) {
        let beats_at = self
            .now
            .plus(self.config.heartbeat_interval().max(Duration::from_secs(1)));
        if let Some(process) = &mut self.processes[number % Self::WORKERS] {
            process.beats_at = beats_at;
            let running = process.running.clone();
            self.say(number, WorkerMessage::Heartbeat { status, running });
            self.run();
        }
    }

    /// Workers act on what they are told.
    pub(super) fn obey(&mut self, effect: &Effect) {
        let (Effect::Assign {
            worker,
            incarnation,
            ..
        }
        | Effect::Stop {
            worker,
            incarnation,
            ..
        }) = effect
        else {
            return;
        };
        let of =
            |process: &Process| process.worker == *worker && process.incarnation == *incarnation;
        let Some(number) = self
            .processes
            .iter()
            .position(|process| process.as_ref().is_some_and(of))
        else {
            return;
        };
        let Some(process) = &mut self.processes[number] else {
            return;
        };
        if process.is_silent || !process.obeys {
            return;
        }
        if let Some(said) = process.act(effect) {
            self.say(number, said);
        }
    }
}
