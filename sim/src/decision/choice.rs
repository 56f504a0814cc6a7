//! The names of choices: on which occasion, whose, and which aspect of it.
//!
//! A name is stable: it depends on no other choice's outcome but through how often its own occasion
//! came up. Adding an occasion or a choice at the end of a list changes nobody's draws.

use crate::message::Address;
use niyanta_core::ids::WorkloadId;

/// Something that comes up again and again while a run goes on, and is counted for each [`Who`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Occasion {
    /// A message is sent; counted for each pair of sender and receiver.
    Message,
    /// A statement is sent to the database; counted for each coordinator and kind of statement.
    Statement,
    /// A statement finds the database stalled; counted for each coordinator and kind of statement.
    Stall,
    /// A coordinator reads what lies unread; counted for each coordinator.
    Reading,
    /// A call to the API is sent; counted for each customer, and for the operators.
    Call,
    /// An attempt begins on a worker; counted for each submission.
    Run,
    /// An attempt is stopped on a worker; counted for each submission.
    Stop,
    /// A worker's process starts; counted for each worker.
    WorkerStart,
    /// A report's content is written for the first time; counted for each submission.
    Report,
    /// An attempt is killed on a worker; counted for each submission.
    Kill,
    /// A coordinator's process is scheduled again after a pause; counted for each coordinator.
    Waking,
}

impl Occasion {
    /// All of them, in order.
    pub const ALL: &'static [Self] = &[
        Self::Message,
        Self::Statement,
        Self::Stall,
        Self::Reading,
        Self::Call,
        Self::Run,
        Self::Stop,
        Self::WorkerStart,
        Self::Report,
        Self::Kill,
        Self::Waking,
    ];

    /// Its name in schedule files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Statement => "statement",
            Self::Stall => "stall",
            Self::Reading => "reading",
            Self::Call => "call",
            Self::Run => "run",
            Self::Stop => "stop",
            Self::WorkerStart => "worker-start",
            Self::Report => "report",
            Self::Kill => "kill",
            Self::Waking => "waking",
        }
    }

    /// Seeds its draws; its place in the list does not matter.
    const fn hashed(self) -> u64 {
        let name = self.name().as_bytes();
        let mut salt = 0xcbf2_9ce4_8422_2325;
        let mut index = 0;
        while index < name.len() {
            salt = (salt ^ name[index] as u64).wrapping_mul(0x0100_0000_01b3);
            index += 1;
        }
        salt
    }
}

/// One aspect of an occasion that is left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Choice {
    /// What becomes of a message.
    MessageFate,
    /// How long it takes.
    MessageDelay,
    /// How long its double takes.
    MessageDouble,
    /// What becomes of a statement.
    StatementFate,
    /// How long it takes to be executed.
    StatementDelay,
    /// How long its answer takes.
    AnswerDelay,
    /// How long after the stall it is executed.
    StallDelay,
    /// How long a coordinator takes for one thing.
    ReadingDelay,
    /// What becomes of a call.
    CallFate,
    /// How long it takes.
    CallDelay,
    /// How an attempt ends by itself.
    RunEnd,
    /// How long it runs if nobody stops it.
    RunLength,
    /// How long until its first checkpoint.
    RunCheckpoint,
    /// How long it takes to stop.
    StopLength,
    /// How many attempts the worker has room for: 0 for as many as planned.
    WorkerRoom,
    /// How the database executes a statement: at once, or with turns for others in between.
    StatementCourse,
    /// How long until it goes on.
    CourseDelay,
    /// Whether the end of its message is missing when its sender is stopped.
    StatementEnd,
    /// What becomes of it when the database restarts while it is about to commit.
    RestartFate,
    /// Whether what is reported can be stored.
    ReportText,
    /// Whether it says how far it is, and logs.
    RunTalk,
    /// How it takes being asked to stop.
    StopManner,
    /// How long the killing takes.
    KillLength,
    /// What it looks at first: its timers, or the answers or messages that have come meanwhile.
    WakingOrder,
    /// Whether what it says of its own software can be stored.
    WorkerText,
}

