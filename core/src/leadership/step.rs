//! What leadership says to the coordinator.

use crate::{
    ExitReason,
    ids::{AskId, Generation},
    time::Duration,
};

/// What to do, or what has become so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Take the lease, if the database allows it.
    Take {
        /// Names the question.
        ask: AskId,
        /// The new term is to be above this one, the greatest heard of.
        above: Generation,
        /// The term that the row may carry for our incarnation: it is ours to take anew.
        own: Option<Generation>,
        /// Whatever the row says: there are no others.
        force: bool,
        /// Give up waiting for the answer after this long.
        within: Duration,
    },
    /// Read the lease row.
    Read {
        /// Names the question.
        ask: AskId,
        /// Give up waiting for the answer after this long.
        within: Duration,
    },
    /// Renew the lease of the term.
    Renew {
        /// Names the question.
        ask: AskId,
        /// The term.
        generation: Generation,
        /// Give up waiting for the answer after this long.
        within: Duration,
    },
    /// Mark the lease of this term as given up.
    Resign {
        /// The term, which is over already, or never began.
        generation: Generation,
    },
    /// Tell the others that the lease of this term was given up.
    Announce {
        /// The term.
        generation: Generation,
    },
    /// Send ourselves a word through the broker.
    Probe {
        /// Names the probe.
        nonce: u64,
    },
    /// This node leads: rebuild, then act.
    TermBegan {
        /// The new term.
        generation: Generation,
    },
    /// This node no longer leads: drop everything of the term.
    TermEnded {
        /// The term.
        generation: Generation,
        /// What ended it.
        why: TermEnd,
    },
    /// End the process.
    Exit {
        /// Why.
        why: ExitReason,
    },
}

/// What ended a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TermEnd {
    /// No renewal was answered in time.
    Lapsed,
    /// A renewal found the lease in other hands.
    Lost,
    /// A commit found the fence in other hands.
    Fenced,
    /// Somebody has heard of a higher term.
    Outnumbered {
        /// That term.
        by: Generation,
    },
    /// The broker has not carried our words for one TTL.
    Deaf,
    /// What the term holds may not be what the database holds.
    Doubt,
    /// The process is to stop.
    Resigned,
}
