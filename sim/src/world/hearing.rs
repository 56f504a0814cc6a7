//! What coordinators hear of workers and answer them, mirrored from the production driver: bytes in,
//! bytes out, through the production protocol.
//!
//! Who does not lead is silent. What a report carries is written first, guarded by the open attempt;
//! core hears only what became of it.

use super::{World, driver::STATEMENT_TIMEOUT, node::Asker, operations::Purpose};
use crate::{
    decision::{Choice, Occasion, Who},
    message::{Address, Answered, Command, Elected, Message, Order, Said, as_newer_version},
    model::store::{Answer, AssignmentAsk, ContentWrite, Failure, Statement},
    plan::InFlight,
};
use bytes::Bytes;
use niyanta_core::{
    Content, Effect, Event, Reply, Request, WorkerMessage,
    ids::{Attempt, Generation, Incarnation, MessageSequence, RequestId, WorkloadId},
};
use runtime::{
    protocol::{self, Body, CoordinatorOrigin, Incoming, Malformed},
    store::AssignmentRow,
};
use std::sync::Arc;

use crate::clock::Moment;

impl World {
    /// A worker's words were read.
    pub(super) fn read_said(&mut self, place: usize, arrived: Moment, said: Arc<Said>) {
        if said.is_log {
            self.read_log(place, &said);
            return;
        }
        match &said.read {
            Ok(incoming) => self.read_incoming(place, arrived, &said, incoming),
            Err(malformed) => self.refuse(place, &said, malformed),
        }
    }

    fn read_incoming(
        &mut self,
        place: usize,
        arrived: Moment,
        said: &Arc<Said>,
        incoming: &Incoming,
    ) {
        if !self.leads(place) {
            let heard = self.nodes[place].process.as_ref();
            let heard = heard.map(|process| process.core.generation_heard());
            if heard.is_some_and(|heard| incoming.generation_seen > heard) {
                self.hand(place, &Event::GenerationSeen(incoming.generation_seen));
            }
            return;
        }
        let refused = incoming.refused.is_some();
        match &incoming.body {
            Body::Plain(body) => {
                let mut body = body.clone();
                if let WorkerMessage::Register { version, .. } = &mut body
                    && self.slips_past(&incoming.incarnation)
                {
                    *version = format!("{version}\0").into();
                }
                self.hand_request(place, said, body);
            }
            Body::Outcome {
                result_data: None,
                error_message: None,
                ..
            } if !refused => {
                if let Some(body) = reported(&incoming.body, Content::Absent) {
                    self.hand_request(place, said, body);
                }
            }
            Body::Outcome {
                workload, attempt, ..
            } => {
                let write = ContentWrite {
                    workload: *workload,
                    attempt: *attempt,
                    incarnation: incoming.incarnation.clone(),
                    checkpoint: None,
                    is_bad: false,
                };
                self.write_then_hear(place, arrived, said, write);
            }
            Body::Checkpoint {
                workload,
                attempt,
                checkpoint_sequence,
                ..
            } => {
                let write = ContentWrite {
                    workload: *workload,
                    attempt: *attempt,
                    incarnation: incoming.incarnation.clone(),
                    checkpoint: Some(*checkpoint_sequence),
                    is_bad: false,
                };
                self.write_then_hear(place, arrived, said, write);
            }
            // It is for people, and nobody is told of it here.
            Body::Progress { .. } | Body::Log { .. } => {}
        }
    }

    fn write_then_hear(
        &mut self,
        place: usize,
        arrived: Moment,
        said: &Arc<Said>,
        mut write: ContentWrite,
    ) {
        write.is_bad = self.is_bad((write.workload, write.attempt));
        let Some(process) = self.nodes[place].awake() else {
            return;
        };
        self.next_call += 1;
        let ticket = self.next_call;
        process.writing.insert(ticket, arrived);
        let said = Arc::clone(said);
        let purpose = Purpose::Report { said, ticket };
        self.ask(place, Statement::Content(write), purpose, STATEMENT_TIMEOUT);
        self.strike_during(InFlight::ContentWriting, place);
    }

    pub(super) fn finish_report(
        &mut self,
        place: usize,
        said: &Arc<Said>,
        ticket: u64,
        outcome: Result<Answer, Failure>,
    ) {
        if let Some(process) = &mut self.nodes[place].process {
            process.writing.remove(&ticket);
        }
        // Without an answer nobody knows what is stored: the worker repeats its report.
        let (Ok(Answer::Content(stored)), Ok(incoming)) = (outcome, &said.read) else {
            return;
        };
        let stored = if incoming.refused.is_some() {
            Content::Refused
        } else {
            stored
        };
        if let Some(body) = reported(&incoming.body, stored) {
            self.hand_request(place, said, body);
        }
    }

    /// Whether the edge lets something of this process through that no column can hold.
    fn slips_past(&self, incarnation: &Incarnation) -> bool {
        self.hosts.iter().any(|host| {
            let worker = host.worker.as_ref();
            host.speaks_unspeakably && worker.is_some_and(|w| w.incarnation() == incarnation)
        })
    }

