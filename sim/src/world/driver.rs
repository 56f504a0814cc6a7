//! The driver of a coordinator, mirrored: stamps the clock, hands events to the production core, and
//! carries its effects out in order. It decides nothing.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "`carry_out` names every effect; what it hands on takes a few of them"
)]

use super::{Inbound, Node, Occurrence, World, node::Process, operations::Purpose};
use crate::{
    clock::Moment,
    decision::{Choice, Occasion, Who},
    message::{Address, Message},
    model::store::{RenewLease, Statement, TakeLease},
    plan::InFlight,
    properties::Observation,
};
use niyanta_core::{
    Coordinator, Effect, Event, ExitReason,
    ids::{Generation, Incarnation, RequestId},
    invariants,
    time::{Duration, WallTime},
};
use sim_probes::{Bug, is_planted};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

impl World {
    pub(super) fn start_coordinator(&mut self, place: usize) {
        if self.nodes[place].process.is_some() || self.nodes[place].plan.absent {
            return;
        }
        let enable_ha = self.plan.enable_ha;
        let now = self.now;
        let node = &mut self.nodes[place];
        node.epoch += 1;
        let seed = super::process_seed(self.plan.seed, "core", place, node.epoch);
        let incarnation: Incarnation = match format!("c{place}-{}", node.epoch).parse() {
            Ok(incarnation) => incarnation,
            Err(invalid) => unreachable!("{invalid}"),
        };
        let config = node.config(enable_ha, incarnation.clone(), seed);
        let local = node.clock().read(now);
        node.process = Some(Process {
            core: Coordinator::new(config.clone(), local),
            incarnation,
            paused_until: None,
            answers_first_until: Moment::default(),
            overloaded_until: Moment::default(),
            inbox: VecDeque::new(),
            held: VecDeque::new(),
            leftover: None,
            requests: BTreeMap::new(),
            last_request: RequestId::ZERO,
            writing: BTreeMap::new(),
            wake_at: None,
            woken_at: Moment::default(),
            wakes_now: 0,
            handled: 0,
            paused_at: Moment::default(),
            resigning: BTreeSet::new(),
            announcing: BTreeSet::new(),
            database_time: WallTime(0),
            calls: BTreeMap::new(),
        });
        self.trace.tell(now, Address::Coordinator(place), || {
            format!("starts as {}", config.incarnation)
        });
        self.observe(&Observation::CoordinatorStarted {
            place,
            config: &config,
            local,
        });
        self.schedule_wake(place);
    }

    /// The process is gone, with everything it knew.
    pub(super) fn end_coordinator(&mut self, place: usize) {
        if self.nodes[place].process.take().is_some() {
            self.forget_operations(place);
            self.nodes[place].epoch += 1;
            self.observe(&Observation::CoordinatorGone { place });
        }
    }

    pub(super) fn wake_coordinator(&mut self, place: usize, epoch: u32) {
        let now = self.now;
        let node = &mut self.nodes[place];
        if node.epoch != epoch {
            return;
        }
        let clock = node.clock();
        let lies = is_planted(Bug::UnreadIsHeard);
        let Some(process) = node.awake() else { return };
        if process.wake_at.is_none_or(|at| at > now) {
            return;
        }
        process.wake_at = None;
        process.wakes_now = if process.woken_at == now {
            process.wakes_now + 1
        } else {
            0
        };
        process.woken_at = now;
        if process.wakes_now > WAKES_AT_ONCE_MAX {
            self.observe(&Observation::Spins { place });
            return;
        }
        let heard_until = if lies {
            clock.read(now)
        } else {
            process.heard_until(clock, now)
        };
        self.hand(place, &Event::Tick { heard_until });
        self.schedule_wake(place);
    }

    /// Something reaches a process: read at once, or after what lies unread.
    pub(super) fn reach_node(&mut self, place: usize, epoch: u32, inbound: Inbound) {
        let now = self.now;
        let node = &mut self.nodes[place];
        if node.epoch != epoch {
            return;
        }
        let Some(process) = &mut node.process else {
            return;
        };
        // Answers of the database are read before messages that wait.
        let is_message = matches!(inbound, Inbound::Message(_));
        if is_message && process.inbox.len() >= UNREAD_MAX {
            return self.overflow(place, epoch);
        }
        let behind = !process.inbox.is_empty() || process.overloaded_until > now;
        let waits = process.paused_until.is_some() || (is_message && behind);
        if let Inbound::Message(Message::FromWorker(said)) = &inbound {
            let said = Arc::clone(said);
            self.observe(&Observation::WordReached { place, said: &said });
        }
        if !waits {
            self.read(place, now, inbound);
        } else if let Some(process) = &mut self.nodes[place].process {
            process.inbox.push_back((now, inbound));
        }
    }

