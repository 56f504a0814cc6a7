//! A coordinator's side of the database: operations, the statements they are made of, and the
//! connections that these use.
//!
//! Mirrors the Postgres adapter: three lanes of connections that do not queue behind each other; a
//! statement whose caller has given up goes on to its end; a connection whose answer is late is
//! closed and never used again.

use super::{Inbound, Occurrence, World, network::Fate};
use crate::{
    clock::Moment,
    decision::Point,
    message::Address,
    model::store::{
        Answer, Failure, Lane, Program, SessionId, SqlError, Standing, Statement, Step,
    },
    picture::Asked,
    story::named,
};
use niyanta_core::time::Duration;
use std::{collections::VecDeque, sync::Arc};

/// Names an operation that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OperationId(pub(super) u64);

/// An operation that was begun and has not ended.
#[derive(Debug)]
pub(super) struct Operation {
    /// Who asked.
    pub(super) place: usize,
    /// Which process.
    pub(super) epoch: u32,
    /// What its answer is for.
    pub(super) purpose: Purpose,
    pub(super) program: Program,
    /// The connection that its statement uses.
    pub(super) session: Option<SessionId>,
    /// Counts what it sent: a reply to something else is not its own.
    pub(super) sending: u32,
    /// It looks for sleepers, and its own statement waits.
    pub(super) is_sweeping: bool,
    /// Its caller waits no longer than that.
    patience: Moment,
    /// The adapter waits no longer than that for what it sent.
    reply_by: Moment,
    /// Nobody waits for it any more.
    is_given_up: bool,
}

/// A statement on its way. It arrives whatever becomes of its sender.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) id: OperationId,
    pub(super) sending: u32,
    pub(super) place: usize,
    pub(super) epoch: u32,
    pub(super) session: SessionId,
    pub(super) point: Point,
    pub(super) fate: Fate,
    /// Nothing when it looks for sleepers.
    pub(super) statement: Option<Arc<Statement>>,
}

/// A connection with a statement on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transit {
    pub(super) session: SessionId,
    pub(super) place: usize,
    point: Point,
    /// The end of the message does not come before that.
    pub(super) whole_at: Moment,
}

/// What an answer is for.
#[derive(Debug, Clone)]
pub(super) enum Purpose {
    /// Core asked.
    Core,
    /// A report whose content is being written.
    Report {
        /// The report.
        said: Arc<crate::message::Said>,
        /// Names the writing.
        ticket: u64,
    },
    /// Log lines are being written.
    Lines {
        /// The lines.
        said: Arc<crate::message::Said>,
    },
    /// What an assignment carries is being read.
    Assignment(Box<niyanta_core::Effect>),
    /// A call to the API.
    Call(u64),
    /// Nobody waits.
    Nothing,
}

/// How a sending came back.
#[derive(Debug)]
pub enum Reply {
    /// The database said this.
    Said(Result<Answer, SqlError>),
    /// It was never sent.
    NotSent,
    /// The connection broke.
    Broken,
    /// So many sleepers were ended; nothing when nobody could look.
    Swept(Option<usize>),
}

/// The connections of one lane of one process.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// Connections that nobody uses, the last used last, with the moment since.
    idle: Vec<(SessionId, Moment)>,
    /// Connections in all.
    open: usize,
    /// Who waits for one.
    queue: VecDeque<OperationId>,
}

/// Names a sending of an operation in the picture.
pub(super) fn drawn(id: OperationId, sending: u32) -> u64 {
    id.0 << 16 | u64::from(sending)
}

impl World {
    /// Begins an operation of core's.
    pub(super) fn ask_core(&mut self, place: usize, statement: Statement, within: Duration) {
        self.ask(place, statement, Purpose::Core, within);
    }

    /// Begins an operation.
    pub(super) fn ask(
        &mut self,
        place: usize,
        statement: Statement,
        purpose: Purpose,
        within: Duration,
    ) {
        self.next_operation += 1;
        let id = OperationId(self.next_operation);
        let node = &self.nodes[place];
        let clock = node.clock();
        let patience = clock.when(clock.read(self.now).plus(within));
        let operation = Operation {
            place,
            epoch: node.epoch,
            purpose,
            program: Program::new(Arc::new(statement)),
            session: None,
            sending: 0,
            is_sweeping: false,
            patience,
            reply_by: Moment(u64::MAX),
            is_given_up: false,
        };
        self.operations.insert(id, operation);
        self.send_statement(id);
    }

