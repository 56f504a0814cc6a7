//! The way of a statement: sent, executed, answered — or not, or not in that order.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "events without the database's clock, statements that are not worth a strike"
)]

use super::answers::{answered, database_time, unanswered};
use super::{Inbound, Occurrence, World, node::Asker};
use crate::{
    clock::Moment,
    decision::{Choice, Occasion, Point, Rng, StatementKind, Who},
    message::{Address, WorkerRequest},
    model::store::{Answer, Change, LeaseStep, Statement},
    plan::{InFlight, Rates},
    properties::Observation,
};
use niyanta_core::{Content, Event, PersistOutcome, WorkerMessage, ids::RequestId, time::Duration};
use sim_probes::{Bug, Mark, is_planted, reach};
use std::sync::Arc;

/// Names a statement that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StatementId(pub(super) u64);

/// A statement that was sent and not answered.
#[derive(Debug, Clone)]
pub struct Outstanding {
    /// Who sent it.
    pub place: usize,
    /// Which process.
    pub epoch: u32,
    /// What it says.
    pub statement: Arc<Statement>,
    /// What its answer is for.
    pub purpose: Purpose,
    fate: Fate,
    /// Names what is chosen for it.
    point: Point,
    /// The asker has given up waiting.
    given_up: bool,
}

/// What an answer is for.
#[derive(Debug, Clone)]
pub enum Purpose {
    /// Core asked.
    Core,
    /// A report whose content is being written.
    Report {
        /// The report.
        request: Arc<WorkerRequest>,
        /// Names the wait.
        ticket: u64,
    },
    /// A call is being served.
    Call(u64),
    /// Nobody waits.
    Nothing,
}

/// What will become of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Executed and answered.
    Answered,
    /// Never executed; the asker waits in vain.
    Lost,
    /// Never executed, and the asker is told so.
    NotSent,
    /// Executed; the answer is lost.
    AnswerLost,
    /// Executed when it has been given up, or nearly; the answer is lost.
    Orphaned,
    /// A lock is not had in time.
    LockTimeout,
    /// The database refuses a value.
    Refused,
}

impl Fate {
    /// In the order of [`Choice::StatementFate`].
    const ALL: [Self; 7] = [
        Self::Answered,
        Self::Lost,
        Self::NotSent,
        Self::AnswerLost,
        Self::Orphaned,
        Self::LockTimeout,
        Self::Refused,
    ];

    fn index(self) -> u32 {
        self as u32
    }

    fn at(index: u32) -> Self {
        let index = usize::try_from(index).unwrap_or(0);
        Self::ALL.get(index).copied().unwrap_or(Self::Answered)
    }
}

impl Rates {
    fn draw_fate(&self, rng: &mut Rng, locks: bool, refuses: bool) -> Fate {
        if rng.per_mille(self.not_executed) {
            return if rng.per_mille(500) {
                Fate::Lost
            } else {
                Fate::NotSent
            };
        }
        if rng.per_mille(self.answer_lost) {
            return Fate::AnswerLost;
        }
        if rng.per_mille(self.orphaned) {
            return Fate::Orphaned;
        }
        if locks && rng.per_mille(self.lock_timeout) {
            return Fate::LockTimeout;
        }
        if refuses && rng.per_mille(self.refused) {
            return Fate::Refused;
        }
        Fate::Answered
    }
}

/// What kind of statement it is, for naming what is chosen for it.
fn kind(statement: &Statement, purpose: &Purpose) -> StatementKind {
    if matches!(purpose, Purpose::Call(_)) {
        return StatementKind::Api;
    }
    match statement {
        Statement::TakeLease(_)
        | Statement::ReadLease { .. }
        | Statement::RenewLease { .. }
        | Statement::ResignLease { .. } => StatementKind::Lease,
        Statement::Snapshot { .. } | Statement::Load { .. } => StatementKind::Read,
        Statement::Persist(_) => StatementKind::Batch,
        Statement::ReadFence { .. } => StatementKind::Fence,
        Statement::Content(_) => StatementKind::Content,
        Statement::PendingReasons(_) | Statement::Heartbeats => StatementKind::Beside,
        Statement::Submit(_)
        | Statement::Wish { .. }
        | Statement::WishWorker { .. }
        | Statement::Get { .. } => StatementKind::Api,
    }
}

