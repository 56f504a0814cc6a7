//! Tells a way through a small world in words.

use crate::{
    scope::Scope,
    world::{Step, World},
};
use sim_probes::{Bug, plant};
use std::fmt::Write as _;

/// What happens step by step, and what is violated at the end.
#[must_use]
pub fn tell(scope: &Scope, bug: Option<Bug>, steps: &[Step]) -> String {
    plant(bug);
    let mut text = String::new();
    let told = follow(scope, steps, &mut text);
    plant(None);
    if let Err(violation) = told {
        // Writing into a string cannot fail.
        let _: std::fmt::Result = writeln!(
            text,
            "  VIOLATED {}: {}",
            violation.property, violation.detail
        );
    }
    text
}

fn follow(
    scope: &Scope,
    steps: &[Step],
    text: &mut String,
) -> Result<(), crate::properties::Violation> {
    let mut world = World::settled(scope)?;
    let began = world.now;
    world.tale = Some(Vec::new());
    for (number, step) in steps.iter().enumerate() {
        let after = world.now.since(began).as_secs_f64();
        let message = step.message().and_then(|index| world.messages.get(index));
        let what = message.map_or_else(String::new, |message| format!(" {:?}", **message));
        let _: std::fmt::Result =
            writeln!(text, "{:>4} {after:>9.3} s  {step:?}{what}", number + 1);
        world = world.after(*step)?;
        for line in world.tale.iter().flatten() {
            let _: std::fmt::Result = writeln!(text, "{line}");
        }
    }
    Ok(())
}
