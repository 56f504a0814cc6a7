//! A machine, its clock, and a leader that answers when it is told to.

use super::super::*;
use crate::{
    protocol::{self, Body, CoordinatorOrigin, Incoming},
    store::AssignmentRow,
};
use niyanta_core::{
    Reply, ReplyStatus, StopOrder, WorkerMessage, ids::MessageSequence, workload::OnLeaseLoss,
};
use serde_json::json;

pub(super) const WORKLOAD: WorkloadId = WorkloadId(1);

pub(super) struct Rig {
    pub(super) machine: Machine,
    pub(super) now: Timestamp,
    pub(super) actions: Vec<Action>,
    pub(super) generation: Generation,
    pub(super) last_heartbeat: u64,
    pub(super) workload: WorkloadId,
    pub(super) workload_type: &'static str,
    pub(super) on_lease_loss: OnLeaseLoss,
    pub(super) timeout_seconds: u32,
    pub(super) other_incarnation: bool,
}

pub(super) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Rig {
    pub(super) fn new() -> Self {
        let settings = Settings {
            worker: "w1".parse().unwrap(),
            incarnation: "inc".parse().unwrap(),
            capabilities: ["sleep".parse().unwrap()].into(),
            capacity: 2,
            tags: BTreeMap::from([("zone".to_owned(), "a".to_owned())]),
            version: "1".to_owned(),
            replaces: None,
            seed: 7,
        };
        Self {
            machine: Machine::new(settings),
            now: Timestamp::ZERO,
            actions: Vec::new(),
            generation: Generation(1),
            last_heartbeat: 0,
            workload: WORKLOAD,
            workload_type: "sleep",
            on_lease_loss: OnLeaseLoss::Stop,
            timeout_seconds: 3_600,
            other_incarnation: false,
        }
    }

    pub(super) fn registered() -> Self {
        let mut rig = Self::new();
        rig.tick();
        let sent = rig.sent().pop().unwrap();
        rig.last_heartbeat = sent.sequence.0;
        rig.answer_ok(&sent);
        rig.actions.clear();
        rig
    }

    pub(super) fn handle(&mut self, event: Event) {
        let wall = WallTime(1_700_000_000_000_000);
        self.machine
            .handle(self.now, wall, event, &mut self.actions);
    }

    pub(super) fn tick(&mut self) {
        self.handle(Event::Tick);
    }

    /// Passes the time without a word, as a suspended process does.
    pub(super) fn advance(&mut self, duration: Duration) {
        self.now = self.now.plus(duration);
    }

    pub(super) fn run_to_deadline(&mut self) {
        let deadline = self.machine.next_deadline().unwrap();
        self.now = self.now.max(deadline);
        self.tick();
    }

    /// Steps from deadline to deadline until `moment`, answering nothing.
    pub(super) fn run_until(&mut self, moment: Timestamp) {
        while self.machine.next_deadline().is_some_and(|at| at <= moment) {
            self.run_to_deadline();
        }
        self.now = moment;
        self.tick();
    }

    pub(super) fn sent_bytes(&mut self) -> Vec<Bytes> {
        let mut all = Vec::new();
        self.actions.retain(|action| {
            if let Action::Send { bytes, .. } = action {
                all.push(bytes.clone());
                return false;
            }
            true
        });
        all
    }

    pub(super) fn sent(&mut self) -> Vec<Incoming> {
        let read = |bytes: Bytes| protocol::decode(&bytes).unwrap();
        self.sent_bytes().into_iter().map(read).collect()
    }

    fn take<T>(&mut self, pick: impl Fn(&Action) -> Option<T>) -> Vec<T> {
        let mut all = Vec::new();
        self.actions.retain(|action| {
            let picked = pick(action);
            let is_kept = picked.is_none();
            all.extend(picked);
            is_kept
        });
        all
    }

    pub(super) fn started(&mut self) -> Vec<u32> {
        self.take(|action| {
            let Action::Start(assignment) = action else {
                return None;
            };
            Some(assignment.attempt.0)
        })
    }

    pub(super) fn kills(&mut self) -> Vec<u32> {
        self.take(|action| {
            let Action::Kill { attempt, .. } = action else {
                return None;
            };
            Some(attempt.0)
        })
    }

    pub(super) fn stops(&mut self) -> Vec<(u32, Cause)> {
        self.take(|action| {
            let Action::Stop { attempt, cause, .. } = action else {
                return None;
            };
            Some((attempt.0, *cause))
        })
    }

    pub(super) fn leases(&mut self) -> Vec<Timestamp> {
        self.take(|action| {
            let Action::LeaseExtended(until) = action else {
                return None;
            };
            Some(*until)
        })
    }

    pub(super) fn last_stopped(&mut self) -> (Attempt, Cause) {
        let sent = self.sent().pop().unwrap();
        let Body::Plain(WorkerMessage::Stopped { attempt, cause, .. }) = sent.body else {
            panic!("not a stopped report: {sent:?}");
        };
        (attempt, cause)
    }

    pub(super) fn hear(&mut self, bytes: Bytes) {
        self.handle(Event::Heard(bytes));
    }

    pub(super) fn answer_ok(&mut self, sent: &Incoming) {
        self.answer(sent.sequence, AnswerStatus::Ok);
    }

    pub(super) fn answer(&mut self, sequence: MessageSequence, status: AnswerStatus) {
        self.answer_with(sequence.0, status, Vec::new());
    }

    pub(super) fn answer_heartbeat(&mut self, sequence: u64, status: AnswerStatus) {
        self.answer_with(sequence, status, Vec::new());
    }

    pub(super) fn answer_with(
        &mut self,
        sequence: u64,
        status: AnswerStatus,
        stop: Vec<StopOrder>,
    ) {
        let status = match status {
            AnswerStatus::Ok => ReplyStatus::Ok,
            AnswerStatus::Stale => ReplyStatus::Stale,
            AnswerStatus::UnknownWorker => ReplyStatus::UnknownWorker,
            AnswerStatus::IdInUse { retry_after } => ReplyStatus::IdInUse { retry_after },
            AnswerStatus::IncarnationEnded => ReplyStatus::IncarnationEnded,
            AnswerStatus::Rejected => ReplyStatus::Refused,
        };
        let reply = Reply {
            status,
            lease: secs(60),
            heartbeat: secs(15),
            stop,
        };
        let id = protocol::message_id(self.machine.incarnation(), sequence);
        let bytes = protocol::reply(&ORIGIN, Some(&id), self.generation, &reply, true, None);
        self.hear(bytes);
    }

    pub(super) fn hear_elected(&mut self) {
        self.hear(protocol::leader_elected(&ORIGIN, self.generation));
    }

    pub(super) fn assign(&mut self, attempt: u32) {
        self.assign_after(attempt, self.last_heartbeat);
    }

    pub(super) fn assign_after(&mut self, attempt: u32, heartbeat: u64) {
        let row = AssignmentRow {
            workload: self.workload,
            attempt: Attempt(attempt),
            workload_type: self.workload_type.parse().unwrap(),
            config_json: json!({}),
            resource_limits: json!({}),
            input_params: json!({ "seconds": 1 }),
            checkpoint_interval_sec: 30,
            checkpoint: None,
            timeout_seconds: self.timeout_seconds,
            on_lease_loss: self.on_lease_loss,
        };
        let incarnation = if self.other_incarnation {
            "another".parse().unwrap()
        } else {
            self.machine.incarnation().clone()
        };
        let heartbeat = MessageSequence(heartbeat);
        let bytes = protocol::assign(&ORIGIN, &incarnation, self.generation, heartbeat, &row);
        self.hear(bytes);
    }

    pub(super) fn stop(&mut self, attempt: u32, cause: Cause, deadline: Duration) {
        let order = StopOrder {
            workload: self.workload,
            attempt: Attempt(attempt),
            cause,
            deadline,
        };
        let incarnation = self.machine.incarnation().clone();
        self.hear(protocol::stop(
            &ORIGIN,
            &incarnation,
            self.generation,
            &order,
        ));
    }

    pub(super) fn ended(&mut self, attempt: u32, outcome: Outcome) {
        self.handle(Event::Ended {
            workload: self.workload,
            attempt: Attempt(attempt),
            outcome,
        });
    }

    /// Goes to the next heartbeat and gives its sequence.
    pub(super) fn heartbeat_unanswered(&mut self) -> u64 {
        loop {
            self.run_to_deadline();
            let sent = self.sent();
            if let Some(beat) = sent.iter().find(|sent| sent.body.is_heartbeat()) {
                return beat.sequence.0;
            }
        }
    }

    pub(super) fn beat(&mut self) {
        let sequence = self.heartbeat_unanswered();
        self.last_heartbeat = sequence;
        self.answer_heartbeat(sequence, AnswerStatus::Ok);
    }

    /// What the next heartbeat lists; it is answered.
    pub(super) fn next_heartbeat(&mut self) -> Vec<(WorkloadId, Attempt)> {
        loop {
            self.run_to_deadline();
            for sent in self.sent() {
                if let Body::Plain(WorkerMessage::Heartbeat { running, .. }) = sent.body {
                    self.last_heartbeat = sent.sequence.0;
                    self.answer(sent.sequence, AnswerStatus::Ok);
                    return running;
                }
            }
        }
    }
}

const ORIGIN: CoordinatorOrigin<'static> = CoordinatorOrigin {
    coordinator_id: "c1",
    message_id: "m",
    now: WallTime(0),
};
