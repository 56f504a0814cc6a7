//! Any sequence of events, also one that no sane world produces, over several coordinators and a
//! store: no panic, no broken invariant, bounded memory, bounded effects.
//!
//! While nobody lies to a coordinator, the store judges each commit and each word to a worker as
//! well. From the first lie on ([`Verb::Lie`]) only core is judged: it must keep its own order
//! whatever it is told.

pub mod answers;
pub mod lies;
pub mod node;
pub mod pages;
pub mod play;
pub mod process;
pub mod step;
pub mod store;
pub mod world;

pub use step::{Course, Step, Verb};
pub use world::World;

/// Plays an input, and gives how many transitions that were.
///
/// # Panics
/// When anything is broken.
pub fn run(bytes: &[u8]) -> u64 {
    let course = Course::read(bytes);
    let mut world = World::new(course.setting);
    for step in course.steps {
        play::take(&mut world, step);
    }
    play::settle(&mut world);
    world.transitions
}

/// Plays an input and tells what happens, step by step: the turns of a crash that the fuzzer found.
///
/// # Panics
/// Where the input breaks something, after the step that does.
pub fn tell(bytes: &[u8], mut line: impl FnMut(String)) {
    let course = Course::read(bytes);
    let mut world = World::new(course.setting);
    line(format!("{:?}", course.setting));
    for (number, step) in course.steps.into_iter().enumerate() {
        let Step { verb, a, b, c } = step;
        line(format!(
            "{:>4} {:>9} ms  {verb:?} {a} {b} {c}",
            number + 1,
            world.now.0 / 1_000_000
        ));
        play::take(&mut world, step);
        for leader in world.leaders() {
            line(format!(
                "     {leader} leads, {} transitions",
                world.transitions
            ));
        }
    }
    line("and everything heals".to_owned());
    play::settle(&mut world);
}