    /// A subscription is full: the newest message is dropped, and the link says so.
    fn overflow(&mut self, place: usize, epoch: u32) {
        self.counts.faults += 1;
        self.trace.tell(self.now, Address::Coordinator(place), || {
            "has too much unread: a message is dropped".to_owned()
        });
        let hidden = is_planted(Bug::OverflowReadAsSilence);
        self.reach_node(place, epoch, Inbound::Interrupted { hidden });
    }

    pub(super) fn read_inbox(&mut self, place: usize, epoch: u32) {
        let node = &mut self.nodes[place];
        if node.epoch != epoch {
            return;
        }
        let Some(process) = node.awake() else { return };
        if process.overloaded_until > self.now {
            let until = process.overloaded_until;
            self.at(until, Occurrence::ReadInbox { place, epoch });
            return;
        }
        let Some((arrived, inbound)) = process.inbox.pop_front() else {
            return;
        };
        let more = !process.inbox.is_empty();
        self.read(place, arrived, inbound);
        let epoch = self.nodes[place].epoch;
        if more {
            let point = self.decider.occasion(Occasion::Reading, Who::place(place));
            let (shortest, longest) = (Duration::from_micros(10), Duration::from_micros(400));
            let pause = self
                .decider
                .delay_up_to(point, Choice::ReadingDelay, shortest, longest);
            self.after(pause, Occurrence::ReadInbox { place, epoch });
        }
    }

    pub(super) fn resume_coordinator(&mut self, place: usize, epoch: u32) {
        let now = self.now;
        let node = &mut self.nodes[place];
        if node.epoch != epoch {
            return;
        }
        let Some(process) = &mut node.process else {
            return;
        };
        if process.paused_until.is_none_or(|until| until > now) {
            return;
        }
        process.paused_until = None;
        let point = self.decider.occasion(Occasion::Waking, Who::place(place));
        let order = self
            .decider
            .pick(point, Choice::WakingOrder, |rng| match rng.below(4) {
                0 | 1 => 0,
                other => u32::try_from(other - 1).unwrap_or(0),
            });
        if order > 0 {
            process.answers_first_until = now.plus(WAKING);
        }
        if order > 1 {
            // They come through another connection than answers do.
            let unread = process.inbox.make_contiguous();
            unread.sort_by_key(|(_, inbound)| inbound.is_answer());
        }
        let paused = now.since(process.paused_at);
        node.suspended += paused;
        self.trace
            .tell(now, Address::Coordinator(place), || "runs again".to_owned());
        self.observe(&Observation::CoordinatorResumed { place, paused });
        self.carry_out_held(place);
        if self.nodes[place].epoch != epoch {
            return;
        }
        if let Some(process) = self.nodes[place].awake() {
            let soon = Duration::from_micros(50);
            let (wakes, reads) = if process.answers_first_until > now {
                (soon, Duration::ZERO)
            } else {
                (Duration::ZERO, soon)
            };
            process.wake_at = Some(now.plus(wakes));
            self.after(wakes, Occurrence::WakeCoordinator { place, epoch });
            self.after(reads, Occurrence::ReadInbox { place, epoch });
        }
    }

    fn read(&mut self, place: usize, arrived: Moment, inbound: Inbound) {
        match inbound {
            Inbound::Message(message) => self.read_message(place, arrived, message),
            Inbound::Reply { id, sending, reply } => self.read_reply(id, sending, *reply),
            Inbound::Interrupted { hidden } => {
                self.observe(&Observation::ListeningInterrupted { place });
                if !hidden {
                    self.hand(place, &Event::ListeningInterrupted);
                }
            }
            Inbound::Event(event) => self.hand(place, &event),
            Inbound::Call(call) => self.begin_call(place, *call),
        }
        self.schedule_wake(place);
    }

