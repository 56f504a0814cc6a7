//! Whether what was seen elsewhere is something that the model can do.
//!
//! The model leaves open who goes first when several statements may go on, and which of a circle of
//! waiting statements is the victim. Every order is tried, the one of the queues first, and an
//! order is left as soon as it has shown something that was not seen.

use super::{
    model,
    script::{Observation, Script, Transcript},
};
use std::fmt;

/// What the model does in no order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// At which step, counted from 0; `None` for the tables afterwards.
    pub step: Option<usize>,
    /// What the model shows there, in the order that comes furthest.
    pub model: Vec<String>,
    /// What was seen.
    pub seen: Vec<String>,
    /// So many orders were tried.
    pub orders: usize,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            Some(step) => write!(f, "step {step} differs")?,
            None => f.write_str("the tables differ afterwards")?,
        }
        writeln!(f, " ({} orders tried)", self.orders)?;
        for line in self.model.iter().filter(|line| !self.seen.contains(line)) {
            writeln!(f, "  model: {line}")?;
        }
        for line in self.seen.iter().filter(|line| !self.model.contains(line)) {
            writeln!(f, "  seen:  {line}")?;
        }
        Ok(())
    }
}

/// Which turn is taken where the model leaves it open.
#[derive(Debug, Default)]
pub(super) struct Turns {
    picks: Vec<usize>,
    widths: Vec<usize>,
    at: usize,
}

impl Turns {
    /// One of so many.
    pub(super) fn pick(&mut self, width: usize) -> usize {
        if width < 2 {
            return 0;
        }
        if self.at == self.picks.len() {
            self.picks.push(0);
            self.widths.push(width);
        }
        self.widths[self.at] = width;
        self.at += 1;
        self.picks[self.at - 1]
    }

    /// The next order, which differs in one of the picks that were made; false when there is none.
    fn advance(&mut self) -> bool {
        self.picks.truncate(self.at);
        self.widths.truncate(self.at);
        self.at = 0;
        while let (Some(pick), Some(width)) = (self.picks.pop(), self.widths.pop()) {
            if pick + 1 < width {
                self.picks.push(pick + 1);
                self.widths.push(width);
                return true;
            }
        }
        false
    }
}

/// Looks for an order in which the model does what was seen. Says what differs when there is none.
pub fn compare(script: &Script, seen: &Transcript) -> Result<(), Difference> {
    let mut turns = Turns::default();
    let mut furthest: Option<Difference> = None;
    for orders in 1..=ORDERS_MAX {
        let Err(mut found) = follow(script, seen, &mut turns) else {
            return Ok(());
        };
        let depth = |found: &Difference| found.step.unwrap_or(usize::MAX);
        found.orders = orders;
        let is_further = furthest
            .as_ref()
            .is_none_or(|best| depth(&found) > depth(best));
        if is_further {
            furthest = Some(found);
        } else if let Some(best) = &mut furthest {
            best.orders = orders;
        }
        if !turns.advance() {
            break;
        }
    }
    furthest.map_or(Ok(()), Err)
}

fn follow(script: &Script, seen: &Transcript, turns: &mut Turns) -> Result<(), Difference> {
    let mut run = model::Run::new();
    for (step, what) in script
        .steps
        .iter()
        .cloned()
        .chain(Script::endings())
        .enumerate()
    {
        let here = run.step(&what, turns);
        let there = seen.seen.get(step);
        if there != Some(&here) {
            return Err(Difference {
                step: Some(step),
                model: told(Some(&here)),
                seen: told(there),
                orders: 1,
            });
        }
    }
    let tables = run.tables();
    if tables == seen.tables {
        return Ok(());
    }
    Err(Difference {
        step: None,
        model: tables,
        seen: seen.tables.clone(),
        orders: 1,
    })
}

fn told(seen: Option<&Observation>) -> Vec<String> {
    let Some(seen) = seen else {
        return vec![String::from("nothing")];
    };
    let ended = seen.ended.iter();
    let ended = ended.map(|(node, what)| format!("{node} ended: {what}"));
    let waiting = format!("waiting {:?}, parked {:?}", seen.waiting, seen.parked);
    ended.chain([waiting]).collect()
}

/// No more orders are tried.
const ORDERS_MAX: usize = 20_000;
