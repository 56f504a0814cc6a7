//! What a workload type is to the worker: a function of a [`Context`].
//!
//! Owns what a handler can know and say. Whether an attempt may run is never the handler's to
//! decide: when it is killed, its future is dropped.

use super::machine::{Event, Outcome};
use crate::protocol::Assignment;
use async_trait::async_trait;
use niyanta_core::{
    ids::{Attempt, Generation, WorkloadId},
    time::{Duration, Timestamp},
    workload::{Cause, ErrorType, OnLeaseLoss},
};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Runs the workloads of one type.
///
/// ```
/// use runtime::worker::{Context, Outcome, WorkloadHandler};
///
/// struct Greet;
///
/// #[async_trait::async_trait]
/// impl WorkloadHandler for Greet {
///     fn workload_type(&self) -> &str {
///         "greet"
///     }
///
///     async fn run(&self, context: Context) -> Outcome {
///         let name = context.input_params["name"].as_str().unwrap_or("world");
///         context.log("info", format!("greeting {name}")).await;
///         Outcome::Completed(Some(serde_json::json!({ "greeting": format!("hello {name}") })))
///     }
/// }
/// ```
#[async_trait]
pub trait WorkloadHandler: Send + Sync + 'static {
    /// Which type, as customers register it: `[a-z0-9_.-]{1,64}`.
    fn workload_type(&self) -> &str;

    /// Runs one attempt to its end. Returns [`Outcome::Stopped`] soon after
    /// [`Context::stopped`] when it can; what goes on is killed: the future is dropped, and nothing
    /// that it started may go on after that.
    async fn run(&self, context: Context) -> Outcome;

    /// How long a killed attempt is waited for before its future is dropped, for a handler that
    /// heeds [`Context::killed`] and must see its children end.
    fn kill_patience(&self) -> Duration {
        Duration::ZERO
    }
}

/// What one attempt is given, and how it speaks.
#[derive(Debug, Clone)]
pub struct Context {
    /// Which workload.
    pub workload: WorkloadId,
    /// Which attempt: with the generation the fencing token, for systems that can refuse an older.
    pub attempt: Attempt,
    /// The leadership term that assigned it.
    pub generation: Generation,
    /// From the submission.
    pub input_params: Value,
    /// From the workload config.
    pub config_json: Value,
    /// From the workload config.
    pub resource_limits: Value,
    /// What the last checkpoint of this workload held, whichever attempt made it.
    pub checkpoint: Option<Vec<u8>>,
    /// How often to checkpoint.
    pub checkpoint_interval: Duration,
    /// What happens to it when the lease ends.
    pub on_lease_loss: OnLeaseLoss,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) stop: watch::Receiver<Option<Cause>>,
    pub(super) kill: CancellationToken,
    pub(super) lease: watch::Receiver<Timestamp>,
}

/// The shell's end of a [`Context`].
#[derive(Debug)]
pub(super) struct Control {
    pub(super) stop: watch::Sender<Option<Cause>>,
    pub(super) kill: CancellationToken,
}

impl Context {
    pub(super) fn new(
        assignment: Assignment,
        events: mpsc::Sender<Event>,
        lease: watch::Receiver<Timestamp>,
    ) -> (Self, Control) {
        let (stop, stopped) = watch::channel(None);
        let kill = CancellationToken::new();
        let context = Self {
            workload: assignment.workload,
            attempt: assignment.attempt,
            generation: assignment.generation,
            input_params: assignment.input_params,
            config_json: assignment.config_json,
            resource_limits: assignment.resource_limits,
            checkpoint: assignment.checkpoint,
            checkpoint_interval: assignment.checkpoint_interval,
            on_lease_loss: assignment.on_lease_loss,
            events,
            stop: stopped,
            kill: kill.clone(),
            lease,
        };
        (context, Control { stop, kill })
    }

    /// Says how far it is, 0 to 100. Sent at most once a second; the last one said counts.
    pub fn progress(&self, percent: f64, message: Option<String>) {
        // When the worker is that busy, the next one will do.
        let _ = self.events.try_send(Event::Progress {
            workload: self.workload,
            attempt: self.attempt,
            percent,
            message,
        });
    }

    /// Says something in the workload's log. `level` is `debug`, `info`, `warn` or `error`. Waits
    /// while the worker is busy, so that a talkative workload slows itself alone.
    pub async fn log(&self, level: &'static str, message: impl Into<String> + Send) {
        let event = Event::Log {
            workload: self.workload,
            attempt: self.attempt,
            level,
            message: message.into(),
        };
        // Without a receiver the process ends, and nobody is left to tell.
        let _ = self.events.send(event).await;
    }

    /// Says where the next attempt is to go on: at most 192 KiB. It holds once the leader has it.
    pub async fn checkpoint(&self, data: Vec<u8>) {
        let event = Event::Checkpoint {
            workload: self.workload,
            attempt: self.attempt,
            data,
        };
        let _ = self.events.send(event).await;
    }

    /// Whether it is asked to stop, and why.
    #[must_use]
    pub fn stop_cause(&self) -> Option<Cause> {
        *self.stop.borrow()
    }

    /// Waits until it is asked to stop.
    pub async fn stopped(&self) -> Cause {
        let mut stop = self.stop.clone();
        match stop.wait_for(Option::is_some).await.map(|cause| *cause) {
            Ok(Some(cause)) => cause,
            // The process is ending, which kills this attempt.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Waits until it is killed: whatever it has started must end now.
    pub async fn killed(&self) {
        self.kill.cancelled().await;
    }

    /// What it has started must have ended by this moment of `CLOCK_BOOTTIME`, as it changes;
    /// nothing with `on_lease_loss: continue`.
    #[must_use]
    pub fn lease(&self) -> Option<watch::Receiver<Timestamp>> {
        match self.on_lease_loss {
            OnLeaseLoss::Stop => Some(self.lease.clone()),
            OnLeaseLoss::Continue => None,
        }
    }
}

impl Outcome {
    /// No attempt will succeed.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::Failed {
            error_type: ErrorType::Permanent,
            message: message.into(),
        }
    }

    /// Another attempt may succeed.
    pub fn transient(message: impl Into<String>) -> Self {
        Self::Failed {
            error_type: ErrorType::Transient,
            message: message.into(),
        }
    }
}
