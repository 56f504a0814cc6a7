//! How a commit is held back, how somebody else takes over, and what must be true whichever meet.

use super::bench::{Bench, Clock, Party, end};
use super::words::{Content, batch, take, wish};
use crate::line::{Fate, Point};
use crate::terms;
use runtime::store::Store;
use sim::conformance::Op;
use std::fmt;
use tests::until;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// One cell of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    way: Way,
    takeover: Takeover,
    course: Course,
}

/// What holds the commit of the first leader back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It, or its answer, stops on its way.
    Stops(Point),
    /// Its answer is lost, and its connection.
    AnswerLost,
    /// It has the fence, and waits for a row that a sleeping API node holds.
    WaitsForRow,
    /// The same, and its client has lost the connection; the server does not know.
    Orphaned,
}

/// How another coordinator comes to lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takeover {
    /// The lease has ended.
    Expiry,
    /// The leader has given it up.
    Resignation,
    /// The lease has ended, and all sessions of the leader have been ended on the server.
    SessionKill,
}

/// What comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    /// The leader is stopped. After the takeover and what its successor commits, it goes on.
    Stopped,
    /// The network is slow. After the takeover the leader gives the statement up and finds out;
    /// the statement arrives after all of that.
    Late,
    /// The leader gives it up and finds out before the takeover; it arrives after.
    GivenUp,
    /// The leader gives it up and finds out; it arrives; then comes the takeover.
    Overtaken,
}

/// What the leader finds out about its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is committed.
    Applied,
    /// It leads no more.
    Over(String),
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.way {
            Way::Stops(point) => write!(f, "{point:?}")?,
            way @ (Way::AnswerLost | Way::WaitsForRow | Way::Orphaned) => write!(f, "{way:?}")?,
        }
        write!(f, " / {:?} / {:?}", self.takeover, self.course)
    }
}

/// All of them.
pub(super) fn cells() -> Vec<Cell> {
    let points = [
        Point::BeforeBind,
        Point::InBind,
        Point::BeforeExecute,
        Point::InExecute,
        Point::BeforeSync,
        Point::InSync,
        Point::InAnswer,
    ];
    let all = [
        Course::Stopped,
        Course::Late,
        Course::GivenUp,
        Course::Overtaken,
    ];
    let mut cells = Vec::new();
    let mut add = |way, courses: &[Course]| {
        for takeover in [
            Takeover::Expiry,
            Takeover::Resignation,
            Takeover::SessionKill,
        ] {
            cells.extend(courses.iter().map(|&course| Cell {
                way,
                takeover,
                course,
            }));
        }
    };
    for point in points {
        add(Way::Stops(point), &all);
    }
    add(Way::AnswerLost, &[Course::Late, Course::GivenUp]);
    add(Way::WaitsForRow, &[Course::Stopped]);
    add(Way::Orphaned, &[Course::Late, Course::GivenUp]);
    cells
}

impl Cell {
    /// Whether the batch is to have landed when the other has taken over.
    fn lands_before(self) -> bool {
        match self.course {
            Course::GivenUp | Course::Overtaken => true,
            Course::Stopped | Course::Late => {
                matches!(self.way, Way::AnswerLost | Way::Stops(Point::InAnswer))
            }
        }
    }

    /// What lands a second time is seen only if it fits a second time; and what waits for a
    /// workload's row moves that workload.
    fn content(self) -> Content {
        let waits = matches!(self.way, Way::WaitsForRow | Way::Orphaned);
        if self.lands_before() && !waits {
            Content::Counts
        } else {
            Content::Moves
        }
    }

    const fn fate(self) -> Fate {
        match self.way {
            Way::Stops(point) => Fate::Stops(point),
            Way::AnswerLost => Fate::AnswerLost,
            Way::WaitsForRow | Way::Orphaned => Fate::Whole,
        }
    }

