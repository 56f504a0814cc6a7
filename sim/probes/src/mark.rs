//! The situations that a run should get into.
//!
//! Owns their names and a small set of them. A situation is marked where it is certain that it has
//! come about, not where it is brought about.

macro_rules! marks {
    ($($name:ident = $words:literal;)+) => {
        /// A situation that matters.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Mark {
            $(#[doc = $words] $name,)+
        }

        impl Mark {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What has come about.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self { $(Self::$name => $words,)+ }
            }
        }
    };
}

marks! {
    CommitAppliedAnswerLost = "a batch was applied, and its answer was lost";
    FencedWithBatchInFlight = "a leader was fenced with a batch in flight";
    CancelMetAssignment = "a cancel met an assignment";
    WorkerWokeAfterLease = "a worker woke after its lease, with work";
}

/// A set of marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks(u128);

impl Marks {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// Every mark there is.
    #[must_use]
    pub fn all() -> Self {
        Mark::ALL
            .iter()
            .fold(Self::NONE, |all, &mark| all.with(mark))
    }

    /// These and one more.
    #[inline]
    #[must_use]
    pub const fn with(self, mark: Mark) -> Self {
        Self(self.0 | 1 << mark as u8)
    }

    /// These and those.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether one is among them.
    #[must_use]
    pub const fn contains(self, mark: Mark) -> bool {
        self.0 & (1 << mark as u8) != 0
    }

    /// One after the other.
    pub fn iter(self) -> impl Iterator<Item = Mark> {
        Mark::ALL
            .iter()
            .copied()
            .filter(move |&mark| self.contains(mark))
    }
}
