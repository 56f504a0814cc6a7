//! Carries effects out: one function a kind, no decisions.
//!
//! Whatever waits for the database runs in a task of its own and comes back as an [`Event`]; what it
//! may conclude from an error is decided here once, by [`StoreError`]'s classes alone.

use super::{Driver, counts, outbox::Outgoing};
use crate::{
    error_chain::chain,
    hints::Changes,
    metrics as names,
    probes::planted,
    protocol::{self, PeerWord},
    store::{Commit, LeaseAnswer, Store, StoreError, TakeLease, Timed},
};
use niyanta_core::{
    Effect, Event, PersistOutcome, StopOrder,
    batch::Batch,
    ids::{
        AskId, Attempt, BatchNumber, Generation, Incarnation, LoadId, MessageSequence, WorkerId,
        WorkloadId,
    },
    snapshot::Load,
    time::WallTime,
};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::time::{error::Elapsed, timeout};
use tracing::{Instrument as _, error, info, warn};

/// A read or a commit that has no answer by then never will: its connection is given up.
const STORE_WITHIN: Duration = Duration::from_secs(10);

/// One assignment to send, once its payload is read.
#[derive(Debug, Clone)]
pub(super) struct Assignment {
    pub(super) generation: Generation,
    pub(super) worker: WorkerId,
    pub(super) incarnation: Incarnation,
    pub(super) workload: WorkloadId,
    pub(super) attempt: Attempt,
    pub(super) heartbeat_sequence: MessageSequence,
}

impl Driver {
    /// Carries out everything in the buffer, in its order. Assignments of one buffer share a read.
    pub(super) fn carry_out(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        let mut assignments = Vec::new();
        let now = self.clock.now();
        for effect in effects.drain(..) {
            metrics::counter!(names::EFFECTS, "kind" => effect.kind()).increment(1);
            if effect
                .term()
                .is_some_and(|term| !self.term.permits(term, now))
            {
                continue;
            }
            #[cfg(planted)]
            crate::watch::show(&crate::watch::Inside::CarriedOut {
                who: &self.identity.incarnation,
                effect: &effect,
            });
            self.carry(effect, &mut assignments);
        }
        self.effects = effects;
        if !assignments.is_empty() {
            self.assign(assignments);
        }
    }

