//! Whatever stands in a schedule file of the simulator: it is read or refused with words, and what is
//! read prints as a file that reads as the same.

use sim::schedule::Schedule;

/// Reads a text as a schedule.
///
/// # Panics
/// When it does not read back.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match Schedule::parse(text) {
        Ok(schedule) => {
            // A number of the plan may be beyond TOML's; that is refused with words as well.
            let Ok(printed) = schedule.print() else {
                return;
            };
            let again = match Schedule::parse(&printed) {
                Ok(again) => again,
                Err(problem) => panic!("{problem}:\n{printed}"),
            };
            assert_eq!(again.print().ok(), Some(printed), "it prints as it reads");
        }
        Err(problem) => assert!(!problem.to_string().is_empty()),
    }
}
