//! What holds for any numbers and any order of outcomes: budgets of retries and losses, the repeat of
//! what was said, the clocks at the edges of their range, and words that read as they print.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod rig;

use niyanta_core::{
    Config, Content, Event, ReplyStatus, WorkerMessage,
    fleet::{ReportedStatus, WorkerDesired, WorkerStatus},
    ids::{Attempt, CustomerId, Incarnation, WorkerId, WorkloadId, WorkloadType},
    scheduling::SortKey,
    time::{DatabaseClock, Duration, Timestamp, WallTime},
    workload::{AuditKind, Cause, Desired, ErrorType, OnLeaseLoss, Status},
};
use proptest::prelude::*;
use rig::{SECOND, World, store::wall};
use std::{fmt::Display, str::FromStr};

/// How an attempt goes on, or ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Transient,
    Timeout,
    Permanent,
    /// Its process died, and the next one knows.
    Lost,
    /// It is stopped for a reason of ours.
    Stopped(Cause),
    /// It shows progress, and goes on.
    Checkpoint,
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => Just(End::Transient),
        2 => Just(End::Timeout),
        1 => Just(End::Permanent),
        5 => Just(End::Lost),
        1 => Just(End::Stopped(Cause::Drained)),
        1 => Just(End::Stopped(Cause::Refused)),
        1 => Just(End::Stopped(Cause::TimedOut)),
        2 => Just(End::Checkpoint),
    ]
}

/// What must have been counted.
#[derive(Debug, Default)]
struct Budget {
    retries: u32,
    losses: u32,
    failed: Option<ErrorType>,
}

impl Budget {
    fn take(&mut self, end: End, retries_max: u32, losses_max: u32) {
        match end {
            End::Transient => self.retry(ErrorType::Transient, retries_max),
            End::Timeout | End::Stopped(Cause::TimedOut) => {
                self.retry(ErrorType::Timeout, retries_max);
            }
            End::Permanent => self.failed = Some(ErrorType::Permanent),
            End::Lost => {
                self.losses += 1;
                if self.losses >= losses_max {
                    self.failed = Some(ErrorType::WorkerLost);
                }
            }
            End::Stopped(_) => {}
            End::Checkpoint => self.losses = 0,
        }
    }

    fn retry(&mut self, error_type: ErrorType, retries_max: u32) {
        if self.retries == retries_max {
            self.failed = Some(error_type);
        } else {
            self.retries += 1;
        }
    }
}

/// Lets an attempt that runs go on, or end, like this.
fn happen(world: &mut World, workload: WorkloadId, end: End, number: u32) {
    let attempt = world.attempt(workload);
    let status = match end {
        End::Transient => world.fail("w1", workload, ErrorType::Transient),
        End::Timeout => world.fail("w1", workload, ErrorType::Timeout),
        End::Permanent => world.fail("w1", workload, ErrorType::Permanent),
        End::Stopped(cause) => world.stopped("w1", workload, cause),
        End::Checkpoint => world.ask(
            "w1",
            WorkerMessage::Checkpoint {
                workload,
                attempt,
                checkpoint_sequence: number.into(),
                content: Content::Stored,
            },
        ),
        End::Lost => {
            let old = world.agent("w1").incarnation.to_string();
            world.spawn("w1", &format!("w1-{}", number + 2));
            world.register_as("w1", 2, Some(&old))
        }
    };
    assert_eq!(status, Some(ReplyStatus::Ok), "{end:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn retries_and_losses_are_counted_apart_and_end_where_they_must(
        retries_max in 0_u32..4,
        losses_max in 1_u32..4,
        ends in proptest::collection::vec(end(), 1..16),
    ) {
        let config = Config {
            worker_loss_limit: losses_max,
            retry_backoff_cap: 3 * SECOND,
            ..rig::config()
        };
        let cap = config.retry_backoff_cap;
        let mut world = World::with(config, rig::store::Store::new());
        world.store.max_retries = retries_max;
        world.join("w1");
        let id = world.submit(1);
        let mut budget = Budget::default();
        for (number, end) in (0..).zip(ends) {
            prop_assert_eq!(world.status(id), Status::Running);
            let attempt = world.attempt(id);
            happen(&mut world, id, end, number);
            budget.take(end, retries_max, losses_max);
            let leader = &world.store.row(id).leader;
            prop_assert_eq!((leader.retry_count, leader.loss_count), (budget.retries, budget.losses));
            if let Some(error_type) = budget.failed {
                prop_assert_eq!((leader.status, leader.error_type), (Status::Failed, Some(error_type)));
                prop_assert!(leader.attempt.0 <= 1 + number, "one attempt for each end");
                return Ok(());
            }
            if leader.status == Status::Pending {
                let until = leader.backoff_until.unwrap_or(WallTime(0));
                prop_assert!(until <= wall(world.now).plus(cap), "no back-off is above its cap");
            }
            world.advance(cap + SECOND);
            let goes_on = matches!(end, End::Checkpoint);
            let next = if goes_on { attempt } else { attempt.next() };
            prop_assert_eq!(world.attempt(id), next, "numbered without a gap");
        }
    }
}

