//! The stage of a run: hosts, links, and what strikes them when.

use super::{
    hosts::{BROKER, STORE, Shared, run_broker, run_coordinator, run_store, run_worker},
    scenario::{Fault, Host, Scenario},
};
use crate::{
    clock::{Moment, WallClock},
    decision::Decider,
    model::{broker::Broker, store::Store},
    parties::{coordinator, furnish, run_client, run_operator, worker},
    ports::{Checker, Hub, SimStore, Time, checker::Watching},
    remote::Table,
};
use ::turmoil::{Builder, Sim};
use niyanta_core::time::Duration;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};
use tokio::sync::watch;

/// A run's hosts, and what is still to happen to them.
pub(super) struct Stage<'a> {
    sim: Sim<'a>,
    shared: Shared,
    elapsed: Arc<AtomicU64>,
    stops: Vec<watch::Sender<u64>>,
    faults: VecDeque<(Moment, Fault)>,
    /// What undoes faults, by time.
    undos: BTreeMap<(Moment, u64), Undo>,
    struck: u64,
    is_healed: bool,
    /// A leader that led all the time was asked to stop.
    has_called: bool,
    _watching: Watching,
}

/// What undoes a fault.
#[derive(Debug, Clone)]
enum Undo {
    Repair(String, String),
    RepairOneWay(String, String),
    Release(String, String),
    Start(String),
}

