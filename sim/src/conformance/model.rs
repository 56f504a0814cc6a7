//! The model's side: several clients of one store, each with its operation under way.

use super::{
    compare::Turns,
    script::{CUSTOMERS, Held, How, NODES, Observation, Op, ROOM, Step},
    tables,
    terms::{self, CLASS, MAX_RETRIES, TIMEOUT_SECONDS, word},
};
use crate::{
    clock::{Moment, WallClock},
    model::store::{
        Answer, ContentWrite, CounterRow, Failure, Pace, Program, RenewLease, RowKey, SessionId,
        SqlError, Standing, Statement, Step as Next, Store, Submission, SubmitAnswer, TakeLease,
        Turn, Wish, WishAnswer, WishWorker, WorkerWishAnswer,
    },
};
use niyanta_core::{
    Content,
    batch::LeaderHalf,
    ids::{AskId, Attempt, Generation, LoadId, WishRevision},
    scheduling::AffinityRules,
    snapshot::{CustomerRow, WorkloadRow},
    time::{Duration, WallTime},
    workload::{Desired, OnLeaseLoss, Status},
};
use std::{collections::BTreeMap, sync::Arc};

/// A script under way on the model.
pub(super) struct Run {
    store: Store,
    now: Moment,
    nodes: [Option<Client>; NODES],
    /// Connections that their clients have lost, and the server has not.
    orphans: Vec<SessionId>,
    ended: BTreeMap<usize, String>,
}

/// A client's operation under way.
struct Client {
    program: Program,
    session: SessionId,
    how: How,
    /// A statement that is to be sent when it is this client's turn.
    unsent: Option<Arc<Statement>>,
}

/// Who may have the next turn.
#[derive(Clone, Copy)]
enum Who {
    Client(usize),
    Orphan(SessionId),
}

impl Run {
    /// Nothing has happened: no workload, no worker, and nobody has led.
    pub(super) fn new() -> Self {
        let mut store = Store::new(WallClock::at_speed(0));
        for number in 1..=CUSTOMERS {
            let limits = CustomerRow {
                id: terms::customer(number),
                weight: 1,
                max_running: 10,
            };
            let room = ROOM[usize::from(number) - 1];
            store.add_customer(CounterRow::new(limits, room.into()));
        }
        Self {
            store,
            now: Moment(1_000_000_000),
            nodes: [const { None }; NODES],
            orphans: Vec::new(),
            ended: BTreeMap::new(),
        }
    }

    /// What there is so far.
    pub(super) const fn store(&self) -> &Store {
        &self.store
    }

    /// Whether a client has an operation under way.
    pub(super) const fn is_busy(&self, node: usize) -> bool {
        self.nodes[node].is_some()
    }

    /// All rows.
    pub(super) fn tables(&self) -> Vec<String> {
        tables::lines(&self.store)
    }

    /// Does a step, lets everybody go on as far as can be, and says what can be seen then.
    pub(super) fn step(&mut self, step: &Step, turns: &mut Turns) -> Observation {
        self.now = self.now.plus(Duration::from_millis(1));
        match step {
            Step::Send { node, how, op } => self.send(*node, *how, op),
            Step::GoOn { node } => {
                if let Some(session) = self.is(*node, &PARKED) {
                    self.store.proceed(self.now, session, Pace::Whole);
                }
            }
            Step::Cut { node } => {
                if let Some(session) = self.is(*node, &CUTTABLE) {
                    self.store.close(session);
                }
            }
            Step::Abandon { node } => self.abandon(*node),
            Step::Cancel { node } => {
                if let Some(session) = self.is(*node, &[Standing::Waiting]) {
                    self.store.cancel(session, SqlError::StatementTimeout);
                }
            }
        }
        self.settle(turns);
        self.observe()
    }

    fn observe(&mut self) -> Observation {
        let with = |standings: &[Standing]| {
            let all = 0..NODES;
            let found = all.filter(|node| self.is(*node, standings).is_some());
            found.collect()
        };
        Observation {
            waiting: with(&[Standing::Waiting]),
            parked: with(&PARKED),
            ended: std::mem::take(&mut self.ended),
        }
    }

    /// The connection of a client that stands in one of these ways.
    fn is(&self, node: usize, standings: &[Standing]) -> Option<SessionId> {
        let session = self.nodes[node].as_ref()?.session;
        let standing = self.store.standing(session);
        standings.contains(&standing).then_some(session)
    }

