//! Scenarios as text: a line at the margin is a step, the indented lines under it are what came of
//! it, written by `render`. `#` begins a comment; `given` before a step leaves its turns out.
//!
//! Owns the words of the steps. The world that they move is `rig`'s.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod render;
mod reports;

use crate::rig::{self, Agent, Fault, World, store::Store, store::wall};
use niyanta_core::{
    Config, Event, PersistOutcome, ReplyStatus,
    fleet::{ReportedStatus, WorkerDesired},
    ids::{Attempt, BatchNumber, CustomerId, Generation, Incarnation, WorkloadId},
    scheduling::SortKey,
    time::{Duration, Timestamp},
    workload::Desired,
};
use render::Renderer;
use std::collections::{BTreeMap, VecDeque};

pub(crate) type Outcome<T> = Result<T, String>;

/// One scenario being played.
pub(crate) struct Script {
    config: Config,
    /// Until `start` gives it to the world.
    store: Store,
    world: Option<World>,
    renderer: Renderer,
}

/// The words of a step, `key=value` apart.
pub(crate) struct Words<'a> {
    plain: VecDeque<&'a str>,
    options: BTreeMap<&'a str, &'a str>,
}

/// Plays a scenario and gives it back with what came of its steps.
pub(crate) fn play(text: &str) -> Outcome<String> {
    let mut script = Script::new();
    let mut played = String::new();
    for (n, line) in text.lines().enumerate() {
        if line.starts_with(' ') {
            continue;
        }
        played.push_str(line);
        played.push('\n');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let lines = script
            .step(line)
            .map_err(|what| format!("line {}: {line}: {what}", n + 1))?;
        for line in lines {
            played.push_str(&line);
            played.push('\n');
        }
    }
    Ok(played)
}

impl Script {
    fn new() -> Self {
        Self {
            config: rig::config(),
            store: Store::new(),
            world: None,
            renderer: Renderer {
                origin: Timestamp(1_000_000_000_000),
                everything: false,
            },
        }
    }

