//! Several coordinators, a store, and workers that obey or do not; and what is judged after each
//! transition.
//!
//! Owns the order of things and the checks: always that the lease is kept (P3), that nothing of an
//! ended term is said (P17), that nothing is told before it is in the store (P5), that each request
//! is answered once, and that effects are bounded; on every 64th transition the whole of core. Does
//! not own what is made to happen: that is [`super::play`]'s.

use super::{
    node::{Line, Node},
    process::Process,
    store::Store,
};
use niyanta_core::{
    Config, Effect, Event, PersistOutcome,
    fleet::WorkerStatus,
    ids::{CustomerId, Generation, Incarnation, WorkerId},
    invariants,
    snapshot::CustomerRow,
    time::{Duration, Timestamp},
};
use std::{
    collections::{BTreeSet, VecDeque},
    str::FromStr,
};

/// Everything there is.
#[derive(Debug)]
pub struct World {
    /// The world's clock.
    pub now: Timestamp,
    /// The coordinators.
    pub nodes: Vec<Node>,
    /// The database.
    pub store: Store,
    /// The live process of each worker id.
    pub processes: Vec<Option<Process>>,
    /// Nobody was lied to.
    pub is_sane: bool,
    /// How often a coordinator handled an event.
    pub transitions: u64,
    pub(super) config: Config,
    pub(super) next: u64,
    events: VecDeque<(usize, Event)>,
    effects: Vec<Effect>,
}

/// An identifier from a text of the program's own.
pub(super) fn name<T: FromStr>(text: &str) -> T {
    match text.parse() {
        Ok(name) => name,
        Err(_) => unreachable!("{text} is an identifier"),
    }
}

impl World {
    /// Coordinators.
    pub const NODES: usize = 3;
    /// Worker ids.
    pub const WORKERS: usize = 4;
    /// Customers.
    pub const CUSTOMERS: u8 = 3;

    /// A world in which nobody has been woken, set up by four bytes: how long leases are, how much a
    /// window holds, how much an answer, and what customers may run at once.
    #[must_use]
    pub fn new(setting: [u8; 4]) -> Self {
        let [leases, windows, pages, limits] = setting;
        let now = Timestamp(1_000_000_000_000);
        let window_per_class = [1, 2, 3, 256][usize::from(windows % 4)];
        let load_limit = [1, 2, 5, 1_000][usize::from(pages % 4)];
        let heartbeat_timeout = Duration::from_secs([4, 10, 60][usize::from(leases % 3)]);
        let config = Config {
            enable_ha: true,
            leader_lease_ttl: Duration::from_secs([1, 3, 10][usize::from(leases / 4 % 3)]),
            heartbeat_timeout,
            worker_dead_threshold: heartbeat_timeout * 3 / 2,
            window_per_class,
            load_limit: window_per_class.max(load_limit),
            batch_size: [1, 2, 100, 2_000][usize::from(windows / 4 % 4)],
            worker_loss_limit: [1, 2, 5][usize::from(pages / 4 % 3)],
            retry_backoff_cap: Duration::from_secs([1, 8, 300][usize::from(leases / 16 % 3)]),
            ..Config::new(name("none"), u64::from(limits))
        };
        let customer = |number: u8| CustomerRow {
            id: CustomerId(number.into()),
            weight: [1, 4, 16][usize::from(number) % 3],
            max_running: [1, 2, 100][usize::from((limits >> (2 * number)) % 3)],
        };
        Self {
            now,
            nodes: (0..Self::NODES)
                .map(|place| Node::start(place, 1, &config, now))
                .collect(),
            store: Store::new((0..Self::CUSTOMERS).map(customer), config.retry_backoff_cap),
            processes: (0..Self::WORKERS).map(|_| None).collect(),
            is_sane: true,
            transitions: 0,
            config,
            next: 0,
            events: VecDeque::new(),
            effects: Vec::new(),
        }
    }

    /// From here on only core is judged.
    pub(super) fn lie(&mut self) {
        self.is_sane = false;
        self.store.is_judged = false;
    }

    /// Hands over an event and carries out what comes of it, until nothing does.
    pub(super) fn happen(&mut self, place: usize, event: Event) {
        self.events.push_back((place, event));
        self.run();
    }

    /// Puts an event behind those that are being handled.
    pub(super) fn queue(&mut self, place: usize, event: Event) {
        self.events.push_back((place, event));
    }

    /// Handles what was put in the queue.
    pub(super) fn run(&mut self) {
        let mut turns = 0;
        while let Some((place, event)) = self.events.pop_front() {
            turns += 1;
            assert!(turns < TURNS_MAX, "a livelock: {event:?}");
            let node = &mut self.nodes[place];
            if !node.is_frozen {
                self.handle(place, self.now, event);
            } else if node.missed.len() < MISSED_MAX {
                node.missed.push_back(event);
            } else if let Event::Request(request) = event {
                node.requests.remove(&request.reply_to);
            }
        }
    }

