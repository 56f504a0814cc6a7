//! Log lines of workloads: written and answered beside the state machine, which they are no business
//! of. The leader does it; while no leader is known, everyone does, and what was had already is
//! dropped by its number.

use super::{
    Leadership, counts,
    outbox::{Outbox, Outgoing},
    voice::Voice,
};
use crate::{
    broker::{Message, Subscription},
    error_chain::chain,
    metrics as names,
    protocol::{self, Body, Incoming},
    store::{LogReport, Store, StoreError, Written},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::timeout,
};
use tracing::{debug, warn};

/// Messages whose lines are being written at once.
const WRITES_MAX: usize = 16;

/// A write that takes longer is given up; the worker repeats the lines.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

pub(super) struct LogKeeper {
    pub(super) words: Box<dyn Subscription>,
    pub(super) store: Arc<dyn Store>,
    pub(super) outbox: Outbox,
    pub(super) voice: Voice,
    pub(super) leadership: watch::Receiver<Leadership>,
}

impl LogKeeper {
    /// Ends when the broker is closed.
    pub(super) async fn run(mut self) {
        let slots = Arc::new(Semaphore::new(WRITES_MAX));
        let mut tasks = JoinSet::new();
        while let Some(message) = self.words.next().await {
            while tasks.try_join_next().is_some() {}
            if !self.is_mine() {
                continue;
            }
            // Waiting here fills the subscription, which then drops: a flood of logs hurts only logs.
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                return;
            };
            let (store, outbox, voice) = (
                Arc::clone(&self.store),
                self.outbox.clone(),
                self.voice.clone(),
            );
            tasks.spawn(async move {
                let _slot = slot;
                keep(store, outbox, voice, message).await;
            });
        }
    }

    fn is_mine(&self) -> bool {
        let leadership = self.leadership.borrow();
        leadership.is_leader || leadership.leader.is_none()
    }
}

async fn keep(store: Arc<dyn Store>, outbox: Outbox, voice: Voice, message: Message) {
    let (correlation, outcome) = match protocol::decode(&message.payload) {
        Ok(Incoming {
            message_id,
            incarnation,
            body:
                Body::Log {
                    workload,
                    attempt,
                    first_sequence,
                    lines,
                },
            ..
        }) => {
            let report = LogReport {
                workload,
                attempt,
                incarnation,
                first_sequence,
                lines,
            };
            (message_id, write(store.as_ref(), &report).await)
        }
        Ok(other) => (
            other.message_id,
            Some(Err("only workload.log belongs here".to_owned())),
        ),
        Err(malformed) => {
            metrics::counter!(names::MESSAGES_MALFORMED).increment(1);
            (
                malformed.message_id,
                Some(Err(malformed.problem.to_string())),
            )
        }
    };
    let answer = match &outcome {
        Some(Ok(())) => "ok",
        Some(Err(_)) => "rejected",
        None => "none",
    };
    counts::message("workload.log", answer);
    let (Some(subject), Some(outcome)) = (message.reply, outcome) else {
        return;
    };
    let payload = voice.say(|origin| {
        protocol::log_reply(
            origin,
            correlation.as_deref(),
            outcome.as_ref().err().map(String::as_str),
        )
    });
    outbox.send(Outgoing {
        term: None,
        subject,
        payload,
    });
}

/// Done, refused with a reason, or no answer: the worker repeats.
async fn write(store: &dyn Store, report: &LogReport) -> Option<Result<(), String>> {
    match timeout(WRITE_WITHIN, store.put_logs(report)).await {
        Ok(Ok(Written::Stored)) => Some(Ok(())),
        Ok(Ok(Written::NotOpen)) => Some(Err("that attempt was never this worker's".to_owned())),
        Ok(Err(StoreError::Refused(_))) => Some(Err("the database refuses the lines".to_owned())),
        Ok(Err(error)) => {
            warn!(error = %chain(&error), "could not write log lines; their worker repeats them");
            None
        }
        Err(_) => {
            debug!("writing log lines took too long; their worker repeats them");
            None
        }
    }
}