    pub(super) async fn run(self, bench: &mut Bench) -> Result<(), String> {
        let clock = match self.course {
            Course::Stopped => Clock::Stands,
            Course::Late | Course::GivenUp | Course::Overtaken => Clock::Goes,
        };
        let leader = bench.party(0, clock).await;
        let api = bench.party(2, Clock::Stands).await;
        let next = bench.party(1, Clock::Goes).await;
        bench
            .begin(0, self.takeover == Takeover::Resignation)
            .await?;
        let commit = batch(0, 1, 1, self.content());
        let (held, sleeper) = self.hold(bench, &leader, &api, &commit).await;
        let mut outcome = Held::Still(held);
        if matches!(self.course, Course::GivenUp | Course::Overtaken) {
            let verdict = outcome.find_out(bench, &leader, &commit).await?;
            is(&verdict, &Verdict::Applied)?;
        }
        if self.course == Course::Overtaken {
            leader.let_go().await;
        }
        let generation = self.take_over(bench, &leader, &next).await?;
        let before = bench.ledger().await;
        check(before.first == i64::from(self.lands_before()), || {
            format!("at the takeover it has landed {} times", before.first)
        })?;
        sees(next.store.as_ref(), before.first == 1).await?;
        let work = batch(1, generation, 2, Content::Moves);
        let answer = bench.insist(&next, &work).await?;
        let verdict = find_out(bench, &next, &work, answer).await?;
        is(&verdict, &Verdict::Applied)?;

        if self.course == Course::Late {
            let verdict = outcome.find_out(bench, &leader, &commit).await?;
            check(verdict != Verdict::Applied, || {
                "the leader of old believes it leads".into()
            })?;
        }
        leader.let_go().await;
        if let Course::Stopped = self.course {
            let verdict = outcome.find_out(bench, &leader, &commit).await?;
            let has_heard = self.way == Way::Stops(Point::InAnswer);
            check((verdict == Verdict::Applied) == has_heard, || {
                format!("woken up, the leader finds {verdict:?}")
            })?;
        }
        if let Some(sleeper) = sleeper {
            api.let_go().await;
            end(sleeper).await?;
        }
        self.judge(bench, &before).await
    }

    /// Lets the leader send its commit, up to where it is held back.
    async fn hold(
        self,
        bench: &mut Bench,
        leader: &Party,
        api: &Party,
        commit: &Op,
    ) -> (JoinHandle<String>, Option<JoinHandle<String>>) {
        let waits = matches!(self.way, Way::WaitsForRow | Way::Orphaned);
        let mut sleeper = None;
        if waits {
            let pause = wish(1, "pause");
            sleeper = Some(api.begin(Fate::Stops(Point::BeforeSync), &pause).await);
            bench.has_executed(2).await;
        }
        let held = leader.begin(self.fate(), commit).await;
        if waits {
            bench.waits_for_lock(0).await;
        }
        if self.way == Way::Orphaned {
            leader.line.abandon();
        }
        if matches!(self.way, Way::Stops(Point::BeforeSync | Point::InSync)) {
            bench.has_executed(0).await;
        }
        if self.way == Way::AnswerLost {
            let what = "the commit whose answer is lost";
            until(what, bench.within(), async || {
                held.is_finished().then_some(())
            })
            .await;
        }
        (held, sleeper)
    }

    async fn take_over(
        self,
        bench: &mut Bench,
        leader: &Party,
        next: &Party,
    ) -> Result<u64, String> {
        match self.takeover {
            Takeover::Expiry => {}
            Takeover::Resignation => {
                let resign = Op::ResignLease { generation: 1 };
                bench.must(leader, &resign, "done").await?;
            }
            Takeover::SessionKill => bench.end_sessions("niyanta/n0").await,
        }
        takes(bench, next).await
    }