    /// Hands one event to the core and carries out what follows.
    pub(super) fn hand(&mut self, place: usize, event: &Event) {
        let now = self.now;
        let node = &mut self.nodes[place];
        if let Event::LeaseRenewed { .. } = event {
            node.correct_wall_clock();
        }
        let local = node.clock().read(now);
        let Some(process) = node.awake() else { return };
        let mut effects = Vec::new();
        process.core.handle(local, event.clone(), &mut effects);
        let term = super::node_term(&process.core, local);
        process.handled += 1;
        let broken = if process.handled.is_multiple_of(WHOLE_CHECK_EVERY) {
            invariants::check(&process.core)
        } else {
            invariants::check_lease(&process.core)
        };
        self.trace.fold_value(&effects);
        // Waking up and finding nothing to do is no story.
        if !(effects.is_empty() && matches!(event, Event::Tick { .. })) {
            self.trace.tell(now, Address::Coordinator(place), || {
                format!("hears: {}", crate::story::event(event))
            });
        }
        self.observe(&Observation::Handled {
            place,
            local,
            event,
            effects: &effects,
            term,
            broken: &broken,
        });
        if term.is_none()
            && let Some(process) = self.nodes[place].awake()
        {
            // Requests of an ended term are left to its successor.
            process.requests.clear();
        }
        self.send_leftover(place, term);
        if effects.is_empty() {
            return;
        }
        if let Some(process) = self.nodes[place].awake() {
            process.held.extend(effects);
        }
        if term.is_some() {
            self.strike_during(InFlight::Decided, place);
        }
        self.carry_out_held(place);
    }

    fn carry_out_held(&mut self, place: usize) {
        let epoch = self.nodes[place].epoch;
        loop {
            if self.nodes[place].epoch != epoch {
                return;
            }
            let local = self.nodes[place].clock().read(self.now);
            let Some(process) = self.nodes[place].awake() else {
                return;
            };
            let Some(effect) = process.held.pop_front() else {
                return;
            };
            let term = super::node_term(&process.core, local);
            if effect.term().is_some() && effect.term() != term {
                continue;
            }
            self.carry_out(place, effect);
        }
    }

    fn carry_out(&mut self, place: usize, effect: Effect) {
        self.trace.tell(self.now, Address::Coordinator(place), || {
            format!("→ {}", crate::story::effect(&effect))
        });
        if matches!(effect, Effect::Assign { .. }) {
            self.keep_leftover(place, &effect);
            self.strike_during(InFlight::Assigning, place);
            if let Some(process) = &mut self.nodes[place].process
                && process.paused_until.is_some()
            {
                process.held.push_front(effect);
                return;
            }
            if self.nodes[place].process.is_none() {
                return;
            }
        }
        self.observe(&Observation::CarriedOut {
            place,
            effect: &effect,
        });
        let from = Address::Coordinator(place);
        match effect {
            Effect::TakeLease { .. }
            | Effect::ReadLease { .. }
            | Effect::RenewLease { .. }
            | Effect::LoadSnapshot { .. }
            | Effect::Persist(_)
            | Effect::ReadFence { .. }
            | Effect::Load { .. } => self.ask_store(place, effect),
            Effect::ResignLease { generation } => self.resign(place, generation),
            Effect::AnnounceResignation { generation } => self.announce_end(place, generation),
            Effect::AnnounceLeader { generation } => self.announce_leader(place, generation),
            Effect::ProbeBroker { nonce } => self.send(from, from, Message::Probe { nonce }),
            Effect::RecordPendingReasons { reasons, .. } => {
                let statement = Statement::PendingReasons(reasons);
                self.ask(place, statement, Purpose::Nothing, STATEMENT_TIMEOUT);
            }
            Effect::RecordHeartbeats { heard, .. } => {
                let statement = Statement::Heartbeats(heard);
                self.ask(place, statement, Purpose::Nothing, STATEMENT_TIMEOUT);
            }
            Effect::Reply {
                to,
                generation,
                reply,
            } => self.reply(place, to, generation, reply),
            Effect::Forget { to } => {
                if let Some(process) = &mut self.nodes[place].process {
                    process.requests.remove(&to);
                }
            }
            Effect::Assign { .. } => self.ask_assignment(place, effect),
            Effect::Stop { .. } | Effect::DrainWorker { .. } => {
                self.command_worker(place, effect);
            }
            Effect::Exit { reason } => self.exit(place, reason),
        }
    }

    /// Sends a statement that core waits for.
    fn ask_store(&mut self, place: usize, effect: Effect) {
        let in_flight = match &effect {
            Effect::TakeLease { .. } => Some(InFlight::LeaseTaking),
            Effect::LoadSnapshot { .. } => Some(InFlight::SnapshotLoading),
            Effect::Persist(_) => Some(InFlight::BatchSent),
            Effect::RenewLease { .. } => Some(InFlight::RenewalSent),
            _ => None,
        };
        let Some(incarnation) = self.incarnation_of(place) else {
            return;
        };
        let Some((statement, within)) = statement_of(effect, incarnation) else {
            return;
        };
        self.ask_core(place, statement, within);
        if let Some(in_flight) = in_flight {
            self.strike_during(in_flight, place);
        }
    }

    fn resign(&mut self, place: usize, generation: Generation) {
        let Some(process) = &mut self.nodes[place].process else {
            return;
        };
        process.resigning.insert(generation);
        let incarnation = process.incarnation.clone();
        let statement = Statement::ResignLease {
            incarnation,
            generation,
        };
        self.ask_core(place, statement, STATEMENT_TIMEOUT);
    }