    /// One transition, judged, and its effects.
    pub(super) fn handle(&mut self, place: usize, now: Timestamp, event: Event) {
        let mut effects = std::mem::take(&mut self.effects);
        let node = &mut self.nodes[place];
        node.core.handle(now.plus(node.offset), event, &mut effects);
        self.transitions += 1;
        self.judge(place, &effects);
        let starts = self.nodes[place].starts;
        for effect in effects.drain(..) {
            // What a dead process wanted is not done.
            if self.nodes[place].starts == starts {
                self.carry_out(place, effect);
            }
        }
        self.effects = effects;
    }

    fn judge(&mut self, place: usize, effects: &[Effect]) {
        let node = &mut self.nodes[place];
        let violations = invariants::check_lease(&node.core);
        assert!(violations.is_empty(), "{violations:?}");
        for generation in effects.iter().filter_map(Effect::term) {
            assert!(generation >= node.term, "P17: {generation} is over");
            node.term = generation;
        }
        let held = self.store.workloads.len() + self.store.workers.len() + node.requests.len();
        let bound = EFFECTS_FREE + 4 * held;
        assert!(effects.len() <= bound, "bounded: {} effects", effects.len());
        if self.transitions.is_multiple_of(FULL_CHECK_EVERY) {
            self.judge_whole(place);
        }
        if self.is_sane
            && let Some(generation) = self.nodes[place].core.generation()
        {
            self.judge_lease(place, generation);
        }
    }

    /// P3: whoever leads has the lease, by everybody's clock.
    fn judge_lease(&self, place: usize, generation: Generation) {
        let (lease, node) = (&self.store.lease, &self.nodes[place]);
        let own = lease.incarnation == node.incarnation && lease.generation >= generation;
        assert!(
            own && self.now <= self.store.lease_ends,
            "P3: {place} leads {generation}, {lease:?}"
        );
    }

    /// Everything that core can say of itself, and that it keeps no more than it may.
    pub(super) fn judge_whole(&self, place: usize) {
        let node = &self.nodes[place];
        let violations = invariants::check(&node.core);
        assert!(violations.is_empty(), "{violations:?}");
        let Some(term) = node.core.status().term else {
            return;
        };
        let kept = term.replies_waiting + term.requests_parked;
        assert!(kept <= node.requests.len(), "bounded: {kept} requests kept");
        if self.is_sane {
            let rows = self.store.workloads.len();
            assert!(term.held <= rows, "bounded: {} held of {rows}", term.held);
        }
    }

    fn carry_out(&mut self, place: usize, effect: Effect) {
        let node = &mut self.nodes[place];
        node.note(&effect);
        if let Some(line) = Line::of(&effect) {
            if node.holds[line as usize] {
                node.waiting.push_back(effect);
                let asked = node.waiting.len();
                assert!(asked <= WAITING_MAX, "bounded: {asked} questions wait");
            } else if let Some(answer) = self.answer(place, &effect) {
                self.queue(place, answer);
            }
            return;
        }
        match effect {
            Effect::Reply { to, .. } | Effect::Forget { to } => {
                let was_open = node.requests.remove(&to);
                assert!(was_open, "{to} was answered, or never asked");
            }
            Effect::ProbeBroker { nonce } if !node.is_deaf => {
                self.queue(place, Event::ProbeHeard { nonce });
            }
            Effect::AnnounceResignation { generation } if !node.is_deaf => {
                for other in (0..Self::NODES).filter(|other| *other != place) {
                    self.queue(other, Event::LeaderResigned(generation));
                }
            }
            Effect::Assign { .. } | Effect::Stop { .. } | Effect::DrainWorker { .. } => {
                if self.is_sane {
                    self.judge_told(&effect);
                }
                self.obey(&effect);
            }
            Effect::Exit { .. } => self.restart(place),
            Effect::ProbeBroker { .. }
            | Effect::AnnounceResignation { .. }
            | Effect::AnnounceLeader { .. }
            | Effect::RecordPendingReasons { .. }
            | Effect::RecordHeartbeats { .. }
            | Effect::TakeLease { .. }
            | Effect::ReadLease { .. }
            | Effect::RenewLease { .. }
            | Effect::ResignLease { .. }
            | Effect::LoadSnapshot { .. }
            | Effect::Persist(_)
            | Effect::ReadFence { .. }
            | Effect::Load { .. } => {}
        }
    }