/// Something that a worker says.
fn word() -> impl Strategy<Value = (u8, u8, u8, u8)> {
    (0_u8..9, 0_u8..2, 0_u8..4, any::<u8>())
}

fn said(world: &World, (kind, _, of, how): (u8, u8, u8, u8)) -> WorkerMessage {
    let workload = WorkloadId(1 + u128::from(of));
    let current = world.store.row(workload).leader.attempt;
    let attempt = if how.is_multiple_of(5) {
        Attempt(current.0 / 2)
    } else {
        current
    };
    match kind {
        0 => WorkerMessage::Started { workload, attempt },
        1 | 2 => WorkerMessage::Completed {
            workload,
            attempt,
            content: [Content::Absent, Content::Refused][usize::from(how % 2)],
        },
        3 | 4 => WorkerMessage::Failed {
            workload,
            attempt,
            error_type: [ErrorType::Transient, ErrorType::Permanent][usize::from(how % 2)],
            content: Content::Stored,
        },
        5 => WorkerMessage::Stopped {
            workload,
            attempt,
            cause: Cause::ALL[usize::from(how) % Cause::ALL.len()],
        },
        6 => WorkerMessage::Checkpoint {
            workload,
            attempt,
            checkpoint_sequence: (how % 4).into(),
            content: Content::Stored,
        },
        7 => WorkerMessage::Heartbeat {
            status: ReportedStatus::ALL[usize::from(how % 2)],
            running: vec![(workload, attempt)],
        },
        _ => WorkerMessage::Deregister,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_request_that_is_repeated_at_once_is_answered_as_before_and_changes_nothing(
        words in proptest::collection::vec(word(), 1..24),
    ) {
        let mut world = World::new();
        world.join("w0");
        world.join("w1");
        for number in 1..=4 {
            world.submit(number);
        }
        for word in words {
            let name = ["w0", "w1"][usize::from(word.1)];
            let body = said(&world, word);
            let first = world.ask(name, body);
            let batches = world.store.batches.len();
            let Event::Request(mut request) = world.last[name].clone() else {
                unreachable!("what was said last is a request");
            };
            request.reply_to.0 += 1 << 40;
            let to = request.reply_to;
            world.happen(Event::Request(request));
            let again = world.replies.get(&to).map(|reply| reply.status.clone());
            prop_assert_eq!(&again, &first, "{:?}", word);
            prop_assert_eq!(world.store.batches.len(), batches, "{:?} was committed twice", word);
            world.advance(2 * SECOND);
            if world.store.worker(name).is_none() {
                world.spawn(name, &format!("{name}-{}", world.now.0));
                world.register(name);
            }
        }
    }

    #[test]
    fn an_answer_of_the_store_that_comes_twice_is_used_once(
        words in proptest::collection::vec(word(), 1..12),
    ) {
        let mut world = World::new();
        world.join("w0");
        world.join("w1");
        for number in 1..=4 {
            world.submit(number);
        }
        world.records = true;
        for word in words {
            world.seen.clear();
            let name = ["w0", "w1"][usize::from(word.1)];
            let body = said(&world, word);
            world.ask(name, body);
            world.advance(SECOND);
            let turns = std::mem::take(&mut world.seen);
            let answers = turns.into_iter().map(|turn| turn.event).filter(is_answer);
            for answer in answers.collect::<Vec<_>>() {
                let mut effects = Vec::new();
                let before = format!("{:?}", world.core);
                world.core.handle(world.now, answer.clone(), &mut effects);
                prop_assert_eq!(&effects, &[], "{:?}", answer);
                prop_assert_eq!(format!("{:?}", world.core), before, "{:?}", answer);
            }
        }
    }
}

/// What the store answered about the lease, commits and rows.
const fn is_answer(event: &Event) -> bool {
    matches!(
        event,
        Event::LeaseTaken { .. }
            | Event::LeaseRefused { .. }
            | Event::LeaseUnknown { .. }
            | Event::LeaseUnanswered { .. }
            | Event::SnapshotLoaded { .. }
            | Event::PersistAnswered { .. }
            | Event::FenceRead { .. }
            | Event::Loaded { .. }
    )
}

/// Any moment, those at the ends of the range more often.
fn moment() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(1),
        Just(u64::MAX),
        Just(u64::MAX - 1),
        Just(1 << 63),
        any::<u64>()
    ]
}

fn wall_moment() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(0),
        Just(i64::MIN),
        Just(i64::MAX),
        Just(i64::MAX - 1),
        any::<i64>()
    ]
}

fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::MAX),
        Just(Duration::from_nanos(1)),
        (0_u64..1 << 40).prop_map(Duration::from_micros),
        any::<u64>().prop_map(Duration::from_micros),
    ]
}