    /// Whether what an attempt reports holds a text that no column can hold: it does each time.
    fn is_bad(&mut self, about: (WorkloadId, Attempt)) -> bool {
        let rate = self.plan.rates.bad;
        if rate == 0 {
            return false;
        }
        let decider = &mut self.decider;
        *self.bad_contents.entry(about).or_insert_with(|| {
            let who = Who::submission(about.0);
            let point = decider.occasion(Occasion::Report, who);
            decider.pick(point, Choice::ReportText, |rng| {
                u32::from(rng.per_mille(rate))
            }) > 0
        })
    }

    fn hand_request(&mut self, place: usize, said: &Arc<Said>, body: WorkerMessage) {
        let Ok(incoming) = &said.read else { return };
        let Some(process) = self.nodes[place].awake() else {
            return;
        };
        process.last_request = process.last_request.next();
        let reply_to: RequestId = process.last_request;
        process.requests.insert(reply_to, asker(said, incoming));
        let request = Request {
            reply_to,
            worker: incoming.worker.clone(),
            incarnation: incoming.incarnation.clone(),
            generation_seen: incoming.generation_seen,
            sequence: incoming.sequence,
            body,
        };
        self.hand(place, &Event::Request(request));
    }

    /// Answers what cannot be read, as far as it says whom to answer.
    fn refuse(&mut self, place: usize, said: &Said, malformed: &Malformed) {
        let Some(generation) = self.term_of(place) else {
            return;
        };
        let node = &self.nodes[place];
        let lease = node.lease_told();
        let problem = malformed.problem.to_string();
        let correlation = malformed.message_id.as_deref();
        let bytes = self.voice(place, |origin| {
            protocol::rejected(origin, correlation, generation, lease, &problem)
        });
        let answered = Answered {
            inbox: said.inbox,
            incarnation: malformed.incarnation.clone(),
            sequence: sequence(correlation),
            generation: Some(generation),
            reply: None,
            bytes,
        };
        self.answer(place, answered);
    }

    /// Lines are kept by the leader, and by everybody while no leader is known.
    fn read_log(&mut self, place: usize, said: &Arc<Said>) {
        let knows_leader = self.nodes[place]
            .process
            .as_ref()
            .is_some_and(|process| process.core.leader().is_some());
        if self.leads(place) || !knows_leader {
            let said = Arc::clone(said);
            self.ask(
                place,
                Statement::Logs,
                Purpose::Lines { said },
                STATEMENT_TIMEOUT,
            );
        }
    }

    pub(super) fn answer_lines(&mut self, place: usize, said: &Said, answer: Option<Answer>) {
        let (Some(_), Ok(incoming)) = (answer, &said.read) else {
            return;
        };
        let correlation = incoming.message_id.as_deref();
        let bytes = self.voice(place, |origin| {
            protocol::log_reply(origin, correlation, None)
        });
        let answered = Answered {
            inbox: said.inbox,
            incarnation: Some(incoming.incarnation.clone()),
            sequence: incoming.sequence,
            generation: None,
            reply: None,
            bytes,
        };
        self.answer(place, answered);
    }

    /// Answers a request that core has decided.
    pub(super) fn reply(
        &mut self,
        place: usize,
        to: RequestId,
        generation: Generation,
        reply: Reply,
    ) {
        let Some(process) = &mut self.nodes[place].process else {
            return;
        };
        let Some(asker) = process.requests.remove(&to) else {
            return;
        };
        let bytes = self.voice(place, |origin| {
            protocol::reply(
                origin,
                asker.correlation.as_deref(),
                generation,
                &reply,
                asker.is_heartbeat,
                asker.detail.as_deref(),
            )
        });
        let answered = Answered {
            inbox: asker.inbox,
            incarnation: Some(asker.incarnation),
            sequence: asker.sequence,
            generation: Some(generation),
            reply: Some(reply),
            bytes,
        };
        self.answer(place, answered);
    }

    fn answer(&mut self, place: usize, answered: Answered) {
        let to = Address::Worker(answered.inbox.place);
        let message = Message::Answer(Arc::new(answered));
        self.send(Address::Coordinator(place), to, message);
    }

    pub(super) fn announce_leader(&mut self, place: usize, generation: Generation) {
        let bytes = self.voice(place, |origin| protocol::leader_elected(origin, generation));
        let from = Address::Coordinator(place);
        let elected = Arc::new(Elected { generation, bytes });
        self.broadcast(from, &Message::LeaderElected(elected));
        if self.nodes[place].plan.speaks_newer {
            let bytes = self.voice(place, |origin| protocol::leader_elected(origin, generation));
            let text = String::from_utf8_lossy(&bytes).replace("leader.elected", "leader.greets");
            self.broadcast(from, &Message::Unheard(Bytes::from(text.into_bytes())));
        }
    }

