//! What can be made to happen, each in four bytes: a verb and three numbers that it reads as it likes.
//!
//! Owns the form of an input. Records of one length were preferred to a derived form: whatever the
//! fuzzer cuts, joins or repeats stays a list of steps, and a seed is written as easily as it is read.

use arbitrary::{Arbitrary, Unstructured};

/// What an input is: how the world is set up, and what happens in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// The first four bytes: see [`super::world::World::new`].
    pub setting: [u8; 4],
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub verb: Verb,
    /// To whom, by number; taken modulo what there is.
    pub a: u8,
    /// How.
    pub b: u8,
    /// How else.
    pub c: u8,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Customer, kind and priority; how long it waits and how often it is tried.
    Submit,
    /// Workload and wish.
    Wish,
    /// A hint of something that is there, or is not.
    Hint,
    /// Worker and wish, and the drain's deadline.
    WishWorker,
    /// A process is started: worker, capacity and traits, and whether it knows of the one before.
    Start,
    /// The live process registers again.
    Register,
    /// Process, what it says of itself, and what it claims to run.
    Heartbeat,
    /// Process, workload, and what it reports.
    Report,
    /// The last words of a process arrive again.
    Repeat,
    /// A process says goodbye.
    Leave,
    /// A process falls silent, disobeys, or comes back to itself.
    Mood,
    /// Milliseconds pass.
    Pass,
    /// Seconds pass.
    PassLong,
    /// A coordinator is not scheduled for a while, or is again.
    Freeze,
    /// A coordinator dies, and another start of it takes its place.
    Crash,
    /// A coordinator's questions wait, by line.
    Hold,
    /// A waiting question is carried out, answered, lost or given up.
    Answer,
    /// A statement that was given up is carried out.
    Orphan,
    /// What the next batch of a coordinator is answered.
    Outcome,
    /// A coordinator's broker carries its words, or does not.
    Broker,
    /// A coordinator may have missed words.
    Interrupted,
    /// Somebody speaks of a term.
    Heard,
    /// Somebody says that a term was given up.
    Resigned,
    /// A coordinator is asked to stop.
    Shutdown,
    /// A coordinator's clock goes back for one event.
    Backwards,
    /// Limits of a customer change.
    Limit,
    /// An event that no sane world produces.
    Lie,
}

impl Verb {
    /// Every one, in the order of their bytes.
    pub const ALL: [Self; 27] = [
        Self::Submit,
        Self::Wish,
        Self::Hint,
        Self::WishWorker,
        Self::Start,
        Self::Register,
        Self::Heartbeat,
        Self::Report,
        Self::Repeat,
        Self::Leave,
        Self::Mood,
        Self::Pass,
        Self::PassLong,
        Self::Freeze,
        Self::Crash,
        Self::Hold,
        Self::Answer,
        Self::Orphan,
        Self::Outcome,
        Self::Broker,
        Self::Interrupted,
        Self::Heard,
        Self::Resigned,
        Self::Shutdown,
        Self::Backwards,
        Self::Limit,
        Self::Lie,
    ];
}

impl Course {
    /// Most steps that are taken of an input.
    pub const STEPS_MAX: usize = 256;

    /// Reads any bytes.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        match Self::arbitrary_take_rest(Unstructured::new(bytes)) {
            Ok(course) => course,
            Err(short) => unreachable!("whatever is missing is zero: {short}"),
        }
    }

    /// The bytes that read as this.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = self.setting.to_vec();
        for step in &self.steps {
            bytes.extend([step.verb as u8, step.a, step.b, step.c]);
        }
        bytes
    }
}

impl<'a> Arbitrary<'a> for Course {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let setting = u.arbitrary()?;
        let mut steps = Vec::new();
        while u.len() >= 4 && steps.len() < Self::STEPS_MAX {
            steps.push(u.arbitrary()?);
        }
        Ok(Self { setting, steps })
    }
}

impl<'a> Arbitrary<'a> for Step {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let [verb, a, b, c] = u.arbitrary()?;
        let verb = Verb::ALL[usize::from(verb) % Verb::ALL.len()];
        Ok(Self { verb, a, b, c })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_as_the_same_course() {
        let steps = Verb::ALL.iter().enumerate().map(|(place, verb)| Step {
            verb: *verb,
            a: u8::try_from(place).unwrap_or(0),
            b: 7,
            c: 255,
        });
        let course = Course {
            setting: [1, 2, 3, 4],
            steps: steps.collect(),
        };
        assert_eq!(Course::read(&course.write()), course);
    }
}
