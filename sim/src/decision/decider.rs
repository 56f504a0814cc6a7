//! The one place where a run that goes on leaves something to chance.
//!
//! A choice is named by its occasion, whose occasion it is, which time it comes up, and the aspect.
//! Its draw depends on that name and the seed alone, so that a choice which falls away shifts no
//! other but the later ones of its own name. Every pick that is not the benign one (no loss, no
//! double, the shortest delay, a statement that is answered) is remembered; with the plan they are
//! the whole run. Does not know what a pick means, nor what is likely: that is said where it is made.

use super::{
    choice::{Choice, Occasion, Values, Who},
    streams::{Rng, mix},
};
use niyanta_core::time::Duration;
use std::{collections::BTreeMap, fmt};

/// One time that an occasion comes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// What comes up.
    pub occasion: Occasion,
    /// Whose it is.
    pub who: Who,
    /// Which time, from 1.
    pub nth: u32,
}

/// A pick that is not the benign one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    /// Which time.
    pub nth: u32,
    /// What was picked: an index, a number, or microseconds.
    pub value: u32,
    /// Whose occasion.
    pub who: Who,
    /// Which aspect of it.
    pub choice: Choice,
}

impl Pick {
    /// When it was made.
    #[must_use]
    pub const fn point(self) -> Point {
        Point {
            occasion: self.choice.occasion(),
            who: self.who,
            nth: self.nth,
        }
    }

    const fn key(self) -> Key {
        (self.choice, self.who, self.nth)
    }
}

impl fmt::Display for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let occasion = self.choice.occasion();
        let who = self.who.name(occasion);
        let (name, aspect) = (occasion.name(), self.choice.aspect());
        write!(f, "{name} {who} #{} {aspect}", self.nth)
    }
}

/// A pick of a script that could not be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// It never came up, though the run went on to its end.
    NeverCameUp(Pick),
    /// It came up, and there is no such alternative.
    NotPossible(Pick),
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverCameUp(pick) => write!(f, "`{pick}` never came up"),
            Self::NotPossible(pick) => {
                write!(f, "`{pick}`: there is no alternative {}", pick.value)
            }
        }
    }
}

type Key = (Choice, Who, u32);

/// Makes all choices of one run.
#[derive(Debug, Default)]
pub struct Decider {
    source: Source,
    counts: [Vec<u32>; Occasion::ALL.len()],
    picks: Vec<Pick>,
}

#[derive(Debug)]
enum Source {
    /// Draws.
    Seed(u64),
    /// Takes what is written, and the benign pick where nothing is.
    Script {
        picks: BTreeMap<Key, Scripted>,
        impossible: Option<Pick>,
    },
}

#[derive(Debug)]
struct Scripted {
    pick: Pick,
    order: usize,
    taken: bool,
}

impl Default for Source {
    fn default() -> Self {
        Self::Script {
            picks: BTreeMap::new(),
            impossible: None,
        }
    }
}

impl Decider {
    /// Draws from a seed.
    #[must_use]
    pub fn drawing(seed: u64) -> Self {
        Self {
            source: Source::Seed(mix(seed ^ 0x6465_6369_6465_7221)),
            ..Self::default()
        }
    }

    /// Takes these picks, and the benign one wherever none is given.
    #[must_use]
    pub fn scripted(picks: impl IntoIterator<Item = Pick>) -> Self {
        let entry = |(order, pick): (usize, Pick)| {
            let taken = false;
            (pick.key(), Scripted { pick, order, taken })
        };
        Self {
            source: Source::Script {
                picks: picks.into_iter().enumerate().map(entry).collect(),
                impossible: None,
            },
            ..Self::default()
        }
    }

    /// An occasion comes up once more. It counts whatever becomes of it.
    pub fn occasion(&mut self, occasion: Occasion, who: Who) -> Point {
        let counts = &mut self.counts[occasion as usize];
        let index = usize::from(who.0);
        if counts.len() <= index {
            counts.resize(index + 1, 0);
        }
        counts[index] += 1;
        let nth = counts[index];
        Point { occasion, who, nth }
    }

    /// One of several alternatives; `draw` says which, and 0 is the benign one.
    pub fn pick(
        &mut self,
        point: Point,
        choice: Choice,
        draw: impl FnOnce(&mut Rng) -> u32,
    ) -> u32 {
        self.choose(point, choice, 0, draw)
    }

    /// A length of time; `draw` says which, and `shortest` is the benign one.
    pub fn delay(
        &mut self,
        point: Point,
        choice: Choice,
        shortest: Duration,
        draw: impl FnOnce(&mut Rng) -> Duration,
    ) -> Duration {
        let shortest = micros(shortest);
        let micros = self.choose(point, choice, shortest, |rng| {
            micros(draw(rng)).max(shortest)
        });
        Duration::from_micros(u64::from(micros))
    }