    /// Sends an operation's statement as soon as there is a connection for it.
    fn send_statement(&mut self, id: OperationId) {
        let now = self.now;
        let Some(operation) = self.operations.get_mut(&id) else {
            return;
        };
        let place = operation.place;
        operation.sending += 1;
        let lane = if operation.is_sweeping {
            Lane::Api
        } else {
            operation.program.sent().lane()
        };
        let clock = self.nodes[place].clock();
        let late = clock.when(clock.read(now).plus(STATEMENT_TIMEOUT + DEADLINE_SLACK));
        operation.reply_by = late;
        let until = late.min(operation.patience);
        self.watch_deadline(place, until);
        match self.borrow_connection(place, lane) {
            Lent::Session(session) => self.transmit(id, session),
            Lent::Refused => {
                let delay = Duration::from_millis(2);
                self.reply_after(id, delay, Reply::NotSent);
            }
            Lent::Later => self.pools[place][lane as usize].queue.push_back(id),
        }
    }

    fn borrow_connection(&mut self, place: usize, lane: Lane) -> Lent {
        let now = self.now;
        let cut = self.store_cuts[place][0] > 0;
        let down = self.store_down_until > now;
        let pool = &mut self.pools[place][lane as usize];
        while let Some((session, since)) = pool.idle.pop() {
            // A connection that was idle for long is asked whether it lives.
            let dead = self.store.standing(session) == Standing::Gone;
            if dead && now.since(since) > IDLE_TRUST {
                pool.open -= 1;
                continue;
            }
            return Lent::Session(session);
        }
        // Behind a cut no connection is made.
        if pool.open >= lane_size(lane) || cut {
            return Lent::Later;
        }
        if down {
            return Lent::Refused;
        }
        match self.store.open() {
            Ok(session) => {
                pool.open += 1;
                Lent::Session(session)
            }
            Err(_) => Lent::Refused,
        }
    }

    /// Hands a connection back, or closes it; whoever waits for one gets it, or a new one.
    fn return_connection(&mut self, place: usize, lane: Lane, session: SessionId, whole: bool) {
        let now = self.now;
        let pool = &mut self.pools[place][lane as usize];
        if whole {
            pool.idle.push((session, now));
        } else {
            pool.open = pool.open.saturating_sub(1);
            self.hang_up(place, session);
        }
        self.serve_queue(place, lane);
    }

    pub(super) fn serve_queue(&mut self, place: usize, lane: Lane) {
        while let Some(next) = self.pools[place][lane as usize].queue.front().copied() {
            if !self.operations.contains_key(&next) {
                self.pools[place][lane as usize].queue.pop_front();
                continue;
            }
            match self.borrow_connection(place, lane) {
                Lent::Session(session) => {
                    self.pools[place][lane as usize].queue.pop_front();
                    self.transmit(next, session);
                }
                Lent::Refused => {
                    self.pools[place][lane as usize].queue.pop_front();
                    self.reply_after(next, Duration::from_millis(2), Reply::NotSent);
                }
                Lent::Later => return,
            }
        }
    }

    fn transmit(&mut self, id: OperationId, session: SessionId) {
        let Some(operation) = self.operations.get_mut(&id) else {
            return;
        };
        operation.session = Some(session);
        let place = operation.place;
        let statement = Arc::clone(operation.program.sent());
        let purpose = operation.purpose.clone();
        let point = self.point_of(place, &statement, &purpose);
        let (fate, delay) = self.fate_of(point, place);
        self.draw_asked(id, place, &statement, fate);
        if fate != Fate::Answered {
            self.counts.faults += 1;
            self.trace.tell(self.now, Address::Coordinator(place), || {
                format!("  (this statement's fate: {})", fate.name())
            });
        }
        match fate {
            Fate::Answered | Fate::AnswerLost | Fate::Orphaned | Fate::AnswerBreaks => {}
            Fate::Lost => return,
            Fate::NotSent => return self.reply_after(id, delay, Reply::NotSent),
            Fate::Breaks => return self.reply_after(id, delay, Reply::Broken),
        }
        let Some(operation) = self.operations.get(&id) else {
            return;
        };
        let sent = Sent {
            id,
            sending: operation.sending,
            place,
            epoch: operation.epoch,
            session,
            point,
            fate,
            statement: (!operation.is_sweeping).then(|| Arc::clone(operation.program.sent())),
        };
        self.transit.push(Transit {
            session,
            place,
            point,
            whole_at: Moment::default(),
        });
        self.after(delay, Occurrence::Execute(Box::new(sent)));
    }