/// What a choice is between. The benign pick is always 0, or the shortest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// One of these; the first is the benign one.
    Names(&'static [&'static str]),
    /// A length of time, in microseconds; the shortest that is possible is the benign one.
    Time,
    /// A number; 0 is the benign one.
    Number,
}

impl Choice {
    /// All of them, in order.
    pub const ALL: &'static [Self] = &[
        Self::MessageFate,
        Self::MessageDelay,
        Self::MessageDouble,
        Self::StatementFate,
        Self::StatementDelay,
        Self::AnswerDelay,
        Self::StallDelay,
        Self::ReadingDelay,
        Self::CallFate,
        Self::CallDelay,
        Self::RunEnd,
        Self::RunLength,
        Self::RunCheckpoint,
        Self::StopLength,
        Self::WorkerRoom,
        Self::StatementCourse,
        Self::CourseDelay,
        Self::StatementEnd,
        Self::RestartFate,
        Self::ReportText,
        Self::RunTalk,
        Self::StopManner,
        Self::KillLength,
        Self::WakingOrder,
        Self::WorkerText,
    ];

    /// The occasion it is an aspect of.
    #[must_use]
    pub const fn occasion(self) -> Occasion {
        match self {
            Self::MessageFate | Self::MessageDelay | Self::MessageDouble => Occasion::Message,
            Self::StatementFate
            | Self::StatementDelay
            | Self::AnswerDelay
            | Self::StatementCourse
            | Self::CourseDelay
            | Self::StatementEnd
            | Self::RestartFate => Occasion::Statement,
            Self::StallDelay => Occasion::Stall,
            Self::ReadingDelay => Occasion::Reading,
            Self::CallFate | Self::CallDelay => Occasion::Call,
            Self::RunEnd | Self::RunLength | Self::RunCheckpoint | Self::RunTalk => Occasion::Run,
            Self::StopLength | Self::StopManner => Occasion::Stop,
            Self::KillLength => Occasion::Kill,
            Self::WakingOrder => Occasion::Waking,
            Self::WorkerRoom | Self::WorkerText => Occasion::WorkerStart,
            Self::ReportText => Occasion::Report,
        }
    }

    /// Its name in schedule files, beside its occasion's.
    #[must_use]
    pub const fn aspect(self) -> &'static str {
        match self {
            Self::MessageFate | Self::StatementFate | Self::CallFate => "fate",
            Self::MessageDelay
            | Self::StatementDelay
            | Self::StallDelay
            | Self::ReadingDelay
            | Self::CallDelay => "delay",
            Self::MessageDouble => "double-delay",
            Self::AnswerDelay => "answer-delay",
            Self::RunEnd | Self::StatementEnd => "end",
            Self::StatementCourse => "course",
            Self::CourseDelay => "course-delay",
            Self::RestartFate => "restart",
            Self::ReportText | Self::WorkerText => "text",
            Self::RunLength | Self::StopLength | Self::KillLength => "length",
            Self::RunTalk => "talk",
            Self::StopManner => "manner",
            Self::RunCheckpoint => "checkpoint",
            Self::WorkerRoom => "room",
            Self::WakingOrder => "order",
        }
    }

    /// What it is between.
    #[must_use]
    pub const fn values(self) -> Values {
        match self {
            Self::MessageFate => Values::Names(&["arrives", "lost", "doubled"]),
            Self::StatementFate => Values::Names(&[
                "answered",
                "lost",
                "not-sent",
                "answer-lost",
                "orphaned",
                "breaks",
                "answer-breaks",
            ]),
            Self::StatementCourse => Values::Names(&[
                "at-once",
                "halts-at-first-row",
                "halts-at-second-row",
                "halts-at-third-row",
                "halts-before-commit",
                "end-comes-late",
                "end-never-comes",
            ]),
            Self::StatementEnd => Values::Names(&["sent", "missing"]),
            Self::RestartFate => Values::Names(&["undone", "committed"]),
            Self::ReportText | Self::WorkerText => Values::Names(&["good", "bad"]),
            Self::CallFate => Values::Names(&["arrives", "lost"]),
            Self::RunEnd => Values::Names(&[
                "completes",
                "fails-transiently",
                "fails-for-good",
                "hangs",
                "completes-unspeakably",
            ]),
            Self::RunTalk => Values::Names(&["silent", "talks"]),
            Self::StopManner => Values::Names(&["stops", "ignores"]),
            Self::WakingOrder => {
                Values::Names(&["timers-first", "answers-first", "messages-first"])
            }
            Self::MessageDelay
            | Self::MessageDouble
            | Self::StatementDelay
            | Self::AnswerDelay
            | Self::CourseDelay
            | Self::StallDelay
            | Self::ReadingDelay
            | Self::CallDelay
            | Self::RunLength
            | Self::RunCheckpoint
            | Self::StopLength
            | Self::KillLength => Values::Time,
            Self::WorkerRoom => Values::Number,
        }
    }

    /// Its picks are lengths of time.
    #[must_use]
    pub const fn is_time(self) -> bool {
        matches!(self.values(), Values::Time)
    }

    /// A pick of it that is not benign is a fault: something is lost, doubled or refused.
    #[must_use]
    pub const fn is_fault(self) -> bool {
        matches!(
            self,
            Self::MessageFate | Self::StatementFate | Self::CallFate
        )
    }

    /// Seeds its draws.
    pub(super) const fn salt(self) -> u64 {
        SALTS[self as usize]
    }

    const fn hashed(self) -> u64 {
        let aspect = self.aspect().as_bytes();
        let mut salt = self.occasion().hashed();
        let mut index = 0;
        while index < aspect.len() {
            salt = (salt ^ aspect[index] as u64).wrapping_mul(0x0100_0000_01b3);
            index += 1;
        }
        salt
    }
}