    /// A length of time from `shortest` to `longest`.
    pub fn delay_up_to(
        &mut self,
        point: Point,
        choice: Choice,
        shortest: Duration,
        longest: Duration,
    ) -> Duration {
        self.delay(point, choice, shortest, |rng| {
            rng.duration(shortest, longest)
        })
    }

    fn choose(
        &mut self,
        point: Point,
        choice: Choice,
        benign: u32,
        draw: impl FnOnce(&mut Rng) -> u32,
    ) -> u32 {
        debug_assert_eq!(
            choice.occasion(),
            point.occasion,
            "an aspect of another occasion"
        );
        let value = match &mut self.source {
            Source::Seed(seed) => {
                let name = u64::from(point.who.0) << 32 | u64::from(point.nth);
                draw(&mut Rng::from_state(mix(*seed ^ mix(choice.salt() ^ name))))
            }
            Source::Script { picks, impossible } => {
                let scripted = picks.get_mut(&(choice, point.who, point.nth));
                match scripted {
                    Some(scripted) if is_possible(choice, scripted.pick.value) => {
                        scripted.taken = true;
                        scripted.pick.value
                    }
                    Some(scripted) => {
                        scripted.taken = true;
                        impossible.get_or_insert(scripted.pick);
                        benign
                    }
                    None => benign,
                }
            }
        };
        if value != benign {
            self.picks.push(Pick {
                nth: point.nth,
                value,
                who: point.who,
                choice,
            });
        }
        value
    }

    /// The first pick of the script that could not be taken; of those that never came up, the
    /// earliest in the script.
    #[must_use]
    pub fn mismatch(&self) -> Option<Mismatch> {
        let Source::Script { picks, impossible } = &self.source else {
            return None;
        };
        if let Some(pick) = impossible {
            return Some(Mismatch::NotPossible(*pick));
        }
        let missed = picks.values().filter(|scripted| !scripted.taken);
        let first = missed.min_by_key(|scripted| scripted.order)?;
        Some(Mismatch::NeverCameUp(first.pick))
    }

    /// What was picked and is not the benign pick, in the order of picking.
    #[must_use]
    pub fn into_picks(self) -> Vec<Pick> {
        self.picks
    }
}

fn is_possible(choice: Choice, value: u32) -> bool {
    match choice.values() {
        Values::Names(names) => usize::try_from(value).is_ok_and(|index| index < names.len()),
        Values::Time | Values::Number => true,
    }
}

/// An hour and more fits.
fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fate(decider: &mut Decider, who: u16) -> u32 {
        let point = decider.occasion(Occasion::Message, Who(who));
        decider.pick(point, Choice::MessageFate, |rng| {
            u32::from(rng.per_mille(500))
        })
    }

    #[test]
    fn a_choice_depends_on_its_name_and_the_seed_alone() {
        let mut one = Decider::drawing(3);
        let alone: Vec<u32> = (0..64).map(|_| fate(&mut one, 1)).collect();
        let mut two = Decider::drawing(3);
        let among: Vec<u32> = (0..64)
            .map(|_| {
                fate(&mut two, 2);
                fate(&mut two, 1)
            })
            .collect();
        assert_eq!(alone, among);
        assert!(alone.contains(&0) && alone.contains(&1));
    }

    #[test]
    fn a_script_of_the_picks_gives_the_same_picks() {
        let mut drawn = Decider::drawing(9);
        let first: Vec<u32> = (0..64).map(|who| fate(&mut drawn, who % 3)).collect();
        let picks = drawn.into_picks();
        let mut again = Decider::scripted(picks.iter().copied());
        let second: Vec<u32> = (0..64).map(|who| fate(&mut again, who % 3)).collect();
        assert_eq!(first, second);
        assert_eq!(again.mismatch(), None);
        assert_eq!(again.into_picks(), picks);
    }

    #[test]
    fn what_a_script_does_not_say_is_benign_and_what_does_not_fit_is_reported() {
        let pick = |nth, value| Pick {
            nth,
            value,
            who: Who(0),
            choice: Choice::MessageFate,
        };
        let mut decider = Decider::scripted([pick(2, 1), pick(9, 1)]);
        assert_eq!([fate(&mut decider, 0), fate(&mut decider, 0)], [0, 1]);
        assert_eq!(decider.mismatch(), Some(Mismatch::NeverCameUp(pick(9, 1))));
        let mut decider = Decider::scripted([pick(1, 77)]);
        assert_eq!(fate(&mut decider, 0), 0);
        assert_eq!(decider.mismatch(), Some(Mismatch::NotPossible(pick(1, 77))));
    }

    #[test]
    fn a_pick_is_a_few_bytes() {
        assert!(size_of::<Pick>() <= 12);
    }
}
