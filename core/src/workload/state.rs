//! The words of a workload's life, each with its name in the contract.

use crate::ids::InvalidId;
use core::{fmt, str::FromStr};

/// Makes an enum whose variants have one stable name each, for the wire and the database.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $allowed:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable name, as the contract writes it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(InvalidId { kind: $kind, allowed: $allowed }),
                }
            }
        }
    };
}
pub(crate) use named;

named!(
    /// Where a workload is. Written by the leader alone.
    Status, "workload status",
    "PENDING, SCHEDULED, RUNNING, PAUSED, REDISTRIBUTING, COMPLETED, FAILED or CANCELLED" {
    /// Waits for a worker.
    Pending = "PENDING",
    /// Assigned; its worker has not confirmed it.
    Scheduled = "SCHEDULED",
    /// Its worker has confirmed it.
    Running = "RUNNING",
    /// Stopped by wish, until it is resumed.
    Paused = "PAUSED",
    /// Being moved, or lost; may still be running.
    Redistributing = "REDISTRIBUTING",
    /// Done. Final.
    Completed = "COMPLETED",
    /// Given up. Final.
    Failed = "FAILED",
    /// Ended by wish. Final.
    Cancelled = "CANCELLED",
});

impl Status {
    /// Final: never changes again.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// An attempt of the workload is open: a worker may be running it.
    #[must_use]
    pub const fn has_open_attempt(self) -> bool {
        matches!(self, Self::Scheduled | Self::Running | Self::Redistributing)
    }
}

named!(
    /// What its customer wants of a workload. Written by the API alone; `cancel` is never undone.
    Desired, "desired", "run, pause or cancel" {
    /// To run until it ends.
    Run = "run",
    /// To stop, keeping its last checkpoint.
    Pause = "pause",
    /// To end.
    Cancel = "cancel",
});

named!(
    /// Why an attempt was stopped.
    Cause, "cause",
    "cancelled, paused, drained, timed_out, lease_lost, superseded or refused" {
    /// The customer wishes it ended.
    Cancelled = "cancelled",
    /// The customer wishes it paused.
    Paused = "paused",
    /// Its worker is being emptied.
    Drained = "drained",
    /// It ran longer than its `timeout_seconds`.
    TimedOut = "timed_out",
    /// Its worker's lease ended.
    LeaseLost = "lease_lost",
    /// The attempt is no longer that worker's, or was never confirmed.
    Superseded = "superseded",
    /// The worker cannot run it.
    Refused = "refused",
});

named!(
    /// What kind of failure ended an attempt.
    ErrorType, "error_type", "transient, permanent, timeout or worker_lost" {
    /// Another attempt may succeed.
    Transient = "transient",
    /// No attempt will succeed.
    Permanent = "permanent",
    /// It ran longer than its `timeout_seconds`.
    Timeout = "timeout",
    /// Too many workers in a row were lost while running it. Never reported by a worker.
    WorkerLost = "worker_lost",
});

named!(
    /// What a worker does with an attempt when its own lease ends.
    OnLeaseLoss, "on_lease_loss", "stop or continue" {
    /// Stops it in time (the default).
    Stop = "stop",
    /// Goes on, and offers the attempt in its next heartbeat.
    Continue = "continue",
});

named!(
    /// What an audit event of a workload says happened.
    AuditKind, "event_type", "one of the event types of the contract" {
    /// Submitted.
    Created = "workload.created",
    /// Assigned to a worker.
    Scheduled = "workload.scheduled",
    /// Confirmed by its worker.
    Started = "workload.started",
    /// Stopped by wish.
    Paused = "workload.paused",
    /// Being moved, or lost.
    Redistributing = "workload.redistributing",
    /// Waits again, for a reason that is not a failure.
    Requeued = "workload.requeued",
    /// Failed, and waits for its next attempt.
    Retrying = "workload.retrying",
    /// Done.
    Completed = "workload.completed",
    /// Given up.
    Failed = "workload.failed",
    /// Ended by wish.
    Cancelled = "workload.cancelled",
    /// `desired` became `pause`.
    PauseRequested = "workload.pause_requested",
    /// `desired` became `cancel`.
    CancelRequested = "workload.cancel_requested",
    /// `desired` became `run` again.
    ResumeRequested = "workload.resume_requested",
});