impl World {
    /// Sends a statement of core's.
    pub(super) fn ask_core(&mut self, place: usize, statement: Statement, within: Duration) {
        self.ask(place, statement, Purpose::Core, within);
    }

    /// Sends a statement, chooses its fate, and sets its deadline.
    pub(super) fn ask(
        &mut self,
        place: usize,
        statement: Statement,
        purpose: Purpose,
        within: Duration,
    ) {
        self.next_statement += 1;
        let id = StatementId(self.next_statement);
        let who = Who::statement(place, kind(&statement, &purpose));
        let point = self.decider.occasion(Occasion::Statement, who);
        let (fate, delay) = self.choose_fate(point, place, &statement, within);
        if fate != Fate::Answered {
            self.counts.faults += 1;
            self.trace.tell(self.now, Address::Coordinator(place), || {
                format!("  (this statement's fate: {fate:?})")
            });
        }
        let node = &self.nodes[place];
        let (epoch, clock) = (node.epoch, node.clock());
        self.statements.insert(
            id,
            Outstanding {
                place,
                epoch,
                statement: Arc::new(statement),
                purpose,
                fate,
                point,
                given_up: false,
            },
        );
        match fate {
            Fate::Lost => {}
            Fate::NotSent => self.after(Duration::from_millis(2), Occurrence::GaveUp(id)),
            Fate::Answered
            | Fate::AnswerLost
            | Fate::Orphaned
            | Fate::LockTimeout
            | Fate::Refused => {
                self.after(delay, Occurrence::Execute(id));
            }
        }
        let give_up = clock.when(clock.read(self.now).plus(within));
        self.at(give_up, Occurrence::GaveUp(id));
    }

    fn choose_fate(
        &mut self,
        point: Point,
        place: usize,
        statement: &Statement,
        within: Duration,
    ) -> (Fate, Duration) {
        let rates = self.plan.rates;
        let (is_cut, is_healed) = (self.store_cuts[place][0] > 0, self.is_healed);
        let locks = matches!(
            statement,
            Statement::Persist(_) | Statement::RenewLease { .. } | Statement::TakeLease(_)
        );
        // A refusal is a property of what is written: without an offender it happens once.
        let refuses = matches!(statement, Statement::Persist(_)) && !self.has_refused;
        let fate = self.decider.pick(point, Choice::StatementFate, |rng| {
            let fate = if is_cut {
                // The bytes wait in a buffer: they are lost with it, or arrive unexpectedly.
                if rng.per_mille(500) {
                    Fate::Lost
                } else {
                    Fate::Orphaned
                }
            } else if is_healed {
                Fate::Answered
            } else {
                rates.draw_fate(rng, locks, refuses)
            };
            fate.index()
        });
        let fate = Fate::at(fate);
        self.has_refused |= fate == Fate::Refused;
        let shortest = Duration::from_micros(150);
        let choice = Choice::StatementDelay;
        let delay = self.decider.delay(point, choice, shortest, |rng| {
            let millis = Duration::from_millis;
            let slow = !is_healed && rng.per_mille(rates.slow_statement);
            let (low, high) = match fate {
                Fate::Orphaned if is_cut => (millis(100), millis(8_000)),
                Fate::Orphaned => (millis(50), within * 3),
                Fate::LockTimeout => (millis(100), millis(1_000)),
                _ if slow => (millis(20), millis(1_500)),
                _ => (shortest, millis(2)),
            };
            rng.duration(low, high)
        });
        (fate, delay)
    }

