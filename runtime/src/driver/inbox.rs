//! What is heard: words of workers and of coordinators become events.
//!
//! Bytes that come with a report are written first, beside the batches, guarded by the open attempt;
//! core hears only what became of them. Those writes are bounded in number: above it the report is
//! dropped, and its worker repeats it. A coordinator that does not lead is silent to workers.

use super::{Answer, Driver, counts, outbox::Outgoing, pending::Waiting};
use crate::{
    broker::Message,
    error_chain::chain,
    metrics as names,
    protocol::{self, Body, Incoming, Malformed, PeerWord, wire},
    store::{CheckpointReport, OutcomeReport, ProgressReport, Store, StoreError, Written},
};
use niyanta_core::{
    Content, Event, Reply, Request, WorkerMessage,
    ids::{Attempt, Generation, RequestId, WorkloadId},
    workload::ErrorType,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

/// A write of a report's bytes that takes longer is given up; the worker repeats the report.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// Progress is written this often, and when so many are waiting.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);
const PROGRESS_MAX: usize = 500;

/// The newest progress of each attempt, until it is written.
#[derive(Debug)]
pub(super) struct ProgressBuffer {
    newest: BTreeMap<(WorkloadId, Attempt), ProgressReport>,
    flushed: Instant,
}

impl Default for ProgressBuffer {
    fn default() -> Self {
        Self {
            newest: BTreeMap::new(),
            flushed: Instant::now(),
        }
    }
}

impl Driver {
    /// A word of a worker.
    pub(super) fn hear_worker(&mut self, message: Message) {
        match protocol::decode(&message.payload) {
            Ok(incoming) => self.hear_incoming(incoming, message.reply),
            Err(malformed) => self.refuse(&malformed, message.reply),
        }
    }

    #[expect(clippy::too_many_lines, reason = "one arm a kind of message")]
    fn hear_incoming(&mut self, incoming: Incoming, reply: Option<String>) {
        if !self.leads() {
            if incoming.generation_seen > self.leadership.borrow().generation {
                self.handle(Event::GenerationSeen(incoming.generation_seen));
            }
            return;
        }
        let waiting = Waiting {
            subject: reply,
            correlation_id: incoming.message_id.clone(),
            kind: incoming.body.kind(),
            is_heartbeat: incoming.body.is_heartbeat(),
            detail: incoming.refused.as_ref().map(ToString::to_string),
        };
        let head = Head {
            worker: incoming.worker,
            incarnation: incoming.incarnation,
            generation_seen: incoming.generation_seen,
            sequence: incoming.sequence,
        };
        let refused = incoming.refused.is_some();
        match incoming.body {
            Body::Plain(body) => {
                let request = head.request(self.pending.add(waiting), body);
                self.handle(Event::Request(request));
            }
            Body::Outcome {
                workload,
                attempt,
                error_type,
                result_data,
                error_message,
            } => {
                let report = OutcomeReport {
                    workload,
                    attempt,
                    incarnation: head.incarnation.clone(),
                    result_data,
                    error_message,
                };
                self.hear_outcome(head, waiting, report, error_type, refused);
            }
            Body::Checkpoint {
                workload,
                attempt,
                checkpoint_sequence,
                data,
            } => {
                let report = CheckpointReport {
                    workload,
                    attempt,
                    incarnation: head.incarnation.clone(),
                    checkpoint_sequence,
                    data,
                };
                self.hear_checkpoint(head, waiting, report);
            }
            Body::Progress {
                workload,
                attempt,
                percent,
                message,
            } => {
                counts::message(waiting.kind, "none");
                let incarnation = head.incarnation;
                self.progress.newest.insert(
                    (workload, attempt),
                    ProgressReport {
                        workload,
                        attempt,
                        incarnation,
                        percent,
                        message,
                    },
                );
            }
            Body::Log { .. } => debug!("log lines are heard on their own subject"),
        }
    }

    fn hear_outcome(
        &mut self,
        head: Head,
        waiting: Waiting,
        report: OutcomeReport,
        error_type: Option<ErrorType>,
        refused: bool,
    ) {
        let (workload, attempt) = (report.workload, report.attempt);
        let body = move |content| match error_type {
            None => WorkerMessage::Completed {
                workload,
                attempt,
                content,
            },
            Some(error_type) => WorkerMessage::Failed {
                workload,
                attempt,
                error_type,
                content,
            },
        };
        let empty = report.result_data.is_none() && report.error_message.is_none();
        if empty && !refused {
            let request = head.request(self.pending.add(waiting), body(Content::Absent));
            self.handle(Event::Request(request));
            return;
        }
        let detail = waiting.detail.clone();
        self.write_then_hear(head, waiting, move |store| async move {
            let content = write_outcome(store.as_ref(), report, detail).await?;
            Ok(body(content))
        });
    }

    fn hear_checkpoint(&mut self, head: Head, waiting: Waiting, report: CheckpointReport) {
        self.write_then_hear(head, waiting, move |store| async move {
            let content = match store.put_checkpoint(&report).await {
                Ok(Written::Stored) => Content::Stored,
                Ok(Written::NotOpen) => Content::NotOpen,
                Err(StoreError::Refused(_)) => Content::Refused,
                Err(error) => return Err(error),
            };
            Ok(WorkerMessage::Checkpoint {
                workload: report.workload,
                attempt: report.attempt,
                checkpoint_sequence: report.checkpoint_sequence,
                content,
            })
        });
    }

    /// Writes what a report carries, then tells core. A write that fails is not answered.
    fn write_then_hear<F, W>(&mut self, head: Head, waiting: Waiting, write: F)
    where
        F: FnOnce(Arc<dyn Store>) -> W,
        W: Future<Output = Result<WorkerMessage, StoreError>> + Send + 'static,
    {
        let Some(writing) = self.writes.begin(self.heard_until) else {
            metrics::counter!(names::REPORTS_DROPPED).increment(1);
            debug!("dropped a report: many are being written; its worker repeats it");
            return;
        };
        let request = self.pending.add(waiting);
        let answers = self.answers_sender.clone();
        let write = timeout(WRITE_WITHIN, write(Arc::clone(&self.store)));
        self.tasks.spawn(async move {
            match write.await {
                Ok(Ok(body)) => {
                    let answer = Answer {
                        event: Event::Request(head.request(request, body)),
                        writing: Some(writing),
                    };
                    // The driver is gone only when the process ends; then nobody needs it.
                    let _unneeded = answers.send(answer);
                }
                Ok(Err(error)) => {
                    warn!(error = %chain(&error), "could not write a report; its worker repeats it")
                }
                Err(_) => warn!("writing a report took too long; its worker repeats it"),
            }
        });
    }

    /// Answers what cannot be read, as far as it says whom to answer.
    fn refuse(&mut self, malformed: &Malformed, reply: Option<String>) {
        metrics::counter!(names::MESSAGES_MALFORMED).increment(1);
        debug!(problem = %malformed.problem, worker = ?malformed.worker, "a message is malformed");
        let (Some(subject), true) = (reply, self.leads()) else {
            return;
        };
        let generation = self.leadership.borrow().generation;
        let payload = self.voice.say(|origin| {
            protocol::rejected(
                origin,
                malformed.message_id.as_deref(),
                generation,
                self.lease_told,
                &malformed.problem.to_string(),
            )
        });
        self.outbox.send(Outgoing {
            term: Some(generation),
            subject,
            payload,
        });
    }

    /// Answers a request that core has decided.
    pub(super) fn reply(&mut self, to: RequestId, generation: Generation, reply: &Reply) {
        let Some(waiting) = self.pending.take(to) else {
            return;
        };
        counts::answered(waiting.kind, &reply.status);
        let Some(subject) = waiting.subject else {
            return;
        };
        let payload = self.voice.say(|origin| {
            protocol::reply(
                origin,
                waiting.correlation_id.as_deref(),
                generation,
                reply,
                waiting.is_heartbeat,
                waiting.detail.as_deref(),
            )
        });
        self.outbox.send(Outgoing {
            term: Some(generation),
            subject,
            payload,
        });
    }

    /// A word of a coordinator, maybe this one.
    pub(super) fn hear_peer(&mut self, message: &Message) {
        let Some(word) = PeerWord::decode(&message.payload) else {
            debug!("a word of another coordinator is not understood");
            return;
        };
        match word {
            PeerWord::WorkloadsHinted(ids) => {
                for id in &ids {
                    self.changes.workload(*id);
                }
                if self.leads() {
                    self.handle(Event::WorkloadsHinted(ids));
                }
            }
            PeerWord::WorkersHinted if self.leads() => self.handle(Event::WorkersHinted),
            PeerWord::CustomersHinted(ids) if self.leads() => {
                self.handle(Event::CustomersHinted(ids))
            }
            PeerWord::WorkersHinted | PeerWord::CustomersHinted(_) => {}
            PeerWord::LeaderResigned(generation) => self.handle(Event::LeaderResigned(generation)),
            PeerWord::KeyRevoked(key) => (self.on_key_revoked)(key),
            PeerWord::Probe { incarnation, nonce } => {
                if incarnation == self.identity.incarnation {
                    self.handle(Event::ProbeHeard { nonce });
                }
            }
        }
    }

    /// A broadcast, maybe of this coordinator: only a higher term is news.
    pub(super) fn hear_broadcast(&mut self, message: &Message) {
        let envelope: Result<wire::Envelope<wire::LeaderElected>, _> =
            serde_json::from_slice(&message.payload);
        let Ok(envelope) = envelope else {
            debug!("a broadcast is not understood");
            return;
        };
        let generation = Generation(envelope.payload.generation);
        let sane = generation.0 <= protocol::GENERATION_SEEN_MAX;
        if sane && generation > self.leadership.borrow().generation {
            self.handle(Event::GenerationSeen(generation));
        }
    }

    /// Writes gathered progress, when it is time.
    pub(super) fn flush_progress(&mut self) {
        let due = self.progress.flushed.elapsed() >= PROGRESS_EVERY
            || self.progress.newest.len() >= PROGRESS_MAX;
        if self.progress.newest.is_empty() || !due {
            return;
        }
        self.progress.flushed = Instant::now();
        let reports: Vec<_> = std::mem::take(&mut self.progress.newest)
            .into_values()
            .collect();
        let changes = Arc::clone(&self.changes);
        self.note(move |store| async move {
            store.put_progress(&reports).await?;
            for report in &reports {
                changes.workload(report.workload);
            }
            Ok(())
        });
    }

    fn leads(&self) -> bool {
        self.leadership.borrow().is_leader
    }
}

/// What every request of a worker begins with.
struct Head {
    worker: niyanta_core::ids::WorkerId,
    incarnation: niyanta_core::ids::Incarnation,
    generation_seen: Generation,
    sequence: niyanta_core::ids::MessageSequence,
}

impl Head {
    fn request(self, reply_to: RequestId, body: WorkerMessage) -> Request {
        Request {
            reply_to,
            worker: self.worker,
            incarnation: self.incarnation,
            generation_seen: self.generation_seen,
            sequence: self.sequence,
            body,
        }
    }
}

/// Writes the content of a last report, or a note in its place when it is refused: by the protocol
/// (`detail` says why) or by the database.
async fn write_outcome(
    store: &dyn Store,
    report: OutcomeReport,
    detail: Option<String>,
) -> Result<Content, StoreError> {
    let note = |why: &str| OutcomeReport {
        result_data: None,
        error_message: Some(format!("the content of the last report was refused: {why}")),
        ..report.clone()
    };
    if let Some(why) = detail {
        store.put_outcome(&note(&why)).await?;
        return Ok(Content::Refused);
    }
    match store.put_outcome(&report).await {
        Ok(Written::Stored) => Ok(Content::Stored),
        Ok(Written::NotOpen) => Ok(Content::NotOpen),
        Err(StoreError::Refused(error)) => {
            warn!(%error, workload = %report.workload, "the database refuses the content of a report");
            store
                .put_outcome(&note("the database does not store it"))
                .await?;
            Ok(Content::Refused)
        }
        Err(error) => Err(error),
    }
}