    /// A stop or a drain, which need nothing of the database.
    pub(super) fn command_worker(&mut self, place: usize, effect: Effect) {
        let (generation, worker, incarnation, order) = if let Effect::Stop {
            generation,
            worker,
            incarnation,
            order,
        } = effect
        {
            (generation, worker, incarnation, Order::Stop(order))
        } else if let Effect::DrainWorker {
            generation,
            worker,
            incarnation,
            deadline,
        } = effect
        {
            (generation, worker, incarnation, Order::Drain { deadline })
        } else {
            return;
        };
        let bytes = self.voice(place, |origin| match order {
            Order::Stop(order) => protocol::stop(origin, &incarnation, generation, &order),
            Order::Drain { deadline } => {
                protocol::drain(origin, &incarnation, generation, deadline)
            }
            Order::Assign { .. } => Bytes::new(),
        });
        let command = Command {
            generation,
            worker,
            incarnation,
            order,
            bytes,
        };
        self.command(Address::Coordinator(place), command);
    }

    /// Reads what an assignment carries; it is sent once that is answered.
    pub(super) fn ask_assignment(&mut self, place: usize, effect: Effect) {
        let Effect::Assign {
            workload, attempt, ..
        } = effect
        else {
            return;
        };
        let statement = Statement::Assignment(AssignmentAsk { workload, attempt });
        let purpose = Purpose::Assignment(Box::new(effect));
        self.ask(place, statement, purpose, STATEMENT_TIMEOUT);
    }

    pub(super) fn send_assignment(&mut self, place: usize, effect: &Effect, row: &AssignmentRow) {
        let Effect::Assign {
            generation,
            worker,
            incarnation,
            workload,
            attempt,
            heartbeat_sequence,
        } = effect
        else {
            return;
        };
        let bytes = self.voice(place, |origin| {
            protocol::assign(origin, incarnation, *generation, *heartbeat_sequence, row)
        });
        let command = Command {
            generation: *generation,
            worker: worker.clone(),
            incarnation: incarnation.clone(),
            order: Order::Assign {
                workload: *workload,
                attempt: *attempt,
                heartbeat_sequence: *heartbeat_sequence,
            },
            bytes,
        };
        self.command(Address::Coordinator(place), command);
    }

    fn voice(&mut self, place: usize, say: impl Fn(&CoordinatorOrigin<'_>) -> Bytes) -> Bytes {
        let now = super::workers::wall(self.now);
        self.next_message += 1;
        let node = &self.nodes[place];
        let message_id = format!("m{}", self.next_message);
        let name: &str = node
            .process
            .as_ref()
            .map_or("gone", |process| process.incarnation.as_str());
        let origin = CoordinatorOrigin {
            coordinator_id: name,
            message_id: &message_id,
            now,
        };
        let bytes = say(&origin);
        if node.plan.speaks_newer {
            as_newer_version(&bytes)
        } else {
            bytes
        }
    }

    /// The term that a coordinator leads by its own clock.
    pub(super) fn term_of(&self, place: usize) -> Option<Generation> {
        let node = &self.nodes[place];
        let local = node.clock().read(self.now);
        let process = node.process.as_ref()?;
        super::node_term(&process.core, local)
    }

    pub(super) fn leads(&self, place: usize) -> bool {
        self.term_of(place).is_some()
    }
}

/// What core is told of a report whose content was dealt with.
fn reported(body: &Body, content: Content) -> Option<WorkerMessage> {
    match body {
        Body::Outcome {
            workload,
            attempt,
            error_type: None,
            ..
        } => Some(WorkerMessage::Completed {
            workload: *workload,
            attempt: *attempt,
            content,
        }),
        Body::Outcome {
            workload,
            attempt,
            error_type: Some(error_type),
            ..
        } => Some(WorkerMessage::Failed {
            workload: *workload,
            attempt: *attempt,
            error_type: *error_type,
            content,
        }),
        Body::Checkpoint {
            workload,
            attempt,
            checkpoint_sequence,
            ..
        } => Some(WorkerMessage::Checkpoint {
            workload: *workload,
            attempt: *attempt,
            checkpoint_sequence: *checkpoint_sequence,
            content,
        }),
        Body::Plain(_) | Body::Progress { .. } | Body::Log { .. } => None,
    }
}

fn asker(said: &Said, incoming: &Incoming) -> Asker {
    Asker {
        inbox: said.inbox,
        correlation: incoming.message_id.clone(),
        incarnation: incoming.incarnation.clone(),
        sequence: incoming.sequence,
        is_heartbeat: incoming.body.is_heartbeat(),
        detail: incoming.refused.as_ref().map(ToString::to_string),
    }
}

/// The number in a worker's message id.
fn sequence(message_id: Option<&str>) -> MessageSequence {
    let number = message_id.and_then(|id| id.rsplit_once(':')?.1.parse().ok());
    MessageSequence(number.unwrap_or_default())
}