    fn send(&mut self, node: usize, how: How, op: &Op) {
        if self.is_busy(node) {
            return;
        }
        let statement = Arc::new(self.statement(node, op));
        let program = Program::new(Arc::clone(&statement));
        if how == How::NeverSent && !matches!(op, Op::Hold(_)) {
            self.ended.insert(node, outcome(program.lost()));
            return;
        }
        let Ok(session) = self.store.open() else {
            return;
        };
        self.nodes[node] = Some(Client {
            program,
            session,
            how,
            unsent: Some(statement),
        });
    }

    fn abandon(&mut self, node: usize) {
        let is_waiting = self.is(node, &[Standing::Waiting]).is_some();
        let Some(client) = self.nodes[node].take_if(|client| is_waiting && !client.is_stranger())
        else {
            return;
        };
        self.ended.insert(node, outcome(client.program.lost()));
        self.orphans.push(client.session);
    }

    /// Lets everybody go on until nobody can.
    fn settle(&mut self, turns: &mut Turns) {
        loop {
            self.hear();
            let ready: Vec<Who> = self.ready().collect();
            if let Some(who) = ready.get(turns.pick(ready.len())) {
                self.take_turn(*who, ready.len() == 1);
                continue;
            }
            let circle: Vec<SessionId> = self
                .store
                .live_sessions()
                .filter(|id| self.store.is_deadlocked(*id))
                .collect();
            let Some(victim) = circle.get(turns.pick(circle.len())) else {
                return;
            };
            self.store.cancel(*victim, SqlError::Deadlock);
        }
    }

    fn ready(&self) -> impl Iterator<Item = Who> {
        const GOES_ON: [Standing; 2] = [Standing::Granted, Standing::Halted];
        let clients = (0..NODES).filter(|node| {
            let unsent = self.nodes[*node]
                .as_ref()
                .is_some_and(|client| client.unsent.is_some());
            unsent || self.is(*node, &GOES_ON).is_some()
        });
        let orphans = self.orphans.iter().copied();
        let orphans = orphans.filter(|id| GOES_ON.contains(&self.store.standing(*id)));
        clients.map(Who::Client).chain(orphans.map(Who::Orphan))
    }

    fn take_turn(&mut self, who: Who, is_alone: bool) {
        let whole = if is_alone {
            Pace::Whole
        } else {
            Pace::After(1)
        };
        let Who::Client(node) = who else {
            if let Who::Orphan(session) = who {
                self.store.proceed(self.now, session, whole);
            }
            return;
        };
        let Some(client) = &mut self.nodes[node] else {
            return;
        };
        let pace = if client.is_stranger() {
            Pace::BeforeCommit
        } else if client.how == How::NoSync {
            Pace::NoSync
        } else {
            whole
        };
        match client.unsent.take() {
            Some(statement) => self
                .store
                .receive(self.now, client.session, statement, pace),
            None => self.store.proceed(self.now, client.session, pace),
        }
    }

    /// Takes note of what statements came to.
    fn hear(&mut self) {
        while let Some(news) = self.store.next_news() {
            let Turn::Ended { reply, .. } = news.what else {
                continue;
            };
            if let Some(at) = self.orphans.iter().position(|id| *id == news.session) {
                self.orphans.remove(at);
                self.store.close(news.session);
                continue;
            }
            let node = (0..NODES).find(|node| {
                self.nodes[*node]
                    .as_ref()
                    .is_some_and(|client| client.session == news.session)
            });
            if let Some(node) = node {
                self.replied(node, reply);
            }
        }
    }

    fn replied(&mut self, node: usize, reply: Result<Answer, SqlError>) {
        let Some(mut client) = self.nodes[node].take() else {
            return;
        };
        let mut step = if client.is_stranger() {
            let text = stranger(&reply);
            self.ended.insert(node, text);
            self.store.close(client.session);
            return;
        } else if client.how == How::AnswerLost {
            client.program.lost()
        } else {
            client.program.replied(reply)
        };
        loop {
            step = match step {
                // Nobody has slept for long enough.
                Next::EndSleepers => client.program.swept(Some(0)),
                Next::Send(statement) => {
                    if self.store.standing(client.session) == Standing::Gone
                        && let Ok(session) = self.store.open()
                    {
                        client.session = session;
                    }
                    (client.unsent, client.how) = (Some(statement), How::Whole);
                    self.nodes[node] = Some(client);
                    return;
                }
                Next::Finish(_) => break,
            };
        }
        self.ended.insert(node, outcome(step));
        self.store.close(client.session);
    }