/// Whose occasion it is. What the number means depends on the [`Occasion`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Who(pub u16);

/// A kind of statement, as far as choices tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum StatementKind {
    /// Taking, reading, renewing and resigning the lease.
    Lease,
    /// A snapshot or a load.
    Read,
    /// A batch.
    Batch,
    /// Reading the fence.
    Fence,
    /// A report's content.
    Content,
    /// Reasons and heartbeats, for which nobody waits.
    Beside,
    /// What the API asks for.
    Api,
    /// What an assignment carries.
    Assignment,
}

impl StatementKind {
    /// All of them, in order.
    pub const ALL: &'static [Self] = &[
        Self::Lease,
        Self::Read,
        Self::Batch,
        Self::Fence,
        Self::Content,
        Self::Beside,
        Self::Api,
        Self::Assignment,
    ];

    /// Its name in schedule files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Read => "read",
            Self::Batch => "batch",
            Self::Fence => "fence",
            Self::Content => "content",
            Self::Beside => "beside",
            Self::Api => "api",
            Self::Assignment => "assignment",
        }
    }
}

impl Who {
    /// The operators, among those who call the API.
    pub const OPERATORS: Self = Self(255);

    /// A coordinator, a worker or a customer, by its place.
    #[must_use]
    pub fn place(place: usize) -> Self {
        Self(u16::try_from(place).unwrap_or(u16::MAX))
    }

    /// A sender and a receiver.
    #[must_use]
    pub fn link(from: Address, to: Address) -> Self {
        Self(end(from) * ENDS + end(to))
    }

    /// A coordinator and a kind of statement.
    #[must_use]
    pub fn statement(place: usize, kind: StatementKind) -> Self {
        Self(Self::place(place).0 * KINDS + kind as u16)
    }

    /// A submission, by the workload that it made.
    #[must_use]
    pub const fn submission(workload: WorkloadId) -> Self {
        let [.., high, low, _, _] = workload.0.to_be_bytes();
        Self(u16::from_be_bytes([high, low]))
    }