    fn draw_asked(&mut self, id: OperationId, place: usize, statement: &Statement, fate: Fate) {
        let (now, operation) = (self.now, self.operations.get(&id));
        let sending = operation.map_or(0, |operation| operation.sending);
        let patience = operation.map(|operation| operation.patience);
        self.trace.draw(|picture| {
            let asked = Asked {
                who: format!("c{place}"),
                text: named(&crate::story::statement(statement)),
                fate: fate.name(),
                sent: now,
                executed: None,
                answer: String::new(),
                answered: None,
                gave_up: patience,
            };
            picture.asked(drawn(id, sending), asked);
        });
    }

    /// A process is stopped: what it is sending may lack its end until it runs again.
    pub(super) fn tear(&mut self, place: usize, until: Moment) {
        for index in 0..self.transit.len() {
            let Transit {
                place: from, point, ..
            } = self.transit[index];
            if from == place && self.is_torn_by_pause(point) {
                self.transit[index].whole_at = until;
            }
        }
    }

    fn reply_after(&mut self, id: OperationId, delay: Duration, reply: Reply) {
        let Some(operation) = self.operations.get(&id) else {
            return;
        };
        let sending = operation.sending;
        self.after(
            delay,
            Occurrence::Replied {
                id,
                sending,
                reply: Box::new(reply),
            },
        );
    }

    /// A reply reaches the process that awaits it.
    pub(super) fn reach_with_reply(&mut self, id: OperationId, sending: u32, reply: Box<Reply>) {
        let Some(operation) = self.operations.get(&id) else {
            return;
        };
        if operation.sending != sending {
            return;
        }
        let (place, epoch) = (operation.place, operation.epoch);
        if self.store_cuts[place][1] > 0 && matches!(*reply, Reply::Said(_) | Reply::Swept(_)) {
            return;
        }
        self.reach_node(place, epoch, Inbound::Reply { id, sending, reply });
    }

    /// A process reads a reply.
    pub(super) fn read_reply(&mut self, id: OperationId, sending: u32, reply: Reply) {
        let Some(operation) = self.operations.get_mut(&id) else {
            return;
        };
        if operation.sending != sending {
            return;
        }
        let place = operation.place;
        let now = self.now;
        if matches!(reply, Reply::Said(_)) {
            self.trace.draw(|picture| {
                picture.became(drawn(id, sending), |asked| asked.answered = Some(now));
            });
        }
        let lane = if operation.is_sweeping {
            Lane::Api
        } else {
            operation.program.sent().lane()
        };
        let session = operation.session.take();
        let whole = match &reply {
            Reply::Said(Err(SqlError::Terminated)) | Reply::Broken => false,
            Reply::Said(_) | Reply::Swept(_) | Reply::NotSent => true,
        };
        operation.is_sweeping = false;
        let step = match reply {
            Reply::Said(said) => operation.program.replied(said),
            Reply::Broken => operation.program.lost(),
            Reply::NotSent => Step::Finish(Err(Failure::Unavailable)),
            Reply::Swept(ended) => operation.program.swept(ended),
        };
        if let Some(session) = session {
            self.return_connection(place, lane, session, whole);
        }
        self.take_step(id, step);
    }

    fn take_step(&mut self, id: OperationId, step: Step) {
        let Some(operation) = self.operations.get_mut(&id) else {
            return;
        };
        let is_given_up = operation.is_given_up;
        match step {
            Step::Send(_) if !is_given_up => self.send_statement(id),
            Step::EndSleepers if !is_given_up => {
                operation.is_sweeping = true;
                self.send_statement(id);
            }
            // The statement was a task of its own; what was to follow it is gone with its caller.
            Step::Send(_) | Step::EndSleepers => {
                self.operations.remove(&id);
            }
            Step::Finish(outcome) => {
                if let Some(operation) = self.operations.remove(&id)
                    && !is_given_up
                {
                    let statement = Arc::clone(operation.program.asked());
                    self.read_answer(operation.place, &operation.purpose, &statement, outcome);
                }
            }
        }
    }