    #[expect(
        clippy::too_many_lines,
        reason = "one arm for each operation, and no decision"
    )]
    fn statement(&self, node: usize, op: &Op) -> Statement {
        let incarnation = terms::node(node);
        match op {
            Op::TakeLease {
                above,
                own,
                force,
                long,
            } => Statement::TakeLease(TakeLease {
                ask: AskId(1),
                incarnation,
                above: Generation(*above),
                own: own.map(Generation),
                force: *force,
                ttl: terms::ttl(*long),
            }),
            Op::ReadLease => Statement::ReadLease { ask: AskId(1) },
            Op::RenewLease { generation, long } => Statement::RenewLease(RenewLease {
                ask: AskId(1),
                incarnation,
                generation: Generation(*generation),
                ttl: terms::ttl(*long),
            }),
            Op::ResignLease { generation } => Statement::ResignLease {
                incarnation,
                generation: Generation(*generation),
            },
            Op::Persist(words) => Statement::Persist(Arc::new(terms::batch(words))),
            Op::ReadFence => Statement::ReadFence {
                generation: Generation(0),
            },
            Op::Snapshot { limit } => Statement::Snapshot {
                generation: Generation(0),
                limit: *limit,
            },
            Op::Load { what, limit } => Statement::Load {
                load: LoadId(1),
                what: terms::load(what),
                limit: *limit,
            },
            Op::Reasons(reasons) => Statement::PendingReasons(
                reasons
                    .iter()
                    .map(|(id, attempt, why)| {
                        (terms::workload(*id), Attempt(*attempt), terms::reason(*why))
                    })
                    .collect(),
            ),
            Op::Heartbeats(heard) => Statement::Heartbeats(
                heard
                    .iter()
                    .map(|it| (terms::worker(it.0), terms::start(*it), Duration::ZERO))
                    .collect(),
            ),
            Op::Content {
                workload,
                attempt,
                worker,
                checkpoint,
                bad,
            } => Statement::Content(ContentWrite {
                workload: terms::workload(*workload),
                attempt: Attempt(*attempt),
                incarnation: terms::start(*worker),
                checkpoint: *checkpoint,
                is_bad: *bad,
            }),
            Op::Submit {
                customer,
                workload,
                key,
                priority,
            } => Statement::Submit(Arc::new(submission(*customer, *workload, *key, *priority))),
            Op::Wish {
                customer,
                workload,
                desired,
                upon,
            } => Statement::Wish(Wish {
                customer: terms::customer(*customer),
                workload: terms::workload(*workload),
                desired: word(desired),
                upon: WishRevision(*upon),
            }),
            Op::WishWorker {
                worker,
                desired,
                upon: (start, revision),
                deadline,
            } => Statement::WishWorker(WishWorker {
                worker: terms::worker(*worker),
                desired: word(desired),
                upon: Some((terms::start((*worker, *start)), WishRevision(*revision))),
                deadline: deadline.then_some(Duration::from_secs(60)),
            }),
            Op::Get { customer, workload } => Statement::Get {
                customer: terms::customer(*customer),
                workload: terms::workload(*workload),
            },
            Op::Hold(rows) => {
                let there = rows.iter().filter_map(|row| self.row(*row));
                Statement::Hold(there.collect())
            }
        }
    }

    /// The row that a stranger locks, if it is there.
    fn row(&self, held: Held) -> Option<RowKey> {
        match held {
            Held::Lease => Some(RowKey::Lease),
            Held::Fence => Some(RowKey::Fence),
            Held::Workload(id) => {
                let id = terms::workload(id);
                self.store.workload(id).map(|_| RowKey::Workload(id))
            }
            Held::Worker(id) => {
                let id = terms::worker(id);
                self.store.worker(&id).map(|_| RowKey::Worker(id.clone()))
            }
            Held::WorkerWish(id) => {
                let id = terms::worker(id);
                let mut wishes = self.store.worker_wishes();
                let is_there = wishes.any(|(worker, _)| *worker == id);
                is_there.then_some(RowKey::WorkerWish(id))
            }
            Held::Submitted(id) => Some(RowKey::Submitted(terms::customer(id))),
            Held::Moved(id) => Some(RowKey::Moved(terms::customer(id))),
            Held::AdminAudit => Some(RowKey::AdminAudit),
        }
    }
}

