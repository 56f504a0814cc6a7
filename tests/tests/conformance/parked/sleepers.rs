//! Who sleeps in the middle of something, on its connection, and that it keeps nobody from working.

use super::bench::{Bench, Clock, Party, end};
use super::ways::{Verdict, check, find_out, takes};
use super::words::{Content, batch, batch_words, take, wish};
use crate::line::{Fate, Point};
use crate::terms;
use sim::conformance::{LoadWords, Op};
use std::fmt;

/// One sleeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sleeper {
    who: Who,
    point: Point,
}

/// What it was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    LeaderCommits,
    LeaderRenews,
    LeaderResigns,
    LeaderNotesHeartbeats,
    LeaderNotesReasons,
    LeaderStoresContent,
    LeaderLoads,
    CandidateTakes,
    CandidateReads,
    ApiSubmits,
    ApiWishes,
    ApiWishesOfWorker,
    ApiReads,
    /// An answer that does not fit on the way, of a statement that writes.
    ApiWishesMuch,
}

impl fmt::Display for Sleeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} / {:?}", self.who, self.point)
    }
}

/// All of them.
pub(super) fn sleepers() -> Vec<Sleeper> {
    let all = [
        Who::LeaderCommits,
        Who::LeaderRenews,
        Who::LeaderResigns,
        Who::LeaderNotesHeartbeats,
        Who::LeaderNotesReasons,
        Who::LeaderStoresContent,
        Who::LeaderLoads,
        Who::CandidateTakes,
        Who::CandidateReads,
        Who::ApiSubmits,
        Who::ApiWishes,
        Who::ApiWishesOfWorker,
        Who::ApiReads,
    ];
    let points = [
        Point::InBind,
        Point::BeforeExecute,
        Point::InExecute,
        Point::BeforeSync,
        Point::InSync,
        Point::InAnswer,
    ];
    let of_all = all
        .iter()
        .flat_map(|&who| points.map(|point| Sleeper { who, point }));
    let much = Sleeper {
        who: Who::ApiWishesMuch,
        point: Point::InAnswer,
    };
    of_all.chain([much]).collect()
}

impl Who {
    /// Whose connection it is.
    const fn number(self) -> usize {
        match self {
            Self::LeaderCommits
            | Self::LeaderRenews
            | Self::LeaderResigns
            | Self::LeaderNotesHeartbeats
            | Self::LeaderNotesReasons
            | Self::LeaderStoresContent
            | Self::LeaderLoads => 0,
            Self::CandidateTakes | Self::CandidateReads => 3,
            Self::ApiSubmits
            | Self::ApiWishes
            | Self::ApiWishesOfWorker
            | Self::ApiReads
            | Self::ApiWishesMuch => 2,
        }
    }

    fn op(self) -> Op {
        match self {
            Self::LeaderCommits => {
                let mut second = batch_words(0, 1, 1, Content::Counts);
                second.number = 2;
                Op::Persist(second)
            }
            Self::LeaderRenews => Op::RenewLease {
                generation: 1,
                long: false,
            },
            Self::LeaderResigns => Op::ResignLease { generation: 1 },
            Self::LeaderNotesHeartbeats => Op::Heartbeats(vec![(1, 1)]),
            Self::LeaderNotesReasons => Op::Reasons(vec![(2, 0, 1)]),
            Self::LeaderStoresContent => Op::Content {
                workload: 1,
                attempt: 1,
                worker: (1, 1),
                checkpoint: Some(1),
                bad: false,
            },
            Self::LeaderLoads => Op::Load {
                what: LoadWords::Workloads(vec![1, 2]),
                limit: 10,
            },
            Self::CandidateTakes => take(None, false),
            Self::CandidateReads => Op::ReadLease,
            Self::ApiSubmits => Op::Submit {
                customer: 1,
                workload: 3,
                key: Some(1),
                priority: 0,
            },
            Self::ApiWishes | Self::ApiWishesMuch => wish(1, "pause"),
            Self::ApiWishesOfWorker => wish_worker("drain"),
            Self::ApiReads => Op::Get {
                customer: 1,
                workload: 1,
            },
        }
    }

    /// Whether it has rows that others need, once it is executed.
    const fn writes(self) -> bool {
        !matches!(
            self,
            Self::LeaderLoads | Self::CandidateReads | Self::ApiReads
        )
    }
}