proptest! {
    #[test]
    fn moments_add_and_subtract_without_leaving_their_range(at in moment(), by in span()) {
        let at = Timestamp(at);
        let (later, earlier) = (at.plus(by), at.minus(by));
        prop_assert!(earlier <= at && at <= later);
        prop_assert!(later.since(at) <= by && at.since(earlier) <= by);
        prop_assert_eq!(at.since(later), Duration::ZERO);
        if later < Timestamp::MAX {
            prop_assert_eq!(later.since(at), by);
        }
        if earlier > Timestamp::ZERO {
            prop_assert_eq!(at.since(earlier), by);
        }
    }

    #[test]
    fn database_moments_add_and_subtract_without_leaving_their_range(
        at in wall_moment(),
        by in span(),
    ) {
        let at = WallTime(at);
        let (later, earlier) = (at.plus(by), at.minus(by));
        prop_assert!(earlier <= at && at <= later);
        prop_assert_eq!(at.since(later), Duration::ZERO);
        prop_assert!(later.since(at) <= by && at.since(earlier) <= by);
        let micros = Duration::from_micros(u64::try_from(by.as_micros()).unwrap_or(u64::MAX));
        if later.0 < i64::MAX && at.0 >= 0 {
            prop_assert_eq!(later.since(at), micros);
        }
    }

    /// However fast this node's clock runs, up to the drift allowed, what it takes for the database's
    /// time has come.
    #[test]
    fn the_database_is_never_thought_to_be_ahead(
        reading in wall_moment(),
        arrived in moment(),
        elapsed in 0_u64..1 << 50,
        drift in 0_u64..=20_000,
    ) {
        let clock = DatabaseClock::new(WallTime(reading), Timestamp(arrived));
        let true_span = Duration::from_nanos(elapsed);
        let shown = true_span + Duration::from_nanos(elapsed / 1_000_000 * drift);
        let now = Timestamp(arrived).plus(shown);
        prop_assert!(clock.at(now) <= WallTime(reading).plus(true_span));
        prop_assert!(clock.at(now) >= WallTime(reading));
    }

    #[test]
    fn what_is_due_at_a_moment_of_the_database_is_not_done_before(
        reading in wall_moment(),
        arrived in moment(),
        due in wall_moment(),
    ) {
        let clock = DatabaseClock::new(WallTime(reading), Timestamp(arrived));
        let at = clock.when(WallTime(due));
        prop_assert!(at >= Timestamp(arrived));
        if at < Timestamp::MAX && due < i64::MAX {
            prop_assert!(clock.at(at) >= WallTime(due), "woken before it is due");
        }
        if due > reading && at > Timestamp(arrived) {
            let before = Timestamp(at.0 - 1).minus(Duration::from_micros(3));
            prop_assert!(clock.at(before) <= WallTime(due), "woken long after it is due");
        }
    }

    #[test]
    fn a_step_of_priority_is_worth_a_fixed_wait_at_any_moment(
        at in wall_moment(),
        priority in 0_u16..=1_000,
    ) {
        let key = SortKey::new(WallTime(at), priority);
        let higher = SortKey::new(WallTime(at), priority + 1);
        prop_assert!(higher <= key, "higher comes first");
        let waited = WallTime(at).plus(Config::AGEING_PER_PRIORITY);
        if at < i64::MAX / 2 && at > i64::MIN / 2 {
            prop_assert_eq!(SortKey::new(waited, priority + 1), key);
        }
    }

    #[test]
    fn a_lease_with_its_margin_is_longer_by_a_fiftieth_and_a_second(seconds in 0_u64..1 << 48) {
        let lease = Duration::from_secs(seconds);
        let counted = Config::with_drift_margin(lease);
        prop_assert_eq!(counted, lease + lease / 50 + SECOND);
    }

    #[test]
    fn an_id_reads_as_it_prints(number in any::<u128>(), text in "[a-z0-9_.-]{1,64}") {
        reads_back(&WorkloadId(number))?;
        reads_back(&CustomerId(number))?;
        reads_back(&text.parse::<WorkloadType>().unwrap())?;
        reads_back(&text.parse::<Incarnation>().unwrap())?;
        if let Ok(id) = text.parse::<WorkerId>() {
            reads_back(&id)?;
        }
    }
}

fn reads_back<T>(value: &T) -> Result<(), TestCaseError>
where
    T: Display + FromStr + PartialEq + std::fmt::Debug,
{
    let again = value.to_string().parse::<T>();
    prop_assert_eq!(again.as_ref().ok(), Some(value));
    Ok(())
}

#[test]
fn every_word_of_the_contract_reads_as_it_prints() {
    fn all<T: Display + FromStr + PartialEq + std::fmt::Debug>(words: &[T]) {
        for word in words {
            assert_eq!(word.to_string().parse::<T>().as_ref().ok(), Some(word));
            let other = format!("{word}x");
            assert!(other.parse::<T>().is_err(), "{other}");
        }
    }
    all(Status::ALL);
    all(Desired::ALL);
    all(Cause::ALL);
    all(ErrorType::ALL);
    all(OnLeaseLoss::ALL);
    all(AuditKind::ALL);
    all(WorkerStatus::ALL);
    all(WorkerDesired::ALL);
    all(ReportedStatus::ALL);
}