impl Stage<'_> {
    /// Everybody in place, nothing run yet.
    pub(super) fn set(scenario: &Scenario, story: bool) -> Self {
        let elapsed = Arc::new(AtomicU64::new(0));
        let outside = Arc::clone(&elapsed);
        // Within a host time goes on during a step; between steps it stands at the step's start.
        let time = Time::new(move || match ::turmoil::sim_elapsed() {
            Some(elapsed) => Moment::default().plus(elapsed),
            None => Moment(outside.load(Ordering::Relaxed)),
        });
        let model = Store::new(WallClock::at_speed(0));
        let store = SimStore::new(model, time.clone());
        let secrets = furnish(&scenario.setting, &store, time.clone());
        let checker = Checker::new(&scenario.setting.plan(), store.clone(), time, story);
        let mut weather = Broker::default();
        [weather.loss, weather.doubled, weather.slow] = scenario.broker_rates;
        weather.slow_up_to = Duration::from_secs(1);
        let shared = Shared {
            scenario: Arc::new(scenario.clone()),
            checker: checker.clone(),
            store,
            table: Table::default(),
            hub: Hub::over(weather, Decider::drawing(scenario.setting.seed)),
            starts: Arc::default(),
        };
        let mut stage = Self {
            sim: build(scenario),
            shared,
            elapsed,
            stops: Vec::new(),
            faults: scenario.faults.iter().copied().collect(),
            undos: BTreeMap::new(),
            struck: 0,
            is_healed: false,
            has_called: false,
            _watching: checker.watch_this_thread(),
        };
        stage.populate(secrets);
        stage
    }

    fn populate(&mut self, (clients, operator): (Vec<String>, String)) {
        let shared = self.shared.clone();
        self.sim.host(STORE, move || run_store(shared.clone()));
        let shared = self.shared.clone();
        self.sim.host(BROKER, move || run_broker(shared.clone()));
        for place in 0..self.shared.scenario.setting.coordinators {
            let (stop, stopped) = watch::channel(0);
            self.stops.push(stop);
            let shared = self.shared.clone();
            self.sim.host(coordinator(place), move || {
                run_coordinator(shared.clone(), place, stopped.clone())
            });
        }
        for place in 0..self.shared.scenario.setting.workers {
            let shared = self.shared.clone();
            self.sim
                .host(worker(place), move || run_worker(shared.clone(), place));
        }
        for (index, secret) in clients.into_iter().enumerate() {
            let company = self.shared.company();
            self.sim.host(format!("client{index}"), move || {
                let call = run_client(company.clone(), index, secret.clone());
                async move {
                    call.await;
                    Ok(())
                }
            });
        }
        let company = self.shared.company();
        self.sim.host("operator", move || {
            let work = run_operator(company.clone(), operator.clone());
            async move {
                work.await;
                // The process lives on: a host that has ended is not crashed, but there is no need to know.
                std::future::pending().await
            }
        });
    }

    /// What sees the run.
    pub(super) fn checker(&self) -> Checker {
        self.shared.checker.clone()
    }

    /// True time.
    pub(super) fn now(&self) -> Moment {
        Moment::default().plus(self.sim.elapsed())
    }

    /// How many faults struck.
    pub(super) const fn faults(&self) -> u64 {
        self.struck
    }

    /// How long ago everything healed.
    pub(super) fn healed_for(&self, now: Moment) -> Option<Duration> {
        let heal_at = self.shared.scenario.setting.heal_at;
        self.is_healed.then(|| now.since(heal_at))
    }

    /// Runs every host for one tick.
    pub(super) fn step(&mut self) -> Result<(), String> {
        let nanos = u64::try_from(self.sim.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.elapsed.store(nanos, Ordering::Relaxed);
        self.sim.step().map(drop).map_err(|error| error.to_string())
    }

    /// Does what is due.
    pub(super) fn act(&mut self, now: Moment) {
        while let Some(entry) = self.undos.first_entry()
            && entry.key().0 <= now
        {
            let undo = entry.remove();
            self.undo(undo);
        }
        while let Some((at, fault)) = self.faults.front().copied()
            && at <= now
            && !self.is_healed
        {
            self.faults.pop_front();
            self.strike(now, fault);
        }
        self.unseat_at_last(now);
        if !self.is_healed && now >= self.shared.scenario.setting.heal_at {
            self.heal(now);
        }
    }

    /// What was to make the leader change may have been undone together with another fault, so one
    /// that has led all the time is asked to stop before everything heals.
    fn unseat_at_last(&mut self, now: Moment) {
        let heal_at = self.shared.scenario.setting.heal_at;
        let is_time = now < heal_at && now.plus(LAST_CALL) >= heal_at;
        if is_time && !self.has_called && self.shared.checker.counts().leader_changes == 0 {
            let before = self.struck;
            self.strike(now, Fault::Stop(Host::Leader, LAST_CALL / 2));
            self.has_called = self.struck > before;
        }
    }

    fn heal(&mut self, now: Moment) {
        self.is_healed = true;
        for undo in std::mem::take(&mut self.undos).into_values() {
            self.undo(undo);
        }
        self.shared.hub.change_weather(Broker::heal);
        self.shared.checker.tell("fault", "everything heals");
        debug_assert!(now >= self.shared.scenario.setting.heal_at);
    }

    /// The name of a host; nothing when it is nobody's now.
    fn name(&self, host: Host) -> Option<String> {
        match host {
            Host::Leader => self.shared.checker.leader().map(coordinator),
            Host::Coordinator(place) => Some(coordinator(place)),
            Host::Worker(place) => Some(worker(place)),
            Host::Store => Some(STORE.to_owned()),
            Host::Broker => Some(BROKER.to_owned()),
        }
    }

    fn strike(&mut self, now: Moment, fault: Fault) {
        let struck = self.try_strike(now, fault).is_some();
        self.struck += u64::from(struck);
        let words = format!("{fault:?}{}", if struck { "" } else { ", at nobody" });
        self.shared.checker.tell("fault", &words);
    }

    fn try_strike(&mut self, now: Moment, fault: Fault) -> Option<()> {
        match fault {
            Fault::Cut(a, b, length) => {
                let (a, b) = (self.name(a)?, self.name(b)?);
                self.sim.partition(a.as_str(), b.as_str());
                self.later(now.plus(length), Undo::Repair(a, b));
            }
            Fault::CutOneWay(from, to, length) => {
                let (from, to) = (self.name(from)?, self.name(to)?);
                self.sim.partition_oneway(from.as_str(), to.as_str());
                self.later(now.plus(length), Undo::RepairOneWay(from, to));
            }
            Fault::Isolate(host, length) => {
                let name = self.name(host)?;
                for server in [STORE, BROKER] {
                    self.sim.partition(name.as_str(), server);
                    let repair = Undo::Repair(name.clone(), server.to_owned());
                    self.later(now.plus(length), repair);
                }
            }
            Fault::Hold(a, b, length) => {
                let (a, b) = (self.name(a)?, self.name(b)?);
                self.sim.hold(a.as_str(), b.as_str());
                self.later(now.plus(length), Undo::Release(a, b));
            }
            Fault::Crash(host, down) => {
                let name = self.name(host)?;
                self.crash(now, &name, down)?;
            }
            Fault::PowerCut(host, down) => {
                let name = self.name(host)?;
                let others = self.everybody_but(&name);
                for other in &others {
                    self.sim.partition(name.as_str(), other.as_str());
                }
                self.crash(now, &name, down)?;
                for other in others {
                    self.later(now.plus(down), Undo::Repair(name.clone(), other));
                }
            }
            Fault::Stop(host, down) => {
                let name = self.name(host)?;
                let place = self.place(&name)?;
                self.stops[place].send_modify(|stops| *stops += 1);
                self.later(now.plus(down), Undo::Start(name));
            }
        }
        Some(())
    }

    fn crash(&mut self, now: Moment, name: &str, down: Duration) -> Option<()> {
        if !self.sim.is_host_running(name) {
            return None;
        }
        self.sim.crash(name);
        if let Some(place) = self.place(name) {
            self.shared.checker.coordinator_gone(place);
        }
        if let Some(place) = name.strip_prefix('w').and_then(|it| it.parse().ok()) {
            self.shared.checker.worker_gone(place);
        }
        self.later(now.plus(down), Undo::Start(name.to_owned()));
        Some(())
    }

    fn undo(&mut self, undo: Undo) {
        self.shared.checker.tell("fault", &format!("{undo:?}"));
        match undo {
            Undo::Repair(a, b) => {
                self.sim.repair(a, b);
            }
            Undo::RepairOneWay(from, to) => self.sim.repair_oneway(from, to),
            Undo::Release(a, b) => self.sim.release(a, b),
            Undo::Start(name) => {
                if !self.sim.is_host_running(name.as_str()) {
                    self.sim.bounce(name);
                }
            }
        }
    }

    fn later(&mut self, at: Moment, undo: Undo) {
        let heal_at = self.shared.scenario.setting.heal_at;
        let number = self.undos.len() as u64 + self.struck * 100;
        self.undos.insert((at.min(heal_at), number), undo);
    }

    fn place(&self, name: &str) -> Option<usize> {
        let places = 0..self.shared.scenario.setting.coordinators;
        places.into_iter().find(|place| coordinator(*place) == name)
    }

    fn everybody_but(&self, name: &str) -> Vec<String> {
        let scenario = &self.shared.scenario;
        let mut all: Vec<String> = (0..scenario.setting.coordinators)
            .map(coordinator)
            .collect();
        all.extend((0..scenario.setting.workers).map(worker));
        all.extend((0..scenario.setting.clients).map(|index| format!("client{index}")));
        all.extend([STORE, BROKER, "operator"].map(str::to_owned));
        all.retain(|other| other != name);
        all
    }
}

fn build<'a>(scenario: &Scenario) -> Sim<'a> {
    let mut builder = Builder::new();
    builder
        .epoch(SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000))
        .rng_seed(scenario.setting.seed)
        .tick_duration(TICK)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(scenario.latency)
        .tcp_capacity(256)
        .simulation_duration(Duration::from_secs(3_600));
    if scenario.random_order {
        builder.enable_random_order();
    }
    builder.build()
}

const TICK: Duration = Duration::from_millis(10);

/// So long before everything heals a leader that was never unseated is.
const LAST_CALL: Duration = Duration::from_secs(2);
