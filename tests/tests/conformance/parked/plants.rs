//! What is wrong on purpose, so that the matrix can be seen to fail: other words put in a
//! coordinator's mouth on its way to the server.

use crate::line::Words;

/// Something that must not be so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plant {
    /// A commit does not ask who leads.
    FenceLeftOut,
    /// Nobody ends sessions whose client sleeps.
    SleepersSpared,
}

impl Plant {
    /// What it puts in every coordinator's mouth.
    pub(super) fn words(self) -> Words {
        match self {
            Self::SleepersSpared => {
                Words::new(&[("where pg_terminate_backend(pid)", "where false")])
            }
            Self::FenceLeftOut => {
                Words::new(&[(FENCE, "where id = 1 and $2::bigint > 0 and $3::text <> ''")])
            }
        }
    }
}

/// What a commit asks of the fence row.
const FENCE: &str =
    "where id = 1 and generation = $2 and incarnation = $3 and applied_batch = $1 - 1";
