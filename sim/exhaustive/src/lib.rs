//! Every course that a small world can take: the production `core` and the production worker
//! machine, searched breadth first, so that a violation comes as the shortest story.
//!
//! Owns the worlds ([`scope`]), what can happen next in one ([`world`]), what must hold after every
//! step ([`properties`]), and the search ([`search`]). Random search finds what is likely; this finds
//! what is possible, within bounds that it states.
//!
//! Not here: row locks, statements that wait, clocks that drift. Those are the event simulation's;
//! here a statement is whole or nothing, all clocks agree, and time moves on a grid.
//!
//! An explorer of our own, not `stateright`: a state here is a pair of `Coordinator`s, whose identity
//! is what they print; successors share every part that a step did not touch, and a part's
//! fingerprint is reckoned once. A general checker would hash each state whole.

pub mod database;
pub mod node;
pub mod part;
pub mod properties;
pub mod scope;
pub mod search;
pub mod story;
pub mod worker;
pub mod world;

pub use scope::Scope;
pub use search::{Found, Report, search};
