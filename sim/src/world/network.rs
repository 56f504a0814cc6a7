//! What chance does to statements and their answers on the way, and inside the database.

use super::{World, operations::Purpose};
use crate::{
    decision::{Choice, Occasion, Point, Rng, StatementKind, Values, Who},
    model::store::{Pace, Statement},
    plan::Rates,
};
use niyanta_core::time::Duration;

/// What becomes of a statement, in the order of [`Choice::StatementFate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It arrives, and its answer does.
    Answered,
    /// It never arrives, and nobody is told.
    Lost,
    /// The database takes no connection for it.
    NotSent,
    /// It arrives, and its answer does not.
    AnswerLost,
    /// It arrives when it has been given up, or nearly.
    Orphaned,
    /// It never arrives; its sender learns that the connection broke.
    Breaks,
    /// It arrives; in place of its answer its sender learns that the connection broke.
    AnswerBreaks,
}

impl Fate {
    const ALL: [Self; 7] = [
        Self::Answered,
        Self::Lost,
        Self::NotSent,
        Self::AnswerLost,
        Self::Orphaned,
        Self::Breaks,
        Self::AnswerBreaks,
    ];

    /// Its name in schedule files.
    pub(super) fn name(self) -> &'static str {
        let Values::Names(names) = Choice::StatementFate.values() else {
            unreachable!("a fate has a name")
        };
        names.get(self as usize).copied().unwrap_or("?")
    }

    fn at(index: u32) -> Self {
        let index = usize::try_from(index).unwrap_or(0);
        Self::ALL.get(index).copied().unwrap_or(Self::Answered)
    }
}

impl Rates {
    fn draw_fate(&self, rng: &mut Rng) -> Fate {
        if rng.per_mille(self.not_executed) {
            return match rng.below(3) {
                0 => Fate::Lost,
                1 => Fate::NotSent,
                _ => Fate::Breaks,
            };
        }
        if rng.per_mille(self.answer_lost) {
            return if rng.per_mille(500) {
                Fate::AnswerLost
            } else {
                Fate::AnswerBreaks
            };
        }
        if rng.per_mille(self.orphaned) {
            return Fate::Orphaned;
        }
        Fate::Answered
    }

    fn draw_course(&self, rng: &mut Rng, writes: bool) -> u32 {
        if rng.per_mille(self.halting) {
            return u32::try_from(rng.between(1, 4)).unwrap_or(1);
        }
        if writes && rng.per_mille(self.torn) {
            return if rng.per_mille(600) {
                END_COMES_LATE
            } else {
                END_NEVER_COMES
            };
        }
        0
    }
}

/// How a statement is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Course {
    /// How far it goes at first.
    pub(super) pace: Pace,
    /// When it goes on; nothing when the end of its message never comes.
    pub(super) pause: Option<Duration>,
}

impl World {
    /// Names what is chosen for a statement that is sent now.
    pub(super) fn point_of(
        &mut self,
        place: usize,
        statement: &Statement,
        purpose: &Purpose,
    ) -> Point {
        let who = Who::statement(place, kind(statement, purpose));
        self.decider.occasion(Occasion::Statement, who)
    }

