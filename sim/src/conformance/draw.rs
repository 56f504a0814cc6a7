//! Scripts drawn from a seed.
//!
//! A script is drawn while it runs on the model, so that most of what it asks for fits what is
//! there: a leader with its next batch, the state a workload is in. The rest is deliberately wrong:
//! stale terms, used and skipped numbers, rows in other states, values that no column holds.
//! Statements are held back, lost and left behind so often that others wait for them.

use super::{
    compare::Turns,
    model::Run,
    script::{
        BatchWords, CUSTOMERS, CounterWords, Held, How, LoadWords, MoveWords, NODES, Op, Script,
        Step, WORKERS, WORKLOADS, WorkerWords,
    },
    terms,
};
use crate::{
    decision::{Rng, Streams},
    model::store::Workload,
};
use niyanta_core::ids::Incarnation;

/// The script of this seed. `serial` ones hold nothing back and lose nothing: each step ends before
/// the next begins, on any database.
#[must_use]
pub fn draw(seed: u64, serial: bool) -> Script {
    let mut rng = Streams::new(seed).stream("conformance", u64::from(serial));
    let mut aside = Streams::new(seed).stream("conformance upon", u64::from(serial));
    let mut run = Run::new();
    let mut script = Script::default();
    for step in beginning(&mut rng) {
        run.step(&step, &mut Turns::default());
        script.steps.push(step);
    }
    let steps = rng.between(6, 24);
    let mut last = None;
    for _ in 0..steps {
        let step = Draw {
            rng: &mut rng,
            aside: &mut aside,
            run: &run,
            serial,
            last: &last,
        }
        .step();
        if let Step::Send { op, .. } = &step {
            last = Some(op.clone());
        }
        run.step(&step, &mut Turns::default());
        script.steps.push(step);
    }
    script
}

/// Most scripts begin with a leader, some workloads and a worker.
fn beginning(rng: &mut Rng) -> Vec<Step> {
    let whole = |node, op| Step::Send {
        node,
        how: How::Whole,
        op,
    };
    let mut steps = Vec::new();
    if rng.per_mille(850) {
        let take = Op::TakeLease {
            above: 0,
            own: None,
            force: false,
            long: rng.per_mille(700),
        };
        steps.push(whole(0, take));
    }
    for workload in 1..=rng.between(0, 4) {
        let submit = Op::Submit {
            customer: owner(workload),
            workload: u8::try_from(workload).unwrap_or(1),
            key: None,
            priority: 10,
        };
        steps.push(whole(1, submit));
    }
    if rng.per_mille(600) {
        let put = BatchWords {
            generation: 1,
            node: 0,
            number: 1,
            moves: Vec::new(),
            workers: vec![WorkerWords::Put {
                worker: 1,
                start: 1,
                status: String::from("HEALTHY"),
                wish_seen: 0,
                registered: true,
                bad: false,
            }],
            counters: Vec::new(),
        };
        steps.push(whole(0, Op::Persist(put)));
    }
    steps
}

/// Draws one step, given what is there.
struct Draw<'a> {
    rng: &'a mut Rng,
    /// For what wishes are made upon.
    aside: &'a mut Rng,
    run: &'a Run,
    serial: bool,
    /// What was begun last.
    last: &'a Option<Op>,
}

