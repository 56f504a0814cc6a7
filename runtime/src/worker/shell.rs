//! Drives the [`Machine`] with a broker, a clock and running handlers. Decides nothing.
//!
//! One task owns the machine. Bytes go out through a task of their own, so that a broker that
//! stalls cannot hold up the lease.

use super::{
    WorkerConfig, WorkerError, WorkloadHandler,
    handler::{Context, Control},
    machine::{Action, Event, Machine, Outcome, Settings},
};
use crate::{
    broker::{Broker, Link, Message, Subscription},
    clock::sleep_towards,
    protocol::{Assignment, Subjects},
};
use bytes::Bytes;
use futures::FutureExt as _;
use niyanta_core::{
    ids::{Attempt, WorkloadId},
    time::{Duration, Timestamp},
};
use std::{collections::BTreeMap, panic::AssertUnwindSafe, sync::Arc};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

type Key = (WorkloadId, Attempt);

/// Runs a worker until it is asked to stop and has stopped, or until it must.
pub(super) async fn run(
    config: WorkerConfig,
    settings: Settings,
    broker: Arc<dyn Broker>,
    shutdown: CancellationToken,
) -> Result<(), WorkerError> {
    let mut ears = Ears::open(broker.as_ref(), &config).await?;
    let (mut shell, mut events) = Shell::new(config, settings, &broker, ears.inbox.clone());
    shell.step(Event::Tick);
    let mut is_told = false;
    while !shell.is_over {
        let clock = Arc::clone(&shell.config.clock);
        // What others say comes first, because it is little; what our own workloads say may wait.
        let event = tokio::select! {
            biased;
            () = sleep_towards(clock.as_ref(), shell.machine.next_deadline()) => Event::Tick,
            () = shutdown.cancelled(), if !is_told => {
                is_told = true;
                Event::ShutdownRequested(shell.config.shutdown_timeout)
            }
            event = ears.next() => match event {
                Some(event) => event,
                None => return Err(WorkerError::BrokerClosed),
            },
            Some(event) = events.recv() => event,
            // Ends come as events, in order with what was said before them.
            Some(_) = shell.tasks.join_next() => continue,
        };
        shell.step(event);
    }
    drop(events);
    shell.end().await
}

/// What the worker listens to.
struct Ears {
    inbox: String,
    answers: Box<dyn Subscription>,
    commands: Box<dyn Subscription>,
    broadcast: Box<dyn Subscription>,
    link: watch::Receiver<Link>,
}

impl Ears {
    async fn open(broker: &dyn Broker, config: &WorkerConfig) -> Result<Self, WorkerError> {
        let inbox = broker.new_inbox();
        let subjects = &config.subjects;
        Ok(Self {
            answers: broker.subscribe(&inbox).await?,
            commands: broker.subscribe(&subjects.commands(&config.worker)).await?,
            broadcast: broker.subscribe(&subjects.broadcast()).await?,
            link: broker.link(),
            inbox,
        })
    }

    async fn next(&mut self) -> Option<Event> {
        let heard = |message: Message| Event::Heard(message.payload);
        loop {
            tokio::select! {
                biased;
                message = self.answers.next() => return message.map(heard),
                message = self.commands.next() => return message.map(heard),
                message = self.broadcast.next() => return message.map(heard),
                changed = self.link.changed() => {
                    changed.ok()?;
                    if self.link.borrow_and_update().connected {
                        return Some(Event::Connected);
                    }
                }
            }
        }
    }
}

struct Shell {
    config: WorkerConfig,
    machine: Machine,
    handlers: BTreeMap<String, Arc<dyn WorkloadHandler>>,
    controls: BTreeMap<Key, Control>,
    tasks: JoinSet<()>,
    events: mpsc::Sender<Event>,
    lease: watch::Sender<Timestamp>,
    outgoing: mpsc::Sender<Outgoing>,
    sender: JoinSet<()>,
    actions: Vec<Action>,
    is_over: bool,
    refused: Option<String>,
}

struct Outgoing {
    is_log: bool,
    wants_answer: bool,
    bytes: Bytes,
}

impl Shell {
    fn new(
        config: WorkerConfig,
        settings: Settings,
        broker: &Arc<dyn Broker>,
        inbox: String,
    ) -> (Self, mpsc::Receiver<Event>) {
        let (events, received) = mpsc::channel(EVENTS);
        let (outgoing, queue) = mpsc::channel(OUTGOING);
        let mut sender = JoinSet::new();
        sender.spawn(send(
            Arc::clone(broker),
            config.subjects.clone(),
            inbox,
            queue,
        ));
        let named = |handler: &Arc<dyn WorkloadHandler>| {
            (handler.workload_type().to_owned(), Arc::clone(handler))
        };
        let shell = Self {
            handlers: config.handlers.iter().map(named).collect(),
            machine: Machine::new(settings),
            config,
            controls: BTreeMap::new(),
            tasks: JoinSet::new(),
            events,
            lease: watch::Sender::new(Timestamp::ZERO),
            outgoing,
            sender,
            actions: Vec::new(),
            is_over: false,
            refused: None,
        };
        (shell, received)
    }