    /// P5: what is told is in the store.
    fn judge_told(&self, effect: &Effect) {
        if let Effect::Assign {
            worker,
            incarnation,
            workload,
            attempt,
            ..
        } = effect
        {
            let leader = &self.store.workloads[workload].leader;
            let told = Some((worker.clone(), incarnation.clone()));
            assert_eq!(leader.worker, told, "P5");
            assert_eq!(leader.attempt, *attempt, "P5");
        } else if let Effect::Stop { order, .. } = effect {
            let leader = &self.store.workloads[&order.workload].leader;
            assert_eq!(leader.stopping, Some(order.cause), "P5");
        } else if let Effect::DrainWorker { worker, .. } = effect {
            let status = self.store.workers[worker].record.status;
            assert_eq!(status, WorkerStatus::Draining, "P5");
        }
    }

    /// Carries out a question and gives its answer.
    pub(super) fn answer(&mut self, place: usize, effect: &Effect) -> Option<Event> {
        if let Effect::Persist(batch) = effect {
            let next = self.nodes[place].outcomes.pop_front();
            let outcome = match next {
                Some((outcome, applies)) => {
                    if applies {
                        self.store.persist(batch, self.now);
                    }
                    outcome
                }
                None => self.store.persist(batch, self.now),
            };
            // Who was lied to commits to a database that is not there: it is to go on all the same.
            let goes_on = !self.is_sane && next.is_none();
            return Some(Event::PersistAnswered {
                generation: batch.generation,
                number: batch.number,
                outcome: if goes_on {
                    PersistOutcome::Applied
                } else {
                    outcome
                },
            });
        }
        let asker = self.nodes[place].incarnation.clone();
        self.store
            .answer(&asker, effect, self.now, self.config.leader_lease_ttl)
    }

    /// A question fails without an answer.
    pub(super) fn fail(&mut self, place: usize, effect: &Effect) {
        if let Some(event) = effect.unanswered(self.store.wall(self.now)) {
            self.queue(place, event);
        }
    }

    /// The process dies, and another start of it takes its place.
    pub(super) fn restart(&mut self, place: usize) {
        let old = &mut self.nodes[place];
        let starts = old.starts + 1;
        for effect in std::mem::take(&mut old.waiting) {
            old.give_up(effect);
        }
        let orphans = std::mem::take(&mut old.orphans);
        let mut node = Node::start(place, starts, &self.config, self.now);
        node.orphans = orphans;
        self.events.retain(|(to, _)| *to != place);
        self.nodes[place] = node;
    }

    /// Time passes: whoever is due is woken, and live workers send heartbeats.
    pub(super) fn pass(&mut self, span: Duration) {
        let end = self.now.plus(span);
        for _ in 0..WAKES_MAX {
            let nodes = self.nodes.iter().filter_map(Node::due);
            let processes = self.processes.iter().flatten().filter_map(Process::due);
            let Some(next) = nodes.chain(processes).min().filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(next);
            self.beat();
            for place in 0..Self::NODES {
                if self.nodes[place].due().is_some_and(|at| at <= self.now) {
                    self.tick(place);
                }
            }
            if self
                .nodes
                .iter()
                .any(|node| node.due().is_some_and(|at| at <= self.now))
            {
                self.now = self.now.plus(Duration::from_millis(1));
            }
        }
        self.now = self.now.max(end);
        self.beat();
        (0..Self::NODES).for_each(|place| self.tick(place));
    }

    /// A coordinator is woken.
    pub(super) fn tick(&mut self, place: usize) {
        let heard_until = self.now.plus(self.nodes[place].offset);
        self.happen(place, Event::Tick { heard_until });
    }

    /// The worker with this number.
    #[must_use]
    pub fn worker(number: usize) -> WorkerId {
        name(["w0", "w1", "w2", "w3"][number % Self::WORKERS])
    }

    /// The incarnations that have the lease or lead.
    #[must_use]
    pub fn leaders(&self) -> BTreeSet<&Incarnation> {
        let leading = self
            .nodes
            .iter()
            .filter(|node| node.core.generation().is_some());
        leading.map(|node| &node.incarnation).collect()
    }
}

/// Events that follow from one.
const TURNS_MAX: usize = 4_096;
/// How often somebody is woken while time passes once.
const WAKES_MAX: usize = 256;
/// What a coordinator that is not scheduled has in its sockets.
const MISSED_MAX: usize = 64;
/// Effects of one transition, whatever there is.
const EFFECTS_FREE: usize = 32;
/// Questions of one coordinator that are not answered: three of its lease, a batch and a fence, one
/// snapshot, and one load of each kind, for a few terms that ended since.
const WAITING_MAX: usize = 512;
/// The whole of core is looked at on every so many transitions.
const FULL_CHECK_EVERY: u64 = 64;