    fn announce_end(&mut self, place: usize, generation: Generation) {
        let Some(process) = &mut self.nodes[place].process else {
            return;
        };
        if process.resigning.contains(&generation) {
            process.announcing.insert(generation);
        } else {
            let from = Address::Coordinator(place);
            self.tell_coordinators(from, &Message::LeaderResigned(generation));
        }
    }

    pub(super) fn note_resigned(&mut self, place: usize, generation: Generation) {
        let Some(process) = &mut self.nodes[place].process else {
            return;
        };
        process.resigning.remove(&generation);
        if process.announcing.remove(&generation) {
            let from = Address::Coordinator(place);
            self.tell_coordinators(from, &Message::LeaderResigned(generation));
        }
    }

    /// A wrong variant: a task that sends assignments does not end with its term.
    fn keep_leftover(&mut self, place: usize, effect: &Effect) {
        if is_planted(Bug::TimerOutlivesTerm)
            && let Some(process) = &mut self.nodes[place].process
        {
            process.leftover = Some(effect.clone());
        }
    }

    fn send_leftover(&mut self, place: usize, term: Option<Generation>) {
        let Some(process) = self.nodes[place].awake() else {
            return;
        };
        let late = process.leftover.take_if(|effect| effect.term() != term);
        if let Some(effect) = late {
            self.carry_out(place, effect);
        }
    }

    fn exit(&mut self, place: usize, reason: ExitReason) {
        match reason {
            ExitReason::FencedWithoutHa => {
                self.trace.tell(self.now, Address::Coordinator(place), || {
                    "exits: fenced without enable_ha".to_owned()
                });
            }
        }
        self.end_coordinator(place);
        self.after(Duration::from_secs(1), Occurrence::StartCoordinator(place));
    }

    pub(super) fn incarnation_of(&self, place: usize) -> Option<Incarnation> {
        let process = self
            .nodes
            .get(place)
            .and_then(|node: &Node| node.process.as_ref());
        process.map(|process| process.incarnation.clone())
    }

    /// Wakes the process when its core wants to be.
    pub(super) fn schedule_wake(&mut self, place: usize) {
        let now = self.now;
        let node = &mut self.nodes[place];
        let (clock, epoch) = (node.clock(), node.epoch);
        let Some(process) = node.awake() else { return };
        let Some(deadline) = process.core.next_deadline() else {
            return;
        };
        let at = clock.when(deadline.at).max(now);
        if process.wake_at.is_none_or(|wake_at| at < wake_at) {
            process.wake_at = Some(at);
            self.at(at, Occurrence::WakeCoordinator { place, epoch });
        }
    }
}

/// What a statement may take that core sets no limit to.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long after a pause answers that lay there may come before timers.
const WAKING: Duration = Duration::from_millis(5);

/// What a core holds is looked at as a whole after so many events: it costs more than the core, and
/// what is wrong in there stays wrong.
const WHOLE_CHECK_EVERY: u64 = 16;

/// So much a subscription holds.
const UNREAD_MAX: usize = 16_384;

/// More wake-ups than this at one moment are a process that spins.
const WAKES_AT_ONCE_MAX: u32 = 200;

/// The statement that carries an effect out, and how long its answer is waited for.
fn statement_of(effect: Effect, incarnation: Incarnation) -> Option<(Statement, Duration)> {
    Some(match effect {
        Effect::TakeLease {
            ask,
            above,
            own,
            force,
            ttl,
            within,
        } => {
            let take = TakeLease {
                ask,
                incarnation,
                above,
                own,
                force,
                ttl,
            };
            (Statement::TakeLease(take), within)
        }
        Effect::ReadLease { ask, within } => (Statement::ReadLease { ask }, within),
        Effect::RenewLease {
            ask,
            generation,
            ttl,
            within,
        } => {
            let renew = RenewLease {
                ask,
                incarnation,
                generation,
                ttl,
            };
            (Statement::RenewLease(renew), within)
        }
        Effect::LoadSnapshot { generation, limit } => {
            let load = Statement::Snapshot { generation, limit };
            (load, STATEMENT_TIMEOUT)
        }
        Effect::Persist(batch) => (Statement::Persist(batch), STATEMENT_TIMEOUT),
        Effect::ReadFence { generation, .. } => {
            (Statement::ReadFence { generation }, STATEMENT_TIMEOUT)
        }
        Effect::Load {
            load, what, limit, ..
        } => (Statement::Load { load, what, limit }, STATEMENT_TIMEOUT),
        _ => return None,
    })
}
