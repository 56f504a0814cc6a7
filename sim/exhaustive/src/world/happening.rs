//! What each step makes of a world.

use super::{Message, ProcessFault, Step, Time, Wish, World, questions::writes};
use crate::{
    node::Node,
    part::Part,
    properties::Violation,
    scope::Scope,
    worker::{self, Process},
};
use niyanta_core::{
    Event, WorkerMessage,
    fleet::WorkerDesired,
    ids::{Attempt, WorkloadId},
    time::{Duration, Timestamp},
    workload::{Desired, ErrorType},
};
use runtime::{
    protocol::Body,
    worker::machine::{Event as WorkerEvent, Outcome},
};

impl World {
    pub(super) fn take(&mut self, step: Step) -> Result<(), Violation> {
        let left = &mut self.left;
        match step {
            Step::Tick(place) => {
                let heard_until = self.now;
                self.hand(place.into(), Event::Tick { heard_until })
            }
            Step::Wake(place) => {
                self.wake(place.into(), WorkerEvent::Tick);
                self.hurry()
            }
            Step::Answer(place, line) => self.carry_out(place.into(), line),
            Step::AnswerLate(place, line) => {
                left.lapses -= 1;
                let answer = self.execute(place.into(), line)?;
                self.now = self.now.plus(Scope::SHORT);
                answer.map_or(Ok(()), |event| self.hand(place.into(), event))
            }
            Step::LoseAnswer(place, line) => {
                left.unknown -= 1;
                self.lose_answer(place.into(), line)
            }
            Step::GiveUp(place, line) => {
                left.unknown -= 1;
                self.give_up(place.into(), line)
            }
            Step::Orphan(place, index) => self.orphan(place.into(), index.into()),
            Step::Deliver(index) => {
                let message = self.messages.remove(index.into());
                self.deliver(&message)
            }
            Step::Lose(index) => {
                left.lost -= 1;
                self.messages.remove(index.into());
                Ok(())
            }
            Step::Double(index) => {
                left.doubled -= 1;
                let message = self.messages[usize::from(index)].clone();
                self.deliver(&message)
            }
            Step::Complete(place, workload, attempt) => {
                self.finished.insert((workload, attempt));
                self.end(place.into(), (workload, attempt), Outcome::Completed(None));
                Ok(())
            }
            Step::Fail(place, workload, attempt) => {
                left.failures -= 1;
                let outcome = Outcome::Failed {
                    error_type: ErrorType::Transient,
                    message: "it failed".to_owned(),
                };
                self.end(place.into(), (workload, attempt), outcome);
                Ok(())
            }
            Step::Wish(wish) => {
                self.wish(wish);
                Ok(())
            }
            Step::Process(fault) => {
                self.process_fault(fault);
                Ok(())
            }
            Step::Time(time) => {
                self.pass_time(time);
                Ok(())
            }
        }
    }

    /// Delivers heartbeats and their answers at once, where they take no time.
    fn hurry(&mut self) -> Result<(), Violation> {
        while self.is_prompt {
            let beats = self.messages.iter().position(|message| match &**message {
                Message::Said { incoming, .. } => {
                    matches!(incoming.body, Body::Plain(WorkerMessage::Heartbeat { .. }))
                }
                Message::Answer { is_heartbeat, .. } => *is_heartbeat,
                Message::Command { .. }
                | Message::Elected(..)
                | Message::Resigned(_)
                | Message::Workloads(_)
                | Message::Workers => false,
            });
            let Some(index) = beats else { break };
            let message = self.messages.remove(index);
            self.deliver(&message)?;
        }
        Ok(())
    }

    fn end(&mut self, place: usize, run: (WorkloadId, Attempt), outcome: Outcome) {
        self.processes[place].change(|process| process.running.remove(&run));
        self.wake(place, worker::ended(run.0, run.1, outcome));
    }

    fn wish(&mut self, wish: Wish) {
        match wish {
            Wish::Workload(workload, desired) => {
                let left = &mut self.left;
                match desired {
                    Desired::Cancel => left.cancels -= 1,
                    Desired::Pause => left.pauses -= 1,
                    Desired::Run => left.resumes -= 1,
                }
                let written = self
                    .database
                    .change(|database| database.wish(workload, desired));
                if written {
                    let cancelled = self
                        .wished_away
                        .get(&workload)
                        .is_some_and(|cancel| *cancel);
                    self.wished_away
                        .insert(workload, cancelled || desired == Desired::Cancel);
                    self.send(Message::Workloads(vec![workload]));
                }
            }
            Wish::Drain(place) => {
                self.left.drains -= 1;
                let id = self.database.workers.keys().nth(place.into()).cloned();
                let written = id.is_some_and(|id| {
                    self.database
                        .change(|database| database.wish_worker(&id, WorkerDesired::Drain))
                });
                if written {
                    self.send(Message::Workers);
                }
            }
        }
    }

    fn process_fault(&mut self, fault: ProcessFault) {
        match fault {
            ProcessFault::Crash(place) => {
                self.left.crashes -= 1;
                let place = usize::from(place);
                let now = self.now;
                self.nodes[place].change(|node| {
                    let mut next = Node::start(place, node.starts + 1, now);
                    next.orphans = std::mem::take(&mut node.orphans);
                    for line in &mut node.lines {
                        next.orphans.extend(line.drain(..).take(1).filter(writes));
                    }
                    *node = next;
                });
            }
            ProcessFault::CrashWorker(place) => {
                self.left.crashes -= 1;
                let place = usize::from(place);
                self.processes[place].change(|process| {
                    *process = Process::start(place, process.worker.clone(), process.starts + 1);
                });
            }
            ProcessFault::Second(place) => {
                self.left.seconds -= 1;
                let worker = self.processes[usize::from(place)].worker.clone();
                let place = self.processes.len();
                self.processes
                    .push(Part::new(Process::start(place, worker, 1)));
            }
        }
    }

    fn pass_time(&mut self, time: Time) {
        match time {
            Time::Pause => {
                self.left.lapses -= 1;
                self.now = self.now.plus(Scope::SHORT);
            }
            Time::LeaseEnds => {
                self.left.lapses -= 1;
                let grain = Duration::from_millis(1);
                self.now = self.now.max(self.database.lease_ends.plus(grain));
            }
            Time::WorkersLeaseEnds => {
                self.left.lapses -= 1;
                let grain = Duration::from_millis(1);
                self.now = self.now.plus(Scope::WORKER_LEASE + grain);
            }
            Time::Pass => {
                self.left.passes -= 1;
                let nodes = self
                    .nodes
                    .iter()
                    .filter_map(|node| node.core.next_deadline());
                let processes = self.processes.iter();
                let processes = processes.filter_map(|process| process.machine.next_deadline());
                let next = nodes.map(|deadline| deadline.at).chain(processes).min();
                let grid = u64::try_from(Scope::GRID.as_nanos()).unwrap_or(1);
                let next = next.unwrap_or(self.now).0.div_ceil(grid) * grid;
                self.now = self.now.max(Timestamp(next));
            }
        }
    }
}
