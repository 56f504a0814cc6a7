//! Words among coordinators and workers, and what comes of them.

use super::{Message, World, questions::changes};
use crate::{
    node::{Line, Question, command, origin},
    part::Part,
    properties::{self, Violation},
};
use niyanta_core::{
    Content, Effect, Event, WorkerMessage,
    ids::{Attempt, WorkloadId},
    invariants,
};
use runtime::{
    protocol::{self, Body, Incoming},
    worker::machine::Event as WorkerEvent,
};
use std::sync::Arc;

impl World {
    pub(super) fn deliver(&mut self, message: &Message) -> Result<(), Violation> {
        match message {
            Message::Said {
                process, incoming, ..
            } => {
                for place in 0..self.nodes.len() {
                    self.hear(place, *process, incoming)?;
                }
                Ok(())
            }
            Message::Answer { process, bytes, .. } => {
                self.wake(*process, WorkerEvent::Heard(bytes.clone()));
                Ok(())
            }
            Message::Command { worker, bytes } => {
                for place in 0..self.processes.len() {
                    if self.processes[place].worker == *worker {
                        self.wake(place, WorkerEvent::Heard(bytes.clone()));
                    }
                }
                Ok(())
            }
            Message::Elected(generation, bytes) => {
                for place in 0..self.processes.len() {
                    self.wake(place, WorkerEvent::Heard(bytes.clone()));
                }
                self.hand_all(&Event::GenerationSeen(*generation))
            }
            Message::Resigned(generation) => self.hand_all(&Event::LeaderResigned(*generation)),
            Message::Workloads(ids) => self.hand_all(&Event::WorkloadsHinted(ids.clone())),
            Message::Workers => self.hand_all(&Event::WorkersHinted),
        }
    }

    pub(super) fn hand_all(&mut self, event: &Event) -> Result<(), Violation> {
        (0..self.nodes.len()).try_for_each(|place| self.hand(place, event.clone()))
    }

    /// A coordinator reads a worker's words, as the driver does: who does not lead is silent.
    pub(super) fn hear(
        &mut self,
        place: usize,
        process: usize,
        incoming: &Incoming,
    ) -> Result<(), Violation> {
        let node = &self.nodes[place];
        if !node.core.is_leader(self.now) {
            if incoming.generation_seen > node.core.generation_heard() {
                return self.hand(place, Event::GenerationSeen(incoming.generation_seen));
            }
            return Ok(());
        }
        let body = match &incoming.body {
            Body::Plain(body) => body.clone(),
            Body::Outcome {
                workload,
                attempt,
                error_type,
                ..
            } => {
                let has_content = error_type.is_some();
                let content = if has_content {
                    self.written(*workload, *attempt)
                } else {
                    Content::Absent
                };
                match error_type {
                    None => WorkerMessage::Completed {
                        workload: *workload,
                        attempt: *attempt,
                        content,
                    },
                    Some(error_type) => WorkerMessage::Failed {
                        workload: *workload,
                        attempt: *attempt,
                        error_type: *error_type,
                        content,
                    },
                }
            }
            Body::Checkpoint { .. } | Body::Progress { .. } | Body::Log { .. } => return Ok(()),
        };
        let event = self.nodes[place].change(|node| node.request(incoming, process, body));
        self.hand(place, event)
    }

    /// Whether the content of a report of this attempt is kept.
    pub(super) fn written(&self, workload: WorkloadId, attempt: Attempt) -> Content {
        let open = self.database.workloads.get(&workload).is_some_and(|row| {
            row.leader.attempt == attempt && row.leader.status.has_open_attempt()
        });
        if open {
            Content::Stored
        } else {
            Content::NotOpen
        }
    }

    pub(super) fn wake(&mut self, place: usize, event: WorkerEvent) {
        let now = self.now;
        let before = self.processes[place].running.clone();
        let said = self.processes[place].change(|process| process.handle(now, event));
        let process = &self.processes[place];
        let (incarnation, after) = (
            process.machine.incarnation().clone(),
            process.running.clone(),
        );
        self.tell(|| format!("    {incarnation}  runs {before:?} → {after:?}"));
        for bytes in said {
            if let Ok(incoming) = protocol::decode(&bytes) {
                self.tell(|| format!("    {incarnation}  says {:?}", incoming.body));
                self.send(Message::Said {
                    process: place,
                    incoming: Arc::new(incoming),
                    copy: 0,
                });
            }
        }
    }

