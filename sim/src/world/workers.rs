//! The machines that workers run on: the shell of the production worker machine.
//!
//! Feeds it what arrives, what its children say and what the clock says, and carries its actions out
//! in order. What a child does by itself is [`super::children`]'s.

use super::{Occurrence, World};
use crate::{
    clock::{Clock, Moment},
    decision::{Choice, Occasion, Who},
    message::{Address, Inbox, Message, Said, as_newer_version},
    plan::{InFlight, Plan, WorkerPlan},
    properties::Observation,
    worker::{Deed, Worker},
};
use bytes::Bytes;
use niyanta_core::{
    ids::{Generation, Incarnation},
    time::{Duration, WallTime},
};
use runtime::{
    protocol,
    worker::machine::{Action, Event},
};
use std::{collections::VecDeque, sync::Arc};

/// A machine with room for one worker process.
pub(super) struct Host {
    /// How it is deployed.
    pub plan: WorkerPlan,
    /// Counts the processes that ran here.
    pub epoch: u32,
    /// The process.
    pub worker: Option<Worker>,
    /// The process is not scheduled until then.
    pub paused_until: Option<Moment>,
    /// Nor are its children and their guards: the whole machine stands still.
    pub all_paused: bool,
    /// The incarnation before, which has ended with all its children.
    pub before: Option<Incarnation>,
    /// What its process says of its own software slips past the edge, and the database refuses it.
    pub speaks_unspeakably: bool,
    inbox: VecDeque<Arrival>,
    wake_at: Option<Moment>,
    actions: Vec<Action>,
}