    async fn judge(self, bench: &mut Bench, before: &super::bench::Ledger) -> Result<(), String> {
        let after = bench.ledger().await;
        check(after.first == before.first, || {
            format!(
                "a stale commit landed: {} times, then {}",
                before.first, after.first
            )
        })?;
        check(after.second == 1, || {
            format!("the successor's batch has landed {} times", after.second)
        })?;
        check(after.audit.is_empty(), || {
            format!("audit: {:?}", after.audit)
        })
    }
}

/// What becomes of what was held back.
enum Held {
    Still(JoinHandle<String>),
    Known(Verdict),
}

impl Held {
    /// Waits for the answer or for what stands for it, and does what the driver does then.
    async fn find_out(
        &mut self,
        bench: &Bench,
        leader: &Party,
        commit: &Op,
    ) -> Result<Verdict, String> {
        let was = std::mem::replace(self, Self::Known(Verdict::Over(String::from("unasked"))));
        let verdict = match was {
            Self::Known(verdict) => verdict,
            Self::Still(work) => {
                let outcome = end(work).await?;
                find_out(bench, leader, commit, outcome).await?
            }
        };
        *self = Self::Known(verdict.clone());
        Ok(verdict)
    }
}

/// What a leader does after the answer to a commit, or for want of one: it sends the very same
/// again, and asks the fence only when that changed nothing.
pub(super) async fn find_out(
    bench: &Bench,
    leader: &Party,
    commit: &Op,
    mut outcome: String,
) -> Result<Verdict, String> {
    let Op::Persist(words) = commit else {
        return Err(format!("{commit:?} is no batch"));
    };
    let began = Instant::now();
    loop {
        match outcome.as_str() {
            "Applied" => return Ok(Verdict::Applied),
            "NotApplied" => {
                let fence = leader
                    .store
                    .read_fence()
                    .await
                    .map_err(|it| format!("{it:?}"))?;
                let is_mine = fence.generation.0 == words.generation
                    && fence.incarnation == terms::node(words.node)
                    && fence.applied.0 == words.number;
                let over = || Verdict::Over(format!("{fence:?}"));
                return Ok(if is_mine { Verdict::Applied } else { over() });
            }
            "lock timeout" | "unavailable" | "unknown" => {
                check(began.elapsed() < bench.within(), || {
                    format!("the leader cannot find out: {outcome}")
                })?;
                outcome = leader.ask(commit).await;
            }
            other => return Ok(Verdict::Over(other.to_owned())),
        }
    }
}

/// Takes the lease over, with what it asks for again and again, and says which term.
pub(super) async fn takes(bench: &Bench, next: &Party) -> Result<u64, String> {
    let began = Instant::now();
    let mut own = None;
    loop {
        let outcome = next.ask(&take(own, true)).await;
        let mut told = outcome.split(' ');
        match (told.next(), told.next(), told.next()) {
            (Some("taken"), Some(generation), _) => return Ok(generation.parse().unwrap()),
            // Its own, whose answer it did not get.
            (Some("lease"), Some(who), Some(generation)) if who == terms::node(1).as_str() => {
                own = Some(generation.parse().unwrap());
            }
            _ => check(began.elapsed() < bench.within(), || {
                format!("the takeover is held up: {outcome}")
            })?,
        }
    }
}

/// Whether the state that a term begins with shows the first leader's batch, as it should.
pub(super) async fn sees(store: &dyn Store, should: bool) -> Result<(), String> {
    let snapshot = store.snapshot(100).await.map_err(|it| format!("{it:?}"))?;
    let worker = terms::worker(1);
    let seen = snapshot
        .value
        .workers
        .iter()
        .any(|row| row.record.worker == worker);
    check(seen == should, || {
        format!("the new leader sees the old one's batch: {seen}")
    })
}

fn is(found: &Verdict, wanted: &Verdict) -> Result<(), String> {
    check(found == wanted, || {
        format!("the leader finds {found:?}, not {wanted:?}")
    })
}

pub(super) fn check(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}
