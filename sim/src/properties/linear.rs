//! Whether what clients were told of one workload can have happened in one order.
//!
//! The algorithm of Wing and Gong with Lowe's memory: tries orders that respect real time, and
//! remembers which (operations done, state) it has been in. An operation whose outcome nobody knows
//! may take effect at any time after it began, or never. Partitioned by workload, because nothing
//! is promised across them, and bounded: of a history that is too long the beginning is looked at.

use crate::clock::Moment;
use niyanta_core::workload::Desired;
use std::collections::BTreeSet;

/// What one client asked about the workload, and was told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    /// When the call was made.
    pub(crate) begun: Moment,
    /// When it was answered; the end of time when the outcome is unknown.
    pub(crate) ended: Moment,
    /// What it was.
    pub(crate) what: What,
}

/// What one operation was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// It was submitted, or a submission under its key was answered with it.
    Made,
    /// A submission of it had an unknown outcome.
    MaybeMade,
    /// It was read.
    Read {
        /// At this version.
        version: u64,
        /// With this wish.
        desired: Desired,
        /// It had ended.
        ended: bool,
    },
    /// It was looked for, and was not there.
    NotFound,
    /// A wish was recorded, or was recorded already.
    Wished {
        /// Which.
        desired: Desired,
        /// The version then.
        version: u64,
    },
    /// A wish was recorded; by the time that it was told of, after a look, the version was another's.
    WishedEarlier(Desired),
    /// It was looked at, and only its version is told.
    Seen {
        /// At this version.
        version: u64,
    },
    /// A wish had an unknown outcome.
    MaybeWished(Desired),
    /// A wish was refused: it has ended, or is cancelled.
    Refused(Desired),
}

/// What an order of operations leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    is_there: bool,
    version: u64,
    desired: u8,
    /// It has ended: nothing changes any more.
    ended: bool,
    /// The version that it has ended at, once that was read.
    last_version: Option<u64>,
}

impl Operation {
    const fn is_optional(&self) -> bool {
        matches!(self.what, What::MaybeMade | What::MaybeWished(_))
    }
}

impl State {
    const START: Self = Self {
        is_there: false,
        version: 0,
        desired: code(Desired::Run),
        ended: false,
        last_version: None,
    };

    /// The state after an operation; nothing when it cannot have happened now. In between the leader
    /// may have moved the workload on, which only raises its version, and may have ended it.
    fn after(self, what: What) -> Option<Self> {
        match what {
            What::Made => Some(self.made()),
            What::MaybeMade => (!self.is_there).then(|| self.made()),
            What::NotFound => (!self.is_there).then_some(self),
            What::Read {
                version,
                desired,
                ended,
            } => {
                let fits = self.is_there
                    && code(desired) == self.desired
                    && version >= self.version
                    && (ended || !self.ended)
                    && self.last_version.is_none_or(|last| last == version);
                fits.then_some(Self {
                    version,
                    ended,
                    last_version: ended.then_some(version),
                    ..self
                })
            }
            What::Wished { desired, version } => {
                let same = code(desired) == self.desired;
                let fits = self.is_there
                    && (same || self.takes())
                    && version >= self.version + u64::from(!same);
                fits.then_some(Self {
                    version,
                    desired: code(desired),
                    ..self
                })
            }
            What::WishedEarlier(desired) => {
                let same = code(desired) == self.desired;
                let fits = self.is_there && (same || self.takes());
                fits.then_some(Self {
                    version: self.version + u64::from(!same),
                    desired: code(desired),
                    ..self
                })
            }
            What::Seen { version } => {
                let fits = self.is_there
                    && version >= self.version
                    && self.last_version.is_none_or(|last| last == version);
                fits.then_some(Self { version, ..self })
            }
            What::MaybeWished(desired) => {
                let fits = self.is_there && code(desired) != self.desired && self.takes();
                fits.then_some(Self {
                    version: self.version + 1,
                    desired: code(desired),
                    ..self
                })
            }
            What::Refused(desired) => {
                if !self.is_there {
                    return None;
                }
                let cancelled = self.desired == code(Desired::Cancel) && desired != Desired::Cancel;
                // Otherwise it must have ended by now.
                Some(Self {
                    ended: self.ended || !cancelled,
                    ..self
                })
            }
        }
    }

    const fn made(self) -> Self {
        Self {
            is_there: true,
            version: if self.version == 0 { 1 } else { self.version },
            ..self
        }
    }

    /// A wish that differs can be written.
    const fn takes(self) -> bool {
        !self.ended && self.desired != code(Desired::Cancel)
    }
}

const fn code(desired: Desired) -> u8 {
    match desired {
        Desired::Run => 0,
        Desired::Pause => 1,
        Desired::Cancel => 2,
    }
}

/// Whether some order explains everything. Says which operations could not be explained beside the
/// longest order that was found.
pub(crate) fn check(operations: &[Operation]) -> Result<(), Vec<What>> {
    let mut operations = operations.to_vec();
    operations.sort_by_key(|operation| (operation.begun, operation.ended));
    operations.truncate(LONGEST);
    let mut search = Search {
        operations: &operations,
        been: BTreeSet::new(),
        most: 0,
        most_done: 0,
        steps: 0,
    };
    if search.run(0, State::START) {
        return Ok(());
    }
    let left = search.operations.iter().enumerate();
    let left = left.filter(|(index, operation)| {
        search.most_done & (1 << index) == 0 && !operation.is_optional()
    });
    Err(left.map(|(_, operation)| operation.what).collect())
}

