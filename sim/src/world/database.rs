//! The database's side of connections: what arrives is executed, waits, times out and is answered;
//! clients go away; the server stalls, restarts, and goes on from a copy.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "only a few kinds of statement come to what is special here"
)]

use super::{
    Occurrence, World,
    network::{Course, Fate},
    operations::{LOCK_TIMEOUT, OperationId, Reply, STATEMENT_TIMEOUT, Sent, drawn},
};
use crate::{
    clock::Moment,
    decision::{Choice, Occasion, Point},
    model::store::{
        Answer, Change, LeaseStep, Pace, SessionId, SqlError, Standing, Statement, Turn,
    },
    plan::InFlight,
    properties::Observation,
    story::named,
};
use niyanta_core::{PersistOutcome, time::Duration};
use sim_probes::{Mark, reach};
use std::sync::Arc;

/// What the database has of a connection beside its statement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backend {
    session: SessionId,
    /// What sent the statement, and which sending it was.
    operation: OperationId,
    sending: u32,
    /// Which process.
    place: usize,
    epoch: u32,
    begun: Moment,
    /// Counts the turns of its statements: a timer of an earlier one is void.
    turn: u64,
    course: Course,
    point: Point,
    fate: Fate,
}

/// Why a statement is looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alarm {
    /// It goes on.
    Proceed,
    /// It has waited for a row long enough.
    LockTimeout,
    /// It has taken long enough.
    StatementTimeout,
    /// Its client is gone, and that is noticed.
    ClientGone,
}

impl World {
    /// A statement reaches the database.
    pub(super) fn execute_statement(&mut self, sent: Box<Sent>) {
        if self.store_stalled_until > self.now {
            let at = self.after_the_stall(sent.point);
            self.at(at, Occurrence::Execute(sent));
            return;
        }
        let session = sent.session;
        let transit = self.transit.iter().position(|one| one.session == session);
        let whole_at = transit.map(|at| self.transit.swap_remove(at).whole_at);
        let Some(statement) = &sent.statement else {
            return self.sweep(&sent);
        };
        if self.store.standing(session) != Standing::Idle {
            // The connection died before the statement came.
            let (id, sending) = (sent.id, sent.sending);
            let reply = Box::new(Reply::Broken);
            self.after(BREAK, Occurrence::Replied { id, sending, reply });
            return;
        }
        let course = match whole_at.filter(|whole_at| *whole_at > self.now) {
            Some(whole_at) => Course {
                pace: Pace::NoSync,
                pause: Some(whole_at.since(self.now)),
            },
            None => self.course_of(sent.point, statement),
        };
        if course.pace != Pace::Whole {
            self.counts.faults += 1;
        }
        self.last_turn += 1;
        let backend = Backend {
            session,
            operation: sent.id,
            sending: sent.sending,
            place: sent.place,
            epoch: sent.epoch,
            begun: self.now,
            turn: self.last_turn,
            course,
            point: sent.point,
            fate: sent.fate,
        };
        self.backends.push(backend);
        let statement = Arc::clone(statement);
        self.store
            .receive(self.now, session, statement, course.pace);
        self.hear_store();
    }

    fn sweep(&mut self, sent: &Sent) {
        let ended = self.store.end_sleepers(self.now, STATEMENT_TIMEOUT);
        let count = ended.len();
        self.trace.tell(self.now, "store", || {
            format!("ends {count} sleeping connections")
        });
        self.hear_store();
        let (id, sending) = (sent.id, sent.sending);
        let reply = Box::new(Reply::Swept(Some(count)));
        let back = self.answer_delay(sent.point);
        self.after(back, Occurrence::Replied { id, sending, reply });
    }

    /// A statement of a connection is looked at again.
    pub(super) fn wake_backend(&mut self, session: SessionId, turn: u64, alarm: Alarm) {
        if self.store_stalled_until > self.now {
            let point = self.backend(session).map(|backend| backend.point);
            let at = match point {
                Some(point) => self.after_the_stall(point),
                None => self.store_stalled_until,
            };
            let alarm = Occurrence::Backend {
                session,
                turn,
                alarm,
            };
            self.at(at, alarm);
            return;
        }
        let standing = self.store.standing(session);
        if alarm == Alarm::ClientGone {
            return self.lose_client(session, standing);
        }
        let current = self
            .backend(session)
            .is_some_and(|backend| backend.turn == turn);
        if !current {
            return;
        }
        match (alarm, standing) {
            (Alarm::Proceed, _) => self.store.proceed(self.now, session, Pace::Whole),
            (Alarm::LockTimeout, Standing::Waiting) => {
                self.store.cancel(session, SqlError::LockTimeout);
            }
            (Alarm::StatementTimeout, _) => {
                self.store.cancel(session, SqlError::StatementTimeout);
            }
            (Alarm::LockTimeout | Alarm::ClientGone, _) => {}
        }
        self.hear_store();
    }

