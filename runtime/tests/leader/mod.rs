//! A leader that believes everything it hears, answers `ok`, and tells what a test tells it to.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test waits for one thing and lets all others pass"
)]

use bytes::Bytes;
use niyanta_core::{
    Reply, ReplyStatus, StopOrder, WorkerMessage,
    ids::{Attempt, Generation, Incarnation, MessageSequence, WorkloadId},
    time::{Duration, WallTime},
    workload::{Cause, ErrorType, OnLeaseLoss},
};
use runtime::{
    broker::{Broker, Message, Subscription},
    protocol::{self, Body, CoordinatorOrigin, Incoming, Subjects},
    store::AssignmentRow,
};
use serde_json::Value;
use std::sync::Arc;

/// How an attempt ended, as it was told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    Completed(Option<Value>),
    Failed(ErrorType, String),
    Stopped(Cause),
}

pub(crate) struct Leader {
    broker: Arc<dyn Broker>,
    events: Box<dyn Subscription>,
    logs: Box<dyn Subscription>,
    lease: Duration,
    incarnation: Option<Incarnation>,
    replaced: Option<Incarnation>,
    heartbeat: MessageSequence,
    assigned: u128,
    lines: Vec<String>,
    checkpoint: Option<Vec<u8>>,
}

impl Leader {
    pub(crate) async fn start(broker: Arc<dyn Broker>, lease: Duration) -> Self {
        let subjects = Subjects::default();
        Self {
            events: broker.subscribe(&subjects.events()).await.unwrap(),
            logs: broker.subscribe(&subjects.logs()).await.unwrap(),
            broker,
            lease,
            incarnation: None,
            replaced: None,
            heartbeat: MessageSequence(0),
            assigned: 0,
            lines: Vec::new(),
            checkpoint: None,
        }
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnation.clone().unwrap()
    }

    /// What the last registration said that it replaces.
    pub(crate) fn replaced(&self) -> Option<Incarnation> {
        self.replaced.clone()
    }

    pub(crate) async fn registered(&mut self) {
        self.until(|_, body| match body {
            Body::Plain(WorkerMessage::Register { .. }) => Some(()),
            _ => None,
        })
        .await;
    }

    pub(crate) async fn started(&mut self) {
        self.until(|_, body| match body {
            Body::Plain(WorkerMessage::Started { .. }) => Some(()),
            _ => None,
        })
        .await;
    }

    pub(crate) async fn deregistered(&mut self) {
        self.until(|_, body| match body {
            Body::Plain(WorkerMessage::Deregister) => Some(()),
            _ => None,
        })
        .await;
    }

    /// Assigns a workload that was never seen before.
    pub(crate) async fn assign(&mut self, kind: &str, input_params: Value) {
        self.assigned += 1;
        let row = AssignmentRow {
            workload: WorkloadId(self.assigned),
            attempt: Attempt(1),
            workload_type: kind.parse().unwrap(),
            config_json: Value::Null,
            resource_limits: Value::Null,
            input_params,
            checkpoint_interval_sec: 30,
            checkpoint: None,
            timeout_seconds: 3_600,
            on_lease_loss: OnLeaseLoss::Stop,
        };
        self.lines.clear();
        let incarnation = self.incarnation();
        let bytes = protocol::assign(&ORIGIN, &incarnation, GENERATION, self.heartbeat, &row);
        self.command(bytes).await;
    }

    /// Stops what was assigned last.
    pub(crate) async fn stop(&mut self, cause: Cause, deadline: Duration) {
        let order = StopOrder {
            workload: WorkloadId(self.assigned),
            attempt: Attempt(1),
            cause,
            deadline,
        };
        let incarnation = self.incarnation();
        let bytes = protocol::stop(&ORIGIN, &incarnation, GENERATION, &order);
        self.command(bytes).await;
    }

    /// The end of what was assigned last.
    pub(crate) async fn last_report(&mut self) -> Told {
        let wanted = WorkloadId(self.assigned);
        self.until(|_, body| match body {
            Body::Outcome {
                workload,
                error_type,
                result_data,
                error_message,
                ..
            } if *workload == wanted => Some(match error_type {
                None => Told::Completed(result_data.clone()),
                Some(kind) => Told::Failed(*kind, error_message.clone().unwrap_or_default()),
            }),
            Body::Plain(WorkerMessage::Stopped {
                workload, cause, ..
            }) if *workload == wanted => Some(Told::Stopped(*cause)),
            _ => None,
        })
        .await
    }

    /// All lines that the last assigned workload has said, once there are that many.
    pub(crate) async fn lines(&mut self, count: usize) -> Vec<String> {
        if self.lines.len() < count {
            self.until(|leader, _| (leader.lines.len() >= count).then_some(()))
                .await;
        }
        self.lines.clone()
    }

    /// The last checkpoint.
    pub(crate) async fn checkpoint(&mut self) -> Vec<u8> {
        if self.checkpoint.is_none() {
            self.until(|leader, _| leader.checkpoint.is_some().then_some(()))
                .await;
        }
        self.checkpoint.clone().unwrap()
    }

    async fn command(&self, bytes: Bytes) {
        let subject = Subjects::default().commands(&"w1".parse().unwrap());
        self.broker.publish(&subject, None, bytes).await.unwrap();
    }

    /// Answers whatever comes until one of it is what is waited for.
    async fn until<T>(&mut self, pick: impl Fn(&Self, &Body) -> Option<T>) -> T {
        let waiting = async {
            loop {
                let message = tokio::select! {
                    biased;
                    message = self.events.next() => message,
                    message = self.logs.next() => message,
                };
                let message = message.expect("the broker is open");
                let incoming = protocol::decode(&message.payload).expect("well-formed");
                self.take_in(&incoming);
                let picked = pick(self, &incoming.body);
                self.answer(&message, &incoming).await;
                if let Some(picked) = picked {
                    return picked;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waiting)
            .await
            .expect("it comes in time")
    }

    fn take_in(&mut self, incoming: &Incoming) {
        match &incoming.body {
            Body::Plain(WorkerMessage::Register { replaces, .. }) => {
                self.incarnation = Some(incoming.incarnation.clone());
                self.replaced.clone_from(replaces);
                self.heartbeat = incoming.sequence;
            }
            Body::Plain(WorkerMessage::Heartbeat { .. }) => self.heartbeat = incoming.sequence,
            Body::Log {
                workload, lines, ..
            } if *workload == WorkloadId(self.assigned) => {
                let said = lines.iter().map(|line| line.message.clone());
                self.lines.extend(said);
            }
            Body::Checkpoint { data, .. } => {
                use base64::Engine as _;
                let standard = base64::engine::general_purpose::STANDARD;
                self.checkpoint = Some(standard.decode(data).unwrap());
            }
            _ => {}
        }
    }

    async fn answer(&self, message: &Message, incoming: &Incoming) {
        let Some(subject) = &message.reply else {
            return;
        };
        let reply = Reply {
            status: ReplyStatus::Ok,
            lease: self.lease,
            heartbeat: self.lease / 4,
            stop: Vec::new(),
        };
        let id = incoming.message_id.as_deref();
        let is_heartbeat = incoming.body.is_heartbeat();
        let bytes = protocol::reply(&ORIGIN, id, GENERATION, &reply, is_heartbeat, None);
        self.broker.publish(subject, None, bytes).await.unwrap();
    }
}

const GENERATION: Generation = Generation(1);
const ORIGIN: CoordinatorOrigin<'static> = CoordinatorOrigin {
    coordinator_id: "c1",
    message_id: "m",
    now: WallTime(0),
};