    fn step(&mut self, line: &str) -> Outcome<Vec<String>> {
        let (is_given, line) = match line.strip_prefix("given ") {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let mut words = Words::of(line);
        let mut lines = Vec::new();
        let verb = words.next()?;
        if self.world.is_none() {
            self.set_up(verb, &mut words)?;
        } else if !self.look(verb, &mut words, &mut lines)? {
            self.act(verb, &mut words)?;
        }
        words.finish()?;
        let seen = self
            .world
            .as_mut()
            .map(|world| std::mem::take(&mut world.seen));
        for turn in seen.into_iter().flatten().filter(|_| !is_given) {
            lines.extend(self.renderer.turn(&turn));
        }
        Ok(lines)
    }

    /// What can be said before the coordinator is there.
    fn set_up(&mut self, verb: &str, words: &mut Words<'_>) -> Outcome<()> {
        match verb {
            "show" => self.renderer.everything = words.next()? == "everything",
            "config" => {
                let config = &mut self.config;
                config.enable_ha = words.option("enable_ha", config.enable_ha)?;
                config.worker_loss_limit =
                    words.option("worker_loss_limit", config.worker_loss_limit)?;
                let base = words.span("retry_backoff_base")?;
                config.retry_backoff_base = base.unwrap_or(config.retry_backoff_base);
            }
            // lease other for 8s: somebody leads.
            "lease" => {
                self.store.lease.incarnation = words.parse()?;
                words.expect("for")?;
                let span = span(words.next()?)?;
                self.store.lease.resigned = false;
                self.store.lease_ends = self.renderer.origin.plus(span);
            }
            "start" => {
                let store = std::mem::replace(&mut self.store, Store::new());
                let mut world = World::asleep(self.config.clone(), store, self.renderer.origin);
                world.records = true;
                world.advance(Duration::from_millis(1));
                self.world = Some(world);
            }
            _ => return Err("not a step before `start`".into()),
        }
        Ok(())
    }

    /// Steps that look at the store, or at how much is shown.
    fn look(
        &mut self,
        verb: &str,
        words: &mut Words<'_>,
        lines: &mut Vec<String>,
    ) -> Outcome<bool> {
        let world = self.world.as_ref().ok_or("not started")?;
        match verb {
            "show" => self.renderer.everything = words.next()? == "everything",
            "row" => {
                let id = words.workload()?;
                let row = world.store.row(id);
                let trail: Vec<&str> = world.store.audit[&id]
                    .iter()
                    .map(|kind| kind.as_str().trim_start_matches("workload."))
                    .collect();
                let leader = &row.leader;
                let place = format!("{} attempt {}", leader.status, leader.attempt);
                lines.push(format!("  {place}; audit: {}", trail.join(", ")));
            }
            "worker" => {
                let name = words.next()?;
                let row = world.store.worker(name);
                let text = row.map_or_else(
                    || "no row".to_owned(),
                    |row| format!("{} {}", row.record.incarnation, row.record.status),
                );
                lines.push(format!("  {text}"));
            }
            "leads" => {
                let role = world.core.status().role;
                let generation = world.core.lease().map(|(generation, _)| generation.0);
                lines.push(format!("  {role:?} {generation:?}"));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn act(&mut self, verb: &str, words: &mut Words<'_>) -> Outcome<()> {
        if matches!(verb, "succeed" | "replace") {
            let incarnation = words.next()?;
            let world = self.world.take().ok_or("not started")?;
            self.world = Some(match verb {
                "succeed" => world.succeed(incarnation),
                _ => world.replace(incarnation),
            });
            return Ok(());
        }
        let world = self.world.as_mut().ok_or("not started")?;
        let is_known = time(world, verb, words)?
            || store(world, verb, words)?
            || workers(world, verb, words)?
            || workloads(world, verb, words)?
            || hints(world, verb, words)?
            || reports::report(world, verb, words)?;
        if is_known {
            Ok(())
        } else {
            Err("not a step".into())
        }
    }
}

fn time(world: &mut World, verb: &str, words: &mut Words<'_>) -> Outcome<bool> {
    match verb {
        "advance" => world.advance(span(words.next()?)?),
        "freeze" => world.freeze(span(words.next()?)?),
        "tick" => world.tick(),
        _ => return Ok(false),
    }
    Ok(true)
}

/// What the store does, and what else happens to its rows.
fn store(world: &mut World, verb: &str, words: &mut Words<'_>) -> Outcome<bool> {
    match verb {
        "hold" => match words.next()? {
            "batches" => world.holds_batches = true,
            "loads" => world.holds_loads = true,
            _ => return Err("hold batches, or loads".into()),
        },
        "release" => match words.next()? {
            "batches" => world.release(),
            "one" => world.release_one(),
            "loads" => {
                world.holds_loads = false;
                for event in std::mem::take(&mut world.held_loads) {
                    world.happen(event);
                }
            }
            _ => return Err("release batches, one, or loads".into()),
        },
        // The next batch is not answered as it should be: `landed` when it was applied all the same.
        "next" => {
            words.expect("batch")?;
            let outcome = match words.next()? {
                "unknown" => PersistOutcome::Unknown,
                "short" => PersistOutcome::Short,
                "refused" => PersistOutcome::Refused,
                "lock_timeout" => PersistOutcome::LockTimeout,
                _ => return Err("no such outcome".into()),
            };
            let landed = words.plain.pop_front() == Some("landed");
            world.outcomes.push_back((outcome, landed));
        }
        "answer" => {
            let (generation, number): (u64, u64) = (words.parse()?, words.parse()?);
            let (generation, number) = (Generation(generation), BatchNumber(number));
            world.answer(generation, number, PersistOutcome::Applied);
        }
        "fault" => set_fault(world, words)?,
        "broker" => world.broker_is_deaf = words.next()? == "deaf",
        // another leads 50 for 100s: both rows are in other hands.
        "another" => {
            words.expect("leads")?;
            let generation = Generation(words.parse()?);
            words.expect("for")?;
            let ends = world.now.plus(span(words.next()?)?);
            let other: Incarnation = "another".parse().unwrap();
            let store = &mut world.store;
            (store.fence.generation, store.lease.generation) = (generation, generation);
            store.fence.incarnation = other.clone();
            store.lease.incarnation = other;
            store.lease_ends = ends;
        }
        "limit" => world.store.max_running = words.parse()?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn set_fault(world: &mut World, words: &mut Words<'_>) -> Outcome<()> {
    let kind = [
        "take_lease",
        "read_lease",
        "renew_lease",
        "load_snapshot",
        "read_fence",
        "load",
    ]
    .into_iter()
    .find(|kind| words.plain.front() == Some(kind))
    .ok_or("no such question")?;
    words.next()?;
    let fault = match words.next()? {
        "fails" => Some(Fault::Fails),
        "loses_answer" => Some(Fault::LosesAnswer),
        "hangs" => Some(Fault::Hangs),
        "mended" => None,
        _ => return Err("no such fault".into()),
    };
    match fault {
        Some(fault) => world.faults.insert(kind, fault),
        None => world.faults.remove(kind),
    };
    Ok(())
}

fn workers(world: &mut World, verb: &str, words: &mut Words<'_>) -> Outcome<bool> {
    match verb {
        // join w1: a new process registers.
        "join" => {
            let name = words.next()?;
            world.spawn(name, &format!("{name}-1"));
            register(world, name, words)?;
        }
        "spawn" => {
            let name = words.next()?;
            words.expect("as")?;
            world.spawn(name, words.next()?);
            world.agent(name).sequence = words.option("sequence", 0)?;
        }
        "register" => {
            let name = words.next()?;
            register(world, name, words)?;
        }
        "heartbeat" => {
            let name = words.next()?;
            let status = match words.plain.pop_front() {
                Some("draining") => ReportedStatus::Draining,
                Some(other) => return Err(format!("no such status: {other}")),
                None => ReportedStatus::Healthy,
            };
            world.heartbeat_as(name, status);
        }
        "repeat" => {
            let last = world.last.get(words.next()?);
            let event = last.cloned().ok_or("it said nothing")?;
            world.happen(event);
        }
        "deregister" => {
            let name = words.next()?;
            world.agent(name).is_silent = true;
            world.ask(name, niyanta_core::WorkerMessage::Deregister);
        }
        "silent" => agent(world, words)?.is_silent = true,
        "speaks" => agent(world, words)?.is_silent = false,
        "disobeys" => agent(world, words)?.obeys = false,
        "obeys" => agent(world, words)?.obeys = true,
        "runs" => {
            let name = words.next()?;
            let (id, attempt) = (words.workload()?, Attempt(words.parse()?));
            world.agent(name).running.push((id, attempt));
        }
        "operator" => {
            let desired: WorkerDesired = words.parse()?;
            let name = words.next()?;
            let deadline = words.span("deadline")?;
            let deadline = deadline.map(|after| wall(world.now.plus(after)));
            world.store.wish_worker(name, desired, deadline);
            world.happen(Event::WorkersHinted);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn agent<'w>(world: &'w mut World, words: &mut Words<'_>) -> Outcome<&'w mut Agent> {
    let name = words.next()?;
    world
        .agents
        .get_mut(name)
        .ok_or_else(|| "no such worker".into())
}

fn register(world: &mut World, name: &str, words: &mut Words<'_>) -> Outcome<Option<ReplyStatus>> {
    let capacity = words.option("capacity", 2)?;
    let replaces = words.options.remove("replaces");
    Ok(world.register_as(name, capacity, replaces))
}

fn workloads(world: &mut World, verb: &str, words: &mut Words<'_>) -> Outcome<bool> {
    match verb {
        "submit" => {
            let ids = words.range()?;
            submit(world, ids, words)?;
        }
        "wish" => {
            let ids: Vec<_> = words.range()?.map(WorkloadId).collect();
            let desired: Desired = words.parse()?;
            ids.iter().for_each(|id| world.store.wish(*id, desired));
            if words.option("hinted", true)? {
                world.happen(Event::WorkloadsHinted(ids));
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn submit(
    world: &mut World,
    ids: std::ops::RangeInclusive<u128>,
    words: &mut Words<'_>,
) -> Outcome<()> {
    let (now, store) = (world.now, &mut world.store);
    store.max_retries = words.option("max_retries", 3)?;
    store.on_lease_loss =
        words.option("on_lease_loss", niyanta_core::workload::OnLeaseLoss::Stop)?;
    let timeout = words.span("timeout")?;
    store.timeout = timeout.unwrap_or(Duration::from_secs(3_600));
    let run_after = words.span("run_after")?;
    let priority = words.option("priority", 10)?;
    let mut hinted = Vec::new();
    for number in ids {
        let id = store.submit(number, now);
        let row = store.workloads.get_mut(&id).unwrap();
        row.priority = priority;
        row.run_after = run_after.map(|after| wall(now.plus(after)));
        row.leader.eligible_at = row.run_after.unwrap_or(row.leader.eligible_at);
        row.leader.sort_key = SortKey::new(row.leader.eligible_at, priority).0;
        hinted.push(id);
    }
    if words.option("hinted", true)? {
        world.happen(Event::WorkloadsHinted(hinted));
    }
    Ok(())
}

/// Words of other coordinators, and of the process.
fn hints(world: &mut World, verb: &str, words: &mut Words<'_>) -> Outcome<bool> {
    let event = match verb {
        "hear" => Event::GenerationSeen(Generation(words.parse()?)),
        "resigned" => Event::LeaderResigned(Generation(words.parse()?)),
        "customers" => Event::CustomersHinted(vec![CustomerId(words.parse()?)]),
        "interrupted" => Event::ListeningInterrupted,
        "shutdown" => Event::ShutdownRequested,
        _ => return Ok(false),
    };
    world.happen(event);
    Ok(true)
}

impl<'a> Words<'a> {
    fn of(line: &'a str) -> Self {
        let (mut plain, mut options) = (VecDeque::new(), BTreeMap::new());
        for word in line.split_whitespace() {
            match word.split_once('=') {
                Some((key, value)) => _ = options.insert(key, value),
                None => plain.push_back(word),
            }
        }
        Self { plain, options }
    }

    fn next(&mut self) -> Outcome<&'a str> {
        self.plain
            .pop_front()
            .ok_or_else(|| "a word is missing".into())
    }

    fn expect(&mut self, word: &str) -> Outcome<()> {
        let next = self.next()?;
        if next == word {
            Ok(())
        } else {
            Err(format!("{word}, not {next}"))
        }
    }

    fn parse<T: std::str::FromStr>(&mut self) -> Outcome<T> {
        let word = self.next()?;
        word.parse().map_err(|_| format!("what is {word}?"))
    }

    fn workload(&mut self) -> Outcome<WorkloadId> {
        self.parse().map(WorkloadId)
    }

    /// `3`, or `1..5`.
    fn range(&mut self) -> Outcome<std::ops::RangeInclusive<u128>> {
        let word = self.next()?;
        let (first, last) = word.split_once("..").unwrap_or((word, word));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) => Ok(first..=last),
            _ => Err(format!("what is {word}?")),
        }
    }

    fn option<T: std::str::FromStr>(&mut self, key: &str, default: T) -> Outcome<T> {
        match self.options.remove(key) {
            Some(word) => word.parse().map_err(|_| format!("what is {key}={word}?")),
            None => Ok(default),
        }
    }

    fn span(&mut self, key: &str) -> Outcome<Option<Duration>> {
        self.options.remove(key).map(span).transpose()
    }

    fn finish(self) -> Outcome<()> {
        if self.plain.is_empty() && self.options.is_empty() {
            return Ok(());
        }
        Err(format!("too much: {:?} {:?}", self.plain, self.options))
    }
}

/// `10s`, or `250ms`.
fn span(word: &str) -> Outcome<Duration> {
    let parsed = match word.strip_suffix("ms") {
        Some(millis) => millis.parse().map(Duration::from_millis),
        None => word.trim_end_matches('s').parse().map(Duration::from_secs),
    };
    parsed.map_err(|_| format!("what is {word}?"))
}