impl Client {
    fn is_stranger(&self) -> bool {
        matches!(**self.program.asked(), Statement::Hold(_))
    }
}

const PARKED: [Standing; 2] = [Standing::BeforeCommit, Standing::NoSync];
const CUTTABLE: [Standing; 3] = [Standing::BeforeCommit, Standing::NoSync, Standing::Waiting];

fn submission(customer: u8, workload: u8, key: Option<u8>, priority: u16) -> Submission {
    let row = WorkloadRow {
        id: terms::workload(workload),
        customer: terms::customer(customer),
        workload_type: terms::kind(),
        affinity: Arc::new(AffinityRules::default()),
        class: CLASS,
        priority,
        max_retries: MAX_RETRIES,
        timeout: Duration::from_secs(TIMEOUT_SECONDS.into()),
        on_lease_loss: OnLeaseLoss::Stop,
        run_after: None,
        desired: Desired::Run,
        wish_revision: WishRevision::ZERO,
        leader: LeaderHalf {
            status: Status::Pending,
            attempt: Attempt::ZERO,
            worker: None,
            retry_count: 0,
            loss_count: 0,
            eligible_at: WallTime(0),
            sort_key: 0,
            backoff_until: None,
            wish_seen: WishRevision::ZERO,
            stopping: None,
            error_type: None,
        },
        checkpoint: None,
        started_at: None,
    };
    Submission {
        row,
        key: key.map(u64::from),
    }
}

fn stranger(reply: &Result<Answer, SqlError>) -> String {
    String::from(match reply {
        Ok(_) => "released",
        Err(SqlError::Deadlock) => "deadlock",
        Err(SqlError::StatementTimeout) => "cancelled",
        Err(_) => "cut",
    })
}

fn outcome(step: Next) -> String {
    match step {
        Next::Finish(Ok(answer)) => told(&answer),
        Next::Finish(Err(Failure::Unavailable)) => String::from("unavailable"),
        Next::Finish(Err(Failure::LockTimeout)) => String::from("lock timeout"),
        Next::Finish(Err(Failure::Unknown)) => String::from("unknown"),
        Next::Finish(Err(Failure::Refused)) => String::from("refused"),
        Next::Send(_) | Next::EndSleepers => String::from("goes on"),
    }
}

fn told(answer: &Answer) -> String {
    match answer {
        Answer::Taken { generation, .. } => format!("taken {generation}"),
        Answer::LeaseRow { row, .. } => format!("lease {}", terms::lease_row(row)),
        Answer::Renewed { matched, .. } => format!("renewed {matched}"),
        Answer::Resigned { .. } | Answer::Done => String::from("done"),
        Answer::Snapshot { snapshot, .. } => terms::told(snapshot),
        Answer::Persist { outcome, .. } => format!("{outcome:?}"),
        Answer::Fence { row, .. } => terms::told(row),
        Answer::Loaded { rows, .. } => terms::told(rows),
        Answer::Content(Content::Stored) => String::from("stored"),
        Answer::Content(Content::NotOpen) => String::from("not open"),
        Answer::Content(Content::Refused) => String::from("content refused"),
        Answer::Submitted(SubmitAnswer::There(id)) => format!("there {}", id.0),
        Answer::Submitted(SubmitAnswer::QueueFull) => String::from("queue full"),
        Answer::Wished(WishAnswer::Recorded { version, .. }) => format!("recorded {version}"),
        Answer::Wished(WishAnswer::Conflict) => String::from("conflict"),
        Answer::Wished(WishAnswer::NotFound) => String::from("not found"),
        Answer::Wished(WishAnswer::Overtaken)
        | Answer::WorkerWished(WorkerWishAnswer::Overtaken { .. }) => String::from("overtaken"),
        Answer::WorkerWished(WorkerWishAnswer::Written) => String::from("written"),
        Answer::WorkerWished(WorkerWishAnswer::NotFound) => String::from("no worker"),
        Answer::Got(row) => terms::told(row),
        Answer::NotTaken { .. }
        | Answer::Content(Content::Absent)
        | Answer::Created(_)
        | Answer::WhyNot { .. }
        | Answer::WishWritten(_)
        | Answer::Looked(_) => format!("half an answer: {answer:?}"),
        Answer::Assignment(_) | Answer::Listed(_) | Answer::LimitsChanged => {
            format!("no script asks for it: {answer:?}")
        }
    }
}