    #[expect(
        clippy::too_many_lines,
        reason = "one arm an effect; each says only where it goes"
    )]
    fn carry(&mut self, effect: Effect, assignments: &mut Vec<Assignment>) {
        match effect {
            Effect::TakeLease {
                ask,
                above,
                own,
                force,
                ttl,
                within,
            } => {
                let question = TakeLease {
                    holder: self.identity.coordinator_id.clone(),
                    incarnation: self.identity.incarnation.clone(),
                    above,
                    own,
                    force,
                    ttl,
                };
                self.ask(move |store| take_lease(store, ask, question, within));
            }
            Effect::ReadLease { ask, within } => {
                self.ask(move |store| read_lease(store, ask, within))
            }
            Effect::RenewLease {
                ask,
                generation,
                ttl,
                within,
            } => {
                let incarnation = self.identity.incarnation.clone();
                self.ask(move |store| {
                    renew_lease(store, ask, incarnation, generation, ttl, within)
                });
            }
            Effect::ResignLease { generation } => {
                let incarnation = self.identity.incarnation.clone();
                self.ask(move |store| resign_lease(store, incarnation, generation));
            }
            Effect::AnnounceResignation { generation } => {
                self.say_to_peers(&PeerWord::LeaderResigned(generation))
            }
            Effect::AnnounceLeader { generation } => self.announce_leader(generation),
            Effect::ProbeBroker { nonce } => self.say_to_peers(&PeerWord::Probe {
                incarnation: self.identity.incarnation.clone(),
                nonce,
            }),
            Effect::LoadSnapshot { generation, limit } => {
                self.ask(move |store| load_snapshot(store, generation, limit));
            }
            Effect::Persist(batch) => {
                let changes = Arc::clone(&self.changes);
                self.ask(move |store| persist(store, batch, changes));
            }
            Effect::ReadFence { generation, number } => {
                self.ask(move |store| read_fence(store, generation, number));
            }
            Effect::Load {
                load,
                generation: _,
                what,
                limit,
            } => {
                let last = self.database_time;
                self.ask(move |store| load_rows(store, load, what, limit, last));
            }
            Effect::RecordPendingReasons {
                generation: _,
                reasons,
            } => {
                self.note(move |store| async move { store.record_pending_reasons(&reasons).await });
            }
            Effect::RecordHeartbeats {
                generation: _,
                heard,
            } => {
                self.note(move |store| async move { store.record_heartbeats(&heard).await });
            }
            Effect::Reply {
                to,
                generation,
                reply,
            } => self.reply(to, generation, &reply),
            Effect::Forget { to } => self.pending.forget(to),
            Effect::Assign {
                generation,
                worker,
                incarnation,
                workload,
                attempt,
                heartbeat_sequence,
            } => {
                assignments.push(Assignment {
                    generation,
                    worker,
                    incarnation,
                    workload,
                    attempt,
                    heartbeat_sequence,
                });
            }
            Effect::Stop {
                generation,
                worker,
                incarnation,
                order,
            } => {
                self.stop(generation, &worker, &incarnation, order);
            }
            Effect::DrainWorker {
                generation,
                worker,
                incarnation,
                deadline,
            } => {
                let payload = self
                    .voice
                    .say(|origin| protocol::drain(origin, &incarnation, generation, deadline));
                self.command(generation, &worker, payload);
            }
            // Whoever runs the node says why it ended.
            Effect::Exit { reason } => {
                self.exit = Some(reason);
            }
        }
    }

    /// Starts a question to the database; its answer comes back as an event.
    fn ask<F, A>(&mut self, question: F)
    where
        F: FnOnce(Arc<dyn Store>) -> A,
        A: Future<Output = Event> + Send + 'static,
    {
        let answers = self.answers_sender.clone();
        let answer = question(Arc::clone(&self.store));
        let ask = async move {
            // The driver is gone only when the process ends; then nobody needs the answer.
            let _unneeded = answers.send(answer.await.into());
        };
        self.tasks.spawn(ask.in_current_span());
    }

    /// Starts an advisory write; nothing waits for it, and a lost one is repeated by the next.
    pub(super) fn note<F, A>(&mut self, write: F)
    where
        F: FnOnce(Arc<dyn Store>) -> A,
        A: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        let work = timeout(STORE_WITHIN, write(Arc::clone(&self.store)));
        let note = async move {
            match work.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(error = %chain(&error), "an advisory write failed"),
                Err(_) => warn!("an advisory write took too long"),
            }
        };
        self.tasks.spawn(note.in_current_span());
    }

    fn announce_leader(&mut self, generation: Generation) {
        info!(%generation, "leading");
        let payload = self
            .voice
            .say(|origin| protocol::leader_elected(origin, generation));
        self.outbox.send(Outgoing {
            term: Some(generation),
            subject: self.subjects.broadcast(),
            payload,
        });
    }

    fn stop(
        &self,
        generation: Generation,
        worker: &WorkerId,
        incarnation: &Incarnation,
        order: StopOrder,
    ) {
        let payload = self
            .voice
            .say(|origin| protocol::stop(origin, incarnation, generation, &order));
        self.command(generation, worker, payload);
    }

    fn command(&self, generation: Generation, worker: &WorkerId, payload: bytes::Bytes) {
        self.outbox.send(Outgoing {
            term: Some(generation),
            subject: self.subjects.commands(worker),
            payload,
        });
    }

    /// Reads what the assignments carry, then sends them: those that are still open by then.
    fn assign(&mut self, assignments: Vec<Assignment>) {
        let store = Arc::clone(&self.store);
        let voice = self.voice.clone();
        let subjects = self.subjects.clone();
        let outbox = self.outbox.clone();
        self.tasks.spawn(async move {
            let wanted: Vec<_> = assignments.iter().map(|one| (one.workload, one.attempt)).collect();
            let rows = match timeout(STORE_WITHIN, store.assignments(&wanted)).await {
                Ok(Ok(rows)) => rows,
                Ok(Err(error)) => {
                    warn!(error = %chain(&error), "could not read assignments; they are sent again");
                    return;
                }
                Err(_) => {
                    warn!("reading assignments took too long; they are sent again");
                    return;
                }
            };
            for row in rows {
                let Some(one) = assignments
                    .iter()
                    .find(|one| one.workload == row.workload && one.attempt == row.attempt)
                else {
                    continue;
                };
                let payload = voice.say(|origin| {
                    protocol::assign(origin, &one.incarnation, one.generation, one.heartbeat_sequence, &row)
                });
                outbox.send(Outgoing {
                    term: Some(one.generation),
                    subject: subjects.commands(&one.worker),
                    payload,
                });
            }
        });
    }
}