    fn step(&mut self, event: Event) {
        if let Event::Ended {
            workload,
            attempt,
            outcome,
        } = &event
        {
            tracing::info!(%workload, %attempt, outcome = outcome.kind(), "ended");
            self.controls.remove(&(*workload, *attempt));
        }
        let mut actions = std::mem::take(&mut self.actions);
        let (now, wall) = (self.config.clock.now(), self.config.clock.wall());
        #[cfg(planted)]
        let shown = event.clone();
        self.machine.handle(now, wall, event, &mut actions);
        #[cfg(planted)]
        crate::watch::show(&crate::watch::Inside::WorkerStepped {
            worker: &self.config.worker,
            now,
            event: &shown,
            actions: &actions,
            machine: &self.machine,
        });
        for action in actions.drain(..) {
            self.carry_out(action);
        }
        self.actions = actions;
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Send {
                is_log,
                wants_answer,
                bytes,
            } => {
                let outgoing = Outgoing {
                    is_log,
                    wants_answer,
                    bytes,
                };
                if self.outgoing.try_send(outgoing).is_err() {
                    tracing::debug!("too much to send at once: what matters will be said again");
                }
            }
            Action::Start(assignment) => self.start(*assignment),
            Action::Stop {
                workload,
                attempt,
                cause,
            } => {
                tracing::info!(%workload, %attempt, %cause, "stopping");
                if let Some(control) = self.controls.get(&(workload, attempt)) {
                    control.stop.send_replace(Some(cause));
                }
            }
            Action::Kill { workload, attempt } => {
                tracing::warn!(%workload, %attempt, "killing");
                if let Some(control) = self.controls.get(&(workload, attempt)) {
                    control.kill.cancel();
                }
            }
            Action::LeaseExtended(until) => {
                self.lease.send_replace(until);
            }
            Action::Exit { refused } => {
                self.is_over = true;
                self.refused = refused;
            }
        }
    }

    fn start(&mut self, assignment: Assignment) {
        let key = (assignment.workload, assignment.attempt);
        tracing::info!(workload = %key.0, attempt = %key.1, workload_type = %assignment.workload_type, "starting");
        let handler = self
            .handlers
            .get(assignment.workload_type.as_str())
            .cloned();
        let events = self.events.clone();
        let (context, control) = Context::new(assignment, events, self.lease.subscribe());
        self.controls.insert(key, control);
        let (workload, attempt) = key;
        let ends = self.events.clone();
        self.tasks.spawn(async move {
            let outcome = match handler {
                Some(handler) => run_attempt(handler.as_ref(), context).await,
                None => Outcome::permanent("this worker does not know the workload type"),
            };
            let ended = Event::Ended {
                workload,
                attempt,
                outcome,
            };
            // Without a receiver the process is ending, and nobody is left to tell.
            let _ = ends.send(ended).await;
        });
    }

    /// Everything must be over when this returns.
    async fn end(mut self) -> Result<(), WorkerError> {
        for control in self.controls.values() {
            control.kill.cancel();
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(END_PATIENCE, all).await.is_err() {
            tracing::warn!("some workloads did not end in time");
        }
        drop(self.outgoing);
        let sent = async { while self.sender.join_next().await.is_some() {} };
        if timeout(END_PATIENCE, sent).await.is_err() {
            tracing::warn!("not everything could be sent");
        }
        match self.refused {
            Some(reason) => Err(WorkerError::Refused(reason)),
            None => Ok(()),
        }
    }
}

/// One attempt from its start to its end, or to its killing.
async fn run_attempt(handler: &dyn WorkloadHandler, context: Context) -> Outcome {
    let kill = context.kill.clone();
    let patience = handler.kill_patience();
    let mut run = AssertUnwindSafe(handler.run(context)).catch_unwind();
    let killed = async {
        kill.cancelled().await;
        tokio::time::sleep(patience).await;
    };
    tokio::select! {
        biased;
        () = killed => Outcome::Killed,
        outcome = &mut run => outcome.unwrap_or_else(|_| Outcome::transient("the handler panicked")),
    }
}

async fn send(
    broker: Arc<dyn Broker>,
    subjects: Subjects,
    inbox: String,
    mut queue: mpsc::Receiver<Outgoing>,
) {
    let (events, logs) = (subjects.events(), subjects.logs());
    while let Some(outgoing) = queue.recv().await {
        let subject = if outgoing.is_log { &logs } else { &events };
        let reply = outgoing.wants_answer.then_some(inbox.as_str());
        if let Err(error) = broker.publish(subject, reply, outgoing.bytes).await {
            tracing::debug!(%error, "a message was not sent: what matters will be said again");
        }
    }
}

impl Outcome {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Completed(_) => "completed",
            Self::Failed { .. } => "failed",
            Self::Stopped => "stopped",
            Self::Killed => "killed",
        }
    }
}

const EVENTS: usize = 1_024;
const OUTGOING: usize = 8_192;
const END_PATIENCE: Duration = Duration::from_secs(5);