/// Something for a process to read.
#[derive(Debug)]
enum Arrival {
    Heard(Message),
    Own(Event),
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
                all_paused: false,
                before: None,
                speaks_unspeakably: false,
                inbox: VecDeque::new(),
                wake_at: None,
                actions: Vec::new(),
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
        // Ten times as often as a report: there are fewer starts.
        let bad = if self.is_healed {
            0
        } else {
            self.plan.rates.bad * 10
        };
        self.hosts[place].speaks_unspeakably = bad > 0
            && self.decider.pick(point, Choice::WorkerText, |rng| {
                u32::from(rng.per_mille(bad))
            }) > 0;
        let host = &mut self.hosts[place];
        let replaces = host.before.clone().filter(|_| host.plan.remembers);
        let seed = super::process_seed(self.plan.seed, "worker", place, host.epoch);
        host.worker = Some(Worker::start(profile, incarnation.clone(), replaces, seed));
        self.trace.tell(now, Address::Worker(place), || {
            format!("starts as {incarnation}")
        });
        if self.hosts[place].plan.speaks_newer {
            self.say_what_nobody_knows(place);
        }
        self.step_worker(place, Event::Tick);
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
        if host.worker.is_none() || !is_for(&message, place, host.epoch) {
            return;
        }
        if host.paused_until.is_some() {
            host.inbox.push_back(Arrival::Heard(message));
            return;
        }
        self.trace.tell(self.now, Address::Worker(place), || {
            format!("hears {}", crate::story::message(&message))
        });
        self.hear(place, &message);
    }

    /// The process itself, or a child of it, has something to say to its machine.
    pub(super) fn tell_worker(&mut self, place: usize, event: Event) {
        let host = &mut self.hosts[place];
        if host.worker.is_none() {
            return;
        }
        if host.paused_until.is_some() {
            host.inbox.push_back(Arrival::Own(event));
        } else {
            self.step_worker(place, event);
        }
    }

    fn hear(&mut self, place: usize, message: &Message) {
        let Some(worker) = &mut self.hosts[place].worker else {
            return;
        };
        let mine = |incarnation: &Incarnation| incarnation == worker.incarnation();
        let (bytes, deed, generation) = match message {
            Message::Answer(answered) => (
                answered.bytes.clone(),
                answered
                    .incarnation
                    .as_ref()
                    .is_some_and(mine)
                    .then(|| Deed::HeardAnswer(Arc::clone(answered))),
                answered.generation,
            ),
            Message::Command(command) => (
                command.bytes.clone(),
                mine(&command.incarnation).then(|| Deed::HeardCommand(Arc::clone(command))),
                Some(command.generation),
            ),
            Message::LeaderElected(elected) => (
                elected.bytes.clone(),
                Some(Deed::HeardElected(elected.generation)),
                Some(elected.generation),
            ),
            Message::Unheard(bytes) => (bytes.clone(), None, None),
            Message::FromWorker(_)
            | Message::LeaderResigned(_)
            | Message::WorkloadsHinted(_)
            | Message::WorkersHinted
            | Message::CustomersHinted(_)
            | Message::KeyRevoked(_)
            | Message::Probe { .. } => return,
        };
        let Some(deed) = deed else {
            self.step_worker(place, Event::Heard(bytes));
            return;
        };
        let seen = generation.map(|generation| worker.note_generation(generation));
        let old = generation.filter(|generation| Some(*generation) < seen);
        match old {
            Some(generation) => self.hear_old(place, bytes, generation, seen.unwrap_or_default()),
            None => {
                self.observe_deed(place, &deed);
                self.step_worker(place, Event::Heard(bytes));
            }
        }
    }

    /// A word of an older term must change nothing. Everything that is due anyway is done first, so
    /// that whatever happens afterwards came of the word.
    fn hear_old(&mut self, place: usize, bytes: Bytes, generation: Generation, seen: Generation) {
        self.step_worker(place, Event::Tick);
        let Some(worker) = &self.hosts[place].worker else {
            return;
        };
        let before = worker.face();
        let did = self.step_worker(place, Event::Heard(bytes));
        let Some(worker) = &self.hosts[place].worker else {
            return;
        };
        if did || before != worker.face() {
            self.observe_deed(place, &Deed::ObeyedOld { generation, seen });
        }
    }

    pub(super) fn wake_worker(&mut self, place: usize, epoch: u32) {
        let host = &mut self.hosts[place];
        if host.epoch != epoch || host.paused_until.is_some() {
            return;
        }
        if host.wake_at.is_none_or(|at| at > self.now) {
            return;
        }
        host.wake_at = None;
        self.step_worker(place, Event::Tick);
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
        self.observe(&Observation::WorkerResumed { place });
        for arrival in unread {
            if self.hosts[place].epoch != epoch {
                return;
            }
            match arrival {
                Arrival::Heard(message) => self.reach_worker(place, message),
                Arrival::Own(event) => self.tell_worker(place, event),
            }
        }
        if self.hosts[place].epoch == epoch {
            self.step_worker(place, Event::Tick);
        }
    }

    /// Hands one thing to the machine and carries out what it wants. True when it wanted something.
    pub(super) fn step_worker(&mut self, place: usize, event: Event) -> bool {
        let now = self.now;
        let host = &mut self.hosts[place];
        let local = host.clock().read(now);
        let Some(worker) = &mut host.worker else {
            return false;
        };
        let mut actions = std::mem::take(&mut host.actions);
        worker.handle(local, wall(now), event, &mut actions);
        let did = !actions.is_empty();
        let epoch = host.epoch;
        for action in actions.drain(..) {
            if self.hosts[place].epoch == epoch {
                self.carry_out_action(place, action);
            }
        }
        self.hosts[place].actions = actions;
        if self.hosts[place].epoch == epoch {
            let clock = self.hosts[place].clock();
            self.observe(&Observation::WorkerStands { place, clock });
            self.schedule_worker(place);
        }
        did
    }

    fn carry_out_action(&mut self, place: usize, action: Action) {
        match action {
            Action::Send {
                is_log,
                wants_answer: _,
                bytes,
            } => self.say(place, is_log, bytes),
            Action::Start(assignment) => self.start_child(place, &assignment),
            Action::Stop {
                workload,
                attempt,
                cause,
            } => self.stop_child(place, (workload, attempt), cause),
            Action::Kill { workload, attempt } => self.kill_child(place, (workload, attempt)),
            Action::LeaseExtended(until) => {
                if let Some(worker) = &mut self.hosts[place].worker {
                    worker.guarded_until = until;
                }
            }
            Action::Exit { refused } => {
                let refused = refused.is_some();
                self.observe_deed(place, &Deed::Exit { refused });
                self.end_worker(place);
                let pause = Duration::from_millis(if refused { 300 } else { 1_500 });
                self.after(pause, Occurrence::StartWorker(place));
            }
        }
    }

    fn say(&mut self, place: usize, is_log: bool, bytes: Bytes) {
        let host = &self.hosts[place];
        let bytes = if host.plan.speaks_newer {
            as_newer_version(&bytes)
        } else {
            bytes
        };
        let epoch = host.epoch;
        let said = Arc::new(Said {
            inbox: Inbox { place, epoch },
            is_log,
            read: protocol::decode(&bytes),
            bytes,
        });
        self.observe_deed(place, &Deed::Said(Arc::clone(&said)));
        let renews = said.renews_lease();
        self.tell_coordinators(Address::Worker(place), &Message::FromWorker(said));
        if renews && let Some(leader) = self.leader_if_aimed_at() {
            self.strike_during(InFlight::HeartbeatSent, leader);
        }
    }

    /// A newer version says something that this one refuses.
    fn say_what_nobody_knows(&mut self, place: usize) {
        let Some(worker) = &self.hosts[place].worker else {
            return;
        };
        let origin = protocol::WorkerOrigin {
            worker: &worker.profile().worker,
            incarnation: worker.incarnation(),
            generation_seen: Generation::ZERO,
            sequence: 0,
            now: wall(self.now),
        };
        let bytes = origin.encode("worker.mood", protocol::wire::Nothing {});
        self.say(place, false, bytes);
    }

    pub(super) fn observe_deed(&mut self, place: usize, deed: &Deed) {
        let host = &self.hosts[place];
        let clock = host.clock();
        let Some(worker) = &host.worker else { return };
        let incarnation = worker.incarnation().clone();
        deed.fold_into(&mut self.trace);
        self.trace.tell(self.now, Address::Worker(place), || {
            crate::story::deed(deed)
        });
        self.observe(&Observation::Worker {
            place,
            incarnation: &incarnation,
            clock,
            deed,
        });
    }

    fn schedule_worker(&mut self, place: usize) {
        let now = self.now;
        let host = &mut self.hosts[place];
        let (clock, epoch) = (host.clock(), host.epoch);
        let Some(worker) = &host.worker else { return };
        let Some(next) = worker.next_wake() else {
            return;
        };
        let at = clock.when(next).max(now);
        if host.wake_at.is_none_or(|wake_at| at < wake_at) {
            host.wake_at = Some(at);
            self.at(at, Occurrence::WakeWorker { place, epoch });
        }
    }

    /// Its connection to the broker is back.
    pub(super) fn reconnect_worker(&mut self, place: usize) {
        self.tell_worker(place, Event::Connected);
    }
}

/// An answer goes to one process; everything else to whoever runs there.
fn is_for(message: &Message, place: usize, epoch: u32) -> bool {
    match message {
        Message::Answer(answered) => answered.inbox == Inbox { place, epoch },
        Message::Command(_)
        | Message::LeaderElected(_)
        | Message::Unheard(_)
        | Message::FromWorker(_)
        | Message::LeaderResigned(_)
        | Message::WorkloadsHinted(_)
        | Message::WorkersHinted
        | Message::CustomersHinted(_)
        | Message::KeyRevoked(_)
        | Message::Probe { .. } => true,
    }
}

/// What messages are stamped with, for people.
pub(super) fn wall(now: Moment) -> WallTime {
    let micros = i64::try_from(now.0 / 1_000).unwrap_or(i64::MAX / 2);
    WallTime(1_790_000_000_000_000 + micros)
}