    fn lose_client(&mut self, session: SessionId, standing: Standing) {
        match standing {
            Standing::Gone => return,
            Standing::Idle if self.is_in_transit(session) => {
                // What it sent before it went is still to be read.
                self.orphans.push(session);
                return;
            }
            Standing::Idle
            | Standing::NoSync
            | Standing::Halted
            | Standing::Waiting
            | Standing::Granted
            | Standing::BeforeCommit => self.store.close(session),
        }
        self.hear_store();
    }

    fn is_in_transit(&self, session: SessionId) -> bool {
        self.transit.iter().any(|one| one.session == session)
    }

    /// A client closes a connection; the database notices when it looks.
    pub(super) fn hang_up(&mut self, place: usize, session: SessionId) {
        let notices = match self.store.standing(session) {
            Standing::Gone => return,
            Standing::Idle | Standing::NoSync => Duration::from_millis(1),
            Standing::Halted | Standing::Waiting | Standing::Granted | Standing::BeforeCommit => {
                CLIENT_CHECK
            }
        };
        let cut = self.store_cuts[place][0] > 0;
        let notices = if cut { KEEPALIVE } else { notices };
        let alarm = Alarm::ClientGone;
        self.after(
            notices,
            Occurrence::Backend {
                session,
                turn: 0,
                alarm,
            },
        );
    }

    /// Takes note of everything that statements came to.
    pub(super) fn hear_store(&mut self) {
        while let Some(news) = self.store.next_news() {
            self.observe_changes();
            let session = news.session;
            match news.what {
                Turn::Ended { statement, reply } => self.end_statement(session, &statement, reply),
                Turn::Waits => self.set_alarms(session),
                Turn::Granted => self.set_alarm(session, TURN, Alarm::Proceed),
                Turn::Halted => self.let_others(session),
            }
        }
        self.observe_changes();
    }

    fn observe_changes(&mut self) {
        for change in self.store.take_changes() {
            self.count(&change);
            self.observe(&Observation::Committed { change: &change });
        }
    }

    fn set_alarms(&mut self, session: SessionId) {
        self.counts.waits += 1;
        if self.store.is_deadlocked(session) {
            self.counts.deadlocks += 1;
            self.store.cancel(session, SqlError::Deadlock);
            return;
        }
        self.trace
            .tell(self.now, "store", || format!("{session:?} waits for a row"));
        if self.store.renewal_waits_for_batch(session) {
            self.observe(&Observation::RenewalWaits);
        }
        self.set_alarm(session, LOCK_TIMEOUT, Alarm::LockTimeout);
        self.set_statement_timeout(session);
    }

    fn set_statement_timeout(&mut self, session: SessionId) {
        if let Some(backend) = self.backend(session) {
            let left = STATEMENT_TIMEOUT.saturating_sub(self.now.since(backend.begun));
            self.set_alarm(session, left, Alarm::StatementTimeout);
        }
    }

    fn set_alarm(&mut self, session: SessionId, delay: Duration, alarm: Alarm) {
        let Some(turn) = self.backend(session).map(|backend| backend.turn) else {
            return;
        };
        self.after(
            delay,
            Occurrence::Backend {
                session,
                turn,
                alarm,
            },
        );
    }

    /// A statement went as far as it was told to.
    fn let_others(&mut self, session: SessionId) {
        let Some(course) = self.backend(session).map(|backend| backend.course) else {
            return;
        };
        self.trace.tell(self.now, "store", || {
            format!("{session:?} goes no further for now: {course:?}")
        });
        if let Some(pause) = course.pause {
            self.set_alarm(session, pause, Alarm::Proceed);
        }
        if course.pace != Pace::NoSync {
            self.set_statement_timeout(session);
        }
    }