    /// Some deadline of a place has come.
    pub(super) fn keep_deadlines(&mut self, place: usize, epoch: u32) {
        if self.nodes[place].epoch != epoch {
            return;
        }
        let now = self.now;
        if self.deadlines[place].is_none_or(|at| at > now) {
            return;
        }
        self.deadlines[place] = None;
        let paused = self.nodes[place]
            .process
            .as_ref()
            .and_then(|process| process.paused_until);
        if let Some(until) = paused {
            // A timer of a process that is not scheduled does not fire before it is.
            self.watch_deadline(place, until.plus(Duration::from_micros(20)));
            return;
        }
        if self.reads_answers_first(place) {
            // Who has a deadline looks once more whether the answer is there.
            self.watch_deadline(place, now.plus(Duration::from_micros(20)));
            return;
        }
        let mut late = Vec::new();
        let mut next = Moment(u64::MAX);
        for (id, operation) in &self.operations {
            if operation.place != place || operation.epoch != epoch {
                continue;
            }
            let patience = if operation.is_given_up {
                Moment(u64::MAX)
            } else {
                operation.patience
            };
            if patience <= now || operation.reply_by <= now {
                late.push((*id, patience <= now));
            } else {
                next = next.min(patience).min(operation.reply_by);
            }
        }
        if next < Moment(u64::MAX) {
            self.watch_deadline(place, next);
        }
        for (id, impatient) in late {
            if self.nodes[place].epoch != epoch {
                return;
            }
            if impatient {
                self.give_up(id);
            } else {
                self.read_late(id);
            }
        }
    }

    /// Answers lie unread that came while the process at a place was paused, and it reads them
    /// before its timers fire.
    fn reads_answers_first(&self, place: usize) -> bool {
        self.nodes[place].process.as_ref().is_some_and(|process| {
            let mut unread = process.inbox.iter();
            process.answers_first_until > self.now && unread.any(|(_, inbound)| inbound.is_answer())
        })
    }

    /// A caller waits no longer; the statement goes on.
    fn give_up(&mut self, id: OperationId) {
        let Some(operation) = self.operations.get_mut(&id) else {
            return;
        };
        operation.is_given_up = true;
        let place = operation.place;
        let reply_by = operation.reply_by;
        let purpose = operation.purpose.clone();
        let statement = Arc::clone(operation.program.asked());
        let failure = if operation.program.sent().writes() {
            Failure::Unknown
        } else {
            Failure::Unavailable
        };
        self.watch_deadline(place, reply_by);
        self.read_answer(place, &purpose, &statement, Err(failure));
    }

    /// The adapter waits no longer for what it sent: the connection is closed.
    fn read_late(&mut self, id: OperationId) {
        let Some(operation) = self.operations.get_mut(&id) else {
            return;
        };
        let was_sent = operation.session.is_some();
        let (sending, swept) = (operation.sending, operation.is_sweeping);
        let reply = match (was_sent, swept) {
            (false, false) => Reply::NotSent,
            (_, true) => Reply::Swept(None),
            (true, false) => Reply::Broken,
        };
        let place = operation.place;
        if let Some(session) = operation.session.take() {
            let lane = if swept {
                Lane::Api
            } else {
                operation.program.sent().lane()
            };
            self.return_connection(place, lane, session, false);
        }
        self.read_reply(id, sending, reply);
    }

    pub(super) fn watch_deadline(&mut self, place: usize, at: Moment) {
        if self.deadlines[place].is_none_or(|armed| at < armed) {
            self.deadlines[place] = Some(at);
            let epoch = self.nodes[place].epoch;
            self.at(at, Occurrence::Deadlines { place, epoch });
        }
    }

    /// The process at a place is gone: what it sent is on its way all the same.
    pub(super) fn forget_operations(&mut self, place: usize) {
        self.deadlines[place] = None;
        for lane in Lane::ALL {
            let pool = std::mem::take(&mut self.pools[place][*lane as usize]);
            for (session, _) in pool.idle {
                self.hang_up(place, session);
            }
        }
        let epoch = self.nodes[place].epoch;
        let mut theirs = Vec::new();
        self.operations.retain(|_, operation| {
            let goes = operation.place == place && operation.epoch == epoch;
            if goes {
                theirs.extend(operation.session);
            }
            !goes
        });
        for session in theirs {
            self.hang_up(place, session);
        }
    }
}

/// A connection, if there is one.
enum Lent {
    /// This one.
    Session(SessionId),
    /// The database takes no more.
    Refused,
    /// Not yet.
    Later,
}

const fn lane_size(lane: Lane) -> usize {
    match lane {
        Lane::Api => 10,
        Lane::Commit | Lane::Lease => 2,
    }
}

/// The database's own limits, a few times shorter than a deployment's, so that a short run sees them.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_millis(2_000);
/// No statement waits longer for a row.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_millis(800);
/// The adapter's deadline lies this much beyond the statement time-out.
const DEADLINE_SLACK: Duration = Duration::from_millis(500);
/// A connection that was idle for longer is asked whether it lives before it is lent.
const IDLE_TRUST: Duration = Duration::from_secs(1);
