//! The machines that workers run on.

use super::{Occurrence, World};
use crate::{
    clock::{Clock, Moment},
    decision::{Choice, Occasion, Who},
    message::{Address, Message},
    plan::{InFlight, Plan, WorkerPlan},
    properties::Observation,
    worker::{Deed, Worker},
};
use niyanta_core::{WorkerMessage, ids::Incarnation, time::Duration};
use std::collections::VecDeque;

/// A machine with room for one worker process.
pub(super) struct Host {
    /// How it is deployed.
    pub plan: WorkerPlan,
    /// Counts the processes that ran here.
    pub epoch: u32,
    /// The process.
    pub worker: Option<Worker>,
    /// It and its children are not scheduled until then.
    pub paused_until: Option<Moment>,
    /// The incarnation before, which has ended with all its children.
    pub before: Option<Incarnation>,
    inbox: VecDeque<Message>,
    wake_at: Option<Moment>,
}

impl Host {
    /// All machines of a plan, with nothing running.
    #[must_use]
    pub(super) fn all(plan: &Plan) -> Vec<Self> {
        plan.workers
            .iter()
            .map(|plan| Self {
                plan: plan.clone(),
                epoch: 0,
                worker: None,
                paused_until: None,
                before: None,
                inbox: VecDeque::new(),
                wake_at: None,
            })
            .collect()
    }

    /// Its clock.
    #[must_use]
    pub(super) const fn clock(&self) -> Clock {
        self.plan.clock
    }
}

impl World {
    pub(super) fn start_worker(&mut self, place: usize) {
        let now = self.now;
        let host = &mut self.hosts[place];
        if host.worker.is_some() || host.plan.absent {
            return;
        }
        host.epoch += 1;
        let incarnation: Incarnation = match format!("w{place}-{}", host.epoch).parse() {
            Ok(incarnation) => incarnation,
            Err(invalid) => unreachable!("{invalid}"),
        };
        let mut profile = host.plan.profile.clone();
        let point = self
            .decider
            .occasion(Occasion::WorkerStart, Who::place(place));
        let is_first = host.epoch <= 1;
        let room = self.decider.pick(point, Choice::WorkerRoom, |rng| {
            let changes = !is_first && rng.per_mille(200);
            u32::try_from(rng.between(1, 5) * u64::from(changes)).unwrap_or(0)
        });
        if room > 0 {
            // It was deployed anew, with more or less room.
            profile.capacity = room;
        }
        let replaces = host.before.clone().filter(|_| host.plan.remembers);
        host.worker = Some(Worker::start(
            host.clock().read(now),
            place,
            profile,
            incarnation.clone(),
            replaces,
            super::process_seed(self.plan.seed, "worker", place, host.epoch),
        ));
        self.trace.tell(now, Address::Worker(place), || {
            format!("starts as {incarnation}")
        });
        self.carry_out_deeds(place);
    }

    /// The process dies with its children.
    pub(super) fn end_worker(&mut self, place: usize) {
        let host = &mut self.hosts[place];
        if let Some(worker) = host.worker.take() {
            host.epoch += 1;
            host.before = Some(worker.incarnation().clone());
            host.paused_until = None;
            host.inbox.clear();
            host.wake_at = None;
            self.observe(&Observation::WorkerGone {
                place,
                incarnation: worker.incarnation(),
            });
        }
    }

    pub(super) fn reach_worker(&mut self, place: usize, message: Message) {
        let host = &mut self.hosts[place];
        if host.paused_until.is_some() {
            if host.worker.is_some() {
                host.inbox.push_back(message);
            }
            return;
        }
        let local = host.clock().read(self.now);
        if let Some(worker) = &mut host.worker {
            worker.hear(local, &message, &mut self.decider);
            self.trace.tell(self.now, Address::Worker(place), || {
                format!("hears {}", crate::story::message(&message))
            });
            self.carry_out_deeds(place);
        }
    }