    /// A statement committed, or was undone.
    fn end_statement(
        &mut self,
        session: SessionId,
        statement: &Statement,
        reply: Result<Answer, SqlError>,
    ) {
        let Some(at) = self
            .backends
            .iter()
            .position(|other| other.session == session)
        else {
            return;
        };
        let backend = self.backends.swap_remove(at);
        let (id, sending) = (backend.operation, backend.sending);
        let (place, epoch) = (backend.place, backend.epoch);
        self.trace.fold_value(&reply);
        let now = self.now;
        self.trace.draw(|picture| {
            picture.became(drawn(id, sending), |asked| {
                asked.executed = Some(now);
                asked.answer = named(&crate::story::reply(&reply));
            });
        });
        self.trace.tell(self.now, "store", || {
            format!(
                "c{place}'s {} → {}",
                crate::story::statement(statement),
                crate::story::reply(&reply)
            )
        });
        if self.nodes[place].epoch == epoch && reply.is_ok() {
            let in_flight = match statement {
                Statement::Persist(_) => Some(InFlight::BatchExecuted),
                Statement::TakeLease(_) => Some(InFlight::LeaseTaken),
                Statement::Submit(_) => Some(InFlight::SubmissionExecuted),
                Statement::Wish(_) => Some(InFlight::WishExecuted),
                _ => None,
            };
            if let Some(in_flight) = in_flight {
                self.strike_during(in_flight, place);
            }
        }
        let is_applied = matches!(
            &reply,
            Ok(Answer::Persist {
                outcome: PersistOutcome::Applied,
                ..
            })
        );
        let orphan = self.orphans.iter().position(|other| *other == session);
        if let Some(orphan) = orphan {
            self.orphans.swap_remove(orphan);
            self.store.close(session);
            return;
        }
        if self.nodes[place].epoch != epoch {
            return;
        }
        let back = self.answer_delay(backend.point);
        match backend.fate {
            _ if self.store_cuts[place][1] > 0 => self.lose_answer(is_applied),
            Fate::AnswerLost => self.lose_answer(is_applied),
            Fate::AnswerBreaks => {
                self.lose_answer(is_applied);
                self.store.close(session);
                let reply = Box::new(Reply::Broken);
                self.after(back, Occurrence::Replied { id, sending, reply });
            }
            Fate::Answered | Fate::Orphaned | Fate::Lost | Fate::NotSent | Fate::Breaks => {
                let reply = Box::new(Reply::Said(reply));
                self.after(back, Occurrence::Replied { id, sending, reply });
            }
        }
    }

    fn lose_answer(&mut self, is_applied: bool) {
        self.counts.faults += 1;
        if is_applied {
            reach(Mark::CommitAppliedAnswerLost);
        }
    }

    fn backend(&self, session: SessionId) -> Option<&Backend> {
        self.backends.iter().find(|other| other.session == session)
    }

    fn after_the_stall(&mut self, point: Point) -> Moment {
        let point = self.decider.occasion(Occasion::Stall, point.who);
        let (shortest, longest) = (Duration::from_micros(10), Duration::from_millis(30));
        let choice = Choice::StallDelay;
        let jitter = self.decider.delay_up_to(point, choice, shortest, longest);
        self.store_stalled_until.plus(jitter)
    }

    /// The server goes down, and with it every connection; what was under way is committed or not.
    pub(super) fn restart_store(&mut self, down: Duration) {
        for session in self.store.live_sessions().collect::<Vec<_>>() {
            let point = self.backend(session).map(|backend| backend.point);
            if let Some(point) = point
                && self.store.standing(session) == Standing::BeforeCommit
                && self.decider.pick(point, Choice::RestartFate, |rng| {
                    u32::from(rng.per_mille(500))
                }) > 0
            {
                self.store.proceed(self.now, session, Pace::Whole);
            }
            self.store.close(session);
        }
        self.hear_store();
        let length = self.until_healed(down);
        self.store_down_until = self.store_down_until.max(self.now.plus(length));
    }

    fn count(&mut self, change: &Change) {
        match change {
            Change::Lease {
                step: LeaseStep::Taken { .. },
                before,
                by,
                ..
            } => {
                self.counts.terms += 1;
                self.counts.leader_changes += u64::from(before.incarnation != *by);
            }
            Change::Lease { .. } | Change::Wished { .. } | Change::Limited { .. } => {}
            Change::Batch { batch, .. } => {
                self.counts.batches += 1;
                let ended = batch.workloads.iter();
                let ended = ended.filter(|write| write.to.status.is_terminal()).count();
                self.counts.ended += u64::try_from(ended).unwrap_or(0);
            }
            Change::Submitted { .. } => self.counts.workloads += 1,
        }
    }
}

/// A backend looks this often whether its client is there.
const CLIENT_CHECK: Duration = Duration::from_millis(500);
/// A peer that was cut off is noticed after this long.
const KEEPALIVE: Duration = Duration::from_secs(25);
/// A dead connection is noticed by whoever uses it.
const BREAK: Duration = Duration::from_millis(1);
/// From getting a row to going on.
const TURN: Duration = Duration::from_micros(40);