    pub(super) fn execute_statement(&mut self, id: StatementId) {
        if self.store_stalled_until > self.now {
            let until = self.store_stalled_until;
            let Some(asked) = self.statements.get(&id) else {
                return;
            };
            let point = self.decider.occasion(Occasion::Stall, asked.point.who);
            let (shortest, longest) = (Duration::from_micros(10), Duration::from_millis(30));
            let jitter = self
                .decider
                .delay_up_to(point, Choice::StallDelay, shortest, longest);
            self.at(until.plus(jitter), Occurrence::Execute(id));
            return;
        }
        let Some(asked) = self.statements.get(&id).cloned() else {
            return;
        };
        let answer = self.outcome_of(&asked);
        self.trace.fold_debug(&answer);
        self.trace.tell(self.now, "store", || {
            format!(
                "executes c{}'s {} → {}",
                asked.place,
                crate::story::statement(&asked.statement),
                crate::story::answer(&answer)
            )
        });
        for change in self.store.take_changes() {
            self.count(&change);
            self.observe(&Observation::Committed { change: &change });
        }
        let (place, epoch) = (asked.place, asked.epoch);
        if self.nodes[place].epoch == epoch {
            let in_flight = match &*asked.statement {
                Statement::Persist(_) => Some(InFlight::BatchExecuted),
                Statement::TakeLease(_) => Some(InFlight::LeaseTaken),
                _ => None,
            };
            if let Some(in_flight) = in_flight {
                self.strike_during(in_flight, place);
            }
        }
        let never = matches!(asked.fate, Fate::AnswerLost | Fate::Orphaned);
        let lost = never || self.store_cuts[place][1] > 0;
        let applied = matches!(
            &answer,
            Answer::Persist {
                outcome: PersistOutcome::Applied,
                ..
            }
        );
        if lost && applied {
            reach(Mark::CommitAppliedAnswerLost);
        }
        if asked.given_up || asked.epoch != self.nodes[place].epoch {
            self.statements.remove(&id);
        } else if !lost {
            let (shortest, longest) = (Duration::from_micros(100), Duration::from_millis(1));
            let choice = Choice::AnswerDelay;
            let back = self
                .decider
                .delay_up_to(asked.point, choice, shortest, longest);
            let answer = Box::new(answer);
            self.after(back, Occurrence::Answered { id, answer });
        }
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
            Change::Lease { .. } | Change::Wished { .. } => {}
            Change::Batch { batch, .. } => {
                self.counts.batches += 1;
                let ended = batch.workloads.iter();
                let ended = ended.filter(|write| write.to.status.is_terminal()).count();
                self.counts.ended += u64::try_from(ended).unwrap_or(0);
            }
            Change::Submitted { .. } => self.counts.workloads += 1,
        }
    }

    fn outcome_of(&mut self, asked: &Outstanding) -> Answer {
        if let Statement::Persist(batch) = &*asked.statement {
            let outcome = match asked.fate {
                Fate::LockTimeout => Some(PersistOutcome::LockTimeout),
                Fate::Refused => Some(PersistOutcome::Refused),
                Fate::Answered | Fate::Lost | Fate::NotSent | Fate::AnswerLost | Fate::Orphaned => {
                    None
                }
            };
            if let Some(outcome) = outcome {
                return Answer::Persist {
                    generation: batch.generation,
                    number: batch.number,
                    outcome,
                };
            }
        } else if asked.fate == Fate::LockTimeout {
            return Answer::Done;
        }
        self.store.execute(self.now, &asked.statement)
    }

    pub(super) fn answer_statement(&mut self, id: StatementId, answer: Answer) {
        let Some(asked) = self.statements.get(&id) else {
            return;
        };
        if asked.given_up || asked.epoch != self.nodes[asked.place].epoch {
            self.statements.remove(&id);
            return;
        }
        if self.store_cuts[asked.place][1] > 0 {
            return;
        }
        let Some(asked) = self.statements.remove(&id) else {
            return;
        };
        let (place, epoch) = (asked.place, asked.epoch);
        let inbound = Inbound::Answer {
            asked: Box::new(asked),
            answer: Some(Box::new(answer)),
        };
        self.reach_node(place, epoch, inbound);
    }

    pub(super) fn give_statement_up(&mut self, id: StatementId) {
        let Some(asked) = self.statements.get_mut(&id) else {
            return;
        };
        if asked.given_up {
            return;
        }
        let (place, epoch) = (asked.place, asked.epoch);
        let paused = self.nodes[place]
            .process
            .as_ref()
            .and_then(|process| process.paused_until);
        if let Some(until) = paused
            && self.nodes[place].epoch == epoch
        {
            // A timer of a process that is not scheduled does not fire before it is.
            self.at(
                until.plus(Duration::from_micros(20)),
                Occurrence::GaveUp(id),
            );
            return;
        }
        asked.given_up = true;
        let asked = asked.clone();
        if matches!(asked.fate, Fate::Lost | Fate::NotSent) {
            self.statements.remove(&id);
        }
        let asked = Box::new(asked);
        let answer = None;
        self.reach_node(place, epoch, Inbound::Answer { asked, answer });
    }

    /// A process reads an answer, or that there will be none.
    pub(super) fn read_answer(
        &mut self,
        place: usize,
        asked: Outstanding,
        answer: Option<Box<Answer>>,
    ) {
        match asked.purpose.clone() {
            Purpose::Nothing => {}
            Purpose::Call(call) => {
                let not_sent = asked.fate == Fate::NotSent;
                self.continue_call(place, call, answer.map(|answer| *answer), not_sent);
            }
            Purpose::Report { request, ticket } => {
                self.finish_report(place, &request, ticket, answer.map(|answer| *answer));
            }
            Purpose::Core => {
                let known = self.nodes[place].process.as_ref().map(|p| p.database_time);
                let event = match answer {
                    Some(answer) => answered(*answer, &asked.statement),
                    None => unanswered(&asked.statement, known.unwrap_or_default()),
                };
                self.hand_answer(place, event);
            }
        }
    }

    fn hand_answer(&mut self, place: usize, event: Option<Event>) {
        let Some(mut event) = event else { return };
        if let Event::PersistAnswered { outcome, .. } = &mut event
            && *outcome == PersistOutcome::Unknown
            && is_planted(Bug::UnknownIsApplied)
        {
            *outcome = PersistOutcome::Applied;
        }
        if let Some(process) = &mut self.nodes[place].process
            && let Some(time) = database_time(&event)
        {
            process.database_time = time;
        }
        if let Event::LeaseResigned { generation } = &event {
            self.note_resigned(place, *generation);
        }
        self.hand(place, &event);
    }

    /// A worker's request was read; its content is written first when there is any.
    pub(super) fn read_request(
        &mut self,
        place: usize,
        arrived: Moment,
        request: Arc<WorkerRequest>,
    ) {
        use crate::message::Carries;
        let checkpoint = match request.carries {
            Carries::Nothing => {
                self.hand_request(place, &request, Content::Absent);
                return;
            }
            Carries::Result => None,
            Carries::Checkpoint(sequence) => Some(sequence),
        };
        let about = match &request.request.body {
            WorkerMessage::Checkpoint {
                workload, attempt, ..
            }
            | WorkerMessage::Completed {
                workload, attempt, ..
            }
            | WorkerMessage::Failed {
                workload, attempt, ..
            } => (*workload, *attempt),
            WorkerMessage::Register { .. }
            | WorkerMessage::Heartbeat { .. }
            | WorkerMessage::Started { .. }
            | WorkerMessage::Stopped { .. }
            | WorkerMessage::Deregister => return,
        };
        let Some(process) = self.nodes[place].awake() else {
            return;
        };
        if super::node_term(&process.core).is_none() {
            // Only a leader writes, and only a leader answers.
            return;
        }
        self.next_call += 1;
        let ticket = self.next_call;
        process.writing.insert(ticket, arrived);
        let write = crate::model::store::ContentWrite {
            workload: about.0,
            attempt: about.1,
            incarnation: request.request.incarnation.clone(),
            checkpoint,
        };
        let purpose = Purpose::Report { request, ticket };
        self.ask(
            place,
            Statement::Content(write),
            purpose,
            super::driver::STATEMENT_TIMEOUT,
        );
    }

    fn finish_report(
        &mut self,
        place: usize,
        request: &WorkerRequest,
        ticket: u64,
        answer: Option<Answer>,
    ) {
        if let Some(process) = &mut self.nodes[place].process {
            process.writing.remove(&ticket);
        }
        // Without an answer nobody knows what is stored: the worker repeats its report.
        if let Some(Answer::Content(content)) = answer {
            self.hand_request(place, request, content);
        }
    }

    fn hand_request(&mut self, place: usize, asked: &WorkerRequest, stored: Content) {
        let Some(process) = self.nodes[place].awake() else {
            return;
        };
        process.last_request = process.last_request.next();
        let reply_to: RequestId = process.last_request;
        process.requests.insert(
            reply_to,
            Asker {
                place: asked.from,
                message_id: asked.message_id,
                incarnation: asked.request.incarnation.clone(),
            },
        );
        let mut request = asked.request.clone();
        request.reply_to = reply_to;
        match &mut request.body {
            WorkerMessage::Checkpoint { content, .. }
            | WorkerMessage::Completed { content, .. }
            | WorkerMessage::Failed { content, .. } => *content = stored,
            WorkerMessage::Register { .. }
            | WorkerMessage::Heartbeat { .. }
            | WorkerMessage::Started { .. }
            | WorkerMessage::Stopped { .. }
            | WorkerMessage::Deregister => {}
        }
        self.hand(place, &Event::Request(request));
    }
}