    /// What it says on an occasion.
    #[must_use]
    pub fn name(self, occasion: Occasion) -> String {
        let number = self.0;
        match occasion {
            Occasion::Message => {
                let (from, to) = (end_name(number / ENDS), end_name(number % ENDS));
                format!("{from}>{to}")
            }
            Occasion::Statement | Occasion::Stall => {
                let kind = StatementKind::ALL.get(usize::from(number % KINDS));
                let kind = kind.map_or("?", |kind| kind.name());
                format!("c{}.{kind}", number / KINDS)
            }
            Occasion::Reading | Occasion::Waking => format!("c{number}"),
            Occasion::Call if self == Self::OPERATORS => "operators".to_owned(),
            Occasion::Call => format!("customer{number}"),
            Occasion::Run | Occasion::Stop | Occasion::Report | Occasion::Kill => {
                format!("job{number}")
            }
            Occasion::WorkerStart => format!("w{number}"),
        }
    }

    /// The inverse of [`Self::name`].
    #[must_use]
    pub fn parse(name: &str, occasion: Occasion) -> Option<Self> {
        let number = |prefix: &str| name.strip_prefix(prefix)?.parse().ok().map(Self);
        match occasion {
            Occasion::Message => {
                let (from, to) = name.split_once('>')?;
                Some(Self(end_number(from)? * ENDS + end_number(to)?))
            }
            Occasion::Statement | Occasion::Stall => {
                let (place, kind) = name.split_once('.')?;
                let place: u16 = place.strip_prefix('c')?.parse().ok()?;
                let kind = StatementKind::ALL.iter().find(|k| k.name() == kind)?;
                let number = place.checked_mul(KINDS)?.checked_add(*kind as u16)?;
                Some(Self(number))
            }
            Occasion::Reading | Occasion::Waking => number("c"),
            Occasion::Call if name == "operators" => Some(Self::OPERATORS),
            Occasion::Call => number("customer"),
            Occasion::Run | Occasion::Stop | Occasion::Report | Occasion::Kill => number("job"),
            Occasion::WorkerStart => number("w"),
        }
    }
}

fn end(address: Address) -> u16 {
    match address {
        Address::Coordinator(place) => Who::place(place).0.min(COORDINATORS_MAX - 1),
        Address::Worker(place) => (COORDINATORS_MAX + Who::place(place).0).min(ENDS - 1),
    }
}

fn end_name(number: u16) -> String {
    match number.checked_sub(COORDINATORS_MAX) {
        Some(worker) => format!("w{worker}"),
        None => format!("c{number}"),
    }
}

fn end_number(name: &str) -> Option<u16> {
    if let Some(worker) = name.strip_prefix('w') {
        let worker: u16 = worker.parse().ok()?;
        return Some(COORDINATORS_MAX.checked_add(worker)?).filter(|end| *end < ENDS);
    }
    let coordinator: u16 = name.strip_prefix('c')?.parse().ok()?;
    Some(coordinator).filter(|end| *end < COORDINATORS_MAX)
}

static SALTS: [u64; Choice::ALL.len()] = {
    let mut salts = [0; Choice::ALL.len()];
    let mut index = 0;
    while index < salts.len() {
        salts[index] = Choice::ALL[index].hashed();
        index += 1;
    }
    salts
};

/// Ends of a link: coordinators first.
const ENDS: u16 = 128;
const COORDINATORS_MAX: u16 = 16;
/// Room for kinds of statements.
const KINDS: u16 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_what_they_name() {
        for occasion in Occasion::ALL.iter().copied() {
            for number in [0, 1, 5, 129, 2_067] {
                let who = Who(number);
                if matches!(occasion, Occasion::Statement | Occasion::Stall) && number % KINDS > 7 {
                    continue;
                }
                assert_eq!(Who::parse(&who.name(occasion), occasion), Some(who));
            }
        }
    }

    #[test]
    fn no_two_choices_share_a_name_or_a_stream() {
        for (index, choice) in Choice::ALL.iter().enumerate() {
            assert_eq!(*choice as usize, index);
            for other in &Choice::ALL[index + 1..] {
                assert_ne!(choice.salt(), other.salt());
                let name = |c: &Choice| (c.occasion(), c.aspect());
                assert_ne!(name(choice), name(other));
            }
        }
        for (index, occasion) in Occasion::ALL.iter().enumerate() {
            assert_eq!(*occasion as usize, index);
        }
    }
}
