//! Breadth first over every state of a world, each once.
//!
//! Owns the frontier and the set of states seen, by fingerprint. Successors are reckoned on several
//! threads and taken in in order, so the same world gives the same numbers and the same story,
//! however many threads there are.

use crate::{
    properties::Violation,
    scope::Scope,
    world::{Step, World},
};
use sim_probes::{Bug, plant};
use std::collections::HashSet;

/// What a search came to.
#[derive(Debug)]
pub struct Report {
    /// Different states.
    pub states: usize,
    /// Steps taken, but for those that led back to a state known when their part of the frontier began.
    pub steps: usize,
    /// The longest of the shortest ways to a state.
    pub depth: usize,
    /// Every state within the bounds was seen.
    pub complete: bool,
    /// The first violation, by the shortest story.
    pub found: Option<Found>,
}

/// A violation, and how it came about.
#[derive(Debug)]
pub struct Found {
    /// What must never be.
    pub violation: Violation,
    /// The steps from the settled world to it.
    pub story: Vec<Step>,
}

struct Seen {
    parent: u32,
    step: Step,
}

/// What a step leads to: a state with its fingerprint, or what must never be.
enum Next {
    State(u64, Box<World>),
    Bad(Violation),
}

/// Searches a world, up to a number of states.
///
/// # Panics
/// When the settled world already is wrong: then there is nothing to search.
#[must_use]
pub fn search(scope: &Scope, bug: Option<Bug>, states_max: usize, threads: usize) -> Report {
    plant(bug);
    let root = match World::settled(scope) {
        Ok(root) => root,
        Err(violation) => panic!("the settled world is wrong: {violation:?}"),
    };
    let mut seen = HashSet::from([root.print()]);
    let mut ways: Vec<Seen> = Vec::new();
    // The number of a state is its place in `ways` plus one; the root's is zero.
    let mut frontier = vec![(0_u32, root)];
    let mut report = Report {
        states: 1,
        steps: 0,
        depth: 0,
        complete: true,
        found: None,
    };
    while !frontier.is_empty() {
        let mut next = Vec::new();
        for chunk in frontier.chunks(4_096) {
            for (parent, step, outcome) in successors(chunk, bug, threads, &seen) {
                report.steps += 1;
                match outcome {
                    Next::Bad(violation) => {
                        let story = story(&ways, parent, step);
                        report.depth = story.len();
                        report.complete = false;
                        report.found = Some(Found { violation, story });
                        plant(None);
                        return report;
                    }
                    Next::State(print, world) => {
                        if seen.insert(print) {
                            ways.push(Seen { parent, step });
                            let number = u32::try_from(ways.len()).unwrap_or(u32::MAX);
                            next.push((number, *world));
                        }
                    }
                }
            }
            if seen.len() >= states_max {
                report.complete = false;
                break;
            }
        }
        report.states = seen.len();
        if !report.complete {
            break;
        }
        report.depth += usize::from(!next.is_empty());
        frontier = next;
    }
    plant(None);
    report
}

/// Everything that can follow, in the order of the states and of their steps. States seen before are
/// left out.
fn successors(
    chunk: &[(u32, World)],
    bug: Option<Bug>,
    threads: usize,
    seen: &HashSet<u64>,
) -> Vec<(u32, Step, Next)> {
    let share = chunk.len().div_ceil(threads.max(1)).max(1);
    let work = |part: &[(u32, World)]| {
        plant(bug);
        let mut found = Vec::new();
        for (number, world) in part {
            for step in world.steps() {
                let next = match world.after(step) {
                    Ok(next) => {
                        let print = next.print();
                        if seen.contains(&print) {
                            continue;
                        }
                        Next::State(print, Box::new(next))
                    }
                    Err(violation) => Next::Bad(violation),
                };
                found.push((*number, step, next));
            }
        }
        found
    };
    std::thread::scope(|scope| {
        let parts: Vec<_> = chunk
            .chunks(share)
            .map(|part| scope.spawn(move || work(part)))
            .collect();
        parts
            .into_iter()
            .flat_map(|part| match part.join() {
                Ok(found) => found,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    })
}

fn story(ways: &[Seen], parent: u32, last: Step) -> Vec<Step> {
    let mut steps = vec![last];
    let mut at = parent;
    while let Some(way) = (at as usize)
        .checked_sub(1)
        .and_then(|index| ways.get(index))
    {
        steps.push(way.step);
        at = way.parent;
    }
    steps.reverse();
    steps
}