/// Waits for an answer about the lease, but not for ever.
async fn of_lease<T>(within: Duration, question: impl Future<Output = T>) -> Result<T, Elapsed> {
    if planted!(RenewalWithoutTimeout) {
        return Ok(question.await);
    }
    timeout(within, question).await
}

async fn take_lease(
    store: Arc<dyn Store>,
    ask: AskId,
    question: TakeLease,
    within: Duration,
) -> Event {
    match of_lease(within, store.take_lease(question)).await {
        Ok(Ok(Timed {
            value: LeaseAnswer::Taken(generation),
            database_time,
        })) => Event::LeaseTaken {
            ask,
            generation,
            database_time,
        },
        Ok(Ok(Timed {
            value: LeaseAnswer::Held(row),
            database_time,
        })) => Event::LeaseRefused {
            ask,
            row,
            database_time,
        },
        Ok(Err(error)) => {
            warn!(error = %chain(&error), "could not take the lease");
            Event::LeaseUnknown { ask }
        }
        Err(_) => {
            warn!("taking the lease took too long");
            Event::LeaseUnknown { ask }
        }
    }
}

async fn read_lease(store: Arc<dyn Store>, ask: AskId, within: Duration) -> Event {
    match of_lease(within, store.read_lease()).await {
        Ok(Ok(Timed {
            value: row,
            database_time,
        })) => Event::LeaseRead {
            ask,
            row,
            database_time,
        },
        Ok(Err(error)) => {
            warn!(error = %chain(&error), "could not read the lease");
            Event::LeaseUnanswered { ask }
        }
        Err(_) => {
            warn!("reading the lease took too long");
            Event::LeaseUnanswered { ask }
        }
    }
}

async fn renew_lease(
    store: Arc<dyn Store>,
    ask: AskId,
    incarnation: Incarnation,
    generation: Generation,
    ttl: Duration,
    within: Duration,
) -> Event {
    let began = tokio::time::Instant::now();
    let answer = of_lease(within, store.renew_lease(&incarnation, generation, ttl)).await;
    metrics::histogram!(names::LEASE_RENEWAL_SECONDS).record(began.elapsed());
    match answer {
        Ok(Ok(Timed {
            value: true,
            database_time,
        })) => Event::LeaseRenewed {
            ask,
            generation,
            database_time,
        },
        Ok(Ok(Timed { value: false, .. })) => Event::LeaseLost { ask, generation },
        Ok(Err(error)) => {
            warn!(error = %chain(&error), %generation, "could not renew the lease");
            Event::LeaseUnanswered { ask }
        }
        Err(_) => {
            warn!(%generation, "renewing the lease took too long");
            Event::LeaseUnanswered { ask }
        }
    }
}

async fn resign_lease(
    store: Arc<dyn Store>,
    incarnation: Incarnation,
    generation: Generation,
) -> Event {
    match timeout(STORE_WITHIN, store.resign_lease(&incarnation, generation)).await {
        Ok(Ok(())) => info!(%generation, "resigned"),
        Ok(Err(error)) => {
            warn!(error = %chain(&error), %generation, "could not resign; the lease ends by itself")
        }
        Err(_) => warn!(%generation, "resigning took too long; the lease ends by itself"),
    }
    Event::LeaseResigned { generation }
}