struct Search<'a> {
    operations: &'a [Operation],
    been: BTreeSet<(u64, State)>,
    most: u32,
    most_done: u64,
    steps: u32,
}

impl Search<'_> {
    fn run(&mut self, done: u64, state: State) -> bool {
        let open = |(index, operation): &(usize, &Operation)| {
            done & (1 << index) == 0 && !operation.is_optional()
        };
        let numbered = || self.operations.iter().enumerate();
        // Nothing may come before an operation that had ended when it began.
        let Some(first_end) = numbered().filter(open).map(|(_, o)| o.ended).min() else {
            return true;
        };
        if done.count_ones() > self.most {
            self.most = done.count_ones();
            self.most_done = done;
        }
        self.steps += 1;
        // A search that is given up accuses nobody.
        if self.steps > STEPS_MAX {
            return true;
        }
        if !self.been.insert((done, state)) {
            return false;
        }
        let next: Vec<(usize, State)> = numbered()
            .filter(|(index, operation)| done & (1 << index) == 0 && operation.begun <= first_end)
            .filter_map(|(index, operation)| Some((index, state.after(operation.what)?)))
            .collect();
        next.into_iter()
            .any(|(index, state)| self.run(done | (1 << index), state))
    }
}

/// As many operations as a set of them has bits for.
const LONGEST: usize = 64;
/// More states than this are not looked at.
const STEPS_MAX: u32 = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(begun: u64, ended: u64, what: What) -> Operation {
        Operation {
            begun: Moment(begun),
            ended: Moment(ended),
            what,
        }
    }

    const fn read(version: u64, desired: Desired) -> What {
        What::Read {
            version,
            desired,
            ended: false,
        }
    }

    #[test]
    fn a_read_after_a_write_must_show_it() {
        let made = at(0, 1, What::Made);
        let wished = at(
            2,
            3,
            What::Wished {
                desired: Desired::Pause,
                version: 2,
            },
        );
        assert!(check(&[made, wished, at(4, 5, read(2, Desired::Pause))]).is_ok());
        assert!(check(&[made, wished, at(4, 5, read(1, Desired::Run))]).is_err());
        // While the wish is under way, either may be read.
        assert!(check(&[made, wished, at(2, 5, read(1, Desired::Run))]).is_ok());
        assert!(check(&[made, at(2, 3, What::NotFound)]).is_err());
    }

    #[test]
    fn what_is_unknown_may_be_either_and_may_come_late() {
        let made = at(0, 1, What::Made);
        let maybe = at(2, u64::MAX, What::MaybeWished(Desired::Cancel));
        assert!(check(&[made, maybe, at(4, 5, read(1, Desired::Run))]).is_ok());
        assert!(check(&[made, maybe, at(4, 5, read(2, Desired::Cancel))]).is_ok());
        let late = [
            made,
            maybe,
            at(4, 5, read(1, Desired::Run)),
            at(6, 7, read(2, Desired::Cancel)),
        ];
        assert!(check(&late).is_ok());
        // But it cannot be taken back.
        let back = [
            made,
            maybe,
            at(4, 5, read(2, Desired::Cancel)),
            at(6, 7, read(3, Desired::Run)),
        ];
        assert!(check(&back).is_err());
    }

    #[test]
    fn a_wish_that_was_looked_for_may_have_been_written_long_before() {
        let made = at(0, 1, What::Made);
        let earlier = at(2, 9, What::WishedEarlier(Desired::Cancel));
        let seen = at(2, 9, What::Seen { version: 3 });
        let told = [made, earlier, seen, at(4, 5, read(2, Desired::Cancel))];
        assert!(check(&told).is_ok());
        let forgotten = [made, earlier, seen, at(10, 11, read(3, Desired::Run))];
        assert!(check(&forgotten).is_err());
        let older = [made, earlier, seen, at(10, 11, read(2, Desired::Cancel))];
        assert!(check(&older).is_err());
    }

    #[test]
    fn two_readers_may_not_disagree_on_the_order() {
        let made = at(0, 1, What::Made);
        let pause = at(2, u64::MAX, What::MaybeWished(Desired::Pause));
        let flicker = [
            made,
            pause,
            at(3, 4, read(2, Desired::Pause)),
            at(5, 6, read(2, Desired::Run)),
        ];
        assert!(check(&flicker).is_err());
    }

    #[test]
    fn a_cancel_is_never_undone_and_an_end_never_left() {
        let made = at(0, 1, What::Made);
        let wished =
            |begun, desired, version| at(begun, begun + 1, What::Wished { desired, version });
        let undone = [
            made,
            wished(2, Desired::Cancel, 2),
            wished(4, Desired::Run, 3),
        ];
        assert!(check(&undone).is_err());
        let refused = [
            made,
            wished(2, Desired::Cancel, 2),
            at(4, 5, What::Refused(Desired::Run)),
        ];
        assert!(check(&refused).is_ok());
        let over = at(
            2,
            3,
            What::Read {
                version: 4,
                desired: Desired::Run,
                ended: true,
            },
        );
        assert!(check(&[made, over, at(4, 5, read(5, Desired::Run))]).is_err());
        let refused_early = [
            made,
            at(2, 3, What::Refused(Desired::Pause)),
            at(4, 5, read(2, Desired::Run)),
        ];
        assert!(check(&refused_early).is_err(), "it was refused, and lives");
    }
}