    pub(super) fn wake_worker(&mut self, place: usize, epoch: u32) {
        let now = self.now;
        let host = &mut self.hosts[place];
        if host.epoch != epoch || host.paused_until.is_some() {
            return;
        }
        if host.wake_at.is_none_or(|at| at > now) {
            return;
        }
        host.wake_at = None;
        let local = host.clock().read(now);
        if let Some(worker) = &mut host.worker {
            worker.wake(local);
            self.carry_out_deeds(place);
        }
    }

    pub(super) fn resume_worker(&mut self, place: usize, epoch: u32) {
        let now = self.now;
        let host = &mut self.hosts[place];
        if host.epoch != epoch || host.paused_until.is_none_or(|until| until > now) {
            return;
        }
        host.paused_until = None;
        host.wake_at = None;
        let unread = std::mem::take(&mut host.inbox);
        self.trace
            .tell(now, Address::Worker(place), || "runs again".to_owned());
        for message in unread {
            self.reach_worker(place, message);
        }
        let local = self.hosts[place].clock().read(now);
        if let Some(worker) = &mut self.hosts[place].worker {
            worker.wake(local);
            self.carry_out_deeds(place);
        }
    }

    /// Sends what the worker sends, shows what it does, and wakes it when it wants to be.
    pub(super) fn carry_out_deeds(&mut self, place: usize) {
        let now = self.now;
        let clock = self.hosts[place].clock();
        let Some(worker) = &mut self.hosts[place].worker else {
            return;
        };
        let deeds = worker.take_deeds();
        let incarnation = worker.incarnation().clone();
        let lease_until = worker.lease_until();
        let mut exit = None;
        for deed in deeds {
            self.trace.fold_value(&deed);
            self.tell_deed(place, &deed);
            self.observe(&Observation::Worker {
                place,
                incarnation: &incarnation,
                clock,
                lease_until,
                deed: &deed,
            });
            match deed {
                Deed::Send(request) => {
                    let from = Address::Worker(place);
                    let beats = matches!(request.request.body, WorkerMessage::Heartbeat { .. });
                    self.tell_coordinators(from, &Message::Request(request));
                    if beats && let Some(leader) = self.leader_if_aimed_at() {
                        self.strike_during(InFlight::HeartbeatSent, leader);
                    }
                }
                Deed::Exit { deregistered } => exit = Some(deregistered),
                Deed::Obeyed { .. } | Deed::Began(..) | Deed::Finished(..) | Deed::Ended(..) => {}
            }
        }
        self.observe(&Observation::WorkerStands {
            place,
            clock,
            lease_until,
        });
        if let Some(deregistered) = exit {
            self.end_worker(place);
            let pause = Duration::from_millis(if deregistered { 1_500 } else { 300 });
            self.after(pause, Occurrence::StartWorker(place));
            return;
        }
        let host = &mut self.hosts[place];
        let epoch = host.epoch;
        let Some(worker) = &host.worker else { return };
        let next = worker.next_wake();
        if next == niyanta_core::time::Timestamp::MAX {
            return;
        }
        let at = clock.when(next).max(now);
        if host.wake_at.is_none_or(|wake_at| at < wake_at) {
            host.wake_at = Some(at);
            self.at(at, Occurrence::WakeWorker { place, epoch });
        }
    }

    fn tell_deed(&mut self, place: usize, deed: &Deed) {
        self.trace
            .tell(self.now, Address::Worker(place), || match deed {
                Deed::Send(request) => format!("asks {}", crate::story::request(&request.request)),
                Deed::Obeyed { generation, .. } => format!("  (obeys term {generation})"),
                Deed::Began(workload, attempt) => format!("begins {workload} attempt {attempt}"),
                Deed::Finished(workload, attempt, finish) => {
                    format!("{workload} attempt {attempt}: {finish:?}")
                }
                Deed::Ended(workload, attempt) => {
                    format!("runs {workload} attempt {attempt} no more")
                }
                Deed::Exit { .. } => "exits".to_owned(),
            });
    }
}