async fn load_snapshot(store: Arc<dyn Store>, generation: Generation, limit: u32) -> Event {
    match timeout(STORE_WITHIN * 3, store.snapshot(limit)).await {
        Ok(Ok(Timed {
            value: snapshot,
            database_time,
        })) => Event::SnapshotLoaded {
            generation,
            snapshot: Box::new(snapshot),
            database_time,
        },
        Ok(Err(error)) => {
            error!(error = %chain(&error), %generation, "could not read the state to lead from");
            Event::SnapshotFailed { generation }
        }
        Err(_) => {
            error!(%generation, "reading the state to lead from took too long");
            Event::SnapshotFailed { generation }
        }
    }
}

async fn persist(store: Arc<dyn Store>, batch: Arc<Batch>, changes: Arc<Changes>) -> Event {
    let (generation, number) = (batch.generation, batch.number);
    let began = tokio::time::Instant::now();
    let outcome = match timeout(STORE_WITHIN, store.commit(&batch)).await {
        Ok(Ok(Commit::Applied)) => {
            counts::committed(&batch);
            for write in &batch.workloads {
                changes.workload(write.id);
            }
            PersistOutcome::Applied
        }
        Ok(Ok(Commit::NotApplied)) => PersistOutcome::NotApplied,
        Ok(Ok(Commit::Short)) => {
            error!(%generation, %number, "a commit did not find the rows it expected; rebuilding");
            PersistOutcome::Short
        }
        Ok(Err(error)) => persist_error(generation, number, &error),
        Err(_) => {
            warn!(%generation, %number, "a commit took too long");
            PersistOutcome::Unknown
        }
    };
    metrics::histogram!(names::COMMIT_SECONDS, "outcome" => outcome_label(outcome))
        .record(began.elapsed());
    metrics::histogram!(names::BATCH_ROWS).record(u32::try_from(batch.rows()).unwrap_or(u32::MAX));
    Event::PersistAnswered {
        generation,
        number,
        outcome,
    }
}

const fn outcome_label(outcome: PersistOutcome) -> &'static str {
    match outcome {
        PersistOutcome::Applied => "applied",
        PersistOutcome::NotApplied => "not_applied",
        PersistOutcome::Short => "short",
        PersistOutcome::Unknown => "unknown",
        PersistOutcome::Refused | PersistOutcome::LockTimeout => "error",
    }
}

fn persist_error(
    generation: Generation,
    number: BatchNumber,
    error: &StoreError,
) -> PersistOutcome {
    warn!(error = %chain(error), %generation, %number, "a commit failed");
    match error {
        StoreError::Unknown(_) => PersistOutcome::Unknown,
        StoreError::Refused(_) => PersistOutcome::Refused,
        // Certainly not applied: the same bytes are sent again after a moment.
        StoreError::Unavailable(_)
        | StoreError::LockTimeout(_)
        | StoreError::Corrupt(_)
        | StoreError::Failed(_) => PersistOutcome::LockTimeout,
    }
}

async fn read_fence(store: Arc<dyn Store>, generation: Generation, number: BatchNumber) -> Event {
    let row = match timeout(STORE_WITHIN, store.read_fence()).await {
        Ok(Ok(row)) => Some(row),
        Ok(Err(error)) => {
            warn!(error = %chain(&error), %generation, %number, "could not read the fence");
            None
        }
        Err(_) => {
            warn!(%generation, %number, "reading the fence took too long");
            None
        }
    };
    Event::FenceRead { generation, row }
}

async fn load_rows(
    store: Arc<dyn Store>,
    load: LoadId,
    what: Load,
    limit: u32,
    last: WallTime,
) -> Event {
    match timeout(STORE_WITHIN, store.load(&what, limit)).await {
        Ok(Ok(Timed {
            value: rows,
            database_time,
        })) => Event::Loaded {
            load,
            rows: Some(Box::new(rows)),
            database_time,
        },
        Ok(Err(error)) => {
            warn!(error = %chain(&error), "could not load rows");
            Event::Loaded {
                load,
                rows: None,
                database_time: last,
            }
        }
        Err(_) => {
            warn!("loading rows took too long");
            Event::Loaded {
                load,
                rows: None,
                database_time: last,
            }
        }
    }
}
