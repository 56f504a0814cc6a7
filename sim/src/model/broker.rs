//! The broker: at most once, and less when it is told so.
//!
//! Decides how many copies of a message arrive and after how long, and who is cut off in which
//! direction. Messages between two parties may overtake each other. Nothing is stored.

use crate::{
    decision::{Choice, Decider, Occasion, Rng, Who},
    message::Address,
};
use niyanta_core::time::Duration;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The broker and everybody's connection to it; it loses nothing until it is told to.
#[derive(Debug, Default)]
pub struct Broker {
    /// Lost, of a thousand.
    pub loss: u64,
    /// Doubled, of a thousand.
    pub doubled: u64,
    /// Slow, of a thousand.
    pub slow: u64,
    /// A slow message takes up to this long.
    pub slow_up_to: Duration,
    links: BTreeMap<Address, Link>,
    /// What is lost between two parties alone: from the first to the second.
    pairs: Vec<(Address, Address)>,
}

/// One connection.
#[derive(Debug, Default, Clone, Copy)]
struct Link {
    outward_cuts: u32,
    inward_cuts: u32,
    lag: Duration,
    inward_lag: Duration,
}

/// A direction of a connection, seen from the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// What the node sends is lost.
    Outward,
    /// What is sent to the node is lost.
    Inward,
    /// Both.
    Both,
}

impl Direction {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Outward, Self::Inward, Self::Both];

    /// Sending is cut.
    #[must_use]
    pub const fn cuts_outward(self) -> bool {
        matches!(self, Self::Outward | Self::Both)
    }

    /// Receiving is cut.
    #[must_use]
    pub const fn cuts_inward(self) -> bool {
        matches!(self, Self::Inward | Self::Both)
    }
}

impl Broker {
    /// Cuts a connection in a direction; cuts add up.
    pub fn cut(&mut self, who: Address, direction: Direction) {
        let link = self.links.entry(who).or_default();
        link.outward_cuts += u32::from(direction.cuts_outward());
        link.inward_cuts += u32::from(direction.cuts_inward());
    }

    /// Takes one cut back.
    pub fn mend(&mut self, who: Address, direction: Direction) {
        let link = self.links.entry(who).or_default();
        link.outward_cuts -= u32::from(direction.cuts_outward());
        link.inward_cuts -= u32::from(direction.cuts_inward());
    }

    /// Loses what the first sends to the second; cuts add up.
    pub fn cut_pair(&mut self, from: Address, to: Address) {
        self.pairs.push((from, to));
    }

    /// Takes one such cut back.
    pub fn mend_pair(&mut self, from: Address, to: Address) {
        if let Some(at) = self.pairs.iter().position(|pair| *pair == (from, to)) {
            self.pairs.swap_remove(at);
        }
    }

    /// Makes a connection slow for good.
    pub fn slow_down(&mut self, who: Address, lag: Duration) {
        self.links.entry(who).or_default().lag = lag;
    }

    /// Makes what is sent to it slow, or not.
    pub fn congest(&mut self, who: Address, lag: Duration) {
        self.links.entry(who).or_default().inward_lag = lag;
    }

    /// Loses nothing from here on; what is under way still arrives.
    pub fn heal(&mut self) {
        self.loss = 0;
        self.doubled = 0;
        self.slow = 0;
    }

    /// Whether what is sent to it arrives.
    #[must_use]
    pub fn is_reachable(&self, who: Address) -> bool {
        self.links
            .get(&who)
            .is_none_or(|link| link.inward_cuts == 0)
    }

    /// After how long each copy of a message arrives: none when it is lost.
    pub fn carry(
        &self,
        decider: &mut Decider,
        from: Address,
        to: Address,
    ) -> [Option<Duration>; 2] {
        let point = decider.occasion(Occasion::Message, Who::link(from, to));
        let out = self.links.get(&from).copied().unwrap_or_default();
        let into = self.links.get(&to).copied().unwrap_or_default();
        if out.outward_cuts > 0 || self.pairs.contains(&(from, to)) {
            return [None, None];
        }
        let fate = decider.pick(point, Choice::MessageFate, |rng| {
            if rng.per_mille(self.loss) {
                LOST
            } else {
                u32::from(rng.per_mille(self.doubled)) * DOUBLED
            }
        });
        if fate == LOST {
            return [None, None];
        }
        let lag = out.lag + into.lag + into.inward_lag;
        let mut delay =
            |choice| lag + decider.delay(point, choice, SHORTEST, |rng| self.delay(rng));
        let first = delay(Choice::MessageDelay);
        let second = (fate == DOUBLED).then(|| delay(Choice::MessageDouble));
        [Some(first), second]
    }

    fn delay(&self, rng: &mut Rng) -> Duration {
        if rng.per_mille(self.slow) {
            return rng.duration(Duration::from_millis(5), self.slow_up_to);
        }
        rng.duration(SHORTEST, Duration::from_micros(1_500))
    }
}

/// Alternatives of [`Choice::MessageFate`].
const LOST: u32 = 1;
const DOUBLED: u32 = 2;
/// No message is faster.
const SHORTEST: Duration = Duration::from_micros(100);
