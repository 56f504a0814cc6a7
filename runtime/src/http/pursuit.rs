//! The pursuit of a mutation's outcome, as a value: what was heard goes in, what to do comes out.
//!
//! The one place that keeps the promise of 4xx and 503, "not done, and never will be":
//! - after an unknown outcome the same statement, with the same ids, is sent again until the
//!   deadline of the response, then 504;
//! - once any sending had an unknown outcome, the answer is success or 504: an earlier sending may
//!   still take effect, so a later refusal refuses nothing;
//! - what was certainly not sent is tried again for a short while, then 503.
//!
//! Reads no clock and waits for nothing: [`super::outcome`] does that over the store port, and the
//! simulator does it over its model. Does not know any operation.

use crate::probes::planted;
use std::time::Duration;

/// How long a mutation may look for its outcome: the response deadline less a margin.
pub const OUTCOME_PATIENCE: Duration = Duration::from_secs(25);
/// How long something that was certainly not done is tried again.
pub const UNSENT_PATIENCE: Duration = Duration::from_secs(3);

const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What a sending of a statement showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Showed {
    /// The database did what was asked, or had done it.
    Success,
    /// The database judged, and says no.
    Refusal,
    /// It may have taken effect, or may still do so.
    Doubt,
    /// It has not taken effect; another try may.
    NotDone,
    /// It has not taken effect, nor will another try.
    Failure,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Answer with what the last sending showed.
    AnswerIt,
    /// Answer 504: the outcome is unknown.
    AnswerUnknown,
    /// Answer 503: not done, and never will be.
    AnswerUnavailable,
    /// Send the same statement again after this long.
    SendAgain(Duration),
}

/// One mutation on its way to an outcome.
#[derive(Debug, Clone)]
pub struct Pursuit {
    doubt: bool,
    pause: Duration,
    patience: Duration,
}

impl Default for Pursuit {
    fn default() -> Self {
        Self::within(OUTCOME_PATIENCE)
    }
}

impl Pursuit {
    /// A mutation that must be answered within this long.
    #[must_use]
    pub const fn within(patience: Duration) -> Self {
        Self {
            doubt: false,
            pause: FIRST_PAUSE,
            patience,
        }
    }

    /// Whether an earlier sending may have taken effect.
    #[must_use]
    pub const fn is_in_doubt(&self) -> bool {
        self.doubt
    }

    /// How long it may take in all.
    #[must_use]
    pub const fn patience(&self) -> Duration {
        self.patience
    }

    /// A sending showed something, so long after the call began.
    pub fn hear(&mut self, elapsed: Duration, showed: Showed) -> Next {
        // A look-up that finds nothing is taken for the end of it.
        let believed = !self.doubt || planted!(LookUpAnswersNotTaken);
        match showed {
            Showed::Success => return Next::AnswerIt,
            Showed::Refusal | Showed::Failure if self.doubt => return Next::AnswerUnknown,
            Showed::Refusal | Showed::Failure => return Next::AnswerIt,
            Showed::NotDone if believed && elapsed >= UNSENT_PATIENCE.min(self.patience) => {
                return Next::AnswerUnavailable;
            }
            Showed::NotDone => {}
            Showed::Doubt => self.doubt = true,
        }
        if elapsed >= self.patience {
            return Next::AnswerUnknown;
        }
        let pause = self.pause.min(self.patience - elapsed);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Next::SendAgain(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(showed: &[Showed]) -> Next {
        let mut pursuit = Pursuit::default();
        let mut next = Next::AnswerIt;
        for showed in showed {
            next = pursuit.hear(Duration::ZERO, *showed);
        }
        next
    }

    #[test]
    fn once_in_doubt_only_success_is_believed() {
        for doubtful in [Showed::Refusal, Showed::Failure] {
            assert_eq!(after(&[doubtful]), Next::AnswerIt);
            assert_eq!(after(&[Showed::Doubt, doubtful]), Next::AnswerUnknown);
        }
        assert_eq!(after(&[Showed::Doubt, Showed::Success]), Next::AnswerIt);
    }

    #[test]
    fn what_was_not_done_is_denied_only_without_doubt() {
        let mut pursuit = Pursuit::default();
        let late = UNSENT_PATIENCE;
        assert_eq!(pursuit.hear(late, Showed::NotDone), Next::AnswerUnavailable);
        let mut pursuit = Pursuit::default();
        assert!(matches!(
            pursuit.hear(Duration::ZERO, Showed::Doubt),
            Next::SendAgain(_)
        ));
        assert!(matches!(
            pursuit.hear(late, Showed::NotDone),
            Next::SendAgain(_)
        ));
        assert_eq!(
            pursuit.hear(OUTCOME_PATIENCE, Showed::NotDone),
            Next::AnswerUnknown
        );
    }

    #[test]
    fn pauses_double_and_end_with_the_patience() {
        let mut pursuit = Pursuit::default();
        let first = pursuit.hear(Duration::ZERO, Showed::Doubt);
        assert_eq!(first, Next::SendAgain(FIRST_PAUSE));
        for _ in 0..10 {
            pursuit.hear(Duration::ZERO, Showed::Doubt);
        }
        let longest = pursuit.hear(Duration::ZERO, Showed::Doubt);
        assert_eq!(longest, Next::SendAgain(LONGEST_PAUSE));
        let left = Duration::from_millis(3);
        let last = pursuit.hear(OUTCOME_PATIENCE - left, Showed::Doubt);
        assert_eq!(last, Next::SendAgain(left));
    }
}