fn wish_worker(desired: &str) -> Op {
    Op::WishWorker {
        worker: 1,
        desired: desired.to_owned(),
        upon: (1, 0),
        deadline: false,
    }
}

impl Sleeper {
    /// Whether rows that others need are held until somebody ends it.
    pub(super) const fn holds(self) -> bool {
        match self.point {
            Point::BeforeSync | Point::InSync => self.who.writes(),
            Point::InAnswer => matches!(self.who, Who::ApiWishesMuch),
            Point::BeforeBind | Point::InBind | Point::BeforeExecute | Point::InExecute => false,
        }
    }

    pub(super) async fn run(self, bench: &mut Bench) -> Result<(), String> {
        let leader = bench.party(0, Clock::Goes).await;
        let next = bench.party(1, Clock::Goes).await;
        let api = bench.party(4, Clock::Goes).await;
        let sleeper = bench.party(self.who.number(), Clock::Stands).await;
        begin(bench, self.who, &leader).await?;
        let op = self.who.op();
        let held = sleeper.begin(Fate::Stops(self.point), &op).await;
        if self.holds() && self.point != Point::InAnswer {
            bench.has_executed(self.who.number()).await;
        }
        everybody_works(bench, &leader, &api).await?;
        takes(bench, &next).await?;
        let done = bench.ledger().await;
        sleeper.let_go().await;
        end(held).await?;
        self.judge(bench, &next, &done).await
    }

    async fn judge(
        self,
        bench: &mut Bench,
        next: &Party,
        done: &super::bench::Ledger,
    ) -> Result<(), String> {
        let after = bench.ledger().await;
        check(
            after.first == done.first && after.second == done.second,
            || format!("woken up, it changed {done:?} to {after:?}"),
        )?;
        check(after.audit.is_empty(), || {
            format!("audit: {:?}", after.audit)
        })?;
        let lease = next
            .store
            .read_lease()
            .await
            .map_err(|it| format!("{it:?}"))?
            .value;
        check(
            lease.incarnation == terms::node(1) && !lease.resigned,
            || format!("woken up, it changed the lease to {lease:?}"),
        )
    }
}

/// A leader with its first batch: the first customer's workload runs on the first worker.
async fn begin(bench: &mut Bench, who: Who, leader: &Party) -> Result<(), String> {
    bench.begin(0, false).await?;
    let first = batch(0, 1, 1, Content::Moves);
    let outcome = bench.insist(leader, &first).await?;
    find_out(bench, leader, &first, outcome).await?;
    if who == Who::ApiWishesMuch {
        // More than any socket holds.
        sqlx::query(
            "update workload_payloads set input_params = json_build_object('much', repeat('x', $1))",
        )
        .bind(12 << 20)
        .execute(&mut bench.watch)
        .await
        .unwrap();
    }
    Ok(())
}

/// The leader, and API nodes, do all that they do, to the same rows.
async fn everybody_works(bench: &mut Bench, leader: &Party, api: &Party) -> Result<(), String> {
    let renew = Op::RenewLease {
        generation: 1,
        long: false,
    };
    // A lease that was given up meanwhile is not renewed; but there is an answer.
    bench.insist(leader, &renew).await?;
    let mut second = batch_words(0, 1, 1, Content::Counts);
    second.number = 2;
    let second = Op::Persist(second);
    let outcome = bench.insist(leader, &second).await?;
    let verdict = find_out(bench, leader, &second, outcome).await?;
    let fence = leader
        .store
        .read_fence()
        .await
        .map_err(|it| format!("{it:?}"))?;
    let leads = fence.generation.0 == 1;
    check((verdict == Verdict::Applied) == leads, || {
        format!("the leader finds {verdict:?}")
    })?;
    let landed = bench.ledger().await.first;
    check(landed == if leads { 2 } else { 1 }, || {
        format!("two batches, and they have landed {landed} times")
    })?;
    let another = Op::Submit {
        customer: 1,
        workload: 4,
        key: Some(1),
        priority: 0,
    };
    bench.insist(api, &another).await?;
    bench.insist(api, &wish(1, "cancel")).await?;
    bench.insist(api, &wish(2, "cancel")).await?;
    bench.insist(api, &wish_worker("run")).await?;
    let get = Op::Get {
        customer: 1,
        workload: 1,
    };
    bench.insist(api, &get).await.map(drop)
}