    pub(super) fn send(&mut self, message: Message) {
        let message = Part::new(message);
        let at = self
            .messages
            .partition_point(|other| other.print() < message.print());
        self.messages.insert(at, message);
    }

    /// Hands an event to a coordinator, and carries out what comes of it.
    pub(super) fn hand(&mut self, place: usize, event: Event) -> Result<(), Violation> {
        let now = self.now;
        let words = self.tale.is_some().then(|| format!("{event:?}"));
        let (effects, violation) = self.nodes[place].change(|node| {
            let mut effects = Vec::new();
            node.core.handle(now, event, &mut effects);
            let violation = invariants::check(&node.core).into_iter().next();
            (effects, violation)
        });
        let incarnation = self.nodes[place].incarnation.clone();
        self.tell(|| format!("    {incarnation}  hears {}", words.unwrap_or_default()));
        if let Some(violation) = violation {
            return Err(Violation::new(violation.property, violation.detail));
        }
        for effect in effects {
            self.tell(|| format!("    {incarnation}  → {effect:?}"));
            self.perform(place, effect)?;
        }
        Ok(())
    }

    pub(super) fn perform(&mut self, place: usize, effect: Effect) -> Result<(), Violation> {
        let now = self.now;
        let node = &self.nodes[place];
        if let Some(term) = effect.term() {
            if term < node.term {
                let detail = format!("{} does {} of term {term}", node.incarnation, effect.kind());
                return Err(Violation::new("P17", detail));
            }
            // The driver drops what belongs to a term that is over.
            if node.core.generation() != Some(term) {
                return Ok(());
            }
            if term > node.term {
                self.nodes[place].change(|node| node.term = term);
            }
        }
        properties::told(&self.database, &effect)?;
        if let Some(line) = Line::of(&effect) {
            if self.is_prompt && !changes(&effect) {
                let question = Question {
                    asked: now,
                    effect: Arc::new(effect),
                };
                let answer = self.execute_for(place, &question)?;
                return answer.map_or(Ok(()), |event| self.hand(place, event));
            }
            let question = Question {
                asked: now,
                effect: Arc::new(effect),
            };
            self.nodes[place].change(|node| node.lines[line as usize].push_back(question));
            return Ok(());
        }
        if let Some((worker, bytes)) = command(&self.nodes[place], &self.database, &effect) {
            self.send(Message::Command { worker, bytes });
            return Ok(());
        }
        self.say(place, effect)
    }

    /// What a coordinator says to whoever listens.
    pub(super) fn say(&mut self, place: usize, effect: Effect) -> Result<(), Violation> {
        match effect {
            Effect::Reply {
                to,
                generation,
                reply,
            } => {
                let asker = self.nodes[place].change(|node| node.take_asker(to));
                if let Some(asker) = asker {
                    let label = self.nodes[place].incarnation.clone();
                    let bytes = protocol::reply(
                        &origin(label.as_str()),
                        asker.message_id.as_deref(),
                        generation,
                        &reply,
                        asker.is_heartbeat,
                        None,
                    );
                    self.send(Message::Answer {
                        process: asker.process,
                        is_heartbeat: asker.is_heartbeat,
                        bytes,
                    });
                }
                Ok(())
            }
            Effect::Forget { to } => {
                self.nodes[place].change(|node| node.take_asker(to));
                Ok(())
            }
            Effect::ProbeBroker { nonce } => self.hand(place, Event::ProbeHeard { nonce }),
            Effect::AnnounceLeader { generation } => {
                let label = self.nodes[place].incarnation.clone();
                let bytes = protocol::leader_elected(&origin(label.as_str()), generation);
                self.send(Message::Elected(generation, bytes));
                Ok(())
            }
            Effect::AnnounceResignation { generation } => {
                self.send(Message::Resigned(generation));
                Ok(())
            }
            Effect::RecordPendingReasons { .. }
            | Effect::RecordHeartbeats { .. }
            | Effect::Exit { .. }
            | Effect::TakeLease { .. }
            | Effect::ReadLease { .. }
            | Effect::RenewLease { .. }
            | Effect::ResignLease { .. }
            | Effect::LoadSnapshot { .. }
            | Effect::Persist(_)
            | Effect::ReadFence { .. }
            | Effect::Load { .. }
            | Effect::Assign { .. }
            | Effect::Stop { .. }
            | Effect::DrainWorker { .. } => Ok(()),
        }
    }
}