    /// What becomes of a statement on its way to the database, and how long that takes.
    pub(super) fn fate_of(&mut self, point: Point, place: usize) -> (Fate, Duration) {
        let rates = self.plan.rates;
        let (is_cut, is_healed) = (self.store_cuts[place][0] > 0, self.is_healed);
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
                rates.draw_fate(rng)
            };
            fate as u32
        });
        let fate = Fate::at(fate);
        let choice = Choice::StatementDelay;
        let delay = self.decider.delay(point, choice, SHORTEST, |rng| {
            let millis = Duration::from_millis;
            let slow = !is_healed && rng.per_mille(rates.slow_statement);
            let (low, high) = if fate == Fate::Orphaned {
                (millis(50), millis(9_000))
            } else if fate == Fate::Breaks {
                (millis(1), millis(30))
            } else if slow {
                (millis(20), millis(1_500))
            } else {
                (SHORTEST, millis(2))
            };
            rng.duration(low, high)
        });
        (fate, delay)
    }

    /// How the database executes a statement that it has received.
    pub(super) fn course_of(&mut self, point: Point, statement: &Statement) -> Course {
        let rates = self.plan.rates;
        let is_quiet = self.is_healed || (rates.halting == 0 && rates.torn == 0);
        let writes = statement.writes();
        let choice = Choice::StatementCourse;
        let course = self.decider.pick(point, choice, |rng| {
            if is_quiet {
                0
            } else {
                rates.draw_course(rng, writes)
            }
        });
        if course == 0 {
            return Course {
                pace: Pace::Whole,
                pause: None,
            };
        }
        let pace = match course {
            END_COMES_LATE | END_NEVER_COMES => Pace::NoSync,
            HALTS_BEFORE_COMMIT => Pace::BeforeCommit,
            rows => Pace::After(rows),
        };
        let longest = if pace == Pace::NoSync {
            Duration::from_secs(6)
        } else {
            Duration::from_millis(900)
        };
        let choice = Choice::CourseDelay;
        let pause = self
            .decider
            .delay_up_to(point, choice, Duration::from_micros(50), longest);
        Course {
            pace,
            pause: (course != END_NEVER_COMES).then_some(pause),
        }
    }

    /// How long an answer takes.
    pub(super) fn answer_delay(&mut self, point: Point) -> Duration {
        let (shortest, longest) = (Duration::from_micros(100), Duration::from_millis(1));
        // Fewer answers than statements are slow: what is written is written.
        let slow = if self.is_healed {
            0
        } else {
            self.plan.rates.slow_statement / 4
        };
        self.decider
            .delay(point, Choice::AnswerDelay, shortest, |rng| {
                let longest = if slow > 0 && rng.per_mille(slow) {
                    ANSWER_SLOWEST
                } else {
                    longest
                };
                rng.duration(shortest, longest)
            })
    }

    /// Whether a statement that is under way when its sender is stopped lacks its end.
    pub(super) fn is_torn_by_pause(&mut self, point: Point) -> bool {
        let choice = Choice::StatementEnd;
        self.decider
            .pick(point, choice, |rng| u32::from(rng.per_mille(TORN_BY_PAUSE)))
            > 0
    }
}

/// Beyond the shortest leader's lease.
const ANSWER_SLOWEST: Duration = Duration::from_millis(2_500);

/// What kind of statement it is, for naming what is chosen for it.
const fn kind(statement: &Statement, purpose: &Purpose) -> StatementKind {
    if matches!(purpose, Purpose::Call(_)) {
        return StatementKind::Api;
    }
    match statement {
        Statement::TakeLease(_)
        | Statement::ReadLease { .. }
        | Statement::RenewLease(_)
        | Statement::ResignLease { .. } => StatementKind::Lease,
        Statement::Snapshot { .. } | Statement::Load { .. } => StatementKind::Read,
        Statement::Persist(_) => StatementKind::Batch,
        Statement::ReadFence { .. } => StatementKind::Fence,
        Statement::Content(_) => StatementKind::Content,
        Statement::PendingReasons(_) | Statement::Heartbeats(_) | Statement::Logs => {
            StatementKind::Beside
        }
        Statement::Assignment(_) => StatementKind::Assignment,
        Statement::Submit(_)
        | Statement::Wish(_)
        | Statement::WishWorker(_)
        | Statement::Get { .. }
        | Statement::List { .. }
        | Statement::ChangeLimits { .. }
        | Statement::WhyNot(_)
        | Statement::Look { .. }
        | Statement::Hold(_) => StatementKind::Api,
    }
}

/// Alternatives of [`Choice::StatementCourse`]; those below stop at so many rows.
const HALTS_BEFORE_COMMIT: u32 = 4;
const END_COMES_LATE: u32 = 5;
const END_NEVER_COMES: u32 = 6;
/// Of a thousand statements under way when their process is stopped, so many lack their end.
const TORN_BY_PAUSE: u64 = 400;
/// No statement is faster.
const SHORTEST: Duration = Duration::from_micros(150);
