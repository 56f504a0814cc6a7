//! The stage of a run: the nodes, and the loop that strikes them, heals them and looks.

use super::{
    api::{InProcess, Routers},
    broker::Pace,
    desk::Desk,
    hosts::{Shared, run_coordinator, run_worker},
    scenario::{Host, Scenario, Strike},
    strikes::Undo,
};
use crate::{
    clock::{Moment, WallClock},
    decision::Decider,
    message::Address,
    model::{broker::Broker, store::Store},
    panics,
    parties::{Company, Outcome, coordinator, furnish, look, run_client, run_operator, worker},
    ports::{Checker, Hub, SimBroker, SimStore, Time, broker::Reach, checker::Watching},
};
use futures::{FutureExt as _, future::BoxFuture};
use madsim::{runtime::Handle, task::NodeId};
use metrics_exporter_prometheus::PrometheusHandle;
use niyanta_core::time::Duration;
use runtime::protocol::Subjects;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    error::Error,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

/// Runs futures on a node that nothing strikes, each as a task.
#[derive(Clone)]
pub(super) struct Runner(mpsc::UnboundedSender<BoxFuture<'static, ()>>);

impl Runner {
    fn on(handle: &Handle, name: &str) -> Self {
        let (sender, mut jobs) = mpsc::unbounded_channel::<BoxFuture<'static, ()>>();
        let node = handle.create_node().name(name).build();
        node.spawn(async move {
            while let Some(job) = jobs.recv().await {
                tokio::spawn(job);
            }
        });
        Self(sender)
    }

    pub(super) fn run(&self, job: BoxFuture<'static, ()>) {
        // The node is there as long as the run.
        drop(self.0.send(job));
    }
}

/// A run's nodes, and what is still to happen to them.
pub(super) struct Stage {
    pub(super) handle: Handle,
    pub(super) shared: Shared,
    pub(super) nodes: BTreeMap<Address, NodeId>,
    pub(super) stops: Vec<watch::Sender<u64>>,
    pub(super) strikes: VecDeque<(Moment, Strike)>,
    /// What undoes strikes, by time.
    pub(super) undos: BTreeMap<(Moment, u64), Undo>,
    /// Those whose process is gone until it is started again.
    pub(super) down: BTreeSet<Address>,
    /// Since when a process is not scheduled.
    pub(super) paused: BTreeMap<Address, Moment>,
    pub(super) struck: u64,
    pub(super) last_undo: u64,
    /// Somebody whose words mean nothing.
    pub(super) crowd: SimBroker,
    pub(super) is_healed: bool,
    /// A leader that led all the time was asked to stop.
    has_called: bool,
    _watching: Watching,
}

/// Runs a scenario to its end.
pub(super) async fn run(scenario: Scenario, metrics: PrometheusHandle, story: bool) -> Outcome {
    let mut stage = Stage::set(&scenario, metrics, story);
    let checker = stage.shared.checker.clone();
    let mut settled_after = Duration::ZERO;
    loop {
        let now = checker.now();
        stage.act(now).await;
        if let Some(panic) = panics::take() {
            checker.violate("panic", panic);
        }
        if checker.violation().is_some() {
            break;
        }
        if let Some(since_heal) = stage.healed_for(now)
            && let Some(end) = look(&scenario.setting, &checker, since_heal)
        {
            settled_after = end;
            break;
        }
        sleep(stage.pause(now)).await;
    }
    if checker.violation().is_none() && checker.counts().leader_changes == 0 {
        checker.violate("scenario", "the leader never changed".to_owned());
    }
    Outcome {
        seed: scenario.setting.seed,
        coordinators: scenario.setting.coordinators,
        violation: checker.violation(),
        counts: checker.counts(),
        faults: stage.struck,
        settled_after,
        length: checker.now().since(Moment::default()),
        hash: checker.hash(),
        story: checker.story(),
    }
}

impl Stage {
    /// Everybody in place, nothing run yet.
    fn set(scenario: &Scenario, metrics: PrometheusHandle, story: bool) -> Self {
        let handle = Handle::current();
        let setting = &scenario.setting;
        let time = Time::of_runtime();
        let store = SimStore::new(Store::new(WallClock::at_speed(0)), time.clone());
        let secrets = furnish(setting, &store, time.clone());
        let checker = Checker::new(&setting.plan(), store.clone(), time.clone(), story);
        let hub = hub(&handle, scenario, &checker);
        let desk = Desk::new(
            store.clone(),
            time,
            Runner::on(&handle, "store"),
            setting.heal_at,
            (scenario.store_rates, setting.stream("store", 0)),
        );
        let shared = Shared {
            scenario: Arc::new(scenario.clone()),
            checker: checker.clone(),
            desk: Arc::new(desk),
            pace: Pace::new(setting.stream("pace", 0), scenario.slow_publishes),
            routers: Routers::default(),
            metrics,
            starts: Arc::default(),
            hub: hub.clone(),
        };
        let mut stage = Self {
            handle,
            shared,
            nodes: BTreeMap::new(),
            stops: Vec::new(),
            strikes: scenario.strikes.iter().copied().collect(),
            undos: BTreeMap::new(),
            down: BTreeSet::new(),
            paused: BTreeMap::new(),
            struck: 0,
            last_undo: 0,
            crowd: hub.connect(Address::Worker(setting.workers)),
            is_healed: false,
            has_called: false,
            _watching: checker.watch_this_thread(),
        };
        stage.populate(&store, secrets);
        stage
    }

    fn populate(&mut self, store: &SimStore, (clients, operator): (Vec<String>, String)) {
        let setting = Arc::new(self.shared.scenario.setting.clone());
        for place in 0..setting.coordinators {
            let (stop, stopped) = watch::channel(0);
            self.stops.push(stop);
            let shared = self.shared.clone();
            let process = move || {
                let checker = shared.checker.clone();
                guarded(
                    checker,
                    run_coordinator(shared.clone(), place, stopped.clone()),
                )
            };
            let node = self.handle.create_node().name(coordinator(place));
            let node = node.init(process).build();
            self.nodes.insert(Address::Coordinator(place), node.id());
        }
        for place in 0..setting.workers {
            let shared = self.shared.clone();
            let process =
                move || guarded(shared.checker.clone(), run_worker(shared.clone(), place));
            let node = self.handle.create_node().name(worker(place));
            let node = node.init(process).build();
            self.nodes.insert(Address::Worker(place), node.id());
        }
        let coordinators = (0..setting.coordinators).map(Address::Coordinator);
        let company = Company {
            checker: self.shared.checker.clone(),
            store: store.clone(),
            api: Arc::new(InProcess {
                routers: self.shared.routers.clone(),
                nodes: coordinators.map(|who| self.nodes[&who]).collect(),
                hang_ups: self.shared.scenario.hang_ups,
                rng: Mutex::new(setting.stream("hang_ups", 0)),
            }),
            setting,
        };
        let callers = self.handle.create_node().name("callers").build();
        for (index, secret) in clients.into_iter().enumerate() {
            callers.spawn(run_client(company.clone(), index, secret));
        }
        callers.spawn(run_operator(company, operator));
    }

    /// How long ago everything healed.
    fn healed_for(&self, now: Moment) -> Option<Duration> {
        let heal_at = self.shared.scenario.setting.heal_at;
        self.is_healed.then(|| now.since(heal_at))
    }

    /// Until something is due, or somebody should look.
    fn pause(&self, now: Moment) -> Duration {
        let strike = self.strikes.front().map(|(at, _)| *at);
        let undo = self.undos.keys().next().map(|(at, _)| *at);
        let due = strike.into_iter().chain(undo).min();
        due.map_or(LOOK_EVERY, |due| due.since(now).min(LOOK_EVERY))
    }

    /// Does what is due.
    async fn act(&mut self, now: Moment) {
        while let Some(entry) = self.undos.first_entry()
            && entry.key().0 <= now
        {
            let undo = entry.remove();
            self.undo(now, undo);
        }
        while let Some((at, strike)) = self.strikes.front().copied()
            && at <= now
        {
            self.strikes.pop_front();
            if !self.is_healed {
                self.strike(now, strike).await;
            }
        }
        self.start_who_ended(now);
        self.unseat_at_last(now).await;
        if !self.is_healed && now >= self.shared.scenario.setting.heal_at {
            self.heal(now);
        }
    }

    /// A process that ended by itself is started again, as a supervisor does.
    fn start_who_ended(&mut self, now: Moment) {
        let ended = |(who, node): &(&Address, &NodeId)| {
            !self.down.contains(*who) && self.handle.is_exit(**node)
        };
        let ended: Vec<Address> = self
            .nodes
            .iter()
            .filter(ended)
            .map(|(who, _)| *who)
            .collect();
        for who in ended {
            self.gone(who);
            self.later(now.plus(START_AFTER), Undo::Start(who));
        }
    }

    /// What was to make the leader change may have been undone together with another fault, so one
    /// that has led all the time is asked to stop before everything heals.
    async fn unseat_at_last(&mut self, now: Moment) {
        let heal_at = self.shared.scenario.setting.heal_at;
        let is_time = now < heal_at && now.plus(LAST_CALL) >= heal_at;
        if is_time && !self.has_called && self.shared.checker.counts().leader_changes == 0 {
            let before = self.struck;
            self.strike(now, Strike::Stop(Host::Leader, LAST_CALL / 2))
                .await;
            self.has_called = self.struck > before;
        }
    }

    fn heal(&mut self, now: Moment) {
        self.is_healed = true;
        for undo in std::mem::take(&mut self.undos).into_values() {
            self.undo(now, undo);
        }
        self.shared.hub.change_weather(Broker::heal);
        self.shared.pace.heal();
        self.shared.desk.heal();
        self.shared.checker.tell("fault", "everything heals");
    }
}

/// The broker, whose words go on when their sender dies.
fn hub(handle: &Handle, scenario: &Scenario, checker: &Checker) -> Hub {
    let mut weather = Broker::default();
    [weather.loss, weather.doubled, weather.slow] = scenario.broker_rates;
    weather.slow_up_to = Duration::from_secs(1);
    let hub = Hub::over(weather, Decider::drawing(scenario.setting.seed));
    let carrier = Runner::on(handle, "broker");
    hub.carried_by(move |word| carrier.run(word));
    let (checker, events) = (checker.clone(), Subjects::default().events());
    hub.witnessed_by(move |whom, reach| {
        let Address::Coordinator(place) = whom else {
            return;
        };
        match reach {
            Reach::Message(message) if message.subject == events => {
                checker.word_reached(place, message);
            }
            Reach::Message(_) => {}
            Reach::Interruption => checker.listening_interrupted(place),
        }
    });
    hub
}

/// A process: one that panics is gone, and so is one that ends with an error.
async fn guarded(checker: Checker, process: impl Future<Output = Result<(), Box<dyn Error>>>) {
    let words = match AssertUnwindSafe(process).catch_unwind().await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => format!("a process ends: {error}"),
        Err(_) => "a process dies of a panic".to_owned(),
    };
    checker.tell("fault", &words);
}

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A process that ended by itself is started again so much later.
const START_AFTER: Duration = Duration::from_millis(500);

/// So long before everything heals a leader that was never unseated is.
const LAST_CALL: Duration = Duration::from_secs(2);