impl Draw<'_> {
    fn step(&mut self) -> Step {
        let node = self.below(NODES);
        if self.run.is_busy(node) {
            return match self.rng.below(10) {
                0..=4 => Step::GoOn { node },
                5..=7 => Step::Cut { node },
                8 => Step::Abandon { node },
                _ => Step::Cancel { node },
            };
        }
        let op = self.op(node);
        let how = self.how(&op);
        Step::Send { node, how, op }
    }

    fn how(&mut self, op: &Op) -> How {
        let is_write = !matches!(op, Op::Snapshot { .. } | Op::Load { .. } | Op::Get { .. });
        // What the client refuses itself is never sent.
        let is_bad = if let Op::Persist(batch) = op {
            let mut writes = batch.workers.iter();
            writes.any(|it| matches!(it, WorkerWords::Put { bad: true, .. }))
        } else {
            matches!(op, Op::Content { bad: true, .. })
        };
        if self.serial || !is_write || is_bad {
            return How::Whole;
        }
        match self.rng.below(100) {
            0..=19 => How::NoSync,
            20..=27 => How::AnswerLost,
            28..=31 => How::NeverSent,
            _ => How::Whole,
        }
    }

    fn op(&mut self, node: usize) -> Op {
        if let Some(op) = self.rival() {
            return op;
        }
        let top = if self.serial { 92 } else { 100 };
        match self.rng.below(top) {
            0..=7 => self.take_lease(node),
            8 => Op::ReadLease,
            9..=12 => Op::RenewLease {
                generation: self.generation(),
                long: self.rng.per_mille(700),
            },
            13..=14 => Op::ResignLease {
                generation: self.generation(),
            },
            15..=39 => Op::Persist(self.batch()),
            40..=41 => Op::ReadFence,
            42..=44 => Op::Snapshot {
                limit: self.limit(),
            },
            45..=50 => Op::Load {
                what: self.load(),
                limit: self.limit(),
            },
            51..=53 => self.reasons(),
            54..=55 => Op::Heartbeats(vec![(self.worker(), self.start())]),
            56..=60 => self.content(),
            61..=75 => self.submit(),
            76..=84 => self.wish(),
            85..=88 => self.wish_worker(),
            89..=91 => Op::Get {
                customer: self.customer(),
                workload: self.workload(),
            },
            _ => self.hold(),
        }
    }

    /// Now and then somebody wants what the one before wanted.
    fn rival(&mut self) -> Option<Op> {
        if !self.rng.per_mille(250) {
            return None;
        }
        let last = self.last.as_ref()?;
        if let Op::Submit { customer, key, .. } = last {
            return Some(Op::Submit {
                customer: *customer,
                workload: customer + 2 * u8::try_from(self.rng.below(3)).unwrap_or(0),
                key: *key,
                priority: 1,
            });
        }
        let Op::Wish {
            customer,
            workload,
            upon,
            ..
        } = last
        else {
            return None;
        };
        Some(Op::Wish {
            customer: *customer,
            workload: *workload,
            desired: self.one_of(&["run", "pause", "cancel"]),
            upon: *upon,
        })
    }

    fn wish(&mut self) -> Op {
        let (customer, workload) = (self.customer(), self.workload());
        let found = self.run.store().workload(terms::workload(workload));
        let revision = found.map_or(0, |found| found.row.wish_revision.0);
        Op::Wish {
            customer,
            workload,
            desired: self.one_of(&["run", "pause", "cancel"]),
            upon: self.upon(revision),
        }
    }

    fn wish_worker(&mut self) -> Op {
        let worker = self.worker();
        let found = self.run.store().worker(&terms::worker(worker));
        let row = found.map(|found| &found.row);
        let revision = row.map_or(0, |row| row.wish_revision.0);
        let start = row.and_then(|row| start_of(&row.record.incarnation));
        let start = start.filter(|_| self.aside.per_mille(900));
        Op::WishWorker {
            worker,
            desired: self.one_of(&["run", "drain", "remove"]),
            upon: (start.unwrap_or(2), self.upon(revision)),
            deadline: self.rng.per_mille(500),
        }
    }

    /// Most wishes are made upon what is there.
    fn upon(&mut self, revision: u64) -> u64 {
        match self.aside.below(20) {
            0 => revision + 1,
            1 | 2 => revision.saturating_sub(1),
            _ => revision,
        }
    }

    fn take_lease(&mut self, node: usize) -> Op {
        let row = self.run.store().lease();
        let is_own = row.incarnation == terms::node(node) && self.rng.per_mille(700);
        Op::TakeLease {
            above: if self.rng.per_mille(100) {
                row.generation.0 + self.rng.below(4)
            } else {
                0
            },
            own: is_own.then_some(row.generation.0),
            force: self.rng.per_mille(400),
            long: self.rng.per_mille(600),
        }
    }

    fn batch(&mut self) -> BatchWords {
        let fence = self.run.store().fence().clone();
        let leader = (0..NODES).find(|node| terms::node(*node) == fence.incarnation);
        let strays = self.rng.per_mille(150);
        let number = match self.rng.below(20) {
            0 => fence.applied.0,
            1 => fence.applied.0 + 2,
            _ => fence.applied.0 + 1,
        };
        let moves = self.rng.below(4);
        let workers = self.rng.below(3).saturating_sub(1);
        let counters = self.rng.below(2);
        BatchWords {
            generation: if strays && self.rng.per_mille(500) {
                fence.generation.0.saturating_sub(1)
            } else {
                fence.generation.0
            },
            node: leader
                .filter(|_| !strays)
                .unwrap_or_else(|| self.below(NODES)),
            number,
            moves: self.moves(moves),
            workers: self.worker_writes(workers),
            counters: (0..counters)
                .map(|_| CounterWords {
                    customer: self.customer(),
                    left_queue: self.rng.below(2),
                    running: 1,
                })
                .collect(),
        }
    }

    /// Each workload at most once, as the invariant of a batch has it.
    fn moves(&mut self, count: u64) -> Vec<MoveWords> {
        let mut ids: Vec<u8> = (0..count).map(|_| self.workload()).collect();
        if self.rng.per_mille(500) {
            ids.sort_unstable();
        }
        let mut moves: Vec<MoveWords> = Vec::new();
        for id in ids {
            if moves.iter().all(|it| it.workload != id) {
                moves.push(self.move_of(id));
            }
        }
        moves
    }

    fn move_of(&mut self, id: u8) -> MoveWords {
        let found = self.run.store().workload(terms::workload(id));
        let (status, attempt) = found.map_or_else(
            || (String::from("PENDING"), 0),
            |found| {
                let leader = &found.row.leader;
                (leader.status.to_string(), leader.attempt.0)
            },
        );
        let revision = found.map_or(0, |found| found.row.wish_revision.0);
        let customer = found.map_or(1, |found| u8::try_from(found.row.customer.0).unwrap_or(1));
        let from = if self.rng.per_mille(80) {
            (self.one_of(&["PENDING", "RUNNING"]), attempt)
        } else {
            (status, attempt)
        };
        let (to, kinds) = match self.rng.below(8) {
            0..=2 => ("SCHEDULED", &["workload.scheduled"][..]),
            3 => ("RUNNING", &["workload.scheduled", "workload.started"][..]),
            4 => ("COMPLETED", &["workload.completed"][..]),
            5 => ("CANCELLED", &["workload.cancelled"][..]),
            6 => (
                "PENDING",
                &["workload.redistributing", "workload.requeued"][..],
            ),
            _ => ("FAILED", &["workload.failed"][..]),
        };
        let is_held = ["SCHEDULED", "RUNNING"].contains(&to);
        let is_new = kinds.contains(&"workload.scheduled");
        MoveWords {
            workload: id,
            customer,
            from,
            to: (String::from(to), attempt + u32::from(is_new)),
            worker: is_held.then(|| (self.worker(), self.start())),
            wish_seen: revision,
            eligible: if self.rng.per_mille(200) {
                4_000_000_000
            } else {
                i64::try_from(self.rng.below(1_000)).unwrap_or(0)
            },
            stopping: (is_held && self.rng.per_mille(100)).then(|| String::from("paused")),
            error: (to == "FAILED").then(|| String::from("permanent")),
            kinds: if self.rng.per_mille(50) {
                Vec::new()
            } else {
                kinds.iter().copied().map(String::from).collect()
            },
        }
    }

    fn worker_writes(&mut self, count: u64) -> Vec<WorkerWords> {
        let mut writes = Vec::new();
        for _ in 0..count {
            let worker = self.worker();
            writes.push(if self.rng.per_mille(300) {
                WorkerWords::Remove { worker }
            } else {
                WorkerWords::Put {
                    worker,
                    start: self.start(),
                    status: self.one_of(&["HEALTHY", "DRAINING", "DEAD"]),
                    wish_seen: self.rng.below(3),
                    registered: true,
                    bad: self.rng.per_mille(50),
                }
            });
        }
        writes
    }

    fn load(&mut self) -> LoadWords {
        match self.rng.below(7) {
            0 => LoadWords::Workloads(vec![self.workload(), self.workload()]),
            1 => LoadWords::Wishes,
            2 => LoadWords::Backlog(self.customer()),
            3 => LoadWords::Sweep(self.rng.per_mille(500).then(|| self.customer())),
            4 => LoadWords::Eligible(0, 5_000_000_000),
            5 => LoadWords::WorkerWishes,
            _ => LoadWords::Customers(vec![self.customer()]),
        }
    }

    fn reasons(&mut self) -> Op {
        let id = self.workload();
        let attempt = self.found(id).map_or(0, |found| found.row.leader.attempt.0);
        let why = u32::try_from(self.rng.below(3)).unwrap_or(0);
        Op::Reasons(vec![(id, attempt, why)])
    }

    fn content(&mut self) -> Op {
        let id = self.workload();
        let held = self.found(id).and_then(held_by);
        let (attempt, worker) = match held.filter(|_| self.rng.per_mille(850)) {
            Some(held) => held,
            None => (1, (self.worker(), self.start())),
        };
        let checkpoint = self.rng.per_mille(500).then(|| self.rng.below(4));
        Op::Content {
            workload: id,
            attempt,
            worker,
            checkpoint,
            bad: self.rng.per_mille(100) && checkpoint.is_none(),
        }
    }

    fn submit(&mut self) -> Op {
        let workload = self.workload();
        Op::Submit {
            customer: owner(workload.into()),
            workload,
            key: self
                .rng
                .per_mille(500)
                .then(|| u8::try_from(self.rng.between(1, 2)).unwrap_or(1)),
            priority: u16::try_from(self.rng.below(3)).unwrap_or(0),
        }
    }

    fn hold(&mut self) -> Op {
        let rows = self.rng.between(1, 2);
        Op::Hold((0..rows).map(|_| self.held()).collect())
    }

    fn held(&mut self) -> Held {
        match self.rng.below(10) {
            0 => Held::Lease,
            1..=2 => Held::Fence,
            3..=5 => Held::Workload(self.workload()),
            6 => Held::Worker(self.worker()),
            7 => Held::WorkerWish(self.worker()),
            8 => Held::Submitted(self.customer()),
            _ => self.counter_or_audit(),
        }
    }

    fn counter_or_audit(&mut self) -> Held {
        if self.rng.per_mille(700) {
            Held::Moved(self.customer())
        } else {
            Held::AdminAudit
        }
    }

    fn found(&self, id: u8) -> Option<&Workload> {
        self.run.store().workload(terms::workload(id))
    }

    fn generation(&mut self) -> u64 {
        let row = self.run.store().lease().generation.0;
        if self.rng.per_mille(200) {
            row.saturating_sub(1)
        } else {
            row
        }
    }

    /// Most of the time enough.
    fn limit(&mut self) -> u32 {
        if self.rng.per_mille(200) { 1 } else { 100 }
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.rng.below(end as u64)).unwrap_or(0)
    }

    fn customer(&mut self) -> u8 {
        u8::try_from(self.rng.between(1, CUSTOMERS.into())).unwrap_or(1)
    }

    /// The first are drawn more often, so that statements meet.
    fn workload(&mut self) -> u8 {
        let most = self.rng.between(1, WORKLOADS.into());
        u8::try_from(self.rng.between(1, most)).unwrap_or(1)
    }

    fn worker(&mut self) -> u8 {
        let most = self.rng.between(1, WORKERS.into());
        u8::try_from(self.rng.between(1, most)).unwrap_or(1)
    }

    fn start(&mut self) -> u8 {
        u8::try_from(self.rng.between(1, 2)).unwrap_or(1)
    }

    fn one_of(&mut self, words: &[&str]) -> String {
        let at = self.below(words.len());
        String::from(words[at])
    }
}

/// The customer that submits under an id. Ids are made by coordinators, and long: no two customers
/// ever have the same.
const fn owner(workload: u64) -> u8 {
    if workload % 2 == 1 { 1 } else { 2 }
}

/// The attempt of a workload, and the worker and start that hold it.
fn held_by(found: &Workload) -> Option<(u32, (u8, u8))> {
    let leader = &found.row.leader;
    let (_, incarnation) = leader.worker.as_ref()?;
    let (worker, _) = incarnation.as_str().strip_prefix('w')?.split_once('.')?;
    let held = (worker.parse().ok()?, start_of(incarnation)?);
    Some((leader.attempt.0, held))
}

/// Which start of its worker an incarnation is.
fn start_of(incarnation: &Incarnation) -> Option<u8> {
    let (_, start) = incarnation.as_str().split_once('.')?;
    start.parse().ok()
}
